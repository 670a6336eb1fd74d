"""A run as a carpet: voxels over time, with the head's motion above (Power 2017, NeuroImage 154:150-158)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hyper_bids.report.canvas import BLUE, GREEN, GREY, ORANGE, WIDTH, Drawing, draw, new_figure, style

LIMIT = 2.0
"""Robust standard deviations at which the grey scale ends."""

COLOURS = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."))


def scaled(bold: np.ndarray) -> np.ndarray:
    """Take each voxel's linear trend away and divide by the spread of what is left.

    Parameters
    ----------
    bold : (n_volumes, n_voxels)

    Returns
    -------
    (n_volumes, n_voxels), in standard deviations (1.4826 times the median absolute deviation); 0 for a voxel that
    does not vary
    """
    n = len(bold)
    time = np.linspace(-1, 1, n)[:, None] if n > 1 else np.zeros((n, 1))
    centred = bold - bold.mean(axis=0)
    left = centred - time * ((time * centred).sum(axis=0) / max(float((time**2).sum()), 1e-12))
    spread = 1.4826 * np.median(np.abs(left), axis=0)
    spread = np.where(spread > 0, spread, left.std(axis=0))
    return left / np.where(spread > 0, spread, np.inf)


def carpet_figure(
    bold: np.ndarray, decoded: np.ndarray, times: np.ndarray, series: Mapping[str, tuple[str, np.ndarray]]
) -> Drawing:
    """Draw time courses above the carpet; decoded voxels first, a line, then others of the brain mask.

    Parameters
    ----------
    bold : (n_volumes, n_voxels) signal
    decoded : (n_voxels,) bool
    times : (n_volumes,) s
    series : name -> units and (n_volumes,), NaN where there is no value; may be empty
    """
    order = np.concatenate([np.flatnonzero(decoded), np.flatnonzero(~decoded)])
    step = float(times[1] - times[0]) if len(times) > 1 else 1.0
    extent = (times[0] - step / 2, times[-1] + step / 2, len(order), 0)
    heights = [70] * len(series) + [230]
    with style():
        figure = new_figure(WIDTH, 60 + sum(heights))
        every = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
        for axes, (name, (units, values)), (colour, line) in zip(every, series.items(), COLOURS * 3, strict=False):
            axes.plot(times, values, color=colour, linestyle=line, linewidth=1.1)
            axes.set_title(name, fontsize=8.5)
            axes.set_ylabel(units)
            axes.grid(axis="y", color="#eef0f3")
        axes = every[-1]
        image = axes.imshow(
            scaled(bold)[:, order].T, aspect="auto", cmap="gray", vmin=-LIMIT, vmax=LIMIT, extent=extent,
            interpolation="antialiased",
        )  # fmt: skip
        n_decoded = int(decoded.sum())
        if 0 < n_decoded < len(order):
            axes.axhline(n_decoded, color=ORANGE, linewidth=1.4)
        n_others = len(order) - n_decoded
        groups = [(n_decoded / 2, "decoded", n_decoded), (n_decoded + n_others / 2, "others", n_others)]
        groups = [group for group in groups if group[2]]
        axes.set_yticks([place for place, _, _ in groups], [f"{name}\n{n} voxels" for _, name, n in groups])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("time (s)")
        axes.set_title("BOLD, each voxel without its linear trend", fontsize=8.5)
        axes.spines["left"].set_color(GREY)
        bar = figure.colorbar(image, ax=axes, label="standard deviations", shrink=0.9, pad=0.01, aspect=18)
        bar.outline.set_visible(False)
        return draw(figure, ".png")
