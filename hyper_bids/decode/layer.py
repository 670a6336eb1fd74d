"""HYPER 2020's layer decoders: trained on what a layer of the generator makes of the latents, and on nothing else.

The same dense layer as `Adam`'s, then the frozen generator; the loss compares activations of true
and predicted latents at one layer (`layer_loss`). There is no term for the latents themselves:
what the layer does not see, only weight decay shrinks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.decode.adam import Adam, LatentScaling
from hyper_bids.decode.dense import Loss
from hyper_bids.decode.layer_loss import DifferentiableGenerator
from hyper_bids.errors import UsageError

if TYPE_CHECKING:
    import torch


class Layer(Adam):
    """Dense layer from voxels to latents, trained through a frozen generator on one of its layers.

    Parameters
    ----------
    layer_model : a frozen `DifferentiableGenerator` on ``device``
    layer : the name of the layer compared
    crop : central share of its maps, in height and width, that the loss sees
    n_epochs, batch_size, learning_rate, weight_decay, stopping, held_out, patience, scale_latents, seed, device :
        as for `Adam`, whose attributes it has
    """

    def __init__(
        self,
        layer_model: DifferentiableGenerator | None = None,
        layer: str | int | None = None,
        crop: float = 0.5,
        n_epochs: int = 1500,
        batch_size: int = 30,
        learning_rate: float = 1e-5,
        weight_decay: float = 0.01,
        stopping: str = "epochs",
        held_out: float = 0.1,
        patience: int = 25,
        scale_latents: str = "auto",
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            n_epochs, batch_size, learning_rate, weight_decay, stopping, held_out, patience, scale_latents,
            layer_model, layer, crop=crop, seed=seed, device=device,
        )  # fmt: skip

    def _check_layer(self) -> None:
        if self.layer_model is None or self.layer is None:
            raise UsageError(
                "Decoder Layer predicts a generator's layer: it needs layer_model (the generator of this latent space) "
                "and layer (the name of one of its layers)."
            )
        super()._check_layer()

    def _loss(self, Z: np.ndarray, scaling: LatentScaling, device: torch.device) -> Loss:
        return self._layer_loss(Z, scaling, device)
