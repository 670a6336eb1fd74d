"""All that is known about one participant and task before a single voxel is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hyper_bids.data import Latents
from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles, listing
from hyper_bids.inputs.annex import has_content
from hyper_bids.inputs.declaration import KEY, LatentSpace, choose_space, latent_spaces
from hyper_bids.inputs.events import name_stimuli, read_events
from hyper_bids.inputs.key import stimulus_key
from hyper_bids.inputs.latents import load_latents
from hyper_bids.inputs.locate import stimuli_folders
from hyper_bids.inputs.recording import Dataset, Recording
from hyper_bids.inputs.response_maps import ResponseMap, events_of, read_rows_of
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
    latents : those of the sample stimuli, sorted; None where they are to be computed by ``--encoder``
    n_latents : their number, at most where they are to be computed
    space : label of the latent space
    declaration : its entry of ``StimulusLatents``
    stimuli : one row a sample stimulus, sorted: ``stimulus_id``, then the columns of stimuli.tsv but ``split``
    image_files : picture of each stimulus that has one here
    notices : what a reader of the report should know
    maps : the response maps that take the place of the recordings (``--responses``)
    other_spaces : latents of the tested stimuli in the other spaces that the sidecar declares, by label; for
        the comparison of spaces, so one that cannot be read is left out with a notice
    """

    participant: str
    task: str
    recordings: tuple[Recording, ...]
    trials: pd.DataFrame
    latents: Latents | None
    n_latents: int
    space: str
    declaration: dict[str, Any]
    stimuli: pd.DataFrame
    image_files: dict[str, Path]
    notices: list[str]
    maps: tuple[ResponseMap, ...] = ()
    other_spaces: Mapping[str, Latents] = field(default_factory=dict)

    @property
    def first(self) -> Recording | ResponseMap:
        """The recording or map whose space and grid stand for all."""
        return (*self.recordings, *self.maps)[0]

    @property
    def reference(self) -> Path:
        """An image on the grid that all of them share."""
        first = self.first
        return first.image if isinstance(first, ResponseMap) else first.bold

    @property
    def runs(self) -> tuple[Recording | ResponseMap, ...]:
        """What the column ``recording`` of the trials counts."""
        return (*self.recordings, *self.maps)


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
    folders = stimuli_folders(dataset.root, inputs.overlay)
    table = read_stimuli(folders)
    if dataset.maps:
        recordings: tuple[Recording, ...] = ()
        maps = tuple(item for item in dataset.maps if (item.participant, item.task) == (participant, task))
        metadata = Sidecars(dataset.root, inputs.overlay).of(events_of(dataset.root, participant, task))
        trials, notices = read_rows_of(maps, metadata, inputs, stimulus_sets(table))
    else:
        recordings, maps = dataset.of(participant, task), ()
        metadata = _metadata(dataset, recordings, task, inputs)
        trials, notices = load_trials(dataset, participant, task, inputs, stimuli=table)
    samples = trials[trials["role"] == "sample"]
    notices += _check_sets(samples, trials, inputs.cross_validate)
    stimuli = sorted(set(samples["stimulus_id"]))
    files = find_files(samples, table, folders)
    notices += _check_content(samples, files, inputs)
    images = {stimulus: path for stimulus, path in files.items() if has_content(path)}
    without = len(stimuli) - len(images)
    if without:
        notices.append(f"{without} of {len(stimuli)} stimuli have no picture file here.")
    if inputs.encoder is None:
        space = _space(metadata, task, inputs)
        latents, declaration = load_latents(space, stimuli, folders)
        label, n_latents = space.label, latents.n_latents
        # spaces are compared where the split is fixed: see `workflow.steps.further`
        spaces = {} if inputs.cross_validate else latent_spaces(metadata, inputs)
        others = _other_spaces(spaces, label, samples, folders, notices)
    else:
        latents, label, others = None, inputs.encoder, {}
        declaration, n_latents = _encoded(samples, images, stimuli, inputs)
    return TaskInput(
        participant, task, recordings, trials, latents, n_latents, label, declaration, _labels(stimuli, table), images,
        notices, maps, others,
    )  # fmt: skip


def _other_spaces(
    spaces: Mapping[str, LatentSpace], chosen: str, samples: pd.DataFrame, folders: Sequence[Path], notices: list[str]
) -> dict[str, Latents]:
    """Read the tested stimuli's latents in the spaces that are not decoded."""
    tested = sorted(set(samples.loc[samples["split"] != "train", "stimulus_id"]))
    found = {}
    for label, space in spaces.items():
        if label == chosen:
            continue
        try:
            found[label] = load_latents(space, tested, folders)[0]
        except HyperError as error:
            notices.append(f"Latent space {label}, which is not decoded, cannot be compared with {chosen}: {error}")
    return found


def _encoded(
    samples: pd.DataFrame, images: dict[str, Path], stimuli: list[str], inputs: InputSettings
) -> tuple[dict[str, Any], int]:
    """Return the declaration of the space that ``--encoder`` makes, and (at most) its number of latents."""
    missing = [stimulus for stimulus in stimuli if stimulus not in images]
    if missing:
        raise MissingFiles(
            f"--encoder {inputs.encoder} needs the picture of every stimulus; {len(missing)} of {len(stimuli)} are not "
            f"here: {listing(missing, 3)}. Put them into stimuli/ (column filename of stimuli.tsv, or stim_file)."
        )
    shape = [inputs.image_size, inputs.image_size, 3]
    if inputs.encoder == "identity":
        return {"Generator": {"Name": "identity", "Shape": shape}}, shape[0] * shape[1] * 3
    trained = samples.loc[samples["split"] != "test", "stimulus_id"].nunique()
    # Where --weights holds the components (dand) or the encoder (vaegan), the plan takes their number from there.
    return {"Generator": {"Name": inputs.encoder}}, min(inputs.n_components, trained - 1)


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


def _metadata(
    dataset: Dataset, recordings: Sequence[Recording], task: str, inputs: InputSettings
) -> dict[str, Any]:
    """Return the events sidecar; all runs must declare the same latents."""
    sidecars = Sidecars(dataset.root, inputs.overlay)
    first = sidecars.of(recordings[0].raw, "events")
    for recording in () if inputs.latents or inputs.encoder else recordings[1:]:
        other = sidecars.of(recording.raw, "events")
        if other.get(KEY) != first.get(KEY):
            where = [str(path) for path in sidecars.applicable(recording.raw, "events")]
            raise InconsistentInput(
                f"sub-{recording.participant} task-{task}: the runs {recordings[0].label} and {recording.label} "
                f"declare different {KEY}. One participant and task needs one declaration; a lower-level sidecar "
                f"replaces the whole key. Sidecars of {recording.label}: {listing(where)}."
            )
    return first


def _space(metadata: dict[str, Any], task: str, inputs: InputSettings) -> LatentSpace:
    """Return the latent space to decode: the one asked for by name or by its generator, else the only one."""
    spaces = latent_spaces(metadata, inputs)
    if inputs.latent_generator is None or inputs.latent_space is not None:
        return choose_space(spaces, inputs.latent_space, task)
    name = inputs.latent_generator
    of_generator = {
        label: space for label, space in spaces.items() if (space.content.get("Generator") or {}).get("Name") == name
    }
    if not of_generator:
        asked = f"--preset {inputs.preset} decodes" if inputs.preset else "--latent-generator asks for"
        declared = listing(
            f"{label} ({(space.content.get('Generator') or {}).get('Name', 'no generator')})"
            for label, space in sorted(spaces.items())
        )
        raise MissingFiles(
            f"{asked} the latents of the generator {name}, and the events sidecar of task-{task} declares none; it "
            f"declares {declared or 'no latents at all'}. Add the space with its latents and "
            f'"Generator": {{"Name": "{name}"}} to StimulusLatents, or name another with --latent-space.'
        )
    return choose_space(of_generator, None, task)


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
