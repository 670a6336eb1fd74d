"""Batch normalisation with fixed statistics is one factor and one shift a channel: into the convolution before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def folded(weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, axis: int) -> tuple[Tensor, Tensor]:
    """Return weight and bias, in float64, of a convolution that has the normalisation after it inside.

    ``w' = w g / sqrt(variance + epsilon)`` and ``b' = (b - mean) g / sqrt(variance + epsilon) + shift``, with the
    running statistics (Ioffe and Szegedy 2015).

    Parameters
    ----------
    axis : which axis of the weight is the output's: 0 of a convolution, 1 of a transposed one
    """
    factor = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    shape = [1] * weight.ndim
    shape[axis] = -1
    shift = (bias.detach().double() - norm.running_mean.double()) * factor + norm.bias.detach().double()
    return weight.detach().double() * factor.reshape(shape), shift
