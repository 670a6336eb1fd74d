"""How much of a voxel's response do the latents explain beyond its mean? t and F on single trials.

    t = mean / (sd / sqrt(n)),                                     n - 1 degrees of freedom
    F = ((RSS_mean - RSS_full) / K) / (RSS_full / dof),            K and dof = n - 1 - K

RSS_mean is what the constant leaves, RSS_full what constant and K latents leave (METHODS.md section 3;
Draper & Smith 1998, the extra sum of squares). K is the *rank* of the centred latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput

VOXEL_BLOCK = 4096
"""Voxels handled at a time; bounds the float64 copies."""

RANK_TOLERANCE = 1e-6
"""A latent of which less than this share of its length is its own is explained by the others (float32 files)."""

CONSTANT = 1e-12
"""A voxel whose variation is below this share of its sum of squares is constant to float precision."""


@dataclass(frozen=True, eq=False)
class GainTest:
    """The two statistics of every voxel.

    Parameters
    ----------
    t : (n_voxels,) of the mean response; NaN where a voxel is constant or not finite
    F : (n_voxels,) of the latents beyond the constant; NaN likewise
    dof_t : of t
    dof : (numerator, denominator) of F
    notices : what the user should know
    """

    t: np.ndarray
    F: np.ndarray
    dof_t: int
    dof: tuple[int, int]
    notices: tuple[str, ...]


def gain_test(values: np.ndarray, Z: np.ndarray) -> GainTest:
    """Test mean response and latents in every voxel, from one decomposition of the latents.

    Parameters
    ----------
    values : (n_trials, n_voxels)
    Z : (n_trials, n_latents), the latent that each trial showed

    Raises
    ------
    InconsistentInput
        No more trials than (independent) latents + 1; no latent varies.
    """
    n_trials, n_voxels = values.shape
    if n_trials < 3:
        raise InconsistentInput(f"Selection by gain needs at least 3 training trials, got {n_trials}.")
    basis = latent_basis(Z)
    rank, dof = basis.shape[1], n_trials - 1 - basis.shape[1]
    _check_sizes(n_trials, np.shape(Z)[1], rank)
    t, F = np.full(n_voxels, np.nan), np.full(n_voxels, np.nan)
    for start in range(0, n_voxels, VOXEL_BLOCK):
        columns = slice(start, start + VOXEL_BLOCK)
        t[columns], F[columns] = _block(values[:, columns], basis, dof)
    notices = () if rank == np.shape(Z)[1] else (
        f"The {np.shape(Z)[1]} latents of the {n_trials} training trials span {rank} dimensions beyond the constant; "
        f"selection by gain tests those: F({rank}, {dof}).",
    )  # fmt: skip
    return GainTest(t, F, n_trials - 1, (rank, dof), notices)


def latent_basis(Z: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the centred latents, ``(n_trials, rank)`` float64: a pivoted QR.

    Latents are scaled to unit length first, so that their units do not decide on the rank.
    """
    from scipy.linalg import qr

    Z = np.asarray(Z, dtype=np.float64)
    centred = Z - Z.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    varies = length > CONSTANT**0.5 * np.linalg.norm(Z, axis=0)
    if not varies.any():
        return np.zeros((len(Z), 0))
    Q, R, _ = qr(centred[:, varies] / length[varies], mode="economic", pivoting=True, overwrite_a=True)
    return Q[:, np.abs(np.diag(R)) > RANK_TOLERANCE]


def _check_sizes(n_trials: int, n_latents: int, rank: int) -> None:
    if rank == 0:
        raise InconsistentInput(
            f"Selection by gain: none of the {n_latents} latents varies over the {n_trials} training trials, so that "
            "there is nothing to test. Use --select top-z."
        )
    if n_trials <= rank + 1:
        raise InconsistentInput(
            f"Selection by gain needs more training trials than latents + 1, got {n_trials} trials for {n_latents} "
            f"latents ({rank} independent). Use a latent space with fewer dimensions, more trials, or another rule "
            "(--select top-z or reliability)."
        )


def _block(values: np.ndarray, basis: np.ndarray, dof: int) -> tuple[np.ndarray, np.ndarray]:
    n_trials, rank = basis.shape
    mean = values.mean(axis=0, dtype=np.float64)
    values = values - mean
    total = np.einsum("nv,nv->v", values, values)
    varies = np.isfinite(total) & (total > CONSTANT * n_trials * mean**2)
    total = np.where(varies, total, np.nan)
    product = basis.T @ values
    explained = np.einsum("kv,kv->v", product, product)
    # Rounding may leave a residual of 0, or below, in a voxel that the latents explain altogether.
    residual = np.maximum(total - explained, CONSTANT * total)
    t = mean / np.sqrt(total / (n_trials - 1) / n_trials)
    return t, (explained / rank) / (residual / dof)
