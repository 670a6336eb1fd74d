"""The participant's report: what was done, what came out, and whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.derivatives.names import Scope, label
from hyper_bids.derivatives.write import write_text
from hyper_bids.report.comparison_part import ComparisonPart, comparison_part
from hyper_bids.report.decoder_part import DecoderPart, decoder_part
from hyper_bids.report.design_part import DesignPart, design_part
from hyper_bids.report.gallery import FigureFolder, Gallery
from hyper_bids.report.methods import methods_bibtex, methods_parts, methods_text
from hyper_bids.report.notices import all_notices
from hyper_bids.report.page import render
from hyper_bids.report.read import Result
from hyper_bids.report.reliability_part import ReliabilityPart, reliability_part
from hyper_bids.report.tables import input_files, settings_rows
from hyper_bids.report.voxel_part import VoxelPart, voxel_part

if TYPE_CHECKING:
    from hyper_bids.derivatives.tree import Tree


FAILED = "The decoder {} was asked for too and failed, so that nothing here is about it; logs/ says why."


@dataclass
class TaskPart:
    """What the page says about one task and latent space."""

    key: str
    title: str
    design: DesignPart
    voxels: VoxelPart
    reliability: ReliabilityPart | None
    trial_types: list[tuple[str, int]]
    notices: list[str]
    results: list[DecoderPart] = field(default_factory=list)
    comparison: ComparisonPart | None = None

    @property
    def entities(self) -> dict[str, str | None]:
        """Of its figures."""
        return {"task": self.title, "model": None}


def write_report(
    *,
    tree: Tree,
    dataset: Path,
    participant: str,
    context: Mapping[str, Any],
    facts: list[dict[str, Any]],
    designs: list[dict[str, np.ndarray]],
    pictures: list[dict[str, np.ndarray]],
    selection: Sequence[Mapping[str, Any] | None] | None = None,
    reliability: Sequence[Mapping[str, Any] | None] | None = None,
    encoding: Sequence[Mapping[str, Any] | None] | None = None,
) -> None:
    """Write ``sub-<label>.html`` and its figures.

    Parameters
    ----------
    tree : where the files go, under their names in the output dataset
    dataset : folder laid out like the output dataset, with this participant's results
    participant : label
    context : what was asked for; ``tasks`` is aligned with ``facts`` and ``designs``, ``pictures``
        ([task, model], ...) with ``pictures``
    facts : of the pooling step, one per task
    designs : of `build_designs` or `build_parametric_designs`, one per task: regressors, nuisance and frame
        times of every run; empty where response maps were given
    pictures : of `reconstruct`, one per task and model that has a generator
    selection, reliability, encoding : of `select_voxels`, `measure_reliability` and `encode_stimuli`, one per
        task; None (or empty) where the step did not run

    Raises
    ------
    MissingFiles
        A table of results is not in ``dataset``.
    """
    drawn = {tuple(names): arrays for names, arrays in zip(context["pictures"], pictures, strict=True)}
    problems = [FAILED.format(name) for name in context.get("failed", ())]
    folder, dataset, n_tasks = FigureFolder(tree), Path(dataset), len(context["tasks"])
    told = [_aligned(found, n_tasks) for found in (selection, reliability, encoding)]
    parts = [
        _task(task, fact, design, drawn, problems, dataset, folder, context, *found)
        for task, fact, design, *found in zip(context["tasks"], facts, designs, *told, strict=True)
    ]
    paragraphs, references = methods_parts(context["settings"], facts, context)
    gallery = Gallery([tree.folder, dataset], f"sub-{participant}/figures")
    html = render(
        "participant.html",
        gallery=gallery,
        participant=participant,
        context=context,
        tasks=parts,
        several=len(parts) > 1 or any(len(part.results) > 1 for part in parts),
        notices=list(all_notices(parts, problems)),
        paragraphs=paragraphs,
        bibliography=references,
        markdown=methods_text(context["settings"], facts, context),
        bibtex=methods_bibtex(context["settings"], facts, context),
        settings=settings_rows(context["settings"]),
        inputs=input_files(context),
        digest=_input_digest(dataset, context),
    )
    write_text(tree.path(f"sub-{participant}.html"), html)


def _aligned(found: Sequence[Any] | None, n_tasks: int) -> list[Any]:
    """Facts of a step that may not have run: one per task."""
    return list(found) if found else [None] * n_tasks


def _task(
    task: Mapping[str, Any], facts: Mapping[str, Any], design: Mapping[str, np.ndarray],
    drawn: Mapping[tuple[str, ...], Mapping[str, np.ndarray]], problems: list[str], dataset: Path,
    folder: FigureFolder, context: Mapping[str, Any], selection: Mapping[str, Any] | None,
    reliability: Mapping[str, Any] | None, encoding: Mapping[str, Any] | None,
) -> TaskPart:  # fmt: skip
    scope, space, glm = Scope(**task["scope"]), task["latent_space"], context["settings"]["glm"]
    n_results = sum(len(every["models"]) for every in context["tasks"])
    voxels = voxel_part(dataset, scope, facts, selection, glm["response"], folder)
    measured = reliability_part(dataset, scope, reliability, folder)
    notices = [*task["notices"], *facts["notices"], *(encoding or {}).get("notices", []), *voxels.notices]
    notices += measured.notices if measured else []
    part = TaskPart(
        key=f"task-{label(task['task'])}",
        title=task["task"],
        design=design_part(task, facts, design, folder, automatic=glm["glm"] == "auto"),
        voxels=voxels,
        reliability=measured,
        trial_types=list(task["n_samples_by_trial_type"].items()),
        notices=list(dict.fromkeys(notices)),
    )
    for model in task["models"]:
        result = Result(dataset, scope, model["model"], space)
        pictures = drawn.get((task["task"], model["model"]))
        part.results.append(
            decoder_part(task, facts, result, model["decoder"], pictures, problems, folder, encoding, n_results)
        )
    decoders = [
        (model["decoder"], result.key, result.stats)
        for model, result in zip(task["models"], part.results, strict=True)
    ]
    part.comparison = comparison_part(scope, space, decoders, folder)
    return part


def _input_digest(dataset: Path, context: Mapping[str, Any]) -> str:
    """Return the digest of the input files' content that the results' sidecars carry; "" if they do not."""
    for task in context["tasks"]:
        for model in task["models"]:
            result = Result(dataset, Scope(**task["scope"]), model["model"], task["latent_space"])
            if digest := result.sidecar("stats").get("InputDigest"):
                return str(digest)
    return ""
