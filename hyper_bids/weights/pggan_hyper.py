"""HYPER's generator as MXNet wrote it, in its three namings, or without names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Weights
from hyper_bids.weights.pggan_canonical import pggan, repeated

ORIGIN = "HYPER's MXNet generator"


def from_hyper(candidate: Candidate) -> Weights | None:
    """Return the PGGAN of an MXNet file, or None where the names are others'.

    ``save_parameters`` names arrays by the path of child numbers (``5.weight``, ``8.0.bias``), ``save_params`` by
    layer (``conv0_weight``, ``block0_conv1_bias``), ``collect_params().save`` with ``generator0_`` before that, and
    ``export`` with ``arg:``. He's constants are in the weights already.
    """
    arrays = {re.sub(r"^(arg|aux):", "", name): array for name, array in candidate.arrays.items()}
    notes: tuple[str, ...] = ()
    if candidate.settings.get("unnamed"):
        named = _by_order(list(arrays.values()))
        notes = ("The file has no names: its arrays were taken in the order in which MXNet writes them.",)
    else:
        named = _by_child(arrays) or _by_layer(arrays)
    if named is None:
        return None
    named["dense.bias"] = repeated(named["dense.bias"])
    return pggan(named, {}, ORIGIN, notes)


def _by_child(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Children: 1 dense, 2 bias, 5 convolution, 8 .. the blocks (0 and 3 in each), the one after them RGB."""
    if not {"1.weight", "2.b", "5.weight"} <= set(arrays):
        return None
    blocks = sorted({int(match[1]) for name in arrays if (match := re.fullmatch(r"(\d{1,4})\.[03]\.\w+", name))})
    modules = {"1": "dense", "2": "dense", "5": "conv"}
    modules |= {f"{child}.{part}": f"block{i}.conv{part // 3}" for i, child in enumerate(blocks, 1) for part in (0, 3)}
    modules[str(8 + len(blocks))] = f"torgb{len(blocks)}"
    return _renamed(arrays, modules, r"(?P<module>\d{1,4}(\.\d)?)\.(?P<part>weight|bias|b)")


def _by_layer(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Gluon numbers layers of a kind as they are made: the 4-pixel convolution comes before the RGB one."""
    bare = {
        re.sub(r"^(?!block\d)[a-z]+\d*_(?=(dense|bias|conv|block)\d)", "", name): array
        for name, array in arrays.items()
    }
    dense = [name for name in bare if re.fullmatch(r"dense\d{1,4}_weight", name)]
    bias = [name for name in bare if re.fullmatch(r"bias\d{1,4}_b", name)]
    convolutions = sorted({int(m[1]) for name in bare if (m := re.fullmatch(r"conv(\d{1,4})_weight", name))})
    blocks = sorted({int(m[1]) for name in bare if (m := re.fullmatch(r"block(\d{1,4})_conv\d{1,4}_weight", name))})
    if len(bare) != len(arrays) or len(dense) != 1 or len(bias) != 1 or len(convolutions) != 2:
        return None
    modules = {dense[0].partition("_")[0]: "dense", bias[0].partition("_")[0]: "dense"}
    modules |= {f"conv{convolutions[0]}": "conv", f"conv{convolutions[1]}": f"torgb{len(blocks)}"}
    for i, block in enumerate(blocks, 1):
        pattern = rf"block{block}_conv(\d{{1,4}})_weight"
        inner = sorted({int(match[1]) for name in bare if (match := re.fullmatch(pattern, name))})
        modules |= {f"block{block}_conv{number}": f"block{i}.conv{k}" for k, number in enumerate(inner)}
    return _renamed(bare, modules, r"(?P<module>\w+)_(?P<part>weight|bias|b)")


def _renamed(arrays: Mapping[str, np.ndarray], modules: Mapping[str, str], pattern: str) -> dict[str, np.ndarray]:
    """Return the arrays under canonical names; those of no known module keep theirs, for the check to name."""
    result = {}
    for name, array in arrays.items():
        match = re.fullmatch(pattern, name)
        module = modules.get(match["module"]) if match else None
        result[name if module is None else f"{module}.{'weight' if match['part'] == 'weight' else 'bias'}"] = array
    return result


def _by_order(arrays: list[np.ndarray]) -> dict[str, np.ndarray] | None:
    """Weight and bias by turns: dense, convolution, two convolutions a block, RGB."""
    n_blocks, rest = divmod(len(arrays) - 6, 4)
    dimensions = [array.ndim for array in arrays]
    if rest or n_blocks < 0 or dimensions != [2, 1, *([4, 1] * (len(arrays) // 2 - 1))]:
        return None
    blocks = (f"block{i}.conv{k}" for i in range(1, n_blocks + 1) for k in (0, 1))
    modules = ("dense", "conv", *blocks, f"torgb{n_blocks}")
    names = [f"{module}.{part}" for module in modules for part in ("weight", "bias")]
    return dict(zip(names, arrays, strict=True))
