"""What is trained against a rival, whichever the losses: networks and optimisers by name, and what of them is kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hyper_bids.generate.training.precision import Precision, adam
from hyper_bids.generate.training.settings import TrainingSettings
from hyper_bids.seeds import child_seed


class AdversarialTraining:
    """Networks with their optimisers on a device.

    Attributes
    ----------
    networks : name -> network, set by the subclass
    optimisers : name -> optimiser, set by the subclass
    precision : Precision
    """

    networks: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]

    def __init__(self, settings: TrainingSettings, device: str) -> None:
        self.settings, self.device = settings, device
        self.precision = Precision(settings.precision, device)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "scaler": self.precision.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        for kind, known in (("networks", self.networks), ("optimisers", self.optimisers)):
            for name, part in known.items():
                part.load_state_dict(state[kind][name])
        self.precision.scaler.load_state_dict(state["scaler"])

    def _draw(self, name: str) -> torch.Generator:
        """Random numbers for the initial weights of a network."""
        return torch.Generator().manual_seed(child_seed(self.settings.seed, "weights", name))

    def _adam(self, network: nn.Module) -> torch.optim.Optimizer:
        return adam(network, self.settings.learning_rate, self.settings.betas, self.settings.epsilon)
