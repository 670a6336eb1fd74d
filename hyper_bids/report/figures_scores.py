"""Scores of single stimuli: never only a mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.report.canvas import BLUE, FOLD, GREY, ORANGE, WIDTH, Drawing, draw, new_figure, short_names, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELS = 60
"""With more stimuli than this the rows carry no names."""

AROUND, ROW, LEAST = 124, 19, 76
"""CSS pixels: of legend and axis around the rows, of a row, and of all rows, however few there are."""


def _reference(axes: Axes, value: float | None, colour: str, line: str, label: str) -> None:
    if value is not None and np.isfinite(value):
        axes.axvline(value, color=colour, linestyle=line, linewidth=1.2, label=f"{label} {value:.2f}", zorder=1)


def scores_figure(
    stimuli: list[str],
    panels: list[tuple[str, np.ndarray, list[np.ndarray], float | None, float | None]],
) -> Drawing:
    """Draw one dot per stimulus, sorted as given, best on top; small grey dots are single folds.

    Parameters
    ----------
    stimuli : n labels
    panels : title, (n,) scores, n arrays of the folds' scores, chance, mean of the null; one per metric
    """
    n = len(stimuli)
    labelled = n <= MOST_LABELS
    height = AROUND + (max(ROW * n, LEAST) if labelled else 420)
    with style():
        figure = new_figure(WIDTH, height)
        every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, scores, folds, chance, null) in zip(every, panels, strict=True):
            for row, values in enumerate(folds):
                if len(values) > 1:
                    axes.scatter(values, np.full(len(values), row), s=9, color=FOLD, linewidth=0, zorder=2)
            _reference(axes, chance, GREY, ":", "chance")
            _reference(axes, null, ORANGE, "--", "permuted labels")
            _reference(axes, float(np.nanmean(scores)) if np.isfinite(scores).any() else None, BLUE, "-", "mean")
            axes.scatter(scores, range(n), s=30 if labelled else 8, color=BLUE, zorder=3)
            axes.set_xlabel(f"{title}\n(n = {int(np.isfinite(scores).sum())} stimuli)")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=1, borderaxespad=0.2, handlelength=1.6)
            axes.grid(axis="y", color="#eef0f3", linewidth=0.8)
            axes.set_axisbelow(True)
        every[0].set_ylim(n - 0.5, -0.5)
        every[0].set_yticks(range(n) if labelled else [], short_names(stimuli) if labelled else [])
        if not labelled:
            every[0].set_ylabel("stimuli, best on top")
        for axes in every:
            axes.tick_params(axis="y", length=0)
        return draw(figure)


def identification_figure(accuracy: np.ndarray, chance: float, mean: float, low: float, high: float) -> Drawing:
    """Draw how pairwise identification is distributed over stimuli.

    Parameters
    ----------
    accuracy : (n,) share of the other candidates that each stimulus beats
    chance, mean, low, high : of the mean over stimuli, with its 95 % interval
    """
    known = accuracy[np.isfinite(accuracy)]
    edges = np.linspace(0, 1, 21)
    with style():
        figure = new_figure(340, 300)
        axes = figure.subplots()
        counts, _ = np.histogram(known, bins=edges)
        axes.bar(edges[:-1] + 0.025, counts, width=0.045, color=BLUE)
        top = max(1, counts.max())
        if np.isfinite(low) and np.isfinite(high):
            axes.axvspan(low, high, color=BLUE, alpha=0.15, linewidth=0, label="95 % interval of the mean")
        axes.axvline(mean, color=BLUE, linewidth=1.4, label=f"mean {mean:.2f}")
        axes.axvline(chance, color=GREY, linestyle=":", linewidth=1.4, label=f"chance {chance:.2f}")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(0, top * 1.05)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("share of the other candidates beaten")
        axes.set_ylabel(f"stimuli (n = {len(known)})")
        figure.legend(loc="outside upper left")
        return draw(figure)


def null_figure(names: list[str], rows: list[dict[str, float]]) -> Drawing:
    """Draw each observed statistic beside what permuted labels give (mean and 2 sd), chance and ceiling.

    Parameters
    ----------
    names : n long names
    rows : n mappings with mean, ci_low, ci_high, null_mean, null_sd, ceiling; NaN where unknown
    """
    n = len(names)
    with style():
        figure = new_figure(WIDTH, 110 + 34 * n)
        axes = figure.subplots()
        for y, row in enumerate(rows):
            spread = 2 * row["null_sd"] if np.isfinite(row["null_sd"]) else 0.0
            shown = {"label": "permuted labels, mean and 2 sd"} if y == 0 else {}
            axes.errorbar(row["null_mean"], y + 0.16, xerr=spread, fmt="s", color=ORANGE, markersize=5, **shown)
            bars = [[max(0.0, row["mean"] - row["ci_low"])], [max(0.0, row["ci_high"] - row["mean"])]]
            bars = bars if np.isfinite(bars).all() else None
            shown = {"label": "observed, with 95 % interval"} if y == 0 else {}
            axes.errorbar(row["mean"], y - 0.16, xerr=bars, fmt="o", color=BLUE, markersize=6, **shown)
        known = [(row["ceiling"], y) for y, row in enumerate(rows) if np.isfinite(row["ceiling"])]
        if known:
            x, y = zip(*known, strict=True)
            axes.scatter(x, y, marker="|", s=160, color=GREY, label="ceiling (true latents)", zorder=3)
        axes.set_yticks(range(n), short_names(names, 40))
        axes.set_ylim(n - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#eef0f3")
        axes.set_axisbelow(True)
        axes.set_xlabel("value of the metric")
        figure.legend(loc="outside upper left", ncols=2)
        return draw(figure)
