"""ResNet-50 (He et al. 2016) in the three graphs of `hyper_bids.weights.resnet_canonical`."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, pad, relu

from hyper_bids.features.tensors import Tensors
from hyper_bids.weights.resnet_canonical import BLOCKS


def resnet(net: Tensors, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield (layer, activations) of prepared pictures ``(n, 3, h, w)``; ``avgpool`` is ``(n, 2048)``."""
    x = relu(_stem(net, x))
    yield "conv1", x
    stem = net.options["stem"]
    x = max_pool2d(x, 3, 2, padding=1 if stem == "padded" else 0, ceil_mode=stem == "ceil")
    for stage, n_blocks in enumerate(BLOCKS, start=1):
        for block in range(n_blocks):
            x = _block(net, f"layer{stage}.{block}", x, 2 if stage > 1 and block == 0 else 1)
        yield f"layer{stage}", x
    x = adaptive_avg_pool2d(x, 1).flatten(1)
    yield "avgpool", x
    if "fc.weight" in net:
        yield "fc", net.dense("fc", x)


def _stem(net: Tensors, x: Tensor) -> Tensor:
    if net.options["stem"] != "same":
        return net.conv("conv1", x, 2, 3)
    margins = []
    for length in (x.shape[3], x.shape[2]):  # TensorFlow's "same": the odd pixel comes last
        total = max(2 * (-(-length // 2) - 1) + 7 - length, 0)
        margins += [total // 2, total - total // 2]
    return net.conv("conv1", pad(x, margins), 2)


def _block(net: Tensors, prefix: str, x: Tensor, stride: int) -> Tensor:
    first, middle = (stride, 1) if net.options["stride"] == "first" else (1, stride)
    y = relu(net.conv(f"{prefix}.conv1", x, first))
    y = relu(net.conv(f"{prefix}.conv2", y, middle, 1))
    y = net.conv(f"{prefix}.conv3", y)
    beside = net.conv(f"{prefix}.downsample", x, stride) if f"{prefix}.downsample.weight" in net else x
    return relu(y + beside)
