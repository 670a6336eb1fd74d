"""``hyper-tools check --responses``: what response maps that exist already lack, and what hyper would decode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyper_bids.errors import HyperError, InconsistentInput, NothingSelected, listing
from hyper_bids.inputs.declaration import KEY, NO_LATENTS, latent_spaces
from hyper_bids.inputs.names import parse_name
from hyper_bids.inputs.recording import Dataset
from hyper_bids.inputs.sidecars import Sidecars
from hyper_bids.workflow.check_declaration import check_spaces
from hyper_bids.workflow.check_findings import TaskCheck

if TYPE_CHECKING:
    from hyper_bids.settings import InputSettings

_SHOWN = 12


def check_responses(
    root: Path, folder: Path, inputs: InputSettings, response: str, participants: Sequence[str], tasks: Sequence[str]
) -> tuple[list[TaskCheck], list[HyperError]]:
    """Look at the maps of all participants, a task at a time.

    Parameters
    ----------
    root : of the dataset whose events sidecar and ``stimuli/`` go with the maps; it needs no BOLD and no events
    folder : of ``--responses``
    inputs : the options that hyper would get
    response : which statistic is wanted where there are several (z, t, beta)
    participants, tasks : labels (no task: all)

    Returns
    -------
    checks : of every task that has maps
    problems : of participants whose maps cannot be found or told apart, and of tasks without maps
    """
    from hyper_bids.inputs.response_maps import find_maps

    found: dict[str, dict[str, list]] = {}
    failed: dict[str, list[str]] = {}
    kinds: dict[str, type[HyperError]] = {}
    for label in participants:
        try:
            maps = find_maps(folder, label, inputs, response)
        except HyperError as error:
            failed.setdefault(str(error), []).append(label)
            kinds[str(error)] = type(error)
            continue
        for item in maps:
            found.setdefault(item.task, {}).setdefault(label, []).append(item)
    problems = [kinds[text](_of(who, text)) for text, who in failed.items()]
    known = set(found).union(*(_tasks_named(folder, label) for who in failed.values() for label in who))
    absent = sorted(set(tasks) - known)
    if absent:
        said = f"--task-id: {listing(absent)} has no response maps; there are: {listing(sorted(known))}."
        problems.append(NothingSelected(said))
    wanted = [task for task in sorted(found) if not tasks or task in tasks]
    return [_check_task(root, folder, task, found[task], inputs) for task in wanted], problems


def _of(labels: Sequence[str], text: str) -> str:
    """Put participants before what was said of them, unless it names them."""
    named = all(f"sub-{label}" in text for label in labels)
    return text if named else f"{listing((f'sub-{label}' for label in labels), _SHOWN)}: {text}"


def _tasks_named(folder: Path, label: str) -> set[str]:
    """Return the tasks of a participant whose maps cannot be used, from file names alone."""
    return {parse_name(path).get("task") or "" for path in (folder / f"sub-{label}").rglob("*_statmap.nii*")} - {""}


def _check_task(root: Path, folder: Path, task: str, found: dict[str, list], inputs: InputSettings) -> TaskCheck:
    from hyper_bids.inputs.response_maps import events_of

    check = TaskCheck(task)
    _describe(check, [item for maps in found.values() for item in maps], len(found))
    try:
        metadata = Sidecars(root, inputs.overlay).of(events_of(root, next(iter(found)), task))
        spaces = latent_spaces(metadata, inputs)
    except HyperError as error:
        check.met(error)
        return check
    check.declared = bool(spaces or inputs.encoder)
    check.say("declared" if KEY in metadata else "not declared", KEY)
    if not check.declared:
        check.met(InconsistentInput(NO_LATENTS.format(tasks=task, task=task)))
        return check
    datasets = {label: Dataset(root, {}, (label,), (), (), {"responses": folder}, tuple(maps))
                for label, maps in found.items()}  # fmt: skip
    check_spaces(check, datasets, sorted(spaces) or [None], inputs)
    return check


def _describe(check: TaskCheck, maps: list, n_participants: int) -> None:
    kinds = listing(sorted({f"stat-{item.stat}_desc-{item.level}" for item in maps}))
    spaces = listing(sorted({item.space or "none named" for item in maps}))
    check.say("maps", f"{len(maps)} of {n_participants} participants: {kinds}; space: {spaces}")
    masks = sum(item.mask is not None for item in maps)
    check.say(
        "brain masks", f"{masks} of {len(maps)} maps" + ("" if masks == len(maps) else " (else: where all are not 0)")
    )
    check.say("BOLD, events", "not needed: the tables beside the maps name stimulus and split of every volume")
