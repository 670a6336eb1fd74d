"""One step of the VAE-GAN's training: the discriminator's, then the encoder's and generator's, on the same batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hyper_bids.generate.training.adversarial import AdversarialTraining
from hyper_bids.generate.training.dand_losses import adversarial_loss
from hyper_bids.generate.training.precision import evaluating, frozen
from hyper_bids.generate.training.settings import TrainingSettings
from hyper_bids.generate.training.vaegan_losses import divergence, feature_loss, gan_loss
from hyper_bids.generate.training.vaegan_networks import (
    TrainableDecoder,
    TrainableEncoder,
    VAEGANDiscriminator,
    widths_of,
)
from hyper_bids.weights.canonical import Weights


class VAEGANTraining(AdversarialTraining):
    """Encoder, generator, discriminator and their optimisers.

    The discriminator sees real pictures, their reconstructions and pictures of latents from N(0, I), in one batch, so
    that its batch normalisation is the same for all three.
    """

    terms = ("discriminator", "generator", "adversarial", "feature", "divergence")

    def __init__(self, settings: TrainingSettings, device: str = "cpu") -> None:
        super().__init__(settings, device)
        widths = widths_of(settings.size, settings.width)
        self.encoder = TrainableEncoder(widths, settings.n_latents, self._draw("encoder")).to(device)
        self.decoder = TrainableDecoder(widths, settings.n_latents, self._draw("generator")).to(device)
        self.discriminator = VAEGANDiscriminator(widths, self._draw("discriminator")).to(device)
        self.networks = {"encoder": self.encoder, "generator": self.decoder, "discriminator": self.discriminator}
        both = torch.nn.ModuleList([self.encoder, self.decoder])
        self.optimisers = {"generator": self._adam(both), "discriminator": self._adam(self.discriminator)}

    def step(self, rows: np.ndarray, images: Tensor, noise_seed: int) -> dict[str, Tensor]:
        """Learn from images ``(n, 3, size, size)``, 0 to 255; return the losses' terms.

        ``generator`` is the weighted sum of the last three terms, ``discriminator`` the discriminator's loss; both as
        weighted. The others are without their weights.
        """
        weights = self.settings.loss_weights
        real = images / 255.0
        draw = torch.Generator().manual_seed(noise_seed)
        noise, prior = torch.randn((2, len(real), self.settings.n_latents), generator=draw).to(self.device)
        with self.precision.autocast():
            mu, log_sigma = self.encoder(real)
            made, sampled = self.decoder(torch.cat([mu + log_sigma.exp() * noise, prior])).chunk(2)
            logits, _ = self.discriminator(torch.cat([real, made.detach(), sampled.detach()]))
        of_rival = weights["discriminator"] * gan_loss(*logits.float().chunk(3))
        self.precision.minimise(of_rival, self.optimisers["discriminator"])

        with frozen(self.discriminator):
            terms = self._terms(real, made, sampled, mu, log_sigma)
            faithful = sum(weights[name] * terms[name] for name in ("feature", "divergence"))
            deceiving = weights["adversarial"] * terms["adversarial"]
            # The encoder learns from features and divergence alone: what deceives the rival is the generator's part.
            only = list(self.decoder.parameters())
            self.precision.minimise(faithful, self.optimisers["generator"], also=(deceiving, only))
        loss = faithful + deceiving
        self.precision.end_of_step()
        return {"discriminator": of_rival.detach(), "generator": loss.detach()} | {
            name: term.detach() for name, term in terms.items()
        }

    def _terms(self, real: Tensor, made: Tensor, sampled: Tensor, mu: Tensor, log_sigma: Tensor) -> dict[str, Tensor]:
        """Return the terms of the encoder's and generator's losses, without their weights."""
        with self.precision.autocast():
            logits, maps = self.discriminator(torch.cat([real, made, sampled]))
        true_maps, made_maps, _ = maps.chunk(3)
        return {
            "adversarial": adversarial_loss(logits.float()[len(real) :]),
            "feature": feature_loss(true_maps.detach(), made_maps),
            "divergence": divergence(mu.float(), log_sigma.float()),
        }

    def reconstruct(self, rows: np.ndarray, images: Tensor) -> Tensor:
        """Return the images ``(n, 3, size, size)``, 0 to 1, of the pictures' own mu: ``clip(g / max(g), 0, 1)``."""
        with evaluating(self.encoder, self.decoder):
            made = self.decoder(self.encoder(images / 255.0)[0])
            return (made / made.amax((1, 2, 3), keepdim=True).clamp(min=1e-12)).clamp(0.0, 1.0)

    def weights(self, notes: tuple[str, ...]) -> Weights:
        """Return encoder and generator in canonical form."""
        parts = {"generator": self.decoder.canonical(), "encoder": self.encoder.canonical()}
        arrays = {f"{part}.{name}": array for part, found in parts.items() for name, array in found.items()}
        options = {"crop": self.settings.crop}
        return Weights("vaegan", arrays, options, "trained by hyper-tools train vaegan", notes)
