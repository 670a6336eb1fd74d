"""What an events sidecar would have to say, guessed from the events and from the files under ``stimuli/``.

A guess is written into a template for people to edit; nothing is ever decoded by a guess.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hyper_bids.errors import HyperError, OutputNotWritable, UsageError
from hyper_bids.inputs.declaration import KEY, LatentSpace
from hyper_bids.inputs.key import StimulusKey
from hyper_bids.inputs.latents import PLACEHOLDER, READERS, load_latents

PLACE = "mySpace"
"""Name of the space in a template where no latents were found."""

_PATH = re.compile(r"[^/\\]+\.[A-Za-z][A-Za-z0-9]{1,4}$")
_LAST_PART = r"([^/\\]+)\.[A-Za-z0-9]+$"
_NAMES = (
    (100, r"stim_id"), (90, r"stim_file"), (60, r".*stim.*"), (45, r".*(image|img|pic|photo|face|exemplar).*"),
    (35, r".*(video|clip|object|word|item).*"), (25, r".*id"), (10, r"trial_type"),
)  # fmt: skip
_LAST_RESORT = 10
_NEVER = re.compile(r"onset|duration|sample|response.*|.*(reaction|_rt|^rt).*|hed|split|.*(key|button).*|stim_file_.*")
_PAUSE = re.compile(r"fix|rest|blank|baseline|null|iti|isi|pause", re.IGNORECASE)
_NO_TRIAL = re.compile(r"instruct|cue|button|feedback|catch|response|localizer", re.IGNORECASE)
_ONE_BACK = re.compile(r"(is_?)?(one|1)_?-?back.*|catch.*", re.IGNORECASE)


@dataclass(frozen=True)
class KeyCandidate:
    """An events column that may name the stimulus.

    Parameters
    ----------
    column : its name
    pattern : regular expression where the same stimulus seems to have several paths, else None
    n_rows, n_stimuli : rows that name one, and how many different ones
    example : a cell
    rank : how much it looks like the key
    """

    column: str
    pattern: str | None
    n_rows: int
    n_stimuli: int
    example: str
    rank: int


def key_candidates(events: pd.DataFrame) -> list[KeyCandidate]:
    """Return the columns that may name the stimulus, the likeliest first."""
    found = [_candidate(name, events[name].dropna()) for name in events.columns if not _NEVER.fullmatch(name.lower())]
    ranked = sorted((item for item in found if item is not None), key=lambda item: (-item.rank, item.column))
    return [item for item in ranked if item.rank > _LAST_RESORT] or ranked


def _candidate(name: str, cells: pd.Series) -> KeyCandidate | None:
    texts = cells.astype(str)
    distinct = sorted(set(texts))
    files = [text for text in distinct if _PATH.search(text)]
    rank = next((rank for rank, pattern in _NAMES if re.fullmatch(pattern, name.lower())), 0)
    rank = max(rank, 50 if 2 * len(files) > len(distinct) else 0)
    if len(distinct) < 2 or rank == 0 or (rank < 60 and _ONE_BACK.fullmatch(name)):
        return None
    pattern, n_stimuli = None, len(distinct)
    if len(files) == len(distinct):
        stems = {StimulusKey(name, _LAST_PART).identify(text) for text in distinct}
        if None not in stems and len(stems) < len(distinct):
            pattern, n_stimuli = _LAST_PART, len(stems)
    return KeyCandidate(name, pattern, len(texts), n_stimuli, texts.iloc[0], rank)


def guess_split(events: pd.DataFrame, key: StimulusKey, *, by_stimulus: bool) -> dict[str, Any]:
    """Return a ``StimulusSplit``: Train and Test where names say so, pauses, one-backs.

    Parameters
    ----------
    events : rows of all runs
    key : of the stimulus
    by_stimulus : stimuli.tsv (or a column ``split``) says what is trained on and what is tested
    """
    types = events["trial_type"].map(lambda cell: "n/a" if cell is None or cell != cell else str(cell))
    named = events[key.column_of(events.columns, "events")].map(
        lambda cell: isinstance(cell, str) and bool(key.identify(cell))
    )
    lists: dict[str, list[str]] = {"Train": [], "Test": [], "Ignore": [], "Baseline": []}
    unclear = []
    for name in sorted(set(types)):
        if _PAUSE.search(name) or not named[types == name].any():
            lists["Ignore"].append(name)
            lists["Baseline"] += [name] if _PAUSE.search(name) else []
        elif _NO_TRIAL.search(name):
            lists["Ignore"].append(name)
        elif not by_stimulus and re.search(r"train|test", name, re.IGNORECASE):
            lists["Train" if "train" in name.lower() else "Test"].append(name)
        else:
            unclear.append(name)
    if lists["Train"] and lists["Test"]:
        lists["Ignore"] = sorted([*lists["Ignore"], *unclear])
    else:
        lists["Train"] = lists["Test"] = []
    split: dict[str, Any] = {"Column": "trial_type", **{name: values for name, values in lists.items() if values}}
    flags = [name for name in events.columns if _ONE_BACK.fullmatch(name) and set(events[name].dropna()) <= set("01")]
    return {**split, "DropWhere": {name: [1] for name in flags}} if flags else split


def named_as_split(events: pd.DataFrame, key: StimulusKey, sets: Mapping[str, str]) -> bool:
    """Whether the trial types are named after the sets in which stimuli.tsv has their stimuli, all of them.

    Parameters
    ----------
    events : rows of all runs
    key : of the stimulus
    sets : stimulus -> train, test or "", of stimuli.tsv

    >>> from hyper_bids.inputs.key import StimulusKey
    >>> events = pd.DataFrame({"trial_type": ["train", "test_face"], "stim_id": ["a", "b"]})
    >>> named_as_split(events, StimulusKey("stim_id"), {"a": "train", "b": "test"})
    True
    >>> named_as_split(events, StimulusKey("stim_id"), {"a": "test", "b": "train"})
    False
    """
    cells = events[key.column_of(events.columns, "events")]
    told = [sets.get(key.identify(cell) or "", "") if isinstance(cell, str) else "" for cell in cells]
    rows = [(split, str(name).lower()) for split, name in zip(told, events["trial_type"], strict=True) if split]
    return {split for split, _ in rows} == {"train", "test"} and all(name.startswith(split) for split, name in rows)


def guess_generator(label: str, dimension: int | None) -> dict[str, Any]:
    """Return ``{"Generator": ...}`` where a space is called after a generator that makes pictures of so many latents.

    >>> guess_generator("portrait", 64), guess_generator("portrait", 512), guess_generator("semantic", 64)
    ({'Generator': {'Name': 'portrait'}}, {}, {})
    """
    from hyper_bids.generate import GENERATORS, NETWORKS, needs_weights

    name = label.lower()
    known = name in NETWORKS and name != "onnx"  # of how many latents, their weights will say
    if name in GENERATORS and not needs_weights(name):
        known = dimension is not None and getattr(GENERATORS[name], "n_latents", None) == dimension
    return {"Generator": {"Name": name}} if known else {}


def find_latents(needed: Sequence[str], folders: Sequence[Path]) -> tuple[dict[str, Any], list[str]]:
    """Return the declarations of all latent files that hold every needed stimulus, and what the others lack.

    Looked for in ``stimuli/`` and the folders in it, not deeper.
    """
    spaces: dict[str, Any] = {}
    others: list[str] = []
    for relative in _latent_files(needed, folders):
        label = re.sub(r"[^0-9A-Za-z+]", "", Path(relative).parent.name if PLACEHOLDER in relative else _stem(relative))
        content: dict[str, Any] = {"File": relative}
        if not label or label in spaces:
            continue
        try:
            _, declared = load_latents(LatentSpace(label, content), needed, folders)
            spaces[label] = {**declared, **guess_generator(label, declared.get("Dimension"))}
        except HyperError as error:
            others.append(str(error))
    return spaces, others


def _latent_files(needed: Sequence[str], folders: Sequence[Path]) -> list[str]:
    found: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            continue
        places = [folder, *sorted(Path(item.path) for item in os.scandir(folder) if item.is_dir())]
        for place in places:
            found += _matrices(place, folder)
            if place != folder and place.name == "latents":
                found += _per_stimulus(place, folder, needed)
    return list(dict.fromkeys(found))


def _matrices(place: Path, folder: Path) -> list[str]:
    names = sorted(name for name in os.listdir(place) if name.endswith(tuple(READERS)) and name != "stimuli.tsv")
    arrays = {_stem(name) for name in names if name.endswith(".npy")}
    if len(names) > 1000:  # a folder of files per stimulus, not of spaces
        return []
    keep = [name for name in names if name.endswith(".npy") or _stem(name) not in arrays]
    return [(place / name).relative_to(folder).as_posix() for name in keep]


def _per_stimulus(place: Path, folder: Path, needed: Sequence[str]) -> list[str]:
    found = []
    for inside in sorted(path for path in place.iterdir() if path.is_dir()):
        for ending in (".npy", ".tsv"):
            if needed and (inside / f"{needed[0]}{ending}").exists():
                found.append(f"{inside.relative_to(folder).as_posix()}/{PLACEHOLDER}{ending}")
    return found


def _stem(name: str) -> str:
    return Path(name).name.split(".")[0]


def template(
    task: str, metadata: Mapping[str, Any], events: pd.DataFrame, spaces: Mapping[str, Any], *, by_stimulus: bool,
    sets: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the three keys: as declared where they are, else as guessed.

    Parameters
    ----------
    task : label
    metadata : of the events as it is
    events : rows of all runs
    spaces : `find_latents`
    by_stimulus : as in `guess_split`
    sets : stimulus -> its set in stimuli.tsv: where the trial types say the same, they are named
    """
    candidates = key_candidates(events)
    guessed = {"Column": candidates[0].column if candidates else "stim_id"}
    if candidates and candidates[0].pattern:
        guessed["Regex"] = candidates[0].pattern
    keys: dict[str, Any] = {"StimulusKey": metadata.get("StimulusKey", guessed)}
    column, pattern = keys["StimulusKey"].get("Column"), keys["StimulusKey"].get("Regex")
    if "StimulusSplit" in metadata:
        keys["StimulusSplit"] = metadata["StimulusSplit"]
    elif column in events.columns and "trial_type" in events.columns:
        key = StimulusKey(column, pattern)
        alike = bool(sets) and "split" not in events.columns and named_as_split(events, key, sets)
        keys["StimulusSplit"] = guess_split(events, key, by_stimulus=by_stimulus and not alike)
    placeholder = {PLACE: {"File": f"latents/{task}.npy", "Index": _index(task), "Dimension": 512}}
    keys[KEY] = metadata.get(KEY) or dict(spaces) or placeholder
    return keys


def with_spaces(keys: Mapping[str, Any], spaces: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template with the latents that were found in the place of those still to be made."""
    return {**keys, KEY: dict(spaces)} if spaces and is_placeholder(keys) else dict(keys)


def guessed_by_name(keys: Mapping[str, Any], declared: Collection[str] = ()) -> list[str]:
    """Say what a template holds for no better reason than a name.

    Parameters
    ----------
    keys : `template`
    declared : those of the keys that are the sidecar's own words: nothing in them is a guess

    >>> keys = {"StimulusSplit": {"Train": ["train"], "Test": ["test"]}, KEY: {}}
    >>> guessed_by_name(keys), guessed_by_name(keys, ["StimulusSplit"])
    (['Train: train; Test: test, by the names of the trial types'], [])
    """
    guessed = {name: content for name, content in keys.items() if name not in declared}
    split = guessed.get("StimulusSplit", {})
    said = []
    if split.get("Train") and split.get("Test"):
        lists = "; ".join(f"{name}: {', '.join(split[name])}" for name in ("Train", "Test"))
        said.append(f"{lists}, by the names of the trial types")
    named = {label: space["Generator"]["Name"] for label, space in guessed.get(KEY, {}).items() if "Generator" in space}
    return said + [f"Generator: {name}, by the name of the latent space {label}" for label, name in named.items()]


def _index(task: str) -> str:
    return f"latents/{task}.tsv"


def is_placeholder(keys: Mapping[str, Any]) -> bool:
    """Whether the latents of a template are still to be made."""
    return PLACE in keys[KEY]


def write_templates(
    target: Path, templates: Mapping[str, dict[str, Any]], stimuli: Mapping[str, Sequence[str]], bids_dir: Path
) -> list[Path]:
    """Write a sidecar per task, and where latents are still to be made, the list of their rows.

    Parameters
    ----------
    target : a folder to be used as ``--overlay``, or the file of one task (``.json``)
    templates : task -> `template`
    stimuli : task -> stimuli that need latents
    bids_dir : never written to

    Raises
    ------
    UsageError
        The target lies in the dataset; one file for several tasks.
    OutputNotWritable
        The folder cannot be written, or a file is there already.
    """
    target = Path(target).absolute()
    if target.resolve().is_relative_to(Path(bids_dir).resolve()):
        raise UsageError(
            f"--template {target} lies inside the dataset, which is never written to. Choose a folder outside of it."
        )
    single = target.suffix == ".json"
    if single and len(templates) != 1:
        raise UsageError(
            f"--template {target.name} is one file, and there are {len(templates)} tasks "
            f"({', '.join(sorted(templates)) or 'none with events'}). Give a folder, or one task with --task-id."
        )
    files = {}
    for task, keys in templates.items():
        files[target if single else target / f"task-{task}_events.json"] = json.dumps(keys, indent=2) + "\n"
        if not single and is_placeholder(keys) and stimuli.get(task):
            rows = "\n".join(["stimulus_id", *sorted(stimuli[task])]) + "\n"
            files[target / "stimuli" / _index(task)] = rows
    for path in files:
        if path.exists():
            raise OutputNotWritable(f"{path} is there already. Delete it, or name another place with --template.")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputNotWritable(
            f"Cannot write {path}: {error.strerror}. Choose another place with --template."
        ) from error
    return list(files)
