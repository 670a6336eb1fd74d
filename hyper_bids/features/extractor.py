"""`Features`: a network with its weights, its preparation of pictures, and the layer that is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput, UsageError, did_you_mean, listing
from hyper_bids.features.preparing import Preparation, resized
from hyper_bids.resampling import RESAMPLING

if TYPE_CHECKING:
    import torch

    from hyper_bids.features.tensors import Tensors
    from hyper_bids.weights import Weights

Run = Callable[["Tensors", "torch.Tensor"], Iterator[tuple[str, "torch.Tensor"]]]
"""A network: prepared pictures (n, 3, h, w) to (layer, activations), in order."""

CUDA_BATCH = 32
"""Pictures at once on CUDA. On a CPU they are taken one by one: a picture's features do not depend on its company."""


class Features:
    """Features of pictures in a layer of a network (a `hyper_bids.protocols.FeatureExtractor`).

    Made by `hyper_bids.features.make_features`.

    Attributes
    ----------
    name : name for ``--features``
    layer : layer that `features` gives
    sha256 : checksum of the weight file, empty where the weights came from none; ``checksum`` is the same
    origin, options, notes : of the weights
    layers : layer -> shape of its activations for one picture
    n_features : numbers that `features` gives for a picture

    Raises
    ------
    UsageError
        A layer that these weights have not.
    """

    def __init__(
        self, name: str, layer: str, weights: Weights, run: Run, preparation: Preparation, *, device: str = "cpu",
        sha256: str = "", file: str = "",
    ) -> None:  # fmt: skip
        from hyper_bids.features.tensors import Tensors

        self.name, self.layer, self.sha256, self.file = name, layer, sha256, file
        self.origin, self.options, self.notes = weights.origin, dict(weights.options), weights.notes
        self.preparation, self.device = preparation, device
        self._run, self._net = run, Tensors(weights.arrays, weights.options)
        self.layers = self._shapes()
        if layer not in self.layers:
            hint = did_you_mean(layer, self.layers)
            raise UsageError(f"The weights of {name} have no layer {layer!r}.{hint} They have: "
                             f"{listing(self.layers, 60)}.")  # fmt: skip
        self._net.to(device)

    @property
    def checksum(self) -> str:
        return self.sha256

    @property
    def n_features(self) -> int:
        return math.prod(self.layers[self.layer])

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Layer -> shape of its activations for one picture; nothing is computed."""
        import torch

        size = self.preparation.size
        shapes = self._run(self._net.without_numbers(), torch.empty((1, 3, size, size), device="meta"))
        return {name: tuple(values.shape[1:]) for name, values in shapes}

    def resampled(self, resampling: str) -> Features:
        """Return the same features after another resampling of pictures that have not the network's size.

        Raises
        ------
        UsageError
        """
        if resampling not in RESAMPLING:
            raise UsageError(f"Unknown resampling {resampling!r}: {' or '.join(RESAMPLING)}.")
        return self._like(preparation=replace(self.preparation, resampling=resampling))

    def at(self, layer: str) -> Features:
        """Return the features of another layer of the same network; the weights are shared.

        Raises
        ------
        UsageError
        """
        if layer not in self.layers:
            raise UsageError(f"The weights of {self.name} have no layer {layer!r}.{did_you_mean(layer, self.layers)}")
        return self._like(layer=layer)

    def _like(self, **changes: object) -> Features:
        other = object.__new__(Features)
        other.__dict__.update(self.__dict__, **changes)
        return other

    def features(self, pixels: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Return ``(n, n_features)`` float32 of pictures.

        Parameters
        ----------
        pixels : (n, height, width, 3) uint8 RGB, or n of ``(height, width, 3)`` that may differ in size

        Raises
        ------
        InconsistentInput
            Other pictures, or features that are not finite.
        """
        step = CUDA_BATCH if self.device.startswith("cuda") else 1
        size, how = self.preparation.size, self.preparation.resampling
        found = np.empty((len(pixels), self.n_features), dtype=np.float32)
        for start in range(0, len(pixels), step):
            batch = np.stack([resized(picture, size, how) for picture in pixels[start : start + step]])
            found[start : start + step] = self._computed(batch)
        if not np.isfinite(found).all():
            raise InconsistentInput(f"Features {self.name}, layer {self.layer}: some are not finite; see the weights.")
        return found

    def _computed(self, batch: np.ndarray) -> np.ndarray:
        """Features of pictures of the right size, float32 (n, size, size, 3), 0 to 255."""
        import torch

        with torch.inference_mode():
            images = torch.from_numpy(batch).permute(0, 3, 1, 2)
            return self.activations(images, [self.layer])[self.layer].flatten(1).cpu().numpy()

    def activations(self, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return layer -> activations of RGB pictures as floats; differentiable in the pictures (a perceptual loss).

        Parameters
        ----------
        images : (n, 3, height, width), 0 to 255; not resized, only mean and scale are applied

        Raises
        ------
        UsageError
            A layer that the network has not.
        """
        import torch

        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            return self.network_activations(self._prepared(images), layers)

    def network_activations(self, prepared: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return layer -> activations of pictures that are prepared already, ``(n, 3, height, width)``.

        Raises
        ------
        UsageError
            A layer that the network has not.
        """
        lost = [layer for layer in layers if layer not in self.layers]
        if lost:
            hint = did_you_mean(lost[0], self.layers)
            raise UsageError(f"The weights of {self.name} have no layer {lost[0]!r}.{hint}")
        found: dict[str, torch.Tensor] = {}
        for name, values in self._run(self._net, prepared):
            if name in layers:
                found[name] = values
                if len(found) == len(set(layers)):
                    break
        return found

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        how = self.preparation
        images = images.to(device=self.device, dtype=torch.float32)
        images = images.flip(1) if how.colours == "BGR" else images
        mean, sd = (images.new_tensor(values)[:, None, None] for values in (how.mean, how.sd))
        return (images / how.scale - mean) / sd

    def describe(self) -> dict[str, object]:
        """Return what was used, for a sidecar."""
        return {
            "Network": self.name, "Layer": self.layer, "Features": self.n_features, "Weights": self.file,
            "SHA256": self.sha256, "Layout": self.origin, "Variant": dict(self.options),
            "Input": self.preparation.describe(), "Notes": list(self.notes),
        }  # fmt: skip
