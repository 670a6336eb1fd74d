"""`VAEGANGenerator`: the auto-encoder of VanRullen and Reddy (2019) with its published weights, both ways."""

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
CROP = 0.8
"""Share of the centre square that the published network was trained on, and any whose file does not say."""

CUDA_BATCH = 64


class VAEGANGenerator:
    """VAE-GAN: latents (mu, each in -1 to 1, not standard normal) to images, and images to latents.

    Parameters
    ----------
    weights : Weights
        Canonical VAE-GAN weights, from `read_weights`.
    resolution : int or None
        Height and width in pixels; None is the network's own (128). A lower one, which must divide it, is the mean
        over squares of pixels.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
    dtype : str
        ``float32``, or ``bfloat16``: faster on CUDA, and off by some per cent.

    Attributes
    ----------
    n_latents : int
    crop : float
        Share of the centre square that the network was trained on.
    range : (0.0, 1.0)
        Of `generate`, which shows images as the paper does; `network_output` gives them as the network does.
    notes : tuple of str
        What was chosen when the file was read.

    Raises
    ------
    UsageError
        A resolution, dtype or device that does not fit.
    InconsistentInput
        The weights are not a VAE-GAN's.
    """

    space = "vaegan"
    range = (0.0, 1.0)

    def __init__(
        self, weights: Weights, *, resolution: int | None = None, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        from hyper_bids.generate.vaegan_network import Decoder, Encoder

        if weights.architecture != "vaegan":
            raise InconsistentInput(f"These weights are a {weights.architecture}, not a VAE-GAN: see --generator.")
        if dtype not in DTYPES:
            raise UsageError(f"Unknown dtype {dtype!r}: {' or '.join(DTYPES)}.")
        parts = {"generator": {}, "encoder": {}}
        for name, array in weights.arrays.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = array
        self.decoder = Decoder(parts["generator"])
        self.encoder = Encoder(parts["encoder"]) if parts["encoder"] else None
        self.n_latents = self.decoder.n_latents
        self.resolution = self.decoder.resolution if resolution is None else int(resolution)
        if self.resolution < 1 or self.decoder.resolution % self.resolution:
            raise UsageError(
                f"This VAE-GAN makes images of {self.decoder.resolution} pixels or a divisor of that, not {resolution}."
            )
        self.crop = float(weights.options.get("crop", CROP))
        self.notes = weights.notes
        self.device = checked_device(device)
        self.dtype = dtype
        self._place()

    @classmethod
    def load(cls, path: Path, **options) -> VAEGANGenerator:
        """Read a file (see `read_weights`) and build the generator with the options of the constructor.

        Raises
        ------
        MissingFiles, InconsistentInput, UsageError
            As `read_weights` and the constructor.
        """
        return cls(read_weights(path, architecture="vaegan"), **options)

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return float32 images ``(n, resolution, resolution, 3)`` in 0 to 1: ``clip(g / max(g), 0, 1)`` of each.

        An image without any positive value is black.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, n_latents)``, or not finite.
        """
        images = self.network_output(latents)
        largest = images.max(axis=(1, 2, 3), keepdims=True, initial=0.0)
        return np.clip(images / np.where(largest > 0, largest, np.float32(1)), 0.0, 1.0)

    def network_output(self, latents: np.ndarray) -> np.ndarray:
        """Return images g as the network gives them, not clipped and not scaled, ``(n, resolution, resolution, 3)``.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, n_latents)``, or not finite.
        """
        import torch
        from torch.nn import functional

        values = torch.from_numpy(checked_latents(latents, self.n_latents, self.space).copy())
        images = np.empty((len(values), self.resolution, self.resolution, 3), dtype=np.float32)
        factor = self.decoder.resolution // self.resolution
        with torch.inference_mode():
            for start in range(0, len(values), self.batch_size):
                rows = slice(start, start + self.batch_size)
                made = self.decoder(self._inputs(values[rows])).float()
                made = functional.avg_pool2d(made, factor) if factor > 1 else made
                images[rows] = made.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()
        return images

    def activations(self, latents: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return layer -> maps ``(n, C, H, W)``; names as in `Decoder.activations`; differentiable in the latents.

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
            return self.decoder.activations(self._inputs(latents), layers)

    def encode(self, pixels: np.ndarray, *, crop: float | None = None) -> np.ndarray:
        """Return the latents mu ``(n, n_latents)`` of images, as float32 in -1 to 1.

        Parameters
        ----------
        pixels : (n, height, width, 3)
            uint8 RGB, or floats in 0 to 1.
        crop : float or None
            Share of the centre square to keep, see `prepared`; None is the training's (`crop`), 1 is for images that
            were cut already, as the published stimuli of 128 pixels are.

        Raises
        ------
        InconsistentInput
            Not such images, or the file has no encoder.
        """
        import torch

        if self.encoder is None:
            raise InconsistentInput("This VAE-GAN file has no encoder: only latents to images. Use the published file.")
        pixels = np.asarray(pixels)
        if pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape[1:]:
            raise InconsistentInput(f"The VAE-GAN encodes images of shape (n, height, width, 3), got {pixels.shape}.")
        crop = self.crop if crop is None else crop
        latents = np.empty((len(pixels), self.n_latents), dtype=np.float32)
        n_colours = self.encoder.layer1.in_channels
        with torch.inference_mode():
            for i, image in enumerate(pixels):
                ready = torch.from_numpy(prepared(image, self.encoder.resolution, crop)).permute(2, 0, 1)
                ready = ready.mean(0, keepdim=True) if n_colours == 1 else ready
                latents[i] = self.encoder(self._inputs(ready[None]))[0].float().cpu().numpy()
        return latents

    @property
    def batch_size(self) -> int:
        """Images that are made at once; one by one on a CPU, where an image then does not depend on its company."""
        return CUDA_BATCH if self.device.startswith("cuda") else 1

    @property
    def first_layer(self) -> np.ndarray:
        """``(n_latents, n_outputs)`` weight of the decoder's dense layer, for directions in closed form."""
        return self.decoder.fc.weight.float().cpu().numpy().T

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_type"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._place()

    def _place(self) -> None:
        import torch

        self._type = getattr(torch, self.dtype)
        for network in filter(None, (self.decoder, self.encoder)):
            network.to(device=self.device, dtype=self._type)

    def _inputs(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(device=self.device, dtype=self._type)


def prepared(image: np.ndarray, size: int, crop: float = CROP) -> np.ndarray:
    """Return an image as the VAE-GAN was trained on them: centre square, its middle ``crop``, ``size`` pixels, 0 to 1.

    As the authors' ``preprocess128``, with scikit-image's resizing (linear; smoothed before where it shrinks).

    Parameters
    ----------
    image : (height, width, 3)
        uint8, or floats in 0 to 1.

    Returns
    -------
    (size, size, 3) float32

    Raises
    ------
    InconsistentInput
        Other numbers, or not finite ones.
    UsageError
        A crop that is not above 0 and at most 1.
    """
    from skimage.transform import resize

    if not 0 < crop <= 1:
        raise UsageError(f"The crop of the VAE-GAN's encoder is a share above 0 and at most 1, not {crop}.")
    image = np.asarray(image)
    if image.dtype == np.uint8:
        values = image / np.float32(255)
    elif image.dtype.kind == "f" and np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1:
        values = image.astype(np.float32)
    else:
        raise InconsistentInput(f"The VAE-GAN encodes uint8 images, or floats in 0 to 1, not these {image.dtype}.")
    side = min(values.shape[:2])
    top, left = (values.shape[0] - side) // 2, (values.shape[1] - side) // 2
    margin = int(side * ((1 - crop) / 2))
    inner = slice(margin, side - margin)
    square = values[top : top + side, left : left + side][inner, inner]
    if square.shape[:2] == (size, size):
        return np.ascontiguousarray(square)
    return resize(square, (size, size), order=1, anti_aliasing=square.shape[0] > size).astype(np.float32)


__all__ = ["CROP", "DTYPES", "VAEGANGenerator", "prepared"]
