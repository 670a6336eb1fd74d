"""What the canonical forms of all feature networks share: folded batch norms, and arrays checked against shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hyper_bids.weights.canonical import Refused, Weights, checked_arrays, width

TITLES: dict[str, str] = {
    "vggface2": "VGGFace2's ResNet-50",
    "vggface": "VGG-Face's VGG-16",
    "vgg16": "ImageNet's VGG-16",
    "alexnet": "ImageNet's AlexNet",
    "inception": "Inception v3",
    "clip": "CLIP's image encoder",
    "efficientnet": "an EfficientNet",
    "resnet50": "a ResNet-50 of torchvision's form, as SwAV's",
}
"""Architecture, as `read_weights` calls it -> what people call it. All are networks for ``--features``."""

Shapes = dict[str, tuple[int, ...]]
NORM = ("weight", "bias", "running_mean", "running_var")
"""PyTorch's names of a batch norm's arrays: scale, shift, mean, variance."""


def folded(
    weight: np.ndarray, norm: Mapping[str, np.ndarray], epsilon: float, bias: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a convolution and the batch norm after it as one convolution, in float64 until the end.

    ``norm(conv(x)) = (W g) * x + (b - mean) g + shift`` with ``g = scale / sqrt(variance + epsilon)``.

    Parameters
    ----------
    weight : (out, in, height, width)
    norm : names of `NORM` -> (out,)
    bias : (out,), where the convolution has one

    Raises
    ------
    Refused
        The two have different widths.
    """
    if any(part.shape != (len(weight),) for part in norm.values()):
        raise Refused("a batch norm of this network has another width than the convolution before it")
    scale, shift, mean, variance = (np.asarray(norm[name], np.float64) for name in NORM)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        gain = scale / np.sqrt(variance + epsilon)
        offset = ((0.0 if bias is None else bias.astype(np.float64)) - mean) * gain + shift
        return (weight * gain[:, None, None, None]).astype(np.float32), offset.astype(np.float32)


class Taking:
    """Arrays of a file that are taken one by one, so that at the end it is known what nobody asked for."""

    def __init__(self, arrays: Mapping[str, np.ndarray], architecture: str) -> None:
        self.arrays, self.title = dict(arrays), TITLES[architecture]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def take(self, name: str, n_dims: int) -> np.ndarray:
        """Return an array of so many dimensions, and take it off the list.

        Raises
        ------
        Refused
        """
        if name not in self.arrays:
            raise Refused(f"it looks like {self.title}, but lacks {name}")
        array = self.arrays.pop(name)
        if array.ndim != n_dims or array.dtype.kind not in "fiu":
            raise Refused(f"{name} of {self.title} has {array.ndim} dimensions, not {n_dims}")
        return array

    def torch_norm(self, prefix: str) -> dict[str, np.ndarray]:
        """Return a batch norm under PyTorch's names; how often it was updated does not matter."""
        self.arrays.pop(f"{prefix}.num_batches_tracked", None)
        return {name: self.take(f"{prefix}.{name}", 1) for name in NORM}

    def drop(self, *prefixes: str) -> list[str]:
        """Take arrays off that the features do not need, and return their names."""
        dropped = [name for name in self.arrays if name.startswith(prefixes)]
        for name in dropped:
            del self.arrays[name]
        return dropped

    def finish(self) -> None:
        """Refuse a file with arrays that the network does not have: it is another one.

        Raises
        ------
        Refused
        """
        if self.arrays:
            some = ", ".join(sorted(self.arrays)[:3])
            raise Refused(f"it looks like {self.title}, but has {some}, which that network has not")


def pair(arrays: Mapping[str, np.ndarray], name: str, *rest: int) -> Shapes:
    """Return the shapes of a layer's weight ``(its width, *rest)`` and bias."""
    own = width(arrays, name)
    return {f"{name}.weight": (own, *rest), f"{name}.bias": (own,)}


def checked(
    architecture: str, arrays: Mapping[str, np.ndarray], shapes: Shapes, options: Mapping[str, object], origin: str,
    notes: tuple[str, ...] = (),
) -> Weights:  # fmt: skip
    """Return canonical weights whose arrays are exactly those of ``shapes``, finite and float32.

    Raises
    ------
    Refused
    """
    return Weights(architecture, checked_arrays(arrays, shapes, TITLES[architecture]), options, origin, notes)


def option(options: Mapping[str, object], name: str, allowed: tuple, title: str) -> object:
    """Return an option of a file of ours, if it is one of those that there are.

    Raises
    ------
    Refused
    """
    value = options.get(name, allowed[0])
    if value not in allowed:
        raise Refused(f"this file of {title} says {name} = {str(value)[:20]}, which makes no sense")
    return value
