"""ResNet-50 in three published forms: VGGFace2's of Keras and of PyTorch (Caffe's graph), and torchvision's (SwAV).

Canonical names are torchvision's with the batch norms folded in: ``conv1``, ``layer{1..4}.{b}.conv{1,2,3}``,
``layer{s}.0.downsample`` and, where the file has classes, ``fc``. What the arrays do not tell is in the options:

* ``stride``: ``first``, in the first 1 x 1 convolution of a block (Caffe), or ``middle``, in the 3 x 3 (torchvision);
* ``stem``: ``same``, Keras's padding (2, 3) and a max-pool without any (112 -> 55); ``ceil``, padding 3 and a
  max-pool that rounds up (112 -> 56); ``padded``, padding 3 and a max-pool with padding 1 (112 -> 56).

The two VGGFace2 files hold the same weights and give different features. The batch norms' epsilon differs as well:
1e-3 (Keras) and 1e-5; it is recorded as ``epsilon``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Refused, Weights, width
from hyper_bids.weights.clip_canonical import WITH_RESNET
from hyper_bids.weights.feature_canonical import TITLES, Shapes, Taking, checked, folded, option, pair

BLOCKS = (3, 4, 6, 3)
VGGFACE2_CLASSES = 8631
STEMS, STRIDES = ("padded", "same", "ceil"), ("middle", "first")
KERAS = {"reduce": "conv1", "3x3": "conv2", "increase": "conv3", "proj": "downsample"}
KERAS_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def resnet(
    architecture: str, arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str,
    notes: tuple[str, ...] = (),
) -> Weights:  # fmt: skip
    """Return checked canonical weights.

    Raises
    ------
    Refused
        Other arrays or shapes than a ResNet-50's, or options that make no sense.
    """
    title = TITLES[architecture]
    shapes: Shapes = pair(arrays, "conv1", 3, 7, 7)
    before = width(arrays, "conv1")
    for stage, n_blocks in enumerate(BLOCKS, start=1):
        for block in range(n_blocks):
            prefix = f"layer{stage}.{block}"
            middle = width(arrays, f"{prefix}.conv1")
            shapes |= pair(arrays, f"{prefix}.conv1", before, 1, 1)
            shapes |= pair(arrays, f"{prefix}.conv2", middle, 3, 3)
            shapes |= pair(arrays, f"{prefix}.conv3", width(arrays, f"{prefix}.conv2"), 1, 1)
            if block == 0:
                shapes |= pair(arrays, f"{prefix}.downsample", before, 1, 1)
            before = width(arrays, f"{prefix}.conv3")
    if "fc.weight" in arrays:
        shapes |= pair(arrays, "fc", before)
    kept: dict[str, object] = {
        "stem": option(options, "stem", STEMS, title), "stride": option(options, "stride", STRIDES, title),
        "epsilon": float(option(options, "epsilon", (1e-5, 1e-3), title)),
    }  # fmt: skip
    weights = checked(architecture, arrays, shapes, kept, origin, notes)
    for stage, n_blocks in enumerate(BLOCKS, start=1):
        widths = {width(arrays, f"layer{stage}.{block}.conv3") for block in range(n_blocks)}
        if widths != {width(arrays, f"layer{stage}.0.downsample")}:
            raise Refused(f"the blocks of stage {stage} of {title} have the widths {sorted(widths)}; they must be one")
    return weights


vggface2, resnet50 = partial(resnet, "vggface2"), partial(resnet, "resnet50")
"""Check canonical weights of VGGFace2's network, and of torchvision's form; see `resnet`."""


def from_keras(candidate: Candidate) -> Weights | None:
    """Return the ResNet-50 of ``rcmalli_vggface_tf_resnet50.h5``, with or without the top, or None."""
    if "conv1/7x7_s2/kernel" not in candidate.arrays:
        return None
    if any("_1x1_down/" in name for name in candidate.arrays):
        raise Refused("this is VGGFace2's SENet-50, which is not read: its ResNet-50 is the network for --features")
    given = Taking(candidate.arrays, "vggface2")
    arrays: dict[str, np.ndarray] = {}
    for layer, name in _keras_layers(candidate.arrays).items():
        kernel = given.take(f"{layer}/kernel", 4).transpose(3, 2, 0, 1)
        norm = {ours: given.take(f"{layer}/bn/{theirs}", 1) for ours, theirs in KERAS_NORM.items()}
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = folded(kernel, norm, 1e-3)
    if "classifier/kernel" in given:
        arrays["fc.weight"] = given.take("classifier/kernel", 2).T
        arrays["fc.bias"] = given.take("classifier/bias", 1)
    given.finish()
    options = {"stem": "same", "stride": "first", "epsilon": 1e-3}
    return vggface2(arrays, options, "Keras's VGGFace2 ResNet-50", _told("Keras", "PyTorch"))


def _keras_layers(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return Keras's name of every convolution -> ours."""
    layers = {"conv1/7x7_s2": "conv1"}
    for name in arrays:
        found = re.fullmatch(r"(conv([2-5])_(\d)_(?:1x1_)?(reduce|3x3|increase|proj))/kernel", name)
        if found and int(found[3]) > 0:
            layers[found[1]] = f"layer{int(found[2]) - 1}.{int(found[3]) - 1}.{KERAS[found[4]]}"
    return layers


def _told(own: str, other: str) -> tuple[str, ...]:
    return (f"VGGFace2's ResNet-50 in {own}'s form: the {other} file gives other features for the same picture.",)


def from_torch(candidate: Candidate) -> Weights | None:
    """Return the ResNet-50 of a list with torchvision's names, or None.

    VGGFace2-pytorch and torchvision call the arrays the same and compute differently. Which is meant is told by the
    number of classes (8631), by what lies beside (SwAV's heads), by what was asked for, and at last by the container:
    VGGFace2-pytorch's file is a plain pickle of NumPy arrays, which torchvision never wrote.
    """
    arrays = candidate.arrays
    if "layer1.0.conv1.weight" not in arrays or "bn1.running_mean" not in arrays or "layer1.0.bn3.weight" not in arrays:
        return None
    if "layer1.0.conv3.weight" not in arrays or np.ndim(arrays.get("conv1.weight")) != 4:
        return None
    if any(name.startswith("attnpool.") for name in arrays):
        raise Refused(WITH_RESNET)
    blocks = tuple(len({n.split(".")[1] for n in arrays if n.startswith(f"layer{s}.")}) for s in range(1, 5))
    if blocks != BLOCKS:
        raise Refused(f"this is a ResNet with {blocks} blocks; ResNet-50, the network for --features, has {BLOCKS}")
    architecture, assumed = _meant(candidate)
    given = Taking(arrays, architecture)
    heads = given.drop("projection_head.", "prototypes.")
    canonical: dict[str, np.ndarray] = {}
    for name in [name for name in arrays if re.fullmatch(r"conv1\.weight|layer\d\.\d\.conv\d\.weight", name)]:
        layer = name.removesuffix(".weight")
        norm = given.torch_norm(layer.replace("conv", "bn"))
        canonical[name], canonical[f"{layer}.bias"] = folded(given.take(name, 4), norm, 1e-5)
    for layer in (f"layer{stage}.0.downsample" for stage in range(1, 5)):
        norm = given.torch_norm(f"{layer}.1")
        weight = given.take(f"{layer}.0.weight", 4)
        canonical[f"{layer}.weight"], canonical[f"{layer}.bias"] = folded(weight, norm, 1e-5)
    if "fc.weight" in given:
        canonical |= {"fc.weight": given.take("fc.weight", 2), "fc.bias": given.take("fc.bias", 1)}
    given.finish()
    if architecture == "vggface2":
        options = {"stem": "ceil", "stride": "first", "epsilon": 1e-5}
        return vggface2(canonical, options, "PyTorch's VGGFace2 ResNet-50", _told("PyTorch", "Keras") + assumed)
    notes = ("The projection head and the prototypes are left out.",) if heads else ()
    if "fc.weight" in canonical:
        notes = (f"It has a classifier of {width(canonical, 'fc')} classes, which SwAV's published file has not.",)
    options = {"stem": "padded", "stride": "middle", "epsilon": 1e-5}
    return resnet50(canonical, options, "torchvision's ResNet-50", notes + assumed)


def _meant(candidate: Candidate) -> tuple[str, tuple[str, ...]]:
    """Return the architecture, and a note where it was taken for one that the file itself does not look like."""
    arrays = candidate.arrays
    classes = len(arrays["fc.weight"]) if np.ndim(arrays.get("fc.weight")) == 2 else 0
    if classes == VGGFACE2_CLASSES:
        return "vggface2", ()
    if classes == 1000 or any(name.startswith(("projection_head.", "prototypes.")) for name in arrays):
        return "resnet50", ()
    likely = "vggface2" if candidate.container == "pickle" else "resnet50"
    if candidate.wanted not in ("vggface2", "resnet50") or candidate.wanted == likely:
        return likely, ()
    owner = {"vggface2": "VGGFace2's", "resnet50": "torchvision's"}[candidate.wanted]
    return candidate.wanted, (f"taken for {owner} because asked; the file does not tell",)
