"""Steps of every decoder: decode, refit for the null, draw, evaluate, and show what it is worth."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyper_bids.derivatives.names import model_label
from hyper_bids.inputs.locate import stimuli_folders
from hyper_bids.settings import identity_of, replace
from hyper_bids.workflow.feature_networks import identity
from hyper_bids.workflow.fingerprints import fingerprints
from hyper_bids.workflow.generator_choice import generator_params, needs_generator
from hyper_bids.workflow.memory import controls_memory, decode_memory, features_memory, picture_memory
from hyper_bids.workflow.plan import Output, Source
from hyper_bids.workflow.task_checks import Checked
from hyper_bids.workflow.task_plan import TaskPlan
from hyper_bids.workflow.task_selection import selection_params

SECTIONS = ("inputs", "glm", "select", "decode")
"""Sections of the settings that can change what is decoded."""

SAME_CONTENT = "have the same content as one to train on"
"""What `inputs.task` says where a picture is in both sets under two names."""


@dataclass(frozen=True)
class Decoders:
    """Which steps belong to one decoder, and what was drawn: names of the task and the model, and the pictures."""

    decoder_of: dict[str, str]
    pictures: list[tuple[list[str], Output]]


def add_decoders(plan: TaskPlan, checked: Checked) -> Decoders:
    """For each decoder: decode, refit for the null, draw, evaluate.

    Parameters
    ----------
    checked : what `check_named` found out about this task
    """
    shared, found = _share(plan, checked), Decoders({}, [])
    for decoder in plan.settings.decode.decoder:
        before, branch = len(plan.steps), _Branch(plan, shared, decoder)
        drawn = _add_branch(branch)
        found.decoder_of.update({step.name: decoder for step in plan.steps[before:]})
        if drawn is not None:
            found.pictures.append(([plan.task.task, branch.model], drawn))
    return found


@dataclass(frozen=True)
class _Shared:
    """What all decoders are tested on.

    Parameters
    ----------
    picture : the generator as parameters, or None
    weights : those that the encoder's step made for it, where it did
    paths, digests : label -> file of every test stimulus's picture, and file -> digest
    attributes : files of the attributes' directions
    networks : feature networks as parameters
    masks : stimulus -> file of its picture's mask
    image_gb : memory for the pictures of a test set
    controls : what signals without the stimulus hold of the latents, an input of the evaluation, or nothing
    """

    picture: dict[str, Any] | None
    weights: dict[str, Source]
    paths: dict[str, str]
    digests: dict[str, str]
    attributes: list[str]
    networks: list[dict[str, Any]]
    masks: dict[str, str]
    image_gb: float
    controls: dict[str, Source]


def _share(plan: TaskPlan, checked: Checked) -> _Shared:
    task, tested = plan.task, plan.tested()
    picture = generator_params(plan.generator, task.declaration, plan.settings, plan.device)
    made = picture is not None and picture["generator"] == "eigenface" and task.latents is None
    paths = {label: str(path) for label, path in task.image_files.items() if label in tested}
    return _Shared(
        picture=picture,
        weights={"generator_weights": Output(plan.name("encode"), "weights")} if made else {},
        paths=paths,
        digests=fingerprints(Path(path) for path in paths.values()),
        attributes=[os.path.abspath(path) for path in plan.settings.evaluate.attributes],
        networks=[item.params(plan.device) for item in plan.features],
        masks=checked.masks,
        image_gb=picture_memory(len(tested), checked.pixels),
        controls={} if plan.parametric else _add_controls(plan),
    )


def _add_controls(plan: TaskPlan) -> dict[str, Source]:
    """Decode control signals, for the audits of all decoders."""
    outside: dict[str, Source | tuple[Source, ...]] = {}
    if not plan.task.maps:  # where responses are given, there is no BOLD to look at
        fits = [plan.name("fit", recording.label) for recording in plan.task.recordings]
        outside = {**plan.output("voxels", "outside"), "outside_runs": tuple(Output(fit, "outside") for fit in fits)}
    plan.add(
        plan.name("controls"), "decode_controls", "control signals",
        inputs={**plan.output("pool", "values", "samples", "grid"), "latents": plan.latents, **outside},
        params={
            "cross_validate": plan.cross_validate, "n_permutations": plan.settings.evaluate.n_permutations,
            "seed": plan.seed,
        },
        outputs=("controls",),
        mem_gb=controls_memory(plan.task, plan.settings),
    )  # fmt: skip
    return plan.output("controls", "controls")


@dataclass(frozen=True)
class _Branch:
    """One decoder's branch of the plan."""

    plan: TaskPlan
    shared: _Shared
    decoder: str

    @property
    def model(self) -> str:
        """The decoder in file names."""
        return model_label(self.decoder)

    def name(self, step: str) -> str:
        return self.plan.name(step, self.model)

    @property
    def chosen(self) -> dict[str, Any]:
        decode = identity_of(replace(self.plan.settings.decode, decoder=()))
        return {"decoder": self.decoder, "decode": decode, "cross_validate": self.plan.cross_validate}

    @property
    def responses(self) -> dict[str, Source]:
        return self.plan.output("pool", "values", "samples", "grid")

    @property
    def given(self) -> dict[str, Source]:
        """What the decoder is fitted to, but for the latents."""
        model = self.plan.output("pool", "weights", "statistics") if self.plan.parametric else {}
        return {**self.responses, **self.plan.output("select", "voxels"), **model}

    @property
    def predictions(self) -> dict[str, Source]:
        decoded = {name: Output(self.name("decode"), name) for name in ("rows", "predicted", "guesses")}
        return {**decoded, "latents": self.plan.latents}

    @property
    def loss_picture(self) -> dict[str, Any] | None:
        return self.shared.picture if needs_generator(self.decoder, self.plan.settings) else None

    @property
    def memory(self) -> float:
        return decode_memory(self.plan.task, self.plan.settings)

    def provenance(self, *further: str) -> dict[str, Any]:
        return self.plan.provenance(*SECTIONS, *further, decoder=self.decoder)


def _add_branch(branch: _Branch) -> Output | None:
    """Return the pictures, where there are some."""
    evaluate = branch.plan.settings.evaluate
    _add_decode(branch)
    extra: dict[str, Source] = {"decoder_facts": Output(branch.name("decode"), "facts"), **branch.shared.controls}
    if branch.plan.cross_validate:
        null = _add_null(branch)
        extra |= {name: Output(null, name) for name in ("draws", "further")} | {"null_facts": Output(null, "facts")}
    if evaluate.learning_curve and not branch.plan.parametric:
        _add_curve(branch)
    drawn = None
    if branch.shared.picture:
        drawn = extra["pictures"] = Output(_add_pictures(branch), "pictures")
    _add_evaluate(branch, extra)
    _add_figures(branch, drawn)
    return drawn


def _add_decode(branch: _Branch) -> None:
    plan = branch.plan
    inputs = {**branch.given, "responses_facts": Output(plan.name("pool"), "facts"), "latents": plan.latents}
    params = {**branch.chosen, "scope": plan.scope, "provenance": branch.provenance()}
    if plan.parametric:
        inputs["trials"] = plan.trials
    else:
        params |= {
            "picture": branch.loss_picture, "device": plan.device, "reliability": plan.settings.evaluate.reliability,
        }  # fmt: skip
    plan.add(
        branch.name("decode"), "decode_parametric" if plan.parametric else "decode_latents",
        f"decoding with {branch.decoder}",
        inputs=inputs,
        params=params,
        outputs=("rows", "predicted", "guesses", "facts", "tree"),
        mem_gb=branch.memory,
    )  # fmt: skip


def _add_null(branch: _Branch) -> str:
    plan, shared = branch.plan, branch.shared
    return plan.add(
        branch.name("null"), "refit_null", f"null distribution of {branch.decoder}",
        inputs={**branch.given, **shared.weights, "latents": plan.latents, "stimuli": plan.stimuli},
        params={
            **branch.chosen, **selection_params(plan), "n_permutations": plan.settings.evaluate.n_permutations,
            "picture": shared.picture, "stimulus_paths": shared.paths, "attributes": shared.attributes,
            "device": plan.device, "features": shared.networks,
        },
        identity={
            **shared.digests, **fingerprints(Path(path) for path in shared.attributes), **identity(plan.features),
        },
        outputs=("draws", "further", "facts"),
        mem_gb=branch.memory + 1.0,
    )  # fmt: skip


def _add_curve(branch: _Branch) -> None:
    plan = branch.plan
    plan.add(
        branch.name("curve"), "draw_learning_curve", f"learning curve of {branch.decoder}",
        inputs={**branch.responses, "latents": plan.latents},
        params={
            **branch.chosen, **selection_params(plan), "scope": plan.scope, "device": plan.device,
            "picture": branch.loss_picture, "provenance": branch.provenance("evaluate"),
        },
        outputs=("tree",),
        mem_gb=branch.memory,
    )  # fmt: skip


def _add_pictures(branch: _Branch) -> str:
    plan, shared = branch.plan, branch.shared
    return plan.add(
        branch.name("pictures"), "reconstruct", f"reconstructions of {branch.decoder}",
        inputs={**branch.predictions, **shared.weights},
        params={
            "decoder": branch.decoder, "picture": shared.picture, "stimulus_files": _below_stimuli(plan, shared.paths),
            "scope": plan.scope, "provenance": branch.provenance("generate"),
        },
        outputs=("pictures", "tree"),
        mem_gb=shared.image_gb,
    )  # fmt: skip


def _add_evaluate(branch: _Branch, extra: Mapping[str, Source]) -> None:
    plan, shared, evaluate = branch.plan, branch.shared, branch.plan.settings.evaluate
    looked_at = fingerprints(Path(path) for path in [*shared.attributes, *shared.masks.values()])
    plan.add(
        branch.name("evaluate"), "evaluate", f"evaluation of {branch.decoder}",
        inputs={**branch.predictions, **extra, **plan.other_spaces, "stimuli": plan.stimuli, "trials": plan.trials},
        params={
            **_tested(branch), **_audited(plan), "protocol": evaluate.protocol, "attributes": shared.attributes,
            "features": shared.networks, "masks": shared.masks,
            "provenance": {
                **branch.provenance("generate", "evaluate"),
                "before_decoder": plan.settings.digest("inputs", "glm", "select"),
            },
        },
        identity={**shared.digests, **looked_at, **identity(plan.features)},
        outputs=("tree", "nulls"),
        mem_gb=shared.image_gb + features_memory([item.file for item in plan.features]),
    )  # fmt: skip


def _add_figures(branch: _Branch, drawn: Output | None) -> None:
    plan, shared = branch.plan, branch.shared
    shown = {
        "scores": Output(branch.name("evaluate"), "tree"), "nulls": Output(branch.name("evaluate"), "nulls"),
        **({"pictures": drawn} if drawn else {}),
    }  # fmt: skip
    plan.add(
        branch.name("figures"), "draw_evidence", f"figures of {branch.decoder}",
        inputs={**branch.predictions, **shared.weights, **shown},
        params={**_tested(branch), "seed": plan.seed},
        identity=shared.digests,
        outputs=("tree",),
        mem_gb=shared.image_gb,
    )  # fmt: skip


def _tested(branch: _Branch) -> dict[str, Any]:
    """What both the scores and their figures are about, as parameters."""
    plan, shared = branch.plan, branch.shared
    return {
        "decoder": branch.decoder, "cross_validated": bool(plan.cross_validate), "picture": shared.picture,
        "declaration": plan.task.declaration, "stimulus_paths": shared.paths,
        "n_permutations": plan.settings.evaluate.n_permutations, "scope": plan.scope,
    }  # fmt: skip


def _audited(plan: TaskPlan) -> dict[str, Any]:
    """What the audits ask about besides the results: overlap by content, tuning, motion."""
    select, found = plan.settings.select, [text for text in plan.task.notices if SAME_CONTENT in text]
    encoder = plan.settings.inputs.encoder
    return {
        "same_content": found if found or plan.task.image_files else None,
        "recordings": [plan.recording(item, "confounds") for item in plan.task.recordings],
        "tuning": {
            "select": select.select, "mask": select.mask is not None, "roi": select.roi is not None,
            "encoder": None if encoder == "vaegan" else encoder,
            "parameters": bool(plan.settings.decode.parameters),
        },
    }  # fmt: skip


def _below_stimuli(plan: TaskPlan, paths: Mapping[str, str]) -> dict[str, str]:
    """Path of each picture relative to ``stimuli/``."""
    folders, found = stimuli_folders(plan.dataset.root, plan.settings.inputs.overlay), {}
    for label, path in paths.items():
        inside = [folder for folder in folders if Path(path).is_relative_to(folder)]
        found[label] = Path(path).relative_to(inside[0]).as_posix() if inside else Path(path).name
    return found
