"""What the events sidecars declare, what hyper would decode by it, and what a guess would give."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.errors import HyperError, InconsistentInput, did_you_mean, listing
from hyper_bids.inputs.declaration import KEY, NO_LATENTS, SPACE_FIELDS, latent_spaces
from hyper_bids.inputs.key import KEY_FIELDS, stimulus_key
from hyper_bids.inputs.recording import Dataset
from hyper_bids.inputs.split import SPLIT_FIELDS, split_rule, stimulus_sets
from hyper_bids.workflow import sidecar_template as guess
from hyper_bids.workflow.check_findings import TaskCheck

if TYPE_CHECKING:
    import pandas as pd

    from hyper_bids.settings import InputSettings

_SHOWN = 12
_KNOWN = {"StimulusKey": KEY_FIELDS, "StimulusSplit": SPLIT_FIELDS, KEY: SPACE_FIELDS}
"""Our keys, and what each may hold."""


def check_declaration(check: TaskCheck, dataset: Dataset, events: pd.DataFrame, inputs: InputSettings) -> None:
    """Add what the sidecars of a task declare and give, or what a template would.

    Parameters
    ----------
    check : of the task; lines, problems, keys and stimuli are added
    dataset : runs of that task
    events : rows of all runs
    inputs : the options that hyper would get
    """
    from hyper_bids.inputs.locate import stimuli_folders
    from hyper_bids.inputs.sidecars import Sidecars
    from hyper_bids.inputs.stimuli import read_stimuli

    folders = stimuli_folders(dataset.root, inputs.overlay)
    try:
        metadata = Sidecars(dataset.root, inputs.overlay).of(dataset.recordings[0].raw, "events")
        for hint in misspelt(metadata, events.columns, inputs):
            check.say("note", hint)
        spaces = latent_spaces(metadata, inputs)
        key = stimulus_key(metadata, inputs)
        split_rule(metadata, inputs)
        table = read_stimuli(folders)
        sets = stimulus_sets(table)
        by_stimulus = sets is not None or "split" in events.columns
    except HyperError as error:
        check.met(error)
        return
    if inputs.stim_key is not None:
        given = {"Column": key.column, "Regex": key.pattern}
        metadata = {**metadata, "StimulusKey": {name: value for name, value in given.items() if value}}
    check.declared = bool(spaces or inputs.encoder)
    for state, there in (("declared", True), ("not declared", False)):
        keys = [key for key in ("StimulusKey", "StimulusSplit", KEY) if (key in metadata) is there]
        if keys:
            check.say(state, ", ".join(keys))
    if len(table):
        check.say("stimuli.tsv", f"{len(table)} stimuli; columns {listing(table.columns, _SHOWN)}")
    blank = guess.template(check.task, metadata, events, {}, by_stimulus=by_stimulus, sets=sets)
    if check.declared:
        check.keys = blank
        check_spaces(check, dict.fromkeys(dataset.participants, dataset), sorted(spaces) or [None], inputs)
        return
    check.met(InconsistentInput(NO_LATENTS.format(tasks=check.task, task=check.task)))
    _try_template(check, dataset, blank, [name for name in _KNOWN if metadata.get(name)], folders, inputs)


def misspelt(metadata: Mapping[str, Any], columns: Sequence[str], inputs: InputSettings) -> list[str]:
    """Return what the sidecar seems to mean and does not say: keys and columns that are nearly those known.

    What the options take the place of is not looked at: ``StimulusKey`` with ``--stim-key``, and with ``--latents``
    all spaces but those that it names.

    >>> from hyper_bids.settings import InputSettings
    >>> misspelt({"StimulusLatent": {}}, ["onset", "stim_id"], InputSettings())
    ["the sidecar has 'StimulusLatent'. Did you mean 'StimulusLatents'?"]
    >>> misspelt({"StimulusKey": {"Column": "stimid"}}, ["onset", "stim_id"], InputSettings())
    ["StimulusKey: no events column 'stimid'. Did you mean 'stim_id'?"]
    >>> misspelt({"StimulusKey": {"Column": "stimid"}}, ["onset", "stim_id"], InputSettings(stim_key="stim_id"))
    []
    """
    hints = []
    for name in sorted(set(metadata) - set(_KNOWN)):
        meant = did_you_mean(name, _KNOWN)
        hints += [f"the sidecar has {name!r}.{meant}"] if meant and name.lower().startswith("stimulus") else []
    parts = {"StimulusKey": None if inputs.stim_key else metadata.get("StimulusKey")}
    parts["StimulusSplit"] = metadata.get("StimulusSplit")
    given = [word.partition("=")[0] for word in inputs.latents]
    spaces = metadata.get(KEY)
    for label, entry in spaces.items() if isinstance(spaces, dict) else ():
        parts |= {f"{KEY}, {label}": entry} if not given or label in given else {}
    for name, content in parts.items():
        if not isinstance(content, dict):
            continue
        known = _KNOWN[name.partition(",")[0]]
        hints += [f"{name}: {key!r} is not read.{did_you_mean(key, known)}" for key in content if key not in known]
        column = content.get("Column")
        if isinstance(column, str) and column not in columns:
            hints.append(f"{name}: no events column {column!r}.{did_you_mean(column, columns)}")
    return hints


def check_spaces(
    check: TaskCheck, datasets: Mapping[str, Dataset], spaces: Sequence[str | None], inputs: InputSettings
) -> None:
    """Read every declared space for every participant as hyper would; where there is no split, say what folds give.

    Parameters
    ----------
    check : of the task; lines and problems are added
    datasets : participant -> where the runs or response maps are
    spaces : labels; None where an encoder makes the space
    inputs : the options that hyper would get
    """
    chosen = bool(inputs.latent_space or inputs.latent_generator or inputs.encoder)
    if len(spaces) > 1 and not chosen:
        check.say("latents", f"{len(spaces)} spaces; hyper asks for one with --latent-space: {listing(spaces, 20)}")
    tried = [inputs.latent_space] if chosen else list(spaces)
    for space in tried:
        _decode_with(check, datasets, dataclasses.replace(inputs, latent_space=space))
    if any(isinstance(error, InconsistentInput) for error in check.problems) and inputs.cross_validate is None:
        folds = TaskCheck(check.task)
        _decode_with(folds, datasets, dataclasses.replace(inputs, latent_space=tried[0], cross_validate="run"))
        if not folds.problems:
            check.say("otherwise", "without a split, by --cross-validate run:")
            check.lines += folds.lines


def _decode_with(check: TaskCheck, datasets: Mapping[str, Dataset], inputs: InputSettings) -> None:
    """Say what hyper would decode with these options, per participant, or what it would stop at."""
    from hyper_bids.inputs.task import load_task

    said: dict[str, list[str]] = {}
    failed: dict[tuple[type[HyperError], str], list[tuple[str, str]]] = {}
    notices: dict[str, None] = {}
    for participant, dataset in datasets.items():
        try:
            task = load_task(dataset, participant, check.task, inputs)
        except HyperError as error:
            alike = re.sub(r"\d+", "0", str(error))
            failed.setdefault((type(error), alike), []).append((f"sub-{participant}", str(error)))
            continue
        check.stimuli = sorted({*check.stimuli, *task.stimuli["stimulus_id"]})
        generator = (task.declaration.get("Generator") or {}).get("Name", "none named: no pictures")
        what = f"{_trials(task.trials)}; latents {task.space}, {task.n_latents} dimensions; generator: {generator}"
        said.setdefault(what, []).append(f"sub-{participant}")
        notices.update(dict.fromkeys(task.notices))
    for (kind, _), told in failed.items():
        what = told[0][1]
        same = listing([who for who, text in told if text == what], _SHOWN)
        others = [who for who, text in told if text != what]
        more = f" Likewise, with other numbers: {listing(others, _SHOWN)}." if others else ""
        check.met(kind(f"{same}: {what}{more}"))
    for what, who in said.items():
        check.say("hyper would", f"{listing(who, _SHOWN)}: {what}")
    for notice in notices:
        check.say("note", notice)


def _trials(trials: pd.DataFrame) -> str:
    samples = trials[trials["role"] == "sample"]
    words = {"train": "train on", "test": "test on", "cv": "decode in folds"}
    parts = []
    for split in ("train", "test", "cv"):
        part = samples[samples["split"] == split]
        if len(part):
            parts.append(f"{words[split]} {len(part)} trials of {part['stimulus_id'].nunique()} stimuli")
    return ", ".join(parts)


def _try_template(
    check: TaskCheck, dataset: Dataset, blank: dict[str, Any], declared: Collection[str], folders: Sequence[Path],
    inputs: InputSettings,
) -> None:  # fmt: skip
    """Guess those of the three keys that are not declared, and find out what hyper would do with them."""
    with tempfile.TemporaryDirectory(prefix="hyper-check-") as scratch:
        overlay = Path(scratch)
        if inputs.overlay is not None and (inputs.overlay / "stimuli").is_dir():
            (overlay / "stimuli").symlink_to((inputs.overlay / "stimuli").absolute())
        attempt = dataclasses.replace(inputs, overlay=overlay)
        check.keys = blank
        _write(overlay, check)
        check.stimuli = _samples(check, dataset, attempt)
        spaces, others = guess.find_latents(check.stimuli, folders) if check.stimuli else ({}, [])
        check.keys = guess.with_spaces(blank, spaces)
        for what in guess.guessed_by_name(check.keys, declared):
            check.say("guessed", what)
        for problem in others[:_SHOWN]:
            check.say("not usable", problem)
        if guess.is_placeholder(check.keys):
            check.say("latents", f"none under stimuli/ that hold all {len(check.stimuli)} stimuli to decode")
            return
        check.say("latents found", f"{listing(sorted(spaces), _SHOWN)} under stimuli/; not declared")
        _write(overlay, check)
        tried = TaskCheck(check.task)
        alone = dataclasses.replace(attempt, latent_space=sorted(spaces)[0])
        _decode_with(tried, dict.fromkeys(dataset.participants, dataset), alone)
        check.lines += [line.replace("hyper would  ", "with template") for line in tried.lines]
        for error in tried.problems:
            check.say("with template", str(error))


def _write(overlay: Path, check: TaskCheck) -> None:
    (overlay / f"task-{check.task}_events.json").unlink(missing_ok=True)
    guess.write_templates(overlay / f"task-{check.task}_events.json", {check.task: check.keys or {}}, {}, overlay / "-")


def _samples(check: TaskCheck, dataset: Dataset, inputs: InputSettings) -> list[str]:
    """Return the stimuli of all samples by the template's key and split, else by its key alone; say the counts."""
    from hyper_bids.inputs.task import load_trials

    stimuli: set[str] = set()
    said: dict[tuple[str, str], list[str]] = {}
    for participant in dataset.participants:
        for attempt in (inputs, dataclasses.replace(inputs, cross_validate="run")):
            how = "with template" if attempt is inputs else "with folds"
            try:
                trials, _ = load_trials(dataset, participant, check.task, attempt)
            except HyperError as error:
                what = str(error)
                continue
            stimuli |= set(trials.loc[trials["role"] == "sample", "stimulus_id"])
            what = _trials(trials) or "no sample"
            what += "" if attempt is inputs else " (no split is named: --cross-validate run)"
            break
        said.setdefault((how, what), []).append(f"sub-{participant}")
    for (how, what), who in said.items():
        check.say(how, f"{listing(who, _SHOWN)}: {what}")
    return sorted(stimuli)
