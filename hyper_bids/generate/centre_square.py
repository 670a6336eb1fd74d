"""The middle of a picture, as networks of faces were trained on it."""

from __future__ import annotations

import numpy as np


def centre_square(images: np.ndarray, crop: float = 1.0) -> np.ndarray:
    """Return the middle ``crop`` of the centre squares of images ``(..., height, width, channels)``, not resized.

    >>> centre_square(np.arange(12).reshape(1, 2, 6, 1)).ravel().tolist()
    [2, 3, 8, 9]
    >>> centre_square(np.zeros((300, 200, 3)), crop=0.5).shape
    (100, 100, 3)
    """
    height, width = images.shape[-3:-1]
    side = min(height, width)
    margin = int(side * ((1 - crop) / 2))
    top, left = (height - side) // 2 + margin, (width - side) // 2 + margin
    side -= 2 * margin
    return images[..., top : top + side, left : left + side, :]
