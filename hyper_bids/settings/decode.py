"""Options of the decoders, from responses to latents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hyper_bids.errors import UsageError, listing
from hyper_bids.settings.declare import option


@dataclass(frozen=True)
class DecodeSettings:
    """Responses -> latents."""

    decoder: tuple[str, ...] = option(
        ("ridge",),
        "one or more decoders: ridge, ols, adam, layer, map, inversion, or your own as package.module:Class",
        kind="list",
    )
    alphas: tuple[float, ...] = option(
        tuple(10.0 ** (-2 + 0.5 * k) for k in range(19)),
        "ridge penalties to choose from (default: 19 from 1e-2 to 1e7)",
        kind="floats",
    )
    shared_alpha: bool = option(False, "one ridge penalty for all latents instead of one per latent", kind="flag")
    n_epochs: int = option(1500, "epochs of adam and layer (at most, with --stopping held-out)", kind="int", least=1)
    stopping: str = option(
        "held-out",
        "adam and layer: held-out stops when the loss on held-out training runs no longer falls; epochs runs all",
        choices=("held-out", "epochs"),
    )
    patience: int = option(
        20, "epochs without improvement after which held-out stops", kind="int", metavar="N", least=1
    )
    batch_size: int = option(30, "trials per batch of adam and layer", kind="int", metavar="N", least=1)
    learning_rate: float = option(1e-5, "learning rate of adam and layer", kind="float")
    weight_decay: float = option(
        0.01, "weight decay of adam and layer, coupled, on weights and bias", kind="float", least=0
    )
    loss_layer: str | None = option(
        None,
        "layer of the generator whose activations enter adam's loss besides the latents, or are layer's whole loss "
        "(pggan: L1 to L19)",
    )
    layer_weight: float = option(1.0, "weight of the layer's loss in adam", kind="float", least=0)
    repeat_noise: bool = option(
        True, "map: the mean of m repeats of a test stimulus has 1/m of the noise variance", kind="flag"
    )
    parameters: str = option(
        "",
        'arguments of your own decoders, as JSON: {"package.module:Class": {"alpha": 3}}; in the TOML file a table '
        '[decode.parameters."package.module:Class"]',
        kind="table",
        metavar="JSON",
    )


def plugin_parameters(decode: DecodeSettings | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the arguments of the user's own decoders: ``{"package.module:Class": {argument: value}}``."""
    text = decode["parameters"] if isinstance(decode, Mapping) else decode.parameters
    return json.loads(text or "{}")


def check_decode(decode: DecodeSettings) -> None:
    """Refuse values that are of the right type and cannot be meant.

    Raises
    ------
    UsageError
    """
    if not decode.alphas or min(decode.alphas) <= 0:
        raise UsageError(f"--alphas must be positive numbers, got {listing(decode.alphas)}.")
    if decode.learning_rate <= 0:
        raise UsageError(f"--learning-rate must be positive, got {decode.learning_rate}.")
    if len(set(decode.decoder)) != len(decode.decoder):
        raise UsageError(f"--decoder names one twice: {', '.join(decode.decoder)}.")
    if "layer" in decode.decoder and decode.loss_layer is None:
        raise UsageError("--decoder layer needs --loss-layer: the generator's layer whose activations are compared.")
    unused = [name for name in plugin_parameters(decode) if name not in decode.decoder]
    if unused:
        raise UsageError(f"--parameters names {unused[0]!r}, which is no --decoder.")
