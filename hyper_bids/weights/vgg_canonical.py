"""VGG-16, as VGG-Face (Keras) and as ImageNet's (torchvision), under Caffe's names: ``conv1_1`` .. ``fc8``.

Keras flattens the last maps pixel by pixel, PyTorch channel by channel: canonical ``fc6`` is PyTorch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import isqrt

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Refused, Weights, width
from hyper_bids.weights.feature_canonical import TITLES, Shapes, Taking, checked, pair

CONVOLUTIONS = tuple(f"conv{stage}_{k}" for stage, n in enumerate((2, 2, 3, 3, 3), start=1) for k in range(1, n + 1))
TORCH_CONVOLUTIONS = dict(zip((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), CONVOLUTIONS, strict=True))
"""Number of a module in torchvision's ``features`` -> convolution."""

TORCH_DENSE = {0: "fc6", 3: "fc7", 6: "fc8"}
"""Number of a module in torchvision's ``classifier`` -> dense layer."""


def vgg(
    architecture: str, arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str,
    notes: tuple[str, ...] = (),
) -> Weights:  # fmt: skip
    """Return checked canonical weights; the dense layers may be missing, from the last on.

    Raises
    ------
    Refused
    """
    shapes: Shapes = {}
    before = 3
    for name in CONVOLUTIONS:
        shapes |= pair(arrays, name, before, 3, 3)
        before = width(arrays, name)
    if "fc6.weight" in arrays:
        n_inputs = np.shape(arrays["fc6.weight"])[-1]
        side(n_inputs, before, architecture)
        before = n_inputs
    for name in ("fc6", "fc7", "fc8"):
        if f"{name}.weight" not in arrays:
            break
        shapes |= pair(arrays, name, before)
        before = width(arrays, name)
    return checked(architecture, arrays, shapes, {}, origin, notes)


def side(n_inputs: int, n_channels: int, architecture: str) -> int:
    """Return height and width of the maps that the first dense layer sees: 7 in the published files.

    Raises
    ------
    Refused
    """
    length = isqrt(n_inputs // n_channels) if n_channels > 0 else 0
    if length < 1 or length * length * n_channels != n_inputs:
        raise Refused(
            f"the first dense layer of {TITLES[architecture]} has {n_inputs} inputs after {n_channels} channels"
        )
    return length


vggface, vgg16 = partial(vgg, "vggface"), partial(vgg, "vgg16")
"""Check canonical weights of VGG-Face, and of ImageNet's VGG-16; see `vgg`."""


def from_keras(candidate: Candidate) -> Weights | None:
    """Return the VGG-Face of ``rcmalli_vggface_tf_vgg16.h5``, with or without the top, or None."""
    if not {"conv1_1/kernel", "conv5_3/kernel"} <= set(candidate.arrays):
        return None
    given = Taking(candidate.arrays, "vggface")
    arrays: dict[str, np.ndarray] = {}
    for name in CONVOLUTIONS:
        arrays[f"{name}.weight"] = given.take(f"{name}/kernel", 4).transpose(3, 2, 0, 1)
        arrays[f"{name}.bias"] = given.take(f"{name}/bias", 1)
    for name in ("fc6", "fc7", "fc8"):
        if f"{name}/kernel" in given:
            kernel = given.take(f"{name}/kernel", 2)
            arrays[f"{name}.weight"] = _channels_first(kernel, width(arrays, "conv5_3")) if name == "fc6" else kernel.T
            arrays[f"{name}.bias"] = given.take(f"{name}/bias", 1)
    given.finish()
    return vggface(arrays, {}, "Keras's VGG-Face VGG-16")


def _channels_first(kernel: np.ndarray, n_channels: int) -> np.ndarray:
    """Return ``(out, channels * side * side)`` of Keras's ``(side * side * channels, out)``."""
    length = side(len(kernel), n_channels, "vggface")
    cube = kernel.reshape(length, length, n_channels, kernel.shape[1])
    return cube.transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)


def from_torch(candidate: Candidate) -> Weights | None:
    """Return the VGG-16 of torchvision's ``vgg16-397923af.pth``, whole or without its classifier, or None."""
    arrays = candidate.whole("features")
    present = {int(name.split(".")[1]) for name in arrays if name.startswith("features.") and name.count(".") == 2
               and name.split(".")[1].isdecimal()}  # fmt: skip
    if not present >= {0, 2, 5, 28} or np.shape(arrays.get("features.0.weight"))[2:] != (3, 3):
        return None
    if present != set(TORCH_CONVOLUTIONS):
        raise Refused(f"this is a VGG with {len(present)} layers; VGG-16, the network for --features, has 13 before "
                      f"its classifier")  # fmt: skip
    given = Taking(arrays, "vgg16")
    canonical = {}
    for folder, modules in (("features", TORCH_CONVOLUTIONS), ("classifier", TORCH_DENSE)):
        for number, name in modules.items():
            if f"{folder}.{number}.weight" in given:
                weight = given.take(f"{folder}.{number}.weight", 4 if folder == "features" else 2)
                canonical[f"{name}.weight"] = weight
                canonical[f"{name}.bias"] = given.take(f"{folder}.{number}.bias", 1)
    given.finish()
    return vgg16(canonical, {}, "torchvision's VGG-16")
