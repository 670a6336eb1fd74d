"""Noise ceiling of every voxel from repeated stimuli: how much of its mean response can be explained at all.

One-way random effects: a trial is the stimulus's response plus noise. With m repeats a stimulus (where they
differ: 1 / mean(1 / m), their harmonic mean, since that is what the noise in the means has)

    s2_n = mean over stimuli of the variance within a stimulus
    s2_s = max(0, variance of the stimulus means - s2_n / m)
    r2   = s2_s / (s2_s + s2_n / m)

(METHODS.md section 6; all variances with n - 1). With equal numbers of repeats r2 is the intraclass
correlation ICC(1, m) = 1 - 1 / F of Shrout & Fleiss 1979, floored at 0. A stimulus with one repeat is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VOXEL_BLOCK = 4096
"""Voxels handled at a time; bounds the float64 copies."""

CONSTANT = 1e-20
"""What varies by less than this share of its sum of squares does so by rounding."""


@dataclass(frozen=True, eq=False)
class NoiseCeiling:
    """Variance components of every voxel; empty arrays, and why, where there are no repeats.

    Parameters
    ----------
    s2_n, s2_s : (n_voxels,) variance of noise and of stimuli, in squared units of the response
    r2 : (n_voxels,) in [0, 1]; NaN for voxels that do not vary
    n_repeats : harmonic mean over the repeated stimuli
    n_stimuli, n_left_out : repeated stimuli, and those with one repeat
    reason : why there is no ceiling, or ""
    notices : what the user should know
    """

    s2_n: np.ndarray
    s2_s: np.ndarray
    r2: np.ndarray
    n_repeats: float
    n_stimuli: int
    n_left_out: int
    reason: str = ""
    notices: tuple[str, ...] = ()


def noise_ceiling(values: np.ndarray, stimuli: np.ndarray) -> NoiseCeiling:
    """Estimate the noise ceiling of every voxel.

    Parameters
    ----------
    values : (n_trials, n_voxels) responses of single trials
    stimuli : (n_trials,) labels

    Returns
    -------
    NoiseCeiling
        With a ``reason`` and empty arrays where fewer than two stimuli are repeated: no run fails for that.
    """
    names, own, counts = np.unique(np.asarray(stimuli, dtype=str), return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts > 1)
    n_left_out = len(names) - len(repeated)
    if len(repeated) < 2:
        none = np.zeros(0)
        reason = (
            f"of {len(names)} stimuli {len(repeated)} are repeated; the variance of stimuli and of noise can be told "
            "apart from 2 on."
        )
        return NoiseCeiling(none, none, none, float("nan"), len(repeated), n_left_out, reason)
    rows = np.flatnonzero(np.isin(own, repeated))
    rows = rows[np.argsort(own[rows], kind="stable")]
    n_repeats = 1 / np.mean(1 / counts[repeated])
    s2_n, s2_s = np.empty(values.shape[1]), np.empty(values.shape[1])
    for start in range(0, len(s2_n), VOXEL_BLOCK):
        columns = slice(start, start + VOXEL_BLOCK)
        s2_n[columns], s2_s[columns] = _components(values[rows, columns], counts[repeated], n_repeats)
    total = s2_s + s2_n / n_repeats
    with np.errstate(invalid="ignore"):
        r2 = np.where(total > 0, s2_s / total, np.nan)
    said = f"Noise ceiling: {n_left_out} of {len(names)} stimuli have one repeat and are left out."
    return NoiseCeiling(s2_n, s2_s, r2, float(n_repeats), len(repeated), n_left_out, "", (said,) if n_left_out else ())


def _components(values: np.ndarray, counts: np.ndarray, n_repeats: float) -> tuple[np.ndarray, np.ndarray]:
    """Variance of noise and of stimuli; trials are sorted by stimulus, ``counts`` of each."""
    values = values.astype(np.float64)
    rounding = CONSTANT * (values * values).sum(axis=0)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    means = np.add.reduceat(values, starts, axis=0) / counts[:, None]
    squares = np.add.reduceat((values - np.repeat(means, counts, axis=0)) ** 2, starts, axis=0)
    within = (squares / (counts - 1)[:, None]).mean(axis=0)
    between = means.var(axis=0, ddof=1)
    constant = squares.sum(axis=0) + between <= rounding
    within[constant], between[constant] = 0.0, 0.0
    return within, np.maximum(0.0, between - within / n_repeats)
