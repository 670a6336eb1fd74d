"""All that is known about one participant and task before a single voxel is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hyper_bids.data import Latents
from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.inputs.annex import has_content
from hyper_bids.inputs.declaration import KEY, LatentSpace, choose_space, latent_spaces
from hyper_bids.inputs.events import name_stimuli, read_events
from hyper_bids.inputs.key import stimulus_key
from hyper_bids.inputs.latents import load_latents
from hyper_bids.inputs.locate import stimuli_folders
from hyper_bids.inputs.recording import Dataset, Recording
from hyper_bids.inputs.sidecars import Sidecars
from hyper_bids.inputs.split import SplitRule, assign_roles, split_rule, stimulus_sets, table_of_types
from hyper_bids.inputs.stimuli import find_files, read_stimuli, same_content
from hyper_bids.settings import parse_cross_validation

if TYPE_CHECKING:
    from hyper_bids.settings import InputSettings


@dataclass(frozen=True, eq=False)
class TaskInput:
    """Trials, latents and pictures of one participant and task.

    Parameters
    ----------
    participant, task : labels
    recordings : the runs
    trials : one row an event of all runs: ``onset`` and ``duration`` (s), ``trial_type``, ``stimulus_id``
        ("" where there is none), ``split`` (train, test, cv or ""), ``role`` (sample, drop, ignore, baseline),
        ``recording`` (index into ``recordings``), ``run`` (its label), ``session`` ("" where there is none), and
        the file's other columns as text (``events_<name>`` where a name is taken)
    latents : those of the sample stimuli, sorted
    space : label of the latent space
    declaration : its entry of ``StimulusLatents``
    stimuli : one row a sample stimulus, sorted: ``stimulus_id``, then the columns of stimuli.tsv but ``split``
    image_files : picture of each stimulus that has one here
    notices : what a reader of the report should know
    """

    participant: str
    task: str
    recordings: tuple[Recording, ...]
    trials: pd.DataFrame
    latents: Latents
    space: str
    declaration: dict[str, Any]
    stimuli: pd.DataFrame
    image_files: dict[str, Path]
    notices: list[str]


def load_task(dataset: Dataset, participant: str, task: str, inputs: InputSettings) -> TaskInput:
    """Read and check events, split, latents and stimuli of one participant and task.

    Raises
    ------
    InconsistentInput
        Whatever SPEC 2.4, 2.5 and 2.8 refuse; nothing has been computed then.
    MissingFiles
        A file of latents or stimuli that is not there.
    UsageError
        Several latent spaces and no ``--latent-space``.
    NothingSelected
        The participant has no run of this task.
    """
    recordings = dataset.of(participant, task)
    space = _space(dataset, recordings, task, inputs)
    folders = stimuli_folders(dataset.root, inputs.overlay)
    table = read_stimuli(folders)
    trials, notices = load_trials(dataset, participant, task, inputs, stimuli=table)
    samples = trials[trials["role"] == "sample"]
    notices += _check_sets(samples, trials, inputs.cross_validate)
    latents, declaration = load_latents(space, sorted(set(samples["stimulus_id"])), folders)
    files = find_files(samples, table, folders)
    notices += _check_content(samples, files, inputs)
    stimuli = _labels(latents.stimuli, table)
    images = {stimulus: path for stimulus, path in files.items() if has_content(path)}
    without = len(latents.stimuli) - len(images)
    if without:
        notices.append(f"{without} of {len(latents.stimuli)} stimuli have no picture file here.")
    return TaskInput(participant, task, recordings, trials, latents, space.label, declaration, stimuli, images, notices)


def load_trials(
    dataset: Dataset, participant: str, task: str, inputs: InputSettings, *, stimuli: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Return the events of all runs with stimulus, split and role, and notices; no latents are needed.

    Parameters
    ----------
    stimuli : `stimuli.read_stimuli`, read here where it is not given

    Returns
    -------
    trials : as `TaskInput.trials`
    notices : list of str
    """
    recordings = dataset.of(participant, task)
    if stimuli is None:
        stimuli = read_stimuli(stimuli_folders(dataset.root, inputs.overlay))
    sidecars = Sidecars(dataset.root, inputs.overlay)
    groups: dict[str, list[tuple[pd.DataFrame, pd.DataFrame]]] = {}
    rules: dict[str, SplitRule] = {}
    for number, recording in enumerate(recordings):
        metadata = sidecars.of(recording.raw, "events")
        rule = split_rule(metadata, inputs)
        events = read_events(recording.events)
        shown = name_stimuli(events, stimulus_key(metadata, inputs), recording.events)
        shown = shown.assign(recording=number, run=recording.label, session=recording.session or "")
        rules[repr(rule)] = rule
        groups.setdefault(repr(rule), []).append((events, shown))
    parts, notices = [], []
    for name, tables in groups.items():  # one group but where a lower sidecar redefines StimulusSplit
        part, said = _assign(tables, rules[name], inputs.cross_validate is not None, stimulus_sets(stimuli))
        parts.append(part)
        notices += said
    trials = pd.concat(parts, ignore_index=True).sort_values("recording", kind="stable", ignore_index=True)
    return trials, notices + _check_times(trials, recordings)


def _assign(
    tables: Sequence[tuple[pd.DataFrame, pd.DataFrame]],
    rule: SplitRule,
    cross_validate: bool,
    split_of_stimulus: dict[str, str] | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return the trials of runs that share a rule, and notices."""
    events = pd.concat([events for events, _ in tables], ignore_index=True)
    shown = pd.concat([shown for _, shown in tables], ignore_index=True)
    roles, notices = assign_roles(
        events, shown, rule, cross_validate=cross_validate, split_of_stimulus=split_of_stimulus
    )
    named = [name for name in ("trial_type", rule.column) if name in events.columns]
    types = events[named[0]] if named else pd.Series("n/a", index=events.index)
    ours = pd.DataFrame(
        {
            "onset": events["onset"],
            "duration": events["duration"],
            "trial_type": _text(types, "n/a"),
            "stimulus_id": _text(shown["stimulus_id"], ""),
            "split": roles["split"],
            "role": roles["role"],
            "recording": shown["recording"],
            "run": shown["run"],
            "session": shown["session"],
        }
    )
    others = events.drop(columns=["onset", "duration", "trial_type"], errors="ignore")
    others = others.rename(columns={name: f"events_{name}" for name in others.columns if name in ours.columns})
    return pd.concat([ours, others], axis=1), notices


def _text(cells: pd.Series, missing: str) -> pd.Series:
    return pd.Series([missing if cell is None or cell != cell else str(cell) for cell in cells], dtype=object)


# ------------------------------------------------------------------ checks before any computation


def _space(dataset: Dataset, recordings: Sequence[Recording], task: str, inputs: InputSettings) -> LatentSpace:
    """Return the latent space to decode; all runs must declare the same."""
    sidecars = Sidecars(dataset.root, inputs.overlay)
    first = sidecars.of(recordings[0].raw, "events")
    for recording in () if inputs.latents else recordings[1:]:
        other = sidecars.of(recording.raw, "events")
        if other.get(KEY) != first.get(KEY):
            where = [str(path) for path in sidecars.applicable(recording.raw, "events")]
            raise InconsistentInput(
                f"sub-{recording.participant} task-{task}: the runs {recordings[0].label} and {recording.label} "
                f"declare different {KEY}. One participant and task needs one declaration; a lower-level sidecar "
                f"replaces the whole key. Sidecars of {recording.label}: {listing(where)}."
            )
    return choose_space(latent_spaces(first, inputs), inputs.latent_space, task)


def _check_sets(samples: pd.DataFrame, trials: pd.DataFrame, cross_validate: str | None) -> list[str]:
    """Refuse sets that cannot be decoded: empty, overlapping, or too few units for the folds."""
    if cross_validate is not None:
        _check_folds(samples, trials, cross_validate)
        return []
    stimuli = {name: set(samples.loc[samples["split"] == name, "stimulus_id"]) for name in ("train", "test")}
    for name, members in stimuli.items():
        if not members:
            raise InconsistentInput(
                f"There is no {name} sample. Rows by trial type:\n{table_of_types(trials['trial_type'])}\n"
                "Correct StimulusSplit (Train, Test, DropWhere), or decode without a split: --cross-validate run."
            )
    both = sorted(stimuli["train"] & stimuli["test"])
    if both:
        raise InconsistentInput(
            f"{len(both)} stimuli are both in the training and in the test set: {listing(both, 10)}. "
            "Training and test stimuli must differ; otherwise decode with --cross-validate."
        )
    if len(stimuli["test"]) == 1:
        only = next(iter(stimuli["test"]))
        return [f"There is one test stimulus ({only}): no identification score and no p-value can be computed."]
    return []


def _check_folds(samples: pd.DataFrame, trials: pd.DataFrame, cross_validate: str) -> None:
    unit, number = parse_cross_validation(cross_validate)
    if samples.empty:
        raise InconsistentInput(
            f"No row is a sample: none names a stimulus. Rows by trial type:\n{table_of_types(trials['trial_type'])}"
        )
    column = {"run": "recording", "session": "session", "stimulus": "stimulus_id"}[unit]
    found, needed = samples[column].nunique(), number or 2
    if found < needed:
        units = "stimuli" if unit == "stimulus" else f"{unit}s"
        raise InconsistentInput(
            f"--cross-validate {cross_validate} needs at least {needed} {units} with samples; found: {found}."
        )


def _check_content(samples: pd.DataFrame, files: dict[str, Path], inputs: InputSettings) -> list[str]:
    """Find pictures that are the same under two names, where one is trained on and the other tested."""
    if inputs.cross_validate is None:
        members = {name: set(samples.loc[samples["split"] == name, "stimulus_id"]) for name in ("train", "test")}
        parts = [{stimulus: path for stimulus, path in files.items() if stimulus in members[name]} for name in members]
    elif parse_cross_validation(inputs.cross_validate)[0] == "stimulus":
        parts = [files, files]
    else:
        return []
    pairs = same_content(*parts)
    if inputs.cross_validate is not None:
        pairs = [pair for pair in pairs if pair[0] < pair[1]]
    if not pairs:
        return []
    text = (
        f"{len(pairs)} picture(s) to test on have the same content as one to train on: "
        f"{listing((f'{one} = {other}' for one, other in pairs), 10)}."
    )
    if inputs.strict:
        raise InconsistentInput(f"{text} This is an error because of --strict; leave these stimuli out.")
    return [text]


def _check_times(trials: pd.DataFrame, recordings: Sequence[Recording]) -> list[str]:
    """Report rows that begin after the last volume (samples among them are reported, and left out, by the GLM)."""
    end = trials["recording"].map({number: recording.duration for number, recording in enumerate(recordings)})
    beyond = trials[(end > 0) & (trials["onset"] >= end) & (trials["role"] != "sample")]
    if len(beyond):
        return [f"{len(beyond)} rows of events that are no samples begin after the end of their run."]
    return []


def _labels(stimuli: Sequence[str], table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a stimulus with the labels of stimuli.tsv."""
    labels = table.drop(columns=["split"], errors="ignore")
    rows = pd.DataFrame({"stimulus_id": pd.Series(list(stimuli), dtype=object)})
    return rows.merge(labels, on="stimulus_id", how="left")
