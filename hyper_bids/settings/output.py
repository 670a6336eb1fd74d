"""Options of what is written besides tables and reports."""

from __future__ import annotations

from dataclasses import dataclass

from hyper_bids.settings.declare import option


@dataclass(frozen=True)
class OutputSettings:
    """What is written besides tables and reports."""

    maps: str = option(
        "stimulus",
        "response maps to write: one per stimulus, one per trial (large), both or none",
        choices=("stimulus", "trial", "both", "none"),
    )
