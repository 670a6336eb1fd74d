"""Ridge in closed form: one eigendecomposition for every penalty, latent and inner fold.

With ``X = U S V'`` (centred, scaled training responses), the fit is
``U diag(s^2 / (s^2 + alpha)) U'Z`` and what a model that never saw group g predicts
there follows from the block of the smoother alone (Golub, Heath & Wahba 1979, for
groups instead of single samples):

    residual_g = (I - H_gg)^-1 (Z - H Z)_g,   H = 11'/n + U diag(s^2 / (s^2 + alpha)) U'

so that the penalties are chosen by exact cross-validation without refitting.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from hyper_bids.decode.leave_one_out import best_penalties
from hyper_bids.decode.products import project
from hyper_bids.errors import InconsistentInput

ALPHAS = tuple(10.0 ** (-2 + 0.5 * k) for k in range(19))

COLUMNS = 4096
"""Target columns handled at a time; bounds the temporary arrays."""


class Ridge(RegressorMixin, BaseEstimator):
    """Ridge regression with a penalty per target (or a shared one) by exact cross-validation.

    Parameters
    ----------
    alphas : penalties to choose from; with one, nothing is chosen
    shared : one penalty for all targets
    standardize : centre voxels and scale them by their training standard deviation;
        otherwise they are centred only

    Attributes
    ----------
    coef_ : (n_targets, n_voxels) float32, in the units of X and Z
    intercept_ : (n_targets,) float64
    alpha_ : (n_targets,) the penalty of each target
    inner_folds_ : how the penalties were chosen
    """

    def __init__(self, alphas: tuple[float, ...] = ALPHAS, shared: bool = False, standardize: bool = True) -> None:
        self.alphas = alphas
        self.shared = shared
        self.standardize = standardize

    def fit(self, X: np.ndarray, Z: np.ndarray, groups: np.ndarray | None = None) -> Ridge:
        """Learn from ``X`` (n_trials, n_voxels) and ``Z`` (n_trials, n_latents).

        Parameters
        ----------
        groups : (n_trials,) labels of the inner folds (runs, or stimuli); None: leave one trial out

        Raises
        ------
        InconsistentInput
            Numbers of rows differ, values are not finite, or there is one trial only.
        """
        X, Z = _checked(X, Z)
        decomposition = Decomposition(X, self.standardize)
        self.inner_folds_, labels = inner_folds(groups, len(X))
        self.alpha_ = decomposition.choose(Z, labels, tuple(self.alphas), self.shared)
        self.intercept_ = Z.mean(axis=0)
        dual = decomposition.dual(Z - self.intercept_, self.alpha_)
        self.coef_ = decomposition.weights(dual).astype(np.float32)
        self.intercept_ = self.intercept_ - project(self.coef_, decomposition.mean[None])[0]
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return ``(n, n_latents)`` in the units of the latents; every trial on its own."""
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise InconsistentInput(f"The decoder was fitted on {self.n_features_in_} voxels, got an array {X.shape}.")
        return project(self.coef_, X) + self.intercept_

    def predict_refitted(
        self, X: np.ndarray, Z: np.ndarray, rows: np.ndarray, X_test: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Predictions after refitting to other labels of the same trials, penalties chosen anew.

        The decomposition does not depend on the labels, so that a refit is a few products.

        Parameters
        ----------
        Z : (n_stimuli, n_latents)
        rows : (n_sets, n_trials) int, the row of Z that each trial stands for in each set

        Returns
        -------
        (n_sets, n_test, n_latents) float32
        """
        Z = np.asarray(Z, dtype=np.float64)
        X, _ = _checked(X, Z[rows[0]])
        decomposition = Decomposition(X, self.standardize)
        _, labels = inner_folds(groups, len(X))
        test = decomposition.project(np.asarray(X_test, dtype=np.float64))
        n_latents = Z.shape[1]
        step = max(1, COLUMNS // n_latents)
        alpha = self._refitted_alphas(decomposition, Z, rows, labels, step)
        out = np.empty((len(rows), len(test), n_latents), dtype=np.float32)
        for start in range(0, len(rows), step):
            targets = _side_by_side(Z, rows[start : start + step])
            mean = targets.mean(axis=0)
            dual = decomposition.dual(targets - mean, alpha[start : start + step].reshape(-1))
            predicted = (test @ dual + mean).reshape(len(test), -1, n_latents)
            out[start : start + step] = predicted.transpose(1, 0, 2)
        return out

    def _refitted_alphas(
        self, decomposition: Decomposition, Z: np.ndarray, rows: np.ndarray, labels: np.ndarray, step: int
    ) -> np.ndarray:
        """Penalty of every set and latent, ``(n_sets, n_latents)``: one product per penalty and block of sets."""
        n_sets, n_latents = len(rows), Z.shape[1]
        if len(self.alphas) == 1:
            return np.full((n_sets, n_latents), self.alphas[0])
        penalties = np.sort(np.asarray(self.alphas, dtype=float))[::-1]
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        error = np.empty((len(penalties), n_sets, n_latents))
        spread = np.empty((n_sets, n_latents))
        for k, penalty in enumerate(penalties):
            operator = decomposition.leave_out_operator(penalty, groups)
            for start in range(0, n_sets, step):
                targets = _side_by_side(Z, rows[start : start + step])
                residual = operator @ targets
                error[k, start : start + step] = np.einsum("nk,nk->k", residual, residual).reshape(-1, n_latents)
                if k == 0 and self.shared:
                    spread[start : start + step] = (targets.var(axis=0) * len(targets)).reshape(-1, n_latents)
        if self.shared:
            best = np.argmin((error / np.maximum(spread, 1e-300)).sum(axis=2), axis=0)
            return np.repeat(penalties[best][:, None], n_latents, axis=1)
        return penalties[np.argmin(error, axis=0)]


def _side_by_side(Z: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Targets of several sets as columns: ``(n_trials, n_sets * n_latents)``."""
    return Z[rows].transpose(1, 0, 2).reshape(rows.shape[1], -1)


def inner_folds(groups: np.ndarray | None, n_trials: int) -> tuple[str, np.ndarray]:
    """Return a description of the inner folds and an integer label per trial."""
    if groups is not None:
        names, labels = np.unique(np.asarray(groups), return_inverse=True)
        if len(names) > 1:
            return f"leave one of {len(names)} groups out", labels.reshape(-1)
    return "leave one trial out", np.arange(n_trials)


def _checked(X: np.ndarray, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    X, Z = np.asarray(X, dtype=np.float64), np.asarray(Z, dtype=np.float64)
    if X.ndim != 2 or Z.ndim != 2 or len(X) != len(Z):
        raise InconsistentInput(f"A decoder needs as many responses as latents, got arrays {X.shape} and {Z.shape}.")
    if len(X) < 2:
        raise InconsistentInput(f"A decoder needs at least 2 training trials, got {len(X)}.")
    if not (np.isfinite(X).all() and np.isfinite(Z).all()):
        raise InconsistentInput("Responses and latents must be finite; NaN voxels are left out before decoding.")
    return X, Z


class Decomposition:
    """Thin ``U`` and ``s^2`` of the centred training responses, whichever side is smaller."""

    def __init__(self, X: np.ndarray, standardize: bool) -> None:
        self.mean = X.mean(axis=0)
        self.X = X - self.mean
        sd = np.sqrt(np.einsum("nk,nk->k", self.X, self.X) / len(X))
        self.scale = np.where(sd > 1e-12 * np.maximum(np.abs(self.mean), 1e-300), sd, np.inf)
        if not standardize:
            self.scale = np.ones_like(sd)
        self.X /= self.scale
        if len(X) <= X.shape[1]:
            self.squares, self.U = self._eigen(self.X @ self.X.T)
        else:
            self.squares, vectors = self._eigen(self.X.T @ self.X)
            self.U = self.X @ vectors / np.sqrt(self.squares)

    @staticmethod
    def _eigen(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, rising, and eigenvectors of a Gram matrix, without its null space."""
        values, vectors = np.linalg.eigh(gram)
        # Centring leaves a null direction, which cross-validation would mistake for signal.
        first = int((values <= max(values[-1], 0.0) * 1e-10 * len(values) ** 0.5).sum())
        return values[first:], vectors[:, first:]

    def dual(self, Z: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """Dual coefficients in the eigenbasis: ``(rank, n_targets)``, one penalty a target."""
        return (self.U.T @ Z) / (self.squares[:, None] + alpha)

    def weights(self, dual: np.ndarray) -> np.ndarray:
        """Primal weights ``(n_targets, n_voxels)`` for raw (unscaled) voxels."""
        weights = (self.U @ dual).T @ self.X
        weights /= self.scale
        return weights

    def project(self, X: np.ndarray) -> np.ndarray:
        """New responses in the eigenbasis, ``(n, rank)``: ``project(X) @ dual`` are predictions."""
        return ((X - self.mean) / self.scale) @ (self.X.T @ self.U)

    def choose(self, Z: np.ndarray, labels: np.ndarray, alphas: tuple[float, ...], shared: bool) -> np.ndarray:
        """Penalty of each target with the least squared error on trials left out.

        A tie goes to the larger penalty.
        """
        if len(alphas) == 1:
            return np.full(Z.shape[1], alphas[0])
        penalties = np.sort(np.asarray(alphas, dtype=float))[::-1]
        error = np.empty((len(penalties), Z.shape[1]))
        centred = Z - Z.mean(axis=0)
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if len(groups) == len(labels) and not shared:
            return best_penalties(self.U, self.squares, centred, penalties)
        coordinates = self.U.T @ centred
        for row, alpha in enumerate(penalties):
            shrink = self.squares / (self.squares + alpha)
            residual = centred - self.U @ (shrink[:, None] * coordinates)
            self._leave_groups_out(residual, shrink, groups)
            error[row] = np.einsum("nk,nk->k", residual, residual)
        if shared:
            spread = np.maximum(np.einsum("nk,nk->k", centred, centred), 1e-300)
            return np.full(Z.shape[1], penalties[np.argmin((error / spread).sum(axis=1))])
        return penalties[np.argmin(error, axis=0)]

    def leave_out_operator(self, alpha: float, groups: list[np.ndarray]) -> np.ndarray:
        """Matrix ``(n, n)`` that turns targets into residuals of models that never saw the row's group.

        ``blockdiag((I - H_gg)^-1) (I - H)``: worth its making where many targets share it.
        """
        shrink = self.squares / (self.squares + alpha)
        n = len(self.U)
        residual = np.eye(n) - 1 / n - (self.U * shrink) @ self.U.T
        for rows in groups:
            residual[rows] = np.linalg.solve(residual[np.ix_(rows, rows)], residual[rows])
        return residual

    def _leave_groups_out(self, residual: np.ndarray, shrink: np.ndarray, groups: list[np.ndarray]) -> None:
        """Turn residuals of the fit into those of models that never saw the group (in place)."""
        n = len(residual)
        if len(groups) == n:
            residual /= np.maximum(1 - 1 / n - (self.U**2) @ shrink, 1e-12)[:, None]
            return
        for rows in groups:
            block = (self.U[rows] * shrink) @ self.U[rows].T + 1 / n
            residual[rows] = np.linalg.solve(np.eye(len(rows)) - block, residual[rows])
