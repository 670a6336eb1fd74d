"""CLIP's image encoder, a vision transformer (Radford et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hyper_bids.features.tensors import Tensors
from hyper_bids.weights.clip_canonical import HEAD, n_blocks


def clip(net: Tensors, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield (layer, activations) of prepared pictures ``(n, 3, h, w)``; ``embedding`` is OpenAI's ``encode_image``."""
    x = net.conv("conv1", x, net["conv1.weight"].shape[2]).flatten(2).transpose(1, 2)  # (n, patches, units)
    first = net["class_embedding"].expand(len(x), 1, -1)
    x = net.layer_norm("ln_pre", torch.cat([first, x], dim=1) + net["positional_embedding"])
    yield "ln_pre", x
    for block in range(n_blocks(net.arrays)):
        x = _block(net, f"transformer.resblocks.{block}", x)
    yield "embedding", net.layer_norm("ln_post", x[:, 0]) @ net["proj"]


def _block(net: Tensors, prefix: str, x: Tensor) -> Tensor:
    y = net.layer_norm(f"{prefix}.ln_1", x)
    joint = y @ net[f"{prefix}.attn.in_proj_weight"].T + net[f"{prefix}.attn.in_proj_bias"]
    query, key, value = (
        part.unflatten(-1, (-1, HEAD)).transpose(1, 2) for part in joint.chunk(3, dim=-1)
    )  # (n, heads, places, 64)
    attended = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    x = x + net.dense(f"{prefix}.attn.out_proj", attended)
    y = net.dense(f"{prefix}.mlp.c_fc", net.layer_norm(f"{prefix}.ln_2", x))
    return x + net.dense(f"{prefix}.mlp.c_proj", y * torch.sigmoid(1.702 * y))  # OpenAI's QuickGELU
