"""`TorchGenerator`: what every generator with a PyTorch network does alike, whichever network it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from hyper_bids.devices import checked_device
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.generate.checks import checked_latents, checked_shape
from hyper_bids.weights import Weights, read_weights

if TYPE_CHECKING:
    import torch
    from torch import nn

DTYPES = ("float32", "bfloat16")


class TorchGenerator(ABC):
    """Latents to images with a network: batches, size, device, number type, and a pickle without what is made anew.

    A subclass's constructor calls this one, sets ``network``, ``n_latents`` and ``resolution``, and ends with `_place`.

    Parameters
    ----------
    weights : Weights
        Canonical weights of the subclass's ``architecture``.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
    dtype : str
        One of `DTYPES`.

    Attributes
    ----------
    architecture, title : str
        As `read_weights` calls the network, and as people do.
    space : str
    n_latents : int
    resolution : int
        Height and width in pixels; where the network makes more, each pixel is the mean over a square of its pixels.
    range : (low, high)
    notes : tuple of str
        What was chosen when the file was read.

    Raises
    ------
    UsageError
        A dtype or device that there is not.
    InconsistentInput
        The weights are another network's.
    """

    architecture: str
    title: str
    space: str
    n_latents: int
    resolution: int
    range: tuple[float, float] = (-1.0, 1.0)
    network: nn.Module
    MADE_ANEW: tuple[str, ...] = ("_type",)
    """Attributes that `_place` sets and a pickle does not hold."""

    def __init__(self, weights: Weights, device: str, dtype: str) -> None:
        if weights.architecture != self.architecture:
            raise InconsistentInput(f"These weights are a {weights.architecture}, not a {self.title}: see --generator.")
        if dtype not in DTYPES:
            raise UsageError(f"Unknown dtype {dtype!r}: {' or '.join(DTYPES)}.")
        self.device, self.dtype = checked_device(device), dtype
        self.notes: tuple[str, ...] = weights.notes

    @classmethod
    def load(cls, path: Path, *, member: str | None = None, **options) -> Self:
        """Read a file (see `read_weights`) and build the generator with the options of the constructor.

        Raises
        ------
        MissingFiles, InconsistentInput, UsageError
            As `read_weights` and the constructor.
        """
        return cls(read_weights(path, member=member, architecture=cls.architecture), **options)

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return float32 images ``(n, resolution, resolution, 3)``, as the network gives them, from ``(n, n_latents)``.

        Grey networks give three equal colours.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, n_latents)``, or not finite.
        """
        import torch
        from torch.nn import functional

        values, step = self._tensor(latents), self.batch_size
        images = np.empty((len(values), self.resolution, self.resolution, 3), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(values), step):
                rows = slice(start, start + step)
                made = self._drawn(values[rows]).float()
                factor = made.shape[2] // self.resolution
                made = functional.avg_pool2d(made, factor) if factor > 1 else made
                images[rows] = made.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
        return images

    def activations(self, latents: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return layer -> maps ``(n, C, H, W)``; names as in the network's ``activations``; differentiable.

        The gradient flows back to the latents where they ask for it. All latents are computed together: give as many
        at once as fit in memory.

        Raises
        ------
        UsageError
            A layer that the network does not have.
        InconsistentInput
            The latents are not ``(n, n_latents)``.
        """
        import torch

        checked_shape(latents, self.n_latents, self.space)
        with torch.set_grad_enabled(latents.requires_grad and torch.is_grad_enabled()):
            return self._maps(latents, layers)

    @property
    def batch_size(self) -> int:
        """Images that are made at once; one by one on a CPU, where an image then does not depend on its company."""
        return self._cuda_batch() if self.device.startswith("cuda") else 1

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name not in self.MADE_ANEW}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._place()

    @abstractmethod
    def _cuda_batch(self) -> int:
        """Images that are made at once on CUDA."""

    def _drawn(self, latents: torch.Tensor) -> torch.Tensor:
        """Images ``(n, colours, size, size)`` of the network, of any size that ``resolution`` divides."""
        return self.network(self._inputs(latents))

    def _maps(self, latents: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        return self.network.activations(self._inputs(latents), layers)

    def _inputs(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(device=self.device, dtype=self._type)

    def _place(self) -> None:
        """Move the network to its device and number type."""
        import torch

        self._type = getattr(torch, self.dtype)
        self._move()

    def _move(self) -> None:
        self.network.to(device=self.device, dtype=self._type)

    def _tensor(self, latents: np.ndarray) -> torch.Tensor:
        import torch

        return torch.from_numpy(checked_latents(latents, self.n_latents, self.space).copy())

    def _checked_divisor(self, resolution: int | None) -> int:
        """Return the resolution that was asked for, if it divides the network's own, which None stands for."""
        own = self.network.resolution
        asked = own if resolution is None else int(resolution)
        if asked < 1 or own % asked:
            raise UsageError(f"This {self.title} makes images of {own} pixels or a divisor of that, not {resolution}.")
        return asked

    def _checked_label(self, label: Sequence[float] | None, n_labels: int) -> np.ndarray:
        """Return the values ``(n_labels,)`` of a network that was trained with labels; of others, none."""
        values = np.asarray([] if label is None else label, dtype=np.float32)
        if values.shape == (n_labels,) and np.isfinite(values).all():
            return values
        if label is None:
            raise UsageError(
                f"This {self.title} was trained with {n_labels} labels, which latents do not give. Use a network "
                f"without labels, or give the {n_labels} values as label= in Python."
            )
        got = f"got an array of shape {values.shape}"
        raise UsageError(f"This {self.title} takes {n_labels} finite label values, {got}.")


__all__ = ["DTYPES", "TorchGenerator"]
