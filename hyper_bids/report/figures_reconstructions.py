"""Reconstructions on a sheet, beside what they are held against, for slides and papers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.report.canvas import GREY, Drawing, draw, new_figure, style
from hyper_bids.report.thumbnails import shrunk

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 9
"""Stimuli side by side, at most."""

SIDE, GAP, TITLE, MARGIN, HEAD = 96, 6, 18, 84, 22
"""CSS pixels: of a picture, between pictures, of a stimulus's name, of the kinds' names, and of the note on top."""

NAMES = {"ceiling": "ceiling\n(true latents)", "retrieved": "nearest of\ntraining", "random": "random\nlatent"}
"""What a row is called, where its kind does not say it."""


def sheet_figure(
    rows: Mapping[str, list[np.ndarray | None]], captions: list[str], note: str = "",
    shared: Mapping[str, np.ndarray] | None = None, scale: float = 2.0,
) -> Drawing:  # fmt: skip
    """Draw a sheet: blocks of stimuli side by side; in each, the kinds of picture one below the other.

    Parameters
    ----------
    rows : kind -> n pictures (h, w, 3) uint8, or None where there is none
    captions : n short texts
    note : which stimuli these are, written on top
    shared : kind -> a picture that is the same for all stimuli, drawn once below
    scale : pixels of the file per CSS pixel
    """
    kinds, n, shared = list(rows), len(captions), dict(shared or {})
    blocks = -(-n // ACROSS)
    across = -(-n // blocks)
    block = TITLE + len(kinds) * (SIDE + GAP) + GAP
    head, foot = HEAD if note else 0, (TITLE + SIDE + GAP) if shared else 0
    width, height = MARGIN + max(across, len(shared), 3) * (SIDE + GAP), head + blocks * block + foot
    with style():
        figure = new_figure(width, height)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_axis_off()
        axes.text(MARGIN, 15, note, fontsize=8, fontweight="bold")
        fine = round(scale * SIDE)
        for item, caption in enumerate(captions):
            left, top = MARGIN + (item % across) * (SIDE + GAP), head + (item // across) * block
            _name(axes, caption, left, top)
            for number, kind in enumerate(kinds):
                y = top + TITLE + number * (SIDE + GAP)
                if item % across == 0:
                    _kind(axes, NAMES.get(kind, kind), y)
                _place(axes, rows[kind][item], left, y, fine)
        for number, (kind, pixels) in enumerate(shared.items()):
            left, top = MARGIN + number * (SIDE + GAP), head + blocks * block
            _name(axes, kind, left, top)
            _place(axes, pixels, left, top + TITLE, fine)
        if shared:
            _kind(axes, "the same\nfor all", height - foot + TITLE)
        return draw(figure, ".png", scale)


def _name(axes: Axes, text: str, left: float, top: float) -> None:
    axes.text(left + SIDE / 2, top + TITLE - 4, text, ha="center", fontsize=7)


def _kind(axes: Axes, text: str, top: float) -> None:
    axes.text(MARGIN - 6, top + SIDE / 2, text, ha="right", va="center", fontsize=7.5)


def _place(axes: Axes, pixels: np.ndarray | None, left: float, top: float, fine: int) -> None:
    if pixels is None:
        axes.text(left + SIDE / 2, top + SIDE / 2, "no file", ha="center", va="center", color=GREY, fontsize=7)
        return
    pixels = shrunk(pixels, fine)  # as many pixels as the file has there: matplotlib takes seconds for more
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    smooth = "antialiased" if max(height, width) > 64 else "nearest"
    box = (left, left + width * scale, top + height * scale, top)
    axes.imshow(pixels, extent=box, interpolation=smooth, aspect="auto")
    axes.set_aspect("auto")
