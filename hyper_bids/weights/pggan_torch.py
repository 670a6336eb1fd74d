"""PGGANs of the PyTorch repositories: interfacegan, genforce (also SeFa's), pytorch_GAN_zoo; and hyper's own names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Refused, Weights
from hyper_bids.weights.pggan_canonical import pggan, repeated

ZOO_LINEAR = ("WGANGP", "Logistic")
ZOO_TANH = ("MSE", "DCGAN")


def from_canonical(candidate: Candidate) -> Weights | None:
    """Return the PGGAN of a list that has hyper's own names already, or None."""
    if not {"dense.weight", "dense.bias", "conv.weight"} <= set(candidate.arrays):
        return None
    return pggan(candidate.arrays, candidate.settings, "canonical arrays")


def from_interfacegan(candidate: Candidate) -> Weights | None:
    """Return the PGGAN of ``pggan_celebahq.pth``, or None where the names are others'.

    Its first layer is a 4 x 4 convolution: ``layer0``, or ``layer1`` in the repository's first version, which
    colours only the last level. A fused layer has no ``.conv``. A level of detail between two is rounded up, as
    the repository's own code does.
    """
    arrays = candidate.arrays
    first = next((i for i in (0, 1) if np.ndim(arrays.get(f"layer{i}.conv.weight", 0)) == 4), None)
    if first is None or not any(name.startswith("output") for name in arrays):
        return None
    flat = {re.sub(r"\.(conv|wscale)\.", ".", name): array for name, array in arrays.items()}
    fused = {name.partition(".")[0] for name in arrays if re.fullmatch(r"layer\d{1,3}\.weight", name)}
    lod = math.ceil(_number(arrays.get("lod", 0.0)))
    notes = (*_told(candidate), *(["Fused enlarging."] if fused else []))
    return _from_layers(flat, first, fused, (3, 2, 0, 1), lod, "interfacegan's PyTorch PGGAN", notes)


def from_genforce(candidate: Candidate) -> Weights | None:
    """Return the PGGAN of ``pggan_celebahq1024.pth``, or None where the names are others'.

    The files do not say whether enlarging is fused: it shows where a layer changes the width. Where none does, the
    usual unfused form is assumed.
    """
    arrays = candidate.arrays
    is_generator = "layer0.weight" in arrays and any(name.startswith("output") for name in arrays)
    if not is_generator or arrays["layer0.weight"].ndim != 4:
        return None
    enlarging = [name.partition(".")[0] for name in arrays if re.fullmatch(r"layer(?!0\.)\d{0,2}[02468]\.weight", name)]
    swapped = [
        layer for layer in enlarging
        if f"{layer}.bias" in arrays and arrays[f"{layer}.weight"].shape[:1] != arrays[f"{layer}.bias"].shape
    ]  # fmt: skip
    fused = set(enlarging) if swapped else set()
    notes = (*_told(candidate), *(["Fused enlarging."] if fused else []))
    lod = _number(arrays.get("lod", 0.0))
    return _from_layers(arrays, 0, fused, (1, 0, 2, 3), lod, "genforce's PyTorch PGGAN", notes)


def _from_layers(
    arrays: Mapping[str, np.ndarray], first: int, fused: set[str], order: tuple[int, ...], lod: float, origin: str,
    notes: tuple[str, ...],
) -> Weights:  # fmt: skip
    """Convert ``layer{j}``, ``output{i}`` and ``output_{r}x{r}``; ``order`` makes a fused kernel (out, in, y, x)."""
    result: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        match = re.fullmatch(r"(?:(layer|output)(\d{1,3})|(output)_(\d{1,5})x\4)\.(weight|bias)", name)
        if name == "lod":
            continue
        if match is None:
            raise Refused(f"it looks like {origin}, but its array {name[:60]} is unknown")
        kind, number, part = match[1] or match[3], int(match[2] or 0), match[5]
        if kind == "output":
            level = number if match[4] is None else int(match[4]).bit_length() - 3
            result[f"torgb{level}.{part}"] = array * _he(array, 1.0) if part == "weight" else array
            continue
        level, which = divmod(number - first, 2)
        if level == 0 and which == 0:
            result[f"dense.{part}"] = _dense(array) if part == "weight" else repeated(array)
            continue
        if part == "weight" and name.partition(".")[0] in fused:
            if array.ndim != 4:
                raise Refused(f"{name} of this PGGAN has {array.ndim} dimensions")
            array = np.flip(array.transpose(order), (2, 3))
        module = "conv" if level == 0 else f"block{level}.conv{which}"
        result[f"{module}.{part}"] = array * _he(array, 2.0) if part == "weight" else array
    return pggan(result, {"lod": lod}, origin, notes)


def _dense(array: np.ndarray) -> np.ndarray:
    """Return the matrix ``(16 C0, K)`` of a 4 x 4 convolution ``(C0, K, 4, 4)``, padding 3, of a map of one pixel."""
    if array.ndim != 4 or array.shape[2:] != (4, 4):
        raise Refused(f"the first layer of this PGGAN has shape {array.shape}, not (C, K, 4, 4)")
    matrix = np.flip(array, (2, 3)).transpose(0, 2, 3, 1).reshape(16 * array.shape[0], array.shape[1])
    return matrix * np.float32(math.sqrt(2.0 / max(16 * array.shape[1], 1)))


def from_ganzoo(candidate: Candidate) -> Weights | None:
    """Return the PGGAN of pytorch_GAN_zoo, or None where the names are others'.

    Every weight *and bias* is multiplied by ``sqrt(2 / fan_in)``, RGB and dense layer included. ``config`` says what
    the arrays do not; without it (a bare state dictionary) the zoo's defaults hold.
    """
    arrays, config = candidate.arrays, candidate.settings
    if "formatLayer.weight" not in arrays or "formatLayer.bias" not in arrays:
        return None
    scaled = bool(config.get("equalizedlR", True))
    levels = 1 + max((int(m[1]) for name in arrays if (m := re.match(r"scaleLayers\.(\d{1,2})\.", name))), default=-1)
    result: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        module, _, part = name.rpartition(".")
        target = _zoo_module(module)
        weight = arrays.get(f"{module}.weight")
        if target is None or part not in ("weight", "bias") or weight is None:
            raise Refused(f"it looks like the GAN-zoo's PGGAN, but its array {name[:60]} is unknown")
        result[f"{target}.{part}"] = array * (_he(weight, 2.0) if scaled else np.float32(1.0))
    options = {
        "leak": config.get("leakyReluLeak", 0.2),
        "pixelnorm": config.get("perChannelNormalization", True),
        "normalize_latents": config.get("perChannelNormalization", True),
        "tanh": _zoo_tanh(config.get("lossCriterion", "WGANGP")),
        "lod": _number(config.get("alpha", 0.0)) if levels else 0.0,
        "n_labels": config.get("categoryVectorDim") or 0,
    }
    notes = (*_told(candidate), *([] if config else ["No config beside the arrays: the GAN-zoo's defaults are used."]))
    return pggan(result, options, "pytorch_GAN_zoo's PGGAN", notes)


def _zoo_module(module: str) -> str | None:
    fixed = {"formatLayer": "dense", "groupScale0.0": "conv"}
    if (match := re.fullmatch(r"scaleLayers\.(\d{1,2})\.([01])", module)) is not None:
        return f"block{int(match[1]) + 1}.conv{match[2]}"
    match = re.fullmatch(r"toRGBLayers\.(\d{1,2})", module)
    return fixed.get(module) if match is None else f"torgb{match[1]}"


def _zoo_tanh(loss: object) -> bool:
    if loss not in (*ZOO_LINEAR, *ZOO_TANH):
        known = ", ".join(ZOO_LINEAR + ZOO_TANH)
        raise Refused(f"its GAN-zoo config has the loss {str(loss)[:20]!r}; {known} are known")
    return loss in ZOO_TANH


def _he(weight: np.ndarray, gain: float) -> np.float32:
    return np.float32(math.sqrt(gain / max(math.prod(weight.shape[1:]), 1)))


def _number(value: object) -> float:
    values = np.asarray(value)
    if values.size != 1 or values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise Refused(f"its level of detail is {str(value)[:20]}, no number")
    return float(values.reshape(()))


def _told(candidate: Candidate) -> list[str]:
    return [f"Network {candidate.member}."] if candidate.member else []
