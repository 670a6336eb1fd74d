"""The runs of a dataset: BOLD files with their events, and which sessions and tasks of them are wanted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.errors import InconsistentInput, NothingSelected, did_you_mean, listing
from hyper_bids.inputs.declaration import KEY, NO_LATENTS
from hyper_bids.inputs.key import DEFAULT_COLUMNS, stimulus_key
from hyper_bids.inputs.names import BIDSName, parse_name
from hyper_bids.inputs.preprocessed import Identity
from hyper_bids.inputs.sidecars import Sidecars
from hyper_bids.inputs.tables import read_rows

if TYPE_CHECKING:
    from hyper_bids.settings import InputSettings


@dataclass(frozen=True)
class Run:
    """A run as the raw dataset shows it: one file, or one per echo."""

    identity: Identity
    raw: tuple[Path, ...]
    events: Path | None

    def label(self, key: str) -> str | None:
        return dict(self.identity).get(key)


def group_runs(bolds: Sequence[Path], events: Sequence[Path]) -> list[Run]:
    """Return the runs that BOLD files are of, each with the events that apply to it.

    Raises
    ------
    InconsistentInput
        Several events files apply to one.
    """
    groups: dict[Identity, list[Path]] = {}
    for path in bolds:
        groups.setdefault(parse_name(path).run_identity, []).append(path)
    by_folder: dict[Path, list[tuple[BIDSName, Path]]] = {}
    for path in events:
        by_folder.setdefault(path.parent, []).append((parse_name(path), path))
    return [Run(identity, tuple(raw), _events_of(raw[0], by_folder)) for identity, raw in groups.items()]


def _events_of(bold: Path, by_folder: dict[Path, list[tuple[BIDSName, Path]]]) -> Path | None:
    """Return the events file nearest to a BOLD file: in its folder, else session, participant, root level."""
    name = parse_name(bold)
    for folder in bold.parents:
        fitting = [(len(other.entities), path) for other, path in by_folder.get(folder, []) if other.applies_to(name)]
        most = [path for count, path in fitting if count == max(fitting)[0]]
        if len(most) > 1:
            raise InconsistentInput(f"Several events files fit {bold}: {listing(most)}. Keep one of them.")
        if most:
            return most[0]
    return None


def select_runs(
    runs: list[Run],
    inputs: InputSettings,
    tasks: Sequence[str],
    sidecars: Sidecars,
    check_content: bool,
) -> tuple[list[Run], list[str]]:
    """Keep the wanted sessions and tasks; return the runs in order, and notices.

    Raises
    ------
    NothingSelected
        A session or task that is not there, or no run left.
    InconsistentInput
        No task was asked for and none names latents.
    """
    sessions = sorted({run.label("ses") for run in runs} - {None})
    wanted = [label.removeprefix("ses-") for label in inputs.session_label]
    check_known("--session-label", wanted, sessions)
    if wanted:
        runs = [run for run in runs if run.label("ses") in wanted]
    found = sorted({run.label("task") or "" for run in runs})
    chosen = sorted({label.removeprefix("task-") for label in tasks})
    check_known("--task-id", chosen, found)
    notices: list[str] = []
    if runs and not chosen:
        chosen, notices = _tasks_with_latents(runs, inputs, sidecars, check_content)
    runs = [run for run in runs if run.label("task") in chosen]
    if not runs:
        raise NothingSelected(
            "No BOLD file is left: check --participant-label, --session-label, --task-id and --bids-filter-file."
        )
    return sorted(runs, key=_order), notices


def left_out(runs: Sequence[Run], labels: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Refuse participants asked for by name that have no run; tell of others.

    Raises
    ------
    NothingSelected
    """
    left = {run.label("sub") for run in runs}
    skipped = [label for label in labels if label not in left]
    if not skipped:
        return []
    message = f"No BOLD of the selected sessions and tasks: {listing(f'sub-{label}' for label in skipped)}."
    if asked:
        raise NothingSelected(f"{message} Participants that have some: {listing(sorted(filter(None, left)), 20)}.")
    return [message]


def _order(run: Run) -> tuple[str, ...]:
    """Participant, task, session, then the name; numbers by value, so that run-2 comes before run-10."""
    labels = (*(run.label(key) or "" for key in ("sub", "task", "ses")), str(run.identity))
    return tuple(re.sub(r"\d+", lambda digits: digits[0].zfill(12), label) for label in labels)


def _tasks_with_latents(
    runs: Sequence[Run], inputs: InputSettings, sidecars: Sidecars, check_content: bool
) -> tuple[list[str], list[str]]:
    """Return the tasks whose events name latents; where only trials are to be counted, else all with events."""
    having = [run for run in runs if run.events is not None]
    metadata = {run.identity: sidecars.of(run.raw[0], "events") for run in having}
    chosen = {run.label("task") or "" for run in having if KEY in metadata[run.identity]}
    if not chosen and (inputs.latents or inputs.encoder):
        chosen = {run.label("task") or "" for run in having if _names_stimuli(run, metadata[run.identity], inputs)}
    if chosen:
        return sorted(chosen), []
    found = sorted({run.label("task") or "" for run in runs})
    message = NO_LATENTS.format(tasks=listing(found), task=found[0])
    if check_content or not having:
        raise InconsistentInput(message)
    return sorted({run.label("task") or "" for run in having}), [message]


def _names_stimuli(run: Run, metadata: dict[str, Any], inputs: InputSettings) -> bool:
    """Whether the events have the column that names the stimulus; `--latents` alone says nothing of the task."""
    if run.events is None or not run.events.exists():
        return False
    wanted = stimulus_key(metadata, inputs).column
    columns = read_rows(run.events, first=1)[0]
    return any(name in columns for name in (DEFAULT_COLUMNS if wanted is None else (wanted,)))


def check_known(option: str, wanted: Sequence[str], found: Sequence[str]) -> None:
    """Refuse labels that were asked for with an option and are not among those found.

    Raises
    ------
    NothingSelected
    """
    unknown = [label for label in wanted if label not in found]
    if unknown:
        raise NothingSelected(
            f"{option}: {listing(unknown)} not found. There are: {listing(found, 20)}.{did_you_mean(unknown[0], found)}"
        )
