"""Pictures of any size to another one, in floating point, without rounding in between.

Resampling is a product with a weight matrix per axis, whose rows sum to 1; the rule is applied to each axis on its own.

* Area: each new pixel is the mean of the old ones under it, those at its rim by the share that is covered.
* Bicubic: Keys 1981, IEEE ASSP 29(6), a = -0.5 (Pillow's ``BICUBIC``), weights of positions outside the
  picture left out and the rest scaled to 1; it overshoots at edges, so values are clipped to 0 to 255.
* Bilinear with antialias: a triangle that widens when the picture shrinks, as in Pillow's ``BILINEAR`` and torch's
  ``interpolate(mode="bilinear", antialias=True, align_corners=False)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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


def triangle_weights(length: int, size: int) -> np.ndarray:
    """Weights ``(size, length)`` of bilinear resampling with antialias."""
    scale = length / size
    centres = (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distance / max(scale, 1.0))
    return weights / weights.sum(axis=1, keepdims=True)


RESAMPLING: dict[str, Callable[[int, int], np.ndarray]] = {"area-bicubic": area_or_cubic, "bilinear": triangle_weights}
"""Name -> weights of one axis."""


def resampled(picture: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """Return ``(height, width, channels)``, 0 to 255, as float64 ``(*size, channels)``, limited to 0 to 255.

    A picture that has the size already is only converted.

    Parameters
    ----------
    method : a key of `RESAMPLING`
    """
    values = picture.astype(np.float64)
    if values.shape[:2] == tuple(size):
        return values
    rows, columns = (RESAMPLING[method](old, new) for old, new in zip(values.shape[:2], size, strict=True))
    return np.clip(np.einsum("hi,ijc,wj->hwc", rows, values, columns, optimize=True), 0.0, 255.0)
