"""EfficientNet (Tan and Le 2019) as torchvision computes it; depth and widths are those of the file."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, silu

from hyper_bids.features.tensors import Tensors
from hyper_bids.weights.efficientnet_canonical import KERNELS, depth

STRIDES = (1, 2, 2, 2, 1, 2, 1)


def efficientnet(net: Tensors, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield (layer, activations) of prepared pictures ``(n, 3, h, w)``; ``avgpool`` is ``(n, 1280)`` in B1."""
    x = silu(net.conv("stem", x, 2, 1))
    yield "stem", x
    for stage, n_blocks in enumerate(depth(net.arrays), start=1):
        for block in range(n_blocks):
            stride = STRIDES[stage - 1] if block == 0 else 1
            x = _block(net, f"stage{stage}.{block}", x, stride, KERNELS[stage - 1])
        yield f"stage{stage}", x
    x = silu(net.conv("top", x))
    yield "top", x
    x = adaptive_avg_pool2d(x, 1).flatten(1)
    yield "avgpool", x
    if "fc.weight" in net:
        yield "fc", net.dense("fc", x)


def _block(net: Tensors, prefix: str, x: Tensor, stride: int, kernel: int) -> Tensor:
    y = silu(net.conv(f"{prefix}.expand", x)) if f"{prefix}.expand.weight" in net else x
    y = silu(net.conv(f"{prefix}.depthwise", y, stride, kernel // 2, groups=y.shape[1]))
    gate = silu(net.conv(f"{prefix}.squeeze", adaptive_avg_pool2d(y, 1)))
    y = net.conv(f"{prefix}.project", y * torch.sigmoid(net.conv(f"{prefix}.excite", gate)))
    return x + y if stride == 1 and x.shape == y.shape else y
