"""Audit items as traffic lights with words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hyper_bids.errors import count

TITLES = {
    "Overlap": "Training and test set are apart",
    "SameLatents": "No latents shared between the sets",
    "SameContent": "No picture in both sets under two names",
    "Tuning": "Nothing tuned on test stimuli",
    "ShuffledResponses": "Better than with shuffled responses",
    "ChanceLevel": "Chance level of identification",
    "ImageCeiling": "Pictures below those of the true latents",
    "Novelty": "Training stimuli not remembered",
    "Nuisance": "No run, onset or motion in what is decoded",
    "Controls": "No stimulus in the global signal or outside the brain",
    "DataScale": "Enough training stimuli for the latents",
    "DimensionCollapse": "Predictions vary in many dimensions",
    "Bottleneck": "How many dimensions are decoded",
    "SingleItem": "Every trial is predicted alone",
    "ConstantLatents": "Every latent varies in training",
    "NullDistribution": "How the null was made",
    "Baselines": "Closer to the truth than a guess",
    "Copies": "Predictions are no copies of the truth",
}
LIGHTS = {
    "FAIL": ("fail", "✕"), "WARN": ("warning", "!"), "NOTE": ("notice", "i"), "PASS": ("pass", "✓"),
    "N/A": ("not computed", "·"),
}  # fmt: skip
"""Status of a check -> its word and its sign, in the order in which a reader wants them."""


@dataclass(frozen=True)
class AuditItem:
    """One check: its light is also a word and a sign, for readers who do not see the colour."""

    title: str
    status: str
    word: str
    sign: str
    text: str

    @property
    def css(self) -> str:
        """Class of the badge: grey for what was not computed."""
        return "none" if self.status == "N/A" else self.status


def audit_items(content: Mapping[str, Any]) -> list[AuditItem]:
    """Return the checks of an audit.json, failures first, then warnings, what could not be computed last.

    >>> audit_items({"Overlap": {"Status": "FAIL", "Text": "2 stimuli are in both sets."}})[0].word
    'fail'
    """
    items = []
    for name, check in content.items():
        if not (isinstance(check, Mapping) and check.get("Status") in LIGHTS):
            continue
        title = TITLES.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()
        word, sign = LIGHTS[check["Status"]]
        items.append(AuditItem(title, check["Status"], word, sign, str(check.get("Text", ""))))
    return sorted(items, key=lambda item: list(LIGHTS).index(item.status))


def tally(items: list[AuditItem]) -> list[tuple[str, str, str]]:
    """Return sign, class and words of every light that is on: the audit at a glance.

    >>> tally(audit_items({"Overlap": {"Status": "PASS", "Text": ""}, "Copies": {"Status": "PASS", "Text": ""}}))
    [('✓', 'PASS', '2 pass')]
    """
    counts = Counter((item.sign, item.css, item.word) for item in items)
    return [
        (sign, css, count(n, word, word + "s" if word in ("warning", "notice") else word))
        for (sign, css, word), n in counts.items()
    ]
