"""Pictures of any size -> luminance at one size, in floating point throughout.

Bilinear with antialias (`hyper_bids.resampling.triangle_weights`), which is separable and linear, so that resizing is
one matrix product from each side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.resampling import triangle_weights

REC601 = np.array([0.299, 0.587, 0.114])
"""Weights of R, G and B in luminance, ITU-R BT.601."""

PROTOCOL_SIZE = (224, 224)
"""Height and width at which HYPER compares pictures."""


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Rec. 601 luminance ``(..., height, width)``, 0 to 255 and not rounded, of uint8 RGB ``(..., height, width, 3)``.

    Raises
    ------
    InconsistentInput
        Not uint8, or not three channels.

    >>> float(luminance(np.array([[[255, 0, 0]]], dtype=np.uint8))[0, 0].round(3))
    76.245
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim < 3 or pixels.shape[-1] != 3:
        raise InconsistentInput(
            f"Luminance needs uint8 RGB pixels (..., height, width, 3), got {pixels.dtype} {pixels.shape}."
        )
    return pixels @ REC601


def resize(images: np.ndarray, size: tuple[int, int] = PROTOCOL_SIZE) -> np.ndarray:
    """Resize float images ``(..., height, width)`` to ``(..., *size)``, bilinear with antialias, not rounded."""
    images = np.asarray(images, dtype=np.float64)
    height, width = images.shape[-2:]
    if (height, width) == tuple(size):
        return images
    return triangle_weights(height, size[0]) @ images @ triangle_weights(width, size[1]).T


def luminance_at(images: np.ndarray | Sequence[np.ndarray], size: tuple[int, int] = PROTOCOL_SIZE) -> np.ndarray:
    """Luminance ``(n, *size)`` of n uint8 RGB pictures, which may differ in size."""
    # luminance first: both steps are linear, so their order does not matter, and one channel is cheaper
    stack = np.empty((len(images), *size))
    for row, image in enumerate(images):
        stack[row] = resize(luminance(image), size)
    return stack
