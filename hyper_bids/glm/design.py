"""The design of a run: what is modelled.

Every row of the events is modelled (METHODS.md section 2): samples as the mode says,
each ignored trial type as one regressor, dropped rows (one-backs) as one regressor;
baseline rows (fixation) are not modelled, since they fill the only empty time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput, count, listing
from hyper_bids.glm.hrf import KERNEL_LENGTH, basis_regressors, response_weights

if TYPE_CHECKING:
    import pandas as pd

VISIBLE = 0.1
"""A trial of whose response's peak less than this share falls into the run is not used."""

LEAST_SEEN = 0.5
"""A run that reaches fewer of its trials than this share is refused: it is not the events' run."""


@dataclass(frozen=True, eq=False)
class RunDesign:
    """Regressors of one run.

    Parameters
    ----------
    trials : (n_volumes, n_trials * n_basis) float64: the basis functions of the first sample, of the second, ...
    nuisance : (n_volumes, n_nuisance) float64: ignored types, dropped rows, confounds, drift, constant
    trial_rows : (n_trials,) rows of the run's events that the samples are
    weights : (n_trials, n_basis) the trial's response as a combination of its coefficients
    conditions : (n_trials,) trial type of each sample
    nuisance_names : names of the nuisance columns
    frame_times : (n_volumes,) s
    notices : what the user should know
    """

    trials: np.ndarray
    nuisance: np.ndarray
    trial_rows: np.ndarray
    weights: np.ndarray
    conditions: tuple[str, ...]
    nuisance_names: tuple[str, ...]
    frame_times: np.ndarray
    notices: tuple[str, ...] = field(default=())

    @property
    def matrix(self) -> np.ndarray:
        """The LSA design: trials, then nuisance, ``(n_volumes, n_trials + n_nuisance)``."""
        return np.hstack([self.trials, self.nuisance])

    @property
    def n_trials(self) -> int:
        return len(self.trial_rows)

    @property
    def n_basis(self) -> int:
        return self.weights.shape[1]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names of `matrix`."""
        basis = [""] + [f"_basis{k}" for k in range(1, self.n_basis)]
        return tuple(f"trial_{row:03d}{part}" for row in range(self.n_trials) for part in basis) + self.nuisance_names


def cosine_drift(n_volumes: int, repetition_time: float, period: float) -> np.ndarray:
    """Return discrete cosines with periods longer than ``period`` (s), then the constant.

    Order ``floor(2 n TR / period)``, columns scaled by ``sqrt(2 / n)`` (SPM's and nilearn's drift model).
    ``period`` 0: the constant alone. Shape ``(n_volumes, order + 1)``.
    """
    order = 0 if period == 0 else min(n_volumes - 1, int(np.floor(2 * n_volumes * repetition_time / period)))
    k = np.arange(1, order + 1)
    cosines = np.sqrt(2.0 / n_volumes) * np.cos(np.pi / n_volumes * (np.arange(n_volumes) + 0.5)[:, None] * k)
    return np.hstack([cosines, np.ones((n_volumes, 1))])


def polynomial_drift(n_volumes: int, order: int) -> np.ndarray:
    """Return polynomials of time up to ``order``, each orthogonal to the lower ones, then the constant.

    Shape ``(n_volumes, order + 1)``; spans what nilearn's polynomial drift spans.
    """
    time = np.linspace(-1, 1, n_volumes)
    basis, _ = np.linalg.qr(time[:, None] ** np.arange(order + 1))
    return np.hstack([basis[:, 1:], np.ones((n_volumes, 1))])


def drift_columns(
    model: str, n_volumes: int, repetition_time: float, high_pass: float, order: int
) -> tuple[np.ndarray, list[str]]:
    """Return the drift model's columns, the constant last, and their names.

    Parameters
    ----------
    model : ``cosine``, ``polynomial`` or ``none``
    high_pass : cut-off period of the cosines (s)
    order : of the polynomial
    """
    if model == "polynomial":
        drift = polynomial_drift(n_volumes, order)
    else:
        drift = cosine_drift(n_volumes, repetition_time, high_pass if model == "cosine" else 0.0)
    return drift, [f"drift_{k + 1}" for k in range(drift.shape[1] - 1)] + ["constant"]


def run_design(
    events: pd.DataFrame,
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
) -> RunDesign:
    """Build the design of one run.

    Parameters
    ----------
    events : DataFrame with onset, duration (s), trial_type and role
        role is ``sample``, ``ignore``, ``drop`` or ``baseline``
    n_volumes, repetition_time : of the run as recorded (s)
    start_time : time of the first volume's reference slice (s)
    dummy_scans : volumes left out at the start
    hrf, drift, high_pass, drift_order : see `hyper_bids.settings.GLMSettings`
    confounds : (n_volumes, n_confounds) table, or None
    label : of the run, for messages

    Raises
    ------
    InconsistentInput
        No sample reaches the run, the confounds do not fit, or there are too few volumes.
    """
    n_used = n_volumes - dummy_scans
    if n_used < 2:
        raise InconsistentInput(f"{label}: {n_volumes} volumes and --dummy-scans {dummy_scans} leave {max(n_used, 0)}.")
    frame_times = start_time + repetition_time * np.arange(dummy_scans, n_volumes)
    onsets, durations = events["onset"].to_numpy(float), events["duration"].to_numpy(float)
    columns = basis_regressors(onsets, durations, frame_times, hrf)
    role = events["role"].to_numpy(str)
    samples, notices = _samples_within(columns, role, durations, frame_times, hrf, label)
    nuisance, names = [], []
    for name, rows in _grouped_rows(role, events["trial_type"].to_numpy(str)):
        summed = columns[:, rows].sum(axis=1)
        if np.abs(summed).max() > 0:
            nuisance.append(summed)
            names += [name if k == 0 else f"{name}_basis{k}" for k in range(summed.shape[1])]
    if confounds is not None:
        if len(confounds) != n_volumes:
            raise InconsistentInput(
                f"{label}: {n_volumes} volumes but the confounds table has {len(confounds)} rows; "
                "check dummy scans or the preprocessing."
            )
        nuisance.append(confounds.to_numpy(float)[dummy_scans:])
        names += list(confounds.columns)
    slow, slow_names = drift_columns(drift, n_used, repetition_time, high_pass, drift_order)
    matrix, names, dropped = _without_empty(np.hstack([*nuisance, slow]), names + slow_names)
    if dropped:
        notices.append(f"{label}: constant confounds left out: {listing(dropped)}.")
    return RunDesign(
        trials=columns[:, samples].reshape(n_used, -1),
        nuisance=matrix,
        trial_rows=samples,
        weights=_response_weights(columns[:, samples], hrf, repetition_time),
        conditions=tuple(events["trial_type"].to_numpy(str)[samples]),
        nuisance_names=tuple(names),
        frame_times=frame_times,
        notices=tuple(notices),
    )


def _response_weights(columns: np.ndarray, hrf: str, repetition_time: float) -> np.ndarray:
    """Weights ``(n_trials, n_basis)`` that make a trial's response of its coefficients.

    With derivatives it is the coefficient of the response after the derivatives have been made
    orthogonal to it (nilearn's and SPM's convention): ``b_0 + sum_k b_k (d_k'c) / (c'c)``.
    """
    fixed = response_weights(hrf, repetition_time)
    n_trials = columns.shape[1]
    if fixed is not None:
        return np.tile(fixed, (n_trials, 1))
    own = columns[:, :, 0]
    products = np.einsum("tn,tnb->nb", own, columns)
    return products / np.maximum(np.einsum("tn,tn->n", own, own), 1e-300)[:, None] if n_trials else products


def full_peaks(durations: np.ndarray, frame_times: np.ndarray, hrf: str) -> np.ndarray:
    """Peak of the response to events of these durations (s) in a run that is long enough, ``(n_events,)``."""
    repetition_time = (frame_times[-1] - frame_times[0]) / (len(frame_times) - 1)
    distinct, which = np.unique(durations, return_inverse=True)
    long_enough = np.arange(0.0, distinct.max() + KERNEL_LENGTH + 2 * repetition_time, repetition_time)
    return np.abs(basis_regressors(np.zeros(len(distinct)), distinct, long_enough, hrf)).max(axis=(0, 2))[which]


def _samples_within(
    columns: np.ndarray, role: np.ndarray, durations: np.ndarray, frame_times: np.ndarray, hrf: str, label: str
) -> tuple[np.ndarray, list[str]]:
    """Return the sample rows whose response is seen in the run, and a notice about the others."""
    samples = np.flatnonzero(role == "sample")
    if len(samples) == 0:
        return samples, [f"{label}: no sample among its {len(role)} events; the run is not used."]
    peaks = np.abs(columns[:, samples]).max(axis=(0, 2))
    seen = peaks >= VISIBLE * full_peaks(durations[samples], frame_times, hrf)
    if seen.mean() < LEAST_SEEN:
        raise InconsistentInput(
            f"{label}: {int((~seen).sum())} of its {len(samples)} trials lie outside the run, which ends at "
            f"{frame_times[-1]:.1f} s after {frame_times[0]:.1f} s; check the onsets' unit (seconds from the first "
            "volume), the repetition time, the number of volumes and --dummy-scans. Is the BOLD truncated? Do the "
            "events belong to another run?"
        )
    if seen.all():
        return samples, []
    lost = [f"event {row + 1}" for row in samples[~seen]]
    return samples[seen], [
        f"{label}: {count(len(lost), 'trial')} whose response lies outside the run (it ends at "
        f"{frame_times[-1]:.1f} s) {'is' if len(lost) == 1 else 'are'} not used: {listing(lost)}."
    ]


def _grouped_rows(role: np.ndarray, trial_type: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Ignored types one regressor each, dropped rows one regressor; baseline none."""
    ignored = [
        (kind, np.flatnonzero((role == "ignore") & (trial_type == kind)))
        for kind in sorted(set(trial_type[role == "ignore"]))
    ]
    dropped = np.flatnonzero(role == "drop")
    return ignored + ([("dropped", dropped)] if len(dropped) else [])


def _without_empty(matrix: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str], list[str]]:
    """Leave out confound columns that never change (they repeat the constant)."""
    spread = np.ptp(matrix, axis=0)
    keep = (spread > 0) | (np.array(names) == "constant")
    return matrix[:, keep], [n for n, k in zip(names, keep, strict=True) if k], [
        n for n, k in zip(names, keep, strict=True) if not k
    ]
