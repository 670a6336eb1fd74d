"""Scores of pictures as papers compute them, by the name of a protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hyper_bids.data import Images
from hyper_bids.derivatives.sidecars import column
from hyper_bids.workflow.feature_networks import named, opened, standard_set

if TYPE_CHECKING:
    from hyper_bids.evaluate.image_protocols import ImageProtocol, ProtocolScores
    from hyper_bids.features import Features
    from hyper_bids.workflow.steps.further import Further

NATURAL_IMAGES = "naturalimages"


@dataclass(frozen=True, eq=False)
class Pictures:
    """Stimuli and reconstructions, which may differ in size: stimulus -> (height, width, 3) uint8.

    ``masks``: stimulus -> (height, width), not 0 where the stimulus is; empty where there are none.
    """

    true: Mapping[str, np.ndarray]
    predicted: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_masks(paths: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read background masks: not 0 in any colour is what to keep."""
    from hyper_bids.generate.images import read_image

    return {label: read_image(Path(path)).max(axis=2) for label, path in paths.items()}


def write_protocols(
    tables: Further, name: str | None, pictures: Pictures, networks: Sequence[Mapping[str, Any]]
) -> None:
    """Write the table of the protocol that was asked for, and the standard set where any of its networks was given.

    Parameters
    ----------
    name : key of `evaluate.image_protocols.PROTOCOLS`, ``naturalimages``, or None
    networks : parameters of the feature networks, see `feature_networks.Chosen.params`
    """
    from hyper_bids.evaluate.image_protocols import PROTOCOLS

    if not pictures.true:
        return
    found = standard_set(networks)
    if name == NATURAL_IMAGES or found:
        suffix = "protocolmetrics" if name == NATURAL_IMAGES else "naturalimagemetrics"
        _write(tables, suffix, NATURAL_IMAGES, _natural(pictures, found), list(pictures.true))
    if name is not None and name != NATURAL_IMAGES:
        protocol = PROTOCOLS[name]
        item = named(networks, protocol.network)
        features = None if item is None else opened(item, protocol.layer)
        instead = [entry["name"] for entry in networks] if features is None else []
        scores = _one_by_one(protocol, pictures, features, instead)
        _write(tables, "protocolmetrics", name, scores, list(pictures.true))


def _natural(pictures: Pictures, networks: Mapping[str, Features]) -> ProtocolScores:
    from hyper_bids.evaluate.natural_images import natural_image_scores

    return natural_image_scores(pictures.true, pictures.predicted, networks)


def _one_by_one(
    protocol: ImageProtocol, pictures: Pictures, features: Features | None, instead: Sequence[str]
) -> ProtocolScores:
    """Apply a protocol to each pair by itself, since stimuli may differ in size."""
    from hyper_bids.evaluate.image_protocols import ProtocolScores, apply_protocol

    parts = [
        apply_protocol(
            protocol, Images(pixels[None], (label,)), Images(pictures.predicted[label][None], (label,)), features,
            {label: pictures.masks[label]} if pictures.masks else None,
        )
        for label, pixels in pictures.true.items()
    ]  # fmt: skip
    scores = {metric: np.concatenate([part.scores[metric] for part in parts]) for metric in parts[0].scores}
    other = f"; given was {', '.join(instead)}" if instead else ""
    missing = {metric: f"{why}{other}" for metric, why in parts[0].missing.items()}
    return ProtocolScores(scores, tuple(pictures.true), parts[0].protocol, missing)


def _write(tables: Further, suffix: str, name: str, found: ProtocolScores, labels: list[str]) -> None:
    table = pd.DataFrame({"stimulus_id": labels, **{metric: values for metric, values in found.scores.items()}})
    columns = {"stimulus_id": column("Stimulus", "test stimulus")} | {
        metric: column(metric, f"as in the protocol {name}") for metric in found.scores
    }
    tables.write(
        suffix, table, f"scores by the protocol {name}", columns, ImageProtocol=dict(found.protocol),
        NotComputed=dict(found.missing),
    )  # fmt: skip
