"""Feature networks' weight files with random numbers: thin, no two widths equal where a transpose could hide."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import torch

from hyper_bids.weights.efficientnet_canonical import DEPTH_OF_B1, KERNELS
from hyper_bids.weights.inception_canonical import BLOCKS, STEM
from hyper_bids.weights.resnet_canonical import BLOCKS as RESNET_BLOCKS
from hyper_bids.weights.vgg_canonical import CONVOLUTIONS, TORCH_CONVOLUTIONS

Shapes = dict[str, tuple[int, ...]]


def random_arrays(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Random arrays under PyTorch's names that keep activations near 1: He's weights, batch norms near identity."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            arrays[name] = np.array(7, dtype=np.int64)
        elif name.endswith(("running_var", "moving_variance")):
            arrays[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        elif len(shape) < 2:
            centre = 1.0 if name.endswith("weight") else 0.0
            arrays[name] = (centre + 0.1 * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)
        else:
            scale = np.sqrt(2 / np.prod(shape[1:]))
            arrays[name] = (scale * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)
    return arrays


def norm(prefix: str, width: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{part}": (width,) for part in parts} | {f"{prefix}.num_batches_tracked": ()}


def alexnet_shapes() -> Shapes:
    widths, before, shapes = {0: (4, 11), 3: (5, 5), 6: (6, 3), 8: (7, 3), 10: (3, 3)}, 3, {}
    for number, (width, kernel) in widths.items():
        shapes |= {f"features.{number}.weight": (width, before, kernel, kernel), f"features.{number}.bias": (width,)}
        before = width
    for number, (width, inputs) in {1: (9, 36 * before), 4: (8, 9), 6: (2, 8)}.items():
        shapes |= {f"classifier.{number}.weight": (width, inputs), f"classifier.{number}.bias": (width,)}
    return shapes


def vgg16_shapes() -> Shapes:
    before, shapes = 3, {}
    for number, name in TORCH_CONVOLUTIONS.items():
        width = 2 + int(name[4])
        shapes |= {f"features.{number}.weight": (width, before, 3, 3), f"features.{number}.bias": (width,)}
        before = width
    for number, (width, inputs) in {0: (9, 49 * before), 3: (8, 9), 6: (5, 8)}.items():
        shapes |= {f"classifier.{number}.weight": (width, inputs), f"classifier.{number}.bias": (width,)}
    return shapes


def resnet_shapes(classes: int | None) -> Shapes:
    shapes: Shapes = {"conv1.weight": (5, 3, 7, 7), **norm("bn1", 5)}
    before = 5
    for stage, n_blocks in enumerate(RESNET_BLOCKS, start=1):
        middle, out = 2 + stage, 6 + 2 * stage
        for block in range(n_blocks):
            prefix = f"layer{stage}.{block}"
            for k, shape in enumerate(((middle, before, 1, 1), (middle, middle, 3, 3), (out, middle, 1, 1)), start=1):
                shapes |= {f"{prefix}.conv{k}.weight": shape, **norm(f"{prefix}.bn{k}", shape[0])}
            if block == 0:
                shapes |= {f"{prefix}.downsample.0.weight": (out, before, 1, 1), **norm(f"{prefix}.downsample.1", out)}
            before = out
    return shapes if classes is None else shapes | {"fc.weight": (classes, before), "fc.bias": (classes,)}


def inception_shapes() -> Shapes:
    widths: dict[str, int] = {}
    shapes: Shapes = {}

    def conv(name: str, inputs: int, kernel: tuple[int, int]) -> int:
        widths[name] = 2 + len(widths) % 3
        shapes.update({f"{name}.conv.weight": (widths[name], inputs, *kernel), **norm(f"{name}.bn", widths[name])})
        return widths[name]

    for name, source, kernel in STEM:
        before = conv(name, widths[source] if source else 3, kernel)
    for block, parts in BLOCKS.items():
        for name, source, kernel in parts.branches:
            conv(f"{block}.{name}", widths[f"{block}.{source}"] if source else before, kernel)
        own = sum(widths[f"{block}.{name}"] for name in parts.outputs)
        before = own + before if parts.halves else own
    shapes |= {"AuxLogits.fc.weight": (3, 2), "AuxLogits.fc.bias": (3,)}
    return shapes | {"fc.weight": (3, before), "fc.bias": (3,)}


def efficientnet_shapes(depth: tuple[int, ...] = DEPTH_OF_B1) -> Shapes:
    shapes: Shapes = {"features.0.0.weight": (4, 3, 3, 3), **norm("features.0.1", 4)}
    before = 4
    for stage, n_blocks in enumerate(depth, start=1):
        for block in range(n_blocks):
            prefix, out, inside = f"features.{stage}.{block}.block", 2 + stage, before if stage == 1 else 2 * before
            kernel, k = KERNELS[stage - 1], 0
            if stage > 1:
                shapes |= {f"{prefix}.0.0.weight": (inside, before, 1, 1), **norm(f"{prefix}.0.1", inside)}
                k = 1
            shapes |= {f"{prefix}.{k}.0.weight": (inside, 1, kernel, kernel), **norm(f"{prefix}.{k}.1", inside)}
            shapes |= {f"{prefix}.{k + 1}.fc1.weight": (3, inside, 1, 1), f"{prefix}.{k + 1}.fc1.bias": (3,)}
            shapes |= {f"{prefix}.{k + 1}.fc2.weight": (inside, 3, 1, 1), f"{prefix}.{k + 1}.fc2.bias": (inside,)}
            shapes |= {f"{prefix}.{k + 2}.0.weight": (out, inside, 1, 1), **norm(f"{prefix}.{k + 2}.1", out)}
            before = out
    shapes |= {"features.8.0.weight": (13, before, 1, 1), **norm("features.8.1", 13)}
    return shapes | {"classifier.1.weight": (3, 13), "classifier.1.bias": (3,)}


def clip_shapes(wide: int = 64, patch: int = 4, side: int = 3) -> Shapes:
    places = side * side + 1
    shapes: Shapes = {
        "visual.class_embedding": (wide,), "visual.positional_embedding": (places, wide), "visual.proj": (wide, 11),
        "visual.conv1.weight": (wide, 3, patch, patch), "visual.ln_pre.weight": (wide,), "visual.ln_pre.bias": (wide,),
        "visual.ln_post.weight": (wide,), "visual.ln_post.bias": (wide,), "logit_scale": (), "ln_final.bias": (wide,),
    }  # fmt: skip
    for block in range(2):
        prefix = f"visual.transformer.resblocks.{block}"
        shapes |= {f"{prefix}.attn.in_proj_weight": (3 * wide, wide), f"{prefix}.attn.in_proj_bias": (3 * wide,)}
        for name, shape in (("attn.out_proj", (wide, wide)), ("mlp.c_fc", (4 * wide, wide)),
                            ("mlp.c_proj", (wide, 4 * wide))):  # fmt: skip
            shapes |= {f"{prefix}.{name}.weight": shape, f"{prefix}.{name}.bias": shape[:1]}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"{prefix}.{name}.weight": (wide,), f"{prefix}.{name}.bias": (wide,)}
    return shapes


def write_torch(path: Path, arrays: Mapping[str, np.ndarray], prefix: str = "") -> Path:
    torch.save({prefix + name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, path)
    return path


def write_pickle(path: Path, arrays: Mapping[str, np.ndarray], protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(dict(arrays), protocol=protocol))
    return path


def vggface_arrays(seed: int = 4, side: int = 2, dense: tuple[int, ...] = (40, 31, 9)) -> dict[str, np.ndarray]:
    """Keras's names, kernels height x width x in x out, dense kernels in x out."""
    rng = np.random.default_rng(seed)
    arrays, before = {}, 3
    for name in CONVOLUTIONS:
        width = 3 + int(name[4])
        arrays[f"{name}/kernel"] = (rng.standard_normal((3, 3, before, width)) * np.sqrt(2 / 9 / before)).astype("f4")
        arrays[f"{name}/bias"] = rng.standard_normal(width).astype("f4")
        before = width
    before *= side * side
    for name, width in zip(("fc6", "fc7", "fc8"), dense, strict=False):
        arrays[f"{name}/kernel"] = (rng.standard_normal((before, width)) * np.sqrt(2 / before)).astype("f4")
        arrays[f"{name}/bias"] = rng.standard_normal(width).astype("f4")
        before = width
    return arrays


def write_keras(path: Path, arrays: Mapping[str, np.ndarray], *, whole_model: bool = False, **how: object) -> Path:
    """As Keras's ``save_weights``: a group per layer, in which the weight's own name nests; ``how`` they are stored."""
    with h5py.File(path, "w") as file:
        file.attrs["backend"] = "tensorflow"
        root = file.create_group("model_weights") if whole_model else file
        root.create_group("input_1").attrs["weight_names"] = np.array([])
        for name, array in arrays.items():
            layer = name.rpartition("/")[0]
            root.require_group(layer).create_dataset(f"{name}:0", data=array, **how)
    return path


def thin_file(name: str, folder: Path, seed: int = 6) -> Path:
    """A small file in the published format of a network for ``--features``."""
    folder.mkdir(exist_ok=True)
    if name == "vggface":
        return write_keras(folder / "vggface.h5", vggface_arrays(seed))
    if name == "vggface2":
        return write_pickle(folder / "ft.pkl", random_arrays(resnet_shapes(7), seed))
    shapes = {"vgg16": vgg16_shapes, "alexnet": alexnet_shapes, "inception": inception_shapes, "clip": clip_shapes,
              "efficientnet": efficientnet_shapes, "swav": lambda: resnet_shapes(None)}[name]()  # fmt: skip
    return write_torch(folder / f"{name}.pth", random_arrays(shapes, seed), "module." if name == "swav" else "")
