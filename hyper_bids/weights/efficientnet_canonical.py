"""torchvision's EfficientNet (Tan and Le 2019): B1 in the metrics; widths and depth are those of the file.

Canonical names: ``stem``, ``stage{1..7}.{b}.expand | depthwise | squeeze | excite | project``, ``top``,
``fc``. Blocks of the first stage have no ``expand``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Refused, Weights, width
from hyper_bids.weights.feature_canonical import Shapes, Taking, checked, folded, pair

STAGES = 7
DEPTH_OF_B1 = (2, 3, 3, 4, 4, 5, 2)
BLOCKS_OF_B4 = 32
KERNELS = (3, 3, 5, 3, 5, 5, 3)
EPSILON, EPSILON_OF_DEEPER = 1e-5, 1e-3
"""Of the batch norms: torchvision's B0 to B4, and its B5 to B7, whose weights come from TensorFlow."""

MAX_BLOCKS = 40


def depth(arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Return the number of blocks of every stage."""
    blocks = [set() for _ in range(STAGES)]
    for name in arrays:
        found = re.match(r"stage([1-7])\.(\d{1,2})\.", name)
        if found:
            blocks[int(found[1]) - 1].add(int(found[2]))
    return tuple(len(numbers) for numbers in blocks)


def efficientnet(
    arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str, notes: tuple[str, ...] = ()
) -> Weights:
    """Return checked canonical weights; the classifier may be missing.

    Raises
    ------
    Refused
    """
    shapes = pair(arrays, "stem", 3, 3, 3)
    before = width(arrays, "stem")
    for stage, n_blocks in enumerate(depth(arrays), start=1):
        if not 1 <= n_blocks <= MAX_BLOCKS:
            raise Refused(f"it looks like an EfficientNet, but has {n_blocks} blocks in stage {stage}")
        for block in range(n_blocks):
            prefix = f"stage{stage}.{block}"
            shapes |= _block(arrays, prefix, before, KERNELS[stage - 1])
            before = width(arrays, f"{prefix}.project")
    shapes |= pair(arrays, "top", before, 1, 1)
    if "fc.weight" in arrays:
        shapes |= pair(arrays, "fc", width(arrays, "top"))
    if depth(arrays) != DEPTH_OF_B1 and not notes:
        notes = (f"Its stages have {depth(arrays)} blocks; EfficientNet-B1, which the papers use, has {DEPTH_OF_B1}.",)
    return checked("efficientnet", arrays, shapes, {}, origin, notes)


def _block(arrays: Mapping[str, np.ndarray], prefix: str, before: int, kernel: int) -> Shapes:
    shapes: Shapes = {}
    inside = before
    if f"{prefix}.expand.weight" in arrays:
        shapes |= pair(arrays, f"{prefix}.expand", before, 1, 1)
        inside = width(arrays, f"{prefix}.expand")
    shapes |= {f"{prefix}.depthwise.weight": (inside, 1, kernel, kernel), f"{prefix}.depthwise.bias": (inside,)}
    shapes |= pair(arrays, f"{prefix}.squeeze", inside, 1, 1)
    squeezed = width(arrays, f"{prefix}.squeeze")
    shapes |= {f"{prefix}.excite.weight": (inside, squeezed, 1, 1), f"{prefix}.excite.bias": (inside,)}
    return shapes | pair(arrays, f"{prefix}.project", inside, 1, 1)


def from_torch(candidate: Candidate) -> Weights | None:
    """Return the network of torchvision's ``efficientnet_b1-c27df63c.pth``, or None where the names are others'."""
    arrays = candidate.whole("features")
    if "features.1.0.block.0.0.weight" not in arrays:
        return None
    if "features.1.0.block.1.fc1.weight" not in arrays:
        raise Refused("it looks like an EfficientNetV2 or a MobileNet; EfficientNet-B1 is the network for --features")
    given = Taking(arrays, "efficientnet")
    canonical: dict[str, np.ndarray] = {}
    epsilon = EPSILON if len(_blocks(arrays)) <= BLOCKS_OF_B4 else EPSILON_OF_DEEPER

    def convolution(name: str, theirs: str) -> None:
        weight = given.take(f"{theirs}.0.weight", 4)
        canonical[f"{name}.weight"], canonical[f"{name}.bias"] = folded(
            weight, given.torch_norm(f"{theirs}.1"), epsilon
        )

    convolution("stem", "features.0")
    for stage, block in _blocks(arrays):
        theirs, ours = f"features.{stage}.{block}.block", f"stage{stage}.{block}"
        parts = ["depthwise", "excite", "project"]
        if f"{theirs}.3.0.weight" in arrays:
            parts.insert(0, "expand")
        for number, part in enumerate(parts):
            if part != "excite":
                convolution(f"{ours}.{part}", f"{theirs}.{number}")
                continue
            for name, layer in (("squeeze", "fc1"), ("excite", "fc2")):
                canonical[f"{ours}.{name}.weight"] = given.take(f"{theirs}.{number}.{layer}.weight", 4)
                canonical[f"{ours}.{name}.bias"] = given.take(f"{theirs}.{number}.{layer}.bias", 1)
    convolution("top", f"features.{STAGES + 1}")
    if "classifier.1.weight" in given:
        canonical |= {"fc.weight": given.take("classifier.1.weight", 2), "fc.bias": given.take("classifier.1.bias", 1)}
    given.finish()
    return efficientnet(canonical, {}, "torchvision's EfficientNet")


def _blocks(arrays: Mapping[str, np.ndarray]) -> list[tuple[int, int]]:
    found = (re.match(r"features\.([1-7])\.(\d{1,2})\.block\.", name) for name in arrays)
    return sorted({(int(match[1]), int(match[2])) for match in found if match})
