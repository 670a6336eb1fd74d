"""What every output says about itself: columns, sources, settings, version and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hyper_bids import __version__


@dataclass(frozen=True)
class Provenance:
    """What an output was made from.

    Parameters
    ----------
    sources : BIDS URIs of the input files
    inputs : digest of the content of all input files
    settings : digest of the settings that can change this output
    seed : root of every random number
    """

    sources: tuple[str, ...]
    inputs: str
    settings: str
    seed: int

    def stamp(self, **content: Any) -> dict[str, Any]:
        """Return a sidecar's content with the provenance at its end."""
        return {
            **content,
            "Sources": list(self.sources),
            "InputDigest": self.inputs,
            "Settings": self.settings,
            "SoftwareVersion": __version__,
            "RandomSeed": self.seed,
        }


def column(long_name: str, description: str, units: str | None = None, **more: Any) -> dict[str, Any]:
    """Describe a column of a TSV for its JSON data dictionary."""
    entry: dict[str, Any] = {"LongName": long_name, "Description": description}
    if units:
        entry["Units"] = units
    return {**entry, **more}
