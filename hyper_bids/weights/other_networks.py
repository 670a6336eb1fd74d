"""Names for what a file holds instead of a generator that is known here: an error should say what came."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from hyper_bids.errors import listing
from hyper_bids.weights.candidates import Candidate, candidates
from hyper_bids.weights.pickles import PERSISTENT
from hyper_bids.weights.unpickle import Inert

DISCRIMINATOR = "this is a discriminator; the generator is needed, from the same authors"
STYLEGAN3 = "this is StyleGAN3: export it to ONNX"

BY_KEY: tuple[tuple[str, str], ...] = (
    (r"FromRGB_lod\d|fromRGBLayers\.|decisionLayer\.|(^|/)input\d+\.weight|final_conv\.0\.|b4\.mbstd|b4\.out\."
     r"|Output/fromrgb|\d+x\d+/FromRGB|discriminator|critic", DISCRIMINATOR),
    (r"synthesis\.L\d+_|synthesis\.input\.(freqs|affine)", STYLEGAN3),
    (r"G_synthesis|4x4/Const/|synthesis/4x4|mapping/Dense0", "this is StyleGAN1: export it to ONNX"),
    (r"synthesis\.b\d+\.|mapping\.fc\d|conv\.modulation\.|style\.\d+\.weight", "this is a StyleGAN2"),
    (r"encoder/layer\d|generator/layer\d+/deconv2d", "this is a VAE-GAN"),
    (r"visual\.(conv1|transformer|proj)", "this is CLIP, a network for --features"),
    (r"Mixed_5b\.|Mixed_7c\.", "this is Inception v3, a network for --features"),
    (r"layer1\.0\.conv1\.weight|conv1/7x7_s2", "this is a ResNet; ResNet-50 is the one for --features"),
    (r"^features\.\d+\.|^classifier\.\d+\.|conv1_1", "this is a VGG or a kin of it; VGG-16 is the one for --features"),
    (r"model\.diffusion_model\.|down_blocks\.\d|mid_block\.", "this is a diffusion model: export a generator to ONNX"),
    (r"^main\.\d+\.|^layers?\.\d+\.|^blocks?\.", "this is a network of another kind: export it to ONNX"),
)  # fmt: skip
"""(pattern, what it is): the first pattern that a name of the file has."""


def described(tree: object) -> str:
    """Say in a few words what a tree of weights is, for an error."""
    for class_name, state in _snapshots(tree, set()):
        if "Discriminator" in class_name:
            continue
        if any(re.match(r"L\d+_\d+_\d+$", str(key)) for key in state):
            return STYLEGAN3
        if any(re.match(r"b\d+$", str(key)) for key in state):
            return "this is a StyleGAN2"
    found = candidates(tree)
    kinds = [kind for kind in map(_kind, found) if kind]
    if kinds:
        return kinds[0]
    if any("Discriminator" in class_name for class_name, _ in _snapshots(tree, set())):
        return DISCRIMINATOR
    names = [name for candidate in found for name in candidate.arrays]
    if not names:
        return "it holds no named arrays"
    return f"its arrays ({listing(names, 3)}) are those of no generator known here: export it to ONNX"


def _kind(candidate: Candidate) -> str | None:
    if any(part in ("D", "netD", "discriminator", "Discriminator", "critic") for part in candidate.member.split("/")):
        return DISCRIMINATOR
    for pattern, kind in BY_KEY:
        if any(re.search(pattern, name) for name in candidate.arrays):
            return kind
    if candidate.kind.endswith(".D_paper") or candidate.kind.endswith("D_basic"):
        return DISCRIMINATOR
    if candidate.kind.startswith("dnnlib."):
        return "this is StyleGAN1: export it to ONNX"
    return None


def _snapshots(tree: object, seen: set[int], depth: int = 0) -> Iterator[tuple[str, dict]]:
    """Yield (class name, submodules) of NVIDIA's pickled PyTorch networks, outer ones first."""
    if depth > 8 or id(tree) in seen or isinstance(tree, np.ndarray):
        return
    seen.add(id(tree))
    if isinstance(tree, Inert):
        described_by = tree.arguments[0] if tree.name == PERSISTENT and tree.arguments else None
        if isinstance(described_by, dict):
            state = described_by.get("state")
            modules = state.get("_modules") if isinstance(state, dict) else None
            modules = modules if isinstance(modules, dict) else {}
            yield str(described_by.get("class_name")), modules
            yield from _snapshots(modules, seen, depth + 1)
    elif isinstance(tree, dict):
        for key in sorted(tree, key=lambda key: key != "G_ema"):
            yield from _snapshots(tree[key], seen, depth + 1)
    elif isinstance(tree, list | tuple) and len(tree) <= 16:
        for item in tree:
            yield from _snapshots(item, seen, depth + 1)
