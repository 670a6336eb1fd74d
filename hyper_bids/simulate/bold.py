"""Time courses: haemodynamic responses, drift, motion and noise, and their sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyper_bids.seeds import generator as seeded
from hyper_bids.simulate.brain import AMPLITUDE_SD, Brain
from hyper_bids.simulate.design import Run
from hyper_bids.simulate.settings import SimulateSettings

HIGH_PASS = 128.0
"""s; drifts are slower than this, so that cosines to 128 s can remove them."""

RADIUS = 50.0
"""mm; a head's radius, by which rotations become displacements (Power et al. 2012)."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One run as recorded.

    Parameters
    ----------
    values : (n_volumes, n_voxels)
        In scanner units.
    motion : (n_volumes, 6)
        trans_x, trans_y, trans_z in mm, rot_x, rot_y, rot_z in rad.
    """

    values: np.ndarray
    motion: np.ndarray


def step_response(seconds: np.ndarray) -> np.ndarray:
    """Return the response at a time to a stimulus that began at 0 and never ends; it tends to 1.

    The integral of SPM's haemodynamic response (``spm_hrf`` defaults: gamma densities of shape 6 and 16 and scale
    1 s, ratio 6, scaled to area 1), in closed form:
    ``(P(6, t) - P(16, t) / 6) / (1 - 1 / 6)``, P the regularised lower incomplete gamma function.
    """
    from scipy.special import gammainc

    t = np.maximum(seconds, 0.0)
    return (gammainc(6, t) - gammainc(16, t) / 6) / (1 - 1 / 6)


def trial_responses(frame_times: np.ndarray, onsets: np.ndarray, durations: np.ndarray, delay: float) -> np.ndarray:
    """Return ``(n_volumes, n_trials)``: each trial's response of amplitude 1 at the frame times (s), exactly."""
    since = np.asarray(frame_times)[:, None] - np.asarray(onsets)[None] - delay
    return step_response(since) - step_response(since - np.asarray(durations)[None])


def noise_sd(settings: SimulateSettings, duration: float) -> float:
    """Return the noise sd in %: the peak response to one trial of a tuned voxel's amplitude sd, over the SNR."""
    peak = trial_responses(np.arange(0, 20, 0.05), np.zeros(1), np.array([duration]), 0.0).max()
    return AMPLITUDE_SD * float(peak) / settings.snr


def task_signal(run: Run, amplitudes: np.ndarray, delay: np.ndarray) -> np.ndarray:
    """Return ``(n_volumes, n_voxels)`` in %: the answers to the shown trials, amplitudes ``(n_shown, n_voxels)``."""
    frame_times = np.arange(run.n_volumes) * run.tr
    onsets = np.array([trial.onset for trial in run.shown])
    durations = np.array([trial.duration for trial in run.shown])
    signal = np.zeros((run.n_volumes, len(delay)))
    for seconds in np.unique(delay):
        voxels = delay == seconds
        signal[:, voxels] = trial_responses(frame_times, onsets, durations, seconds) @ amplitudes[:, voxels]
    return signal


def cosines(n_volumes: int, tr: float) -> np.ndarray:
    """Return the orthonormal discrete cosines slower than 128 s, without the constant: ``(n_volumes, n)``."""
    order = int(np.floor(2 * n_volumes * tr / HIGH_PASS))
    volume = np.arange(n_volumes)[:, None] + 0.5
    return np.sqrt(2 / n_volumes) * np.cos(np.pi * volume * np.arange(1, order + 1)[None] / n_volumes)


def _drift(run: Run, n_voxels: int, sd: float, rng: np.random.Generator) -> np.ndarray:
    """Slow cosines with random weights, each voxel with the same sd over time (none in runs under 64 s)."""
    basis = cosines(run.n_volumes, run.tr)
    weights = rng.standard_normal((basis.shape[1], n_voxels))
    length = np.sqrt((weights**2).sum(axis=0))
    scale = sd * np.sqrt(run.n_volumes) / np.where(length > 0, length, 1.0)
    return basis @ (weights * scale)


def autoregressive(n_volumes: int, n_voxels: int, coefficient: float, rng: np.random.Generator) -> np.ndarray:
    """Return stationary AR(1) noise ``(n_volumes, n_voxels)`` of sd 1."""
    from scipy.signal import lfilter

    innovations = rng.standard_normal((n_volumes, n_voxels))
    innovations[1:] *= np.sqrt(1 - coefficient**2)  # the first volume is drawn from the stationary distribution
    return lfilter([1.0], [1.0, -coefficient], innovations, axis=0)


def _motion(n_volumes: int, step: float, rng: np.random.Generator) -> np.ndarray:
    """Random walk from 0: translations in mm, rotations in rad."""
    steps = rng.normal(0, step, (n_volumes, 6))
    steps[0] = 0
    return steps.cumsum(axis=0) / np.array([1, 1, 1, RADIUS, RADIUS, RADIUS])


def framewise_displacement(motion: np.ndarray) -> np.ndarray:
    """Return ``(n_volumes - 1,)`` mm: the sum of absolute steps, rotations on 50 mm (Power et al. 2012)."""
    steps = np.abs(np.diff(motion, axis=0))
    return steps[:, :3].sum(axis=1) + RADIUS * steps[:, 3:].sum(axis=1)


def record(settings: SimulateSettings, brain: Brain, run: Run, amplitudes: np.ndarray, *name: str) -> Recording:
    """Return what the scanner saw in one run.

    ``baseline (1 + (task + drift + motion artefact + noise) / 100)``; ``name`` names the random streams,
    one for each part, so that changing one part leaves the others as they are.
    """
    n_voxels = brain.grid.n_voxels
    streams = {part: seeded(settings.random_seed, *name, part) for part in ("drift", "motion", "noise")}
    motion = _motion(run.n_volumes, settings.motion, streams["motion"])
    percent = task_signal(run, amplitudes, brain.delay)
    percent += _drift(run, n_voxels, settings.drift, streams["drift"])
    percent += (motion * np.array([1, 1, 1, RADIUS, RADIUS, RADIUS])) @ brain.motion_gain
    noise = autoregressive(run.n_volumes, n_voxels, settings.autocorrelation, streams["noise"])
    percent += noise_sd(settings, run.shown[0].duration) * noise
    return Recording(brain.baseline * (1 + percent / 100), motion)
