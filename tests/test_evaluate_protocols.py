"""Named protocols: each step against a naive version and a foreign library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.spatial.distance import correlation as scipy_correlation
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from hyper_bids.data import Images
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.evaluate.image_protocols import PROTOCOLS, apply_protocol, prepare
from hyper_bids.evaluate.natural_images import (
    NETWORKS,
    correlation_distance,
    natural_image_scores,
    ssim_columns,
    two_way_identification,
)
from hyper_bids.evaluate.resample import resample, smooth
from hyper_bids.evaluate.resize import REC601
from hyper_bids.resampling import area_weights, cubic_weights

SKIMAGE = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


class Downscaled:
    """A stand-in for a network: a picture's 3 x 4 blocks."""

    name = "downscaled"
    checksum = "sha256:0"

    def features(self, pixels):
        assert pixels.dtype == np.uint8
        return resample(pixels, (3, 4)).reshape(len(pixels), -1)


@pytest.fixture
def pictures(rng):
    """Five smooth stimuli, (5, 60, 48), and noisy reconstructions of another size."""
    smooth_ones = resample(rng.integers(0, 256, (5, 6, 5, 3)).astype(float), (60, 48))
    noisy = np.clip(resample(smooth_ones, (40, 44)) + rng.normal(0, 25, (5, 40, 44, 3)), 0, 255)
    names = tuple("abcde")
    return Images(smooth_ones.astype(np.uint8), names), Images(noisy.astype(np.uint8), names)


def test_area_equals_block_means_torch_and_supersampling(rng):
    line = rng.uniform(0, 255, 12)
    np.testing.assert_allclose(area_weights(12, 4) @ line, line.reshape(4, 3).mean(axis=1))
    theirs = torch.nn.functional.interpolate(torch.from_numpy(line)[None, None], size=4, mode="area")
    np.testing.assert_allclose(area_weights(12, 4) @ line, theirs[0, 0].numpy())
    uneven = np.repeat(line, 5).reshape(5, 12).mean(axis=1)
    np.testing.assert_allclose(area_weights(12, 5) @ line, uneven)


def test_bicubic_equals_pillow_and_torch(rng):
    image = rng.uniform(60, 190, (9, 11))
    ours = cubic_weights(9, 25) @ image @ cubic_weights(11, 31).T
    pillow = Image.fromarray(image.astype(np.float32)).resize((31, 25), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(ours, np.asarray(pillow), atol=1e-3)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], size=(25, 31), mode="bicubic", antialias=True, align_corners=False
    )
    np.testing.assert_allclose(ours, theirs[0, 0].numpy(), atol=1e-9)


def test_smoothing_equals_scipy_and_a_loop(rng):
    image = rng.uniform(0, 255, (1, 7, 9, 1))
    ours = smooth(image, 3, 0.8)[0, ..., 0]
    theirs = ndimage.gaussian_filter(image[0, ..., 0], 0.8, mode="mirror", radius=1)
    np.testing.assert_allclose(ours, theirs)
    side = np.exp(-1 / (2 * 0.64))
    taps = np.array([side, 1, side]) / (1 + 2 * side)
    np.testing.assert_allclose(ours[3, 4], taps @ image[0, 2:5, 3:6, 0] @ taps)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_equals_skimage_and_numpy_on_its_pictures(name, pictures, rng):
    true, predicted = pictures
    protocol = PROTOCOLS[name]
    masks = {label: rng.random((60, 48)) < 0.7 for label in true.stimuli} if protocol.masked else None
    found = apply_protocol(protocol, true, predicted, Downscaled(), masks)
    inside = None
    if masks is not None:
        inside = np.stack([resample(masks[s][None, ..., None] * 255.0, protocol.size)[0, ..., 0] >= 127.5
                           for s in true.stimuli])  # fmt: skip
    x, y = (prepare(protocol, images.pixels, inside) for images in (true, predicted))
    assert x.shape == (5, *protocol.size, 3)
    for row in range(5):
        grey = x[row] @ REC601, y[row] @ REC601
        if "ssim" in found.scores:
            expected = structural_similarity(*grey, data_range=255, **SKIMAGE)
            assert found.scores["ssim"][row] == pytest.approx(expected, abs=1e-6)
        if "pixel_correlation" in found.scores:
            expected = np.corrcoef(grey[0].ravel(), grey[1].ravel())[0, 1]
            assert found.scores["pixel_correlation"][row] == pytest.approx(expected)
        if "pixel_correlation_rgb" in found.scores:
            expected = np.corrcoef(x[row].ravel(), y[row].ravel())[0, 1]
            assert found.scores["pixel_correlation_rgb"][row] == pytest.approx(expected)
        if masks is not None:
            expected = np.corrcoef(grey[0][inside[row]], grey[1][inside[row]])[0, 1]
            assert found.scores["pixel_correlation_foreground"][row] == pytest.approx(expected)
    assert found.scores["feature_similarity"].shape == (5,)
    assert found.protocol["Protocol"] == name and found.protocol["Network"]["Checksum"] == "sha256:0"
    assert found.protocol["Size"] == list(protocol.size) and not found.missing


@pytest.mark.parametrize("name", PROTOCOLS)
def test_identical_pictures_score_one_and_a_protocol_without_network_says_so(name, pictures):
    true, _ = pictures
    found = apply_protocol(PROTOCOLS[name], true, true)
    for values in found.scores.values():
        np.testing.assert_allclose(values, 1.0)
    assert ("feature_similarity" in found.missing) == bool(PROTOCOLS[name].feature_network)


def test_hyper2022_without_masks_is_named_accordingly_and_with_them_ignores_the_background(pictures):
    true, predicted = pictures
    assert apply_protocol(PROTOCOLS["hyper2022"], true, predicted).protocol["Protocol"] == "hyper2022-unmasked"
    mask = np.zeros((60, 48), dtype=bool)
    mask[20:40, 12:36] = True
    masks = dict.fromkeys(true.stimuli, mask)
    elsewhere = true.pixels.copy()
    elsewhere[:, :10] = 255 - elsewhere[:, :10]
    other = Images(elsewhere, true.stimuli)
    scores = [apply_protocol(PROTOCOLS["hyper2022"], t, predicted, Downscaled(), masks).scores for t in (true, other)]
    for name in scores[0]:
        np.testing.assert_allclose(scores[0][name], scores[1][name])
    with pytest.raises(InconsistentInput, match=r"missing for 1 of 5 stimuli: e"):
        apply_protocol(PROTOCOLS["hyper2022"], true, predicted, None, {s: mask for s in "abcd"})
    with pytest.raises(InconsistentInput, match="keeps the background"):
        apply_protocol(PROTOCOLS["dand"], true, predicted, None, masks)


def test_reconstructions_are_aligned_by_name(pictures):
    true, predicted = pictures
    turned = predicted.of(tuple(reversed(predicted.stimuli)))
    one, other = (apply_protocol(PROTOCOLS["dand"], true, images).scores for images in (predicted, turned))
    np.testing.assert_array_equal(one["ssim"], other["ssim"])


def test_natural_set_equals_the_published_code(pictures):
    true, predicted = pictures
    found = natural_image_scores(true, predicted, {name: Downscaled() for name in NETWORKS})
    x, y = (resample(images.pixels, (425, 425), "bilinear") for images in (true, predicted))
    for row in range(2):
        grey = rgb2gray(x[row] / 255), rgb2gray(y[row] / 255)
        expected = np.corrcoef(x[row].ravel(), y[row].ravel())[0, 1]
        assert found.scores["pixcorr_425"][row] == pytest.approx(expected)
        expected = structural_similarity(*grey, data_range=1.0, **SKIMAGE)
        assert found.scores["ssim_425"][row] == pytest.approx(expected, abs=1e-6)
        expected = structural_similarity(*grey, data_range=1.0, channel_axis=-1, **SKIMAGE)
        assert found.scores["ssim_425_columns"][row] == pytest.approx(expected, abs=1e-6)
    assert abs(found.scores["ssim_425"] - found.scores["ssim_425_columns"]).max() > 0.01
    assert set(found.protocol["Networks"]) == set(NETWORKS) and not found.missing
    assert len(natural_image_scores(true, predicted).missing) == len(NETWORKS)
    with pytest.raises(UsageError, match="Did you mean 'alexnet"):
        natural_image_scores(true, predicted, {"alexnet": Downscaled()})


def test_two_way_equals_the_published_loop_and_distance_equals_scipy(rng):
    true, predicted = rng.standard_normal((9, 4, 5)), rng.standard_normal((9, 4, 5))
    predicted[:4] += true[:4]
    r = np.corrcoef(true.reshape(9, -1), predicted.reshape(9, -1))[:9, 9:]
    success = r < np.diag(r)  # brain-diffuser: column j against its own diagonal
    np.testing.assert_allclose(two_way_identification(true, predicted), success.sum(axis=0) / 8)
    loop = [np.mean([r[i, j] < r[j, j] for i in range(9) if i != j]) for j in range(9)]
    np.testing.assert_allclose(two_way_identification(true, predicted), loop)
    expected = [scipy_correlation(a.ravel(), b.ravel()) for a, b in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(correlation_distance(true, predicted), expected)
    same = np.repeat(true[:1], 9, axis=0)
    assert (two_way_identification(same, predicted) == 0).all(), "ties are failures"


def test_ssim_columns_of_a_picture_with_itself_is_one(rng):
    images = rng.uniform(0, 255, (2, 30, 13))
    np.testing.assert_allclose(ssim_columns(images, images), 1.0)
