"""What a statistic would be if labels meant nothing: its null distribution with the observed value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyper_bids.report.canvas import BESIDE, BLUE, GREY, ORANGE, Drawing, draw, new_figure, style

COLUMNS = 2
BINS = 30


@dataclass(frozen=True, eq=False)
class Null:
    """Null distribution of one metric.

    Parameters
    ----------
    title : name of the metric
    draws : (n,) values of the statistic with permuted labels
    observed : its value
    p : in words
    """

    title: str
    draws: np.ndarray
    observed: float
    p: str


def null_distributions_figure(nulls: Sequence[Null]) -> Drawing:
    """Draw a panel per metric: the histogram of null values, their 95th percentile, and the observed value."""
    columns = min(COLUMNS, len(nulls))
    n_rows = -(-len(nulls) // columns)
    with style():
        figure = new_figure(BESIDE if columns > 1 else 400, 30 + 190 * n_rows)
        every = figure.subplots(n_rows, columns, squeeze=False).ravel()
        for number, (axes, null) in enumerate(zip(every, nulls, strict=False)):
            _panel(axes, null, labelled=number == 0)
        for axes in every[len(nulls) :]:
            axes.set_visible(False)
        figure.legend(loc="outside upper left", ncols=3)
        return draw(figure)


def _panel(axes: object, null: Null, labelled: bool) -> None:
    draws = null.draws[np.isfinite(null.draws)]
    said = (lambda text: text) if labelled else (lambda _: None)
    low, high = min(draws.min(), null.observed), max(draws.max(), null.observed)
    width = max((high - low) / BINS, 1e-9)
    start = width * np.floor(draws.min() / width)
    edges = start + width * np.arange(int((draws.max() - start) / width) + 2)
    counts, _ = np.histogram(draws, edges)
    axes.bar(edges[:-1], counts, width=width, align="edge", color=ORANGE, alpha=0.55, linewidth=0,
             label=said("permuted labels"))  # fmt: skip
    axes.axvline(np.percentile(draws, 95), color=GREY, linestyle="--", linewidth=1.2,
                 label=said("their 95th percentile"))  # fmt: skip
    axes.axvline(null.observed, color=BLUE, linewidth=2, label=said("observed"))
    axes.set_title(f"{null.title}\n{null.observed:.2f}, {null.p}", fontsize=8.5)
    axes.set_ylabel(f"permutations (n = {len(draws)})", fontsize=8)
    axes.margins(x=0.04)
    axes.xaxis.get_major_locator().set_params(nbins=6)
