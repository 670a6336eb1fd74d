"""Pictures -> features: the networks of the metrics, of DAND's latent space and of perceptual losses.

`make_features` makes one from a weight file. None of these modules but this, `preparing` and `extractor` is imported,
and no torch, before a network is made.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass, replace
from pathlib import Path

from hyper_bids.devices import checked_device
from hyper_bids.errors import InconsistentInput, UsageError, did_you_mean, listing
from hyper_bids.features.extractor import Features
from hyper_bids.features.preparing import CLIP_MEAN, CLIP_SD, IMAGENET_MEAN, IMAGENET_SD, Preparation
from hyper_bids.weights import Weights, clip_canonical, read_weights, vgg_canonical
from hyper_bids.weights.recognise import described_as


@dataclass(frozen=True)
class FeatureNetwork:
    """A network for ``--features``.

    Parameters
    ----------
    architecture : as `read_weights` calls it
    module, function : where it is computed: ``hyper_bids.features.<module>:<function>``
    layer : the one that the papers use
    preparation : of the pictures; sizes that depend on the file are taken from it
    is_face : whether it was trained to recognise faces: only then it fills ``feature_similarity`` by itself
    """

    architecture: str
    module: str
    function: str
    layer: str
    preparation: Preparation
    is_face: bool = False


def _imagenet(size: int, resampling: str = "bilinear") -> Preparation:
    return Preparation(size, IMAGENET_MEAN, IMAGENET_SD, resampling=resampling)


def _caffe(mean: tuple[float, float, float]) -> Preparation:
    return Preparation(224, mean, scale=1.0, colours="BGR")


FEATURES: dict[str, FeatureNetwork] = {
    "vggface2": FeatureNetwork(
        "vggface2", "resnet", "resnet", "avgpool", _caffe((91.4953, 103.8827, 131.0912)), is_face=True
    ),
    "vggface": FeatureNetwork("vggface", "vgg", "vgg", "relu7", _caffe((93.5940, 104.7624, 129.1863)), is_face=True),
    "vgg16": FeatureNetwork("vgg16", "vgg", "vgg", "relu3_3", _imagenet(224)),
    "alexnet": FeatureNetwork("alexnet", "alexnet", "alexnet", "features.11", _imagenet(256)),
    # torchvision's transform_input turns ImageNet's normalisation into this one, which the weights were trained with.
    "inception": FeatureNetwork(
        "inception", "inception", "inception", "avgpool",
        Preparation(342, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), resampling="bilinear"),
    ),
    "clip": FeatureNetwork(
        "clip", "clip_vit", "clip", "embedding", Preparation(224, CLIP_MEAN, CLIP_SD, resampling="bilinear")
    ),
    "efficientnet": FeatureNetwork("efficientnet", "efficientnet", "efficientnet", "avgpool", _imagenet(255)),
    "swav": FeatureNetwork("resnet50", "resnet", "resnet", "avgpool", _imagenet(224)),
}  # fmt: skip
"""Name for ``--features`` -> network. The papers, files and licences: docs/generators.md."""


def parse_features(text: str) -> tuple[str, str | None]:
    """Return name and layer of ``NAME`` or ``NAME:LAYER``.

    Raises
    ------
    UsageError
        No such network.

    >>> parse_features("vggface:fc6"), parse_features("clip")
    (('vggface', 'fc6'), ('clip', None))
    """
    name, _, layer = text.partition(":")
    if name not in FEATURES:
        raise UsageError(f"Unknown feature network {name!r}.{did_you_mean(name, FEATURES)} "
                         f"Known: {listing(FEATURES, 20)}.")  # fmt: skip
    return name, layer or None


def make_features(
    name: str, weights: Path | Weights, layer: str | None = None, device: str = "cpu", resampling: str | None = None
) -> Features:
    """Make a feature network from its weights.

    Parameters
    ----------
    name : a key of `FEATURES`, or ``NAME:LAYER``
    weights : a published file (see `hyper_bids.weights`), one converted from it, or weights that were read
    layer : one of the network's; None is the one that the papers use
    device : ``cpu``, ``cuda``, ``cuda:N`` or ``auto``
    resampling : ``area-bicubic`` or ``bilinear``, for pictures of another size; None is the network's

    Raises
    ------
    UsageError
        Unknown network, layer, device or resampling; two layers that differ.
    MissingFiles
        The file is not there, or cut off or altered.
    InconsistentInput
        The weights are those of another network, or would run code.
    """
    name, named = parse_features(name)
    network = FEATURES[name]
    module = importlib.import_module(f"hyper_bids.features.{network.module}")
    aliases = getattr(module, "ALIASES", {})
    if layer and named and aliases.get(layer, layer) != aliases.get(named, named):
        raise UsageError(f"Features {name}:{named}, but layer {layer} is asked for as well: give one of them.")
    layer = layer or named or network.layer
    layer = aliases.get(layer, layer)
    sha256, file = "", ""
    if not isinstance(weights, Weights):
        path = Path(weights)
        weights, file = read_weights(path, architecture=network.architecture), path.name
        sha256 = _checksum(path)
    elif weights.architecture != network.architecture:
        raise InconsistentInput(
            f"Feature network {name!r} needs {described_as(network.architecture)}, not "
            f"{described_as(weights.architecture)}."
        )
    preparation = replace(network.preparation, size=_size(network, weights))
    made = Features(
        name, layer, weights, getattr(module, network.function), preparation, device=checked_device(device),
        sha256=sha256, file=file,
    )  # fmt: skip
    return made if resampling is None else made.resampled(resampling)


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _size(network: FeatureNetwork, weights: Weights) -> int:
    """Height and width of the pictures that these weights were trained on, where they tell."""
    if network.architecture == "clip":
        return clip_canonical.resolution(weights.arrays)
    if network.architecture == "vggface" and "fc6.weight" in weights.arrays:
        n_inputs, n_channels = weights.arrays["fc6.weight"].shape[1], len(weights.arrays["conv5_3.bias"])
        return 32 * vgg_canonical.side(n_inputs, n_channels, "vggface")  # five times halved
    return network.preparation.size


__all__ = ["FEATURES", "FeatureNetwork", "Features", "Preparation", "make_features", "parse_features"]
