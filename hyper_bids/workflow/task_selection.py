"""Steps about voxels: which of them the decoders see, how reliable they are, and one run of them as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hyper_bids.derivatives.tree import checksum
from hyper_bids.inputs.atlas import atlas_files, parse_roi
from hyper_bids.inputs.grey_matter import find_grey_matter
from hyper_bids.settings import identity_of
from hyper_bids.workflow.memory import LEAST_GB, decode_memory
from hyper_bids.workflow.plan import Source
from hyper_bids.workflow.task_plan import TaskPlan


def add_selection(plan: TaskPlan) -> None:
    """Choose the voxels of every fold, once for all decoders; measure and draw what was recorded."""
    _add_select(plan)
    if plan.settings.evaluate.reliability and not plan.parametric:
        _add_reliability(plan)
    if not plan.task.maps:
        _add_carpet(plan)


def selection_params(plan: TaskPlan) -> dict[str, Any]:
    """The rule of selection as parameters, with digests of the files that it looks at."""
    select = plan.settings.select
    chosen = {**identity_of(select), "mask": None if select.mask is None else str(select.mask)}
    if select.mask is not None:
        chosen["mask_digest"] = checksum(select.mask)
    if select.roi is not None:
        atlas, labels = parse_roi(select.roi)
        chosen["roi"] = f"{os.path.abspath(atlas)}:{','.join(labels)}"
        chosen["roi_digest"] = [checksum(path) for path in atlas_files(atlas)]
    if select.select == "gain":
        path, said = _grey_matter(plan)
        chosen |= {"grey_matter": None if path is None else str(path), "grey_matter_said": list(said)}
        chosen["grey_matter_digest"] = None if path is None else checksum(path)
    return {"select": chosen, "cross_validate": plan.cross_validate, "seed": plan.seed}


def _grey_matter(plan: TaskPlan) -> tuple[Path | None, tuple[str, ...]]:
    """The grey-matter map that lies beside the preprocessed BOLD, and why there is none."""
    space, said = plan.scope["space"], ()
    for folder in (plan.dataset.derivatives or {}).values():
        path, said = find_grey_matter(folder, plan.task.participant, space, plan.settings.inputs.session_label)
        if path is not None:
            return path, said
    return None, said or ("Grey matter: there are no preprocessed data to look for a tissue map in.",)


def _add_select(plan: TaskPlan) -> None:
    rule = plan.settings.select.select
    inputs: dict[str, Source] = plan.output("pool", "values", "samples", "grid")
    if plan.parametric:
        inputs |= plan.output("pool", "statistics")
    elif rule == "gain":
        inputs["latents"] = plan.latents
    plan.add(
        plan.name("select"), "select_voxels", f"voxels by {rule}",
        inputs=inputs,
        params={
            **selection_params(plan), "scope": plan.scope,
            "provenance": plan.provenance("inputs", "glm", "select", decoder=""),
        },
        outputs=("voxels", "facts", "tree"),
        mem_gb=decode_memory(plan.task, plan.settings),
    )  # fmt: skip


def _add_reliability(plan: TaskPlan) -> None:
    plan.add(
        plan.name("reliability"), "measure_reliability", "reliability of the recordings",
        inputs={**plan.output("pool", "values", "samples", "grid"), **plan.output("select", "voxels")},
        params={
            "scope": plan.scope, "seed": plan.seed,
            "provenance": plan.provenance("inputs", "glm", "select", decoder=""),
        },
        outputs=("facts", "tree"),
        mem_gb=LEAST_GB + 0.6,
    )  # fmt: skip


def _add_carpet(plan: TaskPlan) -> None:
    """One run as a picture: the file is read once more, so only the first run's is."""
    recordings = plan.task.recordings
    plan.add(
        plan.name("carpet"), "draw_carpet", f"carpet plot of {recordings[0].label}",
        inputs={**plan.output("pool", "grid"), **plan.output("select", "voxels")},
        params={
            "recording": plan.recording(recordings[0], "bold", "confounds"), "n_recordings": len(recordings),
            "scope": plan.scope,
        },
        outputs=("tree",),
    )  # fmt: skip
