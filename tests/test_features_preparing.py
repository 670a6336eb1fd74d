"""Pictures made to a network's size: equal to Pillow, to means and to PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from hyper_bids.features.preparing import resized


def picture_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


def along(pixels: np.ndarray, axis: int, size: int) -> np.ndarray:
    """One axis of (height, width, 3) to another length: means of what a new pixel covers, or Pillow's cubic."""
    lines = np.moveaxis(pixels, axis, -1)
    if lines.shape[-1] >= size:
        made = np.repeat(lines, size, axis=-1).reshape(*lines.shape[:-1], size, -1).mean(axis=-1)
    else:
        planes = (Image.fromarray(plane.astype(np.float32)) for plane in lines)
        made = np.stack([plane.resize((size, plane.height), Image.Resampling.BICUBIC) for plane in planes])
    return np.moveaxis(made, -1, axis)


@pytest.mark.parametrize("shape", [(40, 61), (17, 9), (12, 50), (24, 24)])
def test_area_bicubic_is_means_where_an_axis_shrinks_and_pillows_cubic_where_it_grows(shape):
    picture = picture_of(*shape)
    expected = along(along(picture.astype(np.float64), 0, 24), 1, 24).clip(0, 255)
    np.testing.assert_allclose(resized(picture, 24, "area-bicubic"), expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(40, 61), (17, 9)])
def test_bilinear_is_pytorchs_antialiased(shape):
    picture = picture_of(*shape)
    images = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    expected = functional.interpolate(images, (24, 24), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    np.testing.assert_allclose(resized(picture, 24, "bilinear"), expected.numpy(), atol=1e-3)
