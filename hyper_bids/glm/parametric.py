"""The parametric model over all runs, from sums that are added run by run.

Least squares on the stacked runs ``Y = X B + sum_r N_r C_r + E`` (X shared, N_r the nuisance
of run r) equals least squares with N_r projected out of each run (Frisch & Waugh 1933), and
needs only ``X'X``, ``X'Y`` and ``y'y``. A run is read once, as sums over volumes in an
orthonormal basis of its events and nuisance (`hyper_bids.glm.fit.accumulate`); since X is
events times mixing, the step from there to ``X'Y`` costs less than ``X'Y`` from the volumes,
and touches the large array once a run.

``X'Y`` is made and kept in float32, whose error of t is about 2e-7 times the regressors'
condition number (measured: 1e-5 at 6, 2e-4 at 900; keeping the same products in float64
only halves it); ``X'X``, ``y'y`` and the Cholesky factorisation are float64. Memory in bytes
a voxel: 4 x regressors, and 8 x (events + nuisance) of one run while it is added, or
4 x (latents + 1) for the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.glm.fit import VOXEL_BLOCK, CrossProducts, accumulate
from hyper_bids.glm.models import orthonormal_basis
from hyper_bids.glm.parametric_design import TRAIN, RunParametric

RANK_TOLERANCE = 1e-10
"""A regressor of which less than this share (of its sum of squares) is its own is explained by the others."""

RESIDUAL_FLOOR = 1e-6
"""Share of a voxel's sum of squares below which float32 sums cannot tell a residual from 0. What the
model leaves is taken as at least this share; a voxel of which nuisance leaves less is not valid."""


CONDITION_LIMIT = 1e4
"""Condition number above which the user is warned: single latents' weights and t are hardly determined."""


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
        for voxels in _voxel_blocks(self.n_voxels):
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


def _voxel_blocks(n_voxels: int) -> Iterator[slice]:
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


@dataclass(frozen=True, eq=False)
class ParametricEstimates:
    """The parametric model's estimates; NaN at voxels that are not valid.

    Parameters
    ----------
    weights : (n_latents + 1, n_voxels) float32, W: the latents' coefficients and, last, the bias
        row = beta(training faces) - beta(baseline)
    variances : (n_latents + 1,) variance of each row of W per unit of noise variance
    patterns : (n_test, n_voxels) float32, beta(test face) - beta(baseline)
    test_stimuli : (n_test,)
    mu : (n_latents,) centre of the modulators
    squares : (n_voxels,) y'y without nuisance
    residual_full : (n_voxels,) residual sum of squares
    residual_face : (n_voxels,) the same without the latents in the model
    dof : residual degrees of freedom of the full model
    condition : condition number of the regressors, scaled to unit length, without nuisance
    notices : what the user should know
    """

    weights: np.ndarray
    variances: np.ndarray
    patterns: np.ndarray
    test_stimuli: tuple[str, ...]
    mu: np.ndarray
    squares: np.ndarray
    residual_full: np.ndarray
    residual_face: np.ndarray
    dof: int
    condition: float
    notices: tuple[str, ...]

    def t_of(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return t values of rows of W, ``(n_rows, n_voxels)`` float32 (made anew at each call)."""
        noise = np.sqrt(self.residual_full / self.dof).astype(np.float32)
        return self.weights[rows] / noise / np.sqrt(self.variances[rows]).astype(np.float32)[:, None]

    @property
    def t(self) -> np.ndarray:
        """t values of every row of W, ``(n_latents + 1, n_voxels)`` float32."""
        return self.t_of()

    @property
    def face_t(self) -> np.ndarray:
        """t of the bias row: training faces against baseline, ``(n_voxels,)``."""
        return self.t_of(slice(-1, None))[0]

    @property
    def face_p(self) -> np.ndarray:
        """One-sided p of `face_t`, ``(n_voxels,)``."""
        from scipy.special import stdtr

        return stdtr(self.dof, -self.face_t.astype(float))

    @property
    def f(self) -> np.ndarray:
        """``F = ((RSS_face - RSS_full) / K) / (RSS_full / dof)`` of the K latents, ``(n_voxels,)``."""
        return (self.residual_face - self.residual_full) / len(self.mu) / (self.residual_full / self.dof)

    @property
    def f_p(self) -> np.ndarray:
        """Upper tail probability of `f` with K and dof degrees of freedom, ``(n_voxels,)``."""
        from scipy.special import fdtrc

        return fdtrc(len(self.mu), self.dof, self.f)

    @property
    def r2_full(self) -> np.ndarray:
        """R2 of the whole model on data without nuisance, ``(n_voxels,)``."""
        return 1.0 - self.residual_full / self.squares

    @property
    def r2_face(self) -> np.ndarray:
        """R2 of the model without the latents, ``(n_voxels,)``."""
        return 1.0 - self.residual_face / self.squares


def solve(sums: Accumulator, *, weights: np.ndarray | None = None) -> ParametricEstimates:
    """Estimate the model from the sums over all runs.

    One Cholesky factorisation ``X'X = L L'``, the latents last: with ``u = L^-1 X'y`` the model
    explains ``|u|^2``, and without the latents ``|u|^2`` over the other regressors.

    Parameters
    ----------
    sums : of all runs
    weights : where to write W, ``(n_latents + 1, n_voxels)`` float32 (a memmap, say); made if None

    Raises
    ------
    InconsistentInput
        Too few training trials, a test stimulus without a trial, a design that is not of full
        rank, or no degrees of freedom left.
    """
    kept, notices = _kept_columns(sums)
    factor, norms, condition = _factorise(sums, kept)
    dof = sums.dof - len(kept)
    if dof < 1:
        raise InconsistentInput(
            f"{sums.dof + len(kept)} volumes (less nuisance) leave no degrees of freedom for {len(kept)} regressors. "
            "Use fewer latents or confounds, or more runs."
        )
    names, n_latents = [sums.names[k] for k in kept], len(sums.mu)
    if condition > CONDITION_LIMIT:
        notices.append(
            f"Warning: the parametric regressors are nearly collinear (condition number {condition:.0f}), so the "
            "weights of single latents are hardly determined. Use fewer or less correlated latents."
        )
    contrasts = _contrasts(names, n_latents)
    n_test = len(contrasts) - n_latents - 1
    estimates = ParametricEstimates(
        weights=np.empty((n_latents + 1, sums.n_voxels), dtype=np.float32) if weights is None else weights,
        variances=_variances(contrasts[: n_latents + 1], factor, norms),
        patterns=np.empty((n_test, sums.n_voxels), dtype=np.float32),
        test_stimuli=tuple(name.removeprefix("test_") for name in names if name.startswith("test_")),
        mu=sums.mu,
        squares=np.where(sums.valid, sums.squares, np.nan),
        residual_full=np.empty(sums.n_voxels),
        residual_face=np.empty(sums.n_voxels),
        dof=dof,
        condition=condition,
        notices=tuple(notices),
    )
    for voxels in _voxel_blocks(sums.n_voxels):
        moments = sums.products[kept, voxels] / norms[:, None]
        _solve_voxels(estimates, voxels, moments, factor, norms, contrasts[n_latents:])
    return estimates


def _solve_voxels(
    estimates: ParametricEstimates,
    voxels: slice,
    moments: np.ndarray,
    factor: np.ndarray,
    norms: np.ndarray,
    contrasts: np.ndarray,
) -> None:
    """Fill in consecutive voxels from ``X'Y`` (n_kept, n) of the regressors scaled to unit length."""
    from scipy.linalg import solve_triangular

    n_latents = len(estimates.mu)
    within = solve_triangular(factor, moments, lower=True, check_finite=False)
    explained = (within[:-n_latents] ** 2).sum(axis=0), (within[-n_latents:] ** 2).sum(axis=0)
    beta = solve_triangular(factor, within, lower=True, trans="T", overwrite_b=True, check_finite=False)
    squares = estimates.squares[voxels]
    residual = np.maximum(squares - explained[0] - explained[1], RESIDUAL_FLOOR * squares)
    estimates.residual_full[voxels] = residual
    estimates.residual_face[voxels] = residual + explained[1]
    beta /= norms[:, None]
    beta[:, np.isnan(squares)] = np.nan
    estimates.weights[:-1, voxels] = beta[-n_latents:]
    faces = contrasts @ beta
    estimates.weights[-1, voxels] = faces[0]
    estimates.patterns[:, voxels] = faces[1:]


def _kept_columns(sums: Accumulator) -> tuple[np.ndarray, list[str]]:
    """Return the regressors that some run has, and notices; refuse what cannot be estimated."""
    n_latents = len(sums.mu)
    if sums.n_train <= n_latents + 1:
        raise InconsistentInput(
            f"{sums.n_train} training trials in {len(sums.labels)} runs are too few for {n_latents} latents: the "
            f"parametric model needs more than {n_latents + 1}. Use a space of fewer latents, more runs, or single "
            "trials (--glm auto) with a regularised decoder."
        )
    empty = [name for name, size in zip(sums.names, sums.sizes, strict=True) if size == 0]
    unseen = [name.removeprefix("test_") for name in empty if name.startswith("test_")]
    if unseen:
        raise InconsistentInput(
            f"{len(unseen)} test stimuli have no trial in the runs: {listing(unseen)}. "
            "Add the runs that show them, or leave them out of the test set."
        )
    notices = []
    if sums.n_train < 2 * (n_latents + 1):
        notices.append(
            f"Warning: {sums.n_train} training trials for {n_latents} latents, fewer than twice {n_latents + 1}: "
            "the weights will be noisy."
        )
    constant = [name for name in empty if name.startswith("latent_")]
    if constant:
        raise InconsistentInput(
            f"{listing(constant)}: constant over the training trials, so without an effect that could be "
            "estimated. Leave them out of the latent space."
        )
    if empty:
        notices.append(f"No event in any run, not modelled: {listing(empty)}.")
    kept = np.flatnonzero(sums.sizes > 0)
    baseline = [sums.names[k] for k in kept if sums.names[k].startswith("baseline_")]
    if not baseline:
        notices.append(
            "No baseline (fixation) events: bias row and test patterns are the faces' own coefficients, against what "
            "is not modelled. If there are such events, list their trial type under Baseline in StimulusSplit."
        )
    elif len(baseline) > 1:
        notices.append(f"Baseline of the contrasts is the mean of {listing(baseline)}.")
    return kept, notices


def _factorise(sums: Accumulator, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Cholesky factor of the Gram matrix of the kept regressors, scaled to unit length; lengths; condition number."""
    from scipy.linalg.lapack import dpstrf

    gram = sums.gram[np.ix_(kept, kept)]
    own = np.diag(gram) > RANK_TOLERANCE * sums.sizes[kept]
    norms = np.sqrt(np.where(own, np.diag(gram), 1.0))
    scaled = gram / np.outer(norms, norms)
    guilty = set(np.flatnonzero(~own))
    if not guilty:
        _, pivots, rank, _ = dpstrf(scaled, tol=RANK_TOLERANCE, lower=1)
        guilty = set(pivots[rank:] - 1)
    if guilty:
        raise InconsistentInput(
            f"The parametric design is rank-deficient ({len(kept) - len(guilty)} of {len(kept)} regressors are "
            f"independent); explained by the others or by confounds, drift and constant: "
            f"{listing(sums.names[kept[k]] for k in sorted(guilty))}. Leave out latents that are constant or "
            "combinations of others (K latents need more than K different training stimuli), use fewer confounds, "
            "or leave out trial types that fill whole runs."
        )
    values = np.linalg.eigvalsh(scaled)
    return np.linalg.cholesky(scaled), norms, float(np.sqrt(values[-1] / values[0]))


def _contrasts(names: list[str], n_latents: int) -> np.ndarray:
    """Latents, training faces - baseline, test faces - baseline, ``(n_latents + 1 + n_test, n_kept)``."""
    baseline = np.array([name.startswith("baseline_") for name in names], dtype=float)
    baseline /= max(baseline.sum(), 1.0)
    unit = np.eye(len(names))
    tests = [k for k, name in enumerate(names) if name.startswith("test_")]
    faces = [names.index(TRAIN), *tests]
    return np.vstack([unit[len(names) - n_latents :], unit[faces] - baseline])


def _variances(contrasts: np.ndarray, factor: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """``c' (X'X)^-1 c`` of each contrast."""
    from scipy.linalg import solve_triangular

    return (solve_triangular(factor, (contrasts / norms).T, lower=True) ** 2).sum(axis=0)
