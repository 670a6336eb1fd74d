"""``--responses DIR``: response maps that exist already, instead of BOLD.

A map is a ``_statmap.nii.gz`` (4-D, one volume a trial or a stimulus) with a TSV of the same
name, one row a volume: ``stimulus_id``, and where known ``volume_index``, ``split``,
``n_repeats``, ``trial_type``, ``onset``. An earlier run of this app writes them; betas of
other programs can be brought into that form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hyper_bids.errors import InconsistentInput, MissingFiles, NothingSelected, UsageError, listing
from hyper_bids.inputs.dataset import dataset_root, find_participants, read_description
from hyper_bids.inputs.declaration import KEY, NO_LATENTS
from hyper_bids.inputs.names import parse_name
from hyper_bids.inputs.recording import Dataset
from hyper_bids.inputs.sidecars import Sidecars
from hyper_bids.inputs.split import SETS, SplitRule, assign_roles, split_rule
from hyper_bids.inputs.tables import read_table
from hyper_bids.inputs.volumes import read_header

if TYPE_CHECKING:
    from hyper_bids.settings import InputSettings

LEVELS = ("trial", "stimulus")
"""``desc-`` labels of response maps; single trials are taken where there are both."""


@dataclass(frozen=True)
class ResponseMap:
    """One image of responses with its table.

    Parameters
    ----------
    participant, task, session : BIDS labels; session None where there is none
    image, table : paths
    mask : the brain mask beside it, or None
    space, resolution : ``space-`` and ``res-`` labels, or None
    stat : ``z``, ``t``, ``beta`` or whatever its name says
    level : ``trial`` or ``stimulus``
    label : name of the run (``ses-01_run-02``), or ``all``
    """

    participant: str
    task: str
    session: str | None
    image: Path
    table: Path
    mask: Path | None
    space: str | None
    resolution: str | None
    stat: str
    level: str
    label: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def open_responses(
    bids_dir: Path, folder: Path, inputs: InputSettings, response: str, *, participant: str, tasks: Sequence[str] = ()
) -> Dataset:
    """Open a dataset whose responses are given: no BOLD and no events are needed.

    Parameters
    ----------
    bids_dir : dataset root, with the events sidecar that names the latents, and ``stimuli/``
    folder : of ``--responses``
    inputs, response : see `find_maps`
    participant, tasks : labels; no task: every one that has maps and latents

    Raises
    ------
    MissingFiles, InvalidDataset, NothingSelected, UsageError
        As `hyper_bids.inputs.dataset.open_dataset` and `find_maps`.
    """
    root = dataset_root(bids_dir)
    description = read_description(root)
    find_participants(folder, (participant,))
    sidecars = Sidecars(root, inputs.overlay)
    maps = find_maps(folder, participant, inputs, response)
    known = sorted({item.task for item in maps})
    wanted = [label.removeprefix("task-") for label in tasks]
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise NothingSelected(f"--task-id: {listing(unknown)} has no response maps; there are: {listing(known)}.")
    named = wanted or [
        task
        for task in known
        if inputs.latents or inputs.encoder or KEY in sidecars.of(events_of(root, participant, task))
    ]
    if not named:
        raise InconsistentInput(NO_LATENTS.format(tasks=listing(known), task=known[0]))
    kept = tuple(item for item in maps if item.task in named)
    return Dataset(root, description, (participant,), (), (), {"responses": folder}, kept)


def events_of(root: Path, participant: str, task: str) -> Path:
    """Return the name that an events file would have: its sidecars are those of the dataset's root."""
    return root / f"sub-{participant}" / "func" / f"sub-{participant}_task-{task}_events.tsv"


def find_maps(folder: Path, participant: str, inputs: InputSettings, response: str) -> tuple[ResponseMap, ...]:
    """Find the response maps of one participant, all of one kind and space.

    Parameters
    ----------
    folder : of ``--responses``
    participant : label
    inputs : sessions and space are used
    response : which statistic is wanted where there are several

    Raises
    ------
    NothingSelected
        There is none.
    MissingFiles
        A map without its table.
    UsageError
        Maps in several spaces, or of several statistics, and none of them was asked for.
    """
    found = [
        _named(path)
        for path in sorted((folder / f"sub-{participant}").rglob("*_statmap.nii*"))
        if parse_name(path).get("desc") in LEVELS
    ]
    if inputs.session_label:
        found = [item for item in found if item.session is None or item.session in inputs.session_label]
    if not found:
        raise NothingSelected(
            f"--responses {folder}: sub-{participant} has no response map; needed: sub-{participant}/.../"
            f"sub-{participant}_task-<label>_[run-..]_stat-z_desc-trial_statmap.nii.gz (or desc-stimulus) and a .tsv."
        )
    found = _one_space(found, inputs.space)
    chosen: list[ResponseMap] = []
    for task in sorted({item.task for item in found}):
        of_task = [item for item in found if item.task == task]
        level = next(level for level in LEVELS if any(item.level == level for item in of_task))
        chosen += _one_stat([item for item in of_task if item.level == level], response)
    for item in chosen:
        if not item.table.is_file():
            raise MissingFiles(f"{item.image} has no table: {item.table.name} must name the stimulus of every volume.")
    return tuple(chosen)


def _named(path: Path) -> ResponseMap:
    name = parse_name(path)
    told = [f"{key}-{value}" for key, value in name.run_identity if key not in ("sub", "task", "stat", "model", "stim")]
    shared = [f"{key}-{name.get(key)}" for key in ("sub", "task", "space", "res") if name.get(key)]
    folder = path.parent if name.get("ses") is None else path.parents[2] / path.parent.name
    mask = folder / ("_".join([*shared, "desc-brain"]) + "_mask.nii.gz")
    return ResponseMap(
        participant=name.get("sub") or "",
        task=name.get("task") or "",
        session=name.get("ses"),
        image=path,
        table=path.with_name(path.name[: -len(name.extension)] + ".tsv"),
        mask=mask if mask.is_file() else None,
        space=name.get("space"),
        resolution=name.get("res"),
        stat=name.get("stat") or "beta",
        level=name.get("desc") or "",
        label="_".join(told) or "all",
    )


def _one_space(maps: list[ResponseMap], wanted: str | None) -> list[ResponseMap]:
    spaces = sorted({item.space or "orig" for item in maps})
    if wanted is not None:
        wanted = wanted.partition(":")[0]
        if wanted not in spaces:
            raise UsageError(f"--space {wanted}: the response maps are in {listing(spaces)}.")
        return [item for item in maps if (item.space or "orig") == wanted]
    if len(spaces) > 1:
        raise UsageError(f"The response maps are in several spaces: {listing(spaces)}. Choose one with --space.")
    return maps


def _one_stat(maps: list[ResponseMap], response: str) -> list[ResponseMap]:
    stats = sorted({item.stat for item in maps})
    if len(stats) == 1:
        return maps
    if response not in stats:
        raise UsageError(f"There are response maps of {listing(stats)}. Choose one with --response.")
    return [item for item in maps if item.stat == response]


def read_rows_of(
    maps: Sequence[ResponseMap], metadata: dict[str, Any], inputs: InputSettings, sets: dict[str, str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """Return one row a volume of all maps, in the order of the volumes, and notices.

    The columns are those of `hyper_bids.inputs.task.TaskInput.trials`, with ``volume`` (index in its
    image) and ``n_repeats`` (trials that the volume averages); what a table does not tell is 0 or "".

    Parameters
    ----------
    metadata : the events sidecar, for StimulusSplit
    sets : stimulus -> train or test, from stimuli.tsv

    Raises
    ------
    InconsistentInput
        A table that does not fit its image, or no split.
    """
    rows = pd.concat([_rows(item, number) for number, item in enumerate(maps)], ignore_index=True)
    events, rule = rows.copy(), split_rule(metadata, inputs)
    asked = bool(inputs.train_trial_types or inputs.test_trial_types)
    given = "split" in rows.columns and rows["split"].isin(SETS).any()
    if not asked and (given or rule.column not in rows.columns):
        rule = SplitRule()  # the sidecar speaks of events that are not here; the maps' own column says it
    if "split" in events.columns:  # cv in maps of an earlier run
        events["split"] = events["split"].where(events["split"].isin(SETS), None)
    untold = not (given or rule.train or rule.test or sets or "trial_type" in rows.columns)
    if untold and inputs.cross_validate is None:
        raise InconsistentInput(
            f"{maps[0].table}: nothing says which stimuli are trained on and which are tested. Add a column split "
            "(train, test) here or in stimuli/stimuli.tsv, or decode with --cross-validate."
        )
    shown = rows[["stimulus_id", "run"]].assign(cell=rows["stimulus_id"], line=rows["volume"] + 2)
    roles, notices = assign_roles(
        events, shown, rule, cross_validate=inputs.cross_validate is not None, split_of_stimulus=sets
    )
    rows["split"], rows["role"] = roles["split"], roles["role"]
    rows["trial_type"] = rows["trial_type"].fillna("n/a") if "trial_type" in rows.columns else "n/a"
    return rows, notices


def _rows(item: ResponseMap, number: int) -> pd.DataFrame:
    table = read_table(item.table)
    if "stimulus_id" not in table.columns:
        raise InconsistentInput(f"{item.table}: no column stimulus_id, only {listing(table.columns, 20)}.")
    shape = read_header(item.image).shape
    n_volumes = shape[3] if len(shape) == 4 else 1
    volume = _numbers(item, table, "volume_index", range(len(table))).astype(int)
    if len(table) != n_volumes or sorted(volume) != list(range(n_volumes)):
        raise InconsistentInput(
            f"{item.table} describes {len(table)} volumes ({volume.min()} to {volume.max()}), the image holds "
            f"{n_volumes}; one row a volume is needed, volume_index from 0."
        )
    ours = pd.DataFrame(
        {
            "onset": _numbers(item, table, "onset", 0.0),
            "duration": _numbers(item, table, "duration", 0.0),
            "stimulus_id": [("" if cell is None else str(cell).removeprefix("stim-")) for cell in table["stimulus_id"]],
            "recording": number,
            "run": item.label,
            "session": item.session or "",
            "volume": volume,
            "n_repeats": _numbers(item, table, "n_repeats", 1).astype(int),
        }
    )
    others = table.drop(columns=[name for name in (*ours.columns, "volume_index") if name in table.columns])
    return pd.concat([ours, others], axis=1).sort_values("volume", ignore_index=True)


def _numbers(item: ResponseMap, table: pd.DataFrame, name: str, default: Any) -> pd.Series:
    if name not in table.columns:
        return pd.Series(default, index=table.index)
    numbers = pd.to_numeric(table[name], errors="coerce")
    if (numbers.isna().any() and name == "volume_index") or numbers.isin([float("inf"), float("-inf")]).any():
        raise InconsistentInput(f"{item.table}: {name} must hold finite numbers.")
    return numbers.fillna(0.0 if name in ("onset", "duration") else 1)
