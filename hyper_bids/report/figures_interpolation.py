"""From the predicted to the true latent, step by step through the generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyper_bids.report.canvas import Drawing, draw, new_figure, short_headings, style

NAME = 104
"""CSS pixels of the column of names."""

LONGEST = 18
"""Characters of a line in that column, at most."""


def interpolation_figure(
    rows: Sequence[tuple[str, np.ndarray, np.ndarray | None]], shares: Sequence[float], cell: int = 76
) -> Drawing:
    """Draw a row per stimulus: pictures of latents between the predicted and the true one, then the stimulus.

    Parameters
    ----------
    rows : what stands on the left, (n_steps, height, width, 3) uint8, and the stimulus shown or None
    shares : n_steps, of the true latent: 0 is the prediction, 1 the truth
    cell : CSS pixels of a picture
    """
    shown = any(stimulus is not None for _, _, stimulus in rows)
    columns = len(shares) + shown
    with style():
        figure = new_figure(NAME + columns * cell, 30 + cell * len(rows))
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        every = figure.subplots(
            len(rows), columns + 1, squeeze=False, width_ratios=[NAME / cell] + [1] * columns
        )
        titles = [_title(share) for share in shares] + ["shown"] * shown
        names = short_headings([name for name, _, _ in rows], LONGEST)
        for line, name, (_, pictures, stimulus) in zip(every, names, rows, strict=True):
            line[0].text(0, 0.5, name, va="center", fontsize=8, transform=line[0].transAxes)
            for axes, pixels in zip(line[1:], [*pictures, *([stimulus] if shown else [])], strict=True):
                if pixels is not None:
                    axes.imshow(pixels, interpolation="antialiased")
        for axes, title in zip(every[0][1:], titles, strict=True):
            axes.set_title(title, fontsize=8, fontweight="normal", loc="center", pad=3)
        for axes in every.ravel():
            axes.set_axis_off()
        return draw(figure, ".png", scale=2.0)


def _title(share: float) -> str:
    return "predicted" if share == 0 else "true" if share == 1 else f"{100 * share:.0f} % true"
