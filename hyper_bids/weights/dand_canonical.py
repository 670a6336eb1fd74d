"""The canonical DAND generator: an inverse PCA of features, then transposed convolutions.

Batch normalisation with fixed statistics is one factor and one shift a channel: both are inside the convolution before
it, so the canonical network is convolutions and ReLU only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from hyper_bids.weights.canonical import Refused, Weights, checked_arrays

MAX_LAYERS = 10
KERNEL = 4
DESCRIPTIONS = ("features", "features_layer", "features_sha256")
"""Options: name and layer of the network whose features the PCA is of, and the checksum of its file. Besides them
``crop``, a number: the share of the centre square that the network saw; 1 where a file does not say."""


def dand(
    arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str, notes: tuple[str, ...] = ()
) -> Weights:
    """Return checked canonical weights.

    ``pca.mean (F,)``, ``pca.components (K, F)`` and ``pca.scale (K,)``: features of a latent z are
    ``mean + (z * scale) @ components``; ``generator.layer{i}.weight (in, out, 4, 4)`` and ``.bias (out,)``: transposed
    convolutions, the first of stride 1 without padding from 1 x 1 to 4 x 4, the others of stride 2 with padding 1.

    Raises
    ------
    Refused
        An array is missing, unknown, of another shape, or not finite; an option is unknown.
    """
    checked = checked_arrays(arrays, _shapes(arrays), "a DAND generator")
    if (checked["pca.scale"] <= 0).any():
        raise Refused("pca.scale of this DAND generator holds a value that is not positive")
    described = {name: value for name, value in options.items() if name != "crop"}
    unknown = [name for name, value in described.items() if name not in DESCRIPTIONS or not isinstance(value, str)]
    if unknown:
        raise Refused(f"{unknown[0][:60]} is no description of a DAND generator")
    if "crop" in options and not is_share(options["crop"]):
        raise Refused(f"the crop of this DAND generator is {str(options['crop'])[:60]}, not a share of the picture")
    return Weights("dand", checked, options, origin, notes)


def is_share(value: object) -> bool:
    """Return whether an option is a number above 0 and at most 1."""
    return type(value) in (int, float) and 0 < value <= 1


def from_canonical(tree: object) -> Weights | None:
    """Return the DAND generator of a flat dictionary of canonical names; None for others'."""
    if not isinstance(tree, dict) or not {"pca.components", "generator.layer1.weight"} <= set(tree):
        return None
    arrays = {name: array for name, array in tree.items() if isinstance(array, np.ndarray)}
    note = "The file does not say which network's features its latents are."
    return dand(arrays, {}, "DAND generator", (note,))


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every array that a network has whose components and biases are these."""
    components = arrays.get("pca.components")
    if components is None or components.ndim != 2 or not components.size:
        raise Refused("it looks like a DAND generator, but pca.components is no matrix (latents x features)")
    n_latents, before = components.shape
    shapes: dict[str, tuple[int, ...]] = {
        "pca.mean": (before,), "pca.components": (n_latents, before), "pca.scale": (n_latents,),
    }  # fmt: skip
    n_layers = sum(re.fullmatch(r"generator\.layer\d{1,2}\.weight", name) is not None for name in arrays)
    if not 2 <= n_layers <= MAX_LAYERS:
        raise Refused(f"it looks like a DAND generator with {n_layers} layers; 2 to {MAX_LAYERS} are read")
    for i in range(1, n_layers + 1):
        bias = arrays.get(f"generator.layer{i}.bias")
        width = len(bias) if bias is not None and bias.ndim == 1 else 0
        shapes[f"generator.layer{i}.weight"] = (before, width, KERNEL, KERNEL)
        shapes[f"generator.layer{i}.bias"] = (width,)
        before = width
    if before not in (1, 3):
        raise Refused(f"this DAND generator makes {before} colours, not 1 or 3")
    return shapes
