"""`StyleGAN2Generator`: NVIDIA's style-based generator with its published weights, from z or from w."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import UsageError
from hyper_bids.generate.torch_generator import TorchGenerator
from hyper_bids.weights import Weights

if TYPE_CHECKING:
    import torch

LATENTS = {"z": "stylegan2", "w": "stylegan2w"}
"""Kind of latent -> name of the latent space."""

CUDA_BATCH_BYTES = 1 << 30
N_AVERAGED = 10_000
"""Random latents whose mean w stands in for an average that the file does not have."""


class StyleGAN2Generator(TorchGenerator):
    """StyleGAN2 (Karras et al. 2020), from NVIDIA's pickles or rosinality's checkpoints.

    Noise is the file's own constant noise, so that the same latent always gives the same image. Of the layers of
    `activations`, ``w`` is the styles (n, D).

    Parameters
    ----------
    weights : Weights
        Canonical StyleGAN2 weights, from `read_weights`.
    latent : str
        ``z``: standard normal, only its direction matters; ``w``: the mapped style, the same for all layers.
    truncation : float
        psi: styles are ``average + psi (w - average)``; 1 leaves them as they are, 0 is the mean image.
    resolution : int or None
        Height and width in pixels; None is the network's own. Lower ones stop there: the sum of the RGB layers so far.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
    dtype : str
        ``float32``, or ``bfloat16``: faster on CUDA, and off by some per cent.
    label : sequence of float or None
        For a network that was trained with labels: their values, for all images.

    Attributes
    ----------
    n_latents : int
    range : (-1.0, 1.0)
        The network's; single pixels may lie outside.
    notes : tuple of str
        What was chosen when the file was read.

    Raises
    ------
    UsageError
        An option that does not fit.
    InconsistentInput
        The weights are not a StyleGAN2's.
    """

    architecture = "stylegan2"
    title = "StyleGAN2"

    def __init__(
        self,
        weights: Weights,
        *,
        latent: str = "z",
        truncation: float = 1.0,
        resolution: int | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        label: Sequence[float] | None = None,
    ) -> None:
        from hyper_bids.generate.stylegan2_network import StyleGAN2

        super().__init__(weights, device, dtype)
        if latent not in LATENTS:
            raise UsageError(f"Unknown latent {latent!r} of StyleGAN2: {' or '.join(LATENTS)}.")
        if not 0 <= truncation <= 2:
            raise UsageError(f"The truncation of StyleGAN2 lies between 0 and 2 (1: none), not at {truncation}.")
        self.network: StyleGAN2 = StyleGAN2(weights.arrays, weights.options)
        self.latent, self.space, self.truncation = latent, LATENTS[latent], float(truncation)
        self.n_latents = self.network.n_latents if latent == "z" else self.network.n_styles
        self.notes += self._checked_size(resolution)
        self._label = self._checked_label(label, self.network.n_labels)
        self._place()
        self._average = None
        if self.truncation != 1:
            self._set_average()

    def styles(self, latents: np.ndarray) -> np.ndarray:
        """Return the styles w ``(n, D)`` that the synthesis gets: mapped, where latents are z, and truncated.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, n_latents)``, or not finite.
        """
        import torch

        with torch.inference_mode():
            return self._styles(self._tensor(latents)).cpu().numpy()

    def _cuda_batch(self) -> int:
        widths = {size: self.network.part(f"b{size}.conv1.weight").shape[0] for size in self.network.sizes}
        return max(1, CUDA_BATCH_BYTES // (16 * max(width * size**2 for size, width in widths.items())))

    def _drawn(self, latents: torch.Tensor) -> torch.Tensor:
        return self.network(self._styles(latents).to(self._type), self._size)

    def _maps(self, latents: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Maps as `StyleGAN2.activations` names them, and ``w``: the styles (n, D)."""
        styles = self._styles(latents)
        found = self.network.activations(styles.to(self._type), [layer for layer in layers if layer != "w"])
        return {layer: styles if layer == "w" else found[layer] for layer in layers}

    def _checked_size(self, resolution: int | None) -> tuple[str, ...]:
        """Set ``resolution`` and the size to compute; return what has to be said about it."""
        network = self.network
        self.resolution = network.level_of(network.resolution if resolution is None else int(resolution))
        self._size = self.resolution
        if self.resolution == network.resolution:
            return ()
        if network.has_image_at(self.resolution):
            return (f"The network was stopped at {self.resolution} pixels: the sum of its RGB layers so far.",)
        self._size = network.resolution
        factor = self._size // self.resolution
        return (f"No RGB layer at {self.resolution} pixels in this file: each pixel is a mean of {factor} x {factor}.",)

    def _set_average(self) -> None:
        """Take the average style from the file, else compute it from seeded random latents and say so."""
        import torch

        average = self.network.part("mapping.average")
        if average is None:
            draws = np.random.default_rng(0).standard_normal((N_AVERAGED, self.network.n_latents), dtype=np.float32)
            with torch.inference_mode():
                average = self._mapped(torch.from_numpy(draws)).mean(dim=0)
            average = torch.from_numpy(average.cpu().numpy().copy()).to(self.device)
            self.notes += (
                f"The file has no average style: the mean of {N_AVERAGED} random latents (seed 0) was used.",
            )
        self._average = average

    def _move(self) -> None:
        self.network.to_type(self.device, self._type)

    def _mapped(self, latents: torch.Tensor) -> torch.Tensor:
        import torch

        latents = latents.to(device=self.device, dtype=torch.float32)
        label = None
        if len(self._label):
            label = torch.from_numpy(self._label).to(self.device).expand(len(latents), -1)
        return self.network.mapped(latents, label)

    def _styles(self, latents: torch.Tensor) -> torch.Tensor:
        import torch

        styles = latents.to(device=self.device, dtype=torch.float32)
        styles = self._mapped(latents) if self.latent == "z" else styles
        return styles if self._average is None else torch.lerp(self._average, styles, self.truncation)


__all__ = ["LATENTS", "StyleGAN2Generator"]
