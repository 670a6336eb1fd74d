"""The progressive GAN's generator (Karras et al. 2018) as one plain PyTorch graph, whatever file it came from.

Weights are in canonical form: He's constants and the latent's layout are inside the numbers, so there is no scaling
at run time and one graph serves MXNet's, TensorFlow's and PyTorch's files (`hyper_bids.weights`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hyper_bids.errors import UsageError, listing

OVERWRITTEN = ("-5", "-4", "-2", "-1")
"""Steps whose map the next step changes in place, where no gradient is asked for."""


class PGGAN(nn.Module):
    """Latents ``(n, K)`` to images ``(n, colours, size, size)``, about -1 to 1.

    ::

        z -> PN -> dense -> (C0, 4, 4) -> lrelu -> PN -> conv 3x3 -> lrelu -> PN              level 0, 4 px
        level i = 1 .. n-1:  nearest x2 -> 2 times (conv 3x3 -> lrelu -> PN)                  4 * 2^i px
        torgb_i: conv 1x1, linear                       PN(x) = x / sqrt(mean_c(x^2) + epsilon)

    In a network taken out of its growth at level of detail ``lod``, with ``lod_i = n-1-i``: levels with
    ``lod >= lod_i + 1`` only enlarge the image below them, and where ``lod_i < lod < lod_i + 1`` the image is
    ``rgb_i + (up(rgb_(i-1)) - rgb_i) (lod - lod_i)``. Finished networks have ``lod`` 0.

    Parameters
    ----------
    arrays : canonical name -> float32 array
        ``dense.weight (16 C0, K)``, ``dense.bias (16 C0)``, ``conv.*``, ``block{i}.conv0.*``, ``block{i}.conv1.*``
        for i = 1 .. n-1, ``torgb{i}.*`` for the levels that have one. Number and widths of levels follow from them.
    options : mapping
        ``epsilon``, ``normalize_latents``, ``pixelnorm``, ``leak``, ``tanh``, ``lod``.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], options: Mapping[str, object]) -> None:
        super().__init__()
        self.epsilon = float(options["epsilon"])
        self.normalize_latents = bool(options["normalize_latents"])
        self.pixelnorm = bool(options["pixelnorm"])
        self.leak = float(options["leak"])
        self.tanh = bool(options["tanh"])
        self.lod = float(options["lod"])
        self.n_levels = sum(name.endswith(".conv0.weight") for name in arrays) + 1
        with torch.device("meta"):  # no memory, and no draw from anybody's random numbers
            for name in sorted({name.rpartition(".")[0] for name in arrays}):
                self._add_layer(name, arrays[f"{name}.weight"].shape)
        tensors = {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in arrays.items()}
        self.load_state_dict(tensors, strict=True, assign=True)
        self.requires_grad_(False).eval()

    def _add_layer(self, name: str, shape: tuple[int, ...]) -> None:
        if len(shape) == 2:
            layer = nn.Linear(shape[1], shape[0])
        else:
            layer = nn.Conv2d(shape[1], shape[0], shape[2], padding=shape[2] // 2)
        parent, _, leaf = name.rpartition(".")
        if parent and parent not in self._modules:
            self.add_module(parent, nn.Module())
        (self._modules[parent] if parent else self).add_module(leaf, layer)

    @property
    def n_latents(self) -> int:
        """Inputs of the dense layer: latents, and labels where the network has them."""
        return self.dense.in_features

    @property
    def n_colours(self) -> int:
        return self._modules[f"torgb{self.n_levels - 1}"].out_channels

    @property
    def resolution(self) -> int:
        return self.pixels(self.n_levels - 1)

    @staticmethod
    def pixels(level: int) -> int:
        return 4 << level

    def level_of(self, resolution: int) -> int:
        """Return the level whose maps are ``resolution`` pixels wide.

        Raises
        ------
        UsageError
        """
        known = {self.pixels(level): level for level in range(self.n_levels)}
        if resolution not in known:
            raise UsageError(f"This PGGAN has the resolutions {listing(known, 20)} pixels, not {resolution}.")
        return known[resolution]

    def has_image_at(self, level: int) -> bool:
        """Say whether the network can colour the maps of this level; HYPER's file colours only the last."""
        deepest, fraction = self._deepest(level)
        return all(f"torgb{i}" in self._modules for i in ([deepest - 1] if fraction else []) + [deepest])

    def _deepest(self, level: int) -> tuple[int, float]:
        """Return the last level that is computed for an image of ``level``, and the share of the one below."""
        deepest = min(level, math.ceil(self.n_levels - self.lod) - 1)
        return deepest, max(self.lod - (self.n_levels - 1 - deepest), 0.0)

    def forward(self, latents: Tensor, level: int | None = None) -> Tensor:
        """Return the image ``(n, colours, size, size)`` of a level; None is the last."""
        return self._found(latents, {"image"}, self.n_levels - 1 if level is None else level)["image"]

    def activations(self, latents: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return named maps, computing no deeper than the deepest of them.

        Parameters
        ----------
        latents : (n, K)
            The gradient flows back to them where they ask for it.
        layers : names
            ``L1`` .. ``L{2n+1}``: the weight layers (dense, convolutions, RGB) after leaky ReLU and pixel norm;
            ``0`` .. ``{n-1}``: ends of the levels; ``{n}`` and above: the image; ``-7`` .. ``-1``: the steps of the
            4-pixel level as HYPER's MXNet network numbers them (normed latent, dense, bias, ReLU, norm, conv, ReLU).

        Returns
        -------
        dict of name -> (n, C, H, W), in the order asked for

        Raises
        ------
        UsageError
            A layer that this network does not have.
        """
        meaning = {layer: self._canonical_name(layer) for layer in layers}
        found = self._found(latents, set(meaning.values()), self.n_levels - 1)
        return {layer: found[name] for layer, name in meaning.items()}

    def _found(self, latents: Tensor, wanted: set[str], level: int) -> dict[str, Tensor]:
        """Go up the network once, no further than the last thing wanted; ``image`` is that of ``level``."""
        found: dict[str, Tensor] = {}
        deepest, fraction = self._deepest(level)
        in_place = not torch.is_grad_enabled()
        below = None
        for name, x in self._maps(latents, in_place) if wanted else ():
            if name in wanted:
                found[name] = x.clone() if in_place and name in OVERWRITTEN else x
            if "image" in wanted and fraction and name == str(deepest - 1):
                below = self._modules[f"torgb{deepest - 1}"](x)
            if "image" in wanted and name == str(deepest):
                image = self._modules[f"torgb{deepest}"](x)
                image = image if below is None else image + (_enlarged(below, 2) - image) * fraction
                image = _enlarged(image, 1 << (level - deepest)) if level > deepest else image
                found["image"] = torch.tanh(image) if self.tanh else image
            if len(found) == len(wanted):
                break
        return found

    def _canonical_name(self, layer: str) -> str:
        """Return the name that `_maps` gives this layer, or ``image``."""
        name, n = str(layer), self.n_levels
        is_weight_layer = name[:1] == "L"
        try:
            number = int(name[1:] if is_weight_layer else name)
        except ValueError:
            number = -99
        if is_weight_layer and 1 <= number <= 2 * n + 1:
            odd = {1: "-3", 2 * n + 1: "image"}
            return odd.get(number, f"{number // 2 - 1}" if number % 2 == 0 else f"L{number}")
        if not is_weight_layer and number >= -7:
            return str(number) if number < n else "image"
        raise UsageError(
            f"This PGGAN has no layer {layer!r}: L1 to L{2 * n + 1} are its weight layers, 0 to {n - 1} the ends of "
            f"its levels, {n} the image."
        )

    def _maps(self, latents: Tensor, in_place: bool) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, map) from the latent on; in place, the next step changes those in `OVERWRITTEN`."""
        z = latents[:, :, None, None]
        z = self._normed(z, in_place=False) if self.normalize_latents else z
        yield "-7", z
        # The dense layer's bias is added on its own only so that HYPER's layer -6 can be asked for.
        flat = functional.linear(z[:, :, 0, 0], self.dense.weight)
        yield "-6", flat.unflatten(1, (-1, 4, 4))
        x = (flat + self.dense.bias).unflatten(1, (-1, 4, 4))
        if self.conv.weight.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        yield "-5", x
        x = self._rectified(x, in_place)
        yield "-4", x
        x = self._normed(x, in_place) if self.pixelnorm else x
        yield "-3", x
        x = self.conv(x)
        yield "-2", x
        x = self._rectified(x, in_place)
        yield "-1", x
        x = self._normed(x, in_place) if self.pixelnorm else x
        yield "0", x
        for level in range(1, self.n_levels):
            block = self._modules[f"block{level}"]
            x = self._finished(block.conv0(_enlarged(x, 2)), in_place)
            yield f"L{2 * level + 1}", x
            x = self._finished(block.conv1(x), in_place)
            yield str(level), x

    def _finished(self, x: Tensor, in_place: bool) -> Tensor:
        x = self._rectified(x, in_place)
        return self._normed(x, in_place) if self.pixelnorm else x

    def _rectified(self, x: Tensor, in_place: bool) -> Tensor:
        return functional.leaky_relu(x, self.leak, inplace=in_place)

    def _normed(self, x: Tensor, in_place: bool) -> Tensor:
        """Pixel norm: divide by the root mean square over channels."""
        if in_place:  # one pass for the norm and one for the product: half the time of the last two levels
            square = torch.linalg.vector_norm(x, dim=1, keepdim=True).square_()
            return x.mul_(square.mul_(1.0 / x.shape[1]).add_(self.epsilon).rsqrt_())
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + self.epsilon)


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="nearest")
