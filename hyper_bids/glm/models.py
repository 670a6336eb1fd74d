"""The models of a run's trials, in coordinates of the run's orthonormal basis Q.

Least squares then needs the data only through ``Q'Y`` (rank x n_voxels) and what Q leaves of ``y'y``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.glm.columns import orthonormal_basis as orthonormal_basis
from hyper_bids.glm.design import RunDesign


@dataclass(frozen=True, eq=False)
class Subspace:
    """A model of one or all trials, and the responses in coordinates of its orthonormal basis.

    Parameters
    ----------
    own : (rank, q), orthonormal columns: what the model does not share
    contrasts : (m, q + n_shared): the responses are ``contrasts @ B'Y``, B its own columns, then those it shares
    """

    own: np.ndarray
    contrasts: np.ndarray


@dataclass(frozen=True, eq=False)
class TrialModels(ABC):
    """All trials' models.

    Parameters
    ----------
    dof : (n_trials,) residual degrees of freedom
    variance : (n_trials,) variance of the response's estimate per unit of noise variance, under OLS
    shared : (rank, n_shared), orthonormal columns that all models share
    """

    dof: np.ndarray
    variance: np.ndarray
    shared: np.ndarray

    @abstractmethod
    def ols(self, projected: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return effects ``(n_trials, n)`` and residual sums of squares ``(n_trials or 1, n)``.

        Parameters
        ----------
        projected : (rank, n) ``Q'Y``; it is worked on in float32
        residual : (n,) float64, what Q leaves of ``y'y``
        """

    @abstractmethod
    def subspaces(self) -> list[Subspace]:
        """Return each distinct model; their contrasts are the trials in order."""


@dataclass(frozen=True, eq=False)
class LSAModels(TrialModels):
    """One model for all trials.

    Parameters
    ----------
    contrasts : (n_trials, rank): the responses are ``contrasts @ Q'Y``
    """

    contrasts: np.ndarray

    @cached_property
    def _single(self) -> np.ndarray:
        return self.contrasts.astype(np.float32)

    def ols(self, projected: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._single @ projected.astype(np.float32, copy=False), residual[None, :].copy()

    def subspaces(self) -> list[Subspace]:
        return [Subspace(np.eye(self.contrasts.shape[1]), self.contrasts)]


def lsa_models(basis: np.ndarray, design: RunDesign) -> LSAModels:
    """One regressor (or set of basis functions) per trial in one model (least squares, all)."""
    inverse = np.linalg.pinv(basis.T @ design.matrix)[: design.trials.shape[1]]
    contrasts = np.einsum("nb,nbp->np", design.weights, inverse.reshape(design.n_trials, design.n_basis, -1))
    dof = np.full(design.n_trials, len(basis) - basis.shape[1])
    return LSAModels(dof, (contrasts**2).sum(axis=1), np.empty((basis.shape[1], 0)), contrasts)


@dataclass(frozen=True, eq=False)
class LSSModels(TrialModels):
    """One model per trial, in closed form for all trials and voxels.

    With the nuisance projected out of trials and data, trial j's model has the columns
    ``x_j`` and ``s_c - [c = c_j] x_j`` for every condition c (one condition for
    ``rest="one"``), s_c the sum of the condition's trials. They are combinations of
    ``h_j = (x_j, s_1, s_2, ...)``, so that its normal equations need only inner products
    that all trials share (Mumford et al. 2012; Turner et al. 2012): the response is
    ``response_j' h_j'y``, and the model explains ``y'h_j explained_j h_j'y``.

    Parameters
    ----------
    n_basis : b, basis functions of a trial
    others : (rank, rank - n_shared) orthonormal: what is not nuisance (nuisance is what the models share)
    clean : (rank - n_shared, (n_trials + n_conditions) b) in these coordinates the trials, then their
        sums over each condition
    response : (n_trials, q), q = b (1 + n_conditions)
    explained : (n_trials, q, q), symmetric
    bases : of each trial, (q, k) and (k,): ``h_j`` times the first is an orthonormal basis of the
        model without nuisance, and the second is the response there
    """

    n_basis: int
    others: np.ndarray
    clean: np.ndarray
    response: np.ndarray
    explained: np.ndarray
    bases: list[tuple[np.ndarray, np.ndarray]]

    @cached_property
    def _single(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        parts = self.others.T, self.clean.T, self.response, self.explained
        return tuple(np.ascontiguousarray(part, dtype=np.float32) for part in parts)

    def ols(self, projected: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        others, clean, response, explained = self._single
        of_others = others @ projected.astype(np.float32, copy=False)
        moments = clean @ of_others
        b, n_own = self.n_basis, self.n_basis * len(response)
        own, sums = moments[:n_own].reshape(len(response), b, -1), moments[n_own:]
        first, second = np.triu_indices(len(sums))
        doubled = np.where(first == second, np.float32(-1.0), np.float32(-2.0))
        left = _combined(explained[:, b + first, b + second] * doubled, sums[first] * sums[second])
        left += (residual + np.einsum("pv,pv->v", of_others, of_others)).astype(np.float32)
        effect = _combined(response[:, b:], sums)
        for k in range(b):
            effect += response[:, k, None] * own[:, k]
            part = _combined(2 * explained[:, k, b:], sums)
            for other in range(k + 1):
                part += (explained[:, k, other, None] * np.float32(1.0 if other == k else 2.0)) * own[:, other]
            part *= own[:, k]
            left -= part
        return effect, left

    def subspaces(self) -> list[Subspace]:
        n_shared, b, found = self.shared.shape[1], self.n_basis, []
        for j, (basis, contrast) in enumerate(self.bases):
            own = self.others @ (self.clean[:, _rows(j, b, len(self.dof), self.response.shape[1])] @ basis)
            found.append(Subspace(own, np.append(contrast, np.zeros(n_shared))[None, :]))
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
    others = np.linalg.qr(nuisance, mode="complete")[0][:, nuisance.shape[1] :]
    kinds = np.array(design.conditions if rest == "condition" else ["all"] * n)
    names = list(dict.fromkeys(kinds.tolist()))
    member = np.array([names.index(kind) for kind in kinds], dtype=int)
    sums = np.kron(member[:, None] == np.arange(len(names)), np.eye(b))
    clean = (others.T @ (basis.T @ design.trials)) @ np.hstack([np.eye(n * b), sums])
    gram, q = clean.T @ clean, b * (1 + len(names))
    dof, variance = np.empty(n, dtype=int), np.empty(n)
    models = LSSModels(dof, variance, nuisance, b, others, clean, np.empty((n, q)), np.empty((n, q, q)), [])
    for j, weights in enumerate(design.weights):
        own, rows, block = np.eye(q), _rows(j, b, n, q), b * (1 + member[j])
        own[block : block + b, :b] -= np.eye(b)
        root = _root(own @ gram[np.ix_(rows, rows)] @ own.T)
        inverse = root @ root.T
        models.response[j], models.explained[j] = weights @ inverse[:b] @ own, own.T @ inverse @ own
        variance[j] = weights @ inverse[:b, :b] @ weights
        dof[j] = len(basis) - nuisance.shape[1] - root.shape[1]
        models.bases.append((own.T @ root, weights @ root[:b]))
    if n and dof.min() < 1:
        raise InconsistentInput(
            f"LSS with the other trials as {len(names)} regressors and {nuisance.shape[1]} nuisance regressors "
            f"leaves no degrees of freedom in {len(basis)} volumes. Use --lss-rest one, or fewer confounds."
        )
    return models


def _combined(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``weights @ rows``; of one row (all other trials as one regressor) BLAS makes heavy weather."""
    return weights * rows if len(rows) == 1 else weights @ rows


def _rows(j: int, n_basis: int, n_trials: int, q: int) -> np.ndarray:
    """Numbers of trial j's own columns and of the sums among all trials' columns and the sums."""
    return np.concatenate([np.arange(j * n_basis, (j + 1) * n_basis), np.arange(q - n_basis) + n_trials * n_basis])


def _root(gram: np.ndarray) -> np.ndarray:
    """R with ``R R'`` the (pseudo-)inverse of a Gram matrix over the columns that are not empty, (q, rank)."""
    size = np.diag(gram)
    keep = size > 1e-12 * max(size[0], np.finfo(float).tiny)
    keep[0] = True
    scale = np.sqrt(np.maximum(size[keep], np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(gram[np.ix_(keep, keep)] / np.outer(scale, scale))
    large = values > 1e-12 * values[-1]
    root = np.zeros((len(gram), int(large.sum())))
    root[keep] = vectors[:, large] / np.sqrt(values[large]) / scale[:, None]
    return root
