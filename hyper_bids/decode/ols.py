"""Ordinary least squares of minimum norm (hyper2): unpenalised, also where voxels outnumber trials.

With centred responses ``X = U S V'`` and centred latents ``Z``, the weights are
``V S^-1 U'Z`` over the singular values that are not zero: of all weights with the least
squared error those of least norm (Penrose 1956), which is what the pseudo-inverse gives.
Only the Gram matrix of the smaller side is decomposed, ``XX'`` or ``X'X``.
"""

from __future__ import annotations

import numpy as np

from hyper_bids.decode.linear import LinearDecoder, checked

RANK = 1e-6
"""Singular values at most this share of the largest count as zero: below it float32 responses hold only rounding."""

COLUMNS = 4096
"""Target columns handled at a time; bounds the temporary arrays."""


class OLS(LinearDecoder):
    """Minimum-norm least squares with an intercept.

    Attributes
    ----------
    coef_ : (n_latents, n_voxels) float32, in the units of X and Z
    intercept_ : (n_latents,) float64
    rank_ : number of singular values of the centred responses that count (see `RANK`)
    """

    def fit(self, X: np.ndarray, Z: np.ndarray) -> OLS:
        """Learn from ``X`` (n_trials, n_voxels) and ``Z`` (n_trials, n_latents).

        Raises
        ------
        InconsistentInput
            Numbers of rows differ, values are not finite, or there is one trial only.
        """
        X, Z = checked(X, Z, np.float64)
        voxel_mean, latent_mean = X.mean(axis=0), Z.mean(axis=0)
        inverse, self.rank_ = _pseudo_inverse(X - voxel_mean)
        self.coef_ = np.ascontiguousarray(((Z - latent_mean).T @ inverse.T), dtype=np.float32)
        self.coef_[np.ptp(Z, axis=0) == 0] = 0.0
        self.intercept_ = latent_mean - self.coef_.astype(np.float64) @ voxel_mean
        self.n_features_in_ = X.shape[1]
        return self

    def refit_operations(self, n_trials: int, n_voxels: int, n_latents: int) -> float:
        """Floating-point operations of one refit: a product with a projection that is made once."""
        return 2.0 * n_trials * n_trials * n_latents

    def predict_refitted(
        self, X: np.ndarray, Z: np.ndarray, rows: np.ndarray, X_test: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Predictions after refitting to other labels of the same trials: one product a set of labels.

        A prediction is ``H Z`` with ``H`` (n_test, n_trials) made of responses alone.

        Parameters
        ----------
        Z : (n_stimuli, n_latents)
        rows : (n_sets, n_trials) int, the row of Z that each trial stands for in each set
        groups : not used: nothing is chosen by cross-validation

        Returns
        -------
        (n_sets, n_test, n_latents) float32
        """
        Z = np.asarray(Z, dtype=np.float64)
        X, _ = checked(X, Z[rows[0]], np.float64)
        voxel_mean = X.mean(axis=0)
        hat = (np.asarray(X_test, dtype=np.float64) - voxel_mean) @ _pseudo_inverse(X - voxel_mean)[0]
        hat += (1 - hat.sum(axis=1, keepdims=True)) / len(X)
        out = np.empty((len(rows), len(hat), Z.shape[1]), dtype=np.float32)
        step = max(1, COLUMNS // Z.shape[1])
        for start in range(0, len(rows), step):
            out[start : start + step] = hat @ Z[rows[start : start + step]]
        return out


def _pseudo_inverse(X: np.ndarray) -> tuple[np.ndarray, int]:
    """Pseudo-inverse ``(n_voxels, n_trials)`` of centred responses ``(n_trials, n_voxels)``, and their rank."""
    wide = len(X) <= X.shape[1]
    squares, vectors = np.linalg.eigh(X @ X.T if wide else X.T @ X)
    keep = squares > RANK**2 * max(squares[-1], 0.0)
    vectors, squares = vectors[:, keep], squares[keep]
    inverse = (vectors / squares) @ vectors.T
    return (X.T @ inverse if wide else inverse @ X.T), int(keep.sum())
