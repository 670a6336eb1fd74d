"""The VAE-GAN of VanRullen and Reddy (2019) as it is trained: batch normalisation on its own, and a discriminator.

::

    encoder        n times conv 3x3, stride 2, batch norm, ELU: 192, 256, 384, 512, 768;  fc K;  mu = tanh(fc K),
                   log sigma = 0.5 tanh(fc K)
    generator      fc + ELU to 1024 maps of 4 x 4;  n times transposed conv 3x3, stride 2, batch norm, ELU:
                   512, 384, 256, 192, 3
    discriminator  six layers: conv 3x3, stride 2, batch norm (not in the first), leaky ReLU 0.2: 96, 128, 192, 256,
                   384;  fc 1.  The paper's are in a supplement: these are ours
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hyper_bids.generate.batch_norm import folded

EPSILON = 1e-6
PAPER = (192, 256, 384, 512, 768)
LEAK = 0.2


def widths_of(size: int, width: int) -> tuple[int, ...]:
    """Return the channels of the encoder's maps: the paper's in proportion, as many as halve ``size`` down to 4.

    >>> widths_of(128, 192), widths_of(32, 24)
    ((192, 256, 384, 512, 768), (24, 32, 48))
    """
    n_layers = int(log2(size // 4))
    paper = [*PAPER, *(PAPER[-1] for _ in range(n_layers - len(PAPER)))]
    return tuple(max(1, round(paper[i] * width / PAPER[0])) for i in range(n_layers))


class TrainableEncoder(nn.Module):
    """Images ``(n, 3, size, size)`` in 0 to 1 to mu and log sigma, each ``(n, K)``."""

    def __init__(self, widths: Sequence[int], n_latents: int, random: torch.Generator) -> None:
        super().__init__()
        self.layers = _convolutions([3, *widths])
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=EPSILON) for width in widths)
        self.fc = nn.utils.skip_init(nn.Linear, widths[-1] * 16, n_latents)
        self.mu = nn.utils.skip_init(nn.Linear, n_latents, n_latents)
        self.log_sigma = nn.utils.skip_init(nn.Linear, n_latents, n_latents)
        initialise(self, random)
        with torch.no_grad():
            for head in (self.mu, self.log_sigma):
                head.weight *= 0.1  # tanh starts where it is steep: once it is saturated the encoder stops learning

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.elu(norm(layer(functional.pad(x, (0, 1, 0, 1)))))  # TensorFlow's "SAME"
        x = self.fc(x.flatten(1))
        return torch.tanh(self.mu(x)), 0.5 * torch.tanh(self.log_sigma(x))

    def canonical(self) -> dict[str, np.ndarray]:
        """Return the arrays of `hyper_bids.generate.vaegan_network.Encoder`."""
        arrays = {}
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True), start=1):
            arrays[f"layer{i}.weight"], arrays[f"layer{i}.bias"] = folded(layer.weight, layer.bias, norm, axis=0)
        for name in ("fc", "mu", "log_sigma"):
            dense = self.get_submodule(name)
            arrays |= {f"{name}.weight": dense.weight.detach(), f"{name}.bias": dense.bias.detach()}
        return {name: array.float().cpu().numpy() for name, array in arrays.items()}


class TrainableDecoder(nn.Module):
    """Latents ``(n, K)`` to images ``(n, 3, size, size)``, above -1 and mostly 0 to 1."""

    def __init__(self, widths: Sequence[int], n_latents: int, random: torch.Generator) -> None:
        super().__init__()
        first = round(widths[-1] * 4 / 3)
        sizes = [first, *reversed(widths[:-1]), 3]
        self.fc = nn.utils.skip_init(nn.Linear, n_latents, first * 16)
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.ConvTranspose2d, sizes[i], sizes[i + 1], 3, stride=2) for i in range(len(sizes) - 1)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(size, eps=EPSILON) for size in sizes[1:])
        initialise(self, random)

    def forward(self, latents: Tensor) -> Tensor:
        x = functional.elu(self.fc(latents)).unflatten(1, (-1, 4, 4))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.elu(norm(layer(x)[:, :, :-1, :-1]))  # TensorFlow's "SAME"
        return x

    def canonical(self) -> dict[str, np.ndarray]:
        """Return the arrays of `hyper_bids.generate.vaegan_network.Decoder`."""
        arrays = {"fc.weight": self.fc.weight.detach(), "fc.bias": self.fc.bias.detach()}
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True), start=1):
            arrays[f"layer{i}.weight"], arrays[f"layer{i}.bias"] = folded(layer.weight, layer.bias, norm, axis=1)
        return {name: array.float().cpu().numpy() for name, array in arrays.items()}


class VAEGANDiscriminator(nn.Module):
    """Images ``(n, 3, size, size)`` to logits ``(n,)`` and the maps of the middle convolution (the third of five)."""

    def __init__(self, encoder_widths: Sequence[int], random: torch.Generator) -> None:
        super().__init__()
        widths = [max(1, width // 2) for width in encoder_widths]
        self.layers = _convolutions([3, *widths])
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=EPSILON) for width in widths[1:])
        self.middle = (len(widths) + 1) // 2
        self.fc = nn.utils.skip_init(nn.Linear, widths[-1] * 16, 1)
        initialise(self, random)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x, maps = images, images
        for i, layer in enumerate(self.layers, start=1):
            x = layer(functional.pad(x, (0, 1, 0, 1)))
            x = functional.leaky_relu(x if i == 1 else self.norms[i - 2](x), LEAK)
            maps = x if i <= self.middle else maps
        return self.fc(x.flatten(1)).flatten(), maps


def _convolutions(sizes: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(
        nn.utils.skip_init(nn.Conv2d, sizes[i], sizes[i + 1], 3, stride=2) for i in range(len(sizes) - 1)
    )


def initialise(network: nn.Module, random: torch.Generator) -> None:
    """Draw weights as He et al. (2015), normal by fan-in; biases 0. The paper does not say."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=random)
            nn.init.zeros_(module.bias)
