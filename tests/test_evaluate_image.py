"""Luminance, resizing and SSIM: each number against a naive version and a foreign library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.image import pixel_correlation, pixel_correlation_matrix, ssim, ssim_matrix
from hyper_bids.evaluate.resize import luminance, luminance_at, resize

SIZES = [((37, 52), (24, 24)), ((9, 11), (24, 31)), ((100, 13), (50, 26)), ((24, 31), (24, 31))]


@pytest.fixture
def pictures(rng):
    """Smooth and noisy luminance, (5, 48, 37), with values at both ends of the range."""
    smooth = resize(rng.uniform(0, 255, (5, 6, 5)), (48, 37))
    return np.clip(smooth + rng.normal(0, 20, smooth.shape), 0, 255)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_resize_equals_torch_and_pillow(shape, size, rng):
    image = rng.uniform(0, 255, shape)
    ours = resize(image, size)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], size=size, mode="bilinear", antialias=True, align_corners=False
    )
    np.testing.assert_allclose(ours, theirs[0, 0].numpy(), atol=1e-9)
    pillow = Image.fromarray(image.astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_allclose(ours, np.asarray(pillow), atol=2e-4)


def test_resize_keeps_a_uniform_picture_and_treats_a_batch_alike(rng):
    np.testing.assert_allclose(resize(np.full((17, 29), 71.0), (8, 40)), 71.0)
    batch = rng.uniform(0, 255, (3, 17, 29))
    np.testing.assert_array_equal(resize(batch, (8, 40))[1], resize(batch[1], (8, 40)))


def test_luminance_equals_pillow_up_to_its_rounding(rng):
    pixels = rng.integers(0, 256, (19, 23, 3), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(pixels).convert("L"), dtype=float)
    assert np.abs(luminance(pixels) - pillow).max() <= 0.51


def test_pictures_of_different_sizes_become_one_stack(rng):
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 30), (224, 224), (13, 300))]
    stack = luminance_at(images, (32, 20))
    assert stack.shape == (3, 32, 20)
    colour_first = np.moveaxis(resize(np.moveaxis(images[2].astype(float), -1, 0), (32, 20)), 0, -1)
    np.testing.assert_allclose(stack[2], colour_first @ [0.299, 0.587, 0.114], atol=1e-9)


def test_floats_are_no_pixels():
    with pytest.raises(InconsistentInput, match="uint8"):
        luminance(np.zeros((4, 4, 3)))


def naive_ssim(x, y):
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(taps, taps) / taps.sum() ** 2
    c1, c2, values = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            cab = (window * (a - ma) * (b - mb)).sum()
            values.append((2 * ma * mb + c1) * (2 * cab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_ssim_equals_the_naive_loop_and_skimage(pictures):
    ours = ssim(pictures[:2], pictures[2:4])
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    foreign = [structural_similarity(a, b, **options) for a, b in zip(pictures[:2], pictures[2:4], strict=True)]
    np.testing.assert_allclose(ours, foreign, atol=1e-10)
    np.testing.assert_allclose(ours[0], naive_ssim(pictures[0], pictures[2]), atol=1e-10)


def test_ssim_at_protocol_size_equals_skimage(rng):
    a, b = rng.uniform(0, 255, (2, 224, 224))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert ssim(a[None], b[None])[0] == pytest.approx(structural_similarity(a, b, **options), abs=1e-10)


@pytest.mark.parametrize(
    ("paired", "matrix"), [(ssim, ssim_matrix), (pixel_correlation, pixel_correlation_matrix)], ids=["ssim", "pixel"]
)
def test_matrices_hold_every_pair(paired, matrix, pictures):
    predicted, true = pictures[:3], pictures[1:]
    pairs = [[paired(t[None], p[None])[0] for t in true] for p in predicted]
    np.testing.assert_allclose(matrix(predicted, true), pairs, atol=1e-12)
    np.testing.assert_allclose(paired(pictures, pictures), 1.0)


def test_pixel_correlation_equals_numpy_and_is_undefined_for_a_uniform_picture(pictures):
    expected = [np.corrcoef(pictures[i].ravel(), pictures[i + 1].ravel())[0, 1] for i in range(4)]
    np.testing.assert_allclose(pixel_correlation(pictures[:4], pictures[1:]), expected)
    assert np.isnan(pixel_correlation(pictures[:1], np.full((1, 48, 37), 80.0)))[0]


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(InconsistentInput, match=r"11.*10 x 30"):
        ssim(np.zeros((1, 10, 30)), np.zeros((1, 10, 30)))
