"""Weights on a device, with the few operations that all feature networks are made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class Tensors:
    """Canonical arrays as float32 tensors, by name; and what the arrays do not tell.

    Parameters
    ----------
    arrays : name -> float32 array
    options : of `Weights`
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], options: Mapping[str, object]) -> None:
        self.arrays = {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in arrays.items()}
        self.options = dict(options)

    def to(self, device: str) -> Tensors:
        """Move all tensors, and return this."""
        self.arrays = {name: array.to(device) for name, array in self.arrays.items()}
        return self

    def without_numbers(self) -> Tensors:
        """Return tensors of the same shapes that hold nothing: what goes through them has a shape only."""
        empty = Tensors({}, self.options)
        empty.arrays = {name: torch.empty(array.shape, device="meta") for name, array in self.arrays.items()}
        return empty

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def conv(
        self, name: str, x: Tensor, stride: int = 1, padding: int | tuple[int, int] = 0, groups: int = 1
    ) -> Tensor:
        """Convolve ``(n, in, h, w)``: ``(n, out, h', w')``."""
        bias = self.arrays.get(f"{name}.bias")
        return functional.conv2d(x, self.arrays[f"{name}.weight"], bias, stride, padding, 1, groups)

    def dense(self, name: str, x: Tensor) -> Tensor:
        """Return ``x W' + b`` of ``(..., in)``."""
        return functional.linear(x, self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"])

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        """Normalise over the last axis, epsilon 1e-5."""
        return functional.layer_norm(x, x.shape[-1:], self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"], 1e-5)
