"""Inception v3 (Szegedy et al. 2016) as torchvision computes it, without its auxiliary classifier."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, max_pool2d, relu

from hyper_bids.features.tensors import Tensors
from hyper_bids.weights.inception_canonical import BLOCKS, STEM, Block

STRIDED, PADDED, POOLED = ("Conv2d_1a_3x3",), ("Conv2d_2b_3x3",), ("Conv2d_2b_3x3", "Conv2d_4a_3x3")


def inception(net: Tensors, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield (layer, activations) of prepared pictures ``(n, 3, h, w)``, -1 to 1; ``avgpool`` is ``(n, 2048)``."""
    for name, _, _ in STEM:
        x = relu(net.conv(name, x, 2 if name in STRIDED else 1, 1 if name in PADDED else 0))
        yield name, x
        if name in POOLED:
            x = max_pool2d(x, 3, 2)
    for name, block in BLOCKS.items():
        x = _block(net, name, block, x)
        yield name, x
    x = adaptive_avg_pool2d(x, 1).flatten(1)
    yield "avgpool", x
    if "fc.weight" in net:
        yield "fc", net.dense("fc", x)


def _block(net: Tensors, prefix: str, block: Block, x: Tensor) -> Tensor:
    made: dict[str, Tensor] = {}
    for name, source, (height, width) in block.branches:
        before = made[source] if source else avg_pool2d(x, 3, 1, 1) if name == "branch_pool" else x
        halves = block.halves and name in block.outputs
        padding = (0, 0) if halves else ((height - 1) // 2, (width - 1) // 2)
        made[name] = relu(net.conv(f"{prefix}.{name}", before, 2 if halves else 1, padding))
    parts = [made[name] for name in block.outputs]
    return torch.cat([*parts, max_pool2d(x, 3, 2)] if block.halves else parts, dim=1)
