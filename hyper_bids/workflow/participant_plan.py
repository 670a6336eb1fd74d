"""The plan of one participant: which stages run on which files, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyper_bids import __version__
from hyper_bids.inputs.recording import Dataset
from hyper_bids.inputs.task import TaskInput
from hyper_bids.settings import Settings, plain
from hyper_bids.workflow.plan import Output, Step
from hyper_bids.workflow.task_checks import check_named
from hyper_bids.workflow.task_decoders import add_decoders
from hyper_bids.workflow.task_plan import STEPS, TaskPlan, node
from hyper_bids.workflow.task_report import context, told
from hyper_bids.workflow.task_responses import add_responses
from hyper_bids.workflow.task_selection import add_selection


@dataclass(frozen=True)
class ParticipantPlan:
    """Steps of one participant, and which of their trees are published when all are done.

    ``decoder_of`` maps the steps that belong to one decoder to its name.
    """

    participant: str
    steps: tuple[Step, ...]
    trees: tuple[Output, ...]
    decoder_of: Mapping[str, str]


def plan_participant(
    tasks: list[TaskInput],
    dataset: Dataset,
    settings: Settings,
    *,
    device: str,
    work_dir: Path,
    command: str,
    memory_gb: float,
    failed: Sequence[str] = (),
) -> ParticipantPlan:
    """Lay out all stages of one participant and write the small files that they start from.

    Parameters
    ----------
    tasks : what `load_task` gave for each task
    dataset, settings : what was asked for
    device : ``cpu`` or ``cuda``
    work_dir : where the starting files go (under ``inputs/``)
    command : the command line, for the report
    memory_gb : limit for one process
    failed : decoders that were asked for and failed before, for the report
    """
    participant = tasks[0].participant
    steps: list[Step] = []
    trees: list[Output] = []
    contexts: list[dict[str, Any]] = []
    pictures: list[tuple[list[str], Output]] = []
    decoder_of: dict[str, str] = {}
    report: dict[str, list[Output]] = {}
    for task in tasks:
        part = TaskPlan(task, dataset, settings, device, work_dir, memory_gb)
        checked = check_named(part)
        add_responses(part)
        add_selection(part)
        decoders = add_decoders(part, checked)
        steps += part.steps
        trees += part.trees
        decoder_of.update(decoders.decoder_of)
        contexts.append(context(part))
        pictures += decoders.pictures
        for name, output in told(part).items():
            report.setdefault(name, []).append(output)
    inputs: dict[str, Any] = {"trees": tuple(trees), **{name: tuple(items) for name, items in report.items()}}
    if pictures:
        inputs["pictures"] = tuple(output for _, output in pictures)
    steps.append(
        Step(
            name=node(f"sub_{participant}", "report"),
            target=f"{STEPS}:report_participant",
            inputs=inputs,
            params={
                "participant": participant,
                "context": {
                    "tasks": contexts,
                    "pictures": [names for names, _ in pictures],
                    "settings": {name: plain(getattr(settings, name)) for name in plain(settings)},
                    "settings_digest": settings.digest(),
                    "seed": settings.evaluate.random_seed,
                    "version": __version__,
                    "dataset_name": str(dataset.description.get("Name", dataset.root.name)),
                    "bids_dir": str(dataset.root),
                    "derivatives": {name: str(path) for name, path in (dataset.derivatives or {}).items()},
                    "command": command,
                    **({"failed": list(failed)} if failed else {}),
                },
            },
            outputs=("tree",),
            label=f"sub-{participant}: report",
            mem_gb=1.0,
        )
    )
    trees.append(Output(steps[-1].name, "tree"))
    return ParticipantPlan(participant, tuple(steps), tuple(trees), decoder_of)
