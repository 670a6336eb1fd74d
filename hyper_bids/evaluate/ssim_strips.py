"""SSIM of one pair of pictures, strip by strip, so that everything stays in the processor's cache.

The same number as `image.ssim_matrix` gives for the pair. Four filtered maps are enough where the map of
each picture's own variance is not asked for: x, y, x^2 + y^2 and xy, since SSIM's denominator holds the sum
of the two variances. A strip of 32 lines of all four maps is filtered, combined and summed before the next
is begun; no map of the whole picture is ever made.
"""

from __future__ import annotations

import numpy as np

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
MARGIN = WINDOW - 1
LINES, COLUMNS = 32, 16
GREY = 127.5
"""Taken off first: variances do not depend on it, and E[x^2] - E[x]^2 then cancels less."""


def gaussian_taps() -> np.ndarray:
    """Gaussian of sigma 1.5 at 11 taps, sum 1: ``(11,)``."""
    weights = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    return weights / weights.sum()


def band_matrix(n_out: int) -> np.ndarray:
    """Banded matrix ``(n_out, n_out + 10)`` that filters a line, 'valid' part only."""
    band = np.zeros((n_out, n_out + MARGIN))
    for tap, weight in enumerate(gaussian_taps()):
        band[np.arange(n_out), np.arange(n_out) + tap] = weight
    return band


_BANDS = [band_matrix(n_out) for n_out in range(LINES + 1)]


def _fill(maps: np.ndarray, x: np.ndarray, y: np.ndarray, scratch: np.ndarray) -> None:
    """Write x, y, x^2 + y^2 and xy of some lines, mid-grey off, into ``maps`` (4, n_lines, width)."""
    np.subtract(x, GREY, out=maps[0])
    np.subtract(y, GREY, out=maps[1])
    np.multiply(maps[0], maps[0], out=maps[2])
    np.multiply(maps[1], maps[1], out=scratch)
    maps[2] += scratch
    np.multiply(maps[0], maps[1], out=maps[3])


def _sum_of_ssim(x: np.ndarray, y: np.ndarray, squares: np.ndarray, product: np.ndarray) -> float:
    """Sum over pixels of SSIM from the four filtered maps, which are overwritten."""
    means_product = x * y
    means_squares = x * x
    means_squares += y * y
    product -= means_product  # covariance
    squares -= means_squares  # sum of the variances
    product *= 2.0
    product += C2
    squares += C2
    x += y  # mean_x mean_y + grey (mean_x + mean_y) + grey^2: the grey level put back
    x *= 2.0 * GREY
    x += 2.0 * GREY**2
    means_product *= 2.0
    means_product += x
    means_product += C1
    means_squares += x
    means_squares += C1
    product *= means_product
    squares *= means_squares
    product /= squares
    return float(product.sum())


def ssim_of_pair(true: np.ndarray, predicted: np.ndarray) -> float:
    """Mean SSIM of two luminance pictures ``(height, width)`` in 0 to 255, of one size, sides of 11 at least."""
    n_lines, n_columns = true.shape[0] - MARGIN, true.shape[1] - MARGIN
    maps, scratch = np.empty((4, LINES + MARGIN, true.shape[1])), np.empty((LINES + MARGIN, true.shape[1]))
    total = 0.0
    for top in range(0, n_lines, LINES):
        lines = min(LINES, n_lines - top)
        read = slice(top, top + lines + MARGIN)
        _fill(maps[:, : lines + MARGIN], true[read], predicted[read], scratch[: lines + MARGIN])
        by_line = np.matmul(_BANDS[lines], maps[:, : lines + MARGIN])
        filtered = np.empty((4, lines, n_columns))
        for left in range(0, n_columns, COLUMNS):
            columns = min(COLUMNS, n_columns - left)
            part = by_line[..., left : left + columns + MARGIN]
            np.matmul(part, _BANDS[columns].T, out=filtered[..., left : left + columns])
        total += _sum_of_ssim(*filtered)
    return total / (n_lines * n_columns)
