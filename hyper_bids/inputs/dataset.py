"""From a BIDS folder to the recordings to analyse: what is selected, matched and there to be read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.errors import (
    HyperError,
    InconsistentInput,
    InvalidDataset,
    MissingFiles,
    NothingSelected,
    UsageError,
    listing,
)
from hyper_bids.inputs.annex import require_content
from hyper_bids.inputs.filters import read_queries
from hyper_bids.inputs.layout import Index
from hyper_bids.inputs.preprocessed import Identity, Match, Preprocessed, match_runs, parse_derivatives
from hyper_bids.inputs.recording import Dataset, Recording
from hyper_bids.inputs.runs import Run, check_known, group_runs, left_out, select_runs
from hyper_bids.inputs.sampling import Sampling, read_sampling
from hyper_bids.inputs.sidecars import Sidecars, read_json

if TYPE_CHECKING:
    from hyper_bids.settings import InputSettings


def open_dataset(
    bids_dir: Path | str,
    inputs: InputSettings,
    *,
    participants: Sequence[str] = (),
    tasks: Sequence[str] = (),
    database_dir: Path | None = None,
    check_content: bool = True,
) -> Dataset:
    """Find the recordings of the selected participants, sessions and tasks.

    Parameters
    ----------
    bids_dir : dataset root
    inputs : options; sessions, derivatives, space, overlay and the filter file are used here
    participants : labels with or without "sub-" (default: all)
    tasks : labels with or without "task-" (default: every task whose events sidecars name latents)
    database_dir : folder for pybids databases, one per dataset and state of its folders (default: in memory)
    check_content : False to open a dataset whose BOLD is not there (annexed), to count its trials: then
        ``n_volumes`` is 0, and ``repetition_time`` 0 where no sidecar gives it

    Raises
    ------
    MissingFiles
        No such folder; links without content; a run without events or without preprocessed BOLD.
    InvalidDataset
        dataset_description.json is missing or not JSON.
    NothingSelected
        Unknown participant, session or task, or no BOLD left.
    UsageError
        Space or derivatives to be chosen.
    InconsistentInput
        No task names latents; runs that cannot be told apart; a damaged header; no repetition time.
    """
    root = dataset_root(bids_dir)
    description = read_description(root)
    sidecars = Sidecars(root, inputs.overlay)
    derivatives = parse_derivatives(inputs.derivatives, root)
    if inputs.space is not None and not derivatives:
        raise UsageError(f"--space {inputs.space} needs preprocessed BOLD; name its folder with --derivatives.")
    labels = find_participants(root, participants)
    index = Index(root, labels, read_queries(inputs.bids_filter_file), database_dir)

    runs = group_runs(index.paths("bold"), index.paths("events"))
    runs, notices = select_runs(runs, inputs, tasks, sidecars, check_content)
    notices += left_out(runs, labels, participants)
    matches = _preprocessed(runs, derivatives, labels, index.queries, database_dir, inputs.space)
    roots = (root, *derivatives.values())
    _check_files(runs, matches, roots, check_content)
    recordings, more = _recordings(runs, matches, sidecars, check_content)
    return Dataset(
        root,
        description,
        tuple(sorted({recording.participant for recording in recordings})),
        tuple(recordings),
        tuple([*notices, *more]),
        derivatives,
    )


def dataset_root(bids_dir: Path | str) -> Path:
    """Return the absolute folder of a dataset.

    Raises
    ------
    MissingFiles
        No such folder.
    """
    root = Path(os.path.abspath(os.path.expanduser(bids_dir)))
    if not root.is_dir():
        raise MissingFiles(f"bids_dir: no such folder: {root}.")
    return root


def read_description(root: Path) -> dict[str, Any]:
    """Return dataset_description.json.

    Raises
    ------
    InvalidDataset
        It is missing or not JSON.
    """
    path = root / "dataset_description.json"
    if not path.is_file():
        raise InvalidDataset(f"{root} is no BIDS dataset: dataset_description.json is missing. Is it the root?")
    try:
        return read_json(path)
    except HyperError as error:
        raise InvalidDataset(str(error)) from error


def find_participants(bids_dir: Path | str, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the labels of the selected participants (default: all), sorted.

    Raises
    ------
    MissingFiles
        No such folder.
    NothingSelected
        No participant at all, or one that was asked for is not there; names those found.
    """
    root = dataset_root(bids_dir)
    found = sorted(path.name.removeprefix("sub-") for path in root.glob("sub-*") if path.is_dir())
    if not found:
        raise NothingSelected(f"{root} holds no participant: there is no folder sub-<label>.")
    wanted = sorted({label.removeprefix("sub-") for label in wanted})
    check_known("--participant-label", wanted, found)
    return tuple(wanted or found)


def _preprocessed(
    runs: Sequence[Run],
    derivatives: dict[str, Path],
    labels: Sequence[str],
    queries: dict[str, dict[str, Any]],
    database_dir: Path | None,
    space: str | None,
) -> dict[Identity, Match]:
    """Match every run with its preprocessed files, or return nothing for raw BOLD as it comes."""
    if not derivatives:
        double = [run for run in runs if len(run.raw) > 1]
        if double:
            raise InconsistentInput(
                f"{len(double[0].raw)} BOLD files for one run: {listing(path.name for path in double[0].raw)}. "
                "Echoes must be combined first (give fMRIPrep's output with --derivatives), "
                'or choose one with --bids-filter-file {"bold": {"echo": "1"}}.'
            )
        return {}
    datasets = []
    for name, folder in derivatives.items():
        index = Index(folder, labels, queries, database_dir, derived=True)
        found = (tuple(index.paths(query)) for query in ("preproc", "mask", "confounds"))
        datasets.append(Preprocessed(name, folder, *found))
    return match_runs([run.identity for run in runs], datasets, space)


def _check_files(
    runs: Sequence[Run], matches: dict[Identity, Match], roots: Sequence[Path], check_content: bool
) -> None:
    """Check events and, where their content will be read, images: before anything is computed."""
    without = [run.raw[0] for run in runs if run.events is None]
    if without:
        shown = "\n  ".join(str(path) for path in without[:3])
        raise MissingFiles(
            f"{len(without)} of {len(runs)} runs have no events.tsv beside or above them:\n  {shown}\n"
            "Add the events, or leave these runs out with --task-id, --session-label or --bids-filter-file."
        )
    files = [run.events for run in runs]
    if check_content:
        for run in runs:
            match = matches.get(run.identity)
            files += [run.raw[0]] if match is None else [match.bold, match.mask, match.confounds]
    require_content([file for file in files if file is not None], roots)


def _recordings(
    runs: Sequence[Run], matches: dict[Identity, Match], sidecars: Sidecars, check_content: bool
) -> tuple[list[Recording], list[str]]:
    derived = {match.root: Sidecars(match.root) for match in matches.values()}
    further = _further(runs)
    recordings, notices = [], []
    for run in runs:
        match = matches.get(run.identity)
        bold = run.raw[0] if match is None else match.bold
        own = {} if match is None else derived[match.root].of(bold)
        sampling, said = read_sampling(bold, own, sidecars.of(run.raw[0]), check_content)
        notices += said
        recordings.append(_recording(run, match, bold, sampling, further[run.identity]))
    return recordings, notices + _absent(recordings, matches)


def _recording(run: Run, match: Match | None, bold: Path, sampling: Sampling, further: str) -> Recording:
    return Recording(
        participant=run.label("sub") or "",
        session=run.label("ses"),
        task=run.label("task") or "",
        run=run.label("run"),
        bold=bold,
        events=run.events,
        raw=run.raw[0],
        mask=None if match is None else match.mask,
        confounds=None if match is None else match.confounds,
        space=None if match is None else match.grid.space or None,
        resolution=None if match is None else match.grid.resolution or None,
        repetition_time=sampling.repetition_time,
        start_time=sampling.start_time,
        n_volumes=sampling.n_volumes,
        further=further,
    )


def _further(runs: Sequence[Run]) -> dict[Identity, str]:
    """Entities besides session and run that differ between the runs of a participant and task, as in the name."""
    values: dict[tuple[str | None, str | None, str], set[str | None]] = {}
    keys = sorted({key for run in runs for key, _ in run.identity} - {"sub", "ses", "task", "run"})
    for run in runs:
        for key in keys:
            values.setdefault((run.label("sub"), run.label("task"), key), set()).add(run.label(key))
    return {
        run.identity: "_".join(
            f"{key}-{label}"
            for key, label in run.identity
            if len(values.get((run.label("sub"), run.label("task"), key), ())) > 1
        )
        for run in runs
    }


def _absent(recordings: Sequence[Recording], matches: dict[Identity, Match]) -> list[str]:
    """Say which runs came without a mask or a confounds table."""
    notices = []
    if matches:
        for what, missing in (
            ("brain mask", [r for r in recordings if r.mask is None]),
            ("confounds table", [r for r in recordings if r.confounds is None]),
        ):
            if missing:
                names = listing((f"sub-{r.participant} {r.label}" for r in missing), 3)
                count = f"{len(missing)} of {len(recordings)} runs"
                notices.append(f"No {what} among the derivatives for {count}: {names}.")
    return notices
