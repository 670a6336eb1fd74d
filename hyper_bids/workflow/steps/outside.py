"""Voxels outside the brain: where they are, and which of them have a signal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hyper_bids.data import VoxelGrid
from hyper_bids.derivatives.write import write_npz
from hyper_bids.seeds import generator
from hyper_bids.workflow import files

GAP = 2
"""Voxels between the brain and what counts as outside it, in every direction."""

CANDIDATES = 1000
"""Voxels that are fitted with the brain's: some of them may have no signal."""

LEAST_SHARE = 0.05
"""Share of the image below which a mask file is taken to be of a region: a brain of 1 l in an image of 20 l."""

MOST, FEWEST = 500, 20
"""Voxels that are used at most, and that are needed."""


def voxels_outside(brain: np.ndarray, grid: VoxelGrid, masked: bool) -> tuple[VoxelGrid, str]:
    """Draw voxels that lie outside the brain in every run, and not near it.

    The draw does not depend on ``--random-seed``: another seed need not fit the runs again.

    Parameters
    ----------
    brain : (X, Y, Z) bool, the union of the runs' masks: what is brain in any of them
    grid : the voxels in all of them, for affine and space
    masked : whether a run has a mask file, which may be of a region of the brain; one that was computed is not

    Returns
    -------
    drawn : none where ``why``
    why : it cannot be known what lies outside the brain, or ""
    """
    from scipy.ndimage import binary_dilation

    if masked and brain.mean() < LEAST_SHARE:
        why = f"the brain mask covers {100 * brain.mean():.2g} % of the image: what lies outside may be brain"
        return VoxelGrid(np.zeros_like(grid.mask), grid.affine, grid.space), why
    away = ~binary_dilation(brain, np.ones((3, 3, 3), dtype=bool), iterations=GAP)
    places = np.flatnonzero(away)
    rng = generator(0, "voxels outside the brain")
    drawn = np.zeros(grid.mask.shape, dtype=bool)
    drawn.flat[rng.choice(places, min(CANDIDATES, len(places)), replace=False)] = True
    return VoxelGrid(drawn, grid.affine, grid.space), ""


def save_outside(path: Path, drawn: VoxelGrid, why: str = "") -> Path:
    """Write what `voxels_outside` returns: a file of `files.save_grid`, with the reason."""
    arrays = {"mask": drawn.mask, "affine": drawn.affine, "space": np.array(drawn.space or ""), "why": np.array(why)}
    return write_npz(path, arrays)


def responses_outside(outside: Path, runs: Sequence[Path], seed: int) -> tuple[np.ndarray | None, VoxelGrid, str]:
    """Return what the runs' fits gave for voxels outside the brain that have a signal in every run.

    Parameters
    ----------
    outside : the drawn voxels, of `save_outside`
    runs : one file a run, (n_trials, n_drawn)

    Returns
    -------
    values : (n_trials, n) of all runs, n at most `MOST`; None where there are fewer than `FEWEST`
    grid : their voxels
    why : there are too few, or what lies outside is not known, or ""
    """
    drawn, why = files.load_grid(outside), str(files.load_arrays(outside, ("why",))["why"])
    if why:
        return None, drawn, why
    if drawn.n_voxels < FEWEST:
        why = f"{drawn.n_voxels} voxels of the image lie outside the brain mask with {GAP} voxels in between"
        return None, drawn, f"{why}; {FEWEST} are needed"
    values = np.concatenate([np.asarray(files.load_array(path)) for path in runs])
    usable = np.flatnonzero(np.isfinite(values).all(axis=0))
    if len(usable) < FEWEST:
        why = (
            f"of {drawn.n_voxels} voxels drawn outside the brain mask {len(usable)} have a signal that is finite and "
            f"varies in every run, and {FEWEST} are needed"
        )
        return None, drawn, why + ("" if len(usable) else "; the BOLD seems to be set to 0 outside the brain")
    if len(usable) > MOST:
        usable = np.sort(generator(seed, "voxels outside the brain").choice(usable, MOST, replace=False))
    kept = np.zeros(drawn.n_voxels, dtype=bool)
    kept[usable] = True
    return values[:, usable], drawn.within(kept), ""
