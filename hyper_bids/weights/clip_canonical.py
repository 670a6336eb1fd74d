"""CLIP's image encoder, a vision transformer (Radford et al. 2021), under OpenAI's names without ``visual.``."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

import numpy as np

from hyper_bids.weights.candidates import Candidate
from hyper_bids.weights.canonical import Refused, Weights
from hyper_bids.weights.feature_canonical import Shapes, Taking, checked

HEAD = 64
"""Width of an attention head: what OpenAI's code divides by."""

TEXT = ("transformer.", "token_embedding.", "ln_final.", "positional_embedding", "text_projection", "logit_scale",
        "position_ids", "attn_mask")  # fmt: skip
SAID = ("input_resolution", "context_length", "vocab_size")
"""The text encoder, and numbers that follow from the shapes."""

OPENAIS = ("input_resolution", "vocab_size")
"""Numbers that OpenAI's own files hold, and open_clip's, whose names and shapes are the same, do not."""

TAKEN = "taken for OpenAI's CLIP (QuickGELU, 64-wide heads): the file does not tell"
WITH_RESNET = "this is CLIP with a ResNet; the vision transformer (ViT-L-14.pt) is the network for --features"

TORCHSCRIPT = "TorchScript archive"
"""The container that OpenAI published in, as `recognise.CONTAINERS` calls it."""

MAX_BLOCKS = 200


def n_blocks(arrays: Mapping[str, np.ndarray]) -> int:
    """Return the number of the transformer's blocks."""
    return sum(name.startswith("transformer.resblocks.") and name.endswith(".ln_1.weight") for name in arrays)


def resolution(arrays: Mapping[str, np.ndarray]) -> int:
    """Return height and width of the pictures: patches along a side times the side of a patch."""
    return isqrt(len(arrays["positional_embedding"]) - 1) * arrays["conv1.weight"].shape[2]


def clip(
    arrays: Mapping[str, np.ndarray], options: Mapping[str, object], origin: str, notes: tuple[str, ...] = ()
) -> Weights:
    """Return checked canonical weights.

    Raises
    ------
    Refused
    """
    patches, position = arrays.get("conv1.weight"), arrays.get("positional_embedding")
    if patches is None or position is None or patches.ndim != 4 or position.ndim != 2:
        raise Refused("it looks like CLIP's image encoder, but lacks its patches or its positions")
    wide, patch, n_places = len(patches), patches.shape[2], len(position)
    if not wide or wide % HEAD or isqrt(max(n_places - 1, 0)) ** 2 != n_places - 1 or n_places < 2:
        raise Refused(f"this CLIP has {wide} units and {n_places} places; {HEAD} units a head and a square are needed")
    shapes: Shapes = {
        "conv1.weight": (wide, 3, patch, patch), "class_embedding": (wide,), "positional_embedding": (n_places, wide),
        "proj": (wide, np.shape(arrays.get("proj", np.empty((0, 0))))[-1]),
    }  # fmt: skip
    for name in ("ln_pre", "ln_post"):
        shapes |= {f"{name}.weight": (wide,), f"{name}.bias": (wide,)}
    for block in range(min(n_blocks(arrays), MAX_BLOCKS)):
        shapes |= _block(f"transformer.resblocks.{block}", wide)
    return checked("clip", arrays, shapes, {}, origin, notes)


def _block(prefix: str, wide: int) -> Shapes:
    layers = {"attn.out_proj": (wide, wide), "mlp.c_fc": (4 * wide, wide), "mlp.c_proj": (wide, 4 * wide)}
    shapes: Shapes = {f"{prefix}.attn.in_proj_weight": (3 * wide, wide), f"{prefix}.attn.in_proj_bias": (3 * wide,)}
    for name, shape in layers.items():
        shapes |= {f"{prefix}.{name}.weight": shape, f"{prefix}.{name}.bias": shape[:1]}
    for name in ("ln_1", "ln_2"):
        shapes |= {f"{prefix}.{name}.weight": (wide,), f"{prefix}.{name}.bias": (wide,)}
    return shapes


def from_openai(candidate: Candidate) -> Weights | None:
    """Return the image encoder of ``ViT-L-14.pt`` or of a state dictionary of it, or None.

    open_clip's networks have the same names, and most of them another GELU, which nothing in a file tells: so a note
    says what it was taken for, unless the file has what only OpenAI's have.
    """
    arrays = candidate.whole("visual")
    if "visual.conv1.weight" not in arrays:
        return None
    if "visual.layer1.0.conv1.weight" in arrays:
        raise Refused(WITH_RESNET)
    if "visual.class_embedding" not in arrays:
        return None
    is_openais = candidate.container == TORCHSCRIPT or any(name in arrays for name in OPENAIS)
    given = Taking(arrays, "clip")
    given.drop(*TEXT, *SAID)
    own = {name.removeprefix("visual."): array for name, array in given.arrays.items() if name.startswith("visual.")}
    given.drop("visual.")
    given.finish()
    return clip(own, {}, "OpenAI's CLIP", () if is_openais else (TAKEN,))
