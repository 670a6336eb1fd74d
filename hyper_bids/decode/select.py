"""Voxel selection rules: training data in, mask out. They are called inside the fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyper_bids.data import Latents, Responses


@dataclass(frozen=True)
class TopZ:
    """The voxels with the largest signed mean response over single training trials (HYPER).

    Amplitude, not significance; ties are broken by the lower voxel index.

    >>> import pandas as pd
    >>> from hyper_bids.data import VoxelGrid
    >>> grid = VoxelGrid(np.ones((3, 1, 1), bool), np.eye(4))
    >>> trials = pd.DataFrame({"stimulus_id": ["a", "b"]})
    >>> TopZ(2)(Responses(np.array([[1, 5, -9], [1, 5, -9]]), trials, grid), None)
    array([ True,  True, False])
    """

    n_voxels: int

    def __call__(self, responses: Responses, latents: Latents | None) -> np.ndarray:
        mean = responses.values.mean(axis=0, dtype=np.float64)
        mask = np.zeros(len(mean), dtype=bool)
        mask[np.argsort(-mean, kind="stable")[: self.n_voxels]] = True
        return mask


def all_voxels(responses: Responses, latents: Latents | None) -> np.ndarray:
    """Every voxel of the grid."""
    return np.ones(responses.grid.n_voxels, dtype=bool)
