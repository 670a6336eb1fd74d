"""The VAE-GAN of VanRullen and Reddy (2019) in PyTorch: batch normalisation is inside the weights (see `weights`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isqrt

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hyper_bids.generate.network_maps import maps_numbered


class Layers(nn.Module):
    """Named layers ``fc``, ``layer1`` .. ``layer{n}``, ...; their sizes are those of the arrays."""

    def __init__(self, arrays: Mapping[str, np.ndarray], transposed: bool) -> None:
        super().__init__()
        with torch.device("meta"):  # no memory, and no draw from anybody's random numbers
            for name in sorted({name.partition(".")[0] for name in arrays}):
                self.add_module(name, _layer(arrays[f"{name}.weight"].shape, transposed))
        tensors = {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in arrays.items()}
        self.load_state_dict(tensors, strict=True, assign=True)
        self.requires_grad_(False).eval()

    @property
    def n_layers(self) -> int:
        return sum(name.startswith("layer") for name in self._modules)


def _layer(shape: tuple[int, ...], transposed: bool) -> nn.Module:
    if len(shape) == 2:
        return nn.Linear(shape[1], shape[0])
    if transposed:
        return nn.ConvTranspose2d(shape[0], shape[1], shape[2], stride=2)
    return nn.Conv2d(shape[1], shape[0], shape[2], stride=2)


class Decoder(Layers):
    """Latents ``(n, K)`` to images ``(n, colours, size, size)``, above -1 and mostly 0 to 1.

    ::

        z -> fc -> ELU -> (C0, s, s) -> n times: transposed conv 3x3, stride 2 -> ELU          s * 2^n pixels

    The image that the paper shows is ``clip(g / max(g), 0, 1)`` of each image g.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__(arrays, transposed=True)

    @property
    def n_latents(self) -> int:
        return self.fc.in_features

    @property
    def width(self) -> int:
        return self.layer1.in_channels

    @property
    def resolution(self) -> int:
        return isqrt(self.fc.out_features // self.width) << self.n_layers

    def forward(self, latents: Tensor) -> Tensor:
        last = str(self.n_layers)
        return self.activations(latents, [last])[last]

    def activations(self, latents: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return named maps ``(n, C, H, W)`` after ELU: ``0`` the dense layer, ``1`` .. ``{n}`` the others.

        ``{n}`` is the image. Nothing deeper than the deepest is computed.

        Raises
        ------
        UsageError
            A layer that this network does not have.
        """
        return maps_numbered(self._maps(latents), self.n_layers, layers, "VAE-GAN", "its dense layer")

    def _maps(self, latents: Tensor) -> Iterator[tuple[str, Tensor]]:
        size = isqrt(self.fc.out_features // self.width)
        x = functional.elu(self.fc(latents)).unflatten(1, (self.width, size, size))
        yield "0", x
        for i in range(1, self.n_layers + 1):
            # TensorFlow's "SAME" with stride 2 is PyTorch's without padding, less the last row and column.
            x = functional.elu(self._modules[f"layer{i}"](x)[:, :, :-1, :-1])
            yield str(i), x


class Encoder(Layers):
    """Images ``(n, colours, size, size)`` in 0 to 1 to latents ``(n, K)`` in -1 to 1.

    ::

        n times: conv 3x3, stride 2 -> ELU;  fc, linear;  mu = tanh(linear)
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__(arrays, transposed=False)

    @property
    def resolution(self) -> int:
        width = self._modules[f"layer{self.n_layers}"].out_channels
        return isqrt(self.fc.in_features // width) << self.n_layers

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for i in range(1, self.n_layers + 1):
            # TensorFlow's "SAME" with stride 2 on an even size pads behind only.
            x = functional.elu(self._modules[f"layer{i}"](functional.pad(x, (0, 1, 0, 1))))
        return torch.tanh(self.mu(self.fc(x.flatten(1))))
