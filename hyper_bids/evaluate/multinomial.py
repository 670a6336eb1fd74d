"""L2-penalised multinomial logistic regression along a path of penalties, in the rotated row space.

Minimised over weights W and intercepts b, summed over samples,

    sum_i -log softmax(x_i W + b)[y_i] + penalty / 2 * norm(W)^2

which is scikit-learn's ``LogisticRegression(C=1 / penalty)``. Since the penalty is invariant under rotation and
the optimal weights lie in the span of the samples, ``X = U S V'`` can be replaced by ``U S``: n instead of
n_voxels columns, exactly (Hastie & Tibshirani 2004). There the curvature at W = 0 is diagonal in the columns,
``s^2 / n_classes + penalty``, and scaling by it makes L-BFGS converge in some ten steps; each penalty starts
from the solution of the next larger one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GRADIENT = 1e-8
"""Largest entry of the (scaled) gradient per sample at which a fit has converged; scikit-learn's default is 1e-4."""

STEPS = 5000
"""L-BFGS steps that a fit may take."""


def path_logits(
    X: np.ndarray, own: np.ndarray, X_test: np.ndarray, penalties: Sequence[float], gradient: float = GRADIENT
) -> np.ndarray:
    """Fit to every penalty and return the logits of the test samples.

    Parameters
    ----------
    X : (n, n_voxels)
    own : (n,) int, the class of each sample: 0 to n_classes - 1
    X_test : (n_test, n_voxels)
    penalties : positive
    gradient : where to stop

    Returns
    -------
    (n_penalties, n_test, n_classes) float64
    """
    scores, test = row_space(np.asarray(X, dtype=np.float64), np.asarray(X_test, dtype=np.float64))
    one_hot = np.eye(int(own.max()) + 1)[own]
    weights, intercepts = np.zeros((scores.shape[1], one_hot.shape[1])), np.zeros(one_hot.shape[1])
    logits = np.empty((len(penalties), len(test), one_hot.shape[1]))
    for place in np.argsort(-np.asarray(penalties, dtype=float), kind="stable"):
        weights, intercepts = _fit(scores, one_hot, float(penalties[place]), weights, intercepts, gradient)
        logits[place] = test @ weights + intercepts
    return logits


def row_space(X: np.ndarray, X_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of samples and test samples in the right singular basis of X: ``(n, rank)``, ``(n_test, rank)``."""
    if len(X) <= X.shape[1]:
        squares, U = np.linalg.eigh(X @ X.T)
        keep = squares > squares[-1] * 1e-12
        U, length = U[:, keep], np.sqrt(squares[keep])
        return U * length, (X_test @ X.T) @ (U / length)
    _, V = np.linalg.eigh(X.T @ X)
    return X @ V, X_test @ V


def _fit(
    X: np.ndarray, Y: np.ndarray, penalty: float, weights: np.ndarray, intercepts: np.ndarray, gradient: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (rank, n_classes) and intercepts (n_classes,) from a start; X has orthogonal columns."""
    from scipy.optimize import minimize

    n, n_classes = Y.shape
    scale = 1 / np.sqrt((X * X).sum(axis=0) / n_classes + penalty)
    level = np.sqrt(n_classes / n)
    scaled, shape = X * scale, weights.shape
    ridge = penalty * scale[:, None] ** 2

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        W, b = point[: weights.size].reshape(shape), point[weights.size :] * level
        logits = scaled @ W + b
        top = logits.max(axis=1, keepdims=True)
        P = np.exp(logits - top)
        total = P.sum(axis=1, keepdims=True)
        loss = (np.log(total) + top).sum() - np.vdot(logits, Y)
        P /= total
        P -= Y
        pull = ridge * W
        slope = np.concatenate([(scaled.T @ P + pull).ravel(), P.sum(axis=0) * level])
        return loss + 0.5 * np.vdot(pull, W), slope

    start = np.concatenate([(weights / scale[:, None]).ravel(), intercepts / level])
    options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "gtol": gradient * n * min(1.0, penalty) ** 0.5, "ftol": 0.0}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    return found[: weights.size].reshape(shape) * scale[:, None], found[weights.size :] * level
