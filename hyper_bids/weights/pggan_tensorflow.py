"""NVIDIA's TensorFlow PGGAN (``G_paper``): variables as `tfutil.Network` pickles them, or exported by name."""

from __future__ import annotations

import re

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Refused, Weights
from hyper_bids.weights.pggan_canonical import pggan, repeated

ORIGIN = "NVIDIA's TensorFlow PGGAN"
DENSE = "4x4/Dense/weight"


def from_tensorflow(candidate: Candidate) -> Weights | None:
    """Return the PGGAN of TensorFlow's variables, or None where the names are others'.

    Stored weights are multiplied by He's constant at run time, ``sqrt(2 / fan_in)`` and ``1 / sqrt(fan_in)`` for RGB,
    unless the network was built with ``use_wscale=False``; here it goes into them. Fused enlarging (a transposed
    convolution with a smeared kernel) equals nearest-neighbour enlarging and a convolution with the kernel turned
    round, in and out swapped.
    """
    arrays = candidate.arrays
    if DENSE not in arrays or not any(name.startswith("ToRGB_lod") for name in arrays):
        return None
    settings = candidate.settings
    scaled = bool(settings.get("use_wscale", True))
    n_levels = 1 + max(int(m[1]) for name in arrays if (m := re.fullmatch(r"ToRGB_lod(\d{1,2})/\w+", name)))
    result: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if name != "lod":
            result |= _converted(name, np.asarray(array), n_levels, scaled)
    options = {
        "epsilon": settings.get("pixelnorm_epsilon", 1e-8),
        "normalize_latents": settings.get("normalize_latents", True),
        "pixelnorm": settings.get("use_pixelnorm", True),
        "leak": 0.2 if settings.get("use_leakyrelu", True) else 0.0,
        "lod": np.asarray(arrays.get("lod", 0.0)).reshape(-1)[:1].sum(),
        "n_labels": settings.get("label_size") or 0,
    }
    fused = any("Conv0_up" in name for name in arrays)
    code = "Its source code was not run." if candidate.kind.startswith("tfutil.") else ""
    notes = (code, f"Network {candidate.member}." if candidate.member else "", "Fused enlarging." if fused else "")
    return pggan(result, options, ORIGIN, tuple(filter(None, notes)))


def _converted(name: str, array: np.ndarray, n_levels: int, scaled: bool) -> dict[str, np.ndarray]:
    match = re.fullmatch(r"(?:(\d{1,5})x\1/)?(Dense|Conv|Conv0|Conv0_up|Conv1|ToRGB_lod(\d{1,2}))/(weight|bias)", name)
    if match is None:
        raise Refused(f"it looks like NVIDIA's PGGAN, but its variable {name[:60]} is unknown")
    resolution, layer, lod, part = match.groups()
    level = n_levels - 1 - int(lod) if lod is not None else int(resolution or 4).bit_length() - 3
    target = {"Dense": "dense", "Conv": "conv", "Conv1": f"block{level}.conv1"}.get(layer, f"block{level}.conv0")
    target = f"torgb{level}" if lod is not None else target
    if part == "bias":  # biases are not scaled
        return {f"{target}.bias": repeated(array) if layer == "Dense" else array}
    if array.ndim != (2 if layer == "Dense" else 4):
        raise Refused(f"{name} of this PGGAN has {array.ndim} dimensions")
    return {f"{target}.weight": _weight(layer, array.astype(np.float32), scaled)}


def _weight(layer: str, array: np.ndarray, scaled: bool) -> np.ndarray:
    if layer == "Dense":  # (in, 16 C0), reshaped to (C0, 4, 4)
        return (array * _he(16 * array.shape[0], 2.0, scaled)).T
    if layer == "Conv0_up":  # (3, 3, out, in)
        return (array * _he(9 * array.shape[3], 2.0, scaled))[::-1, ::-1].transpose(2, 3, 0, 1)
    fan_in = array.shape[0] * array.shape[1] * array.shape[2]
    return (array * _he(fan_in, 1.0 if layer.startswith("ToRGB") else 2.0, scaled)).transpose(3, 2, 0, 1)


def _he(fan_in: int, gain: float, scaled: bool) -> np.float32:
    return np.float32((gain / max(fan_in, 1)) ** 0.5 if scaled else 1.0)
