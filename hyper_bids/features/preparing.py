"""Pictures of any size to what a network was trained on: size, order of the colours, mean and scale.

Resampling is a product with a weight matrix per axis, in float64, without rounding in between. ``area-bicubic``:
area averages where an axis shrinks, Keys' cubic (a = -0.5) where it grows (METHODS section 6, our choice).
``bilinear``: a triangle that widens when shrinking (Pillow's and torchvision's antialias).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput

KEYS_A = -0.5
RESAMPLING = ("area-bicubic", "bilinear")
IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_SD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preparation:
    """What a network's input is, from uint8 RGB.

    Parameters
    ----------
    size : height and width in pixels
    mean, sd : per channel in the order of ``colours``; ``(x / scale - mean) / sd``
    scale : 255 where mean and sd are of 0 to 1, 1 where they are of 0 to 255
    colours : ``RGB`` or ``BGR``
    resampling : one of `RESAMPLING`, where a picture has another size
    """

    size: int
    mean: tuple[float, float, float]
    sd: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float = 255.0
    colours: str = "RGB"
    resampling: str = "area-bicubic"

    def describe(self) -> dict[str, object]:
        """Return the preparation for a sidecar."""
        return {
            "Size": [self.size, self.size], "Resampling": self.resampling, "Colours": self.colours,
            "Range": [0, 255 / self.scale], "Mean": list(self.mean), "Scale": list(self.sd),
        }  # fmt: skip


def _area(length: int, size: int) -> np.ndarray:
    edges = np.arange(size + 1) * (length / size)
    pixel = np.arange(length)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.clip(covered, 0.0, None)


def _cubic(length: int, size: int) -> np.ndarray:
    d = np.abs(np.arange(length) - ((np.arange(size) + 0.5) * (length / size) - 0.5)[:, None])
    near = (KEYS_A + 2) * d**3 - (KEYS_A + 3) * d**2 + 1
    far = KEYS_A * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _triangle(length: int, size: int) -> np.ndarray:
    step = length / size
    distance = np.abs(np.arange(length) + 0.5 - ((np.arange(size) + 0.5) * step)[:, None])
    return np.maximum(0.0, 1.0 - distance / max(step, 1.0))


def axis_weights(length: int, size: int, resampling: str) -> np.ndarray:
    """Return the weights ``(size, length)`` that resample an axis; rows sum to 1."""
    if resampling == "bilinear":
        weights = _triangle(length, size)
    else:
        weights = _area(length, size) if size <= length else _cubic(length, size)
    return weights / weights.sum(axis=1, keepdims=True)


def resized(picture: np.ndarray, size: int, resampling: str) -> np.ndarray:
    """Return ``(height, width, 3)`` uint8 as float32 ``(size, size, 3)``, 0 to 255, not rounded.

    Raises
    ------
    InconsistentInput
        Not such a picture.
    """
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise InconsistentInput(
            f"A feature network takes uint8 RGB pictures (height, width, 3), got {picture.dtype} {picture.shape}."
        )
    if picture.shape[:2] == (size, size):
        return picture.astype(np.float32)
    rows, columns = (axis_weights(length, size, resampling) for length in picture.shape[:2])
    made = np.einsum("hi,ijc,wj->hwc", rows, picture.astype(np.float64), columns, optimize=True)
    return np.clip(made, 0.0, 255.0).astype(np.float32)
