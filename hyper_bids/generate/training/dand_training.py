"""One step of DAND's training: the discriminator's, then the generator's, on the same batch."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyper_bids.generate.dand_network import Discriminator, TrainableGenerator
from hyper_bids.generate.training import dand_losses
from hyper_bids.generate.training.adversarial import AdversarialTraining
from hyper_bids.generate.training.latent_space import FeaturePCA
from hyper_bids.generate.training.precision import evaluating, frozen
from hyper_bids.generate.training.settings import TrainingSettings
from hyper_bids.weights.canonical import Weights

LossFeatures = Callable[[Tensor], Tensor]
"""Images ``(n, 3, h, w)``, RGB from 0 to 255, to maps of a fixed network, with gradient: VGG-16 relu3_3."""


def widths_of(size: int, width: int) -> tuple[int, ...]:
    """Return the channels of the generator's maps from 4 x 4 upwards.

    >>> widths_of(64, 64), widths_of(32, 6)
    ((512, 256, 128, 64), (24, 12, 6))
    """
    n_layers = int(log2(size // 4))
    return tuple(width << i for i in reversed(range(n_layers)))


class DANDTraining(AdversarialTraining):
    """Generator, discriminator and their optimisers.

    Parameters
    ----------
    settings : TrainingSettings
    pca : FeaturePCA
        The fixed inverse of it is the generator's first layer.
    features : (n, F) float32
        Of all pictures, in their order; may be mapped from disk.
    loss_features : LossFeatures or None
        None where the feature term's weight is 0.
    described : mapping of str
        ``features``, ``features_layer`` and ``features_sha256``, for the file.
    """

    terms = ("discriminator", "generator", "adversarial", "feature", "pixel")

    def __init__(
        self,
        settings: TrainingSettings,
        pca: FeaturePCA,
        features: np.ndarray,
        loss_features: LossFeatures | None,
        described: dict[str, str],
        device: str = "cpu",
    ) -> None:
        super().__init__(settings, device)
        self.pca, self.features, self.described = pca, features, described
        self.loss_features = loss_features
        widths = widths_of(settings.size, settings.width)
        fixed = (torch.from_numpy(part) for part in (pca.mean, pca.components, pca.scale))
        self.generator = TrainableGenerator(*fixed, widths, self._draw("generator")).to(device)
        self.discriminator = Discriminator(widths[::-1], self._draw("discriminator")).to(device)
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.optimisers = {name: self._adam(network) for name, network in self.networks.items()}

    def step(self, rows: np.ndarray, images: Tensor, noise_seed: int) -> dict[str, Tensor]:
        """Learn from pictures ``rows`` whose images ``(n, 3, size, size)`` are 0 to 255; return the losses' terms.

        ``generator`` is the weighted sum of its three terms, ``discriminator`` the discriminator's loss; both as
        weighted. ``adversarial``, ``feature`` and ``pixel`` are the terms without their weights.
        """
        weights = self.settings.loss_weights
        real = images / 127.5 - 1.0
        with self.precision.autocast():
            fake = self.generator(self._latents(rows))
            true_logits, fake_logits = self.discriminator(real), self.discriminator(fake.detach())
        of_rival = dand_losses.discriminator_loss(true_logits.float(), fake_logits.float())
        of_rival = weights["discriminator"] * of_rival
        self.precision.minimise(of_rival, self.optimisers["discriminator"])

        with frozen(self.discriminator):
            terms = self._terms(fake, images)
            loss = sum(weights[name] * term for name, term in terms.items())
            self.precision.minimise(loss, self.optimisers["generator"])
        self.precision.end_of_step()
        return {"discriminator": of_rival.detach(), "generator": loss.detach()} | {
            name: term.detach() for name, term in terms.items()
        }

    def _terms(self, fake: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Return the terms of the generator's loss, without their weights."""
        shown = dand_losses.grey_levels(fake)
        feature = shown.new_zeros(())
        with self.precision.autocast():
            logits = self.discriminator(fake)
            if self.loss_features is not None and self.settings.loss_weights["feature"] > 0:
                with torch.no_grad():
                    wanted = self.loss_features(images)
                feature = dand_losses.squared_distance(wanted, self.loss_features(shown))
        return {
            "adversarial": dand_losses.adversarial_loss(logits.float()),
            "feature": feature,
            "pixel": dand_losses.squared_distance(images, shown),
        }

    def reconstruct(self, rows: np.ndarray, images: Tensor) -> Tensor:
        """Return the images ``(n, 3, size, size)``, 0 to 1, that the generator makes of the pictures' own features."""
        with evaluating(self.generator):
            return (self.generator(self._latents(rows)) + 1.0) / 2.0

    def weights(self, notes: tuple[str, ...]) -> Weights:
        """Return the generator with its PCA in canonical form."""
        options = self.described | {"crop": self.settings.crop}
        return Weights("dand", self.generator.canonical(), options, "trained by hyper-tools train dand", notes)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        super().restore(state)
        kept = self.generator.pca  # another machine's eigenvectors may differ in their last digits
        self.pca = FeaturePCA(*(part.cpu().numpy() for part in (kept.mean, kept.components, kept.scale)))

    def _latents(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.pca.latents(np.asarray(self.features[rows]))).to(self.device)
