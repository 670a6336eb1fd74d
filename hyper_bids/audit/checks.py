"""All audits of a decoding result, in the order in which they are read.

Each says PASS, NOTE (to be known, not a fault), WARN, FAIL or N/A (nothing to assess), and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hyper_bids.audit.baselines import baselines, chance_level, image_ceiling, shuffled_responses
from hyper_bids.audit.bottleneck import bottleneck
from hyper_bids.audit.collapse import data_scale, dimension_collapse
from hyper_bids.audit.controls import controls
from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light
from hyper_bids.audit.novelty import novelty
from hyper_bids.audit.nuisance import nuisance_decoding
from hyper_bids.audit.overlap import overlap_by_content, overlap_by_id, overlap_by_latent
from hyper_bids.audit.tuning import tuning
from hyper_bids.errors import count

SAME = 1e-5
"""Relative change of a prediction that rounding may make."""


def single_item(evidence: Evidence) -> Light:
    """Predictions may not depend on which other trials are predicted with them."""
    difference, scale = evidence.alone_difference, float(np.abs(evidence.predicted).max())
    alone = difference <= SAME * max(scale, 1e-12)
    text = "a trial is predicted the same alone and among others."
    if not alone:
        text = f"a trial predicted alone differs by up to {difference:.3g}: predictions use other test trials."
    return light("PASS" if alone else "FAIL", text, LargestDifference=difference)


def constant_latents(evidence: Evidence) -> Light:
    """Whether a latent has nothing to learn from."""
    latents = [int(number) for number in evidence.constant_latents]
    if not latents:
        return light("PASS", "every latent varies over the training trials.")
    text = f"{count(len(latents), 'latent')} without variance over a fold's training trials, predicted by the mean."
    return light("WARN", text, Latents=latents)


CHECKS: dict[str, Callable[[Evidence], Light]] = {
    "Overlap": overlap_by_id,
    "SameContent": overlap_by_content,
    "SameLatents": overlap_by_latent,
    "Tuning": tuning,
    "SingleItem": single_item,
    "Baselines": baselines,
    "ShuffledResponses": shuffled_responses,
    "ChanceLevel": chance_level,
    "ImageCeiling": image_ceiling,
    "Novelty": novelty,
    "DimensionCollapse": dimension_collapse,
    "Bottleneck": bottleneck,
    "DataScale": data_scale,
    "ConstantLatents": constant_latents,
    "Nuisance": nuisance_decoding,
    "Controls": controls,
}
"""Name in audit.json -> check."""


def audit(evidence: Evidence) -> dict[str, Any]:
    """Check one decoder's predictions.

    Returns
    -------
    check -> {"Status", "Text", and its figures}
    """
    found = {name: check(evidence) for name, check in CHECKS.items()}
    if evidence.null_notices or evidence.null_remarks:
        said = " ".join([*evidence.null_notices, *evidence.null_remarks])
        found["NullDistribution"] = light("WARN" if evidence.null_notices else "NOTE", said)
    return found
