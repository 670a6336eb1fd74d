"""From a BIDS folder to the recordings to analyse. The only importer of pybids.

pybids answers which files there are, over the selected participants alone; metadata are
read by `Sidecars`, because one odd sidecar makes pybids' own index fail as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.errors import (
    HyperError,
    InconsistentInput,
    InvalidDataset,
    MissingFiles,
    NothingSelected,
    OutputNotWritable,
    UsageError,
    did_you_mean,
    listing,
)
from hyper_bids.inputs.annex import require_content
from hyper_bids.inputs.declaration import KEY, NO_LATENTS
from hyper_bids.inputs.filters import read_queries
from hyper_bids.inputs.key import DEFAULT_COLUMNS, stimulus_key
from hyper_bids.inputs.names import BIDSName, parse_name
from hyper_bids.inputs.preprocessed import Identity, Match, Preprocessed, match_runs, parse_derivatives
from hyper_bids.inputs.recording import Dataset, Recording
from hyper_bids.inputs.sampling import Sampling, read_sampling
from hyper_bids.inputs.sidecars import Sidecars, read_json
from hyper_bids.inputs.tables import read_rows

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

    from hyper_bids.settings import InputSettings

__all__ = ["Dataset", "Recording", "find_participants", "open_dataset"]

_NEVER_INDEXED = r"^/(stimuli|code|sourcedata|derivatives|models|logs|figures|docs)(/|$)"
_HIDDEN = r"/\."
_FIGURES = r"^/sub-[^/]+/(ses-[^/]+/)?(figures|anat|log)(/|$)"


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
    index = _Index(root, labels, read_queries(inputs.bids_filter_file), database_dir)

    runs = _runs(index.paths("bold"), index.paths("events"))
    runs, notices = _select(runs, inputs, tasks, sidecars, check_content)
    notices += _left_out(runs, labels, participants)
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


# ------------------------------------------------------------------ folders and labels


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
    _known("--participant-label", wanted, found)
    return tuple(wanted or found)


def _known(option: str, wanted: Sequence[str], found: Sequence[str]) -> None:
    unknown = [label for label in wanted if label not in found]
    if unknown:
        raise NothingSelected(
            f"{option}: {listing(unknown)} not found. There are: {listing(found, 20)}.{did_you_mean(unknown[0], found)}"
        )


# ------------------------------------------------------------------ pybids


class _Index:
    """The files of a dataset that belong to some participants, by pybids.

    ``stimuli/`` and the like are never indexed (35 000 stimuli take 23 s), nor are metadata.
    """

    def __init__(
        self, root: Path, labels: Sequence[str], queries: dict[str, dict[str, Any]], database_dir: Path | None,
        *, derived: bool = False
    ) -> None:  # fmt: skip
        self.root, self.queries = root, queries
        subjects = "|".join(re.escape(label) for label in labels)
        ignore = [_NEVER_INDEXED, _HIDDEN, rf"^/sub-(?!(?:{subjects})(?:/|$))"] + ([_FIGURES] if derived else [])
        self._layout = _layout(root, ignore, derived) if database_dir is None else _stored(
            root, ignore, derived, labels, Path(database_dir)
        )  # fmt: skip

    def paths(self, query: str) -> list[Path]:
        """Return the files that a query finds, sorted."""
        from bids.exceptions import BIDSEntityError

        entities = {name: _criterion(value) for name, value in self.queries[query].items()}
        try:
            return sorted(Path(path) for path in self._layout.get(return_type="filename", **entities))
        except (ValueError, TypeError, AttributeError, BIDSEntityError) as error:
            raise UsageError(f"--bids-filter-file, {query!r}: {error}") from error


def _criterion(value: Any) -> Any:
    """null and "*" of the filter file in pybids' terms."""
    from bids.layout import Query

    if isinstance(value, list):
        return [_criterion(item) for item in value]
    return {None: Query.NONE, "*": Query.ANY}.get(value, value)


def _layout(root: Path, ignore: Sequence[str], derived: bool, database_path: Path | None = None) -> BIDSLayout:
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    indexer = BIDSLayoutIndexer(
        validate=False, index_metadata=False, ignore=[re.compile(pattern) for pattern in ignore]
    )
    config = ["bids", "derivatives"] if derived else ["bids"]
    return BIDSLayout(root, validate=False, config=config, indexer=indexer, database_path=database_path)


def _stored(root: Path, ignore: Sequence[str], derived: bool, labels: Sequence[str], folder: Path) -> BIDSLayout:
    """Open the database of this dataset, selection and state, making it first where needed.

    pybids answers from any database it is given, whatever the root. So the folder's name holds
    root, pybids version, patterns and the times of all folders (a new file changes its folder's time);
    and it is made aside and moved into place, because jobs of an array start together.
    """
    import bids

    state = [(str(path), path.stat().st_mtime_ns) for path in _folders(root, labels)]
    description = root / "dataset_description.json"
    state.append((str(description), description.stat().st_mtime_ns if description.exists() else 0))
    key = json.dumps([str(root), bids.__version__, list(ignore), derived, state])
    final = folder / hashlib.sha1(key.encode()).hexdigest()
    try:
        if not final.exists():
            folder.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
            _layout(root, ignore, derived, aside).connection_manager.engine.dispose()
            try:
                os.rename(aside, final)
            except OSError:  # another job was first: its database is the same
                shutil.rmtree(aside)
                if not final.exists():
                    raise
    except OSError as error:
        raise OutputNotWritable(f"--bids-database-dir {folder}: {error.strerror or error}.") from error
    layout = _layout(root, ignore, derived, final)
    if Path(layout.root) != root:
        raise OutputNotWritable(f"--bids-database-dir: {final} belongs to {layout.root}; delete that folder.")
    return layout


def _folders(root: Path, labels: Sequence[str]) -> list[Path]:
    inside = [root]
    for label in labels:
        subject = root / f"sub-{label}"
        inside += [path for path in [subject, *subject.glob("*"), *subject.glob("*/*")] if path.is_dir()]
    return sorted(inside)


# ------------------------------------------------------------------ runs


@dataclass(frozen=True)
class _Run:
    """A run as the raw dataset shows it: one file, or one per echo."""

    identity: Identity
    raw: tuple[Path, ...]
    events: Path | None

    def label(self, key: str) -> str | None:
        return dict(self.identity).get(key)


def _runs(bolds: Sequence[Path], events: Sequence[Path]) -> list[_Run]:
    groups: dict[Identity, list[Path]] = {}
    for path in bolds:
        groups.setdefault(parse_name(path).run_identity, []).append(path)
    by_folder: dict[Path, list[tuple[BIDSName, Path]]] = {}
    for path in events:
        by_folder.setdefault(path.parent, []).append((parse_name(path), path))
    return [_Run(identity, tuple(raw), _events_of(raw[0], by_folder)) for identity, raw in groups.items()]


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


def _select(
    runs: list[_Run],
    inputs: InputSettings,
    tasks: Sequence[str],
    sidecars: Sidecars,
    check_content: bool,
) -> tuple[list[_Run], list[str]]:
    """Keep the wanted sessions and tasks."""
    sessions = sorted({run.label("ses") for run in runs} - {None})
    wanted = [label.removeprefix("ses-") for label in inputs.session_label]
    _known("--session-label", wanted, sessions)
    if wanted:
        runs = [run for run in runs if run.label("ses") in wanted]
    found = sorted({run.label("task") or "" for run in runs})
    chosen = sorted({label.removeprefix("task-") for label in tasks})
    _known("--task-id", chosen, found)
    notices: list[str] = []
    if runs and not chosen:
        chosen, notices = _tasks_with_latents(runs, inputs, sidecars, check_content)
    runs = [run for run in runs if run.label("task") in chosen]
    if not runs:
        raise NothingSelected(
            "No BOLD file is left: check --participant-label, --session-label, --task-id and --bids-filter-file."
        )
    return sorted(runs, key=_order), notices


def _left_out(runs: Sequence[_Run], labels: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Refuse participants asked for by name that have no run; tell of others."""
    left = {run.label("sub") for run in runs}
    skipped = [label for label in labels if label not in left]
    if not skipped:
        return []
    message = f"No BOLD of the selected sessions and tasks: {listing(f'sub-{label}' for label in skipped)}."
    if asked:
        raise NothingSelected(f"{message} Participants that have some: {listing(sorted(filter(None, left)), 20)}.")
    return [message]


def _order(run: _Run) -> tuple[str, ...]:
    """Participant, task, session, then the name; numbers by value, so that run-2 comes before run-10."""
    labels = (*(run.label(key) or "" for key in ("sub", "task", "ses")), str(run.identity))
    return tuple(re.sub(r"\d+", lambda digits: digits[0].zfill(12), label) for label in labels)


def _tasks_with_latents(
    runs: Sequence[_Run], inputs: InputSettings, sidecars: Sidecars, check_content: bool
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


def _names_stimuli(run: _Run, metadata: dict[str, Any], inputs: InputSettings) -> bool:
    """Whether the events have the column that names the stimulus; `--latents` alone says nothing of the task."""
    if run.events is None or not run.events.exists():
        return False
    wanted = stimulus_key(metadata, inputs).column
    columns = read_rows(run.events, first=1)[0]
    return any(name in columns for name in (DEFAULT_COLUMNS if wanted is None else (wanted,)))


# ------------------------------------------------------------------ preprocessed files and content


def _preprocessed(
    runs: Sequence[_Run],
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
        index = _Index(folder, labels, queries, database_dir, derived=True)
        found = (tuple(index.paths(query)) for query in ("preproc", "mask", "confounds"))
        datasets.append(Preprocessed(name, folder, *found))
    return match_runs([run.identity for run in runs], datasets, space)


def _check_files(
    runs: Sequence[_Run], matches: dict[Identity, Match], roots: Sequence[Path], check_content: bool
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


# ------------------------------------------------------------------ recordings


def _recordings(
    runs: Sequence[_Run], matches: dict[Identity, Match], sidecars: Sidecars, check_content: bool
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


def _recording(run: _Run, match: Match | None, bold: Path, sampling: Sampling, further: str) -> Recording:
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


def _further(runs: Sequence[_Run]) -> dict[Identity, str]:
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
