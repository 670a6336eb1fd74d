"""torchvision's AlexNet ("One weird trick", Krizhevsky 2014), under torchvision's names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Weights, width
from hyper_bids.weights.feature_canonical import Shapes, Taking, checked, pair
from hyper_bids.weights.vgg_canonical import side

KERNELS = {0: 11, 3: 5, 6: 3, 8: 3, 10: 3}
"""Number of a convolution in ``features`` -> side of its kernel."""

DENSE = (1, 4, 6)
"""Numbers of the dense layers in ``classifier``."""


def alexnet(
    arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str, notes: tuple[str, ...] = ()
) -> Weights:
    """Return checked canonical weights; the classifier may be missing, or end early.

    Raises
    ------
    Refused
    """
    shapes: Shapes = {}
    before = 3
    for number, kernel in KERNELS.items():
        shapes |= pair(arrays, f"features.{number}", before, kernel, kernel)
        before = width(arrays, f"features.{number}")
    if "classifier.1.weight" in arrays:
        n_inputs = np.shape(arrays["classifier.1.weight"])[-1]
        side(n_inputs, before, "alexnet")
        before = n_inputs
        for number in DENSE:
            if f"classifier.{number}.weight" not in arrays:
                break
            shapes |= pair(arrays, f"classifier.{number}", before)
            before = width(arrays, f"classifier.{number}")
    return checked("alexnet", arrays, shapes, {}, origin, notes)


def from_torch(candidate: Candidate) -> Weights | None:
    """Return the AlexNet of torchvision's ``alexnet-owt-7be5be79.pth``, or None where the names are others'."""
    arrays = candidate.whole("features")
    if np.shape(arrays.get("features.0.weight"))[2:] != (11, 11) or "features.10.weight" not in arrays:
        return None
    given = Taking(arrays, "alexnet")
    canonical = {}
    layers = [*((f"features.{n}", 4) for n in KERNELS), *((f"classifier.{n}", 2) for n in DENSE)]
    for name, n_dims in layers:
        if n_dims == 4 or f"{name}.weight" in given:
            canonical[f"{name}.weight"] = given.take(f"{name}.weight", n_dims)
            canonical[f"{name}.bias"] = given.take(f"{name}.bias", 1)
    given.finish()
    return alexnet(canonical, {}, "torchvision's AlexNet")
