"""All reconstructions on one sheet, for slides and papers."""

from __future__ import annotations

import numpy as np

from hyper_bids.report.canvas import GREY, Drawing, draw, new_figure, style
from hyper_bids.report.thumbnails import shrunk

ACROSS = 5
"""Stimuli side by side."""


def sheet_figure(
    rows: dict[str, list[np.ndarray | None]], captions: list[str], note: str = "", side: int = 96
) -> Drawing:
    """Draw a sheet: blocks of stimuli side by side; in each, the kinds of picture one below the other.

    Parameters
    ----------
    rows : kind -> n pictures (h, w, 3) uint8, or None where there is none
    captions : n short texts
    note : what the sheet does not show, written on top
    side : CSS pixels of a picture
    """
    kinds, n = list(rows), len(captions)
    across = min(ACROSS, n)
    blocks = -(-n // across)
    gap, title, margin = 6, 18, 92
    block = title + len(kinds) * (side + gap) + gap
    head = 22 if note else 0
    width, height = margin + across * (side + gap), head + blocks * block
    with style():
        figure = new_figure(width, height)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_axis_off()
        axes.text(margin, 15, note, fontsize=8)
        for item, caption in enumerate(captions):
            left, top = margin + (item % across) * (side + gap), head + (item // across) * block
            axes.text(left + side / 2, top + title - 4, caption, ha="center", fontsize=7.5)
            for number, kind in enumerate(kinds):
                y = top + title + number * (side + gap)
                if item % across == 0:
                    axes.text(margin - 6, y + side / 2, kind, ha="right", va="center", fontsize=8)
                _place(axes, rows[kind][item], left, y, side)
        return draw(figure, ".png")


def _place(axes: object, pixels: np.ndarray | None, left: float, top: float, side: int) -> None:
    if pixels is None:
        axes.text(left + side / 2, top + side / 2, "no file", ha="center", va="center", color=GREY, fontsize=7)
        return
    pixels = shrunk(pixels, 2 * side)  # as many pixels as the file has there: matplotlib takes seconds for more
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    smooth = "antialiased" if max(height, width) > 64 else "nearest"
    box = (left, left + width * scale, top + height * scale, top)
    axes.imshow(pixels, extent=box, interpolation=smooth, aspect="auto")
    axes.set_aspect("auto")
