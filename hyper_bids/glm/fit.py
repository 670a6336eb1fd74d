"""The streaming fit: one pass over a run's volumes, all trials at once.

Only sums over volumes are kept of a run (`hyper_bids.glm.products`): ``Q'Y`` and ``y'y``, Q an
orthonormal basis of everything that any model of the run needs (for AR(1) also their products at
a lag of one volume). LSA is then one linear map; LSS needs no second pass either, since every
trial's own model lies in the span of Q.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hyper_bids.glm.ar1 import AR1
from hyper_bids.glm.columns import run_columns
from hyper_bids.glm.design import RunDesign
from hyper_bids.glm.models import TrialModels, lsa_models, lss_models
from hyper_bids.glm.products import TILE, CrossProducts
from hyper_bids.glm.products import accumulate as accumulate
from hyper_bids.glm.products import accumulate_apart as accumulate_apart
from hyper_bids.glm.tails import z_from_t

AT_ONCE = 512
"""Voxels that are estimated at a time: keeps the temporary arrays in cache."""

HANDED_ON = 4 * TILE
"""Voxels whose estimates are handed on together: rows of this length are written quickly."""

RESIDUAL_FLOOR = 1e-10
"""Share of a voxel's variance below which its residual is taken as this share: sums of
float32 data cannot tell a smaller one from 0, and a z must stay finite."""

TINY = np.finfo(np.float32).tiny


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
    basis = run_columns(design).basis if basis is None else basis
    return lsa_models(basis, design) if mode == "lsa" else lss_models(basis, design, rest)


def estimate_blocks(
    products: CrossProducts, models: TrialModels, *, response: str = "z", noise_model: str = "ols"
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield ``(voxels, (n_trials, n) float32)`` for consecutive slices of voxels; see `estimate`.

    The array's memory is used again: it holds only until the next is asked for.
    """
    ar1 = AR1(products, models) if noise_model == "ar1" else None
    fill = _estimator(products, models, response, ar1)
    size = AT_ONCE if ar1 is None or len(ar1.models) == 1 else TILE
    n_voxels = len(products.squares)
    memory = np.empty((len(models.dof), min(HANDED_ON, n_voxels)), dtype=np.float32)
    for start in range(0, n_voxels, HANDED_ON):
        whole = slice(start, min(start + HANDED_ON, n_voxels))
        with np.errstate(all="ignore"):
            for first in range(start, whole.stop, size):
                voxels = slice(first, min(first + size, whole.stop))
                fill(voxels, memory[:, first - start : voxels.stop - start])
        yield whole, memory[:, : whole.stop - start]


def _estimator(
    products: CrossProducts, models: TrialModels, response: str, ar1: AR1 | None
) -> Callable[[slice, np.ndarray], None]:
    """Return what fills ``out`` (n_trials, n) with the estimates of some voxels, NaN where a voxel is not valid."""
    usable = np.where(products.valid, 1.0, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        percent = np.where(np.abs(products.mean) > 0, 100.0 / np.abs(products.mean), np.nan) * usable
    scale = models.dof if ar1 is not None else models.dof / models.variance
    scale = np.sqrt(scale).astype(np.float32)[:, None]
    alike = [(float(degrees), np.flatnonzero(models.dof == degrees)) for degrees in np.unique(models.dof)]

    def fill(voxels: slice, out: np.ndarray) -> None:
        if ar1 is None:
            effect, residual = models.ols(products.projected[:, voxels], products.residual[voxels])
        else:
            effect, residual, errors = ar1.fit(voxels)
        if response == "beta":
            np.multiply(effect, percent[voxels].astype(np.float32), out=out)
            return
        least = np.maximum(RESIDUAL_FLOOR * products.squares[voxels], TINY).astype(residual.dtype)
        noise = np.sqrt(np.maximum(residual, least, out=residual), out=residual)
        precision = np.divide(usable[voxels].astype(noise.dtype), noise, out=noise)
        effect *= precision.astype(np.float32, copy=False)
        effect *= scale
        if ar1 is not None:
            effect /= errors
        if response == "t":
            out[...] = effect
        elif len(alike) == 1:
            z_from_t(effect, alike[0][0], out=out)
        else:
            for degrees, rows in alike:
                out[rows] = z_from_t(effect[rows], degrees)

    return fill
