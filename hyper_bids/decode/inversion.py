"""VAE-GAN's decoder: the encoding weights inverted (VanRullen & Reddy 2019; METHODS.md section 4).

Responses are ``y = [z - mu, 1] W`` with W (K + 1, n_voxels), the bias row last. The least-squares
inverse is

    [v, c] = y W' (W W')^-1,    zhat = v + c mu

c says how much of the response to any face there is, and is dropped. With uncentred modulators
(mu = 0) W has another bias row and zhat is the same. Only the Gram matrix (K + 1, K + 1) is made,
never a pseudo-inverse nor anything voxels x voxels.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from hyper_bids.decode.products import gram, project, real, responses_array, training_arrays, voxel_blocks
from hyper_bids.errors import InconsistentInput, listing

OWN_SHARE = 1e-10
"""A latent (or row of W) of which less than this share of its square sum is its own is explained by the others."""


class Inversion(RegressorMixin, BaseEstimator):
    """Pseudo-inverse of the encoding weights, through their Gram matrix.

    The weights are those of the parametric GLM (`from_weights`), or least squares of single-trial
    responses on the latents (`fit`). Voxels with values that are not finite are left out.
    A latent that is constant over training is predicted by its mean.

    Attributes
    ----------
    weights_ : (n_varying + 1, n_voxels) the rows of W, the bias row last
    mu_ : (n_latents,) centre of the modulators
    varying_ : (n_latents,) bool, the latents that have a row in W
    voxels_ : (n_voxels,) bool, the voxels that take part
    notices_ : what the user should know
    """

    LEARNED = ("weights_", "mu_", "varying_", "voxels_")
    """Attributes that together are the decoder, for the file of weights."""

    @classmethod
    def from_weights(cls, W: np.ndarray, mu: np.ndarray) -> Inversion:
        """Return a fitted decoder from the parametric GLM's weights.

        Parameters
        ----------
        W : (n_latents + 1, n_voxels) the latents' rows and, last, the bias row; NaN where there is no
            estimate. It is not copied.
        mu : (n_latents,) centre of the modulators, in the units of the latents

        Raises
        ------
        InconsistentInput
            W and mu do not fit, there are fewer voxels than rows, or the rows are not independent.
        """
        W, mu = real(W), np.asarray(mu, dtype=np.float64)
        if W.ndim != 2 or mu.ndim != 1 or len(W) != len(mu) + 1 or not np.isfinite(mu).all():
            raise InconsistentInput(
                f"Encoding weights {W.shape} and the latents' centre {mu.shape} do not fit: needed are a row per "
                "latent and, last, the bias row, and a finite centre."
            )
        return cls()._learn(W, mu, np.ones(len(mu), dtype=bool), np.isfinite(W).all(axis=0), ())

    def fit(self, X: np.ndarray, Z: np.ndarray) -> Inversion:
        """Learn from ``X`` (n_trials, n_voxels), single trials, and ``Z`` (n_trials, n_latents).

        Raises
        ------
        InconsistentInput
            Numbers of rows differ, latents are not finite, not more than n_latents + 1 trials,
            latents that are combinations of others, or fewer voxels than n_latents + 1.
        """
        X, Z = training_arrays(X, Z)
        mu, varying, encoder, notices = _encoder(Z)
        voxels = np.isfinite(X).all(axis=0)
        W = np.full((len(encoder), X.shape[1]), np.nan, dtype=X.dtype)
        for block in voxel_blocks(X.shape[1], len(X)):
            good = voxels[block]
            W[:, np.flatnonzero(good) + block.start] = encoder @ X[:, block][:, good].astype(np.float64)
        return self._learn(W, mu, varying, voxels, notices)

    def _learn(
        self, W: np.ndarray, mu: np.ndarray, varying: np.ndarray, voxels: np.ndarray, notices: tuple[str, ...]
    ) -> Inversion:
        n_used = int(voxels.sum())
        _check_voxels(n_used, len(W), len(voxels))
        if n_used < len(voxels):
            notices += (f"inversion: {len(voxels) - n_used} of {len(voxels)} voxels have values that are not finite: "
                        "left out.",)  # fmt: skip
        self.weights_, self.mu_, self.varying_, self.voxels_ = W, mu, varying, voxels
        self.notices_, self.n_features_in_ = notices, len(voxels)
        self._factor, self._sizes = _factorised(gram(W, keep=voxels), varying)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return ``(n, n_latents)`` in the units of the latents; every trial on its own.

        Raises
        ------
        InconsistentInput
            Another number of voxels, or values that are not finite in voxels that take part.
        """
        return _latents(self._coefficients(X), self.mu_, self.varying_)

    def bias_coefficients(self, X: np.ndarray) -> np.ndarray:
        """Return c ``(n,)``: how much of the bias row each response holds (1 in the training data's mean)."""
        return self._coefficients(X)[:, -1]

    def _coefficients(self, X: np.ndarray) -> np.ndarray:
        """Return ``[v, c] = y W' (W W')^-1``, ``(n, n_varying + 1)``."""
        X = responses_array(X, self.n_features_in_)
        bad = ~np.isfinite(X) & self.voxels_
        if bad.any():
            raise InconsistentInput(
                f"{int(bad.any(axis=1).sum())} of {len(X)} responses to decode have values that are not finite, in "
                f"{int(bad.any(axis=0).sum())} voxels that were finite in training. Leave these voxels out of the mask."
            )
        return _solved(self._factor, self._sizes, project(self.weights_, X, keep=self.voxels_))

    def predict_refitted(
        self, X: np.ndarray, Z: np.ndarray, rows: np.ndarray, X_test: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Predictions after refitting to other labels of the same trials.

        The responses enter only as ``X X'`` and ``X_test X'``, which do not depend on the labels;
        where there are fewer voxels than trials, as they are.

        Parameters
        ----------
        Z : (n_stimuli, n_latents)
        rows : (n_sets, n_trials) int, the row of Z that each trial stands for in each set
        groups : not used; there is nothing to choose

        Returns
        -------
        (n_sets, n_test, n_latents) float32
        """
        Z = np.asarray(Z, dtype=np.float64)
        X, _ = training_arrays(X, Z[rows[0]])
        voxels = np.isfinite(X).all(axis=0)
        by_trials = len(X) < voxels.sum()
        within = gram(X, keep=voxels) if by_trials else X[:, voxels].astype(np.float64)
        X_test = responses_array(X_test, X.shape[1])
        across = project(X, X_test, keep=voxels) if by_trials else X_test[:, voxels].astype(np.float64)
        out = np.empty((len(rows), len(X_test), Z.shape[1]), dtype=np.float32)
        for draw, own in enumerate(rows):
            mu, varying, encoder, _ = _encoder(Z[own])
            _check_voxels(int(voxels.sum()), len(encoder), len(voxels))
            W = encoder @ within
            factor, sizes = _factorised(W @ (encoder.T if by_trials else W.T), varying)
            right = across @ (encoder.T if by_trials else W.T)
            out[draw] = _latents(_solved(factor, sizes, right), mu, varying)
        return out


def _encoder(Z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Least squares of responses on ``[Z - mu, 1]`` as a matrix ``(n_varying + 1, n_trials)``; ``W = encoder @ X``.

    Centred modulators are orthogonal to the bias, whose row is the mean response.

    Returns
    -------
    mu, varying, encoder, notices
    """
    from scipy.linalg import solve_triangular

    n, mu = len(Z), Z.mean(axis=0)
    varying = np.ptp(Z, axis=0) > 0
    names = np.flatnonzero(varying)
    if n <= len(names) + 1:
        raise InconsistentInput(
            f"inversion: {n} training trials are too few for {len(names)} latents; it needs more than "
            f"{len(names) + 1}. Use a space of fewer latents, more trials, or a regularised decoder (--decoder ridge)."
        )
    centred = (Z - mu)[:, varying]
    sizes = np.sqrt((centred**2).sum(axis=0))
    basis, triangle = np.linalg.qr(centred / sizes)
    guilty = names[np.diag(triangle) ** 2 < OWN_SHARE]
    if len(guilty):
        raise InconsistentInput(
            f"inversion: {len(guilty)} of {len(names)} latents are combinations of the others over the {n} training "
            f"trials ({len(np.unique(Z, axis=0))} different stimuli), so that their weights cannot be told apart: "
            f"{listing(guilty)}. K latents need more than K different stimuli; leave latents out, or use a "
            "regularised decoder (--decoder ridge)."
        )
    weights = solve_triangular(triangle, basis.T) / sizes[:, None] if len(names) else np.zeros((0, n))
    notices = () if n >= 2 * (len(names) + 1) else (
        f"Warning: {n} training trials for {len(names)} latents, fewer than twice {len(names) + 1}: the weights of "
        "inversion will be noisy.",
    )  # fmt: skip
    return mu, varying, np.vstack([weights, np.full((1, n), 1 / n)]), notices


def _check_voxels(n_used: int, n_rows: int, n_voxels: int) -> None:
    if n_used < n_rows:
        raise InconsistentInput(
            f"inversion: {n_used} voxels without NaN (of {n_voxels}) cannot tell {n_rows - 1} latents and the bias "
            f"apart; it needs at least {n_rows}. Select more voxels, or use a space of fewer latents."
        )


def _factorised(square: np.ndarray, varying: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cholesky factor of ``W W'`` with its rows scaled to unit length, and their lengths."""
    from scipy.linalg.lapack import dpotrf

    sizes = np.sqrt(np.diag(square))
    empty = sizes == 0
    scaled = square / np.outer(np.where(empty, 1.0, sizes), np.where(empty, 1.0, sizes))
    factor, failed = dpotrf(scaled, lower=1)
    own = np.diag(factor) ** 2
    guilty = {failed - 1} if failed else set(np.flatnonzero(own < OWN_SHARE).tolist())
    guilty |= set(np.flatnonzero(empty).tolist())
    if guilty:
        names = [*(f"latent {k}" for k in np.flatnonzero(varying)), "the bias"]
        raise InconsistentInput(
            f"inversion: the weights of {len(names) - 1} latents and the bias are not independent over the voxels; "
            f"explained by the others, or zero: {listing(names[k] for k in sorted(guilty))}. Select more voxels, "
            "leave these latents out, or use a regularised decoder (--decoder ridge)."
        )
    return factor, sizes


def _solved(factor: np.ndarray, sizes: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve ``[v, c] W W' = y W'`` for rows of ``y W'``, each on its own."""
    from scipy.linalg import cho_solve

    out = np.empty_like(right)
    for row, one in enumerate(right):
        out[row] = cho_solve((factor, True), one / sizes, check_finite=False) / sizes
    return out


def _latents(coefficients: np.ndarray, mu: np.ndarray, varying: np.ndarray) -> np.ndarray:
    """``v + c mu``; where a latent is constant, mu."""
    out = np.tile(mu, (len(coefficients), 1))
    out[:, varying] = coefficients[:, :-1] + coefficients[:, -1:] * mu[varying]
    return out
