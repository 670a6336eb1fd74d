"""Maps in the space of a template: through the glass brain, and on the cortical surface (nilearn).

Only for standard spaces of MNI: elsewhere the outlines would not be the participant's. The surface is fsaverage5,
which comes with nilearn; a volume in MNI space is sampled at its vertices, which is close and not exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from hyper_bids.report.canvas import BESIDE, Drawing, draw, new_figure, style

SPACES = ("MNI",)
"""Beginnings of ``space-`` labels whose coordinates are a template's."""

VIEWS = (("left", "lateral"), ("right", "lateral"), ("left", "medial"), ("right", "medial"), ("left", "ventral"),
         ("right", "ventral"))  # fmt: skip

COLOURS = "YlGnBu"

APPROXIMATE = "close to the participant's anatomy, and not exact."
"""What a reader should know of a volume in MNI space on a template's surface."""


def in_template(space: str | None) -> bool:
    """Whether maps in this space may be drawn on a template.

    >>> in_template("MNI152NLin2009cAsym"), in_template("T1w"), in_template(None)
    (True, False, False)
    """
    return space is not None and space.startswith(SPACES)


def glass_figure(maps: Sequence[tuple[str, np.ndarray, str, float | None]], affine: np.ndarray) -> Drawing:
    """Draw each map seen through the brain from the left, front and top: the largest value along the line of sight.

    Parameters
    ----------
    maps : title, (X, Y, Z) values (0 where there is none), units, largest value of the colours or None
    affine : (4, 4) voxel indices to mm of the template
    """
    import nibabel as nib
    from nilearn.plotting import plot_glass_brain

    tall = 190
    with style(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure = new_figure(BESIDE, tall * len(maps))
        figure.set_layout_engine("none")
        for number, (title, values, units, limit) in enumerate(maps):
            top = 1 - number / len(maps)
            box = (0.0, top - 0.98 / len(maps), 0.98, 0.86 / len(maps))
            image = nib.Nifti1Image(np.nan_to_num(values).astype(np.float32), affine)
            high = limit if limit is not None else _high(values)
            plot_glass_brain(
                image, figure=figure, axes=box, colorbar=bool(units), cmap=COLOURS if units else "Blues", vmin=0,
                vmax=high, threshold=1e-6, display_mode="lyrz", plot_abs=False, annotate=True,
            )  # fmt: skip
            figure.text(0.005, top - 0.01 / len(maps), title + (f" ({units})" if units else ""), va="top",
                        fontweight="bold", fontsize=9.5)  # fmt: skip
        return draw(figure, ".png")


def surface_figure(title: str, values: np.ndarray, affine: np.ndarray, units: str, limit: float | None) -> Drawing:
    """Draw a map on the inflated fsaverage5: lateral, medial and ventral views of both hemispheres.

    Parameters
    ----------
    title : what is shown
    values : (X, Y, Z), 0 where there is none
    affine : (4, 4) voxel indices to mm of the template
    units : label of the colour bar
    limit : largest value of the colours; None: the 99.5th percentile
    """
    import nibabel as nib
    from nilearn.datasets import fetch_surf_fsaverage
    from nilearn.surface import load_surf_data, load_surf_mesh, vol_to_surf

    mesh = fetch_surf_fsaverage("fsaverage5")
    image = nib.Nifti1Image(np.nan_to_num(values).astype(np.float32), affine)
    high = limit if limit is not None else _high(values)
    sides = {}
    for side in ("left", "right"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mean of empty slice")  # vertices outside the volume: grey
            sampled = vol_to_surf(image, mesh[f"pial_{side}"], inner_mesh=mesh[f"white_{side}"], kind="auto")
        drawn = load_surf_mesh(mesh[f"infl_{side}"])
        sulci = load_surf_data(mesh[f"sulc_{side}"])
        sides[side] = (drawn.coordinates, drawn.faces, np.nan_to_num(sampled), sulci)
    return _panels(title, sides, units, high)


def _high(values: np.ndarray) -> float:
    known = values[np.isfinite(values) & (values > 0)]
    return float(np.percentile(known, 99.5)) if known.size else 1.0




def project(coordinates: np.ndarray, side: str, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Turn vertices so that the viewer looks along the third axis.

    Parameters
    ----------
    coordinates : (n, 3) mm towards right, anterior, superior

    Returns
    -------
    plane : (n, 2) to the right and upwards on the page
    depth : (n,) larger is nearer to the viewer

    >>> plane, depth = project(np.array([[-50.0, 20.0, 10.0]]), "left", "lateral")
    >>> plane.tolist(), depth.tolist()
    ([[-20.0, 10.0]], [50.0])
    """
    x, y, z = coordinates.T
    if view == "ventral":
        return np.stack([-x, y], axis=1), -z
    outwards = -1.0 if (side == "left") == (view == "lateral") else 1.0
    return np.stack([outwards * y, z], axis=1), outwards * x


def _panels(title: str, sides: dict[str, tuple[np.ndarray, ...]], units: str, high: float) -> Drawing:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(0, high), COLOURS)
    with style():
        figure = new_figure(BESIDE, 470)
        figure.set_layout_engine("none")  # panels of one size: the six views are then to one scale but the ventral
        for number, (side, view) in enumerate(VIEWS):
            axes = figure.add_axes((0.43 * (number % 2), 0.64 - 0.315 * (number // 2), 0.43, 0.27))
            _view(axes, *sides[side], side, view, scale, high)
            axes.set_title(f"{side}, {view}", fontsize=8.5, fontweight="normal", loc="center", pad=1)
        figure.text(0.01, 0.985, title, fontweight="bold", fontsize=9.5, va="top")
        bar = figure.colorbar(scale, cax=figure.add_axes((0.885, 0.25, 0.022, 0.5)), label=units)
        bar.outline.set_visible(False)
        return draw(figure, ".png")


def _view(
    axes: object, coordinates: np.ndarray, faces: np.ndarray, values: np.ndarray, sulci: np.ndarray, side: str,
    view: str, scale: object, high: float,
) -> None:  # fmt: skip
    """Draw one view: faces that look at the viewer, far ones first, lit from the viewer."""
    from matplotlib.collections import PolyCollection

    plane, depth = project(coordinates, side, view)
    corners = np.column_stack([plane, depth])[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = normal[:, 2] / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    # a mirrored view turns the order of corners round: what looks at the viewer is then what looks away
    handed = 1.0 if np.median(facing[corners[:, :, 2].mean(axis=1) > np.percentile(depth, 80)]) > 0 else -1.0
    facing = handed * facing
    seen = np.flatnonzero(facing > 0)
    seen = seen[np.argsort(corners[seen, :, 2].mean(axis=1), kind="stable")]
    grey = np.where(sulci[faces[seen]].mean(axis=1) > 0, 0.72, 0.86)
    colours = np.repeat(grey[:, None], 3, axis=1)
    held = values[faces[seen]].mean(axis=1)
    coloured = held > 1e-3 * high
    colours[coloured] = scale.to_rgba(held[coloured])[:, :3]
    colours *= (0.72 + 0.28 * facing[seen])[:, None]
    axes.add_collection(
        PolyCollection(corners[seen, :, :2], facecolors=colours, edgecolors="face", linewidths=0.15, rasterized=True)
    )
    low, top = plane.min(axis=0), plane.max(axis=0)
    axes.set_xlim(low[0] - 2, top[0] + 2)
    axes.set_ylim(low[1] - 2, top[1] + 2)
    axes.set_aspect("equal")
    axes.set_axis_off()
