"""torchvision's AlexNet, layers by its module names."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, relu

from hyper_bids.features.tensors import Tensors
from hyper_bids.weights.vgg_canonical import side

CONVOLUTIONS = {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}
"""Number of a convolution in ``features`` -> (stride, padding)."""

POOLED = (2, 5, 12)


def alexnet(net: Tensors, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield (layer, activations) of prepared pictures ``(n, 3, h, w)``; ``features.4`` and ``.11`` are after ReLU."""
    for number in range(13):
        if number in CONVOLUTIONS:
            x = net.conv(f"features.{number}", x, *CONVOLUTIONS[number])
        else:
            x = max_pool2d(x, 3, 2) if number in POOLED else relu(x)
        yield f"features.{number}", x
    if "classifier.1.weight" not in net:
        return
    x = adaptive_avg_pool2d(x, side(net["classifier.1.weight"].shape[1], x.shape[1], "alexnet")).flatten(1)
    for number in (1, 4, 6):
        if f"classifier.{number}.weight" not in net:
            return
        x = net.dense(f"classifier.{number}", x)
        yield f"classifier.{number}", x
        if number != 6:
            x = relu(x)
            yield f"classifier.{number + 1}", x
