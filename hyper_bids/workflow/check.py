"""``hyper-tools check``: what a dataset has, what its events sidecars lack, and what hyper would do with it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyper_bids.errors import HyperError, MissingFiles, NothingSelected, listing
from hyper_bids.inputs.names import parse_name
from hyper_bids.inputs.recording import Dataset, Recording
from hyper_bids.workflow.check_declaration import check_declaration
from hyper_bids.workflow.check_findings import Check, TaskCheck
from hyper_bids.workflow.check_responses import check_responses
from hyper_bids.workflow.sidecar_template import key_candidates

if TYPE_CHECKING:
    import pandas as pd

    from hyper_bids.settings import InputSettings

_SHOWN = 12


def check_dataset(
    bids_dir: Path, inputs: InputSettings, *, participants: Sequence[str] = (), tasks: Sequence[str] = (),
    validated: bool = True, response: str = "z",
) -> Check:  # fmt: skip
    """Look at a dataset as hyper would, and go on where hyper would stop.

    Parameters
    ----------
    bids_dir : any BIDS dataset; it needs none of our keys, and its files may be annexed without content
    inputs : the options that hyper would get
    participants, tasks : labels (default: all)
    validated : run the BIDS validator
    response : with ``inputs.responses``, which statistic is wanted where there are several

    Raises
    ------
    MissingFiles, InvalidDataset, NothingSelected
        There is nothing to look at: no folder, no dataset_description.json, no participant, no BOLD.
    """
    from hyper_bids.inputs.dataset import dataset_root, find_participants, read_description

    root = dataset_root(bids_dir)
    description = read_description(root)
    if inputs.responses is not None and not inputs.responses.is_dir():
        raise MissingFiles(f"--responses {inputs.responses} does not exist.")
    labels = find_participants(inputs.responses or root, participants)
    problems: list[HyperError] = []
    lines = [f"{root}: {description.get('Name', 'no name')} (BIDS {description.get('BIDSVersion', '?')})"]
    lines.append(f"participants: {listing((f'sub-{label}' for label in labels), _SHOWN)}")
    if validated:
        lines += _validated(root, problems)
    wanted = [task.removeprefix("task-") for task in tasks]
    if inputs.responses is not None:
        checks, absent = check_responses(root, inputs.responses, inputs, response, labels, wanted)
        return Check(root, lines, checks, [*problems, *absent])
    found = _tasks(root, labels, wanted)
    checks = [_check_task(root, task, who, inputs) for task, who in sorted(found.items())]
    return Check(root, lines, checks, problems)


def _validated(root: Path, problems: list[HyperError]) -> list[str]:
    from hyper_bids.inputs.validate import validate

    try:
        return validate(root)
    except HyperError as error:
        problems.append(error)
        return []


def _tasks(root: Path, labels: Sequence[str], wanted: Sequence[str]) -> dict[str, list[str]]:
    """Task -> participants that have BOLD of it, from file names alone."""
    found: dict[str, list[str]] = {}
    for label in labels:
        files = [*root.glob(f"sub-{label}/func/*_bold.nii*"), *root.glob(f"sub-{label}/ses-*/func/*_bold.nii*")]
        for task in sorted({parse_name(path).get("task") or "" for path in files} - {""}):
            found.setdefault(task, []).append(label)
    kept = {task: who for task, who in found.items() if not wanted or task in wanted}
    if not kept:
        asked = f" of task {listing(wanted)}" if wanted else ""
        tasks = listing(sorted(found))
        raise NothingSelected(f"{root}: no BOLD file{asked} of {listing(labels)}; tasks found: {tasks}.")
    return kept


def _has_events(root: Path, task: str) -> bool:
    """Whether any run of a task may have events; a resting state has none."""
    places = ("", "sub-*/", "sub-*/func/", "sub-*/ses-*/", "sub-*/ses-*/func/")
    names = (path for place in places for path in root.glob(f"{place}*_events.tsv"))
    return any(parse_name(path).get("task") in (task, None) for path in names)


def _check_task(root: Path, task: str, participants: Sequence[str], inputs: InputSettings) -> TaskCheck:
    check = TaskCheck(task)
    if not _has_events(root, task):
        check.say("events", "none: nothing to decode")
        return check
    dataset = _open(root, task, participants, inputs, check)
    if dataset is None:
        return check
    _describe_runs(check, dataset)
    events = _read_events(check, dataset.recordings)
    if events is None:
        return check
    _describe_events(check, events)
    check_declaration(check, dataset, events, inputs)
    return check


def _open(
    root: Path, task: str, participants: Sequence[str], inputs: InputSettings, check: TaskCheck
) -> Dataset | None:
    """Open the runs of a task: with their headers, else without, else without the preprocessed data."""
    from hyper_bids.inputs.dataset import open_dataset

    raw = dataclasses.replace(inputs, derivatives=("none",), space=None)
    for attempt, content in ((inputs, True), (inputs, False), (raw, False)):
        try:
            return open_dataset(root, attempt, participants=participants, tasks=(task,), check_content=content)
        except HyperError as error:
            check.met(error)
    return None


# ------------------------------------------------------------------ what there is


def _describe_runs(check: TaskCheck, dataset: Dataset) -> None:
    recordings = dataset.recordings
    per = Counter(recording.participant for recording in recordings)
    each = f"{min(per.values())}" if len(set(per.values())) == 1 else f"{min(per.values())} to {max(per.values())}"
    sessions = len({recording.session for recording in recordings} - {None})
    check.say("runs", f"{len(recordings)} of {len(per)} participants, {each} each; sessions: {sessions or 'none'}")
    times = sorted({recording.repetition_time for recording in recordings})
    volumes = sorted({recording.n_volumes for recording in recordings})
    repetition = "TR unknown" if times == [0.0] else f"TR {listing(f'{time:g}' for time in times)} s"
    counts = f"{volumes[0]}" if len(volumes) == 1 else f"{volumes[0]} to {volumes[-1]}"
    length = "headers not read" if volumes == [0] else f"{counts} volumes"
    check.say("BOLD", f"{_source(dataset)}; {repetition}; {length}")
    n = len(recordings)
    masks, confounds = (sum(getattr(r, what) is not None for r in recordings) for what in ("mask", "confounds"))
    without = "" if masks == n else " (hyper makes one from the BOLD where there is none)"
    check.say("brain masks", f"{masks} of {n} runs{without}")
    check.say("confounds", f"{confounds} of {n} runs" + ("" if confounds else " (the GLM then has drift terms only)"))
    for notice in dataset.notices:
        check.say("note", notice)


def _source(dataset: Dataset) -> str:
    first = dataset.recordings[0]
    if first.bold == first.raw:
        folders = [path.parent for path in sorted(dataset.root.glob("derivatives/*/sub-*")) if path.is_dir()]
        there = listing((f"-d {path.relative_to(dataset.root)}" for path in dict.fromkeys(folders)), 3)
        return f"as it came, no preprocessed data in use ({f'there are: {there}' if folders else '-d names them'})"
    names = listing(f"{name} = {path}" for name, path in (dataset.derivatives or {}).items())
    return f"preprocessed, {names}, space {first.space or 'orig'}"


def _read_events(check: TaskCheck, recordings: Sequence[Recording]) -> pd.DataFrame | None:
    import pandas as pd

    from hyper_bids.inputs.events import read_events

    tables = []
    for recording in recordings:
        try:
            tables.append(read_events(recording.events))
        except HyperError as error:
            check.met(error)
    return pd.concat(tables, ignore_index=True) if tables else None


def _describe_events(check: TaskCheck, events: pd.DataFrame) -> None:
    from hyper_bids.inputs.split import table_of_types

    columns = [f"{name} ({events[name].notna().sum()} rows)" if events[name].isna().any() else name for name in events]
    check.say("events", f"{len(events)} rows; columns: {listing(columns, 30)}")
    if "trial_type" in events.columns:
        types = table_of_types(events["trial_type"].fillna("n/a")).split("\n")
        check.say("trial types", listing((line.strip() for line in types), _SHOWN))
    for number, item in enumerate(key_candidates(events)):
        parts = f"{item.column}: {item.n_rows} rows name {item.n_stimuli} stimuli, as {item.example!r}"
        check.say("" if number else "stimulus named", parts + (f"; Regex {item.pattern}" if item.pattern else ""))
