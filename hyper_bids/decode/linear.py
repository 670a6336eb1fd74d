"""What linear decoders share: the check of their training data, and predicting one trial at a time."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from hyper_bids.errors import InconsistentInput


class LinearDecoder(RegressorMixin, BaseEstimator):
    """``coef_`` (n_latents, n_voxels) and ``intercept_`` (n_latents,), in the units of responses and latents."""

    coef_: np.ndarray
    intercept_: np.ndarray
    n_features_in_: int

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return ``(n, n_latents)`` float64 in the units of the latents; every trial on its own.

        Raises
        ------
        InconsistentInput
            Another number of voxels than the decoder was fitted on.
        """
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise InconsistentInput(f"The decoder was fitted on {self.n_features_in_} voxels, got an array {X.shape}.")
        # One row at a time: a matrix product of many rows rounds differently from one of few.
        coef = self.coef_.astype(np.float64)
        return np.stack([coef @ row for row in X]) + self.intercept_ if len(X) else np.zeros((0, len(coef)))


def checked(X: np.ndarray, Z: np.ndarray, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Return responses (n_trials, n_voxels) and latents (n_trials, n_latents) as ``dtype``; copied only to convert.

    Raises
    ------
    InconsistentInput
        Numbers of rows differ, there are fewer than 2 trials, no voxel or no latent, or values are not finite.
    """
    X, Z = np.asarray(X, dtype=dtype), np.asarray(Z, dtype=dtype)
    if X.ndim != 2 or Z.ndim != 2 or len(X) != len(Z):
        raise InconsistentInput(f"A decoder needs as many responses as latents, got arrays {X.shape} and {Z.shape}.")
    if len(X) < 2:
        raise InconsistentInput(f"A decoder needs at least 2 training trials, got {len(X)}.")
    if not X.shape[1] or not Z.shape[1]:
        raise InconsistentInput(
            f"A decoder needs at least one voxel and one latent, got {X.shape[1]} and {Z.shape[1]}."
        )
    if not (np.isfinite(X).all() and np.isfinite(Z).all()):
        raise InconsistentInput("Responses and latents must be finite; NaN voxels are left out before decoding.")
    return X, Z
