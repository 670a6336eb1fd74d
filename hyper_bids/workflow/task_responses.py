"""Steps that make what is decoded: from the BOLD, trial by trial or by one model over all runs, or read as it is."""

from __future__ import annotations

from pathlib import Path

from hyper_bids.settings import identity_of
from hyper_bids.workflow.feature_networks import identity
from hyper_bids.workflow.fingerprints import fingerprints, weights_digest
from hyper_bids.workflow.latent_encoders import dand_weights, feature_network, wanted_features
from hyper_bids.workflow.memory import (
    LEAST_GB,
    PARAMETRIC_PARTS,
    features_memory,
    fit_memory,
    n_passes,
    parametric_memory,
    parametric_passes,
    pool_memory,
)
from hyper_bids.workflow.plan import Output, Source
from hyper_bids.workflow.task_plan import TaskPlan


def add_responses(plan: TaskPlan) -> None:
    """Make, or read, what is decoded: one step called ``pool`` gives it, whatever it comes from."""
    if plan.task.latents is None:
        plan.latents = _add_encoder(plan)
    if plan.task.maps:
        _add_given(plan)
    elif plan.parametric:
        _add_parametric(plan)
    else:
        _add_trials(plan)


def _add_encoder(plan: TaskPlan) -> Output:
    inputs, weights = plan.settings.inputs, plan.settings.generate.weights
    images = {label: str(path) for label, path in sorted(plan.task.image_files.items())}
    needs, read = {}, {}
    if inputs.encoder == "dand":
        network = feature_network(plan.features, wanted_features(dand_weights(weights))[0])
        needs, read = {"features": network.params(plan.device)}, identity([network])
    if inputs.encoder in ("dand", "vaegan"):
        needs |= {"weights": None if weights is None else str(weights), "device": plan.device}
        read |= {"weights": weights_digest(weights)}
    name = plan.add(
        plan.name("encode"), "encode_stimuli", f"latents of the stimuli by {inputs.encoder}",
        inputs={"trials": plan.trials},
        params={
            "encoder": inputs.encoder, "n_components": inputs.n_components, "image_size": inputs.image_size,
            "images": images, **needs,
        },
        identity={**fingerprints(Path(path) for path in images.values()), **read},
        outputs=("latents", "weights", "facts"),
        mem_gb=1.0 + features_memory([item.file for item in plan.features] if "features" in needs else []),
    )  # fmt: skip
    return Output(name, "latents")


def _add_designs_and_voxels(plan: TaskPlan, function: str, **inputs: Source) -> dict[str, Source]:
    """Two steps; return what a run's fit needs of them."""
    recordings = plan.task.recordings
    plan.add(
        plan.name("designs"), function, "designs",
        inputs={"trials": plan.trials, **inputs},
        params={
            "recordings": [plan.recording(item, "confounds") for item in recordings],
            "glm": identity_of(plan.settings.glm),
        },
        outputs=("designs", "summary"),
    )  # fmt: skip
    plan.add(
        plan.name("voxels"), "find_voxels", "brain mask",
        params={
            "recordings": [plan.recording(item, "mask" if item.mask else "bold") for item in recordings],
            "space": plan.scope["space"],
        },
        outputs=("grid", "outside", "notices"),
    )  # fmt: skip
    return {**plan.output("designs", "designs", "summary"), **plan.output("voxels", "grid")}


def _add_trials(plan: TaskPlan) -> None:
    """Designs, voxels, one fit a run, and the runs together."""
    glm, settings, limit = identity_of(plan.settings.glm), plan.settings, plan.memory_gb
    shared = _add_designs_and_voxels(plan, "build_designs")
    fits = [
        plan.add(
            plan.name("fit", recording.label), "fit_run", f"GLM {recording.label}",
            inputs={**shared, **plan.output("voxels", "outside")},
            params={"recording": plan.recording(recording, "bold"), "index": index, "glm": glm},
            limits={"n_passes": n_passes(plan.task, index, settings, limit)},
            outputs=("responses", "outside"),
            mem_gb=min(fit_memory(plan.task, index, settings), max(limit, LEAST_GB)),
        )
        for index, recording in enumerate(plan.task.recordings)
    ]  # fmt: skip
    plan.add(
        plan.name("pool"), "pool_runs", "responses",
        inputs={
            "trials": plan.trials, **shared, "voxel_notices": Output(plan.name("voxels"), "notices"),
            "responses": tuple(Output(fit, "responses") for fit in fits),
        },
        params={
            "scope": plan.scope, "glm": glm, "maps": settings.output.maps,
            "provenance": plan.provenance("inputs", "glm"),
        },
        outputs=("values", "samples", "grid", "facts", "tree"),
        mem_gb=pool_memory(plan.task),
    )  # fmt: skip


def _add_parametric(plan: TaskPlan) -> None:
    """Designs, voxels, sums over parts of the runs, and one model over all of them."""
    shared = _add_designs_and_voxels(plan, "build_parametric_designs", latents=plan.latents)
    parts = _add_sums(plan, shared)
    plan.add(
        plan.name("pool"), "solve_parametric", "parametric model",
        inputs={
            "trials": plan.trials, **shared, "voxel_notices": Output(plan.name("voxels"), "notices"),
            "products": tuple(Output(part, "products") for part in parts),
            "sums": tuple(Output(part, "sums") for part in parts),
        },
        params={
            "scope": plan.scope, "glm": identity_of(plan.settings.glm), "maps": plan.settings.output.maps,
            "space": plan.task.space, "provenance": plan.provenance("inputs", "glm", decoder=""),
        },
        outputs=("values", "samples", "grid", "weights", "statistics", "facts", "tree"),
        mem_gb=LEAST_GB + 0.5,
    )  # fmt: skip


def _add_sums(plan: TaskPlan, shared: dict[str, Source]) -> list[str]:
    """Return the names of the steps, one a part of the runs.

    There are as many parts as there are runs to share, and never more for more processes: sums must not depend on
    them.
    """
    recordings = plan.task.recordings
    memory, n_parts = parametric_memory(plan.task), min(PARAMETRIC_PARTS, len(recordings))
    parts = []
    for number in range(n_parts):
        indices = list(range(number, len(recordings), n_parts))
        parts.append(
            plan.add(
                plan.name("sums", f"{number:02d}"), "add_runs", f"sums over {len(indices)} runs, part {number + 1}",
                inputs=shared,
                params={"recordings": [plan.recording(recordings[k], "bold") for k in indices], "indices": indices},
                limits={"n_passes": parametric_passes(plan.task, plan.memory_gb)},
                outputs=("products", "sums"),
                mem_gb=min(memory, max(plan.memory_gb, LEAST_GB)),
            )
        )  # fmt: skip
    return parts


def _add_given(plan: TaskPlan) -> None:
    plan.add(
        plan.name("pool"), "read_responses", "responses that were given",
        inputs={"trials": plan.trials},
        params={
            "maps": [plan.recording(item, "image", "mask") for item in plan.task.maps],
            "scope": plan.scope, "provenance": plan.provenance("inputs"),
        },
        outputs=("values", "samples", "grid", "designs", "facts", "tree"),
        mem_gb=pool_memory(plan.task),
    )  # fmt: skip
