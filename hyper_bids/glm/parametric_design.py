"""The design of the parametric model: regressors that all runs share, and each run's own nuisance.

VanRullen & Reddy (2019), METHODS.md section 2: training faces without modulation; the
latents as parametric modulators of the training faces; one regressor per test stimulus;
dropped rows (one-backs) one regressor; every ignored and every baseline type (imagery,
fixation) one regressor. Constant, drift and confounds belong to the run.

A run's shared regressors are ``events @ mixing``: each event is convolved once, and its
row of ``mixing`` says what it is (one train trial: 1, then latents - mu). By linearity
that is the convolution of the modulated events themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.errors import InconsistentInput, UsageError, listing
from hyper_bids.glm.design import RunDesign, run_design
from hyper_bids.glm.hrf import regressors

if TYPE_CHECKING:
    import pandas as pd

TRAIN, DROPPED = "train", "dropped"
"""Names of the regressors of training trials and of dropped rows."""

SINGLE_HRFS = ("spm", "glover")
"""Responses of one shape; a modulator has one coefficient."""


@dataclass(frozen=True, eq=False)
class ParametricModel:
    """What all runs have in common.

    Parameters
    ----------
    latents : Latents of (at least) the training stimuli
    mu : (n_latents,) the modulators' centre: the mean over training *trials*
    test_stimuli : one regressor each, in this order
    ignored, baseline : trial types, one regressor each
    """

    latents: Latents
    mu: np.ndarray
    test_stimuli: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        mu = np.array(self.mu, dtype=float)
        if mu.shape != (self.latents.n_latents,):
            raise InconsistentInput(f"mu has the shape {mu.shape}, the latents have {self.latents.n_latents} columns.")
        mu.flags.writeable = False
        object.__setattr__(self, "mu", mu)
        object.__setattr__(self, "test_stimuli", tuple(self.test_stimuli))
        object.__setattr__(self, "ignored", tuple(self.ignored))
        object.__setattr__(self, "baseline", tuple(self.baseline))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shared regressors, the latents last, ``(n_shared,)``."""
        return (
            TRAIN,
            DROPPED,
            *(f"ignored_{kind}" for kind in self.ignored),
            *(f"baseline_{kind}" for kind in self.baseline),
            *(f"test_{stimulus}" for stimulus in self.test_stimuli),
            *(f"latent_{k:04d}" for k in range(self.latents.n_latents)),
        )


def shared_model(events: Sequence[pd.DataFrame], latents: Latents) -> ParametricModel:
    """Make the model of all runs from their events.

    Parameters
    ----------
    events : one table a run, with trial_type, role, split and stimulus_id (see `parametric_design`)
    latents : Latents of the training stimuli

    Returns
    -------
    ParametricModel
        ``mu`` is the mean over training trials (a stimulus shown twice counts twice); test
        stimuli and trial types are sorted.

    Raises
    ------
    InconsistentInput
        There is no training trial, or a training stimulus has no latents.
    """
    shown = [stimulus for table in events for stimulus in table["stimulus_id"][_samples(table, "train")]]
    if not shown:
        raise InconsistentInput("The parametric model needs training trials; none of the runs' events is one.")
    stimuli, counts = np.unique(np.array(shown, dtype=str), return_counts=True)
    mu = counts @ latents.rows(stimuli.tolist()).astype(float) / len(shown)
    tests = {str(stimulus) for table in events for stimulus in table["stimulus_id"][_samples(table, "test")]}
    return ParametricModel(latents, mu, tuple(sorted(tests)), _types(events, "ignore"), _types(events, "baseline"))


def _samples(events: pd.DataFrame, split: str) -> np.ndarray:
    return ((events["role"] == "sample") & (events["split"] == split)).to_numpy(bool)


def _types(events: Sequence[pd.DataFrame], role: str) -> tuple[str, ...]:
    return tuple(sorted({kind for table in events for kind in table["trial_type"][table["role"] == role].astype(str)}))


@dataclass(frozen=True, eq=False)
class RunParametric:
    """The parametric design of one run.

    Parameters
    ----------
    design : the run's regressors, one a modelled event (its `trials`), and its nuisance
    mixing : (n_events, n_shared) float64; the shared regressors are ``design.trials @ mixing``
    names : (n_shared,) of the shared regressors, the latents last
    mu : (n_latents,) centre of the modulators
    n_train : training trials of this run
    notices : what the user should know
    """

    design: RunDesign
    mixing: np.ndarray
    names: tuple[str, ...]
    mu: np.ndarray
    n_train: int
    notices: tuple[str, ...] = ()

    @property
    def matrix(self) -> np.ndarray:
        """The shared regressors, ``(n_volumes, n_shared)`` float64."""
        return self.design.trials @ self.mixing

    @property
    def nuisance(self) -> np.ndarray:
        """The run's own regressors: confounds, drift, constant, ``(n_volumes, n_nuisance)``."""
        return self.design.nuisance


def parametric_design(
    events: pd.DataFrame,
    model: ParametricModel,
    n_volumes: int,
    repetition_time: float,
    *,
    start_time: float = 0.0,
    dummy_scans: int = 0,
    hrf: str = "spm",
    drift: str = "cosine",
    high_pass: float = 128.0,
    drift_order: int = 3,
    confounds: pd.DataFrame | None = None,
    label: str = "run",
) -> RunParametric:
    """Build the parametric design of one run.

    Parameters
    ----------
    events : DataFrame with onset, duration (s), trial_type, role, split and stimulus_id
        role is ``sample``, ``ignore``, ``drop`` or ``baseline``; split of a sample ``train`` or ``test``
    model : what all runs share; a run may lack any of it
    n_volumes, repetition_time, start_time, dummy_scans, drift, high_pass, drift_order, confounds, label :
        as in `hyper_bids.glm.design.run_design`
    hrf : ``spm`` or ``glover``

    Raises
    ------
    InconsistentInput
        As `run_design`; or an event that the model does not know.
    UsageError
        A response of several basis functions.
    """
    if hrf not in SINGLE_HRFS:
        raise UsageError(
            f"--glm parametric models one response shape, not {hrf!r}: a latent has one coefficient a voxel. "
            f"Use --hrf {' or --hrf '.join(SINGLE_HRFS)}."
        )
    role = events["role"].to_numpy(str)
    samples, others = np.flatnonzero(role == "sample"), np.flatnonzero(role != "sample")
    base = run_design(
        events.iloc[samples], n_volumes, repetition_time, start_time=start_time, dummy_scans=dummy_scans, hrf=hrf,
        drift=drift, high_pass=high_pass, drift_order=drift_order, confounds=confounds, label=label,
    )  # fmt: skip
    onsets, durations = events["onset"].to_numpy(float), events["duration"].to_numpy(float)
    columns = regressors(onsets[others], durations[others], base.frame_times, hrf)
    reached = np.abs(columns).max(axis=0, initial=0.0) > 0
    rows = np.concatenate([samples[base.trial_rows], others[reached]])
    used = events.iloc[rows]
    return RunParametric(
        design=replace(
            base,
            trials=np.hstack([base.trials, columns[:, reached]]),
            trial_rows=rows,
            weights=np.ones((len(rows), 1)),
            conditions=tuple(used["trial_type"].astype(str)),
        ),
        mixing=_mixing(used, model, label),
        names=model.names,
        mu=model.mu,
        n_train=int(_samples(used, "train").sum()),
        notices=base.notices,
    )


def _mixing(events: pd.DataFrame, model: ParametricModel, label: str) -> np.ndarray:
    """What each event adds to the shared regressors, ``(n_events, n_shared)``."""
    mixing = np.zeros((len(events), len(model.names)))
    train = np.flatnonzero(_samples(events, "train"))
    shown = events["stimulus_id"].astype(str).tolist()
    mixing[train, -model.latents.n_latents :] = model.latents.rows([shown[row] for row in train]) - model.mu
    column = {name: k for k, name in enumerate(model.names)}
    for row, name in enumerate(_regressor_names(events)):
        if name not in column:
            raise InconsistentInput(
                f"{label}: an event belongs to the regressor {name!r}, which the model of all runs lacks; it has "
                f"{listing(model.names[: -model.latents.n_latents])}. Make the model from all runs' events."
            )
        mixing[row, column[name]] = 1.0
    return mixing


def _regressor_names(events: pd.DataFrame) -> list[str]:
    """Name of the regressor without modulation that each event belongs to."""
    names = []
    for role, split, kind, stimulus in events[["role", "split", "trial_type", "stimulus_id"]].itertuples(index=False):
        if role == "sample":
            names.append(f"test_{stimulus}" if split == "test" else str(split))
        else:
            names.append(DROPPED if role == "drop" else f"{'ignored' if role == 'ignore' else role}_{kind}")
    return names
