"""Decoders side by side, one panel a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hyper_bids.report.canvas import BLUE, GREY, WIDTH, Drawing, draw, new_figure, short_names, style

COLUMNS = 2
NARROWEST = 0.2
"""Least width of an axis, in units of the metric: all that are compared are at most 1."""

LONGEST = 16
"""Characters of a decoder's name; the table has all of it."""


def comparison_figure(
    decoders: Sequence[str], panels: Sequence[tuple[str, Sequence[Mapping[str, float] | None]]]
) -> Drawing:
    """Draw every decoder's value with its interval; the best of a metric as a filled diamond.

    Parameters
    ----------
    decoders : n names, in the order of the table
    panels : title and, per decoder, mean, ci_low, ci_high, chance (NaN where unknown), or None where it was
        not computed; one per metric
    """
    columns = min(COLUMNS, len(panels))
    n_rows = -(-len(panels) // columns)
    with style():
        figure = new_figure(WIDTH if columns > 1 else 360, n_rows * (66 + 24 * len(decoders)) + 8)
        every = figure.subplots(n_rows, columns, squeeze=False, sharey=True).ravel()
        for axes, (title, rows) in zip(every, panels, strict=False):
            means = [np.nan if row is None else row["mean"] for row in rows]
            for y, row in enumerate(rows):
                if row is not None and np.isfinite(row["mean"]):
                    _point(axes, y, row, best=row["mean"] == np.nanmax(means))
            chance = next((row["chance"] for row in rows if row is not None and np.isfinite(row["chance"])), np.nan)
            if np.isfinite(chance):
                axes.axvline(chance, color=GREY, linestyle=":", linewidth=1.2, zorder=1)
            axes.set_title(title, fontsize=8.5)
            axes.grid(axis="both", color="#eef0f3")
            axes.set_axisbelow(True)
            axes.tick_params(axis="y", length=0)
            ends = [row[name] for row in rows if row is not None for name in ("mean", "ci_low", "ci_high")]
            axes.set_xlim(*limits(np.array([*ends, chance])))
        every[0].set_yticks(range(len(decoders)), short_names(decoders, LONGEST))
        every[0].set_ylim(len(decoders) - 0.5, -0.5)
        for axes in every[len(panels) :]:
            axes.set_visible(False)
        return draw(figure)


def limits(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis, so wide at least that values which are nearly equal do not seem far apart.

    An axis of values that are all positive is not widened below 0, nor any above 1.

    >>> [round(end, 3) for end in limits(np.array([1.0, 1.0, np.nan]))]
    [0.784, 1.016]
    >>> [round(end, 3) for end in limits(np.array([0.01, 0.05]))]
    [-0.016, 0.216]
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    span = max(float(np.ptp(known)), NARROWEST)
    low = min((known.min() + known.max() - span) / 2, 1 - span) if known.max() <= 1 else known.max() - span
    if known.min() >= 0:
        low = max(low, 0.0)
    return float(low - 0.08 * span), float(low + 1.08 * span)


def _point(axes: object, y: int, row: Mapping[str, float], best: bool) -> None:
    bars = np.array([[row["mean"] - row["ci_low"]], [row["ci_high"] - row["mean"]]])
    axes.errorbar(
        row["mean"], y, xerr=np.maximum(bars, 0) if np.isfinite(bars).all() else None, color=BLUE if best else GREY,
        fmt="D" if best else "o", markersize=7 if best else 6, markerfacecolor=BLUE if best else "white", capsize=3,
        zorder=3,
    )  # fmt: skip
