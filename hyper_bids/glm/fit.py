"""The streaming fit: one pass over a run's volumes, all trials at once.

A run enters as blocks of volumes, masked, float32; only sums over volumes are kept:
``Q'Y`` and ``y'y``, Q an orthonormal basis of everything that any model of the run needs
(for AR(1) also their products at a lag of one volume). LSA is then one triangular
solve; LSS needs no second pass either, since every trial's own model lies in the span
of Q. What is read is float32, what is summed float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.glm.ar1 import AR1
from hyper_bids.glm.design import RunDesign
from hyper_bids.glm.models import TrialModels, lsa_models, lss_models, orthonormal_basis
from hyper_bids.glm.tails import z_from_t

VOXEL_BLOCK = 2048
"""Voxels that are worked on at a time: bounds the temporary arrays, and keeps them in cache."""

AR1_BLOCK = 8192
"""The same under AR(1), where voxels are grouped by their autocorrelation: larger groups are quicker."""

RESIDUAL_FLOOR = 1e-10
"""Share of a voxel's variance below which its residual is taken as this share: sums of
float32 data cannot tell a smaller one from 0, and a z must stay finite."""


@dataclass(frozen=True, eq=False)
class CrossProducts:
    """What is kept of a run: enough for every linear model inside the basis.

    With Y the signal minus ``offset``, q_t row t of the basis:

    Parameters
    ----------
    basis : (n_volumes, rank) float64, orthonormal columns
    projected : (rank, n_voxels) float64, ``sum_t q_t y_t``
    squares : (n_voxels,) float64, ``sum_t y_t^2``
    mean : (n_voxels,) float64, the voxel's mean signal
    valid : (n_voxels,) bool, False where a voxel is NaN, infinite or constant
    lagged : (rank, n_voxels) float64, ``sum_t (q_(t-1) + q_(t+1)) y_t``; None unless asked for
    lag_product : (n_voxels,) float64, ``sum_t y_t y_(t+1)``; None unless asked for
    last : (n_voxels,) float64, the last volume's y; None unless asked for
    """

    basis: np.ndarray
    projected: np.ndarray
    squares: np.ndarray
    mean: np.ndarray
    valid: np.ndarray
    lagged: np.ndarray | None = None
    lag_product: np.ndarray | None = None
    last: np.ndarray | None = None

    @property
    def n_volumes(self) -> int:
        return len(self.basis)


class _Sums:
    """Accumulates `CrossProducts` block by block."""

    def __init__(self, basis: np.ndarray, first: np.ndarray, lagged: bool) -> None:
        n_voxels = first.shape[1]
        # The constant is in every design, so any offset is allowed; the mean of the first
        # volumes keeps the float sums from cancelling.
        offset = first.mean(axis=0, dtype=np.float64)
        self.offset = np.where(np.isfinite(offset), offset, 0.0)
        self.basis, self.seen = basis, 0
        self.projected = np.zeros((basis.shape[1], n_voxels))
        self.squares, self.total = np.zeros(n_voxels), np.zeros(n_voxels)
        self.low, self.high = np.full(n_voxels, np.inf, np.float32), np.full(n_voxels, -np.inf, np.float32)
        self.neighbours = np.zeros_like(basis)
        self.neighbours[1:] += basis[:-1]
        self.neighbours[:-1] += basis[1:]
        self.lagged = np.zeros((basis.shape[1], n_voxels)) if lagged else None
        self.lag_product = np.zeros(n_voxels)
        self.last: np.ndarray | None = None

    def add(self, block: np.ndarray) -> None:
        """Add consecutive volumes ``(n, n_voxels)``."""
        rows = slice(self.seen, self.seen + len(block))
        part = np.ascontiguousarray(self.basis[rows].T)
        beside = np.ascontiguousarray(self.neighbours[rows].T)
        previous = self.last
        self.last = np.empty(block.shape[1])
        for start in range(0, block.shape[1], VOXEL_BLOCK):
            voxels = slice(start, start + VOXEL_BLOCK)
            # Where a model explains 0.999 of a voxel, products in float32 would leave z with 3 digits.
            y = np.subtract(block[:, voxels], self.offset[voxels], dtype=np.float64)
            self.projected[:, voxels] += part @ y
            self.squares[voxels] += np.einsum("tv,tv->v", y, y)
            self.total[voxels] += y.sum(axis=0)
            np.minimum(self.low[voxels], block[:, voxels].min(axis=0), out=self.low[voxels])
            np.maximum(self.high[voxels], block[:, voxels].max(axis=0), out=self.high[voxels])
            if self.lagged is not None:
                self.lagged[:, voxels] += beside @ y
                self.lag_product[voxels] += np.einsum("tv,tv->v", y[:-1], y[1:])
                if previous is not None:
                    self.lag_product[voxels] += previous[voxels] * y[0]
            self.last[voxels] = y[-1]
        self.seen += len(block)

    def finished(self) -> CrossProducts:
        """Return what was summed."""
        valid = np.isfinite(self.squares) & (self.high > self.low)
        for start in range(0, len(valid), VOXEL_BLOCK):
            voxels = slice(start, start + VOXEL_BLOCK)
            valid[voxels] &= np.isfinite(self.projected[:, voxels]).all(axis=0)
        lagged = self.lagged is not None
        return CrossProducts(
            self.basis,
            self.projected,
            self.squares,
            self.offset + self.total / self.seen,
            valid,
            self.lagged,
            self.lag_product if lagged else None,
            self.last if lagged else None,
        )


def accumulate(
    blocks: Iterable[np.ndarray], design: RunDesign, label: str = "run", noise_model: str = "ols"
) -> CrossProducts:
    """Read a run once.

    Parameters
    ----------
    blocks : arrays (n_block, n_voxels) float32, consecutive volumes of the masked run
    design : its design; dummy scans are already left out of both
    label : for messages
    noise_model : ``ols``, or ``ar1``, which keeps the products at a lag of one too

    Raises
    ------
    InconsistentInput
        The number of volumes is not the design's.
    """
    basis = orthonormal_basis(design.matrix)
    sums = None
    with np.errstate(invalid="ignore", over="ignore"):
        for block in blocks:
            if sums is None:
                sums = _Sums(basis, block, noise_model == "ar1")
            if sums.seen + len(block) > len(basis):
                raise InconsistentInput(_wrong_length(label, f"more than {len(basis)}", len(basis)))
            sums.add(block)
    if sums is None or sums.seen != len(basis):
        raise InconsistentInput(_wrong_length(label, str(0 if sums is None else sums.seen), len(basis)))
    return sums.finished()


def _wrong_length(label: str, found: str, needed: int) -> str:
    return (
        f"{label}: {found} volumes were read but the design has {needed} rows; "
        "check dummy scans or pass --dummy-scans N."
    )


@dataclass(frozen=True, eq=False)
class TrialEstimates:
    """One estimate a trial and voxel, ``(n_trials, n_voxels)`` float32, and the models' degrees of freedom."""

    values: np.ndarray
    dof: np.ndarray


def estimate(
    products: CrossProducts,
    design: RunDesign,
    mode: str,
    *,
    response: str = "z",
    rest: str = "one",
    noise_model: str = "ols",
) -> TrialEstimates:
    """Estimate the response to every trial.

    Parameters
    ----------
    products : from `accumulate`, with the same noise model
    design : the same design
    mode : ``lsa`` or ``lss``
    response : ``beta`` (in % of the voxel's mean signal), ``t`` or ``z``
    rest : in LSS, the other trials as ``one`` regressor, or one per ``condition``
    noise_model : ``ols`` or ``ar1``

    Returns
    -------
    TrialEstimates
        ``values`` is NaN at voxels that are not valid. ``dof`` (n_trials,): number of
        volumes minus the rank of the trial's model.
    """
    models = trial_models(design, mode, rest, products.basis)
    values = np.empty((design.n_trials, len(products.squares)), dtype=np.float32)
    for voxels, part in estimate_blocks(products, models, response=response, noise_model=noise_model):
        values[:, voxels] = part
    return TrialEstimates(values, models.dof)


def trial_models(design: RunDesign, mode: str, rest: str = "one", basis: np.ndarray | None = None) -> TrialModels:
    """Return the models of all trials of a run in coordinates of its basis."""
    basis = orthonormal_basis(design.matrix) if basis is None else basis
    return lsa_models(basis, design) if mode == "lsa" else lss_models(basis, design, rest)


def estimate_blocks(
    products: CrossProducts, models: TrialModels, *, response: str = "z", noise_model: str = "ols"
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield ``(voxels, (n_trials, n) float32)`` for consecutive slices of voxels; see `estimate`."""
    ar1 = AR1(products, models, RESIDUAL_FLOOR) if noise_model == "ar1" else None
    with np.errstate(divide="ignore", invalid="ignore"):
        percent = np.where(np.abs(products.mean) > 0, 100.0 / np.abs(products.mean), np.nan)
    step = VOXEL_BLOCK if ar1 is None else AR1_BLOCK
    for start in range(0, len(products.squares), step):
        voxels = slice(start, min(start + step, len(products.squares)))
        good = products.valid[voxels]
        out = np.full((len(models.dof), len(good)), np.nan, dtype=np.float32)
        if good.any():
            here = np.arange(voxels.start, voxels.stop)[good]
            raw = response == "beta"
            found = _ols(products, models, here, raw) if ar1 is None else ar1.statistics(here, raw)
            out[:, good] = _response(found, models.dof, percent[here], response)
        yield voxels, out


def _ols(products: CrossProducts, models: TrialModels, voxels: np.ndarray, raw: bool) -> np.ndarray:
    """Effects (``raw``), or their t values, ``(n_trials, n)``."""
    squares = products.squares[voxels]
    effect, residual = models.ols(products.projected[:, voxels], squares)
    if raw:
        return effect
    residual = np.maximum(residual, RESIDUAL_FLOOR * np.maximum(squares, np.finfo(float).tiny))
    effect /= np.sqrt(residual)
    effect *= np.sqrt(models.dof / models.variance)[:, None]
    return effect


def _response(found: np.ndarray, dof: np.ndarray, percent: np.ndarray, response: str) -> np.ndarray:
    if response == "beta":
        return found * percent
    t = found.astype(np.float32)
    if response == "t":
        return t
    z = np.empty_like(t)
    for degrees in np.unique(dof):
        rows = dof == degrees
        z[rows] = z_from_t(t[rows], float(degrees))
    return z
