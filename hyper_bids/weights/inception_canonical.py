"""Inception v3 (Szegedy et al. 2016) under torchvision's names, batch norms folded in, one classifier."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Weights, width
from hyper_bids.weights.feature_canonical import Shapes, Taking, checked, folded, pair

EPSILON = 1e-3
Kernel = tuple[int, int]
Branches = tuple[tuple[str, str, Kernel], ...]
"""(convolution, the one before it in the block or empty for the block's input, kernel)."""

STEM: Branches = (
    ("Conv2d_1a_3x3", "", (3, 3)), ("Conv2d_2a_3x3", "Conv2d_1a_3x3", (3, 3)),
    ("Conv2d_2b_3x3", "Conv2d_2a_3x3", (3, 3)), ("Conv2d_3b_1x1", "Conv2d_2b_3x3", (1, 1)),
    ("Conv2d_4a_3x3", "Conv2d_3b_1x1", (3, 3)),
)  # fmt: skip
_A: Branches = (
    ("branch1x1", "", (1, 1)), ("branch5x5_1", "", (1, 1)), ("branch5x5_2", "branch5x5_1", (5, 5)),
    ("branch3x3dbl_1", "", (1, 1)), ("branch3x3dbl_2", "branch3x3dbl_1", (3, 3)),
    ("branch3x3dbl_3", "branch3x3dbl_2", (3, 3)), ("branch_pool", "", (1, 1)),
)  # fmt: skip
_B: Branches = (
    ("branch3x3", "", (3, 3)), ("branch3x3dbl_1", "", (1, 1)), ("branch3x3dbl_2", "branch3x3dbl_1", (3, 3)),
    ("branch3x3dbl_3", "branch3x3dbl_2", (3, 3)),
)  # fmt: skip
_C: Branches = (
    ("branch1x1", "", (1, 1)), ("branch7x7_1", "", (1, 1)), ("branch7x7_2", "branch7x7_1", (1, 7)),
    ("branch7x7_3", "branch7x7_2", (7, 1)), ("branch7x7dbl_1", "", (1, 1)),
    ("branch7x7dbl_2", "branch7x7dbl_1", (7, 1)), ("branch7x7dbl_3", "branch7x7dbl_2", (1, 7)),
    ("branch7x7dbl_4", "branch7x7dbl_3", (7, 1)), ("branch7x7dbl_5", "branch7x7dbl_4", (1, 7)),
    ("branch_pool", "", (1, 1)),
)  # fmt: skip
_D: Branches = (
    ("branch3x3_1", "", (1, 1)), ("branch3x3_2", "branch3x3_1", (3, 3)), ("branch7x7x3_1", "", (1, 1)),
    ("branch7x7x3_2", "branch7x7x3_1", (1, 7)), ("branch7x7x3_3", "branch7x7x3_2", (7, 1)),
    ("branch7x7x3_4", "branch7x7x3_3", (3, 3)),
)  # fmt: skip
_E: Branches = (
    ("branch1x1", "", (1, 1)), ("branch3x3_1", "", (1, 1)), ("branch3x3_2a", "branch3x3_1", (1, 3)),
    ("branch3x3_2b", "branch3x3_1", (3, 1)), ("branch3x3dbl_1", "", (1, 1)),
    ("branch3x3dbl_2", "branch3x3dbl_1", (3, 3)), ("branch3x3dbl_3a", "branch3x3dbl_2", (1, 3)),
    ("branch3x3dbl_3b", "branch3x3dbl_2", (3, 1)), ("branch_pool", "", (1, 1)),
)  # fmt: skip


class Block:
    """A block of parallel branches: its convolutions, what it concatenates, and whether it halves the map.

    ``outputs`` are the convolutions at the branches' ends; a block that halves the map adds its input, max-pooled.
    """

    def __init__(self, branches: Branches, halves: bool = False) -> None:
        used = {source for _, source, _ in branches}
        self.branches, self.halves = branches, halves
        self.outputs = tuple(name for name, _, _ in branches if name not in used)


BLOCKS: dict[str, Block] = {
    **{f"Mixed_5{letter}": Block(_A) for letter in "bcd"}, "Mixed_6a": Block(_B, halves=True),
    **{f"Mixed_6{letter}": Block(_C) for letter in "bcde"}, "Mixed_7a": Block(_D, halves=True),
    **{f"Mixed_7{letter}": Block(_E) for letter in "bc"},
}  # fmt: skip


def inception(
    arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str, notes: tuple[str, ...] = ()
) -> Weights:
    """Return checked canonical weights; the classifier may be missing.

    Raises
    ------
    Refused
    """
    shapes: Shapes = {}
    for name, source, kernel in STEM:
        shapes |= pair(arrays, name, width(arrays, source) if source else 3, *kernel)
    before = width(arrays, STEM[-1][0])
    for block, parts in BLOCKS.items():
        for name, source, kernel in parts.branches:
            n_inputs = width(arrays, f"{block}.{source}") if source else before
            shapes |= pair(arrays, f"{block}.{name}", n_inputs, *kernel)
        own = sum(width(arrays, f"{block}.{name}") for name in parts.outputs)
        before = own + before if parts.halves else own
    if "fc.weight" in arrays:
        shapes |= pair(arrays, "fc", before)
    return checked("inception", arrays, shapes, {}, origin, notes)


def from_torch(candidate: Candidate) -> Weights | None:
    """Return the network of torchvision's ``inception_v3_google-0cc3c7bd.pth``, or None where the names are others'."""
    if "Mixed_5b.branch1x1.conv.weight" not in candidate.arrays:
        return None
    given = Taking(candidate.arrays, "inception")
    given.drop("AuxLogits.")
    canonical: dict[str, np.ndarray] = {}
    names = [name for name, _, _ in STEM]
    names += [f"{block}.{name}" for block, parts in BLOCKS.items() for name, _, _ in parts.branches]
    for name in names:
        weight, norm = given.take(f"{name}.conv.weight", 4), given.torch_norm(f"{name}.bn")
        canonical[f"{name}.weight"], canonical[f"{name}.bias"] = folded(weight, norm, EPSILON)
    if "fc.weight" in given:
        canonical |= {"fc.weight": given.take("fc.weight", 2), "fc.bias": given.take("fc.bias", 1)}
    given.finish()
    return inception(canonical, {}, "torchvision's Inception v3")
