"""The plan of one participant: which stages run on which files, as data."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyper_bids import __version__
from hyper_bids.derivatives.names import model_label
from hyper_bids.derivatives.tree import checksum
from hyper_bids.generate import built_in, make_generator
from hyper_bids.inputs.attributes import read_directions
from hyper_bids.inputs.confounds import sidecar
from hyper_bids.inputs.locate import stimuli_folders
from hyper_bids.inputs.masks import check_user_mask
from hyper_bids.inputs.recording import Dataset, Recording
from hyper_bids.inputs.task import TaskInput
from hyper_bids.inputs.volumes import read_header
from hyper_bids.settings import Settings, identity_of, plain, replace
from hyper_bids.workflow import files
from hyper_bids.workflow.memory import LEAST_GB, decode_memory, fit_memory, n_passes, pool_memory
from hyper_bids.workflow.plan import Output, Step

STEPS = "hyper_bids.workflow.steps"

@dataclass(frozen=True)
class ParticipantPlan:
    """Steps of one participant, and which of their trees are published when all are done.

    ``decoder_of`` maps the steps that belong to one decoder to its name.
    """

    participant: str
    steps: tuple[Step, ...]
    trees: tuple[Output, ...]
    decoder_of: Mapping[str, str]


def fingerprints(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files' content, several at once: ``{path: digest}``."""
    wanted = sorted({str(path) for path in paths})
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(wanted, pool.map(lambda path: checksum(Path(path)), wanted), strict=True))


def plan_participant(
    tasks: list[TaskInput],
    dataset: Dataset,
    settings: Settings,
    *,
    device: str,
    work_dir: Path,
    command: str,
    memory_gb: float,
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
    """
    participant = tasks[0].participant
    steps: list[Step] = []
    trees: list[Output] = []
    context: list[dict[str, Any]] = []
    pictures: list[tuple[list[str], Output]] = []
    decoder_of: dict[str, str] = {}
    report: dict[str, list[Output]] = {"facts": [], "designs": []}
    for task in tasks:
        part = _TaskPlan(task, dataset, settings, device, work_dir, memory_gb)
        part.check_named()
        part.add_responses()
        part.add_decoders()
        steps += part.steps
        trees += part.trees
        decoder_of.update(part.decoder_of)
        context.append(part.context())
        pictures += part.pictures
        report["facts"].append(Output(part.name("pool"), "facts"))
        report["designs"].append(Output(part.name("designs"), "designs"))
    inputs: dict[str, Any] = {"trees": tuple(trees), **{name: tuple(items) for name, items in report.items()}}
    if pictures:
        inputs["pictures"] = tuple(output for _, output in pictures)
    steps.append(
        Step(
            name=_node(f"sub_{participant}", "report"),
            target=f"{STEPS}:report_participant",
            inputs=inputs,
            params={
                "participant": participant,
                "context": {
                    "tasks": context,
                    "pictures": [names for names, _ in pictures],
                    "settings": {name: plain(getattr(settings, name)) for name in plain(settings)},
                    "settings_digest": settings.digest(),
                    "seed": settings.evaluate.random_seed,
                    "version": __version__,
                    "dataset_name": str(dataset.description.get("Name", dataset.root.name)),
                    "bids_dir": str(dataset.root),
                    "derivatives": {name: str(path) for name, path in (dataset.derivatives or {}).items()},
                    "command": command,
                },
            },
            outputs=("tree",),
            label=f"sub-{participant}: report",
            mem_gb=1.0,
        )
    )
    trees.append(Output(steps[-1].name, "tree"))
    return ParticipantPlan(participant, tuple(steps), tuple(trees), decoder_of)


def _sidecar(recording: Recording) -> Path | None:
    """The JSON beside a confounds table, which says what its components were computed from."""
    beside = None if recording.confounds is None else sidecar(recording.confounds)
    return beside if beside is not None and beside.is_file() else None


def _node(*parts: str) -> str:
    return "__".join(re.sub(r"\W", "_", part) for part in parts)


class _TaskPlan:
    """Steps of one participant and task."""

    def __init__(
        self, task: TaskInput, dataset: Dataset, settings: Settings, device: str, work_dir: Path, memory_gb: float
    ) -> None:
        self.task, self.dataset, self.settings, self.device = task, dataset, settings, device
        self.memory_gb = memory_gb
        self.steps: list[Step] = []
        self.trees: list[Output] = []
        self.decoder_of: dict[str, str] = {}
        self.pictures: list[tuple[list[str], Output]] = []
        first = task.recordings[0]
        self.scope = {
            "participant": task.participant, "task": task.task, "space": first.space, "resolution": first.resolution,
        }  # fmt: skip
        self.digests = fingerprints(
            path
            for recording in task.recordings
            for path in (recording.bold, recording.mask, recording.confounds, _sidecar(recording), recording.events)
            if path is not None
        )
        start = Path(work_dir) / "inputs" / self.name("files")
        columns = ["recording", "run", "session", "onset", "duration", "trial_type", "stimulus_id", "split", "role"]
        self.trials = files.save_table(start / "trials.tsv", task.trials[columns])
        self.latents = files.save_latents(start / "latents.npz", task.latents)
        self.cross_validate = settings.inputs.cross_validate
        self.generator, self.generator_notice = choose_generator(task, settings)

    def name(self, *parts: str) -> str:
        return _node(f"sub_{self.task.participant}", self.task.task, *parts)

    def _add(self, name: str, function: str, label: str, **step: Any) -> str:
        title = f"sub-{self.task.participant} {self.task.task}: {label}"
        self.steps.append(Step(name=name, target=f"{STEPS}:{function}", label=title, **step))
        if "tree" in step["outputs"]:
            self.trees.append(Output(name, "tree"))
        return name

    def _recording(self, recording: Recording, *kinds: str) -> dict[str, Any]:
        """A recording as parameters: with digests of those of its files that the step reads."""
        found = {kind: getattr(recording, kind) for kind in kinds}
        if "confounds" in kinds:
            found["confounds_json"] = _sidecar(recording)
        return {
            **recording.to_dict(),
            "label": recording.label,
            "digests": {kind: self.digests[str(path)] for kind, path in found.items() if path is not None},
        }

    def provenance(self, *sections: str, decoder: str | None = None) -> dict[str, Any]:
        """Sources, the digest of all that was read, and the digest of the settings that can change the output."""
        uris = [self._uri(path) for recording in self.task.recordings for path in (recording.bold, recording.events)]
        declared = self.task.declaration.get("File")
        if declared and decoder is not None:
            uris.append(f"bids:raw:stimuli/{str(declared).removeprefix('bids::stimuli/')}")
        whole = dict(zip([self._uri(Path(path)) for path in self.digests], self.digests.values(), strict=True))
        whole["trials"] = checksum(self.trials)
        settings = self.settings
        if decoder is not None:
            whole["latents"] = checksum(self.latents)
            if settings.select.mask is not None:
                whole["mask"] = checksum(settings.select.mask)
            settings = replace(settings, decode=replace(settings.decode, decoder=(decoder,)))
        return {
            "sources": list(dict.fromkeys(uris)),
            "inputs": hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12],
            "settings": settings.digest(*sections),
            "seed": self.settings.evaluate.random_seed,
        }

    def _uri(self, path: Path) -> str:
        for name, folder in [*(self.dataset.derivatives or {}).items(), ("raw", self.dataset.root)]:
            if path.is_relative_to(folder):
                return f"bids:{name}:{path.relative_to(folder).as_posix()}"
        return path.name

    def add_responses(self) -> None:
        """Designs, voxels, one fit a run, and the runs together."""
        glm = identity_of(self.settings.glm)
        recordings = self.task.recordings
        designs = self._add(
            self.name("designs"), "build_designs", "designs",
            inputs={"trials": self.trials},
            params={"recordings": [self._recording(item, "confounds") for item in recordings], "glm": glm},
            outputs=("designs", "summary"),
        )  # fmt: skip
        voxels = self._add(
            self.name("voxels"), "find_voxels", "brain mask",
            params={
                "recordings": [self._recording(item, "mask" if item.mask else "bold") for item in recordings],
                "space": self.scope["space"],
            },
            outputs=("grid", "notices"),
        )  # fmt: skip
        shared = {
            "designs": Output(designs, "designs"), "summary": Output(designs, "summary"),
            "grid": Output(voxels, "grid"),
        }  # fmt: skip
        fits = [
            self._add(
                self.name("fit", recording.label), "fit_run", f"GLM {recording.label}",
                inputs=shared,
                params={"recording": self._recording(recording, "bold"), "index": index, "glm": glm},
                limits={"n_passes": n_passes(self.task, index, self.settings, self.memory_gb)},
                outputs=("responses",),
                mem_gb=min(fit_memory(self.task, index, self.settings), max(self.memory_gb, LEAST_GB)),
            )
            for index, recording in enumerate(recordings)
        ]  # fmt: skip
        self._add(
            self.name("pool"), "pool_runs", "responses",
            inputs={
                "trials": self.trials, **shared, "voxel_notices": Output(voxels, "notices"),
                "responses": tuple(Output(fit, "responses") for fit in fits),
            },
            params={
                "scope": self.scope, "glm": glm, "maps": self.settings.output.maps,
                "provenance": self.provenance("inputs", "glm"),
            },
            outputs=("values", "samples", "grid", "facts", "tree"),
            mem_gb=pool_memory(self.task),
        )  # fmt: skip

    def add_decoders(self) -> None:
        """For each decoder: decode, refit for the null, draw, evaluate."""
        for decoder in self.settings.decode.decoder:
            before = len(self.steps)
            self._add_decoder(decoder)
            self.decoder_of.update({step.name: decoder for step in self.steps[before:]})

    def _add_decoder(self, decoder: str) -> None:
        model = model_label(decoder)
        pool = self.name("pool")
        responses = {name: Output(pool, name) for name in ("values", "samples", "grid")}
        chosen = {
            "decoder": decoder,
            "decode": identity_of(replace(self.settings.decode, decoder=())),
            "select": {**identity_of(self.settings.select), "mask": _text(self.settings.select.mask)},
            "cross_validate": self.cross_validate,
        }
        if self.settings.select.mask is not None:
            chosen["select"]["mask_digest"] = checksum(self.settings.select.mask)
        memory = decode_memory(self.task, self.settings)
        sections = ("inputs", "glm", "select", "decode")
        decoded = self._add(
            self.name("decode", model), "decode_latents", f"decoding with {decoder}",
            inputs={**responses, "responses_facts": Output(pool, "facts"), "latents": self.latents},
            params={**chosen, "scope": self.scope, "provenance": self.provenance(*sections, decoder=decoder)},
            outputs=("rows", "predicted", "guesses", "facts", "tree"),
            mem_gb=memory,
        )  # fmt: skip
        predictions = {
            "rows": Output(decoded, "rows"), "predicted": Output(decoded, "predicted"),
            "samples": Output(pool, "samples"), "latents": self.latents,
        }  # fmt: skip
        picture = self._picture()
        paths = {label: str(path) for label, path in self.task.image_files.items() if label in self._tested()}
        digests = fingerprints(Path(path) for path in paths.values())
        attributes = [os.path.abspath(path) for path in self.settings.evaluate.attributes]
        extra: dict[str, Any] = {"guesses": Output(decoded, "guesses"), "decoder_facts": Output(decoded, "facts")}
        if self.cross_validate:
            null = self._add(
                self.name("null", model), "refit_null", f"null distribution of {decoder}",
                inputs={**responses, "latents": self.latents},
                params={
                    **chosen, "n_permutations": self.settings.evaluate.n_permutations, "picture": picture,
                    "stimulus_paths": paths, "attributes": attributes, "seed": self.settings.evaluate.random_seed,
                },
                identity={**digests, **fingerprints(Path(path) for path in attributes)},
                outputs=("draws", "facts"),
                mem_gb=memory + 1.0,
            )  # fmt: skip
            extra.update({"draws": Output(null, "draws"), "null_facts": Output(null, "facts")})
        if picture:
            drawn = self._add(
                self.name("pictures", model), "reconstruct", f"reconstructions of {decoder}",
                inputs=predictions,
                params={
                    "decoder": decoder, "picture": picture, "stimulus_files": self._stimulus_files(paths),
                    "scope": self.scope, "provenance": self.provenance(*sections, "generate", decoder=decoder),
                },
                outputs=("pictures", "tree"),
                mem_gb=1.2,
            )  # fmt: skip
            extra["pictures"] = Output(drawn, "pictures")
            self.pictures.append(([self.task.task, model], extra["pictures"]))
        self._add(
            self.name("evaluate", model), "evaluate", f"evaluation of {decoder}",
            inputs={**predictions, **extra},
            params={
                "decoder": decoder, "cross_validated": bool(self.cross_validate), "picture": picture,
                "declaration": self.task.declaration, "stimulus_paths": paths,
                "attributes": attributes,
                "n_permutations": self.settings.evaluate.n_permutations, "scope": self.scope,
                "provenance": self.provenance(*sections, "generate", "evaluate", decoder=decoder),
            },
            identity={**digests, **fingerprints(Path(path) for path in attributes)},
            outputs=("tree",),
            mem_gb=1.2,
        )  # fmt: skip

    def _tested(self) -> set[str]:
        samples = self.task.trials[self.task.trials["role"] == "sample"]
        return set(samples.loc[samples["split"] != "train", "stimulus_id"])

    def check_named(self) -> None:
        """Find out before the GLM whether generator, attributes and mask fit this task.

        Raises
        ------
        HyperError
        """
        n_latents = self.task.latents.n_latents
        if self.generator is not None:
            make_generator(
                self.generator,
                space=self.task.space,
                n_latents=n_latents,
                declaration=self.task.declaration.get("Generator") or {},
                weights=self.settings.generate.weights,
                device="cpu",
            )
        read_directions([Path(path) for path in self.settings.evaluate.attributes], n_latents)
        header = read_header(self.task.recordings[0].bold)
        if self.settings.select.mask is not None:
            check_user_mask(self.settings.select.mask, header.shape[:3], header.affine)

    def _picture(self) -> dict[str, Any] | None:
        if self.generator is None:
            return None
        weights = self.settings.generate.weights
        return {
            "generator": self.generator, "declaration": self.task.declaration, "device": self.device,
            "weights": _text(weights), "weights_digest": _weights_digest(weights),
        }  # fmt: skip

    def _stimulus_files(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Path of each picture relative to ``stimuli/``."""
        found = {}
        for label, path in paths.items():
            folders = stimuli_folders(self.dataset.root, self.settings.inputs.overlay)
            inside = [folder for folder in folders if Path(path).is_relative_to(folder)]
            found[label] = Path(path).relative_to(inside[0]).as_posix() if inside else Path(path).name
        return found

    def context(self) -> dict[str, Any]:
        """What the report says about this task besides the stages' own facts."""
        samples = self.task.trials[self.task.trials["role"] == "sample"]
        counts = self.task.trials.groupby(["trial_type", "role"]).size()
        tested = self._tested()
        return {
            "task": self.task.task,
            "scope": self.scope,
            "latent_space": self.task.space,
            "models": [
                {"decoder": name, "model": model_label(name)} for name in self.settings.decode.decoder
            ],
            "generator": self.generator,
            "generator_notice": self.generator_notice,
            "stimulus_paths": {
                label: str(path) for label, path in self.task.image_files.items() if label in tested
            },
            "notices": list(self.task.notices),
            "cross_validate": self.cross_validate,
            "recordings": [self._recording(recording, "bold") for recording in self.task.recordings],
            "n_train": int((samples["split"] == "train").sum()),
            "n_test": int((samples["split"] == "test").sum()),
            "n_samples_by_trial_type": {f"{kind} ({role})": int(n) for (kind, role), n in counts.items()},
        }


def choose_generator(task: TaskInput, settings: Settings) -> tuple[str | None, str]:
    """Return the generator's name, or None and why there are no pictures."""
    wanted, weights = settings.generate.generator, settings.generate.weights
    declared = (task.declaration.get("Generator") or {}).get("Name")
    if wanted == "none":
        return None, "No pictures: --generator none was asked for."
    if wanted is not None:
        return wanted, ""
    if declared is None:
        return None, (
            f"No pictures: latent space {task.space} names no generator in the events sidecar, "
            "and no --generator was given."
        )
    if not built_in(declared) and ":" not in declared:
        return None, f"No pictures: generator {declared!r} of latent space {task.space} is not built in."
    if ":" in declared:
        return None, (
            f"No pictures: code named in a dataset ({declared}) is not run; pass --generator {declared} to allow it."
        )
    if declared == "eigenface" and weights is None:
        return None, f"No pictures: generator eigenface of latent space {task.space} needs --weights."
    return declared, ""


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _weights_digest(weights: Path | None) -> str | None:
    if weights is None or not weights.exists():
        return None
    if weights.is_file():
        return checksum(weights)
    listing = sorted(os.path.join(folder, name) for folder, _, names in os.walk(weights) for name in names)
    return hashlib.sha256(json.dumps([(name, checksum(Path(name))) for name in listing]).encode()).hexdigest()


