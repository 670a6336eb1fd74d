"""Responses + latents -> latents: voxel selection, folds, decoders.

``DECODERS`` and ``SELECTORS`` are the built-ins; tests loop over them, so that a new
entry is tested by existing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyper_bids.decode.adam import Adam
from hyper_bids.decode.inversion import Inversion
from hyper_bids.decode.layer import Layer
from hyper_bids.decode.map import MAP
from hyper_bids.decode.ols import OLS
from hyper_bids.decode.ridge import Ridge
from hyper_bids.decode.select import Gain, Reliability, Rule, TopZ, all_voxels
from hyper_bids.protocols import Decoder

DECODERS: dict[str, type] = {
    "ridge": Ridge, "ols": OLS, "adam": Adam, "layer": Layer, "map": MAP, "inversion": Inversion,
}  # fmt: skip

SELECTORS = {
    "top-z": lambda n_voxels, seed: TopZ(n_voxels),
    "gain": lambda n_voxels, seed: Gain(n_voxels),
    "reliability": lambda n_voxels, seed: Reliability(n_voxels, seed=seed),
    "all": lambda n_voxels, seed: all_voxels,
}
"""Name -> factory taking ``n_voxels`` and ``seed`` and returning a `hyper_bids.protocols.VoxelSelector`."""


def make_selector(name: str, n_voxels: int | None, seed: int = 0) -> Rule:
    """Return a built-in selection rule."""
    return SELECTORS[name](n_voxels, seed)


def make_decoder(
    name: str,
    options: Mapping[str, Any],
    *,
    seed: int = 0,
    device: str = "cpu",
    layer_model: Any = None,
    pixels: bool = False,
) -> Decoder:
    """Make a built-in decoder from the settings of the section ``decode``.

    Parameters
    ----------
    options : field name -> value, see `hyper_bids.settings.DecodeSettings`
    seed, device : of decoders that are trained
    layer_model : a generator with layers (`hyper_bids.decode.layer_loss.DifferentiableGenerator`)
    pixels : the latents are an image's pixels: ``map`` then always takes ridge (METHODS.md section 4)
    """
    if name == "ridge":
        return Ridge(alphas=tuple(options["alphas"]), shared=options["shared_alpha"])
    if name == "map":
        return MAP(ridge=pixels, repeat_noise=options["repeat_noise"])
    if name in ("ols", "inversion"):
        return DECODERS[name]()
    schedule = {
        key: options[key]
        for key in ("n_epochs", "batch_size", "learning_rate", "weight_decay", "stopping", "patience")
    }
    given = {**schedule, "layer_model": layer_model, "layer": options["loss_layer"], "seed": seed, "device": device}
    if name == "layer":
        return Layer(**given)
    if layer_model is None:
        given["layer"] = None
    return Adam(**given, layer_weight=options["layer_weight"])
