"""Small runs for the tests of the GLM: events, a design, a recording, and least squares out of a textbook."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hyper_bids.glm.design import run_design

N_VOLUMES, N_VOXELS, TR = 97, 23, 1.7


def events_table(rng, n=14, spacing=9.3, duration=1.1):
    return pd.DataFrame(
        {
            "onset": 4.0 + spacing * np.arange(n) + rng.uniform(0, 1, n),
            "duration": duration,
            "trial_type": np.where(np.arange(n) % 3 == 0, "test", "train"),
            "role": "sample",
        }
    )


def recorded(rng, design):
    """Signal of unequal size in every voxel, autocorrelated enough to be lifelike."""
    beta = rng.normal(0, 3, (design.matrix.shape[1], N_VOXELS))
    return (800 + design.matrix @ beta + rng.normal(0, 2, (len(design.matrix), N_VOXELS))).astype(np.float32)


def small_design(rng):
    """A run's design with two confounds, every trial a sample."""
    confounds = pd.DataFrame(rng.normal(size=(N_VOLUMES, 2)), columns=["trans_x", "rot_z"])
    return run_design(events_table(rng), N_VOLUMES, TR, confounds=confounds)


def naive(design_matrix, column, Y):
    """Five lines of textbook least squares in float64."""
    inverse = np.linalg.pinv(design_matrix)
    beta = inverse @ Y
    residual = ((Y - design_matrix @ beta) ** 2).sum(axis=0)
    dof = len(Y) - np.linalg.matrix_rank(design_matrix)
    t = beta[column] / np.sqrt(residual / dof * (inverse @ inverse.T)[column, column])
    return beta[column], t, dof


NILEARN = {"derivative": " + derivative", "derivatives": " + derivative + dispersion", "": ""}


def nilearns_name(hrf):
    base, _, further = hrf.partition("+")
    return base + NILEARN[further]
