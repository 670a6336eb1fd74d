"""Pictures of any size to what a network was trained on: size, order of the colours, mean and scale.

Resampling is that of `hyper_bids.resampling`: ``area-bicubic`` is our choice (METHODS section 6), ``bilinear`` is
torchvision's antialias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.resampling import resampled

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
    resampling : a key of `hyper_bids.resampling.RESAMPLING`, where a picture has another size
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
    return resampled(picture, (size, size), resampling).astype(np.float32)
