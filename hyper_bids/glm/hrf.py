"""Haemodynamic responses, and events convolved with them on a microtime grid.

Onsets and durations are never rounded to the TR: events are placed on a grid of
TR / 50, convolved there and sampled at the volumes' times. Grid, kernels and
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

FIR_LENGTH = 20.0
"""Time after onset (s) that finite impulse responses cover, one bin a TR."""

FIR_PEAK = (4.0, 8.0)
"""A trial's response under FIR is the mean over the bins that begin in this window (s)."""

_SHAPES: dict[str, dict[str, float]] = {
    "spm": {"undershoot": 16.0, "dispersion": 1.0, "undershoot_dispersion": 1.0, "ratio": 0.167},
    "glover": {"undershoot": 12.0, "dispersion": 0.9, "undershoot_dispersion": 0.9, "ratio": 0.48},
}
"""Parameters of the difference of two gamma densities (SPM; Glover 1999); both peak at 6 / dispersion."""

HRFS = (
    "spm", "spm+derivative", "spm+derivatives", "glover", "glover+derivative", "glover+derivatives", "fir",
)  # fmt: skip
"""Names: ``+derivative`` adds the derivative in time, ``+derivatives`` that and the one in dispersion."""


def _gamma_difference(shape: dict[str, float], repetition_time: float, delay: float = 0.0) -> np.ndarray:
    """``h(t) = gamma(t; 6 / d, d) - ratio * gamma(t; u / du, du)``, sampled at TR / 50, of sum 1.

    Delayed by one microtime bin (as nilearn's) and by ``delay`` s.
    """
    from scipy.special import gammaln

    dt = repetition_time / OVERSAMPLING
    time = np.linspace(0, KERNEL_LENGTH, int(np.rint(KERNEL_LENGTH / dt))) - delay - dt

    def density(order: float, scale: float) -> np.ndarray:
        scaled = np.maximum(time, 0.0) / scale
        with np.errstate(divide="ignore"):
            log = (order - 1) * np.log(scaled) - scaled - gammaln(order)
        return np.exp(log) / scale

    response = density(6.0 / shape["dispersion"], shape["dispersion"]) - shape["ratio"] * density(
        shape["undershoot"] / shape["undershoot_dispersion"], shape["undershoot_dispersion"]
    )
    return response / response.sum()


def kernels(name: str, repetition_time: float) -> list[np.ndarray]:
    """Sample the basis of a response on the microtime grid.

    Parameters
    ----------
    name : one of `HRFS`
    repetition_time : s

    Returns
    -------
    One array per basis function: the response itself first, then its derivatives
    (finite differences of 0.1 s in time and 0.01 in dispersion); for ``fir`` one box a TR.
    """
    if name == "fir":
        n_bins = max(1, int(np.rint(FIR_LENGTH / repetition_time)))
        box = np.full(OVERSAMPLING, 1.0 / OVERSAMPLING)
        return [np.concatenate([np.zeros(k * OVERSAMPLING), box]) for k in range(n_bins)]
    base, _, further = name.partition("+")
    shape = _SHAPES[base]
    response = _gamma_difference(shape, repetition_time)
    basis = [response]
    if further:
        basis.append((response - _gamma_difference(shape, repetition_time, delay=0.1)) / 0.1)
    if further == "derivatives":
        wider = {**shape, "dispersion": shape["dispersion"] + 0.01}
        if base == "glover":  # nilearn widens against a kernel whose undershoot has dispersion 1
            wider["undershoot_dispersion"] = 1.0
            response = _gamma_difference({**shape, "undershoot_dispersion": 1.0}, repetition_time)
        basis.append((response - _gamma_difference(wider, repetition_time)) / 0.01)
    return basis


def response_weights(name: str, repetition_time: float) -> np.ndarray | None:
    """Weights of the basis in a trial's response; None: the first function's coefficient.

    >>> response_weights("fir", 2.0)
    array([0. , 0. , 0.5, 0.5, 0. , 0. , 0. , 0. , 0. , 0. ])
    """
    if name != "fir":
        return None
    starts = np.arange(len(kernels(name, repetition_time))) * repetition_time
    inside = (starts >= FIR_PEAK[0]) & (starts < FIR_PEAK[1])
    if not inside.any():
        inside[np.abs(starts - np.mean(FIR_PEAK)).argmin()] = True
    return inside / inside.sum()


def microtime_grid(frame_times: np.ndarray) -> np.ndarray:
    """Return the microtime points (s) from 24 s before the first volume to one TR after the last."""
    n, first, last = len(frame_times), frame_times.min(), frame_times.max()
    stop = last * (1 + 1.0 / (n - 1))
    n_points = (n - 1) / (last - first) * (stop - first - EARLIEST) * OVERSAMPLING + 1
    return np.linspace(first + EARLIEST, stop, int(np.rint(n_points)))


def basis_regressors(
    onsets: np.ndarray, durations: np.ndarray, frame_times: np.ndarray, hrf: str = "spm"
) -> np.ndarray:
    """Convolve each event with every basis function and sample it at the volumes.

    Parameters
    ----------
    onsets, durations : (n_events,) s
    frame_times : (n_volumes,) s, at least two, evenly spaced
    hrf : one of `HRFS`

    Returns
    -------
    (n_volumes, n_events, n_basis) float64. A regressor of several events is their sum.

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
    last = len(grid) - 1
    start = np.minimum(np.searchsorted(grid, onsets), last)
    stop = np.minimum(np.searchsorted(grid, onsets + durations), last)
    stop = np.where((stop == start) & (stop < last), stop + 1, stop)
    right = np.clip(np.searchsorted(grid, frame_times), 1, last)
    weight = ((frame_times - grid[right - 1]) / (grid[right] - grid[right - 1]))[:, None]
    # A box of FIR is read at its end, so that bin 0 is the volume at the onset (as nilearn's).
    shift = OVERSAMPLING - 1 if hrf == "fir" else 0
    columns = []
    for kernel in kernels(hrf, repetition_time):
        cumulated = np.concatenate([[0.0], np.cumsum(kernel)])
        low = _response(cumulated, right - 1 + shift, start, stop)
        high = _response(cumulated, np.minimum(right + shift, last), start, stop)
        columns.append((1 - weight) * low + weight * high)
    return np.stack(columns, axis=2)


def _response(cumulated: np.ndarray, points: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Response at grid points: the sum of kernel[point - s] over start <= s < stop, ``(n_points, n_events)``."""
    lags, top = points[:, None] + 1, len(cumulated) - 1
    return cumulated[np.clip(lags - start, 0, top)] - cumulated[np.clip(lags - stop, 0, top)]


def regressors(onsets: np.ndarray, durations: np.ndarray, frame_times: np.ndarray, hrf: str = "spm") -> np.ndarray:
    """The first basis function of `basis_regressors` alone, ``(n_volumes, n_events)``."""
    return basis_regressors(onsets, durations, frame_times, hrf.partition("+")[0])[:, :, 0]
