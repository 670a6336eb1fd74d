"""What the events sidecars declare about latents: ``StimulusLatents``, and the choice of one space."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.errors import InconsistentInput, UsageError, did_you_mean, listing

if TYPE_CHECKING:
    from hyper_bids.settings import InputSettings

KEY = "StimulusLatents"
NO_LATENTS = (
    "No events sidecar of the tasks found ({tasks}) names latents. Add to task-{task}_events.json, in the dataset or "
    "in a folder given with --overlay: "
    '"StimulusLatents": {{"mySpace": {{"File": "latents/mySpace.npy", "Dimension": 512}}}} '
    "(File is relative to stimuli/; latents/mySpace.tsv, column stimulus_id, names its rows), "
    "or pass --latents mySpace=FILE."
)
_LABEL = re.compile(r"[0-9A-Za-z+]+")
_TEXTS = ("File", "Index", "Dataset", "IndexDataset", "Distribution")
SPACE_FIELDS = (*_TEXTS, "Dimension", "Generator", "GroundTruth", "Description")
"""Of an entry of ``StimulusLatents``; the last two are for people."""


@dataclass(frozen=True)
class LatentSpace:
    """One entry of ``StimulusLatents``.

    Parameters
    ----------
    label : becomes ``desc-<label>``
    content : the entry as declared
    given : the file named on the command line (``--latents``), which may lie anywhere; else None
    """

    label: str
    content: dict[str, Any]
    given: Path | None = None

    @property
    def dimension(self) -> int | None:
        """Declared number of latents, or None."""
        return self.content.get("Dimension")


def latent_spaces(metadata: Mapping[str, Any], inputs: InputSettings) -> dict[str, LatentSpace]:
    """Return the declared spaces by label; those of ``--latents`` take the place of all others.

    ``--latents NAME=FILE`` keeps what the sidecar says of a space of that name (dimension,
    generator) besides the file.

    Raises
    ------
    InconsistentInput
        The declaration has the wrong form, or labels differ in case alone.
    UsageError
        ``--latents`` is not NAME=FILE.
    """
    declared = metadata.get(KEY, {})
    if not isinstance(declared, dict):
        raise InconsistentInput(f"{KEY} must be an object of latent spaces, got a {type(declared).__name__}.")
    spaces = {label: LatentSpace(label, _checked(label, content)) for label, content in declared.items()}
    shortcuts = _shortcuts(inputs.latents)
    if shortcuts:
        kept = {label: spaces[label].content if label in spaces else {} for label in shortcuts}
        spaces = {label: LatentSpace(label, _at(path, kept[label]), path) for label, path in shortcuts.items()}
    folded: dict[str, str] = {}
    for label in spaces:
        other = folded.setdefault(label.casefold(), label)
        if other != label:
            raise InconsistentInput(f"{KEY}: the labels {other} and {label} differ in case alone; rename one.")
    return spaces


def _checked(label: str, content: Any) -> dict[str, Any]:
    where = f"{KEY}, space {label!r}"
    if not _LABEL.fullmatch(label):
        raise InconsistentInput(f"{where}: a label may hold letters, digits and + only (it becomes desc-<label>).")
    if not isinstance(content, dict) or not isinstance(content.get("File"), str):
        raise InconsistentInput(f'{where}: an object with "File" (a path relative to stimuli/) is needed.')
    for key in _TEXTS:
        if key in content and not isinstance(content[key], str):
            raise InconsistentInput(f"{where}: {key} must be text, got {content[key]!r}.")
    dimension = content.get("Dimension", 1)
    if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 1:
        raise InconsistentInput(f"{where}: Dimension must be a whole number of at least 1, got {dimension!r}.")
    if not isinstance(content.get("Generator", {}), dict):
        raise InconsistentInput(f'{where}: Generator must be an object such as {{"Name": "pggan"}}.')
    if not isinstance(content.get("Generator", {}).get("Name", ""), str):
        raise InconsistentInput(f"{where}: Generator.Name must be text, got {content['Generator']['Name']!r}.")
    return dict(content)


def _shortcuts(words: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for word in words:
        label, sign, file = word.partition("=")
        if not sign or not file or not _LABEL.fullmatch(label):
            raise UsageError(f"--latents: {word!r} is not NAME=FILE (NAME: letters, digits and +).")
        if label in found:
            raise UsageError(f"--latents: the space {label} is given twice.")
        found[label] = Path(os.path.abspath(os.path.expanduser(file)))
    return found


def _at(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """The declaration with the command line's file instead of its own."""
    kept = {key: value for key, value in content.items() if key not in ("File", "Index")}
    return {"File": str(path), **kept}


def choose_space(spaces: Mapping[str, LatentSpace], wanted: str | None, task: str) -> LatentSpace:
    """Return the wanted space, or the only one.

    Raises
    ------
    InconsistentInput
        None is declared.
    UsageError
        Unknown, or several to choose from; lists the labels.
    """
    labels = sorted(spaces)
    if not labels:
        raise InconsistentInput(NO_LATENTS.format(tasks=task, task=task))
    if wanted is not None:
        if wanted not in spaces:
            raise UsageError(
                f"--latent-space: there is no space {wanted!r}; declared: {listing(labels, 20)}."
                f"{did_you_mean(wanted, labels)}"
            )
        return spaces[wanted]
    if len(labels) > 1:
        raise UsageError(f"Several latent spaces are declared: {listing(labels, 20)}. Choose one with --latent-space.")
    return spaces[labels[0]]
