"""One random PGGAN, written as each of the published layouts: the inverse of what the readers do, for the tests."""

from __future__ import annotations

import itertools
import pickle
import struct
import sys
import types
from pathlib import Path

import numpy as np

CHANNELS = (6, 5, 4, 3)
LATENTS = 7
SIZES = {"<f4": 0, "<f8": 1, "<f2": 2, "u1": 3, "<i4": 4}
FIXTURES = "fixtures"


def random_arrays(seed: int = 5, channels=CHANNELS, latents: int = LATENTS, colours: int = 3) -> dict[str, np.ndarray]:
    """Canonical arrays of a PGGAN of len(channels) levels, an RGB layer at each."""
    rng = np.random.default_rng(seed)

    def weight(*shape):
        return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    def bias(n):
        return (0.2 * rng.standard_normal(n)).astype(np.float32)

    first = channels[0]
    arrays = {"dense.weight": weight(16 * first, latents), "dense.bias": np.repeat(bias(first), 16)}
    arrays |= {"conv.weight": weight(first, first, 3, 3), "conv.bias": bias(first)}
    for i, (before, width) in enumerate(itertools.pairwise(channels), 1):
        arrays |= {f"block{i}.conv0.weight": weight(width, before, 3, 3), f"block{i}.conv0.bias": bias(width)}
        arrays |= {f"block{i}.conv1.weight": weight(width, width, 3, 3), f"block{i}.conv1.bias": bias(width)}
    for i, width in enumerate(channels):
        arrays |= {f"torgb{i}.weight": weight(colours, width, 1, 1), f"torgb{i}.bias": bias(colours)}
    return arrays


def n_levels(arrays) -> int:
    return sum(name.startswith("torgb") and name.endswith("weight") for name in arrays)


def he(shape, gain: float = 2.0) -> float:
    return np.sqrt(gain / np.prod(shape[1:]))


# --- MXNet ------------------------------------------------------------------------------------------------------------


def mxnet_record(array: np.ndarray, version: int = 2) -> bytes:
    head = {
        0: struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape),
        1: struct.pack(f"<Ii{array.ndim}q", 0xF993FAC8, array.ndim, *array.shape),
        2: struct.pack(f"<Iii{array.ndim}q", 0xF993FAC9, 0, array.ndim, *array.shape),
        3: struct.pack(f"<Iii{array.ndim}q", 0xF993FACA, 0, array.ndim, *array.shape),
    }[version]
    return head + struct.pack("<iii", 1, 0, SIZES[array.dtype.str.replace("|", "")]) + array.tobytes()


def write_mxnet(path: Path, arrays: dict[str, np.ndarray], version: int = 2, named: bool = True) -> Path:
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays)), *(mxnet_record(a, version) for a in arrays.values())]
    names = [name.encode() for name in arrays] if named else []
    parts += [struct.pack("<Q", len(names)), *(struct.pack("<Q", len(name)) + name for name in names)]
    path.write_bytes(b"".join(parts))
    return path


def mxnet_names(arrays: dict[str, np.ndarray], naming: str) -> dict[str, np.ndarray]:
    """Only the last RGB layer; names of `save_parameters` (child), `save_params` (layer), `collect_params` (full)."""
    top = n_levels(arrays) - 1
    modules = {"dense": ("1", "dense0"), "conv": ("5", "conv0")}
    for i in range(1, top + 1):
        modules |= {f"block{i}.conv{k}": (f"{7 + i}.{3 * k}", f"block{i - 1}_conv{k}") for k in (0, 1)}
    modules[f"torgb{top}"] = (str(8 + top), "conv1")
    result = {}
    for module, (child, layer) in modules.items():
        weight, bias = arrays[f"{module}.weight"], arrays[f"{module}.bias"]
        bias = bias[::16] if module == "dense" else bias
        names = {"child": (f"{child}.weight", f"{child}.bias"), "layer": (f"{layer}_weight", f"{layer}_bias")}
        if module == "dense":
            names = {"child": ("1.weight", "2.b"), "layer": ("dense0_weight", "bias0_b")}
        kind = "child" if naming == "child" else "layer"
        prefix = {"full": "generator3_", "export": "arg:generator0_"}.get(naming, "")
        result |= {prefix + names[kind][0]: weight, prefix + names[kind][1]: bias}
    return result


# --- TensorFlow -------------------------------------------------------------------------------------------------------


def tensorflow_variables(arrays, fused: bool = False, scaled: bool = True) -> dict[str, np.ndarray]:
    top = n_levels(arrays) - 1
    result = {"lod": np.float32(0.0)}
    for name, array in arrays.items():
        module, _, part = name.rpartition(".")
        if module == "dense":
            variable = "4x4/Dense"
            value = array.T / (he((1, 16 * array.shape[1])) if scaled else 1) if part == "weight" else array[::16]
        elif module.startswith("torgb"):
            variable = f"ToRGB_lod{top - int(module[5:])}"
            value = array.transpose(2, 3, 1, 0) / (he(array.shape, 1.0) if scaled else 1) if part == "weight" else array
        else:
            up = fused and module.endswith("conv0")
            level = 0 if module == "conv" else int(module[5 : module.index(".")])
            layer = {"conv": "Conv"}.get(module, "Conv0_up" if up else f"Conv{module[-1]}")
            variable = f"{4 << level}x{4 << level}/{layer}"
            value = array
            if part == "weight":
                value = array / (he(array.shape) if scaled else 1)
                value = value[:, :, ::-1, ::-1].transpose(2, 3, 0, 1) if up else value.transpose(2, 3, 1, 0)
        result[f"{variable}/{part}"] = np.asarray(value, np.float32)
    return result


def tensorflow_network(variables, name: str = "G_paper", module: str = "tfutil", **settings):
    """An object that pickles as NVIDIA's `Network`, with source code that would write a file."""
    fake = sys.modules.setdefault(module, types.ModuleType(module))
    if not hasattr(fake, "Network"):
        fake.Network = type("Network", (), {"__module__": module, "__getstate__": lambda self: self.state})
    network = fake.Network()
    network.state = {
        "version": 2,
        "name": name,
        "static_kwargs": dict(settings),
        "build_module_src": "raise SystemExit('source code was run')",
        "build_func_name": name,
        "variables": list(variables.items()),
    }
    return network


def write_pickle(path: Path, tree, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(tree, protocol=protocol))
    return path


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def torch_layers(arrays, style: str, fused: bool = False) -> dict[str, np.ndarray]:
    """``interfacegan``, its ``first`` version (counts from 1, one RGB layer), or ``genforce``."""
    top = n_levels(arrays) - 1
    result = {} if style == "first" else {"lod": np.float32(0.0)}
    offset = 1 if style == "first" else 0
    for name, array in arrays.items():
        module, _, part = name.rpartition(".")
        if module.startswith("torgb"):
            level = int(module[5:])
            if style == "first" and level != top:
                continue
            target = f"output_{4 << level}x{4 << level}" if style == "first" else f"output{level}"
            value = array / he(array.shape, 1.0) if part == "weight" else array
        elif module == "dense":
            target, value = f"layer{offset}", array[::16]
            if part == "weight":
                value = array / he((1, 16 * array.shape[1]))
                value = value.reshape(-1, 4, 4, array.shape[1]).transpose(0, 3, 1, 2)[:, :, ::-1, ::-1]
        else:
            level, which = (0, 1) if module == "conv" else (int(module[5 : module.index(".")]), int(module[-1]))
            target, value = f"layer{2 * level + which + offset}", array
            if part == "weight":
                value = array / he(array.shape)
                if fused and which == 0:
                    order = (1, 0, 2, 3) if style == "genforce" else (2, 3, 1, 0)
                    value = value[:, :, ::-1, ::-1].transpose(order)
                    result[f"{target}.weight"] = np.ascontiguousarray(value, np.float32)
                    continue
        infix = "" if style == "genforce" else {"weight": ".conv", "bias": ".wscale"}[part]
        result[f"{target}{infix}.{part}"] = np.ascontiguousarray(value, np.float32)
    return result


def ganzoo_state(arrays, infix: str = ".module", equalised: bool = True) -> dict[str, np.ndarray]:
    modules = {"dense": "formatLayer", "conv": "groupScale0.0"}
    result = {}
    for name, array in arrays.items():
        module, _, part = name.rpartition(".")
        if module.startswith("torgb"):
            target = f"toRGBLayers.{module[5:]}"
        elif module.startswith("block"):
            level, which = module[5:].split(".conv")
            target = f"scaleLayers.{int(level) - 1}.{which}"
        else:
            target = modules[module]
        scale = he(arrays[f"{module}.weight"].shape) if equalised else 1.0
        result[f"{target}{infix}.{part}"] = np.asarray(array / scale, np.float32)
    return result


def tensors(arrays, dtype=None):
    import torch

    made = {name: torch.tensor(array) for name, array in arrays.items()}
    return made if dtype is None else {name: tensor.to(dtype) for name, tensor in made.items()}


def write_torch(path: Path, tree, legacy: bool = False) -> Path:
    import torch

    torch.save(tree, path, _use_new_zipfile_serialization=not legacy)
    return path


def fake_config(**settings):
    """An object that pickles as pytorch_GAN_zoo's ``BaseConfig``."""
    for module in ("models", "models.utils", "models.utils.config"):
        sys.modules.setdefault(module, types.ModuleType(module))
    fake = sys.modules["models.utils.config"]
    if not hasattr(fake, "BaseConfig"):
        fake.BaseConfig = type("BaseConfig", (), {"__module__": "models.utils.config"})
    config = fake.BaseConfig()
    vars(config).update(settings)
    return config
