"""Whom do predictions resemble? Every prediction against every target, and against random latents (HYPER, Fig. 6)."""

from __future__ import annotations

import numpy as np

from hyper_bids.report.canvas import BESIDE, BLUE, GREY, ORANGE, Drawing, draw, new_figure, short_names, style

MOST_NAMES = 26
"""With more stimuli than this the axes carry no names."""


def similarity_figure(stimuli: list[str], targets: np.ndarray, random: np.ndarray) -> Drawing:
    """Draw both maps on one scale, and below them how their values are distributed.

    Parameters
    ----------
    stimuli : n labels, in the order of rows and columns
    targets : (n, n) Pearson r of prediction i (rows) with the true latents of stimulus j
    random : (n, m) the same with m random latents
    """
    n = len(stimuli)
    limit = float(np.nanmax(np.abs([np.nanmax(np.abs(targets), initial=0.1), np.nanmax(np.abs(random), initial=0.1)])))
    with style():
        figure = new_figure(BESIDE, 470)
        top, bottom = figure.subfigures(2, 1, height_ratios=[300, 170])
        left, right = top.subplots(1, 2, width_ratios=[targets.shape[1], random.shape[1]], sharey=True)
        for axes, values, title, across in (
            (left, targets, "Targets", f"true latents of\n{n} stimuli"),
            (right, random, "Random latents", f"{random.shape[1]} random\nlatents"),
        ):
            image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
            axes.set_title(title)
            axes.set_xlabel(across)
            axes.set_xticks([])
            axes.tick_params(length=0)
        left.set_ylabel(f"predictions, best on top (n = {n})")
        if n <= MOST_NAMES:
            left.set_yticks(range(n), short_names(stimuli), fontsize=7)
        else:
            left.set_yticks([])
        top.colorbar(image, ax=[left, right], label="Pearson r", shrink=0.85, aspect=16)
        _distributions(bottom.subplots(), targets, random)
        return draw(figure, ".png")


def _distributions(axes: object, targets: np.ndarray, random: np.ndarray) -> None:
    own = np.diag(targets)
    others = targets[~np.eye(len(targets), dtype=bool)]
    groups = [("own target", own, BLUE), ("other targets", others, GREY), ("random latents", random.ravel(), ORANGE)]
    for y, (_, values, colour) in enumerate(groups):
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        low, first, middle, third, high = np.percentile(values, [2.5, 25, 50, 75, 97.5])
        axes.plot([low, high], [y, y], color=colour, linewidth=1.4)
        axes.plot([first, third], [y, y], color=colour, linewidth=7, alpha=0.55, solid_capstyle="butt")
        axes.plot(middle, y, "o", color="white", markeredgecolor=colour, markeredgewidth=1.6, markersize=6)
    axes.axvline(0, color="#d5d9e0", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(groups)), [f"{name} (n = {values.size})" for name, values, _ in groups])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("Pearson r: median, middle half, middle 95 %")
