"""Which generator draws a task's pictures, how it is run, and whether it fits the task's latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyper_bids.generate import BY_CONTENT, architecture_of, built_in, make_generator, needs_weights
from hyper_bids.inputs.task import TaskInput
from hyper_bids.settings import Settings
from hyper_bids.workflow.fingerprints import weights_digest
from hyper_bids.workflow.steps.decoding import LAYER_DECODERS

PIXELS = 128
"""Height of the pictures, for predictions of memory, of a generator that does not tell its own."""


def choose_generator(task: TaskInput, settings: Settings) -> tuple[str | None, str]:
    """Return the generator's name, or None and why there are no pictures.

    Weights that no name goes with say by their content which generator they are for.

    Raises
    ------
    MissingFiles, InconsistentInput
        The weights cannot be read, or are of no generator known here.
    """
    wanted, weights = settings.generate.generator, settings.generate.weights
    declared = (task.declaration.get("Generator") or {}).get("Name")
    if wanted == "none":
        return None, "No pictures: --generator none was asked for."
    if wanted == BY_CONTENT and weights is not None:
        return architecture_of(weights), ""
    if wanted is not None:
        return wanted, ""
    if declared is not None and ":" in declared:
        return None, (
            f"No pictures: code named in a dataset ({declared}) is not run; pass --generator {declared} to allow it."
        )
    if weights is not None and (declared is None or not built_in(declared)):
        return architecture_of(weights), ""
    if declared is None:
        return None, (
            f"No pictures: latent space {task.space} names no generator in the events sidecar, "
            "and no --generator was given."
        )
    if not built_in(declared):
        return None, f"No pictures: generator {declared!r} of latent space {task.space} is not built in."
    if needs_weights(declared) and weights is None and settings.inputs.encoder != "eigenface":
        return None, f"No pictures: generator {declared} of latent space {task.space} needs --weights."
    return declared, ""


def generator_params(
    name: str | None, declaration: Mapping[str, Any], settings: Settings, device: str
) -> dict[str, Any] | None:
    """What a step needs to make the generator, as parameters; None where there is no generator."""
    if name is None:
        return None
    weights = settings.generate.weights
    return {
        "generator": name, "declaration": declaration, "device": device,
        "weights": None if weights is None else str(weights), "weights_digest": weights_digest(weights),
        "options": _network_options(settings),
    }  # fmt: skip


def check_fits(name: str | None, task: TaskInput, settings: Settings) -> int:
    """Make the generator, to see that it draws this task's latents; return the height of its pictures in pixels.

    One that is made only during the run, from the training pictures, is not made here.

    Raises
    ------
    HyperError
    """
    if name is None or settings.inputs.encoder in ("eigenface", "identity"):
        return PIXELS
    made = make_generator(
        name,
        space=task.space,
        n_latents=task.n_latents,
        declaration=task.declaration.get("Generator") or {},
        weights=settings.generate.weights,
        device="cpu",
        **_network_options(settings),
    )
    return int(getattr(made, "resolution", PIXELS))


def needs_generator(decoder: str, settings: Settings) -> bool:
    """Whether a decoder is trained on the activations of one of the generator's layers."""
    return settings.decode.loss_layer is not None and decoder in LAYER_DECODERS


def _network_options(settings: Settings) -> dict[str, Any]:
    """How the network is run, as keywords of `make_generator`."""
    generate = settings.generate
    return {"resolution": generate.resolution, "precision": generate.precision, "truncation": generate.truncation}
