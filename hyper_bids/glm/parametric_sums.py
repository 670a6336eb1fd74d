"""What the parametric model over all runs needs of them: sums that are added run by run.

Least squares on the stacked runs ``Y = X B + sum_r N_r C_r + E`` (X shared, N_r the nuisance
of run r) equals least squares with N_r projected out of each run (Frisch & Waugh 1933), and
needs only ``X'X``, ``X'Y`` and ``y'y``. A run is read once, as sums over volumes in an
orthonormal basis of its events and nuisance (`hyper_bids.glm.fit.accumulate`); since X is
events times mixing, the step from there to ``X'Y`` costs less than ``X'Y`` from the volumes,
and touches the large array once a run.

``X'Y`` is made and kept in float32, whose error of t is about 2e-7 times the regressors'
condition number (measured: 1e-5 at 6, 2e-4 at 900; keeping the same products in float64
only halves it); ``X'X`` and ``y'y`` are float64. Memory in bytes a voxel: 4 x regressors, and
8 x (events + nuisance) of one run while it is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.glm.fit import CrossProducts, accumulate
from hyper_bids.glm.models import orthonormal_basis
from hyper_bids.glm.parametric_design import RunParametric

VOXEL_BLOCK = 2048
"""Voxels that the parametric model works on at a time."""

RESIDUAL_FLOOR = 1e-6
"""Share of a voxel's sum of squares below which float32 sums cannot tell a residual from 0. What the
model leaves is taken as at least this share; a voxel of which nuisance leaves less is not valid."""


class Accumulator:
    """Sums over runs, enough for `solve`; ``add`` changes it in place.

    Parameters
    ----------
    names : (n_shared,) names of the shared regressors, the latents last
    mu : (n_latents,) centre of the modulators
    n_voxels : of the mask that all runs share
    percent : the data enter as percent of the voxel's mean signal in the run (True) or as they
        are (False); their mean is each run's own nuisance either way

    Attributes
    ----------
    gram : (n_shared, n_shared) float64, ``X'X`` without nuisance
    products : (n_shared, n_voxels) float32, ``X'Y`` without nuisance
    squares : (n_voxels,) float64, ``y'y`` without nuisance
    sizes : (n_shared,) float64, sums of squares of the regressors before the nuisance is projected out
    valid : (n_voxels,) bool, False where a voxel is, in any run, NaN, infinite, constant, or nothing
        but nuisance to the precision of float32
    dof : sum over runs of volumes minus rank of the nuisance
    n_train : training trials
    labels : of the runs that were added
    """

    def __init__(self, names: Iterable[str], mu: np.ndarray, n_voxels: int, *, percent: bool = False) -> None:
        self.names, self.mu, self.percent = tuple(names), np.asarray(mu, dtype=float), bool(percent)
        n_shared = len(self.names)
        self.gram, self.sizes = np.zeros((n_shared, n_shared)), np.zeros(n_shared)
        self.products = np.zeros((n_shared, n_voxels), dtype=np.float32)
        self.squares, self.valid = np.zeros(n_voxels), np.ones(n_voxels, dtype=bool)
        self.dof, self.n_train = 0, 0
        self.labels: tuple[str, ...] = ()

    @property
    def n_voxels(self) -> int:
        return len(self.squares)

    def add(self, blocks: Iterable[np.ndarray], run: RunParametric, label: str) -> None:
        """Add one run.

        Parameters
        ----------
        blocks : arrays (n_block, n_voxels) float32, consecutive volumes of the masked run, without dummy scans
        run : its design
        label : of the run; no two runs have the same

        Raises
        ------
        InconsistentInput
            The run's regressors, centre, voxels or volumes are not those that are expected, or it is in already.
        """
        self._check(run.names, run.mu, (label,))
        products = accumulate(blocks, run.design, label)
        if len(products.squares) != self.n_voxels:
            raise InconsistentInput(
                f"{label}: {len(products.squares)} voxels were read, the other runs have {self.n_voxels}. "
                "All runs need one mask."
            )
        shared, nuisance, sizes = _in_basis(products.basis, run)
        self.gram += shared.T @ shared
        self.sizes += sizes
        self.dof += products.n_volumes - nuisance.shape[1]
        self.n_train += run.n_train
        self.labels += (label,)
        self._add_voxels(products, shared, nuisance)

    def _add_voxels(self, run: CrossProducts, shared: np.ndarray, nuisance: np.ndarray) -> None:
        usable = run.valid & (np.abs(run.mean) > 0) if self.percent else run.valid
        mixed = np.ascontiguousarray(shared.T, dtype=np.float32)
        for voxels in voxel_blocks(self.n_voxels):
            good = usable[voxels]
            scale = 100.0 / np.abs(np.where(good, run.mean[voxels], 1.0)) if self.percent else np.ones(len(good))
            y = np.where(good, run.projected[:, voxels], 0.0) * scale
            squares = np.where(good, run.squares[voxels], 0.0) * scale**2
            of_nuisance = nuisance.T @ y
            left = squares - (of_nuisance**2).sum(axis=0)
            self.squares[voxels] += left
            self.valid[voxels] &= good & (left > RESIDUAL_FLOOR * squares)
            y -= nuisance @ of_nuisance
            self.products[:, voxels] += mixed @ y.astype(np.float32)

    def _check(self, names: tuple[str, ...], mu: np.ndarray, labels: tuple[str, ...]) -> None:
        if names != self.names or not np.array_equal(mu, self.mu):
            raise InconsistentInput(
                f"{listing(labels)}: not the regressors (or not the centre mu) of the runs added so far. "
                "All runs must be designed with one model."
            )
        twice = set(labels) & set(self.labels)
        if twice:
            raise InconsistentInput(f"{listing(sorted(twice))}: already added; a run counts once.")

    def state(self) -> dict[str, np.ndarray]:
        """Return everything as arrays, for ``np.savez``: a fit can stop here and go on in another process."""
        return {name: np.asarray(getattr(self, name)) for name in _STATE}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Accumulator:
        """Undo `state`."""
        sums = cls((), state["mu"], 0)
        for name in _STATE:
            setattr(sums, name, state[name])
        sums.names, sums.labels = tuple(state["names"].tolist()), tuple(state["labels"].tolist())
        sums.percent, sums.dof, sums.n_train = bool(state["percent"]), int(state["dof"]), int(state["n_train"])
        return sums


_STATE = (
    "names", "mu", "percent", "labels", "gram", "sizes", "products", "squares", "valid", "dof", "n_train",
)  # fmt: skip


def merge(first: Accumulator, second: Accumulator) -> Accumulator:
    """Add the runs of ``second`` to ``first`` (changed in place, so that no third copy is made) and return it.

    Raises
    ------
    InconsistentInput
        They are not sums of one model over one mask, or have a run in common.
    """
    first._check(second.names, second.mu, second.labels)
    if (first.n_voxels, first.percent) != (second.n_voxels, second.percent):
        raise InconsistentInput(
            f"{listing(second.labels)}: {second.n_voxels} voxels ({'percent' if second.percent else 'raw'}) cannot be "
            f"added to {first.n_voxels} ({'percent' if first.percent else 'raw'}). Fit all runs with one mask and unit."
        )
    first.gram += second.gram
    first.sizes += second.sizes
    first.products += second.products
    first.squares += second.squares
    first.valid &= second.valid
    first.dof += second.dof
    first.n_train += second.n_train
    first.labels += second.labels
    return first


def voxel_blocks(n_voxels: int) -> Iterator[slice]:
    """Yield slices of consecutive voxels, `VOXEL_BLOCK` in each."""
    for start in range(0, n_voxels, VOXEL_BLOCK):
        yield slice(start, min(start + VOXEL_BLOCK, n_voxels))


def _in_basis(basis: np.ndarray, run: RunParametric) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return shared regressors without nuisance, orthonormal nuisance, sizes with nuisance, in a run's basis.

    The regressors ``(rank, n_shared)`` are rounded to float32, the precision of ``X'Y``, so that
    ``X'X`` and ``X'Y`` are of the same X: an error of X alone is harmless, a contradiction is not.
    """
    nuisance = orthonormal_basis(basis.T @ run.nuisance)
    events = basis.T @ run.design.trials
    sizes = ((events @ run.mixing) ** 2).sum(axis=0)
    events -= nuisance @ (nuisance.T @ events)
    return (events @ run.mixing).astype(np.float32).astype(np.float64), nuisance, sizes
