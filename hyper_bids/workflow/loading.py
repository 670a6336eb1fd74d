"""What is read and checked before any computation: layout, events, splits, latents, and what options name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hyper_bids.errors import HyperError, InvalidDataset, MissingFiles, NothingSelected, UsageError
from hyper_bids.inputs.recording import Dataset
from hyper_bids.inputs.task import TaskInput, load_task
from hyper_bids.registry import resolve
from hyper_bids.settings import Execution, Settings
from hyper_bids.workflow.journal import Journal


@dataclass(frozen=True)
class Loaded:
    """What was read before any computation, and who could not be read."""

    dataset: Dataset | None
    tasks: dict[str, list[TaskInput]]
    errors: dict[str, HyperError]


def check_named(settings: Settings) -> None:
    """Find out now whether the files and plugins that the options name are there."""
    from hyper_bids.decode import DECODERS
    from hyper_bids.generate import BY_CONTENT, GENERATORS, weight_files
    from hyper_bids.inputs.confounds import parse_strategy

    parse_strategy(settings.glm.confounds, settings.glm.confound_columns)
    paths = [("--mask", settings.select.mask)]
    paths.append(("--responses", settings.inputs.responses))
    paths += [("--attributes", Path(name)) for name in settings.evaluate.attributes]
    for flag, path in paths:
        if path is not None and not path.exists():
            raise MissingFiles(f"{flag} {path} does not exist.")
    check_features(settings)
    weights = settings.generate.weights
    if weights is not None and not weights.is_dir() and not weight_files(weights):
        flag = "--generator" if settings.generate.generator == BY_CONTENT else "--weights"
        raise MissingFiles(f"{flag} {weights} does not exist.")
    for name in settings.decode.decoder:
        resolve(name, DECODERS, "decoder", ("fit", "predict"))
    if settings.generate.generator not in (None, "none", BY_CONTENT):
        resolve(settings.generate.generator, GENERATORS, "generator", ("generate",))


def check_features(settings: Settings) -> None:
    """Find out now whether the feature networks, and what an encoder needs, are there and are what they should be.

    Raises
    ------
    UsageError, MissingFiles, InconsistentInput
        As `feature_networks.chosen` and `latent_encoders.check_encoder`.
    """
    if not settings.evaluate.features and not settings.evaluate.feature_weights and settings.inputs.encoder is None:
        return
    from hyper_bids.workflow.feature_networks import check_opens, chosen_in
    from hyper_bids.workflow.latent_encoders import check_encoder

    networks = chosen_in(settings)
    check_opens(networks)
    check_encoder(settings.inputs.encoder, networks, settings.generate.weights)


def load(bids_dir: Path, settings: Settings, execution: Execution, journal: Journal) -> Loaded:
    """Validate, find the recordings, and read events, splits and latents of every participant."""
    from hyper_bids.inputs.dataset import find_participants, open_dataset
    from hyper_bids.inputs.response_maps import open_responses
    from hyper_bids.inputs.validate import validate

    check_named(settings)
    n_given = _given_latents(settings)
    if not execution.skip_bids_validation:
        for notice in validate(bids_dir):
            journal.warn(notice)
    datasets: dict[str, Dataset] = {}
    tasks: dict[str, list[TaskInput]] = {}
    errors: dict[str, HyperError] = {}
    responses = settings.inputs.responses
    for participant in find_participants(responses or bids_dir, execution.participant_label):
        try:
            if responses is not None:
                dataset = open_responses(
                    bids_dir,
                    responses,
                    settings.inputs,
                    settings.glm.response,
                    participant=participant,
                    tasks=execution.task_id,
                )
            else:
                dataset = open_dataset(
                    bids_dir,
                    settings.inputs,
                    participants=(participant,),
                    tasks=execution.task_id,
                    database_dir=None if execution.dry_run else execution.bids_database_dir,
                )
            journal.open(participant)
            read = [load_task(dataset, participant, task, settings.inputs) for task in dataset.tasks(participant)]
            tasks[participant] = read if n_given is None else [replace(task, n_latents=n_given) for task in read]
            datasets[participant] = dataset
        except (UsageError, InvalidDataset):
            raise
        except HyperError as error:
            tasks.pop(participant, None)
            errors[participant] = error
    errors = _without_the_absent(errors, tasks, execution, journal)
    for participant, error in errors.items():
        journal.open(participant)
        journal.fail(f"sub-{participant}: {error}", participant)
    for notice in dict.fromkeys(notice for dataset in datasets.values() for notice in dataset.notices):
        journal.warn(notice)
    for participant, loaded in tasks.items():
        for task in loaded:
            for notice in task.notices:
                journal.warn(f"sub-{participant} {task.task}: {notice}", participant)
    return Loaded(next(iter(datasets.values()), None), tasks, errors)


def _given_latents(settings: Settings) -> int | None:
    """Return how many latents the weights of an encoder fix, or None."""
    if settings.inputs.encoder is None:
        return None
    from hyper_bids.workflow.latent_encoders import given_latents

    return given_latents(settings.inputs.encoder, settings.generate.weights)


def _without_the_absent(
    errors: dict[str, HyperError], tasks: dict[str, list[TaskInput]], execution: Execution, journal: Journal
) -> dict[str, HyperError]:
    """A participant without runs of the task is a notice, unless asked for by name or alone."""
    absent = [name for name, error in errors.items() if isinstance(error, NothingSelected)]
    if execution.participant_label or not tasks:
        return errors
    for participant in absent:
        journal.warn(f"sub-{participant} is left out: {errors[participant]}")
    return {name: error for name, error in errors.items() if name not in absent}


