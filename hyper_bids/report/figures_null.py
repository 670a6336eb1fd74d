"""What a statistic would be if labels meant nothing: its null distribution with the observed value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.report.canvas import BESIDE, BLUE, GREY, ORANGE, Drawing, draw, new_figure, short_names, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 2
BINS = 30

LONGEST = 30
"""Characters of a title, at most: it may hold the name of an attribute."""


@dataclass(frozen=True, eq=False)
class Null:
    """Null distribution of one metric.

    Parameters
    ----------
    title : name of the metric
    draws : (n,) values of the statistic with permuted labels
    observed : its value
    p : in words
    two_sided : whether values on both sides count against it
    """

    title: str
    draws: np.ndarray
    observed: float
    p: str
    two_sided: bool = False

    @property
    def critical(self) -> np.ndarray:
        """The 95th percentile of the draws, or the 2.5th and the 97.5th."""
        return np.nanpercentile(self.draws, [2.5, 97.5] if self.two_sided else [95])


def null_distributions_figure(nulls: Sequence[Null]) -> Drawing:
    """Draw a panel per metric: the histogram of null values with its critical percentiles, and the observed value."""
    columns = min(COLUMNS, len(nulls))
    n_rows = -(-len(nulls) // columns)
    with style():
        figure = new_figure(BESIDE if columns > 1 else 400, 30 + 160 * n_rows)
        every = figure.subplots(n_rows, columns, squeeze=False)
        titles = short_names([null.title for null in nulls], LONGEST)
        for axes, title, null in zip(every.ravel(), titles, nulls, strict=False):
            _panel(axes, title, null, _percentiles(nulls) if null is nulls[0] else None)
        for axes in every[:, 0]:
            axes.set_ylabel("permutations", fontsize=8)
        for axes in every.ravel()[len(nulls) :]:
            axes.set_visible(False)
        figure.legend(loc="outside upper left", ncols=2 if any(null.two_sided for null in nulls) else 3)
        return draw(figure)


def _percentiles(nulls: Sequence[Null]) -> str:
    """What the broken lines are; no share of draws is named, since of a discrete null many lie on a line."""
    sides = {null.two_sided for null in nulls}
    if len(sides) == 2:
        return "null: 95th percentile (two-sided: 2.5th, 97.5th)"
    return "null: 2.5th and 97.5th percentile" if sides == {True} else "null: 95th percentile"


def _panel(axes: Axes, title: str, null: Null, percentiles: str | None) -> None:
    """Draw one null; ``percentiles`` is given to the panel that the legend is made of."""
    draws = null.draws[np.isfinite(null.draws)]
    said = (lambda text: text) if percentiles else (lambda _: None)
    low, high = min(draws.min(), null.observed), max(draws.max(), null.observed)
    width = max((high - low) / BINS, 1e-9)
    start = width * np.floor(draws.min() / width)
    edges = start + width * np.arange(int((draws.max() - start) / width) + 2)
    counts, _ = np.histogram(draws, edges)
    axes.bar(edges[:-1], counts, width=width, align="edge", color=ORANGE, alpha=0.55, linewidth=0,
             label=said("permuted labels"))  # fmt: skip
    for number, value in enumerate(null.critical):
        axes.axvline(value, color=GREY, linestyle="--", linewidth=1.2,
                     label=percentiles if number == 0 else None)  # fmt: skip
    axes.axvline(null.observed, color=BLUE, linewidth=2, label=said("observed"))
    axes.set_title(f"{title}\n{null.observed:.2f}, {null.p}, {len(draws)} draws", fontsize=7.8)
    axes.margins(x=0.04)
    axes.xaxis.get_major_locator().set_params(nbins=4)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
