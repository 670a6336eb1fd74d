"""Participants beside each other."""

from __future__ import annotations

import numpy as np

from hyper_bids.report.canvas import BLUE, GREY, ORANGE, Drawing, draw, new_figure, short_names, style

BELOW = 0.2
"""How far the null lies below the middle of a row, and what was observed above: neither hides the other."""


def participants_figure(
    title: str, participants: list[str], rows: list[dict[str, float]], group: dict[str, float]
) -> Drawing:
    """Draw one metric: every participant with a 95 % interval and the null, the group below.

    Parameters
    ----------
    participants : m labels
    rows : m mappings with mean, ci_low, ci_high, null_mean, null_sd, chance; NaN where unknown
    group : the same of the group
    """
    names = [*short_names(participants), "group"]
    with style():
        figure = new_figure(440, 104 + 24 * len(names))
        axes = figure.subplots()
        if np.isfinite(group["chance"]):
            axes.axvline(group["chance"], color=GREY, linestyle=":", label=f"chance {group['chance']:.2f}")
        for y, row in enumerate([*rows, group]):
            if np.isfinite(row["null_mean"]):
                spread = 2 * row["null_sd"] if np.isfinite(row["null_sd"]) else 0.0
                shown = {"label": "permuted labels, mean and 2 sd"} if y == 0 else {}
                axes.errorbar(row["null_mean"], y + BELOW, xerr=spread, fmt="s", color=ORANGE, markersize=4, **shown)
            bars = np.array([[row["mean"] - row["ci_low"]], [row["ci_high"] - row["mean"]]])
            axes.errorbar(
                row["mean"], y - BELOW, xerr=np.maximum(bars, 0) if np.isfinite(bars).all() else None,
                fmt="D" if y == len(rows) else "o", color=BLUE, markersize=8 if y == len(rows) else 6,
            )  # fmt: skip
        axes.axhline(len(rows) - 0.5, color="#d5d9e0", linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(title)
        axes.grid(axis="x", color="#eef0f3")
        axes.set_axisbelow(True)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", ncols=2)
        return draw(figure)


def distribution_figure(title: str, means: np.ndarray, group: dict[str, float]) -> Drawing:
    """Draw one metric of many participants: how their means are distributed, the group's mean and its interval.

    Parameters
    ----------
    means : (m,) one a participant
    group : mean, ci_low, ci_high, null_mean, null_sd, chance; NaN where unknown
    """
    with style():
        figure = new_figure(440, 220)
        axes = figure.subplots()
        axes.hist(means, bins=30, color=BLUE, alpha=0.6, label=f"{len(means)} participants")
        if np.isfinite(group["ci_low"]) and np.isfinite(group["ci_high"]):
            axes.axvspan(group["ci_low"], group["ci_high"], color=BLUE, alpha=0.2)
        axes.axvline(group["mean"], color=BLUE, linewidth=2, label="group")
        if np.isfinite(group["chance"]):
            axes.axvline(group["chance"], color=GREY, linestyle=":", label=f"chance {group['chance']:.2f}")
        if np.isfinite(group["null_mean"]):
            axes.axvline(group["null_mean"], color=ORANGE, label="permuted")
        axes.set_xlabel(title)
        axes.set_ylabel("participants")
        axes.grid(axis="y", color="#eef0f3")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=2)
        return draw(figure)
