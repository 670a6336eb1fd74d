"""AR(1) noise from sums alone: no second read of the data.

As in nilearn 0.14: the autocorrelation rho of a voxel is that of the residuals of ordinary
least squares (with the divisors T and T - 1), cut to hundredths towards 0; model and data
are then whitened by ``y_t - rho y_(t-1)``, the first volume kept as it is, and fitted
again. Every inner product of whitened columns is a polynomial in rho of sums over volumes:

    G(rho) = I - rho (S + S') + rho^2 (I - q_T q_T'),        S = sum_t q_t q_(t-1)'
    s(rho) = C - rho D + rho^2 (C - q_T y_T),                C = Q'y,  D = sum_t (q_(t-1) + q_(t+1)) y_t
    yy(rho) = y'y - 2 rho L + rho^2 (y'y - y_T^2),           L = sum_t y_t y_(t+1)
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.glm.models import TrialModels

if TYPE_CHECKING:
    from hyper_bids.glm.fit import CrossProducts

BINS = 100
"""Bins of rho per unit: voxels of one bin are whitened by the same matrix."""


class AR1:
    """Fits of all trial models of a run under AR(1) noise.

    Parameters
    ----------
    products : with the sums at lag one
    models : the run's trial models
    floor : least share of a voxel's variance that is taken as residual
    """

    def __init__(self, products: CrossProducts, models: TrialModels, floor: float) -> None:
        lag = products.basis[1:].T @ products.basis[:-1]
        self.products, self.n_trials = products, len(models.dof)
        self.models = [
            (basis, _Model(contrasts, basis.T @ (lag + lag.T) @ basis, basis.T @ products.basis[-1],
                           products.n_volumes, int(models.dof[trials[0]]), floor), trials)
            for basis, contrasts, trials in models.subspaces()
        ]  # fmt: skip

    def statistics(self, voxels: np.ndarray, raw: bool) -> np.ndarray:
        """Effects (``raw``) of all trials at some voxels, or their t values, ``(n_trials, n)``."""
        products = self.products
        C, D = products.projected[:, voxels], products.lagged[:, voxels]
        scalars = (products.squares[voxels], products.lag_product[voxels], products.last[voxels])
        if len(self.models) == 1:  # LSA: the model's basis is the run's
            return self.models[0][1].fit(C, D, *scalars, raw)
        out = np.empty((self.n_trials, len(voxels)))
        for basis, model, trials in self.models:
            out[trials] = model.fit(basis.T @ C, basis.T @ D, *scalars, raw)
        return out


def residual_autocorrelation(
    C: np.ndarray, D: np.ndarray, lag: np.ndarray, squares: np.ndarray, lag_product: np.ndarray, n_volumes: int
) -> np.ndarray:
    """Lag-one autocorrelation of OLS residuals, ``(n,)``, from sums.

    ``r'r = y'y - C'C`` and ``sum_t r_t r_(t+1) = L - C'D + C' (S + S') C / 2``.
    """
    power = squares - np.einsum("kv,kv->v", C, C)
    neighbours = lag_product - np.einsum("kv,kv->v", C, D) + 0.5 * np.einsum("kv,kv->v", C, lag @ C)
    rho = neighbours * n_volumes / ((n_volumes - 1) * np.where(power > 0, power, np.inf))
    return np.clip(rho, -0.99, 0.99)


class _Model:
    """One model in coordinates of its own orthonormal basis (k columns).

    Parameters
    ----------
    contrasts : (m, k) its responses
    lag : (k, k) ``S + S'``
    end : (k,) the basis in the last volume
    n_volumes, dof, floor : of the run, of the model, and see `AR1`
    """

    def __init__(
        self, contrasts: np.ndarray, lag: np.ndarray, end: np.ndarray, n_volumes: int, dof: int, floor: float
    ) -> None:
        self.contrasts, self.lag, self.end = contrasts, lag, end
        self.n_volumes, self.dof, self.floor = n_volumes, dof, floor
        self._solvers: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def fit(
        self, C: np.ndarray, D: np.ndarray, squares: np.ndarray, lag_product: np.ndarray, last: np.ndarray, raw: bool
    ) -> np.ndarray:
        """Effects of the contrasts, or their t values, ``(m, n)``."""
        rho = residual_autocorrelation(C, D, self.lag, squares, lag_product, self.n_volumes)
        label = (rho * BINS).astype(int)
        # Voxels of one bin side by side: each bin is then a slice that fits into cache.
        order = np.argsort(label, kind="stable")
        C, D, label = C[:, order], D[:, order], label[order]
        squares, lag_product, last = squares[order], lag_product[order], last[order]
        found = np.empty((len(self.contrasts), len(label)))
        edges = [0, *(np.flatnonzero(np.diff(label)) + 1).tolist(), len(label)]
        for start, stop in pairwise(edges):
            here, cut = slice(start, stop), label[start] / BINS
            score = (1 + cut**2) * C[:, here]
            score -= cut * D[:, here]
            score -= np.outer(cut**2 * self.end, last[here])
            solver, spread = self._solver(int(label[start]))
            solved = solver @ score
            effect = solved[: len(self.contrasts)]
            if not raw:
                half = solved[len(self.contrasts) :]
                total = (1 + cut**2) * squares[here] - 2 * cut * lag_product[here] - cut**2 * last[here] ** 2
                residual = total - np.einsum("kv,kv->v", half, half)
                residual = np.maximum(residual, self.floor * np.maximum(total, np.finfo(float).tiny))
                effect /= np.sqrt(residual / self.dof)
                effect /= np.sqrt(spread)[:, None]
            found[:, here] = effect
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return found[:, back]

    def _solver(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Matrix that turns scores into effects (m rows) and whitened coefficients (k rows), and the spread.

        With ``G = U'U``: effects are ``contrasts G^-1 s``, and ``s' G^-1 s`` is the square of ``U'^-1 s``.
        """
        if label not in self._solvers:
            from scipy.linalg import cholesky, solve_triangular

            rho, k = label / BINS, len(self.lag)
            gram = (1 + rho**2) * np.eye(k) - rho * self.lag - rho**2 * np.outer(self.end, self.end)
            half = solve_triangular(cholesky(gram), np.eye(k), trans="T")
            whitened = self.contrasts @ half.T
            self._solvers[label] = (np.vstack([whitened @ half, half]), (whitened**2).sum(axis=1))
        return self._solvers[label]
