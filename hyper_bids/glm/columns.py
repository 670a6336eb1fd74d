"""The columns that a run's volumes are summed against, and the way from there to an orthonormal basis.

A response lasts half a minute, a run many: a trial's regressor is 0 in nearly all volumes, and
sums against the regressors themselves cost a fraction of sums against an orthonormal basis of
them, whose columns are dense. With ``W = Q R`` (R upper triangular) the sums in the basis follow by
``Q'Y = R'^-1 W'Y``, from the first column to the last, each as soon as its response is over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyper_bids.glm.design import RunDesign

CONDITION_LIMIT = 1e6
"""Condition number of the scaled regressors above which an orthonormal basis of them is summed against
after all: float64 sums then keep 9 digits, more than the data have. (Trials a TR apart have 1e12.)"""


def orthonormal_basis(matrix: np.ndarray) -> np.ndarray:
    """Orthonormal basis ``(n, rank)`` of the columns of ``matrix``, by SVD of its scaled columns."""
    norms = np.linalg.norm(matrix, axis=0)
    left, values, _ = np.linalg.svd(matrix / np.where(norms > 0, norms, 1.0), full_matrices=False)
    return left[:, values > values[0] * 1e-10]


@dataclass(frozen=True, eq=False)
class RunColumns:
    """Columns W that span everything that any model of a run needs.

    Parameters
    ----------
    values : (n_volumes, rank) float64, W: the events' columns in the order in which they begin, then
        the columns that last all the run
    n_events : number of the events' columns
    basis : (n_volumes, rank) float64, Q, orthonormal
    triangle : (rank, rank) upper triangular, R: ``W = Q R``
    """

    values: np.ndarray
    n_events: int
    basis: np.ndarray
    triangle: np.ndarray


def run_columns(design: RunDesign) -> RunColumns:
    """Return the columns of a run: its trials' regressors if they are well conditioned, else a basis of them."""
    begins = (design.trials != 0).argmax(axis=0)
    events = design.trials[:, np.argsort(begins, kind="stable")]
    values = np.hstack([events, orthonormal_basis(design.nuisance)])
    norms = np.linalg.norm(values, axis=0)
    if values.shape[1] <= len(values) and norms.min() > 0:
        basis, triangle = np.linalg.qr(values / norms)
        if np.linalg.cond(triangle) <= CONDITION_LIMIT:
            return RunColumns(values, events.shape[1], basis, triangle * norms)
    basis = orthonormal_basis(values)
    return RunColumns(basis, 0, basis, np.eye(basis.shape[1]))
