"""How well a design can be estimated, and which GLM that asks for: decided without a look at BOLD or labels."""

from __future__ import annotations

import numpy as np

from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.glm.design import RunDesign

LSA_VIF_LIMIT = 5.0
"""Median variance inflation above which `auto` takes LSS (METHODS.md section 2)."""


def variance_inflation(design: RunDesign) -> np.ndarray:
    """Variance inflation of each trial's response, ``(n_trials,)``.

    How much larger the variance of the estimate is than if the trial's own regressors (about
    their means) stood alone. With one regressor a trial that is ``1 / (1 - R2_j)``, R2 of
    regressor j on all other columns. Infinite where it is a combination of the others.
    """
    from scipy.linalg import solve_triangular

    matrix, n, b = design.matrix, design.n_trials, design.n_basis
    if n == 0:
        return np.zeros(0)
    if matrix.shape[1] > matrix.shape[0]:
        return np.full(n, np.inf)
    norms = np.linalg.norm(matrix, axis=0)
    triangle = np.linalg.qr(matrix / norms, mode="r")
    alone = _variance_alone(design)
    if np.abs(np.diag(triangle)).min() < 1e-9:
        return _variance_by_projection(design) / alone
    inverse = solve_triangular(triangle, np.eye(len(triangle)))[: n * b] / norms[: n * b, None]
    combined = np.einsum("nb,nbp->np", design.weights, inverse.reshape(n, b, -1))
    return (combined**2).sum(axis=1) / alone


def _own_columns(design: RunDesign) -> np.ndarray:
    """Trial regressors as ``(n_trials, n_volumes, n_basis)``."""
    return design.trials.reshape(len(design.trials), design.n_trials, design.n_basis).transpose(1, 0, 2)


def _variance_alone(design: RunDesign) -> np.ndarray:
    """Variance (per unit of noise) of each response with the trial's own centred regressors alone."""
    own = _own_columns(design)
    own = own - own.mean(axis=1, keepdims=True)
    inverse = np.linalg.pinv(np.einsum("ntb,ntc->nbc", own, own), hermitian=True)
    return np.einsum("nb,nbc,nc->n", design.weights, inverse, design.weights)


def _variance_by_projection(design: RunDesign) -> np.ndarray:
    """Variance of each response in a rank-deficient design; infinite where it cannot be estimated."""
    own, b = _own_columns(design), design.n_basis
    scaled = design.matrix / np.linalg.norm(design.matrix, axis=0)
    variance = np.full(design.n_trials, np.inf)
    for trial in range(design.n_trials):
        others = np.delete(scaled, slice(trial * b, (trial + 1) * b), axis=1)
        left = own[trial] - others @ np.linalg.lstsq(others, own[trial], rcond=1e-10)[0]
        gram = left.T @ left
        if np.linalg.eigvalsh(gram)[0] > 1e-10 * np.trace(own[trial].T @ own[trial]) / b:
            variance[trial] = design.weights[trial] @ np.linalg.solve(gram, design.weights[trial])
    return variance


def choose_mode(wanted: str, designs: list[RunDesign]) -> tuple[str, float]:
    """Return ``lsa`` or ``lss``, and the median variance inflation over all runs' trials.

    Decided from the designs alone, without a look at BOLD or labels.
    """
    inflation = np.concatenate([variance_inflation(design) for design in designs])
    median = float(np.median(inflation)) if len(inflation) else 0.0
    if wanted != "auto":
        return wanted, median
    return ("lsa" if median <= LSA_VIF_LIMIT else "lss"), median


def check_rank(design: RunDesign, mode: str, label: str) -> int:
    """Return the rank of the run's model, or raise and name the columns that others explain.

    For ``lss`` the nuisance columns are what must be independent; each trial's own
    model adds the trial and the rest.
    """
    matrix = design.matrix if mode == "lsa" else design.nuisance
    names = design.names if mode == "lsa" else design.nuisance_names
    extra = 0 if mode == "lsa" else 2 * design.n_basis
    if matrix.shape[1] + extra >= matrix.shape[0]:
        raise InconsistentInput(
            f"{label}: {matrix.shape[1] + extra} regressors for {matrix.shape[0]} volumes leave no degrees of freedom. "
            + ("Try --glm lss, " if mode == "lsa" else "Try ")
            + "fewer confounds, or a longer --high-pass."
        )
    explained = _explained_trials(design)
    if len(explained):
        raise InconsistentInput(
            f"{label}: the regressors of {len(explained)} trials are combinations of the nuisance regressors, so they "
            f"have no response of their own: {listing(f'trial {k + 1} of the run' for k in explained)}. "
            "Is an event listed twice, once as a sample and once as an ignored type?"
        )
    from scipy.linalg import qr

    scaled = matrix / np.linalg.norm(matrix, axis=0)
    triangle, pivots = qr(scaled, mode="r", pivoting=True)
    diagonal = np.abs(np.diag(triangle))
    rank = int((diagonal > diagonal[0] * 1e-10 * max(matrix.shape)).sum())
    if rank < matrix.shape[1]:
        guilty = sorted(names[k] for k in pivots[rank:])
        raise InconsistentInput(
            f"{label}: the design is rank-deficient ({rank} of {matrix.shape[1]} columns are independent); "
            f"explained by the others: {listing(guilty)}. Leave out confounds"
            + (", or use --glm lss." if mode == "lsa" else ".")
        )
    return rank


def _explained_trials(design: RunDesign) -> np.ndarray:
    """Numbers of the trials whose regressor lies in the span of the nuisance regressors."""
    if design.n_trials == 0:
        return np.zeros(0, dtype=int)
    own = np.einsum("tnb,nb->tn", design.trials.reshape(len(design.trials), -1, design.n_basis), design.weights)
    nuisance = np.linalg.svd(design.nuisance / np.linalg.norm(design.nuisance, axis=0), full_matrices=False)
    basis = nuisance[0][:, nuisance[1] > nuisance[1][0] * 1e-10]
    left = own - basis @ (basis.T @ own)
    return np.flatnonzero((left**2).sum(axis=0) < 1e-10 * (own**2).sum(axis=0))
