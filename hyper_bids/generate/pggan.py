"""`PGGANGenerator`: faces and scenes from the progressive GAN's published weights."""

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

    from hyper_bids.generate.pggan_network import PGGAN

DTYPES = ("float32", "bfloat16")
CUDA_BATCH_BYTES = 1 << 30
"""Memory for the maps of a batch on CUDA. On a CPU images are made one by one: it is as fast, needs the least memory,
and an image does not depend on its company."""


class PGGANGenerator:
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

    space = "pggan"
    range = (-1.0, 1.0)

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

        if weights.architecture != "pggan":
            raise InconsistentInput(f"These weights are a {weights.architecture}, not a PGGAN. Use --generator for it.")
        if dtype not in DTYPES:
            raise UsageError(f"Unknown dtype {dtype!r}: {' or '.join(DTYPES)}.")
        options = dict(weights.options)
        options["lod"] = float(options["lod"] if lod is None else lod)
        self.network: PGGAN = PGGAN(weights.arrays, options)
        self.notes = (*weights.notes, *self._checked_size(resolution))
        self._label = self._checked_label(label, int(options["n_labels"]))
        self.n_latents = self.network.n_latents - len(self._label)
        self.device = checked_device(device)
        self.dtype = dtype
        self.compiled = bool(compiled)
        self._place()

    @classmethod
    def load(cls, path: Path, *, member: str | None = None, **options) -> PGGANGenerator:
        """Read a file (see `read_weights`) and build the generator with the options of the constructor.

        Raises
        ------
        MissingFiles, InconsistentInput, UsageError
            As `read_weights` and the constructor.
        """
        return cls(read_weights(path, member=member, architecture="pggan"), **options)

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return float32 images ``(n, resolution, resolution, 3)``, as the network gives them, from ``(n, n_latents)``.

        Grey networks give three equal colours.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, n_latents)``, or not finite.
        """
        import torch

        values = torch.from_numpy(checked_latents(latents, self.n_latents, self.space).copy())
        images = np.empty((len(values), self.resolution, self.resolution, 3), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(values), self.batch_size):
                rows = slice(start, start + self.batch_size)
                images[rows] = self._draw(self._inputs(values[rows])).cpu().numpy()
        return images

    def activations(self, latents: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return layer -> maps ``(n, C, H, W)``; names as in `PGGAN.activations`; differentiable in the latents.

        All latents are computed together: give as many at once as fit in memory.

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
    def first_layer(self) -> np.ndarray:
        """``(n_latents, n_outputs)`` weight of the dense layer, for directions in closed form."""
        return self.network.dense.weight.float().cpu().numpy()[:, : self.n_latents].T

    @property
    def batch_size(self) -> int:
        """Images that `generate` makes at once."""
        if not self.device.startswith("cuda"):
            return 1
        top = self.network.n_levels - 1
        widths = [self.network.get_submodule(f"block{i}.conv0").in_channels for i in range(1, top + 1)] or [64]
        largest = max(3 * width * self.network.pixels(i + 1) ** 2 for i, width in enumerate(widths))
        return max(1, CUDA_BATCH_BYTES // (4 * largest))

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_run"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._place()

    def _checked_size(self, resolution: int | None) -> list[str]:
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
            return []
        if network.has_image_at(self._level):
            return [f"The network was stopped at {self.resolution} pixels, where its colours are those of its growth."]
        factor = 1 << (top - self._level)
        self._level = top
        return [f"No RGB layer at {self.resolution} pixels in this file: each pixel is a mean of {factor} x {factor}."]

    @staticmethod
    def _checked_label(label: Sequence[float] | None, n_labels: int) -> np.ndarray:
        values = np.asarray([] if label is None else label, dtype=np.float32)
        if values.shape == (n_labels,) and np.isfinite(values).all():
            return values
        if label is None:
            raise UsageError(
                f"This PGGAN was trained with {n_labels} labels, which latents do not give. Use a network without "
                f"labels, or give the {n_labels} values as label= in Python."
            )
        raise UsageError(f"This PGGAN takes {n_labels} finite label values, got an array of shape {values.shape}.")

    def _place(self) -> None:
        """Move the network to its device and prepare the call; channels last is twice as fast on a CPU."""
        import torch

        self._type = getattr(torch, self.dtype)
        self.network.to(device=self.device, dtype=self._type, memory_format=torch.channels_last)
        self._run = self.network.forward
        if self.compiled:
            # Freezing folds the weights into the compiled graph. It holds for inference only, as here.
            options = {"freezing": True} if self.device == "cpu" else None
            self._run = torch.compile(self.network.forward, options=options, dynamic=False)

    def _inputs(self, latents: torch.Tensor) -> torch.Tensor:
        import torch

        inputs = latents.to(device=self.device, dtype=self._type)
        if len(self._label):
            label = torch.from_numpy(self._label).to(inputs)
            inputs = torch.cat([inputs, label.expand(len(inputs), -1)], dim=1)
        return inputs

    def _draw(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return images ``(n, resolution, resolution, 3)`` float32 on the device."""
        from torch.nn import functional

        images = self._run(inputs, self._level).float()
        factor = images.shape[2] // self.resolution
        if factor > 1:
            images = functional.avg_pool2d(images, factor)
        return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)


__all__ = ["DTYPES", "PGGANGenerator"]
