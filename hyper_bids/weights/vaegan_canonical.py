"""The canonical VAE-GAN, and how TensorFlow's variables become it.

Batch normalisation with fixed statistics is one factor and one shift a channel: both go into the layer before it, so
the canonical network is convolutions, dense layers and ELU only. Dense layers see maps channel by channel (NCHW),
TensorFlow's see them pixel by pixel (NHWC): their rows or columns change places.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt

import numpy as np

from hyper_bids.weights.canonical import Refused, Weights, checked_arrays
from hyper_bids.weights.dand_canonical import is_share

ORIGIN = "VanRullen and Reddy's TensorFlow VAE-GAN"
EPSILON = 1e-6
MAX_LAYERS = 10
FIRST = re.compile(r"(?P<prefix>(?:.*/)?)generator/layer1/deconv2d/W(?::0)?")
STATISTICS = {"mean": ("Squeeze", "mean"), "variance": ("Squeeze_1", "variance")}
"""Names that TensorFlow's versions gave to the outputs of ``tf.nn.moments``."""


def vaegan(
    arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str, notes: tuple[str, ...] = ()
) -> Weights:
    """Return checked canonical weights of decoder and, where there is one, encoder.

    ``generator.fc (C0 s s, K)``, ``generator.layer{i} (in, out, 3, 3)`` (transposed convolutions, stride 2);
    ``encoder.layer{i} (out, in, 3, 3)``, ``encoder.fc (hidden, C s s)``, ``encoder.mu (K, hidden)`` and, for training
    only, ``encoder.log_sigma``; each ``.weight`` and ``.bias``. Option ``crop``: the share of the centre square that
    the network saw; the paper's 0.8 where a file does not say.

    Raises
    ------
    Refused
        An array is missing, unknown, of another shape, or not finite; an option is unknown.
    """
    checked = checked_arrays(arrays, _decoder_shapes(arrays) | _encoder_shapes(arrays), "a VAE-GAN")
    for name, value in options.items():
        if name != "crop":
            raise Refused(f"{name[:60]} is no description of a VAE-GAN")
        if not is_share(value):
            raise Refused(f"the crop of this VAE-GAN is {str(value)[:60]}, not a share of the picture")
    return Weights("vaegan", checked, options, origin, notes)


def _width(arrays: Mapping[str, np.ndarray], name: str) -> int:
    bias = arrays.get(f"{name}.bias")
    return len(bias) if bias is not None and bias.ndim == 1 else 0


def _n_layers(arrays: Mapping[str, np.ndarray], part: str) -> int:
    n_layers = sum(re.fullmatch(rf"{part}\.layer\d{{1,2}}\.weight", name) is not None for name in arrays)
    if n_layers > MAX_LAYERS:
        raise Refused(f"it looks like a VAE-GAN with {n_layers} layers; at most {MAX_LAYERS} are read")
    return n_layers


def _n_latents(arrays: Mapping[str, np.ndarray]) -> int:
    weight = arrays.get("generator.fc.weight")
    return weight.shape[1] if weight is not None and weight.ndim == 2 else 0


def _decoder_shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    n_units = _width(arrays, "generator.fc")
    first = arrays.get("generator.layer1.weight")
    before = first.shape[0] if first is not None and first.ndim == 4 else 0
    if not before or n_units % before or isqrt(n_units // before) ** 2 * before != n_units or not n_units:
        raise Refused("it looks like a VAE-GAN, but its decoder does not start with square maps")
    shapes = {"generator.fc.weight": (n_units, _n_latents(arrays)), "generator.fc.bias": (n_units,)}
    for i in range(1, _n_layers(arrays, "generator") + 1):
        name = f"generator.layer{i}"
        shapes |= {f"{name}.weight": (before, _width(arrays, name), 3, 3), f"{name}.bias": (_width(arrays, name),)}
        before = _width(arrays, name)
    if before not in (1, 3):
        raise Refused(f"this VAE-GAN makes {before} colours, not 1 or 3")
    return shapes


def _encoder_shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    n_layers = _n_layers(arrays, "encoder")
    if not any(name.startswith("encoder.") for name in arrays):
        return {}
    first = arrays.get("encoder.layer1.weight")
    before = first.shape[1] if first is not None and first.ndim == 4 else 0
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(1, n_layers + 1):
        name = f"encoder.layer{i}"
        shapes |= {f"{name}.weight": (_width(arrays, name), before, 3, 3), f"{name}.bias": (_width(arrays, name),)}
        before = _width(arrays, name)
    dense = arrays.get("encoder.fc.weight")
    n_inputs = dense.shape[1] if dense is not None and dense.ndim == 2 else 0
    if not before or n_inputs % before or isqrt(n_inputs // before) ** 2 * before != n_inputs:
        raise Refused("it looks like a VAE-GAN, but its encoder does not end with square maps")
    hidden, n_latents = _width(arrays, "encoder.fc"), _n_latents(arrays)
    shapes |= {"encoder.fc.weight": (hidden, n_inputs), "encoder.fc.bias": (hidden,)}
    heads = ["mu", *(["log_sigma"] if "encoder.log_sigma.weight" in arrays else [])]
    for head in heads:
        shapes |= {f"encoder.{head}.weight": (n_latents, hidden), f"encoder.{head}.bias": (n_latents,)}
    return shapes


# --- TensorFlow's variables -------------------------------------------------------------------------------------------


def from_tensorflow(tree: object) -> Weights | None:
    """Return the VAE-GAN of TensorFlow's variables by name, whatever scope is before them; None for others'."""
    if not isinstance(tree, dict):
        return None
    names = [name for name in tree if isinstance(name, str)]
    found = sorted((match["prefix"] for match in map(FIRST.fullmatch, names) if match), key=len)
    if not found:
        return None
    variables = {
        name.removeprefix(found[0]).removesuffix(":0"): tree[name]
        for name in names
        if name.startswith(found[0]) and isinstance(tree[name], np.ndarray)
    }
    for name, array in variables.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Refused(f"{name[:60]} of this VAE-GAN holds values that are not finite")
    return vaegan(_converted(variables), {}, ORIGIN)


def from_canonical(tree: object) -> Weights | None:
    """Return the VAE-GAN of a flat dictionary of canonical names."""
    if not isinstance(tree, dict) or not {"generator.fc.weight", "generator.layer1.weight"} <= set(tree):
        return None
    return vaegan({name: array for name, array in tree.items() if isinstance(array, np.ndarray)}, {}, "VAE-GAN")


def folded(weight: np.ndarray, bias: np.ndarray, norm: Mapping[str, np.ndarray], axis: int) -> tuple[np.ndarray, ...]:
    """Return weight and bias of a layer with its batch normalisation inside, computed in float64.

    Parameters
    ----------
    weight, bias : array, (C,)
    norm : ``gamma``, ``beta``, ``mean``, ``variance``, each (C,)
    axis : which axis of the weight is the output's
    """
    if any(part.shape != bias.shape for part in norm.values()) or weight.shape[axis] != len(bias):
        raise Refused("a batch normalisation of this VAE-GAN has another width than the layer before it")
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        factor = norm["gamma"].astype(np.float64) / np.sqrt(norm["variance"].astype(np.float64) + EPSILON)
        shape = [1] * weight.ndim
        shape[axis] = -1
        shift = (bias.astype(np.float64) - norm["mean"]) * factor + norm["beta"]
        return (weight * factor.reshape(shape)).astype(np.float32), shift.astype(np.float32)


def _converted(variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    result = _convolutions(variables, "generator", "deconv2d", 1)  # W is (3, 3, out, in)
    width = result["generator.layer1.weight"].shape[0]
    weight, bias = _taken(variables, "generator/fc/W", 2), _taken(variables, "generator/fc/b", 1)
    result["generator.fc.weight"] = _channels_first(weight.T, width, 0)
    result["generator.fc.bias"] = _channels_first(bias, width, 0)
    return result | _converted_encoder(variables)


def _converted_encoder(variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    result = _convolutions(variables, "encoder", "conv2d", 0)  # W is (3, 3, in, out)
    if not result:
        return {}
    width = len(list(result.values())[-1])
    result["encoder.fc.weight"] = _channels_first(_taken(variables, "encoder/fc/W", 2).T, width, 1)
    result["encoder.fc.bias"] = _taken(variables, "encoder/fc/b", 1)
    for head in ("mu", "log_sigma"):
        if head == "mu" or f"encoder/variational/{head}/W" in variables:
            result[f"encoder.{head}.weight"] = _taken(variables, f"encoder/variational/{head}/W", 2).T
            result[f"encoder.{head}.bias"] = _taken(variables, f"encoder/variational/{head}/b", 1)
    return result


def _convolutions(variables: Mapping[str, np.ndarray], part: str, kind: str, axis: int) -> dict[str, np.ndarray]:
    """Return the layers of encoder or generator, from the first on, with their batch normalisations inside.

    ``axis``: which one of the converted weights is the output's.
    """
    result: dict[str, np.ndarray] = {}
    for i in range(1, MAX_LAYERS + 2):
        layer = f"{part}/layer{i}"
        if f"{layer}/{kind}/W" not in variables:
            break
        weight = _taken(variables, f"{layer}/{kind}/W", 4).transpose(3, 2, 0, 1)
        made = folded(weight, _taken(variables, f"{layer}/{kind}/b", 1), _norm(variables, layer), axis)
        result[f"{part}.layer{i}.weight"], result[f"{part}.layer{i}.bias"] = made
    return result


def _channels_first(array: np.ndarray, n_channels: int, axis: int) -> np.ndarray:
    """Return the array with the pixels-then-channels order of one axis turned into channels-then-pixels."""
    n_units = array.shape[axis]
    if not n_channels or n_units % n_channels:
        raise Refused(f"a dense layer of this VAE-GAN has {n_units} units beside maps of {n_channels} channels")
    order = np.arange(n_units).reshape(-1, n_channels).T.ravel()
    return np.take(array, order, axis=axis)


def _taken(variables: Mapping[str, np.ndarray], name: str, n_dims: int) -> np.ndarray:
    if name not in variables:
        raise Refused(f"it looks like a VAE-GAN, but lacks {name}")
    if variables[name].ndim != n_dims or variables[name].dtype.kind not in "fiu":
        raise Refused(f"{name} of this VAE-GAN has {variables[name].ndim} dimensions, not {n_dims}")
    return variables[name].astype(np.float32)


def _norm(variables: Mapping[str, np.ndarray], layer: str) -> dict[str, np.ndarray]:
    found = {part: _taken(variables, f"{layer}/bn/{part}", 1) for part in ("gamma", "beta")}
    for part, words in STATISTICS.items():
        endings = tuple(f"/{word}/ExponentialMovingAverage" for word in words)
        names = [name for name in variables if name.startswith(f"{layer}/bn/") and name.endswith(endings)]
        if not names:
            raise Refused(f"it looks like a VAE-GAN, but lacks the moving {part} of {layer}")
        found[part] = _taken(variables, min(names, key=lambda name: (len(name), name)), 1)
    return found
