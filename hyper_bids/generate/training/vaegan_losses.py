"""The VAE-GAN's losses (Larsen et al. 2016, with VanRullen and Reddy's encoder), as functions of tensors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def divergence(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """Return ``KL(N(mu, sigma^2) || N(0, I))`` in nats a latent, the mean over latents and images.

    ``1/2 (mu^2 + sigma^2 - 1 - 2 log sigma)`` (Kingma and Welling 2014, appendix B).
    """
    return 0.5 * (mu.square() + (2 * log_sigma).exp() - 1.0 - 2 * log_sigma).mean()


def feature_loss(true: Tensor, made: Tensor) -> Tensor:
    """Return half the squared difference of a discriminator layer's maps, the mean over units and images.

    It is the log-likelihood of a unit normal distribution around the true maps, less a constant.
    """
    return 0.5 * (true.float() - made.float()).square().mean()


def gan_loss(real: Tensor, made: Tensor, sampled: Tensor) -> Tensor:
    """Return ``-E[log D(x)] - (E[log(1 - D(x~))] + E[log(1 - D(x_p))]) / 2`` from logits.

    x~ are reconstructions and x_p pictures of latents from the prior; halved, so that real and made weigh the same.
    """
    fake = functional.softplus(made).mean() + functional.softplus(sampled).mean()
    return functional.softplus(-real).mean() + 0.5 * fake
