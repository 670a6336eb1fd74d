"""Stacks of pictures as the published face protocols prepare them: resampled (`hyper_bids.resampling`) and smoothed."""

from __future__ import annotations

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.resampling import resampled


def resample(pixels: np.ndarray, size: tuple[int, int], method: str = "area-bicubic") -> np.ndarray:
    """Bring pictures to another size, in floating point.

    Parameters
    ----------
    pixels : (n, height, width, channels), 0 to 255
    size : new height and width
    method : a key of `hyper_bids.resampling.RESAMPLING`

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
    made = np.empty((len(pixels), *size, pixels.shape[3]))
    for place, picture in enumerate(pixels):  # one at a time: a stack of 1024 x 1024 pictures is large in float64
        made[place] = resampled(picture, size, method)
    return made


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
