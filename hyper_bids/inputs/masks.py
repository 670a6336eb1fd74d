"""The voxels inside the brain in every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.data import VoxelGrid
from hyper_bids.errors import InconsistentInput
from hyper_bids.inputs.volumes import Header, masked_blocks, read_header, read_mask, same_grid

LOSS = 0.05
"""Share of a run's mask that the intersection may lose before it is said."""


def brain_mask(recordings: Sequence[dict[str, Any]], space: str | None) -> tuple[VoxelGrid, np.ndarray, list[str]]:
    """Intersect the runs' masks; a run without one gets a mask computed from its mean image.

    Parameters
    ----------
    recordings : with ``label``, ``bold`` and ``mask`` (a path, or None)
    space : label of the grid's space

    Returns
    -------
    grid : VoxelGrid
    union : (X, Y, Z) bool, the voxels inside the mask of any run
    notices : what the user should know

    Raises
    ------
    InconsistentInput
        Runs, or a run and its mask, lie on different grids; the intersection is empty.
    """
    first = shared_grid({recording["label"]: Path(recording["bold"]) for recording in recordings})
    masks, notices = {}, []
    computed = [recording["label"] for recording in recordings if recording["mask"] is None]
    if computed:
        notices.append(f"{len(computed)} runs have no brain mask; it was computed from the mean image by nilearn.")
    for recording in recordings:
        masks[recording["label"]] = _mask_of(recording, first)
    mask = np.logical_and.reduce(list(masks.values()))
    if not mask.any():
        raise InconsistentInput("The runs' brain masks have no voxel in common; are the runs aligned to each other?")
    worst = max(masks, key=lambda label: masks[label].sum())
    lost = 1 - mask.sum() / masks[worst].sum()
    if lost > LOSS:
        notices.append(f"The intersection of the runs' brain masks loses {lost:.0%} of the voxels of {worst}'s.")
    return VoxelGrid(mask, first.affine, space), np.logical_or.reduce(list(masks.values())), notices


def shared_grid(images: Mapping[str, Path]) -> Header:
    """Return the header of the first of some images, which must all lie on one grid.

    Parameters
    ----------
    images : label -> file

    Raises
    ------
    InconsistentInput
        Names two that differ, with shapes and affines.
    """
    headers = {label: read_header(path) for label, path in images.items()}
    first_label, first = next(iter(headers.items()))
    for label, header in headers.items():
        if header.shape[:3] != first.shape[:3] or not same_grid(header.affine, first.affine):
            raise InconsistentInput(
                f"{label} has the grid {header.shape[:3]} with affine {_short(header.affine)}, {first_label} has "
                f"{first.shape[:3]} with {_short(first.affine)}. All runs of a participant and task must lie on one "
                "grid: use --space, or resample them."
            )
    return first


def _short(affine: np.ndarray) -> str:
    return "[" + "; ".join(" ".join(f"{value:.4g}" for value in row) for row in affine[:3]) + "]"


def _mask_of(recording: dict[str, Any], header: Any) -> np.ndarray:
    if recording["mask"] is None:
        return compute_mask(Path(recording["bold"]), header.affine)
    mask, affine = read_mask(Path(recording["mask"]))
    if mask.shape != header.shape[:3] or not same_grid(affine, header.affine):
        raise InconsistentInput(
            f"{recording['mask']} has the grid {mask.shape} with affine {_short(affine)}, its BOLD "
            f"{header.shape[:3]} with {_short(header.affine)}; they must be the same."
        )
    return mask


def check_user_mask(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Read a mask that the user named, which must lie on the grid of the BOLD.

    Returns
    -------
    (X, Y, Z) bool

    Raises
    ------
    InconsistentInput, MissingFiles
    """
    mask, own = read_mask(path)
    if mask.shape != tuple(shape) or not same_grid(own, affine):
        raise InconsistentInput(
            f"--mask {path} has the grid {mask.shape}, the BOLD {tuple(shape)}"
            + (", with another affine" if mask.shape == tuple(shape) else "")
            + "; resample the mask to the BOLD first."
        )
    return mask


def compute_mask(bold: Path, affine: np.ndarray) -> np.ndarray:
    """Compute a brain mask from the run's mean image (nilearn's EPI mask), ``(X, Y, Z)`` bool.

    The run is read as a stream. On a grid too thin for nilearn's morphological opening
    the opening is left out.
    """
    import nibabel as nib
    from nilearn.masking import compute_epi_mask

    shape = read_header(bold).shape[:3]
    total, count = np.zeros(int(np.prod(shape))), 0
    for block in masked_blocks(bold, np.ones(shape, dtype=bool)):
        total += np.nan_to_num(block).sum(axis=0, dtype=np.float64)
        count += len(block)
    mean = nib.Nifti1Image((total / count).reshape(shape).astype(np.float32), affine)
    opening = 2 if min(shape) > 8 else False
    try:
        mask = np.asarray(compute_epi_mask(mean, opening=opening, connected=bool(opening)).dataobj) > 0
    except Exception as error:  # nilearn raises a bare ValueError or MaskWarning here, by version
        raise InconsistentInput(
            f"No brain mask could be computed from {bold} ({error}); give one with the preprocessed data (-d)."
        ) from error
    if not mask.any():
        raise InconsistentInput(f"The brain mask computed from {bold} is empty; give one with preprocessed data (-d).")
    return mask
