"""Numbers on the brain: three orthogonal slices, and the largest value along each line of sight.

Drawn on the participant's own mask, so that any space will do: no template, no surface. Colours run
from pale to dark (values from 0 up) or away from white to both sides (signed values), both told
apart with any colour vision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.report.canvas import BESIDE, BLUE, GREY, Drawing, draw, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BRAIN = (0.87, 0.89, 0.92)
"""Of voxels of the brain that have no value."""

SIGNED, POSITIVE = "RdBu_r", "YlGnBu"
BAR, GAP, HEAD, TALLEST = 72, 10, 42, 230
"""CSS pixels: of the colour bar on the right, between panels, of a row's headings, and of a panel at most."""

LETTERS = {0: ("P", "A"), 1: ("L", "R"), 2: ("L", "R")}
"""Ends of the horizontal axis of the view along each axis."""

THINNEST = 3
"""A brain of so few slices in a direction is a slab: only the view across it is worth a look."""


@dataclass(frozen=True, eq=False)
class BrainRow:
    """One row of panels.

    Parameters
    ----------
    title : what is shown
    values : (X, Y, Z) float, NaN where there is none; or bool, drawn in blue
    units : label of the colour bar
    limit : largest value of the colours; None: the 99.5th percentile of what is there
    projected : show the largest value along the line of sight instead of slices
    """

    title: str
    values: np.ndarray
    units: str = ""
    limit: float | None = None
    projected: bool = False


def brain_figure(brain: np.ndarray, rows: list[BrainRow], affine: np.ndarray, focus: np.ndarray) -> Drawing:
    """Draw each row from the right-hand side, from behind and from above.

    Parameters
    ----------
    brain : (X, Y, Z) bool, axes towards right, anterior and superior
    rows : what to draw, top to bottom
    affine : (4, 4) voxel indices to mm
    focus : (X, Y, Z) bool; the slices are those with most of these voxels
    """
    box = bounding_box(brain)
    start = np.array([part.start for part in box])
    affine = affine @ np.block([[np.eye(3), start[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])
    cropped = brain[box]
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    cuts = slices_through(focus[box] if focus[box].any() else cropped)
    views = worth_showing(cropped.shape)
    extents = np.array(cropped.shape) * sizes
    across, up = ([extents[plane(axis)[k]] for axis in views] for k in (0, 1))
    scale = min((BESIDE - BAR - GAP * len(views)) / sum(across), TALLEST / max(up))
    heads = HEAD + scale * max(up)
    width, height = max(360, scale * sum(across) + GAP * len(views) + BAR), len(rows) * heads
    with style():
        figure = new_figure(width, height)
        figure.set_layout_engine("none")  # panels of one scale, in mm
        for number, row in enumerate(rows):
            colours, left = colour_scale(row.values[box][cropped], row.limit), 0.0
            floor = height - (number + 1) * heads
            figure.text(2 / width, (floor + heads - 4) / height, row.title, fontweight="bold", fontsize=9.5, va="top")
            for axis, wide, tall in zip(views, scale * np.array(across), scale * np.array(up), strict=True):
                bottom = floor + (scale * max(up) - tall) / 2
                axes = figure.add_axes((left / width, bottom / height, wide / width, tall / height))
                _panel(axes, *_seen(row.values[box], cropped, axis, cuts[axis], row.projected), colours, sizes, axis)
                axes.set_title(_where(row, affine, axis, cuts), fontsize=8, fontweight="normal", loc="center", pad=2)
                left += wide + GAP
            if row.values.dtype != bool:
                tall = 0.84 * scale * max(up)
                bottom = floor + 0.08 * scale * max(up)
                axes = figure.add_axes(((left + 4) / width, bottom / height, 10 / width, tall / height))
                _bar(figure, axes, colours, row.units)
        return draw(figure, ".png")


def plane(axis: int) -> tuple[int, int]:
    """Axes that run to the right and upwards in the view along ``axis``.

    >>> plane(0), plane(2)
    ((1, 2), (0, 1))
    """
    across, up = (k for k in range(3) if k != axis)
    return across, up


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the part of the grid that holds a mask, and a voxel on every side.

    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[4, 5:7, 0] = True
    >>> [(part.start, part.stop) for part in bounding_box(mask)]
    [(3, 6), (4, 8), (0, 2)]
    """
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)
    found = np.argwhere(mask)
    low, high = found.min(axis=0), found.max(axis=0)
    return tuple(
        slice(max(0, int(a) - 1), min(n, int(b) + 2)) for a, b, n in zip(low, high, mask.shape, strict=True)
    )


def slices_through(mask: np.ndarray) -> tuple[int, int, int]:
    """Return, for each axis, the slice with most voxels of a mask; the middle one of equals.

    >>> mask = np.zeros((4, 5, 6), bool)
    >>> mask[2, 1:4, 5] = True
    >>> slices_through(mask)
    (2, 2, 5)
    """
    found = []
    for axis in range(3):
        counts = mask.sum(axis=tuple(k for k in range(3) if k != axis))
        most = np.flatnonzero(counts == counts.max())
        found.append(int(most[len(most) // 2]))
    return tuple(found)


def worth_showing(shape: tuple[int, ...]) -> list[int]:
    """Return the axes to look along: all three, or across a slab only.

    >>> worth_showing((40, 48, 40)), worth_showing((64, 64, 2))
    ([0, 1, 2], [2])
    """
    return [0, 1, 2] if min(shape) > THINNEST else [int(np.argmin(shape))]


@dataclass(frozen=True)
class ColourScale:
    """Colours of values from ``low`` to ``high``; ``beyond`` says to which side values go further."""

    colours: str
    low: float
    high: float
    beyond: str

    def mappable(self) -> Any:
        """What matplotlib needs to draw it."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        return ScalarMappable(Normalize(self.low, self.high), self.colours)


def colour_scale(values: np.ndarray, limit: float | None) -> ColourScale:
    """Choose the colours: away from white where there are values below 0, else from pale to dark.

    >>> colour_scale(np.array([-1.0, 2.0]), None).low < 0, colour_scale(np.array([0.5, np.nan]), 1.0).high
    (True, 1.0)
    """
    known = values[np.isfinite(values)] if values.dtype != bool else np.zeros(0)
    if not known.size:
        return ColourScale(POSITIVE, 0.0, limit or 1.0, "neither")
    high = float(limit if limit is not None else np.percentile(np.abs(known), 99.5)) or 1.0
    below, above = known.min() < -high * (1 + 1e-6), known.max() > high * (1 + 1e-6)
    if known.min() >= 0:
        return ColourScale(POSITIVE, 0.0, high, "max" if above else "neither")
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    return ColourScale(SIGNED, -high, high, beyond[bool(below), bool(above)])


def _seen(
    values: np.ndarray, brain: np.ndarray, axis: int, cut: int, projected: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return values and brain of a view, ``(up, across)``."""
    if not projected:
        return np.take(values, cut, axis=axis).T, np.take(brain, cut, axis=axis).T
    if values.dtype == bool:
        return values.any(axis=axis).T, brain.any(axis=axis).T
    largest = np.where(np.isfinite(values), values, -np.inf).max(axis=axis)
    return np.where(np.isfinite(largest), largest, np.nan).T, brain.any(axis=axis).T


def _panel(
    axes: Axes, values: np.ndarray, brain: np.ndarray, colours: ColourScale, sizes: np.ndarray, axis: int
) -> None:
    from matplotlib.patheffects import withStroke

    across, up = plane(axis)
    pixels = np.ones((*brain.shape, 3))
    pixels[brain] = BRAIN
    if values.dtype == bool:
        pixels[values] = np.array([int(BLUE[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    else:
        known = np.isfinite(values)
        pixels[known] = colours.mappable().to_rgba(values[known])[:, :3]
    axes.imshow(pixels, origin="lower", aspect=sizes[up] / sizes[across], interpolation="nearest")
    if brain.any() and not brain.all():
        axes.contour(brain, levels=[0.5], colors=[GREY], linewidths=0.7)
    halo = [withStroke(linewidth=2, foreground="white")]
    for x, letter, side in zip((0.01, 0.99), LETTERS[axis], ("left", "right"), strict=True):
        axes.text(x, 0.01, letter, transform=axes.transAxes, fontsize=8, color=GREY, va="bottom", ha=side,
                  path_effects=halo)  # fmt: skip
    axes.set_axis_off()


def _where(row: BrainRow, affine: np.ndarray, axis: int, cuts: tuple[int, int, int]) -> str:
    if row.projected:
        return ("all of x", "all of y", "all of z")[axis]
    point = np.array([*cuts, 1.0])
    return f"{'xyz'[axis]} = {round(float((affine @ point)[axis]), 1) + 0.0:g} mm"


def _bar(figure: Any, axes: Axes, colours: ColourScale, units: str) -> None:
    bar = figure.colorbar(colours.mappable(), cax=axes, extend=colours.beyond)
    bar.set_label(units, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
