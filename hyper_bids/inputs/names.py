"""BIDS file names: entities, suffix, extension, and which files belong to the same run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NOT_OF_THE_RUN = frozenset({"echo", "part", "space", "cohort", "res", "den", "desc", "label", "hemi"})
"""Entities that tell apart images of one run; all others tell apart runs."""


@dataclass(frozen=True)
class BIDSName:
    """A file name taken apart; entity keys are the short ones of the name (``ses``, ``acq``)."""

    entities: tuple[tuple[str, str], ...]
    suffix: str
    extension: str

    def get(self, key: str) -> str | None:
        """Return an entity's label as it is written ("01"), or None."""
        return dict(self.entities).get(key)

    @property
    def run_identity(self) -> tuple[tuple[str, str], ...]:
        """The entities that every image of this run shares, in the name's order."""
        return tuple(item for item in self.entities if item[0] not in NOT_OF_THE_RUN)

    def applies_to(self, other: BIDSName) -> bool:
        """Whether all entities of this name are in the other's, with equal labels (inheritance principle)."""
        return set(self.entities) <= set(other.entities)


def parse_name(path: Path | str) -> BIDSName:
    """Take a BIDS file name apart.

    >>> name = parse_name("sub-01_ses-03_task-faces_run-01_bold.nii.gz")
    >>> name.get("run"), name.suffix, name.extension
    ('01', 'bold', '.nii.gz')
    """
    stem, dot, extension = Path(path).name.partition(".")
    *parts, suffix = stem.split("_")
    entities = []
    for part in parts:
        key, dash, label = part.partition("-")
        if dash:
            entities.append((key, label))
    return BIDSName(tuple(entities), suffix, dot + extension)
