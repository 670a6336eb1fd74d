"""DAND's decoder: the most probable latents given the responses (METHODS.md section 4).

Responses given latents are a linear encoding with independent noise, ``y | z ~ N(B'z, S)``, and
latents are N(0, I) beforehand. With loadings ``A = B S^-1/2`` (K, q) and whitened responses
``x = S^-1/2 y``, the mode (and mean) of z given the mean of m repeats, whose noise is S/m, is

    zhat = (A A' + I/m)^-1 A x = A (A'A + I/m)^-1 x,    covariance (m A A' + I)^-1

of which the smaller system is solved. K is counted in directions that the training latents have:
with ``Z = U diag(s) V'`` both least squares and ridge give ``B = V D``, so that outside of V the
posterior is the prior, and the first system has rank(Z) rows, however many latents there are.

Where K is near n, least squares leaves no residual. There B is by ridge and S the mean squared
leave-one-out residual, which holds the error of B besides the noise of trials. Averaging test
repeats reduces the noise N only (ours; with S/m, n = K + 1 and m = 13 predictions are worse than
the mean, simulated): the noise of a mean of m is ``S - N (1 - 1/m)``, which with N = S is S/m.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from hyper_bids.decode.products import gram, project, responses_array, training_arrays, voxel_blocks
from hyper_bids.decode.ridge import Decomposition, inner_folds
from hyper_bids.errors import InconsistentInput

ALPHAS = tuple(10.0**k for k in range(-2, 8))

FEWEST_DOF, DOF_SHARE = 10, 0.1
"""Degrees of freedom that the residual needs at least: this many, and this share of the trials."""

NOISE_FLOOR = 1e-10
"""Least noise variance of a voxel, as a share of its variance: a voxel is never free of noise."""

CONSTANT = 1e-12
"""A voxel whose standard deviation is below this share of its mean is constant."""


ROWS = 64
"""Responses that are whitened at a time; bounds the float64 copy of a whole brain."""


KEPT_SYSTEMS = 8
"""Factorisations that are kept, for as many numbers of repeats."""


class MAP(RegressorMixin, BaseEstimator):
    """Maximum a posteriori decoding with a linear encoding model.

    Voxels and latents are standardised with training statistics, undone on the prediction.
    Constant voxels do not take part; constant latents are predicted by their mean.

    Parameters
    ----------
    alphas : penalties of ridge, one is chosen per voxel by exact cross-validation (ours: the paper,
        which has two trials a face, needs none)
    ridge : the encoding by ridge always (as for pixels), not only where fewer than
        ``max(10, 0.1 n)`` degrees of freedom are left for the residual
    repeat_noise : a test response that is the mean of m repeats has noise S/m; otherwise S

    Attributes
    ----------
    axes_ : (n_latents, rank) orthonormal directions of the standardised training latents
    loadings_ : (rank, n_voxels) ``V' B S^-1/2``, in the precision of X
    whitener_ : (n_voxels,) float64, ``1 / (sd sqrt(S))``; 0 for constant voxels
    response_mean_ : (n_voxels,)
    latent_mean_, latent_scale_ : (n_latents,), the scale 0 where a latent is constant
    noise_ : (n_voxels,) S, as a share of the voxel's variance; NaN for constant voxels
    averaged_ : (n_voxels,) share of S that averaging of repeats reduces; 1 with least squares
    penalty_ : (n_voxels,) of the ridge, or None
    constant_voxels_, constant_latents_ : indices
    inner_folds_ : how the penalties were chosen, or None
    notices_ : what the user should know
    """

    LEARNED = ("axes_", "loadings_", "whitener_", "response_mean_", "latent_mean_", "latent_scale_", "noise_",
               "averaged_")  # fmt: skip
    """Attributes that together are the decoder, for the file of weights."""

    def __init__(self, alphas: tuple[float, ...] = ALPHAS, ridge: bool = False, repeat_noise: bool = True) -> None:
        self.alphas = alphas
        self.ridge = ridge
        self.repeat_noise = repeat_noise

    def fit(self, X: np.ndarray, Z: np.ndarray, groups: np.ndarray | None = None) -> MAP:
        """Learn from ``X`` (n_trials, n_voxels) and ``Z`` (n_trials, n_latents), single trials.

        Parameters
        ----------
        groups : (n_trials,) labels of the inner folds (runs, or stimuli) for the penalties of ridge;
            None: leave one trial out

        Raises
        ------
        InconsistentInput
            Numbers of rows differ, values are not finite, or there is one trial only.
        """
        X, Z = training_arrays(X, Z)
        latents = Decomposition(Z, standardize=True)
        self.latent_mean_ = latents.mean
        self.latent_scale_ = np.where(np.isinf(latents.scale), 0.0, latents.scale)
        self.constant_latents_ = np.flatnonzero(self.latent_scale_ == 0)
        self.axes_ = latents.X.T @ latents.U / np.sqrt(latents.squares)
        self.notices_, by_ridge = self._model(len(X), latents)
        self.inner_folds_, labels = inner_folds(groups, len(X)) if by_ridge else (None, None)
        self._fit_voxels(X, latents, labels)
        n_constant = len(self.constant_voxels_)
        if n_constant:
            self.notices_ += (f"{n_constant} of {X.shape[1]} voxels are constant over the training trials: left out.",)
        self._gram = gram(self.loadings_ if self._by_latents else self.loadings_.T)
        self._systems = {1: self._made(1)}
        return self

    def _model(self, n_trials: int, latents: Decomposition) -> tuple[tuple[str, ...], bool]:
        """Decide between least squares and ridge; return notices and whether it is ridge."""
        dof = n_trials - 1 - len(latents.squares)
        needed = max(FEWEST_DOF, DOF_SHARE * n_trials)
        if not self.ridge and dof >= needed:
            return (), False
        why = "as asked for" if self.ridge else (
            f"least squares of {len(latents.squares)} independent latents on {n_trials} trials leaves {dof} degrees "
            f"of freedom for the noise, fewer than {needed:g}"
        )  # fmt: skip
        return (
            f"map: encoding weights by ridge, the penalty of each voxel chosen among {len(self.alphas)} by "
            f"cross-validation, and noise from leave-one-out residuals, of which repeats reduce the part that is "
            f"noise of trials ({why}).",
        ), True

    def _fit_voxels(self, X: np.ndarray, latents: Decomposition, labels: np.ndarray | None) -> None:
        n_voxels, rank = X.shape[1], len(latents.squares)
        self.n_features_in_ = n_voxels
        self.response_mean_, self.whitener_ = np.empty(n_voxels), np.empty(n_voxels)
        self.noise_, self.averaged_ = np.empty(n_voxels), np.ones(n_voxels)
        self.penalty_ = None if labels is None else np.empty(n_voxels)
        self.loadings_ = np.empty((rank, n_voxels), dtype=X.dtype)
        for block in voxel_blocks(n_voxels, len(X)):
            Y, mean, sd = _standardised(X[:, block])
            if labels is None:
                weights, noise = _least_squares(latents, Y)
            else:
                alpha = latents.choose(Y, labels, tuple(self.alphas), shared=False)
                weights, noise, of_trials = _ridge(latents, Y, alpha)
                self.penalty_[block] = alpha
                self.averaged_[block] = np.minimum(of_trials / np.maximum(noise, NOISE_FLOOR), 1.0)
            precision = np.where(sd > 0, 1 / np.sqrt(np.maximum(noise, NOISE_FLOOR)), 0.0)
            self.loadings_[:, block] = weights * precision
            self.whitener_[block] = precision / np.where(sd > 0, sd, 1.0)
            self.response_mean_[block], self.noise_[block] = mean, np.where(sd > 0, noise, np.nan)
        self.constant_voxels_ = np.flatnonzero(self.whitener_ == 0)

    @property
    def _by_latents(self) -> bool:
        """Whether the system along the latents' axes is the smaller one."""
        return len(self.loadings_) <= self.n_features_in_

    def _system(self, m: int) -> tuple[np.ndarray, np.ndarray]:
        """`_made`, kept for the last few numbers of repeats."""
        if m not in self._systems:
            kept = list(self._systems)[-KEPT_SYSTEMS:]
            self._systems = {k: self._systems[k] for k in dict.fromkeys([1, *kept])} | {m: self._made(m)}
        return self._systems[m]

    def _made(self, m: int) -> tuple[np.ndarray, np.ndarray]:
        """For means of ``m`` repeats: Cholesky factor, and how much smaller each voxel's noise is (in sd)."""
        from scipy.linalg import cho_factor

        gain = 1 / np.sqrt(1 - self.averaged_ * (1 - 1 / m))
        if not self._by_latents:
            matrix = gain[:, None] * self._gram * gain
        elif self.penalty_ is None or m == 1:
            matrix = m * self._gram
        else:
            matrix = gram(self.loadings_, scale=gain)
        matrix[np.diag_indices_from(matrix)] += 1.0
        return cho_factor(matrix, lower=True, check_finite=False)[0], gain

    def predict(self, X: np.ndarray, n_repeats: np.ndarray | None = None) -> np.ndarray:
        """Return ``(n, n_latents)`` in the units of the latents; every trial on its own.

        Parameters
        ----------
        X : (n, n_voxels)
        n_repeats : (n,) int, of how many repeats each row of X is the mean; None: one

        Raises
        ------
        InconsistentInput
            Another number of voxels, responses that are not finite, or repeats that are not
            positive whole numbers, one a row.
        """
        X = responses_array(X, self.n_features_in_)
        if not np.isfinite(X).all():
            raise InconsistentInput(f"{_bad_rows(X)} of {len(X)} responses to decode have values that are not finite.")
        along_axes = np.empty((len(X), len(self.loadings_)))
        for m, rows in self._by_repeats(n_repeats, len(X)):
            factor, gain = self._system(m)
            for start in range(0, len(rows), ROWS):
                some = rows[start : start + ROWS]
                along_axes[some] = self._along_axes(factor, gain, X[some])
        return project(self.axes_, along_axes) * self.latent_scale_ + self.latent_mean_

    def _along_axes(self, factor: np.ndarray, gain: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Solve the smaller system, each row on its own: ``(n, rank)``."""
        whitened = (X - self.response_mean_) * (self.whitener_ * gain)
        if self._by_latents:
            return solve_rows(factor, project(self.loadings_, whitened * gain))
        return project(self.loadings_, solve_rows(factor, whitened) * gain)

    def posterior_variance(self, n_repeats: np.ndarray | None = None) -> np.ndarray:
        """Diagonal of the posterior covariance, in squared units of the latents.

        It does not depend on the responses.

        Returns
        -------
        (n_latents,) for one repeat; with ``n_repeats`` (n,), ``(n, n_latents)``
        """
        if n_repeats is None:
            return self._variance(*self._system(1))
        out = np.empty((len(n_repeats), len(self.latent_mean_)))
        for m, rows in self._by_repeats(n_repeats, len(n_repeats)):
            out[rows] = self._variance(*self._system(m))
        return out

    def _variance(self, factor: np.ndarray, gain: np.ndarray) -> np.ndarray:
        from scipy.linalg import solve_triangular

        inside = np.einsum("kr,kr->k", self.axes_, self.axes_)
        outside = np.maximum(1 - inside, 0.0)
        if not factor.size:
            return self.latent_scale_**2
        if self._by_latents:
            half = solve_triangular(factor, self.axes_.T, lower=True, check_finite=False)
            inside = np.einsum("rk,rk->k", half, half)
        else:
            # (A A' + I)^-1 = I - A (A'A + I)^-1 A'
            seen = gain[:, None] * (self.loadings_.T.astype(float) @ self.axes_.T)
            half = solve_triangular(factor, seen, lower=True, check_finite=False)
            inside = np.maximum(inside - np.einsum("qk,qk->k", half, half), 0.0)
        return (outside + inside) * self.latent_scale_**2

    def _by_repeats(self, n_repeats: np.ndarray | None, n: int) -> list[tuple[int, np.ndarray]]:
        """Rows that share a number of repeats: one factorisation serves them."""
        if n_repeats is None:
            return [(1, np.arange(n))]
        m = _repeats(n_repeats, n) if self.repeat_noise else np.ones(n, dtype=int)
        return [(k, np.flatnonzero(m == k)) for k in np.unique(m).tolist()]


def _standardised(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float64 voxels of mean 0 and sd 1 (0 where constant), means, and sds (0 where constant)."""
    Y = X.astype(np.float64)
    if not np.isfinite(Y).all():
        raise InconsistentInput(
            f"{_bad_rows(Y)} of {len(Y)} training responses have values that are not finite; leave these voxels or "
            "trials out before decoding."
        )
    mean = Y.mean(axis=0)
    Y -= mean
    sd = np.sqrt(np.einsum("nk,nk->k", Y, Y) / len(Y))
    sd[sd <= CONSTANT * np.abs(mean)] = 0.0
    Y *= np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 0)
    return Y, mean, sd


def _least_squares(latents: Decomposition, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of Y on the latents' axes ``(rank, n_voxels)``, and the mean squared residual."""
    coordinates = latents.U.T @ Y
    explained = np.einsum("rk,rk->k", coordinates, coordinates)
    noise = (np.einsum("nk,nk->k", Y, Y) - explained) / len(Y)
    return coordinates / np.sqrt(latents.squares)[:, None], noise


def _ridge(latents: Decomposition, Y: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights with a penalty per voxel, mean squared leave-one-out residual, and which of it is noise of trials.

    The rest of a leave-one-out residual is the error of the weights, the same for every repeat.
    Noise: residual sum of squares of the fit over its degrees of freedom, ``n - 1 - trace(H)``.
    """
    coordinates = latents.U.T @ Y
    penalties, which = np.unique(alpha, return_inverse=True)
    shrink = latents.squares[:, None] / (latents.squares[:, None] + penalties)
    leverage = 1 / len(Y) + latents.U**2 @ shrink
    fitted = shrink[:, which] * coordinates
    residual = Y - latents.U @ fitted
    dof = len(Y) - 1 - shrink.sum(axis=0)[which]
    of_trials = np.einsum("nk,nk->k", residual, residual) / np.maximum(dof, 1e-12)
    residual /= np.maximum(1 - leverage, 1e-12)[:, which]
    noise = np.einsum("nk,nk->k", residual, residual) / len(Y)
    return fitted / np.sqrt(latents.squares)[:, None], noise, of_trials


def solve_rows(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve for each row on its own: several right-hand sides at once round differently from one."""
    from scipy.linalg import cho_solve

    if right.size:
        right = np.stack([cho_solve((factor, True), row, check_finite=False) for row in right])
    return right


def _bad_rows(X: np.ndarray) -> int:
    return int((~np.isfinite(X)).any(axis=1).sum())


def _repeats(n_repeats: np.ndarray, n: int) -> np.ndarray:
    """Check numbers of repeats, one a row."""
    m = np.asarray(n_repeats)
    if m.shape != (n,) or not np.issubdtype(m.dtype, np.number) or not ((m >= 1) & (m == np.floor(m))).all():
        raise InconsistentInput(
            f"Numbers of repeats must be {n} whole numbers of at least 1, one a response, got {m.dtype} {m.shape}"
            + (f" from {m.min()} to {m.max()}." if m.size and np.issubdtype(m.dtype, np.number) else ".")
        )
    return m.astype(int)
