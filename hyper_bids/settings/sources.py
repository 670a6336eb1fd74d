"""The settings of a run, made from the values of several sources: presets, a file, the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from hyper_bids.errors import UsageError, did_you_mean
from hyper_bids.presets import PRESET_NAMES, PRESETS
from hyper_bids.settings.all_sections import Settings, owners, sections
from hyper_bids.settings.checks import check
from hyper_bids.settings.execution import Execution
from hyper_bids.settings.values import build_section, convert


def layered(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the options of several sources together, the last wins; each brings its preset with it.

    What a source gives beside a preset wins over that preset. A preset's latents give way to
    ``--latent-space`` and ``--latents`` of the same source or of one above it; those of ``dand`` are computed from the
    pictures where the weights of the feature network are given.

    >>> layered([{"glm": "lsa"}, {"preset": "hyper", "n_voxels": 100}])["glm"]
    'lss'
    >>> "latent_generator" in layered([{"preset": "hyper", "latent_space": "mine"}])
    False
    """
    values: dict[str, Any] = {}
    for layer in layers:
        name = layer.get("preset")
        if name is not None:
            convert("preset", name, {"kind": "str", "choices": PRESET_NAMES})
            values.update(PRESETS[name])
        if layer.get("latent_space") or layer.get("latents"):
            values.pop("encoder", None)
        if layer.get("latent_space") or layer.get("latents") or layer.get("encoder"):
            values.pop("latent_generator", None)
        values.update(layer)
    if values.get("latent_generator") == "dand" and values.get("preset") == "dand" and values.get("feature_weights"):
        del values["latent_generator"]
        values["encoder"] = "dand"
    return values


def build(values: dict[str, Any]) -> tuple[Settings, Execution]:
    """Make the settings from ``{field name: raw value}``; what is not named keeps its default."""
    where = owners()
    unknown = [name for name in values if name not in where]
    if unknown:
        raise UsageError(
            f"Unknown option {unknown[0]!r}.{did_you_mean(unknown[0], where)} See hyper --help for all of them."
        )
    parts = {}
    for section, cls in sections().items():
        known = {item.name for item in fields(cls)}
        parts[section] = build_section(cls, {name: value for name, value in values.items() if name in known})
    execution = parts.pop("execution")
    settings = Settings(**parts)
    check(settings, execution)
    return settings, execution
