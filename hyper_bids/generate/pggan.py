"""`PGGANGenerator`: faces and scenes from the progressive GAN's published weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import UsageError
from hyper_bids.generate.torch_generator import TorchGenerator
from hyper_bids.weights import Weights

if TYPE_CHECKING:
    import torch

    from hyper_bids.generate.pggan_network import PGGAN

CUDA_BATCH_BYTES = 1 << 30
"""Memory for the maps of a batch on CUDA."""


class PGGANGenerator(TorchGenerator):
    """The progressive GAN (Karras et al. 2018), from any of its published files.

    The image does not depend on the length of a latent (pixel norm comes first), only on its direction.

    Parameters
    ----------
    weights : Weights
        Canonical PGGAN weights, from `read_weights`.
    resolution : int or None
        Height and width in pixels; None is the network's own. Where the file colours the maps of a lower level, the
        network stops there; else (HYPER's file) the full image is averaged over squares of pixels. `notes` says which.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
    dtype : str
        ``float32``, or ``bfloat16``: faster, and off by some per cent.
    compiled : bool
        Use `torch.compile`: the first images take long, the others are faster.
    lod : float or None
        Level of detail instead of the file's: 0 is the finished network.
    label : sequence of float or None
        For a network that was trained with labels: their values, for all images.

    Attributes
    ----------
    n_latents : int
    range : (-1.0, 1.0)
        The network's; single pixels may lie outside.
    notes : tuple of str
        What was chosen when the file was read, for sidecars and reports.

    Raises
    ------
    UsageError
        A resolution, level of detail, dtype, device or label that does not fit.
    InconsistentInput
        The weights are not a PGGAN's.
    """

    architecture = space = "pggan"
    title = "PGGAN"
    MADE_ANEW = ("_type", "_run")

    def __init__(
        self,
        weights: Weights,
        *,
        resolution: int | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        compiled: bool = False,
        lod: float | None = None,
        label: Sequence[float] | None = None,
    ) -> None:
        from hyper_bids.generate.pggan_network import PGGAN

        super().__init__(weights, device, dtype)
        options = dict(weights.options)
        options["lod"] = float(options["lod"] if lod is None else lod)
        self.network: PGGAN = PGGAN(weights.arrays, options)
        self.notes += self._checked_size(resolution)
        self._label = self._checked_label(label, int(options["n_labels"]))
        self.n_latents = self.network.n_latents - len(self._label)
        self.compiled = bool(compiled)
        self._place()

    @property
    def first_layer(self) -> np.ndarray:
        """``(n_latents, n_outputs)`` weight of the dense layer, for directions in closed form."""
        return self.network.dense.weight.float().cpu().numpy()[:, : self.n_latents].T

    def _cuda_batch(self) -> int:
        top = self.network.n_levels - 1
        widths = [self.network.get_submodule(f"block{i}.conv0").in_channels for i in range(1, top + 1)] or [64]
        largest = max(3 * width * self.network.pixels(i + 1) ** 2 for i, width in enumerate(widths))
        return max(1, CUDA_BATCH_BYTES // (4 * largest))

    def _checked_size(self, resolution: int | None) -> tuple[str, ...]:
        """Set ``resolution`` and the level to compute; return what has to be said about it."""
        network = self.network
        top = network.n_levels - 1
        if not 0.0 <= network.lod <= top:
            raise UsageError(f"This PGGAN has levels of detail from 0 to {top}, not {network.lod:g}.")
        if not network.has_image_at(top):
            raise UsageError(f"This file colours only its last level: level of detail {network.lod:g} needs others.")
        self.resolution = network.resolution if resolution is None else int(resolution)
        self._level = network.level_of(self.resolution)
        if self._level == top:
            return ()
        if network.has_image_at(self._level):
            return (f"The network was stopped at {self.resolution} pixels, where its colours are those of its growth.",)
        factor = 1 << (top - self._level)
        self._level = top
        return (f"No RGB layer at {self.resolution} pixels in this file: each pixel is a mean of {factor} x {factor}.",)

    def _move(self) -> None:
        """Move the network to its device and prepare the call; channels last is twice as fast on a CPU."""
        import torch

        self.network.to(device=self.device, dtype=self._type, memory_format=torch.channels_last)
        self._run = self.network.forward
        if self.compiled:
            # Freezing folds the weights into the compiled graph. It holds for inference only, as here.
            options = {"freezing": True} if self.device == "cpu" else None
            self._run = torch.compile(self.network.forward, options=options, dynamic=False)

    def _inputs(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        inputs = super()._inputs(values)
        if len(self._label):
            label = torch.from_numpy(self._label).to(inputs)
            inputs = torch.cat([inputs, label.expand(len(inputs), -1)], dim=1)
        return inputs

    def _drawn(self, latents: torch.Tensor) -> torch.Tensor:
        return self._run(self._inputs(latents), self._level)


__all__ = ["PGGANGenerator"]
