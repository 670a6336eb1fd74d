"""Where in the brain the decoder looked: slices that need no template, so that any space will do."""

from __future__ import annotations

import numpy as np

from hyper_bids.report.canvas import BESIDE, BLUE, GREY, Drawing, draw, new_figure, style
from hyper_bids.report.figures_brain import LETTERS, THINNEST, slices_through

MOST_SLICES = 12
COLUMNS = 6


def chosen_slices(mask: np.ndarray, most: int = MOST_SLICES) -> np.ndarray:
    """Return at most ``most`` indices along the third axis, evenly spread over the slices that hold voxels.

    >>> chosen_slices(np.ones((2, 2, 30), bool), 4)
    array([ 0, 10, 19, 29])
    """
    held = np.flatnonzero(mask.any(axis=(0, 1)))
    if len(held) <= most:
        return held
    return held[np.round(np.linspace(0, len(held) - 1, most)).astype(int)]


def voxels_figure(brain: np.ndarray, seen: np.ndarray, affine: np.ndarray) -> Drawing:
    """Draw the voxels that the decoder saw on the brain mask: axial slices, then one coronal and one sagittal.

    The slices are those that hold such voxels (of the brain, where there are none), the last two those with most.

    Parameters
    ----------
    brain, seen : (X, Y, Z) bool, axes towards right, anterior and superior
    affine : (4, 4) voxel indices to mm
    """
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    focus = seen if seen.any() else brain
    panels = [(2, k) for k in chosen_slices(focus)]
    if min(brain.shape) > THINNEST:  # a slab has no other view worth a look
        most = slices_through(focus)
        panels += [(1, most[1]), (0, most[0])]
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width = BESIDE if columns > 2 else 440
    cell = width / columns
    tallest = max(_aspect(brain.shape, sizes, axis) for axis, _ in panels)
    with style():
        figure = new_figure(width, rows * (cell * min(1.5, tallest) + 22) + 8)
        every = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (axis, index) in zip(every, panels, strict=False):
            _panel(axes, brain, seen, affine, sizes, axis, index)
        for axes in every[len(panels) :]:
            axes.set_visible(False)
        return draw(figure, ".png")


def _aspect(shape: tuple[int, ...], sizes: np.ndarray, axis: int) -> float:
    across, up = [k for k in range(3) if k != axis]
    return shape[up] * sizes[up] / (shape[across] * sizes[across])


def _panel(
    axes: object, brain: np.ndarray, seen: np.ndarray, affine: np.ndarray, sizes: np.ndarray, axis: int, index: int
) -> None:
    across, up = [k for k in range(3) if k != axis]
    plane = [np.take(volume, index, axis=axis).T for volume in (brain, seen)]
    pixels = np.ones((*plane[0].shape, 3))
    pixels[plane[0]] = np.array([0.87, 0.89, 0.92])
    pixels[plane[1]] = np.array([int(BLUE[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    axes.imshow(pixels, origin="lower", aspect=sizes[up] / sizes[across], interpolation="nearest")
    if plane[0].any() and not plane[0].all():
        axes.contour(plane[0], levels=[0.5], colors=[GREY], linewidths=0.7)
    point = np.zeros(3)
    point[axis] = index
    where = float((affine @ np.append(point, 1.0))[axis])
    title = f"{'xyz'[axis]} = {round(where, 1) + 0.0:g} mm"
    axes.set_title(title, fontsize=7.5, fontweight="normal", loc="center", pad=2)
    for x, letter, side in zip((0.01, 0.99), LETTERS[axis], ("left", "right"), strict=True):
        axes.text(x, 0.01, letter, transform=axes.transAxes, fontsize=8, color=GREY, va="bottom", ha=side)
    axes.set_axis_off()
