"""`VAEGANGenerator`: the auto-encoder of VanRullen and Reddy (2019) with its published weights, both ways."""

from __future__ import annotations

import numpy as np

from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.generate.centre_square import centre_square
from hyper_bids.generate.torch_generator import TorchGenerator
from hyper_bids.weights import Weights

CROP = 0.8
"""Share of the centre square that the published network was trained on, and any whose file does not say."""

CUDA_BATCH = 64


class VAEGANGenerator(TorchGenerator):
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

    architecture = space = "vaegan"
    title = "VAE-GAN"
    range = (0.0, 1.0)

    def __init__(
        self, weights: Weights, *, resolution: int | None = None, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        from hyper_bids.generate.vaegan_network import Decoder, Encoder

        super().__init__(weights, device, dtype)
        parts = {"generator": {}, "encoder": {}}
        for name, array in weights.arrays.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = array
        self.network = Decoder(parts["generator"])
        self.encoder = Encoder(parts["encoder"]) if parts["encoder"] else None
        self.n_latents = self.network.n_latents
        self.resolution = self._checked_divisor(resolution)
        self.crop = float(weights.options.get("crop", CROP))
        self._place()

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
        return super().generate(latents)

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
    def first_layer(self) -> np.ndarray:
        """``(n_latents, n_outputs)`` weight of the decoder's dense layer, for directions in closed form."""
        return self.network.fc.weight.float().cpu().numpy().T

    def _cuda_batch(self) -> int:
        return CUDA_BATCH

    def _move(self) -> None:
        super()._move()
        if self.encoder is not None:
            self.encoder.to(device=self.device, dtype=self._type)


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
    square = centre_square(values, crop)
    if square.shape[:2] == (size, size):
        return np.ascontiguousarray(square)
    return resize(square, (size, size), order=1, anti_aliasing=square.shape[0] > size).astype(np.float32)


__all__ = ["CROP", "VAEGANGenerator", "prepared"]
