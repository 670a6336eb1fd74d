"""A loss in a layer of a generator (HYPER 2020): how unlike are the activations of true and predicted latents?

For one trial, with ``a`` the activation (channels, height, width) at the layer and its central
part in height and width alone,

    loss = 1/2 * mean over units of (a(predicted) - a(true))^2

the convention of the latent loss (half a *mean*). The generator is frozen: the gradient flows
through it to the latents, and its own parameters are neither changed nor given gradients.

The generator is passed in (`DifferentiableGenerator`); where it comes from is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from hyper_bids.errors import InconsistentInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CACHE_BYTES = 2**31
"""Activations of the true latents are kept where they fit into this (2 GiB), else computed anew for every batch."""

PIXELS = 2**16
"""Pixels of the layer's maps, over trials, that go through the generator at a time; bounds the memory of gradients.

16 trials where maps are 64 pixels high, 4 at 128, 1 at 256 and above."""


@runtime_checkable
class DifferentiableGenerator(Protocol):
    """What a generator has to offer so that decoders can be trained through it.

    Where it is a `torch.nn.Module` it is on the decoder's device and in ``eval()`` mode, so that
    no trial of a batch changes another's activation.

    Attributes
    ----------
    n_latents : int
    """

    n_latents: int

    def activations(self, latents: Tensor, layers: Sequence[str | int]) -> Mapping[str | int, Tensor]:
        """Return layer -> activations ``(n, channels, height, width)`` of ``latents`` (n, n_latents).

        They carry gradients to ``latents``, and nothing beyond the deepest layer asked for is computed.
        """
        ...


class LayerLoss:
    """Half the mean squared difference between a layer's activations of predicted and of true latents.

    Parameters
    ----------
    model : the frozen generator
    layer : name of one of its layers
    crop : central share of the maps in height and in width; 1 is the whole map
    true : (n_trials, n_latents) float32 latents in the units of the generator, on its device
    offset, scale : (n_latents,) the decoder's outputs times ``scale`` plus ``offset`` are latents

    Raises
    ------
    InconsistentInput
        The generator takes another number of latents, has no such layer, lives on another device, is not in
        ``eval()`` mode, or returns something else than maps with gradients.
    """

    def __init__(
        self, model: DifferentiableGenerator, layer: str | int, crop: float, true: Tensor, offset: Tensor,
        scale: Tensor,
    ) -> None:  # fmt: skip
        import torch

        _check_model(model, true)
        self.model, self.layer, self.crop = model, layer, crop
        self.offset, self.scale = offset, scale
        distinct, place = np.unique(true.cpu().numpy(), axis=0, return_inverse=True)
        self.true = torch.from_numpy(distinct).to(true.device)
        self.place = torch.from_numpy(place.reshape(-1)).to(true.device)
        with torch.no_grad():
            maps = self._maps(self.true[:1])
            self.at_once = max(1, PIXELS // (maps.shape[2] * maps.shape[3]))
            units = self._central(maps)[0].numel()
            self.known = self._all_activations() if 4 * units * len(distinct) <= CACHE_BYTES else None

    def value(self, output: Tensor, rows: Tensor) -> Tensor:
        losses = [self._sum(output[part], rows[part]) for part in self._parts(len(output))]
        return sum(losses) / len(output)

    def value_and_gradient(self, output: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        gradient, total = torch.empty_like(output), torch.zeros((), device=output.device)
        for part in self._parts(len(output)):
            with torch.enable_grad():
                leaf = output[part].detach().requires_grad_()
                loss = self._sum(leaf, rows[part]) / len(output)
                if not loss.requires_grad:
                    raise InconsistentInput(
                        f"Activations of {type(self.model).__name__} at layer {self.layer!r} carry no gradient to its "
                        "latents; a decoder cannot be trained through them (is there a no_grad or detach inside?)."
                    )
                gradient[part] = torch.autograd.grad(loss, leaf)[0]
            total += loss.detach()
        return total, gradient

    def _sum(self, output: Tensor, rows: Tensor) -> Tensor:
        """Sum over trials of their losses."""
        import torch

        with torch.no_grad():
            place = self.place[rows]
            true = self._central(self._maps(self.true[place])) if self.known is None else self.known[place]
        difference = self._central(self._maps(output * self.scale + self.offset)) - true
        return difference.square().flatten(1).mean(dim=1).sum() / 2

    def _all_activations(self) -> Tensor:
        import torch

        return torch.cat([self._central(self._maps(self.true[part])) for part in self._parts(len(self.true))])

    def _parts(self, n: int) -> Iterator[slice]:
        return (slice(start, start + self.at_once) for start in range(0, n, self.at_once))

    def _maps(self, latents: Tensor) -> Tensor:
        """Activations ``(n, channels, height, width)`` at the layer."""
        name = type(self.model).__name__
        found = self.model.activations(latents, [self.layer])
        if self.layer not in found:
            raise InconsistentInput(
                f"{name}.activations was asked for layer {self.layer!r} and returned {list(found)}."
            )
        maps = found[self.layer]
        if maps.ndim != 4 or len(maps) != len(latents):
            raise InconsistentInput(
                f"{name} returned activations {tuple(maps.shape)} for {len(latents)} latents at layer {self.layer!r}; "
                "needed: (n, channels, height, width)."
            )
        return maps

    def _central(self, maps: Tensor) -> Tensor:
        """Central part ``(n, channels, h, w)`` of the maps."""
        (top, height), (left, width) = (_span(size, self.crop) for size in maps.shape[2:])
        return maps[:, :, top : top + height, left : left + width]


def _span(size: int, share: float) -> tuple[int, int]:
    """Start and length of the central share of an axis; at least one unit.

    >>> _span(8, 0.5), _span(7, 0.5), _span(1, 0.5), _span(5, 1.0)
    ((2, 4), (2, 3), (0, 1), (0, 5))
    """
    length = max(1, int(size * share))
    return (size - length) // 2, length


def _check_model(model: DifferentiableGenerator, true: Tensor) -> None:
    import torch

    name = type(model).__name__
    if not isinstance(model, DifferentiableGenerator):
        raise InconsistentInput(
            f"A layer loss needs a generator with n_latents and activations(latents, layers), got {name}; "
            "see hyper_bids.decode.layer_loss.DifferentiableGenerator."
        )
    if model.n_latents != true.shape[1]:
        raise InconsistentInput(
            f"The layer loss's generator {name} takes {model.n_latents} latents, the latents decoded have "
            f"{true.shape[1]}. Use the generator of this latent space."
        )
    if not isinstance(model, torch.nn.Module):
        return
    if model.training:
        raise InconsistentInput(f"The layer loss's generator {name} is in training mode; call its eval() first.")
    for parameter in model.parameters():
        if parameter.device.type != true.device.type:
            raise InconsistentInput(
                f"The layer loss's generator {name} is on {parameter.device}, the decoder on {true.device}; "
                "both have to be on one device."
            )


def exact_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """Convolutions in full float32 that give the same bits every time, while the context lasts.

    Only cuDNN does otherwise; the process's own setting is put back afterwards.
    """
    import torch

    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
