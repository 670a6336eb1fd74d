"""Voxel selection rules: training data in, mask and scores out. They are called inside the fold.

A rule is a callable ``(responses, latents) -> (n_voxels,) bool``, as `VoxelSelector` asks. Those here
also have ``scores`` for a map of what they looked at, ``select`` for both and what should be said of
them at once, and

* ``name``, ``units``: of the score;
* ``uses_labels``: whether which stimulus a trial showed enters. A null that refits to exchanged labels has
  to repeat such a selection with the exchanged labels; for the others once is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hyper_bids.data import Latents, Responses
from hyper_bids.decode.gain import gain_test
from hyper_bids.decode.split_half import split_half
from hyper_bids.errors import InconsistentInput


@dataclass(frozen=True, eq=False)
class Selection:
    """What a rule found in one fold.

    Parameters
    ----------
    mask : (n_voxels,) bool
    scores : (n_voxels,) float64, NaN where a voxel has none (constant, not finite, outside the region)
    notices : what the user should know
    """

    mask: np.ndarray
    scores: np.ndarray
    notices: tuple[str, ...] = ()


class Rule:
    """A selection rule: a subclass says in ``select`` which voxels, and why."""

    name: ClassVar[str]
    units: ClassVar[str]
    uses_labels: bool

    def select(self, responses: Responses, latents: Latents | None) -> Selection:
        """Return mask, scores and notices of single training trials."""
        raise NotImplementedError

    def __call__(self, responses: Responses, latents: Latents | None) -> np.ndarray:
        """Return the mask ``(n_voxels,)``."""
        return self.select(responses, latents).mask

    def scores(self, responses: Responses, latents: Latents | None) -> np.ndarray:
        """Return the score of every voxel, ``(n_voxels,)`` float64."""
        return self.select(responses, latents).scores


def best(scores: np.ndarray, n_voxels: int) -> np.ndarray:
    """Mask of the ``n_voxels`` largest scores (all that have one where there are fewer); ties by voxel index.

    >>> best(np.array([1.0, 3.0, np.nan, 3.0, 2.0]), 2)
    array([False,  True, False,  True, False])
    """
    order = np.argsort(-scores, kind="stable")[:n_voxels]
    mask = np.zeros(len(scores), dtype=bool)
    mask[order] = True
    return mask & ~np.isnan(scores)


@dataclass(frozen=True)
class TopZ(Rule):
    """The voxels with the largest signed mean response over single training trials (HYPER).

    Amplitude, not significance; ties are broken by the lower voxel index.

    >>> import pandas as pd
    >>> from hyper_bids.data import VoxelGrid
    >>> grid = VoxelGrid(np.ones((3, 1, 1), bool), np.eye(4))
    >>> trials = pd.DataFrame({"stimulus_id": ["a", "b"]})
    >>> TopZ(2)(Responses(np.array([[1, 5, -9], [1, 5, -9]]), trials, grid), None)
    array([ True,  True, False])
    """

    n_voxels: int
    name: ClassVar[str] = "mean response over training trials"
    units: ClassVar[str] = "units of the response (z, t or %)"
    uses_labels: ClassVar[bool] = False

    def select(self, responses: Responses, latents: Latents | None) -> Selection:
        mean = responses.values.mean(axis=0, dtype=np.float64)
        return Selection(best(mean, self.n_voxels), mean)


@dataclass(frozen=True)
class AllVoxels(Rule):
    """Every voxel of the grid; the score is the mean response, for the map."""

    name: ClassVar[str] = TopZ.name
    units: ClassVar[str] = TopZ.units
    uses_labels: ClassVar[bool] = False

    def select(self, responses: Responses, latents: Latents | None) -> Selection:
        mean = responses.values.mean(axis=0, dtype=np.float64)
        return Selection(np.ones(responses.grid.n_voxels, dtype=bool), mean)


all_voxels = AllVoxels()
"""Every voxel of the grid."""


@dataclass(frozen=True, eq=False)
class Gain(Rule):
    """Voxels that respond, and whose responses the latents explain beyond their mean (VAE-GAN).

    On single training trials: (a) one-sided t of the mean response, the trial form of face - fixation;
    (b) F of the latents beyond the constant (`hyper_bids.decode.gain.gain_test`). Both at ``p``. With
    ``n_voxels`` it is the best N by F, and neither threshold is applied (METHODS.md section 3).

    F takes trials for independent. Where they are not (autocorrelated residuals of a GLM by OLS, neighbouring
    trials that overlap, an effect of the stimulus that is not in the latents and recurs with its repeats) it is
    too large: on the simulated ds001761 data (90 null voxels) the parametric model's F passes p < 0.05 in 54 %
    of the null voxels, F of single trials in 6 %; t, which shares the runs' errors, in 17 and 24 % (one-sided).
    A choice by rank does not depend on that scale.

    Parameters
    ----------
    n_voxels : how many; None: all that pass both tests
    p : of both tests
    within : (n_voxels of the grid,) bool, grey matter; None: the whole grid
    """

    n_voxels: int | None = None
    p: float = 0.05
    within: np.ndarray | None = None
    name: ClassVar[str] = "F of the latents beyond the mean response"
    units: ClassVar[str] = "F"
    uses_labels: ClassVar[bool] = True

    def select(self, responses: Responses, latents: Latents | None) -> Selection:
        """Return mask, F and notices.

        Raises
        ------
        InconsistentInput
            No latents; too few trials for them; a mask of another grid; no voxel passes.
        """
        if latents is None:
            raise InconsistentInput("Selection by gain needs latents: it tests what they explain. Use --select top-z.")
        found = gain_test(responses.values, latents.rows(responses.trials["stimulus_id"]))
        mask, scores = gain_from_maps(found.t, found.F, found.dof_t, found.dof, self.n_voxels, self.p, self.within)
        return Selection(mask, scores, found.notices)


def gain_from_maps(
    t_face: np.ndarray,
    F: np.ndarray,
    dof_t: float,
    dof: tuple[float, float],
    n_voxels: int | None = None,
    p: float = 0.05,
    within: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose voxels from maps of t and F: of `gain_test`, or of the parametric GLM.

    Parameters
    ----------
    t_face : (n_voxels,) t of face - fixation
    F : (n_voxels,) F of the latents beyond the binary face regressor
    dof_t, dof : degrees of freedom of t, and (numerator, denominator) of F
    n_voxels : the best N by F, without thresholds; None: all with t (one-sided) and F at ``p``
    p : of both tests
    within : (n_voxels,) bool, grey matter; None: everywhere

    Returns
    -------
    mask : (n_voxels,) bool
    scores : (n_voxels,) float64, F; NaN outside ``within`` and where it is not defined

    Raises
    ------
    InconsistentInput
        Maps of different sizes; no voxel is left.
    """
    from scipy import stats

    t_face, F = np.asarray(t_face, dtype=np.float64), np.asarray(F, dtype=np.float64)
    inside = np.ones(F.shape, dtype=bool) if within is None else np.asarray(within, dtype=bool)
    if not t_face.shape == F.shape == inside.shape:
        raise InconsistentInput(
            f"Selection by gain needs maps of one grid, got t {t_face.shape}, F {F.shape} and a mask {inside.shape}."
        )
    scores = np.where(inside & ~np.isnan(F), F, np.nan)
    if n_voxels is None:
        with np.errstate(invalid="ignore"):
            mask = (t_face > stats.t.isf(p, dof_t)) & (scores > stats.f.isf(p, *dof))
    else:
        mask = best(scores, n_voxels)
    if not mask.any():
        raise InconsistentInput(_nothing(t_face, scores, dof_t, dof, p, n_voxels is None))
    return mask, scores


def _nothing(t: np.ndarray, F: np.ndarray, dof_t: float, dof: tuple[float, float], p: float, thresholds: bool) -> str:
    """Say why no voxel was selected."""
    from scipy import stats

    known = ~np.isnan(F)
    if not thresholds or not known.any():
        return "Selection by gain: no voxel (of the grey matter) has an F; all are constant or not finite."
    with np.errstate(invalid="ignore"):
        responds, explained = t[known] > stats.t.isf(p, dof_t), F[known] > stats.f.isf(p, *dof)
    return (
        f"Selection by gain: of {known.sum()} voxels {responds.sum()} respond (t at p < {p:g}), in {explained.sum()} "
        f"the latents explain something (F({dof[0]:g}, {dof[1]:g}) at p < {p:g}), and none does both. "
        "Give --n-voxels to take the best N by F, or use --select top-z."
    )


@dataclass(frozen=True)
class Reliability(Rule):
    """The voxels with the best split-half reliability over *repeated training* stimuli.

    The score is the mean over random halves of r between the two halves' stimulus means, stepped up to
    all repeats by Spearman-Brown (see `hyper_bids.decode.split_half.split_half`).

    Parameters
    ----------
    n_voxels : how many (all that have a score where there are fewer)
    n_halves : random halves
    seed : root seed
    """

    n_voxels: int
    n_halves: int = 100
    seed: int = 0
    name: ClassVar[str] = "split-half reliability over repeated training stimuli"
    units: ClassVar[str] = "r"
    uses_labels: ClassVar[bool] = True

    def select(self, responses: Responses, latents: Latents | None) -> Selection:
        """Return mask, Spearman-Brown r and notices.

        Raises
        ------
        InconsistentInput
            Fewer than three training stimuli are repeated, or no voxel varies.
        """
        found = split_half(responses.values, responses.trials["stimulus_id"].to_numpy(str), self.n_halves, self.seed)
        if found.reason:
            raise InconsistentInput(
                f"Selection by reliability: among the {len(responses.trials)} training trials {found.reason} "
                "Use --select top-z or gain."
            )
        mask = best(found.reliability, self.n_voxels)
        if not mask.any():
            raise InconsistentInput(
                "Selection by reliability: no voxel's response varies over the repeated training stimuli and is "
                "finite. Check the responses, or use --select all."
            )
        return Selection(mask, found.reliability, found.notices)


@dataclass(frozen=True, eq=False)
class Within(Rule):
    """Another rule, applied to the voxels of a mask or region only (``--mask``, ``--roi``).

    Parameters
    ----------
    rule : the rule
    inside : (n_voxels of the grid,) bool
    """

    rule: Rule
    inside: np.ndarray

    def __post_init__(self) -> None:
        if not np.any(self.inside):
            raise InconsistentInput("The mask or region to select voxels in holds no voxel of the brain mask.")

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def units(self) -> str:
        return self.rule.units

    @property
    def uses_labels(self) -> bool:
        return self.rule.uses_labels

    def select(self, responses: Responses, latents: Latents | None) -> Selection:
        """Return mask, scores (NaN outside) and notices.

        Raises
        ------
        InconsistentInput
            The mask is of another grid.
        """
        inside = np.asarray(self.inside, dtype=bool)
        if inside.shape != (responses.grid.n_voxels,):
            raise InconsistentInput(f"A mask of shape {inside.shape} for a grid of {responses.grid.n_voxels} voxels.")
        part = Responses(responses.values[:, inside], responses.trials, responses.grid.within(inside))
        found = self.rule.select(part, latents)
        mask, scores = np.zeros(len(inside), dtype=bool), np.full(len(inside), np.nan)
        mask[inside], scores[inside] = found.mask, found.scores
        return Selection(mask, scores, found.notices)
