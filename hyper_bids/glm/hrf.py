"""Haemodynamic responses, and events convolved with them on a microtime grid.

Onsets and durations are never rounded to the TR: events are placed on a grid of
TR / 50, convolved there and sampled at the volumes' times. Grid, kernel and
normalisation are those of nilearn 0.14 (`nilearn.glm.first_level.compute_regressor`),
so that a design agrees with nilearn's to rounding; instead of convolving one long
vector an event, the cumulated kernel is looked up, which is the same sum.
"""

from __future__ import annotations

import numpy as np

from hyper_bids.errors import InconsistentInput

OVERSAMPLING = 50
"""Microtime bins per TR."""

EARLIEST = -24.0
"""Events before this time (s, relative to the first volume) cannot reach the run."""

KERNEL_LENGTH = 32.0
"""Length of the response in s."""

HRFS: dict[str, dict[str, float]] = {
    "spm": {"peak": 6.0, "undershoot": 16.0, "dispersion": 1.0, "ratio": 0.167},
    "glover": {"peak": 6.0, "undershoot": 12.0, "dispersion": 0.9, "ratio": 0.48},
}
"""Parameters of the difference of two gamma densities (SPM; Glover 1999)."""


def kernel(name: str, repetition_time: float) -> np.ndarray:
    """Sample a response on the microtime grid, normalised to sum 1.

    Parameters
    ----------
    name : a key of `HRFS`
    repetition_time : s

    Returns
    -------
    (n,) float64, n = 32 s / (TR / 50)

    Notes
    -----
    ``h(t) = gamma(t; peak / d, d) - ratio * gamma(t; undershoot / d, d)``, delayed by
    one microtime bin (SPM's ``spm_hrf``; the delay is nilearn's).
    """
    from scipy.special import gammaln

    shape = HRFS[name]
    dt = repetition_time / OVERSAMPLING
    time = np.linspace(0, KERNEL_LENGTH, int(np.rint(KERNEL_LENGTH / dt))) - dt
    scaled = np.maximum(time, 0.0) / shape["dispersion"]

    def density(order: float) -> np.ndarray:
        with np.errstate(divide="ignore"):
            log = (order - 1) * np.log(scaled) - scaled - gammaln(order)
        return np.exp(log) / shape["dispersion"]

    response = density(shape["peak"] / shape["dispersion"]) - shape["ratio"] * density(
        shape["undershoot"] / shape["dispersion"]
    )
    return response / response.sum()


def microtime_grid(frame_times: np.ndarray) -> np.ndarray:
    """Return the microtime points (s) from 24 s before the first volume to one TR after the last."""
    n, first, last = len(frame_times), frame_times.min(), frame_times.max()
    stop = last * (1 + 1.0 / (n - 1))
    n_points = (n - 1) / (last - first) * (stop - first - EARLIEST) * OVERSAMPLING + 1
    return np.linspace(first + EARLIEST, stop, int(np.rint(n_points)))


def regressors(onsets: np.ndarray, durations: np.ndarray, frame_times: np.ndarray, hrf: str = "spm") -> np.ndarray:
    """Convolve each event with the response and sample it at the volumes.

    Parameters
    ----------
    onsets, durations : (n_events,) s
    frame_times : (n_volumes,) s, at least two, evenly spaced
    hrf : a key of `HRFS`

    Returns
    -------
    (n_volumes, n_events) float64, one column an event. A regressor of several events
    is the sum of their columns.

    Raises
    ------
    InconsistentInput
        Fewer than two volumes.
    """
    frame_times = np.asarray(frame_times, dtype=float)
    if len(frame_times) < 2:
        raise InconsistentInput(f"A run needs at least 2 volumes to be modelled, got {len(frame_times)}.")
    onsets, durations = np.asarray(onsets, dtype=float), np.asarray(durations, dtype=float)
    grid = microtime_grid(frame_times)
    repetition_time = (frame_times[-1] - frame_times[0]) / (len(frame_times) - 1)
    cumulated = np.concatenate([[0.0], np.cumsum(kernel(hrf, repetition_time))])
    last = len(grid) - 1
    start = np.minimum(np.searchsorted(grid, onsets), last)
    stop = np.minimum(np.searchsorted(grid, onsets + durations), last)
    stop = np.where((stop == start) & (stop < last), stop + 1, stop)

    # The response at grid point g is sum of kernel[g - s] over start <= s < stop.
    def response(points: np.ndarray) -> np.ndarray:
        lags = points[:, None] + 1
        top = len(cumulated) - 1
        return cumulated[np.clip(lags - start, 0, top)] - cumulated[np.clip(lags - stop, 0, top)]

    right = np.clip(np.searchsorted(grid, frame_times), 1, last)
    left = right - 1
    weight = ((frame_times - grid[left]) / (grid[right] - grid[left]))[:, None]
    return (1 - weight) * response(left) + weight * response(right)
