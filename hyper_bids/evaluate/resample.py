"""Resampling of the published face protocols: area averages when shrinking, bicubic when enlarging.

The rule is applied to each axis on its own, as a product with a weight matrix whose rows sum to 1.

* Area: each new pixel is the mean of the old ones under it, those at its rim by the share that is covered.
* Bicubic: Keys 1981, IEEE ASSP 29(6), a = -0.5 (Pillow's ``BICUBIC``), weights of positions outside the
  picture left out and the rest scaled to 1; it overshoots at edges, so values are clipped to 0 to 255.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.resize import triangle_weights

KEYS_A = -0.5


def area_weights(length: int, size: int) -> np.ndarray:
    """Weights ``(size, length)`` of exact area averaging, ``size <= length``."""
    edges = np.arange(size + 1) * (length / size)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(length)
    covered = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0.0, None)
    return covered / covered.sum(axis=1, keepdims=True)


def cubic_weights(length: int, size: int) -> np.ndarray:
    """Weights ``(size, length)`` of Keys' cubic interpolation, ``size >= length``."""
    centres = (np.arange(size) + 0.5) * (length / size) - 0.5
    d = np.abs(np.arange(length) - centres[:, None])
    near = (KEYS_A + 2) * d**3 - (KEYS_A + 3) * d**2 + 1
    far = KEYS_A * (d**3 - 5 * d**2 + 8 * d - 4)
    weights = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    return weights / weights.sum(axis=1, keepdims=True)


def area_or_cubic(length: int, size: int) -> np.ndarray:
    """Return `area_weights` where the axis shrinks, else `cubic_weights`."""
    return area_weights(length, size) if size <= length else cubic_weights(length, size)


RESAMPLING: dict[str, Callable[[int, int], np.ndarray]] = {"area-bicubic": area_or_cubic, "bilinear": triangle_weights}
"""Name -> weights of one axis. ``bilinear`` is that of `resize`: a triangle that widens when shrinking."""


def resample(pixels: np.ndarray, size: tuple[int, int], method: str = "area-bicubic") -> np.ndarray:
    """Bring pictures to another size, in floating point.

    Parameters
    ----------
    pixels : (n, height, width, channels), 0 to 255
    size : new height and width
    method : a key of `RESAMPLING`

    Returns
    -------
    (n, *size, channels) float64, 0 to 255, not rounded

    Raises
    ------
    InconsistentInput
        Not four axes.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim != 4:
        raise InconsistentInput(f"Pictures to resample must be (n, height, width, channels), got {pixels.shape}.")
    if pixels.shape[1:3] == tuple(size):
        return pixels.astype(np.float64)
    rows, columns = (RESAMPLING[method](old, new) for old, new in zip(pixels.shape[1:3], size, strict=True))
    resized = np.empty((len(pixels), *size, pixels.shape[3]))
    for place, picture in enumerate(pixels):  # one at a time: a stack of 1024 x 1024 pictures is large in float64
        resized[place] = np.einsum("hi,ijc,wj->hwc", rows, picture.astype(np.float64), columns, optimize=True)
    return np.clip(resized, 0.0, 255.0)


def smooth(pixels: np.ndarray, taps: int, sigma: float) -> np.ndarray:
    """Gaussian of ``taps`` x ``taps`` pixels on float ``(n, height, width, channels)``, borders mirrored.

    Mirrored without repeating the border pixel, as OpenCV's ``GaussianBlur`` does by default.
    """
    half = taps // 2
    weights = np.exp(-0.5 * ((np.arange(taps) - half) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        width = [(0, 0)] * 4
        width[axis] = (half, half)
        padded = np.pad(pixels, width, mode="reflect")
        length = pixels.shape[axis]
        parts = (np.take(padded, range(tap, tap + length), axis=axis) * weights[tap] for tap in range(taps))
        pixels = sum(parts)
    return pixels
