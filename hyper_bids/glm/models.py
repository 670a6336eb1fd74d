"""The models of a run's trials, in coordinates of the run's orthonormal basis Q.

Least squares then needs the data only through ``Q'Y`` (rank x n_voxels) and ``y'y``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.glm.design import RunDesign


def orthonormal_basis(matrix: np.ndarray) -> np.ndarray:
    """Orthonormal basis ``(n, rank)`` of the columns of ``matrix``, by SVD of its scaled columns."""
    norms = np.linalg.norm(matrix, axis=0)
    left, values, _ = np.linalg.svd(matrix / np.where(norms > 0, norms, 1.0), full_matrices=False)
    return left[:, values > values[0] * 1e-10]


@dataclass(frozen=True, eq=False)
class TrialModels(ABC):
    """All trials' models.

    Parameters
    ----------
    dof : (n_trials,) residual degrees of freedom
    variance : (n_trials,) variance of the response's estimate per unit of noise variance, under OLS
    """

    dof: np.ndarray
    variance: np.ndarray

    @abstractmethod
    def ols(self, projected: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return effects ``(n_trials, n)`` and residual sums of squares ``(n_trials or 1, n)``."""

    @abstractmethod
    def subspaces(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return each distinct model as ``(basis (rank, k), contrasts (m, k), trials (m,))``.

        The contrasts are in coordinates of the model's own orthonormal basis: the response of
        trial ``trials[i]`` is ``contrasts[i] @ theta``, theta the model's coefficients there.
        """


@dataclass(frozen=True, eq=False)
class LSAModels(TrialModels):
    """One model for all trials.

    Parameters
    ----------
    contrasts : (n_trials, rank): the responses are ``contrasts @ Q'Y``
    """

    contrasts: np.ndarray

    def ols(self, projected: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        residual = squares - np.einsum("pv,pv->v", projected, projected)
        return self.contrasts @ projected, residual[None, :]

    def subspaces(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        rank = self.contrasts.shape[1]
        return [(np.eye(rank), self.contrasts, np.arange(len(self.contrasts)))]


def lsa_models(basis: np.ndarray, design: RunDesign) -> LSAModels:
    """One regressor (or set of basis functions) per trial in one model (least squares, all)."""
    inverse = np.linalg.pinv(basis.T @ design.matrix)[: design.trials.shape[1]]
    contrasts = np.einsum("nb,nbp->np", design.weights, inverse.reshape(design.n_trials, design.n_basis, -1))
    dof = np.full(design.n_trials, len(basis) - basis.shape[1])
    return LSAModels(dof, (contrasts**2).sum(axis=1), contrasts)


@dataclass(frozen=True, eq=False)
class LSSModels(TrialModels):
    """One model per trial, in closed form for all trials and voxels.

    With the nuisance projected out of trials and data, trial j's model has the columns
    ``x_j`` and ``s_c - [c = c_j] x_j`` for every condition c (one condition for
    ``rest="one"``), s_c the sum of the condition's trials. Its normal equations need only
    inner products that all trials share: ``X'X`` and ``X'Y`` (Mumford et al. 2012; Turner
    et al. 2012).

    Parameters
    ----------
    nuisance : (rank, m) orthonormal nuisance
    clean : (rank, n_trials, n_basis) trials without nuisance
    sums : (rank, n_conditions, n_basis) their sums over each condition
    member : (n_trials,) condition of each trial
    inverses : (n_trials, q, q) inverse Gram matrices, q = n_basis (1 + n_conditions)
    weights : (n_trials, n_basis)
    """

    nuisance: np.ndarray
    clean: np.ndarray
    sums: np.ndarray
    member: np.ndarray
    inverses: np.ndarray
    weights: np.ndarray

    def ols(self, projected: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        of_nuisance = self.nuisance.T @ projected
        base = squares - np.einsum("mv,mv->v", of_nuisance, of_nuisance)
        n_basis, n_voxels = self.clean.shape[2], projected.shape[1]
        own = (self.clean.reshape(len(self.clean), -1).T @ projected).reshape(-1, n_basis, n_voxels)
        sums = (self.sums.reshape(len(self.sums), -1).T @ projected).reshape(-1, n_basis, n_voxels)
        effect = np.empty((len(own), n_voxels))
        residual = np.empty_like(effect)
        moments = np.empty((1 + len(sums), n_basis, n_voxels))
        for j, member in enumerate(self.member):
            moments[0], moments[1:] = own[j], sums
            moments[1 + member] -= own[j]
            flat = moments.reshape(-1, n_voxels)
            solution = self.inverses[j] @ flat
            effect[j] = self.weights[j] @ solution[:n_basis]
            residual[j] = base - np.einsum("qv,qv->v", flat, solution)
        return effect, residual

    def model(self, j: int) -> np.ndarray:
        """Columns of trial j's model without nuisance, ``(rank, q)``."""
        columns = np.concatenate([self.clean[:, j : j + 1], self.sums], axis=1)
        columns[:, 1 + self.member[j]] -= self.clean[:, j]
        return columns.reshape(len(columns), -1)

    def subspaces(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        found = []
        for j in range(len(self.member)):
            columns = self.model(j)
            basis = np.hstack([self.nuisance, orthonormal_basis(columns)])
            inverse = np.linalg.pinv(basis.T @ columns)[: self.weights.shape[1]]
            found.append((basis, (self.weights[j] @ inverse)[None, :], np.array([j])))
        return found


def lss_models(basis: np.ndarray, design: RunDesign, rest: str) -> LSSModels:
    """One model per trial: the trial against the rest (least squares, separate).

    Raises
    ------
    InconsistentInput
        A model leaves no degrees of freedom.
    """
    n, b = design.n_trials, design.n_basis
    nuisance = orthonormal_basis(basis.T @ design.nuisance)
    trials = basis.T @ design.trials
    clean = (trials - nuisance @ (nuisance.T @ trials)).reshape(-1, n, b)
    kinds = np.array(design.conditions if rest == "condition" else ["all"] * n)
    names = list(dict.fromkeys(kinds.tolist()))
    member = np.array([names.index(kind) for kind in kinds], dtype=int)
    sums = np.stack([clean[:, kinds == kind].sum(axis=1) for kind in names], axis=1) if n else clean[:, :0]
    q = b * (1 + len(names))
    models = LSSModels(
        np.empty(n, dtype=int), np.empty(n), nuisance, clean, sums, member, np.empty((n, q, q)), design.weights
    )
    for j in range(n):
        gram = models.model(j).T @ models.model(j)
        models.inverses[j], rank = _inverse(gram)
        models.variance[j] = design.weights[j] @ models.inverses[j][:b, :b] @ design.weights[j]
        models.dof[j] = len(basis) - nuisance.shape[1] - rank
    if n and models.dof.min() < 1:
        raise InconsistentInput(
            f"LSS with the other trials as {len(names)} regressors and {nuisance.shape[1]} nuisance regressors "
            f"leaves no degrees of freedom in {len(basis)} volumes. Use --lss-rest one, or fewer confounds."
        )
    return models


def _inverse(gram: np.ndarray) -> tuple[np.ndarray, int]:
    """Inverse of a Gram matrix over the columns that are not empty, and its rank."""
    size = np.diag(gram)
    keep = size > 1e-12 * max(size[0], np.finfo(float).tiny)
    keep[0] = True
    scale = np.sqrt(size[keep])
    part = gram[np.ix_(keep, keep)] / np.outer(scale, scale)
    inverse = np.zeros_like(gram)
    inverse[np.ix_(keep, keep)] = np.linalg.pinv(part, rcond=1e-12, hermitian=True) / np.outer(scale, scale)
    return inverse, int(np.linalg.matrix_rank(part, tol=1e-12 * len(part), hermitian=True))
