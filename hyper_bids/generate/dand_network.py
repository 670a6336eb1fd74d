"""DAND's networks (Güçlütürk et al. 2017) in PyTorch: the generator as it is used and as it is trained, and its rival.

::

    z (K) -> inverse PCA, fixed -> features (F, 1, 1)
          -> transposed conv 4x4, stride 1, no padding:  512          4 x 4
          -> transposed conv 4x4, stride 2, padding 1:   256, 128, 64   8, 16, 32 pixels;   each batch norm + ReLU
          -> transposed conv 4x4, stride 2, padding 1:   3, tanh        64 pixels, -1 to 1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hyper_bids.generate.batch_norm import folded
from hyper_bids.generate.network_maps import maps_numbered

KERNEL = 4
LEAK = 0.2


class InversePCA(nn.Module):
    """Latents ``(n, K)`` to features ``(n, F)``: ``mean + (z * scale) @ components``; nothing in it is learned."""

    def __init__(self, mean: Tensor, components: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.register_buffer("scale", scale)

    def forward(self, latents: Tensor) -> Tensor:
        return self.mean + (latents * self.scale) @ self.components


def _transposed(inputs: int, outputs: int, first: bool) -> nn.ConvTranspose2d:
    """Return a layer whose weights are still to be set; nothing is drawn from anybody's random numbers."""
    geometry = {"stride": 1, "padding": 0} if first else {"stride": 2, "padding": 1}
    return nn.utils.skip_init(nn.ConvTranspose2d, inputs, outputs, KERNEL, **geometry)


class DANDNetwork(nn.Module):
    """The generator from canonical weights (`hyper_bids.weights.dand_canonical`), batch norm inside the convolutions.

    Number and widths of the layers are those of the arrays: n layers make ``2 * 2^n`` pixels.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        tensors = {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in arrays.items()}
        self.pca = InversePCA(*(tensors[f"pca.{part}"] for part in ("mean", "components", "scale")))
        self.n_layers = sum(name.startswith("generator.layer") and name.endswith(".weight") for name in arrays)
        self.layers = nn.ModuleList()
        for i in range(1, self.n_layers + 1):
            state = {part: tensors[f"generator.layer{i}.{part}"] for part in ("weight", "bias")}
            layer = _transposed(*state["weight"].shape[:2], first=i == 1)
            layer.load_state_dict(state, strict=True, assign=True)
            self.layers.append(layer)
        self.requires_grad_(False).eval()

    @property
    def n_latents(self) -> int:
        return len(self.pca.scale)

    @property
    def n_features(self) -> int:
        return len(self.pca.mean)

    @property
    def resolution(self) -> int:
        return 2 << self.n_layers

    def forward(self, latents: Tensor) -> Tensor:
        """Return images ``(n, colours, size, size)`` in -1 to 1."""
        last = str(self.n_layers)
        return self.activations(latents, [last])[last]

    def activations(self, latents: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return named maps ``(n, C, H, W)``: ``0`` the features, ``1`` .. after ReLU, the last one the image.

        Nothing deeper than the deepest is computed.

        Raises
        ------
        UsageError
            A layer that this network does not have.
        """
        return maps_numbered(self._maps(latents), self.n_layers, layers, "DAND generator", "the features")

    def _maps(self, latents: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = self.pca(latents)[:, :, None, None]
        yield "0", x
        for i, layer in enumerate(self.layers, start=1):
            x = layer(x)
            x = torch.tanh(x) if i == self.n_layers else functional.relu(x)
            yield str(i), x


class TrainableGenerator(nn.Module):
    """The generator as it is trained: batch normalisation on its own, initial values as the paper's.

    Parameters
    ----------
    mean, components, scale : (F,), (K, F), (K,)
        The PCA of the features.
    widths : sequence of int
        Of all layers but the last, from 4 x 4 upwards: 512, 256, 128, 64 for 64 pixels.
    random : torch.Generator
        What the initial weights are drawn from.
    """

    def __init__(
        self, mean: Tensor, components: Tensor, scale: Tensor, widths: Sequence[int], random: torch.Generator
    ) -> None:
        super().__init__()
        self.pca = InversePCA(mean, components, scale)
        sizes = [len(mean), *widths, 3]
        self.layers = nn.ModuleList(_transposed(sizes[i], sizes[i + 1], first=i == 0) for i in range(len(sizes) - 1))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        initialise(self, random)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images ``(n, 3, size, size)`` in -1 to 1 of latents ``(n, K)``."""
        x = self.pca(latents)[:, :, None, None]
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            x = functional.relu(norm(layer(x)))
        return torch.tanh(self.layers[-1](x))

    def canonical(self) -> dict[str, np.ndarray]:
        """Return the arrays of `DANDNetwork`: batch norm's running statistics folded into the convolutions."""
        arrays = {f"pca.{name}": buffer for name, buffer in self.pca.named_buffers()}
        for i, layer in enumerate(self.layers):
            weight, bias = layer.weight.detach(), layer.bias.detach()
            if i < len(self.norms):
                weight, bias = folded(weight, bias, self.norms[i], axis=1)
            arrays |= {f"generator.layer{i + 1}.weight": weight, f"generator.layer{i + 1}.bias": bias}
        return {name: array.float().cpu().numpy() for name, array in arrays.items()}


class Discriminator(nn.Module):
    """Images ``(n, 3, size, size)`` in -1 to 1 to the logit ``(n,)`` of the probability that they are photographs.

    ::

        conv 4x4, stride 2, padding 1:  64, no batch norm;  128, 256, 512, batch norm;  each leaky ReLU 0.2
        conv 4x4, stride 1, no padding: 1;  the probability is the sigmoid of it

    Parameters
    ----------
    widths : sequence of int
        From the image downwards to 4 x 4.
    random : torch.Generator
        What the initial weights are drawn from.
    """

    def __init__(self, widths: Sequence[int], random: torch.Generator) -> None:
        super().__init__()
        sizes = [3, *widths]
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Conv2d, sizes[i], sizes[i + 1], KERNEL, stride=2, padding=1)
            for i in range(len(widths))
        )
        self.layers.append(nn.utils.skip_init(nn.Conv2d, sizes[-1], 1, KERNEL))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        initialise(self, random)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.leaky_relu(self.layers[0](images), LEAK)
        for layer, norm in zip(self.layers[1:-1], self.norms, strict=True):
            x = functional.leaky_relu(norm(layer(x)), LEAK)
        return self.layers[-1](x).flatten()


def initialise(network: nn.Module, random: torch.Generator) -> None:
    """Set biases and batch norm's shifts to 0, draw weights from N(0, 0.01) and batch norm's scales from N(1, 0.02).

    The numbers are standard deviations, as the paper's (which prints mean 1 for the weights: a network that starts
    so does not learn).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.01, generator=random)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02, generator=random)
            nn.init.zeros_(module.bias)


__all__ = ["DANDNetwork", "Discriminator", "InversePCA", "TrainableGenerator", "initialise"]
