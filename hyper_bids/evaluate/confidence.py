"""95 % confidence intervals: percentile bootstrap, resampling stimuli (the unit), never trials or pairs."""

from __future__ import annotations

import numpy as np

from hyper_bids.evaluate.latent import FLOAT32_RESOLUTION

LEVEL = 0.95
MAX_ELEMENTS = 1_000_000
"""Numbers in the largest array of a chunk of bootstrap draws: 8 MB in float64."""


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """Return the central 95 % of the defined draws; NaN, NaN where there is none."""
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def resample_counts(n: int, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of n units is drawn in each bootstrap sample: ``(n_draws, n)`` float."""
    drawn = rng.integers(0, n, size=(n_draws, n)) + n * np.arange(n_draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_draws * n).reshape(n_draws, n).astype(np.float64)


def bootstrap_mean(values: np.ndarray, n_draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Interval of the mean of ``(n,)`` values, NaN left out; NaN, NaN with fewer than two."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    return percentiles(resample_counts(len(values), n_draws, rng) @ values / len(values))


def bootstrap_correlation(
    true: np.ndarray, predicted: np.ndarray, stimulus: np.ndarray, n_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Bootstrap draws of the mean over columns of Pearson r over rows, resampling stimuli with all their rows.

    Columns are treated as in `latent.latent_dimension_correlation`: left out where the resampled truth is
    constant, r = 0 where only the prediction is.

    Parameters
    ----------
    true, predicted : (n_rows, n_columns)
    stimulus : (n_rows,) int from 0, each number used

    Returns
    -------
    (n_draws,); all NaN with fewer than three stimuli, where r is +1 or -1 by construction
    """
    n_stimuli = int(stimulus.max()) + 1
    if n_stimuli < 3:
        return np.full(n_draws, np.nan)
    # centred on the whole sample first: the sums below cancel less
    x, y = true - true.mean(axis=0), predicted - predicted.mean(axis=0)
    sizes = np.abs(true).max(axis=0), np.abs(predicted).max(axis=0)
    counts = resample_counts(n_stimuli, n_draws, rng)[:, stimulus]
    chunk = max(1, MAX_ELEMENTS // x.shape[1])
    return np.concatenate(
        [_weighted_correlation(x, y, counts[start : start + chunk], *sizes) for start in range(0, n_draws, chunk)]
    )


def _weighted_correlation(
    x: np.ndarray, y: np.ndarray, counts: np.ndarray, x_size: np.ndarray, y_size: np.ndarray
) -> np.ndarray:
    """Mean over columns of r with rows weighted by each row of ``counts``: ``(n_draws,)``."""
    total = counts.sum(axis=1, keepdims=True)
    mean_x, mean_y = counts @ x / total, counts @ y / total
    variance_x = counts @ x**2 / total - mean_x**2
    variance_y = counts @ y**2 / total - mean_y**2
    covariance = counts @ (x * y) / total - mean_x * mean_y
    x_varies = variance_x > (FLOAT32_RESOLUTION * x_size) ** 2
    both = x_varies & (variance_y > (FLOAT32_RESOLUTION * y_size) ** 2)
    r = np.where(both, covariance / np.sqrt(np.where(both, variance_x * variance_y, 1.0)), 0.0)
    n_varying = x_varies.sum(axis=1)
    return np.where(n_varying > 0, r.sum(axis=1) / np.maximum(n_varying, 1), np.nan)
