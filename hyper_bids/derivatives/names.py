"""File names of the output, built from entities and never by hand (SPEC section 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

ORDER = (
    "sub", "ses", "task", "acq", "ce", "dir", "rec", "run", "echo", "space", "chunk", "res", "stat", "model", "stim",
    "desc",
)  # fmt: skip
"""Entities in the order in which they are written."""


def label(text: str) -> str:
    """Return ``text`` as a BIDS label: letters and digits.

    >>> label("stim_01-a.png")
    'stim01apng'
    """
    return re.sub(r"[^0-9A-Za-z]", "", text)


def model_label(decoder: str) -> str:
    """Return the ``model-`` label of a decoder's name.

    >>> model_label("ridge"), model_label("sklearn.linear_model:Ridge")
    ('ridge', 'sklearnRidge')
    """
    module, _, name = decoder.partition(":")
    return label(module.split(".")[0] + name) if name else label(decoder)


def unique_labels(stimuli: Iterable[str]) -> dict[str, str]:
    """Return a distinct label for every stimulus; a number is appended where two collide.

    Collisions are looked for ignoring case, since some file systems do.

    >>> unique_labels(["a_1", "a-1", "b"])
    {'a_1': 'a1', 'a-1': 'a1x2', 'b': 'b'}
    """
    taken: set[str] = set()
    names: dict[str, str] = {}
    for stimulus in stimuli:
        base = label(stimulus) or "stimulus"
        name, number = base, 1
        while name.lower() in taken:
            number += 1
            name = f"{base}x{number}"
        taken.add(name.lower())
        names[stimulus] = name
    return names


@dataclass(frozen=True)
class Scope:
    """What all files of one participant, task and space share.

    Parameters
    ----------
    participant, task : labels without prefix
    space : ``space-`` label, or None where the images are used as they came
    resolution : ``res-`` label, or None
    """

    participant: str
    task: str
    space: str | None = None
    resolution: str | None = None

    def name(self, suffix: str, extension: str, **entities: str | None) -> str:
        """Return the path of a file relative to the output folder.

        >>> Scope("01", "faces").name("metrics", ".tsv", model="ridge", desc="pgganZ")
        'sub-01/func/sub-01_task-faces_model-ridge_desc-pgganZ_metrics.tsv'
        """
        folder = f"sub-{self.participant}/" + (f"ses-{entities['ses']}/" if entities.get("ses") else "") + "func/"
        return folder + self.stem(suffix, extension, **entities)

    def figure(self, what: str, extension: str = ".png", suffix: str = "figure", **entities: str | None) -> str:
        """Return the path of a figure.

        >>> Scope("01", "faces").figure("design")
        'sub-01/figures/sub-01_task-faces_desc-design_figure.png'
        """
        stem = self.stem(suffix, extension, desc=what, **entities)
        return f"sub-{self.participant}/figures/{stem}"

    def stem(self, suffix: str, extension: str, **entities: str | None) -> str:
        """Return the file name without its folder."""
        shared = {"sub": self.participant, "task": self.task, "space": self.space, "res": self.resolution}
        return file_name({**shared, **entities}, suffix, extension)


def group_name(
    task: str, suffix: str, extension: str, *, space: str | None, resolution: str | None, model: str, desc: str
) -> str:
    """Return the name of a group file, which lies in the output's root.

    >>> group_name("faces", "groupstats", ".tsv", space=None, resolution=None, model="ridge", desc="pgganZ")
    'task-faces_model-ridge_desc-pgganZ_groupstats.tsv'
    """
    return file_name({"task": task, "space": space, "res": resolution, "model": model, "desc": desc}, suffix, extension)


def file_name(entities: dict[str, str | None], suffix: str, extension: str) -> str:
    """Join entities (in BIDS order, the empty ones left out), suffix and extension."""
    unknown = set(entities) - set(ORDER)
    if unknown:
        raise ValueError(f"unknown entities: {sorted(unknown)}")
    parts = [f"{key}-{entities[key]}" for key in ORDER if entities.get(key)]
    return "_".join([*parts, suffix]) + extension


def entities_of(name: str) -> dict[str, str]:
    """Return entities, ``suffix`` and ``extension`` of a file name made here.

    >>> entities_of("sub-01_task-faces_model-ridge_desc-pgganZ_metrics.tsv")["desc"]
    'pgganZ'
    """
    stem, dot, extension = name.partition(".")
    *pairs, suffix = stem.split("_")
    found = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return {**found, "suffix": suffix, "extension": dot + extension}
