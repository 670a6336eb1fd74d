"""One random StyleGAN2, written as each of the published layouts: the inverse of what the readers do, for the tests."""

from __future__ import annotations

import itertools
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import torch

CHANNELS = (7, 6, 4)
LATENTS, STYLES = 5, 9
BLUR = (np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64).astype(np.float32)


def random_arrays(seed: int = 2, channels=CHANNELS, labels: int = 0, mapping: int = 3) -> dict[str, np.ndarray]:
    """Canonical arrays of a StyleGAN2 of 4 * 2^(len(channels) - 1) pixels."""
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=1.0, shift=0.0):
        return (shift + scale * rng.standard_normal(shape)).astype(np.float32)

    arrays = {"mapping.average": normal(STYLES, scale=0.3), "const": normal(channels[0], 4, 4)}
    before = LATENTS + (STYLES if labels else 0)
    if labels:
        arrays |= {"mapping.embed.weight": normal(STYLES, labels), "mapping.embed.bias": normal(STYLES)}
    for i in range(mapping):
        arrays |= {f"mapping.fc{i}.weight": normal(STYLES, before, scale=before**-0.5)}
        arrays |= {f"mapping.fc{i}.bias": normal(STYLES, scale=0.1)}
        before = STYLES

    def layer(name, inside, out, kernel, size=None):
        arrays.update({
            f"{name}.weight": normal(out, inside, kernel, kernel, scale=(inside * kernel**2) ** -0.5),
            f"{name}.bias": normal(out, scale=0.2),
            f"{name}.affine.weight": normal(inside, STYLES, scale=0.3),
            f"{name}.affine.bias": normal(inside, scale=0.2, shift=1.0),
        })  # fmt: skip
        if size:
            arrays[f"{name}.noise"] = normal(size, size, scale=0.1)

    layer("b4.conv1", channels[0], channels[0], 3, 4)
    layer("b4.torgb", channels[0], 3, 1)
    for i, (narrow, width) in enumerate(itertools.pairwise(channels)):
        size = 8 << i
        layer(f"b{size}.conv0", narrow, width, 3, size)
        layer(f"b{size}.conv1", width, width, 3, size)
        layer(f"b{size}.torgb", width, 3, 1)
    return arrays


def undone(arrays, name: str, multiplier: float = 1.0):
    """Weight and bias of a dense layer without its gain."""
    weight = arrays[f"{name}.weight"]
    return weight * np.float32(weight.shape[1] ** 0.5 / multiplier), arrays[f"{name}.bias"] / np.float32(multiplier)


def sizes(arrays) -> list[int]:
    return sorted(int(name[1:].split(".")[0]) for name in arrays if name.endswith(".conv1.weight"))


def layers(arrays):
    """(name, kind) of all modulated convolutions, from the lowest."""
    for size in sizes(arrays):
        for kind in ("conv0", "conv1", "torgb"):
            if f"b{size}.{kind}.weight" in arrays:
                yield f"b{size}.{kind}", kind


def unscaled(weight: np.ndarray) -> np.ndarray:
    return weight * np.float32(weight[0].size ** 0.5)


def ada(arrays) -> dict[str, np.ndarray]:
    """NVIDIA's PyTorch names, resampling filters included."""
    result = {"synthesis.b4.const": arrays["const"]}
    if "mapping.average" in arrays:
        result["mapping.w_avg"] = arrays["mapping.average"]
    for name in {name.rpartition(".")[0] for name in arrays if name.startswith(("mapping.fc", "mapping.embed"))}:
        weight, bias = undone(arrays, name, 0.01 if ".fc" in name else 1.0)
        result |= {f"{name}.weight": weight, f"{name}.bias": bias}
    for name, kind in layers(arrays):
        target = f"synthesis.{name}"
        weight, bias = undone(arrays, f"{name}.affine")
        result |= {f"{target}.affine.weight": weight, f"{target}.affine.bias": bias}
        weight = arrays[f"{name}.weight"]
        result |= {f"{target}.weight": unscaled(weight) if kind == "torgb" else weight}
        result |= {f"{target}.bias": arrays[f"{name}.bias"], f"synthesis.{name[:-6]}.resample_filter": BLUR}
        if f"{name}.noise" in arrays:
            result |= {
                f"{target}.noise_const": arrays[f"{name}.noise"] * 4,
                f"{target}.noise_strength": np.float32(0.25),
            }
            result[f"{target}.resample_filter"] = BLUR
    return {name: np.asarray(array) for name, array in result.items()}


def rosinality(arrays, noise: bool = True) -> dict[str, np.ndarray]:
    """rosinality's names; every convolution has its gain at run time."""
    result = {"input.input": arrays["const"][None]}
    for i in range(sum(name.startswith("mapping.fc") for name in arrays) // 2):
        result[f"style.{i + 1}.weight"], result[f"style.{i + 1}.bias"] = undone(arrays, f"mapping.fc{i}", 0.01)
    number = 0
    for name, kind in layers(arrays):
        level = sizes(arrays).index(int(name[1:].split(".")[0]))
        target = {"torgb": f"to_rgbs.{level - 1}", "conv0": f"convs.{2 * level - 2}", "conv1": f"convs.{2 * level - 1}"}
        target = {"conv1": "conv1", "torgb": "to_rgb1"}[kind] if level == 0 else target[kind]
        weight, bias = undone(arrays, f"{name}.affine")
        result[f"{target}.conv.weight"] = unscaled(arrays[f"{name}.weight"])[None]
        result |= {f"{target}.conv.modulation.weight": weight, f"{target}.conv.modulation.bias": bias}
        if kind == "torgb":
            result[f"{target}.bias"] = arrays[f"{name}.bias"].reshape(1, -1, 1, 1)
            continue
        result |= {f"{target}.activate.bias": arrays[f"{name}.bias"], f"{target}.noise.weight": np.float32([0.25])}
        if kind == "conv0":
            result[f"{target}.conv.blur.kernel"] = BLUR * 4
        if noise:
            result[f"noises.noise_{number}"] = arrays[f"{name}.noise"][None, None] * 4
        number += 1
    return result


def tensorflow(arrays) -> dict[str, dict[str, np.ndarray]]:
    """TensorFlow's variables of the networks ``synthesis``, ``mapping`` and the one around them (``""``)."""
    synthesis, mapping = {"4x4/Const/const": arrays["const"][None], "lod": np.float32(0)}, {}
    for i in range(sum(name.startswith("mapping.fc") for name in arrays) // 2):
        weight, bias = undone(arrays, f"mapping.fc{i}", 0.01)
        mapping |= {f"Dense{i}/weight": weight.T.copy(), f"Dense{i}/bias": bias}
    if "mapping.embed.weight" in arrays:
        weight, bias = undone(arrays, "mapping.embed")
        mapping |= {"LabelEmbed/weight": weight.T.copy(), "LabelEmbed/bias": bias}
    number = 0
    for name, kind in layers(arrays):
        size = int(name[1:].split(".")[0])
        part = {"torgb": "ToRGB", "conv0": "Conv0_up", "conv1": "Conv" if size == 4 else "Conv1"}[kind]
        target = f"{size}x{size}/{part}"
        weight = unscaled(arrays[f"{name}.weight"]).transpose(2, 3, 1, 0)
        weight = weight[::-1, ::-1] if kind == "conv0" else weight
        style, bias = undone(arrays, f"{name}.affine")
        synthesis |= {f"{target}/weight": weight.copy(), f"{target}/bias": arrays[f"{name}.bias"]}
        synthesis |= {f"{target}/mod_weight": style.T.copy(), f"{target}/mod_bias": bias - 1}
        if kind != "torgb":
            synthesis[f"{target}/noise_strength"] = np.float32(0.25)
            synthesis[f"noise{number}"] = arrays[f"{name}.noise"][None, None] * 4
            number += 1
    around = {"dlatent_avg": arrays["mapping.average"], "lod": np.float32(0)}
    return {"synthesis": synthesis, "mapping": mapping, "": around}


# --- pickles ----------------------------------------------------------------------------------------------------------


class Call:
    """Pickles as a call of a function with one argument."""

    def __init__(self, function, argument):
        self.call = function, (argument,)

    def __reduce__(self):
        return self.call


def reconstruct(module: str = "torch_utils.persistence"):
    """NVIDIA's function that rebuilds a network (here one that cannot), by the name that pickles give it."""
    parent = module.partition(".")[0]
    sys.modules.setdefault(parent, types.ModuleType(parent))
    fake = sys.modules.setdefault(module, types.ModuleType(module))
    if not hasattr(fake, "_reconstruct_persistent_obj"):

        def _reconstruct_persistent_obj(meta):
            raise SystemExit("source code was run")

        _reconstruct_persistent_obj.__module__ = module
        _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
        fake._reconstruct_persistent_obj = _reconstruct_persistent_obj
    return fake._reconstruct_persistent_obj


def snapshot(state: dict[str, np.ndarray], class_name: str = "Generator", source: str = "raise SystemExit", **facts):
    """A network as NVIDIA's `persistence` pickles it; ``facts``: of all layers, as ``conv_clamp``."""
    inner: dict[str, dict] = {}
    own: dict[str, torch.Tensor] = {}
    for name, array in state.items():
        head, _, rest = name.partition(".")
        if rest:
            inner.setdefault(head, {})[rest] = array
        else:
            own[name] = torch.from_numpy(np.array(array, order="C"))
    parameters = {name: torch.nn.Parameter(t) for name, t in own.items() if name in ("weight", "bias", "const")}
    module = {
        "training": False, "_parameters": parameters, "_backward_hooks": {}, **facts,
        "_buffers": {name: tensor for name, tensor in own.items() if name not in parameters} | {"nothing": None},
        "_modules": {name: snapshot(part, "Layer", source, **facts) for name, part in inner.items()},
    }  # fmt: skip
    if class_name == "Layer" and "weight" in own and own["weight"].ndim == 2:
        module["bias_gain"] = 0.01
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": class_name, "state": module}
    return Call(reconstruct(), meta)


def tensorflow_network(parts: dict[str, dict[str, np.ndarray]], **settings):
    """NVIDIA's TensorFlow network with components."""
    import pggan_files

    made = {
        name: pggan_files.tensorflow_network(variables, f"G_{name or 'main'}", "dnnlib.tflib.network", **settings)
        for name, variables in parts.items()
    }
    for network in made.values():
        network.state = {**network.state, "version": 4, "components": {}}
    made[""].state["components"] = {name: network for name, network in made.items() if name}
    return made[""]


def write_pickle(path: Path, tree, protocol: int = 4) -> Path:
    for name in ("dnnlib", "dnnlib.tflib"):
        sys.modules.setdefault(name, types.ModuleType(name))
    path.write_bytes(pickle.dumps(tree, protocol=protocol))
    return path
