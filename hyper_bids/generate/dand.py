"""`DANDGenerator`: images from principal components of a recognition network's features (Güçlütürk et al. 2017)."""

from __future__ import annotations

from hyper_bids.generate.torch_generator import TorchGenerator
from hyper_bids.weights import Weights

CUDA_BATCH = 256


class DANDGenerator(TorchGenerator):
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

    architecture = space = "dand"
    title = "DAND"

    def __init__(
        self, weights: Weights, *, resolution: int | None = None, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        from hyper_bids.generate.dand_network import DANDNetwork

        super().__init__(weights, device, dtype)
        self.network = DANDNetwork(weights.arrays)
        self.n_latents = self.network.n_latents
        self.resolution = self._checked_divisor(resolution)
        self.notes += _origin_of_latents(weights)
        self._place()

    def _cuda_batch(self) -> int:
        return CUDA_BATCH


def _origin_of_latents(weights: Weights) -> tuple[str, ...]:
    named = weights.options.get("features")
    if named is None:
        return ()
    layer, checksum = weights.options.get("features_layer", "?"), str(weights.options.get("features_sha256", "?"))
    return (f"Latents are principal components of {named} {layer}; its weights have the SHA-256 {checksum}.",)


__all__ = ["DANDGenerator"]
