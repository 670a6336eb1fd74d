"""Grey matter of the participant, from fMRIPrep's tissue probabilities, as voxels of the BOLD."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hyper_bids.data import VoxelGrid
from hyper_bids.errors import InconsistentInput
from hyper_bids.inputs.atlas import voxel_coordinates
from hyper_bids.inputs.names import parse_name
from hyper_bids.inputs.volumes import read_volume, same_grid

THRESHOLD = 0.5
"""Probability from which on a voxel is grey matter."""

IN_T1W = "T1w"
"""The space whose files have no ``space-`` in fMRIPrep's ``anat`` folders."""


def grey_matter(path: Path, grid: VoxelGrid, threshold: float = THRESHOLD) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the voxels of a grid that are grey matter.

    Parameters
    ----------
    path : a 3-D map of probabilities (``label-GM_probseg``); on another grid it is interpolated linearly
    grid : of the BOLD, in the same space
    threshold : least probability

    Returns
    -------
    mask : (n_voxels,) bool
    notices : what was done

    Raises
    ------
    MissingFiles, InconsistentInput
        Not readable; not 3-D; not within 0 and 1; no voxel reaches the threshold.
    """
    volume, affine = _probabilities(Path(path))
    if volume.shape == grid.mask.shape and same_grid(affine, grid.affine):
        probability, how = volume[grid.mask], "on the grid of the BOLD"
    else:
        from scipy.ndimage import map_coordinates

        places = voxel_coordinates(affine, grid)
        probability = map_coordinates(volume, places, order=1, mode="constant", cval=0.0)
        how = "interpolated linearly to the grid of the BOLD"
    mask = probability >= threshold
    if not mask.any():
        raise InconsistentInput(
            f"{path}: no voxel of the brain mask has a grey-matter probability of {threshold:g} or more. Is it in the "
            "space of the BOLD?"
        )
    said = (
        f"Grey matter: {mask.sum()} of {grid.n_voxels} voxels of the brain mask have a probability of {threshold:g} "
        f"or more in {path} ({how})."
    )
    return mask, (said,)


def _probabilities(path: Path) -> tuple[np.ndarray, np.ndarray]:
    values, affine = read_volume(path)
    if values.dtype.kind not in "iuf":
        raise InconsistentInput(f"{path} holds {values.dtype} voxels; a map of probabilities holds real numbers.")
    values = np.nan_to_num(values.astype(np.float64))
    if values.ndim != 3:
        raise InconsistentInput(f"{path} has shape {values.shape}; a map of probabilities has 3 dimensions.")
    if values.min() < -0.01 or values.max() > 1.01:
        raise InconsistentInput(
            f"{path} holds values from {values.min():g} to {values.max():g}; probabilities lie between 0 and 1."
        )
    return values, affine


def find_grey_matter(
    derivatives: Path, participant: str, space: str | None, sessions: Sequence[str] = ()
) -> tuple[Path | None, tuple[str, ...]]:
    """Look for a participant's grey-matter map in fMRIPrep's ``anat`` folders.

    Parameters
    ----------
    derivatives : fMRIPrep's output folder
    participant : label, without ``sub-``
    space : of the BOLD; ``T1w`` matches files without ``space-``; None (as they came) matches nothing
    sessions : labels to look in besides the folder without session; empty: all

    Returns
    -------
    path : the map, or None
    notices : why there is none, or which of several was taken (the first folder, then the first name:
        without a session before with one; the resolution does not matter, since it is interpolated)
    """
    if space is None:
        return None, ("Grey matter: the BOLD's name says no space, so no tissue map is known to be aligned with it.",)
    root = Path(derivatives) / f"sub-{participant}"
    folders = [root / "anat", *sorted(root.glob("ses-*/anat"))]
    wanted = {f"ses-{label.removeprefix('ses-')}" for label in sessions}
    folders = [folder for folder in folders if folder.parent == root or not wanted or folder.parent.name in wanted]
    files = [path for folder in folders for path in sorted(folder.glob("*_label-GM_probseg.nii*"))]
    found = [path for path in files if (parse_name(path).get("space") or IN_T1W) == space]
    if not found:
        return None, (f"Grey matter: there is no label-GM_probseg in space {space} under {root}.",)
    if len(found) > 1:
        return found[0], (f"Grey matter: {len(found)} maps in space {space} under {root}; {found[0].name} was used.",)
    return found[0], ()
