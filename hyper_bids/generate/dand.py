"""`DANDGenerator`: images from principal components of a recognition network's features (Güçlütürk et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.generate.checks import checked_latents
from hyper_bids.generate.devices import checked_device
from hyper_bids.weights import Weights, read_weights

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16")
CUDA_BATCH = 256


class DANDGenerator:
    """DAND's generator: standardised principal component scores of VGG-Face features to faces of 64 pixels.

    Parameters
    ----------
    weights : Weights
        Canonical DAND weights, from `read_weights`; `hyper-tools train dand` writes them.
    resolution : int or None
        Height and width in pixels; None is the network's own (64). A lower one, which must divide it, is the mean over
        squares of pixels.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
    dtype : str
        ``float32``, or ``bfloat16``: faster on CUDA, and off by some per cent.

    Attributes
    ----------
    n_latents : int
    range : (-1.0, 1.0)
    notes : tuple of str
        What was chosen when the file was read, and which network's features the latents are of.

    Raises
    ------
    UsageError
        A resolution, dtype or device that does not fit.
    InconsistentInput
        The weights are not a DAND generator's.
    """

    space = "dand"
    range = (-1.0, 1.0)

    def __init__(
        self, weights: Weights, *, resolution: int | None = None, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        from hyper_bids.generate.dand_network import DANDNetwork

        if weights.architecture != "dand":
            raise InconsistentInput(f"These weights are a {weights.architecture}, not a DAND: see --generator.")
        if dtype not in DTYPES:
            raise UsageError(f"Unknown dtype {dtype!r}: {' or '.join(DTYPES)}.")
        self.network = DANDNetwork(weights.arrays)
        self.n_latents = self.network.n_latents
        self.resolution = self.network.resolution if resolution is None else int(resolution)
        if self.resolution < 1 or self.network.resolution % self.resolution:
            raise UsageError(
                f"This DAND makes images of {self.network.resolution} pixels or a divisor of that, not {resolution}."
            )
        self.notes = (*weights.notes, *_origin_of_latents(weights))
        self.device = checked_device(device)
        self.dtype = dtype
        self._place()

    @classmethod
    def load(cls, path: Path, **options) -> DANDGenerator:
        """Read a file (see `read_weights`) and build the generator with the options of the constructor.

        Raises
        ------
        MissingFiles, InconsistentInput, UsageError
            As `read_weights` and the constructor.
        """
        return cls(read_weights(path, architecture="dand"), **options)

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return float32 images ``(n, resolution, resolution, 3)`` in -1 to 1 from latents ``(n, n_latents)``.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, n_latents)``, or not finite.
        """
        import torch
        from torch.nn import functional

        values = torch.from_numpy(checked_latents(latents, self.n_latents, self.space).copy())
        images = np.empty((len(values), self.resolution, self.resolution, 3), dtype=np.float32)
        factor = self.network.resolution // self.resolution
        with torch.inference_mode():
            for start in range(0, len(values), self.batch_size):
                rows = slice(start, start + self.batch_size)
                made = self.network(self._inputs(values[rows])).float()
                made = functional.avg_pool2d(made, factor) if factor > 1 else made
                images[rows] = made.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
        return images

    def activations(self, latents: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return layer -> maps ``(n, C, H, W)``; names as in `DANDNetwork.activations`; differentiable in the latents.

        Raises
        ------
        UsageError
            A layer that the network does not have.
        InconsistentInput
            The latents are not ``(n, n_latents)``.
        """
        import torch

        if latents.ndim != 2 or latents.shape[1] != self.n_latents:
            raise InconsistentInput(
                f"Generator {self.space} needs latents of shape (n, {self.n_latents}), got {tuple(latents.shape)}."
            )
        with torch.set_grad_enabled(latents.requires_grad and torch.is_grad_enabled()):
            return self.network.activations(self._inputs(latents), layers)

    @property
    def batch_size(self) -> int:
        """Images that are made at once; one by one on a CPU, where an image then does not depend on its company."""
        return CUDA_BATCH if self.device.startswith("cuda") else 1

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_type"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._place()

    def _place(self) -> None:
        import torch

        self._type = getattr(torch, self.dtype)
        self.network.to(device=self.device, dtype=self._type)

    def _inputs(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(device=self.device, dtype=self._type)


def _origin_of_latents(weights: Weights) -> tuple[str, ...]:
    named = weights.options.get("features")
    if named is None:
        return ()
    layer, checksum = weights.options.get("features_layer", "?"), str(weights.options.get("features_sha256", "?"))
    return (f"Latents are principal components of {named} {layer}; its weights have the SHA-256 {checksum}.",)


__all__ = ["DTYPES", "DANDGenerator"]
