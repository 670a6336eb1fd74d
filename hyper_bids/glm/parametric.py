"""What the parametric model over all runs estimates, from their sums (`hyper_bids.glm.parametric_sums`).

One Cholesky factorisation of the shared regressors' ``X'X`` (float64) serves every voxel. Memory in
bytes a voxel: 4 x (latents + 1) for the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.glm.parametric_design import TRAIN
from hyper_bids.glm.parametric_sums import RESIDUAL_FLOOR, Accumulator, voxel_blocks

RANK_TOLERANCE = 1e-10
"""A regressor of which less than this share (of its sum of squares) is its own is explained by the others."""

CONDITION_LIMIT = 1e4
"""Condition number above which the user is warned: single latents' weights and t are hardly determined."""


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
    for voxels in voxel_blocks(sums.n_voxels):
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
