"""StyleGAN2's generator (Karras et al. 2020) with RGB skips as a plain PyTorch graph: no compiled operations.

Weights are in canonical form (`hyper_bids.weights.stylegan2_canonical`): run-time gains are inside the
numbers. A modulated convolution scales its input by the style and its output by the demodulation, which equals scaling
the weights and needs no weights per image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hyper_bids.errors import UsageError, listing
from hyper_bids.generate.network_maps import maps_named

EPSILON = 1e-8
LEAK, GAIN = 0.2, sqrt(2.0)


class StyleGAN2(nn.Module):
    """Latents ``(n, K)`` to styles w ``(n, D)`` (`mapped`), and those to images ``(n, colours, size, size)``.

    ::

        mapping:    z / rms(z) -> fc layers, each leaky ReLU * sqrt 2                            w
        synthesis:  const (C, 4, 4) -> conv1 -> torgb;  r = 8, 16, ...: conv0 (x 2) -> conv1 -> torgb
        image:      sum of all torgb, each enlarged by the filter [1, 3, 3, 1]
        conv:       x * s -> conv 3x3 -> * 1 / sqrt(sum (W s)^2 + 1e-8) + noise -> + bias -> leaky ReLU * sqrt 2
        s = affine(w)

    Parameters
    ----------
    arrays : canonical name -> float32 array
    options : mapping with ``conv_clamp``
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], options: Mapping[str, object]) -> None:
        super().__init__()
        self.clamp = float(options["conv_clamp"])
        for name, array in arrays.items():
            self.register_buffer(name.replace(".", "_"), torch.from_numpy(np.array(array, dtype=np.float32)))
        self.sizes = sorted(int(name[1:].partition(".")[0]) for name in arrays if name.endswith(".conv1.weight"))
        self.n_mapping = sum(name.startswith("mapping.fc") for name in arrays) // 2
        tap = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("blur", (torch.outer(tap, tap) / 16.0)[None, None])
        self.eval()

    def part(self, name: str) -> Tensor | None:
        """Return an array by its canonical name, None where this network has none."""
        return self._buffers.get(name.replace(".", "_"))

    @property
    def n_labels(self) -> int:
        embed = self.part("mapping.embed.weight")
        return 0 if embed is None else embed.shape[1]

    @property
    def n_latents(self) -> int:
        embed = self.part("mapping.embed.bias")
        return self.part("mapping.fc0.weight").shape[1] - (0 if embed is None else len(embed))

    @property
    def n_styles(self) -> int:
        return len(self.part(f"mapping.fc{self.n_mapping - 1}.bias"))

    @property
    def resolution(self) -> int:
        return self.sizes[-1]

    @property
    def n_colours(self) -> int:
        return len(self.part(f"b{self.resolution}.torgb.bias"))

    def level_of(self, resolution: int) -> int:
        """Return ``resolution`` if the network has maps of that size.

        Raises
        ------
        UsageError
        """
        if resolution not in self.sizes:
            raise UsageError(f"This StyleGAN2 has the resolutions {listing(self.sizes, 20)} pixels, not {resolution}.")
        return resolution

    def has_image_at(self, size: int) -> bool:
        return all(self.part(f"b{r}.torgb.weight") is not None for r in self.sizes if r <= size)

    def to_type(self, device: str, dtype: torch.dtype) -> None:
        """Move to a device; the mapping, which is small, stays in float32."""
        for name, buffer in self._buffers.items():
            self._buffers[name] = buffer.to(device=device, dtype=torch.float32 if name[:7] == "mapping" else dtype)

    def mapped(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the styles w ``(n, D)`` of latents z ``(n, K)``."""
        x = _unit(latents)
        if labels is not None:
            embedded = functional.linear(labels, self.part("mapping.embed.weight"), self.part("mapping.embed.bias"))
            x = torch.cat([x, _unit(embedded)], dim=1)
        for i in range(self.n_mapping):
            x = functional.linear(x, self.part(f"mapping.fc{i}.weight"), self.part(f"mapping.fc{i}.bias"))
            x = functional.leaky_relu(x, LEAK) * GAIN
        return x

    def forward(self, styles: Tensor, size: int | None = None) -> Tensor:
        """Return the image of styles w ``(n, D)``: the sum of the RGB layers up to a resolution."""
        return self.activations(styles, [f"b{size or self.resolution}.rgb"])[f"b{size or self.resolution}.rgb"]

    def activations(self, styles: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return named maps ``(n, C, H, W)``, computing no deeper than the deepest of them.

        ``b{r}.conv0`` (not at 4) and ``b{r}.conv1``: convolutions after leaky ReLU; ``b{r}.rgb``: the image so far;
        ``image``: the last of those.

        Raises
        ------
        UsageError
            A layer that this network does not have.
        """
        last = f"b{self.resolution}.rgb"
        meaning = {layer: last if layer == "image" else str(layer) for layer in layers}
        known = {f"b{r}.{part}" for r in self.sizes for part in ("conv0", "conv1", "rgb")} - {"b4.conv0"}
        for layer, name in meaning.items():
            if name not in known:
                raise UsageError(
                    f"This StyleGAN2 has no layer {layer!r}: w, b4.conv1, b4.rgb, b8.conv0, b8.conv1, b8.rgb ... "
                    f"{last}, image."
                )
        found = maps_named(self._maps(styles), meaning.values())
        return {layer: found[name] for layer, name in meaning.items()}

    def _maps(self, styles: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = self.part("const").expand(len(styles), -1, -1, -1)
        image = None
        for size in self.sizes:
            if size > 4:
                x = self._convolved(x, styles, f"b{size}.conv0", enlarge=True)
                yield f"b{size}.conv0", x
            x = self._convolved(x, styles, f"b{size}.conv1", enlarge=False)
            yield f"b{size}.conv1", x
            if image is not None:
                image = functional.conv_transpose2d(
                    image, self.blur.expand(image.shape[1], -1, -1, -1), stride=2, padding=1, groups=image.shape[1]
                )
            if self.part(f"b{size}.torgb.weight") is not None:
                colours = self._coloured(x, styles, f"b{size}.torgb")
                image = colours if image is None else image + colours
            if image is not None:
                yield f"b{size}.rgb", image
            elif size < self.resolution:
                yield f"b{size}.rgb", x.new_zeros(len(x), self.n_colours, size, size)

    def _style(self, styles: Tensor, name: str) -> Tensor:
        return functional.linear(styles, self.part(f"{name}.affine.weight"), self.part(f"{name}.affine.bias"))

    def _convolved(self, x: Tensor, styles: Tensor, name: str, enlarge: bool) -> Tensor:
        weight = self.part(f"{name}.weight")
        style = self._style(styles, name)
        power = functional.linear(style.square(), weight.square().sum(dim=(2, 3)))  # (n, out)
        x = x * style[:, :, None, None]
        if enlarge:
            x = functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            x = functional.conv2d(x, self.blur.expand(x.shape[1], -1, -1, -1), padding=1, groups=x.shape[1])
        else:
            x = functional.conv2d(x, weight, padding=1)
        scale, shift = torch.rsqrt(power + EPSILON)[:, :, None, None], self.part(f"{name}.bias")[:, None, None]
        noise = self.part(f"{name}.noise")
        if not torch.is_grad_enabled():  # in place: half the memory of the last levels
            x = x.mul_(scale) if noise is None else x.mul_(scale).add_(noise)
            return self._clamped(functional.leaky_relu_(x.add_(shift), LEAK).mul_(GAIN))
        x = x * scale if noise is None else x * scale + noise
        return self._clamped(functional.leaky_relu(x + shift, LEAK) * GAIN)

    def _coloured(self, x: Tensor, styles: Tensor, name: str) -> Tensor:
        x = x * self._style(styles, name)[:, :, None, None]
        return self._clamped(functional.conv2d(x, self.part(f"{name}.weight"), self.part(f"{name}.bias")))

    def _clamped(self, x: Tensor) -> Tensor:
        return x.clamp(-self.clamp, self.clamp) if self.clamp else x


def _unit(x: Tensor) -> Tensor:
    """Divide by the root mean square over the vector."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)
