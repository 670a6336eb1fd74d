"""AR(1) noise from sums alone: no second read of the data.

As in nilearn 0.14: the autocorrelation rho of a voxel is that of the residuals of ordinary
least squares (with the divisors T and T - 1), cut to hundredths towards 0; model and data
are then whitened by ``y_t - rho y_(t-1)``, the first volume kept as it is, and fitted
again. With B an orthonormal basis of the model, ``y = B C + r`` (r the residual of ordinary
least squares), ``S = sum_t b_t b_(t-1)'`` and ``e = b_T``, every inner product of whitened
columns is a polynomial in rho of sums over volumes:

    G(rho) = B'VB = I - rho (S + S') + rho^2 (I - e e')
    s(rho) = B'Vr = -rho F - rho^2 e r_T,                      F = sum_t (b_(t-1) + b_(t+1)) y_t - (S + S') C
    r'Vr = r'r - 2 rho sum_t r_t r_(t+1) + rho^2 (r'r - r_T^2)

The whitened model's coefficients are then ``C + G^-1 s``, and its residual ``r'Vr - s'G^-1 s``:
s is small however much the model explains, so that float32 will do. What decides rho is float64.

Turned so that ``S + S'`` is diagonal (Lambda), the basis makes ``G`` a diagonal matrix minus
one of rank one, whose inverse is known for every rho (Sherman & Morrison 1950): with
``delta = 1 / (1 + rho^2 - rho Lambda)`` and ``kappa = rho^2 / (1 - rho^2 e' delta e)``,

    G^-1 s = delta (s + kappa (e' delta s) e)
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.glm.models import TrialModels

if TYPE_CHECKING:
    from hyper_bids.glm.products import CrossProducts

BINS = 100
"""Bins of rho per unit; rho is cut to the edge nearer to 0."""

LARGEST = 0.99
"""Largest absolute rho."""


class AR1:
    """Fits of all trial models of a run under AR(1) noise.

    Parameters
    ----------
    products : with the sums at lag one
    models : the run's trial models
    """

    def __init__(self, products: CrossProducts, models: TrialModels) -> None:
        self.products = products
        subspaces, n_volumes = models.subspaces(), products.n_volumes
        lag, end = products.basis[1:].T @ products.basis[:-1], products.basis[-1]
        lag += lag.T.copy()
        self.models = [
            _Model(np.hstack([each.own, models.shared]), each.contrasts, lag, end, n_volumes) for each in subspaces
        ]
        ends = np.cumsum([each.own.shape[1] for each in subspaces]).tolist()
        self.rows = [slice(start, stop) for start, stop in pairwise([0, *ends])]
        self.own, self.shared = np.hstack([each.own for each in subspaces]).T.copy(), models.shared.T.copy()
        self.others = np.linalg.qr(models.shared, mode="complete")[0][:, len(self.shared) :].T.copy()

    def fit(self, voxels: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return effects, residual sums of squares, and the effects' standard errors per unit of noise.

        Returns
        -------
        three arrays (n_trials or 1, n), of the whitened models and data
        """
        products = self.products
        projected, lagged = products.projected[:, voxels].astype(np.float64), products.lagged[:, voxels]
        residual, lag_product, last = (
            each[voxels] for each in (products.residual, products.lag_product, products.last)
        )  # fmt: skip
        if len(self.models) == 1:
            model = self.models[0]
            D = model.to_basis.astype(np.float32) @ lagged.astype(np.float32, copy=False)
            return model.fit(model.to_basis @ projected, D, residual, lag_product, last)
        lagged = lagged.astype(np.float64)
        own, own_lagged = self.own @ projected, self.own @ lagged
        shared, shared_lagged = self.shared @ projected, self.shared @ lagged
        others = self.others @ projected
        # What a model leaves of the run's basis is never of the shared columns.
        residual = residual + _dot(others, others)
        lag_product = lag_product + _dot(others, self.others @ lagged)
        found = []
        for model, rows in zip(self.models, self.rows, strict=True):
            C = model.turn @ np.concatenate([own[rows], shared])
            D = model.turn @ np.concatenate([own_lagged[rows], shared_lagged])
            left = residual - _dot(own[rows], own[rows]), lag_product - _dot(own[rows], own_lagged[rows])
            found.append(model.fit(C, D.astype(np.float32), *left, last))
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("kv,kv->v", first, second)


class _Model:
    """One model in the coordinates in which ``S + S'`` is diagonal.

    Parameters
    ----------
    basis : (rank, k), its orthonormal basis in coordinates of Q
    contrasts : (m, k)
    lag : (rank, rank) ``S + S'`` of Q
    end : (rank,) Q in the last volume
    n_volumes : of the run
    """

    def __init__(
        self, basis: np.ndarray, contrasts: np.ndarray, lag: np.ndarray, end: np.ndarray, n_volumes: int
    ) -> None:
        self.eigenvalues, turn = np.linalg.eigh(basis.T @ lag @ basis)
        self.turn, self.to_basis = turn.T.copy(), (basis @ turn).T.copy()
        self.end, self.n_volumes = self.to_basis @ end, n_volumes
        contrasts = contrasts @ turn
        self.contrasts = contrasts.astype(np.float32)
        # Of each bin: e' delta e, kappa, and the contrasts' standard errors per unit of noise.
        rho = np.arange(-BINS + 1, BINS) / BINS
        delta = 1.0 / (1.0 + rho**2 - np.outer(self.eigenvalues, rho))
        self.of_end = self.end**2 @ delta
        self.kappa = rho**2 / (1.0 - rho**2 * self.of_end)
        variances = contrasts**2 @ delta + self.kappa * ((contrasts * self.end) @ delta) ** 2
        self.errors = np.sqrt(variances).astype(np.float32)

    def fit(
        self, C: np.ndarray, D: np.ndarray, residual: np.ndarray, lag_product: np.ndarray, last: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `AR1.fit`: of this model's contrasts, ``(m, n)``; residuals ``(1, n)``.

        Parameters
        ----------
        C : (k, n) float64, sums against the basis
        D : (k, n) float32, sums against its neighbours; overwritten
        residual : (n,) ``r'r``
        lag_product : (n,) ``sum_t y_t y_(t+1) - C'D``
        last : (n,) the last volume's y
        """
        neighbours = lag_product + 0.5 * (self.eigenvalues @ (C * C))
        last = last - self.end @ C
        label = self._label(neighbours, residual)
        rho, of_end, kappa = (label - BINS + 1) / BINS, self.of_end[label], self.kappa[label]
        scale = 1.0 + rho**2
        eigenvalues, end = (each.astype(np.float32)[:, None] for each in (self.eigenvalues, self.end))
        C = C.astype(np.float32)
        width = eigenvalues * C
        F = np.subtract(D, width, out=D)
        # With 1 + rho^2 taken out of G, delta is 1 / width, and g = delta (-rho F).
        share = (-rho / scale).astype(np.float32)
        np.multiply(eigenvalues, share, out=width)
        width += np.float32(1.0)
        g = F * share
        g /= width
        ahead, shift = end[:, 0] @ g, rho**2 * last
        at_end = ahead - shift * of_end
        explained = -rho * _dot(F, g) - shift * (ahead + at_end) + kappa * at_end**2
        total = scale * residual - 2.0 * rho * neighbours - (rho * last) ** 2
        C += g
        np.divide(end, width, out=width)
        width *= ((kappa * at_end - shift) / scale).astype(np.float32)
        C += width
        return self.contrasts @ C, (total - explained)[None, :], np.take(self.errors, label, axis=1)

    def _label(self, neighbours: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Bin of the residuals' lag-one autocorrelation, counted from the lowest."""
        n = self.n_volumes
        rho = neighbours * n / ((n - 1) * np.where(residual > 0, residual, np.inf))
        return np.nan_to_num(np.clip(rho, -LARGEST, LARGEST) * BINS).astype(int) + BINS - 1
