"""`Portrait`: the built-in procedural face, whose attributes are hyperplanes known by construction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.devices import checked_device
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.generate.checks import checked_latents
from hyper_bids.generate.portrait_features import ATTRIBUTES, N_LATENTS, basis

if TYPE_CHECKING:
    import torch

PIXELS_PER_CHUNK = 8 * 128 * 128
"""Faces are drawn a few at a time: it bounds the memory, and small chunks stay in the processor's cache."""


class Portrait:
    """A drawn face from 64 standard normal latents: differentiable, and without any weights.

    Gender, age, eyeglasses, smile and pose are linear in the latents: the score of attribute a is ``z . n_a``, with
    ``n_a`` from `attributes`, and ``z . n_a = 0`` is the hyperplane between its two sides. Positive means masculine,
    older, with glasses, smiling, turned to the right of the picture.

    Parameters
    ----------
    device : str
        PyTorch device that `generate` draws on.
    resolution : int
        Height and width in pixels, at least 32.

    Raises
    ------
    UsageError
        The resolution is too small, or the device is not there.
    """

    space = "portrait"
    n_latents = N_LATENTS
    range = (0.0, 1.0)

    def __init__(self, device: str = "cpu", resolution: int = 128) -> None:
        if resolution < 32:
            raise UsageError(f"A portrait needs a resolution of at least 32 pixels, not {resolution}.")
        self.device = checked_device(device)
        self.resolution = int(resolution)

    @staticmethod
    def attributes() -> dict[str, np.ndarray]:
        """Return attribute -> unit normal ``(64,)`` of its hyperplane; the five are orthogonal."""
        return {name: column.copy() for name, column in zip(ATTRIBUTES, basis().T, strict=False)}

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return float32 images ``(n, resolution, resolution, 3)`` in 0 to 1 from latents ``(n, 64)``.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, 64)``, or not finite.
        """
        import torch

        values = checked_latents(latents, N_LATENTS, self.space)
        with torch.no_grad():
            pictures = self.render(torch.tensor(values, device=self.device))
        return pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def render(self, latents: torch.Tensor) -> torch.Tensor:
        """Draw faces ``(n, 3, resolution, resolution)`` of latents ``(n, 64)``, on their device and in their dtype.

        Gradients reach every latent. With gradients, a chunk is drawn again in the backward pass instead of being
        kept, so that memory stays bounded for any n.

        Raises
        ------
        InconsistentInput
            The latents are not a floating-point tensor ``(n, 64)``.
        """
        import torch
        from torch.utils.checkpoint import checkpoint

        from hyper_bids.generate.portrait_drawing import draw

        if latents.ndim != 2 or latents.shape[1] != N_LATENTS or not latents.is_floating_point():
            raise InconsistentInput(
                f"portrait draws floating-point latents of shape (n, {N_LATENTS}), "
                f"got {latents.dtype} {tuple(latents.shape)}."
            )
        many = 1 if latents.device.type == "cpu" else 8  # an accelerator wants larger chunks
        size = max(1, many * PIXELS_PER_CHUNK // self.resolution**2)
        chunks = latents.split(size)
        if torch.is_grad_enabled() and latents.requires_grad and len(chunks) > 1:
            drawn = [checkpoint(draw, chunk, self.resolution, use_reentrant=False) for chunk in chunks]
        else:
            drawn = [draw(chunk, self.resolution) for chunk in chunks]
        return torch.cat(drawn)
