"""VGG-16 (Simonyan and Zisserman 2015; Parkhi et al. 2015 for faces), layers by Caffe's names."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, relu

from hyper_bids.features.tensors import Tensors
from hyper_bids.weights.vgg_canonical import CONVOLUTIONS, TORCH_CONVOLUTIONS, side

DENSE = ("fc6", "fc7", "fc8")
ALIASES = {
    **{f"features.{number}": name for number, name in TORCH_CONVOLUTIONS.items()},
    **{f"features.{number + 1}": name.replace("conv", "relu") for number, name in TORCH_CONVOLUTIONS.items()},
    **{f"fc{number}/relu": f"relu{number}" for number in (6, 7)},
}
"""torchvision's and Keras's names -> ours."""


def vgg(net: Tensors, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield (layer, activations) of prepared pictures ``(n, 3, h, w)``.

    ``conv`` and ``fc`` are before ReLU, ``relu`` after. Maps of another size than the dense layers were trained on are
    averaged to it, as torchvision does.
    """
    for name in CONVOLUTIONS:
        stage, _, number = name[4:].partition("_")
        if number == "1" and stage != "1":
            x = max_pool2d(x, 2)
            yield f"pool{int(stage) - 1}", x
        x = net.conv(name, x, padding=1)
        yield name, x
        x = relu(x)
        yield name.replace("conv", "relu"), x
    x = max_pool2d(x, 2)
    yield "pool5", x
    if "fc6.weight" not in net:
        return
    x = adaptive_avg_pool2d(x, side(net["fc6.weight"].shape[1], x.shape[1], "vgg16")).flatten(1)
    for name in DENSE:
        if f"{name}.weight" not in net:
            return
        x = net.dense(name, x)
        yield name, x
        x = relu(x)
        yield name.replace("fc", "relu"), x
