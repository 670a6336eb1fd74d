"""DAND's losses (Güçlütürk et al. 2017, section 2.2), as functions of tensors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return ``-E[log D(x) + log(1 - D(G(z)))]`` from logits: ``D`` is their sigmoid."""
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def adversarial_loss(fake: Tensor) -> Tensor:
    """Return ``-E[log D(G(z))]`` from logits."""
    return functional.softplus(-fake).mean()


def squared_distance(one: Tensor, other: Tensor) -> Tensor:
    """Return ``E[norm2(a - b)]``: squares summed over the units of an image, their mean over images."""
    return (one.float() - other.float()).square().flatten(1).sum(1).mean()


def grey_levels(images: Tensor) -> Tensor:
    """Return images of -1 to 1 on the scale of 0 to 255."""
    return (images.float() + 1.0) * 127.5
