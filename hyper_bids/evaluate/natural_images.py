"""The "standard set" of natural-image papers, as their published code computes it.

Ozcelik & VanRullen 2023 (brain-diffuser, ``scripts/evaluate_reconstruction.py``) and Scotti et al. 2023, 2024
(MindEye, ``final_evaluations.ipynb``). What their code does and the papers do not say:

* PixCorr: Pearson r over RGB pixels of both pictures at 425 x 425.
* SSIM: on skimage's grey (0.2125 R + 0.7154 G + 0.0721 B) at 425 x 425, Gaussian window of sigma 1.5 and 11
  taps, population covariance, data range 1. Both pass ``multichannel=True`` with a 2-D picture. scikit-image
  up to 0.18 (brain-diffuser) then takes columns for channels: a one-dimensional SSIM down every column,
  here ``ssim_425_columns``. Later versions (MindEye 2) ignore it: ``ssim_425``. On the same pictures they
  differ by 0.1, so the two are never one column of a table.
* Two-way identification: for a reconstruction, the share of the *other stimuli* whose features correlate less
  with it than its own stimulus's; a tie is a failure. 0.5 by chance.
* Distances: 1 - Pearson r of a reconstruction's and its stimulus's features (lower is better).

Resizing is bilinear with antialias (torchvision's ``Resize`` today; versions before 0.17 did not antialias
tensors). A network gets uint8 pictures at its own size and normalises them itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hyper_bids.data import Images
from hyper_bids.errors import InconsistentInput, UsageError, did_you_mean, listing
from hyper_bids.evaluate.image import ssim
from hyper_bids.evaluate.image_protocols import ProtocolScores, as_uint8, network_sidecar, rgb_correlation
from hyper_bids.evaluate.latent import latent_correlation, unit_rows
from hyper_bids.evaluate.resample import resample
from hyper_bids.evaluate.ssim_strips import C1, C2, band_matrix
from hyper_bids.protocols import FeatureExtractor

SIZE = (425, 425)
GREY = np.array([0.2125, 0.7154, 0.0721])
"""Weights of scikit-image's ``rgb2gray`` (Rec. 709, rounded)."""

DECIMALS = 10


@dataclass(frozen=True)
class NetworkProtocol:
    """One network of the set: its input, its layer, and the statistic made of its features."""

    name: str
    network: str
    layer: str
    size: tuple[int, int]
    statistic: str


NETWORKS: dict[str, NetworkProtocol] = {
    entry.name: entry
    for entry in (
        NetworkProtocol("alexnet2", "AlexNet, ImageNet", "features.4", (256, 256), "two-way"),
        NetworkProtocol("alexnet5", "AlexNet, ImageNet", "features.11", (256, 256), "two-way"),
        NetworkProtocol("inception", "Inception v3, ImageNet", "avgpool", (342, 342), "two-way"),
        NetworkProtocol("clip", "CLIP ViT-L/14, OpenAI", "image embedding", (224, 224), "two-way"),
        NetworkProtocol("efficientnet", "EfficientNet-B1, ImageNet", "avgpool", (255, 255), "distance"),
        NetworkProtocol("swav", "SwAV ResNet50", "avgpool", (224, 224), "distance"),
    )
}
"""Name -> network of the standard set; the user gives the weights, as a `FeatureExtractor`."""


def _rows(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    if true.shape != predicted.shape or true.ndim < 2:
        raise InconsistentInput(f"Features of true and predicted must fit, got {true.shape} and {predicted.shape}.")
    return true.reshape(len(true), -1), predicted.reshape(len(predicted), -1)


def two_way_identification(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Share of the other stimuli that correlate less with a reconstruction than its own, ties failing.

    Parameters
    ----------
    true, predicted : (n, ...) features of stimuli and of their reconstructions

    Returns
    -------
    (n,) in [0, 1]; NaN with one stimulus only, or where features are constant
    """
    true, predicted = _rows(true, predicted)
    if len(true) < 2:
        return np.full(len(true), np.nan)
    r = np.round(unit_rows(true) @ unit_rows(predicted).T, DECIMALS)  # (stimuli, reconstructions)
    own = np.diag(r)
    return np.where(np.isfinite(r).all(axis=0), (r < own).sum(axis=0) / (len(r) - 1), np.nan)


def correlation_distance(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """1 - Pearson r of the features of each reconstruction and its stimulus: ``(n,)``; lower is better."""
    return 1.0 - latent_correlation(*_rows(true, predicted))


def ssim_columns(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """One-dimensional SSIM down every column, averaged: ``(n,)`` from two ``(n, height, width)``, 0 to 255.

    What scikit-image up to 0.18 makes of a 2-D picture with ``multichannel=True``.
    """
    band = band_matrix(true.shape[1] - 10)
    values = []
    for x, y in zip(np.asarray(true, float) - 127.5, np.asarray(predicted, float) - 127.5, strict=True):
        mean_x, mean_y = band @ x, band @ y
        variances = band @ (x * x) - mean_x**2 + band @ (y * y) - mean_y**2
        covariance = band @ (x * y) - mean_x * mean_y
        mean_x, mean_y = mean_x + 127.5, mean_y + 127.5
        top = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
        values.append(np.mean(top / ((mean_x**2 + mean_y**2 + C1) * (variances + C2))))
    return np.array(values)


def _at(pictures: Mapping[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Resample pictures, which may differ in size, to one: float ``(n, *size, 3)``, 0 to 255."""
    return np.concatenate([resample(picture[None], size, "bilinear") for picture in pictures.values()])


def _network_scores(
    entry: NetworkProtocol, extractor: FeatureExtractor, true: Mapping[str, np.ndarray],
    predicted: Mapping[str, np.ndarray],
) -> tuple[str, np.ndarray]:  # fmt: skip
    features = [extractor.features(as_uint8(_at(pictures, entry.size))) for pictures in (true, predicted)]
    if entry.statistic == "two-way":
        return f"{entry.name}_two_way", two_way_identification(*features)
    return f"{entry.name}_distance", correlation_distance(*features)


def _by_stimulus(images: Images | Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    return dict(zip(images.stimuli, images.pixels, strict=True)) if isinstance(images, Images) else images


def natural_image_scores(
    true: Images | Mapping[str, np.ndarray],
    predicted: Images | Mapping[str, np.ndarray],
    networks: Mapping[str, FeatureExtractor] | None = None,
) -> ProtocolScores:
    """Score reconstructions of natural images with the standard set.

    Parameters
    ----------
    true, predicted : Images, or stimulus -> (height, width, 3) uint8 RGB
        Of any size; aligned by stimulus.
    networks : name of `NETWORKS` -> FeatureExtractor
        Those whose weights the user has; the others' columns are missing, and said to be.

    Raises
    ------
    UsageError
        A network that is not of the set.
    InconsistentInput
        A stimulus without reconstruction.
    """
    networks = networks or {}
    for name in networks:
        if name not in NETWORKS:
            raise UsageError(f"Unknown network {name!r}.{did_you_mean(name, NETWORKS)} Known: {listing(NETWORKS, 10)}.")
    true, given = _by_stimulus(true), _by_stimulus(predicted)
    missing_here = [label for label in true if label not in given]
    if missing_here:
        raise InconsistentInput(f"Stimuli without a reconstruction: {listing(missing_here)}.")
    stimuli, predicted = tuple(true), {label: given[label] for label in true}
    x, y = (_at(pictures, SIZE) for pictures in (true, predicted))
    grey_x, grey_y = x @ GREY, y @ GREY
    scores = {
        "pixcorr_425": rgb_correlation(x, y),
        "ssim_425": ssim(grey_x, grey_y),
        "ssim_425_columns": ssim_columns(grey_x, grey_y),
    }
    missing = {}
    for name, entry in NETWORKS.items():
        column = f"{name}_{'two_way' if entry.statistic == 'two-way' else 'distance'}"
        if name in networks:
            column, scores[column] = _network_scores(entry, networks[name], true, predicted)
        else:
            missing[column] = f"no weights of {entry.network} were given"
    return ProtocolScores(scores, stimuli, _sidecar(networks, len(stimuli)), missing)


def _sidecar(networks: Mapping[str, FeatureExtractor], n: int) -> dict[str, object]:
    return {
        "Protocol": "natural-images",
        "Source": "Ozcelik & VanRullen 2023; Scotti et al. 2023, 2024 (published code)",
        "NumberOfTestImages": n,
        "Size": list(SIZE),
        "Resampling": "bilinear, antialias",
        "PixCorr": "Pearson r over RGB pixels",
        "SSIM": "grey 0.2125 R + 0.7154 G + 0.0721 B, 11-tap Gaussian of sigma 1.5, population covariance, data range "
        "= full range, 5 px cropped; ssim_425 in two dimensions, ssim_425_columns in one, down every column",
        "TwoWay": "share of the other stimuli whose features correlate less with the reconstruction; ties fail",
        "Networks": {
            name: {
                "Network": NETWORKS[name].network,
                "Layer": NETWORKS[name].layer,
                "Size": list(NETWORKS[name].size),
                "Statistic": NETWORKS[name].statistic,
                "Extractor": network_sidecar(extractor),
            }
            for name, extractor in networks.items()
        },
    }
