"""How a network is trained: the papers' values, and which of them make a checkpoint another training's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hyper_bids.errors import UsageError, did_you_mean, listing

PRECISIONS = ("float32", "bfloat16", "float16")
SIZES = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one training.

    Parameters
    ----------
    model : ``dand`` or ``vaegan``
    size : height and width of the images in pixels
    n_latents : dimension of the latent space
    width : channels of the largest maps: 64 (dand) and 192 (vaegan) are the papers', the others are in proportion
    epochs, batch_size, learning_rate : of Adam
    betas, epsilon : of Adam
    loss_weights : term of the losses -> its weight
    crop : share of the centre square of each picture that is kept
    held_out : pictures that are not trained on, for the sheets
    seed : root of every random number
    precision : ``float32``, or ``bfloat16`` or ``float16`` (mixed, CUDA only)
    """

    model: str
    size: int
    n_latents: int
    width: int
    epochs: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    crop: float = 1.0
    held_out: int = 16
    seed: int = 0
    precision: str = "float32"

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree in, ready for JSON. More epochs only go on with the same training."""
        values = dataclasses.asdict(self) | {"loss_weights": dict(sorted(self.loss_weights.items()))}
        del values["epochs"]
        return values | {"betas": list(self.betas)}


PAPERS: dict[str, TrainingSettings] = {
    "dand": TrainingSettings(
        "dand", size=64, n_latents=699, width=64, epochs=100,
        loss_weights={"discriminator": 1e2, "adversarial": 1e2, "feature": 1e-2, "pixel": 2e-6},
    ),
    "vaegan": TrainingSettings(
        "vaegan", size=128, n_latents=1024, width=192, epochs=15, learning_rate=3e-4, betas=(0.5, 0.999), crop=0.8,
        loss_weights={"discriminator": 1.0, "adversarial": 1e-3, "feature": 1.0, "divergence": 5e-3},
    ),
}  # fmt: skip
"""The published trainings. Of the VAE-GAN's the paper gives size, widths, batch, epochs and the terms of the losses;
optimiser and weights are ours."""


def settings_of(model: str, *, loss_weights: Mapping[str, float] | None = None, **changes: Any) -> TrainingSettings:
    """Return the paper's settings with changes; None leaves a value as it is.

    Raises
    ------
    UsageError
        Unknown model or term, or a value that does not fit.
    """
    if model not in PAPERS:
        raise UsageError(f"No training is known for {model!r}.{did_you_mean(model, PAPERS)}")
    given = {name: value for name, value in changes.items() if value is not None}
    weights = dict(PAPERS[model].loss_weights)
    for term, weight in (loss_weights or {}).items():
        if term not in weights:
            known = f"{did_you_mean(term, weights)} It has {listing(weights)}."
            raise UsageError(f"--loss: {model} has no term {term!r}.{known}")
        weights[term] = float(weight)
    return checked(dataclasses.replace(PAPERS[model], loss_weights=weights, **given))


def checked(settings: TrainingSettings) -> TrainingSettings:
    """Return the settings, or say which value does not fit.

    Raises
    ------
    UsageError
    """
    least = {"n_latents": 1, "width": 1, "epochs": 1, "batch_size": 2, "held_out": 1}
    for name, smallest in least.items():
        if getattr(settings, name) < smallest:
            raise UsageError(f"{FLAGS[name]} is at least {smallest}, not {getattr(settings, name)}.")
    if settings.size not in SIZES:
        raise UsageError(f"--size is one of {listing(SIZES, 9)} pixels, not {settings.size}.")
    if not 0 < settings.learning_rate < float("inf"):
        raise UsageError(f"--learning-rate is a positive number, not {settings.learning_rate}.")
    if not 0 < settings.crop <= 1:
        raise UsageError(f"--crop is a share above 0 and at most 1, not {settings.crop}.")
    if settings.precision not in PRECISIONS:
        raise UsageError(f"--precision is {listing(PRECISIONS)}, not {settings.precision}.")
    for term, weight in settings.loss_weights.items():
        if not 0 <= weight < float("inf"):
            raise UsageError(f"--loss {term}={weight}: a weight is a number that is not negative.")
    return settings


FLAGS = {
    "model": "MODEL", "size": "--size", "n_latents": "--components", "width": "--width", "epochs": "--epochs",
    "batch_size": "--batch-size", "learning_rate": "--learning-rate", "loss_weights": "--loss", "crop": "--crop",
    "held_out": "--held-out", "seed": "--seed", "precision": "--precision",
}  # fmt: skip
"""Setting -> the option that it is on the command line."""
