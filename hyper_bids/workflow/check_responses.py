"""``hyper-tools check --responses``: what response maps that exist already lack, and what hyper would decode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles, listing
from hyper_bids.inputs.declaration import KEY, NO_LATENTS, latent_spaces
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
    problems : of participants whose maps cannot be found or told apart

    Raises
    ------
    MissingFiles
        There is no such folder.
    """
    from hyper_bids.inputs.response_maps import find_maps

    if not folder.is_dir():
        raise MissingFiles(f"--responses {folder} does not exist.")
    found: dict[str, dict[str, list]] = {}
    problems: list[HyperError] = []
    for label in participants:
        try:
            maps = find_maps(folder, label, inputs, response)
        except HyperError as error:
            problems.append(error)
            continue
        for item in maps:
            found.setdefault(item.task, {}).setdefault(label, []).append(item)
    wanted = [task for task in sorted(found) if not tasks or task in tasks]
    absent = sorted(set(tasks) - set(found))
    if absent:
        there = listing(sorted(found)) or "none"
        problems.append(MissingFiles(f"--responses {folder}: no maps of task {listing(absent)}; there are: {there}."))
    return [_check_task(root, folder, task, found[task], inputs) for task in wanted], problems


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
