"""Similarity of two pictures in luminance: Pearson r over pixels, and SSIM.

Images are float luminance ``(n, height, width)`` in 0 to 255, as `resize.luminance_at` gives them.
``_matrix`` functions compare each of m predictions with each of n true images: ``(m, n)``.

SSIM: Wang, Bovik, Sheikh & Simoncelli 2004, IEEE TIP 13(4), with their constants: 11 x 11 Gaussian
window of sigma 1.5, K1 0.01, K2 0.03, L 255, population covariance, mean over the pixels whose
window lies within the image (5 px cropped at each border). The window is separable, so filtering is
a matrix product from each side; means and variances are computed once per image, and only the cross
term once per pair; pairs alone go through `ssim_strips`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.latent import latent_correlation, latent_correlation_matrix
from hyper_bids.evaluate.ssim_strips import C1, C2, WINDOW, band_matrix, ssim_of_pair

TILE = 32


def _flat(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images, dtype=np.float64)
    if images.ndim != 3:
        raise InconsistentInput(f"Luminance images must be (n, height, width), got {images.shape}.")
    return images.reshape(len(images), -1)


def pixel_correlation(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pearson r of luminance over pixels: ``(n,)`` from two ``(n, height, width)``; NaN for a uniform image."""
    return latent_correlation(_flat(true), _flat(predicted))


def pixel_correlation_matrix(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Pearson r of luminance of each of m predictions with each of n true images: ``(m, n)``."""
    return latent_correlation_matrix(_flat(predicted), _flat(true))


def _filter_rows(images: np.ndarray) -> np.ndarray:
    """Filter along the second last axis, by tiles: a band matrix of full width would be mostly zeros."""
    n_out = images.shape[-2] - WINDOW + 1
    filtered = np.empty((*images.shape[:-2], n_out, images.shape[-1]))
    for start in range(0, n_out, TILE):
        stop = min(start + TILE, n_out)
        np.matmul(_BANDS[stop - start], images[..., start : stop + WINDOW - 1, :], out=filtered[..., start:stop, :])
    return filtered


def _filter_columns(images: np.ndarray) -> np.ndarray:
    n_out = images.shape[-1] - WINDOW + 1
    filtered = np.empty((*images.shape[:-1], n_out))
    for start in range(0, n_out, TILE):
        stop = min(start + TILE, n_out)
        np.matmul(images[..., start : stop + WINDOW - 1], _BANDS[stop - start].T, out=filtered[..., start:stop])
    return filtered


_BANDS = [band_matrix(n_out) for n_out in range(TILE + 1)]


def gaussian_mean(images: np.ndarray) -> np.ndarray:
    """Gaussian-weighted local means of ``(..., height, width)``: ``(..., height - 10, width - 10)``."""
    return _filter_columns(_filter_rows(images))


@dataclass(frozen=True)
class _Moments:
    """Local means and variances of one image, (height - 10, width - 10), and the image less its grey level."""

    image: np.ndarray
    mean: np.ndarray
    mean_square: np.ndarray
    variance: np.ndarray


def _moments(image: np.ndarray) -> _Moments:
    # variances do not depend on the grey level; mid-grey off, E[x^2] - E[x]^2 cancels less
    shifted = np.ascontiguousarray(image, dtype=np.float64) - 127.5
    mean = gaussian_mean(shifted)
    variance = gaussian_mean(shifted**2) - mean**2
    return _Moments(shifted, mean, (mean + 127.5) ** 2, variance)


def _ssim_of(x: _Moments, y: _Moments) -> float:
    covariance = gaussian_mean(x.image * y.image)
    covariance -= x.mean * y.mean
    structure = (2.0 * covariance + C2) / (x.variance + y.variance + C2)
    brightness = (2.0 * (x.mean + 127.5) * (y.mean + 127.5) + C1) / (x.mean_square + y.mean_square + C1)
    return float(np.vdot(structure, brightness) / structure.size)


def _checked(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = np.asarray(true), np.asarray(predicted)
    if true.ndim != 3 or predicted.ndim != 3 or true.shape[1:] != predicted.shape[1:]:
        raise InconsistentInput(
            f"SSIM needs luminance images (n, height, width) of one size, got {true.shape} and {predicted.shape}."
        )
    if min(true.shape[1:]) < WINDOW:
        raise InconsistentInput(
            f"SSIM's window is {WINDOW} x {WINDOW} pixels, the images are {true.shape[1]} x {true.shape[2]}; "
            f"compare them at a size of at least {WINDOW} (default 224 x 224)."
        )
    return true, predicted


def ssim(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Structural similarity, mean over the image, of n pairs of luminance images.

    Parameters
    ----------
    true, predicted : (n, height, width), 0 to 255

    Returns
    -------
    (n,) float64, at most 1

    Raises
    ------
    InconsistentInput
        Shapes differ, or a side is shorter than the window of 11 pixels.
    """
    true, predicted = _checked(true, predicted)
    if len(true) != len(predicted):
        raise InconsistentInput(f"{len(true)} true but {len(predicted)} predicted images.")
    return np.array([ssim_of_pair(a, b) for a, b in zip(true, predicted, strict=True)])


def ssim_matrix(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """SSIM of each of m predictions with each of n true images ``(n, height, width)``: ``(m, n)``."""
    true, predicted = _checked(true, predicted)
    columns = [_moments(image) for image in true]
    matrix = np.empty((len(predicted), len(true)))
    for row, image in enumerate(predicted):
        moments = _moments(image)
        matrix[row] = [_ssim_of(moments, other) for other in columns]
    return matrix
