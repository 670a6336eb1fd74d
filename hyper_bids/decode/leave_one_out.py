"""The best of many ridge penalties for each of many targets, by exact leave-one-out.

With ``X = U diag(s) V'`` the residual of the fit is ``outside + U diag(a / (s^2 + a)) U'Z``, and the
leave-one-out residual is that over ``1 - h``, h the leverages (Allen's PRESS).

Two things make 20 penalties cost little more than a few. As functions of s^2 the filters
``a / (s^2 + a)`` are combinations of few (8 of 20 penalties over 9 decades, to float32's precision), so there are
as many large products as independent filters, not as penalties. And the products are in float32: it
decides only where it can, by a bound on its own error; penalties that it cannot tell apart
are compared in float64. The choice is that of float64 throughout.
"""

from __future__ import annotations

import numpy as np

COLUMNS = 64
"""Targets handled at a time; their residuals for all penalties stay in the cache."""

ROUNDING = 1e-5
"""Bound on float32's relative error of a residual (measured at 1050 trials: below 1e-6)."""


def best_penalties(U: np.ndarray, squares: np.ndarray, Z: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Choose a penalty for each target.

    Parameters
    ----------
    U, squares : (n, rank) left singular vectors and (rank,) squared singular values of centred responses
    Z : (n, n_targets) centred
    penalties : (n_penalties,) falling; a tie goes to the first

    Returns
    -------
    (n_targets,)
    """
    n, rank = U.shape
    coordinates = U.T @ Z
    filters = penalties[:, None] / (squares + penalties[:, None])
    spans = rank >= n - 1  # of centred responses: nothing is outside
    outside = None if spans else Z - U @ coordinates
    own = U**2
    kept = filters @ own.T + (0.0 if spans else 1 - 1 / n - own.sum(axis=1))
    kept = np.maximum(kept, 1e-12)
    error = _screened(U, filters, 1 / kept, coordinates, outside)
    norms = np.sqrt(np.einsum("nk,nk->k", Z, Z))
    slack = ROUNDING * (filters.max(axis=1, initial=0.0) if outside is None else 1.0) / kept.min(axis=1)
    doubt = np.multiply.outer(np.broadcast_to(slack, penalties.shape), norms)
    open_ = error - doubt <= (error + doubt).min(axis=0)
    open_[:, open_.sum(axis=0) == 1] = False
    for row in np.flatnonzero(open_.any(axis=1)):
        some = np.flatnonzero(open_[row])
        residual = U @ (filters[row][:, None] * coordinates[:, some])
        residual = (residual if outside is None else residual + outside[:, some]) / kept[row][:, None]
        error[row, some] = np.sqrt(np.einsum("nk,nk->k", residual, residual))
    error[:, open_.any(axis=0)] = np.where(open_, error, np.inf)[:, open_.any(axis=0)]
    return penalties[np.argmin(error, axis=0)]


def _screened(
    U: np.ndarray, filters: np.ndarray, raised: np.ndarray, coordinates: np.ndarray, outside: np.ndarray | None
) -> np.ndarray:
    """Norms of leave-one-out residuals ``(n_penalties, n_targets)`` in float32."""
    mixing, basis = _few(filters)
    left = U.astype(np.float32)
    raised = np.ascontiguousarray(raised.T[:, :, None], dtype=np.float32)
    if outside is not None:
        mixing = np.hstack([mixing, np.ones((len(mixing), 1), dtype=np.float32)])
    few, n_targets = len(basis), coordinates.shape[1]
    error = np.empty((len(filters), n_targets))
    # Arrays that are used again for every block of targets: making them costs as much as filling them.
    right = np.zeros((len(coordinates), few, COLUMNS), dtype=np.float32)
    parts = np.zeros((len(left), mixing.shape[1], COLUMNS), dtype=np.float32)
    residual = np.empty((len(left), len(filters), COLUMNS), dtype=np.float32)
    for start in range(0, n_targets, COLUMNS):
        some = slice(start, min(start + COLUMNS, n_targets))
        width = some.stop - start
        np.multiply(basis.T[:, :, None], coordinates[:, None, some], out=right[..., :width], casting="same_kind")
        parts[:, :few] = (left @ right.reshape(len(right), few * COLUMNS)).reshape(len(left), few, COLUMNS)
        if outside is not None:
            parts[:, few, :width] = outside[:, some]
        np.matmul(mixing, parts, out=residual)
        residual *= raised
        error[:, some] = np.sqrt(np.einsum("nak,nak->ak", residual, residual))[:, :width]
    return error


def _few(filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write filters (n_penalties, rank) as ``mixing @ basis`` with as few rows of basis as float32 can tell."""
    if not filters.size:
        return np.zeros((len(filters), 0), dtype=np.float32), np.zeros((0, 0))
    largest = filters.max(axis=1, keepdims=True)
    left, values, basis = np.linalg.svd(filters / largest, full_matrices=False)
    n_few = int((values > 1e-7 * values[0]).sum())
    return (largest * left[:, :n_few]).astype(np.float32), values[:n_few, None] * basis[:n_few]
