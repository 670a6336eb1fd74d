"""The streaming fit: one pass over a run's volumes, all trials at once.

A run enters as blocks of volumes, masked, float32; only ``Q'Y`` and ``y'y`` are kept,
Q an orthonormal basis of everything that any model of the run needs. LSA is then one
triangular solve. LSS needs no second pass: every trial's own model lies in the span
of Q, and its least squares is a system of two (or one per condition) equations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.glm.design import RunDesign
from hyper_bids.glm.tails import z_from_t

VOXEL_BLOCK = 16384
"""Voxels that are finished at a time: bounds the temporary arrays."""

RESIDUAL_FLOOR = 1e-10
"""Share of a voxel's variance below which its residual is taken as this share: float64 sums
of float32 data cannot tell a smaller one from 0, and a z must stay finite."""


@dataclass(frozen=True, eq=False)
class CrossProducts:
    """What is kept of a run: enough for every linear model inside the basis.

    Parameters
    ----------
    basis : (n_volumes, rank) float64, orthonormal columns
    projected : (rank, n_voxels) float64, ``basis' (Y - offset)``
    squares : (n_voxels,) float64, sum of ``(Y - offset)^2``
    mean : (n_voxels,) float64, the voxel's mean signal
    valid : (n_voxels,) bool, False where a voxel is NaN, infinite or constant
    """

    basis: np.ndarray
    projected: np.ndarray
    squares: np.ndarray
    mean: np.ndarray
    valid: np.ndarray

    @property
    def n_volumes(self) -> int:
        return len(self.basis)


def orthonormal_basis(matrix: np.ndarray) -> np.ndarray:
    """Orthonormal basis ``(n, rank)`` of the columns of ``matrix``, by SVD of its scaled columns."""
    norms = np.linalg.norm(matrix, axis=0)
    left, values, _ = np.linalg.svd(matrix / np.where(norms > 0, norms, 1.0), full_matrices=False)
    return left[:, values > values[0] * 1e-10]


def accumulate(blocks: Iterable[np.ndarray], design: RunDesign, label: str = "run") -> CrossProducts:
    """Read a run once.

    Parameters
    ----------
    blocks : arrays (n_block, n_voxels) float32, consecutive volumes of the masked run
    design : its design; dummy scans are already left out of both
    label : for messages

    Raises
    ------
    InconsistentInput
        The number of volumes is not the design's.
    """
    basis = orthonormal_basis(design.matrix)
    n_design, seen, offset = len(basis), 0, None
    for block in blocks:
        if seen + len(block) > n_design:
            raise InconsistentInput(_wrong_length(label, f"more than {n_design}", n_design))
        if offset is None:
            # The constant is in every design, so any offset is allowed; the mean of the
            # first volumes keeps the float sums from cancelling.
            offset = block.mean(axis=0, dtype=np.float64)
            offset = np.where(np.isfinite(offset), offset, 0.0)
            projected = np.zeros((basis.shape[1], block.shape[1]))
            squares, total = np.zeros(block.shape[1]), np.zeros(block.shape[1])
            low, high = np.full(block.shape[1], np.inf), np.full(block.shape[1], -np.inf)
        part = basis[seen : seen + len(block)].T
        for start in range(0, block.shape[1], VOXEL_BLOCK):
            voxels = slice(start, start + VOXEL_BLOCK)
            centred = block[:, voxels] - offset[voxels]
            projected[:, voxels] += part @ centred
            squares[voxels] += np.einsum("tv,tv->v", centred, centred)
            total[voxels] += centred.sum(axis=0)
        np.minimum(low, block.min(axis=0), out=low)
        np.maximum(high, block.max(axis=0), out=high)
        seen += len(block)
    if seen != n_design:
        raise InconsistentInput(_wrong_length(label, str(seen), n_design))
    valid = np.isfinite(squares) & np.isfinite(projected).all(axis=0) & (high > low)
    return CrossProducts(basis, projected, squares, offset + total / n_design, valid)


def _wrong_length(label: str, found: str, needed: int) -> str:
    return (
        f"{label}: {found} volumes were read but the design has {needed} rows; "
        "check dummy scans or pass --dummy-scans N."
    )


@dataclass(frozen=True, eq=False)
class TrialEstimates:
    """One estimate a trial and voxel, ``(n_trials, n_voxels)`` float32, and the models' degrees of freedom."""

    values: np.ndarray
    dof: np.ndarray


def estimate(
    products: CrossProducts, design: RunDesign, mode: str, *, response: str = "z", rest: str = "one"
) -> TrialEstimates:
    """Estimate the response to every trial.

    Parameters
    ----------
    products : from `accumulate`
    design : the same design
    mode : ``lsa`` or ``lss``
    response : ``beta`` (in % of the voxel's mean signal), ``t`` or ``z``
    rest : in LSS, the other trials as ``one`` regressor, or one per ``condition``

    Returns
    -------
    TrialEstimates
        ``values`` is NaN at voxels that are not valid. ``dof`` (n_trials,): number of
        volumes minus the rank of the trial's model.
    """
    solver = _lsa_weights if mode == "lsa" else _lss_weights
    weights, explain, dof = solver(products.basis, design, rest)
    n_trials, n_voxels = design.trials.shape[1], len(products.squares)
    out = np.full((n_trials, n_voxels), np.nan, dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        percent = np.where(np.abs(products.mean) > 0, 100.0 / np.abs(products.mean), np.nan)
        for start in range(0, n_voxels, VOXEL_BLOCK):
            voxels = np.arange(start, min(start + VOXEL_BLOCK, n_voxels))
            voxels = voxels[products.valid[voxels]]
            if len(voxels) == 0:
                continue
            projected, squares = products.projected[:, voxels], products.squares[voxels]
            beta, standard, residual = explain(weights, projected, squares)
            if response == "beta":
                out[:, voxels] = beta * percent[voxels]
                continue
            floor = RESIDUAL_FLOOR * np.maximum(squares, np.finfo(float).tiny)
            error = np.sqrt(np.maximum(residual, floor) / dof[:, None]) * standard[:, None]
            t = beta / error
            if response == "t":
                out[:, voxels] = t
                continue
            for degrees in np.unique(dof):
                rows = dof == degrees
                out[np.ix_(rows, voxels)] = z_from_t(t[rows], float(degrees))
    return TrialEstimates(out, dof)


def model_dof(design: RunDesign, mode: str, rest: str = "one") -> np.ndarray:
    """Residual degrees of freedom of each trial's model, ``(n_trials,)``."""
    solver = _lsa_weights if mode == "lsa" else _lss_weights
    return solver(orthonormal_basis(design.matrix), design, rest)[2]


def _lsa_weights(basis: np.ndarray, design: RunDesign, rest: str):
    """One model for all trials: ``beta = R^-1 Q'y``; standard error from the rows of ``R^-1``."""
    coordinates = basis.T @ design.matrix
    inverse = np.linalg.pinv(coordinates)[: design.trials.shape[1]]
    standard = np.linalg.norm(inverse, axis=1)
    dof = np.full(len(inverse), len(basis) - basis.shape[1])

    def explain(weights: np.ndarray, projected: np.ndarray, squares: np.ndarray):
        residual = squares - np.einsum("pv,pv->v", projected, projected)
        return weights @ projected, standard, residual[None, :]

    return inverse, explain, dof


def _lss_weights(basis: np.ndarray, design: RunDesign, rest: str):
    """One model a trial, in closed form for all trials and voxels.

    With the nuisance projected out of trials and data, trial j's model has the columns
    ``x_j`` and ``s_c - [c = c_j] x_j`` for every condition c (one condition for
    ``rest="one"``), s_c the sum of the condition's trials. Its normal equations need
    only inner products that all trials share: ``X'X`` and ``X'Y``
    (Mumford et al. 2012; Turner et al. 2012).
    """
    trials, nuisance = basis.T @ design.trials, basis.T @ design.nuisance
    nuisance = orthonormal_basis(nuisance)
    clean = trials - nuisance @ (nuisance.T @ trials)
    kinds = np.array(design.conditions if rest == "condition" else ["all"] * trials.shape[1])
    sums = np.column_stack([clean[:, kinds == kind].sum(axis=1) for kind in dict.fromkeys(kinds)])
    member = np.array([list(dict.fromkeys(kinds)).index(kind) for kind in kinds], dtype=int)
    inverses, standard, dof = [], np.empty(len(kinds)), np.empty(len(kinds), dtype=int)
    for j in range(len(kinds)):
        model = np.column_stack([clean[:, j], sums])
        model[:, 1 + member[j]] -= clean[:, j]
        gram = model.T @ model
        keep = np.diag(gram) > 1e-12 * max(gram[0, 0], np.finfo(float).tiny)
        keep[0] = True
        inverse = np.zeros_like(gram)
        inverse[np.ix_(keep, keep)] = np.linalg.pinv(gram[np.ix_(keep, keep)], rcond=1e-12, hermitian=True)
        inverses.append(inverse)
        standard[j] = np.sqrt(inverse[0, 0])
        rank = int(np.linalg.matrix_rank(gram[np.ix_(keep, keep)], hermitian=True))
        dof[j] = len(basis) - nuisance.shape[1] - rank
    if (dof < 1).any():
        raise InconsistentInput(
            f"LSS with the other trials as {sums.shape[1]} regressors and {nuisance.shape[1]} nuisance regressors "
            f"leaves no degrees of freedom in {design.trials.shape[0]} volumes. Use --lss-rest one, or fewer confounds."
        )
    weights = (clean, sums, member, np.array(inverses))

    def explain(weights: tuple, projected: np.ndarray, squares: np.ndarray):
        clean, sums, member, inverses = weights
        nuisance_part = nuisance.T @ projected
        base = squares - np.einsum("pv,pv->v", nuisance_part, nuisance_part)
        own, all_sums = clean.T @ projected, sums.T @ projected
        beta, residual = np.empty_like(own), np.empty_like(own)
        for j in range(len(own)):
            moments = np.vstack([own[j], all_sums])
            moments[1 + member[j]] -= own[j]
            solution = inverses[j] @ moments
            beta[j] = solution[0]
            residual[j] = base - np.einsum("kv,kv->v", moments, solution)
        return beta, standard, residual

    return weights, explain, dof
