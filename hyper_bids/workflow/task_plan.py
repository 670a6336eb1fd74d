"""The plan of one task of a participant: which steps make its results, as data."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.derivatives.names import model_label
from hyper_bids.derivatives.tree import checksum
from hyper_bids.derivatives.write import write_npz
from hyper_bids.evaluate.image_protocols import PROTOCOLS
from hyper_bids.generate import BY_CONTENT, architecture_of, built_in, make_generator, needs_weights, weight_files
from hyper_bids.inputs.atlas import atlas_files, parse_roi
from hyper_bids.inputs.attributes import read_directions
from hyper_bids.inputs.confounds import sidecar
from hyper_bids.inputs.grey_matter import find_grey_matter
from hyper_bids.inputs.locate import stimuli_folders
from hyper_bids.inputs.mask_files import find_masks
from hyper_bids.inputs.masks import check_user_mask
from hyper_bids.inputs.recording import Dataset, Recording
from hyper_bids.inputs.response_maps import ResponseMap
from hyper_bids.inputs.task import TaskInput
from hyper_bids.inputs.volumes import read_header
from hyper_bids.settings import Settings, identity_of, replace
from hyper_bids.workflow import files
from hyper_bids.workflow.feature_networks import chosen_in, identity
from hyper_bids.workflow.latent_encoders import dand_weights, feature_network, wanted_features
from hyper_bids.workflow.memory import (
    LEAST_GB,
    PARAMETRIC_PARTS,
    decode_memory,
    features_memory,
    fit_memory,
    n_passes,
    parametric_memory,
    parametric_passes,
    picture_memory,
    pool_memory,
)
from hyper_bids.workflow.plan import Output, Source, Step
from hyper_bids.workflow.steps.decoding import LAYER_DECODERS

STEPS = "hyper_bids.workflow.steps"
SAME_CONTENT = "have the same content as one to train on"
"""What `inputs.task` says where a picture is in both sets under two names."""


def fingerprints(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files' content, several at once: ``{path: digest}``."""
    wanted = sorted({str(path) for path in paths})
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(wanted, pool.map(lambda path: checksum(Path(path)), wanted), strict=True))


def node(*parts: str) -> str:
    """Return the name of a step."""
    return "__".join(re.sub(r"\W", "_", part) for part in parts)


def _files(run: Recording | ResponseMap) -> list[Path]:
    """What is read of a run, the two that results are said to come from first."""
    if isinstance(run, ResponseMap):
        found = [run.image, run.table, run.mask]
    else:
        found = [run.bold, run.events, run.mask, run.confounds, _sidecar(run)]
    return [path for path in found if path is not None]


def _sidecar(recording: Recording | ResponseMap) -> Path | None:
    """The JSON beside a confounds table, which says what its components were computed from."""
    table = getattr(recording, "confounds", None)
    beside = None if table is None else sidecar(table)
    return beside if beside is not None and beside.is_file() else None


class TaskPlan:
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
        self.pixels = 128  # height of the generator's images, once it is known
        self.scope = {
            "participant": task.participant, "task": task.task, "space": task.first.space,
            "resolution": task.first.resolution,
        }  # fmt: skip
        self.digests = fingerprints(path for run in task.runs for path in _files(run))
        start = Path(work_dir) / "inputs" / self.name("files")
        columns = ["recording", "run", "session", "onset", "duration", "trial_type", "stimulus_id", "split", "role"]
        columns += [name for name in ("volume", "n_repeats") if task.maps]
        self.trials = files.save_table(start / "trials.tsv", task.trials[columns])
        self.stimuli = files.save_table(start / "stimuli.tsv", task.stimuli)
        self.latents: Source
        if task.latents is not None:
            self.latents = files.save_latents(start / "latents.npz", task.latents)
        self.other_spaces: dict[str, Source] = {}
        if task.other_spaces:
            arrays = {f"of_{name}": other.values for name, other in task.other_spaces.items()}
            arrays["stimuli"] = np.array(next(iter(task.other_spaces.values())).stimuli)
            self.other_spaces = {"other_spaces": write_npz(start / "spaces.npz", arrays)}
        self.cross_validate = settings.inputs.cross_validate
        self.generator, self.generator_notice = choose_generator(task, settings)
        self.parametric = settings.glm.glm == "parametric"
        self.features = chosen_in(settings)
        self.masks: dict[str, str] = {}

    def name(self, *parts: str) -> str:
        return node(f"sub_{self.task.participant}", self.task.task, *parts)

    def _add(self, name: str, function: str, label: str, **step: Any) -> str:
        title = f"sub-{self.task.participant} {self.task.task}: {label}"
        self.steps.append(Step(name=name, target=f"{STEPS}:{function}", label=title, **step))
        if "tree" in step["outputs"]:
            self.trees.append(Output(name, "tree"))
        return name

    def _recording(self, recording: Recording | ResponseMap, *kinds: str) -> dict[str, Any]:
        """A recording or map as parameters: with digests of those of its files that the step reads."""
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
        uris = [self._uri(path) for run in self.task.runs for path in _files(run)[:2]]
        declared = self.task.declaration.get("File")
        if declared and decoder is not None:
            uris.append(f"bids:raw:stimuli/{str(declared).removeprefix('bids::stimuli/')}")
        whole = dict(zip([self._uri(Path(path)) for path in self.digests], self.digests.values(), strict=True))
        whole["trials"] = checksum(self.trials)
        settings = self.settings
        if decoder is not None:
            whole.update(self._latents_digest())
            if settings.select.mask is not None:
                whole["mask"] = checksum(settings.select.mask)
            if decoder:
                settings = replace(settings, decode=replace(settings.decode, decoder=(decoder,)))
        return {
            "sources": list(dict.fromkeys(uris)),
            "inputs": hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12],
            "settings": settings.digest(*sections),
            "seed": self.settings.evaluate.random_seed,
        }

    def _latents_digest(self) -> dict[str, str]:
        if isinstance(self.latents, Path):
            return {"latents": checksum(self.latents)}
        digests = fingerprints(self.task.image_files.values())
        return {f"image {label}": digests[str(path)] for label, path in self.task.image_files.items()}

    def _uri(self, path: Path) -> str:
        for name, folder in [*(self.dataset.derivatives or {}).items(), ("raw", self.dataset.root)]:
            if path.is_relative_to(folder):
                return f"bids:{name}:{path.relative_to(folder).as_posix()}"
        return path.name

    # --- responses

    def add_responses(self) -> None:
        """Make, or read, what is decoded: one step called ``pool`` gives it, whatever it comes from."""
        if self.task.latents is None:
            self._add_encoder()
        if self.task.maps:
            self._add_given_responses()
        elif self.parametric:
            self._add_parametric()
        else:
            self._add_trial_responses()

    def _add_encoder(self) -> None:
        inputs, weights = self.settings.inputs, self.settings.generate.weights
        images = {label: str(path) for label, path in sorted(self.task.image_files.items())}
        needs, read = {}, {}
        if inputs.encoder == "dand":
            network = feature_network(self.features, wanted_features(dand_weights(weights))[0])
            needs, read = {"features": network.params(self.device)}, identity([network])
        if inputs.encoder in ("dand", "vaegan"):
            needs |= {"weights": _text(weights), "device": self.device}
            read |= {"weights": _weights_digest(weights)}
        name = self._add(
            self.name("encode"), "encode_stimuli", f"latents of the stimuli by {inputs.encoder}",
            inputs={"trials": self.trials},
            params={
                "encoder": inputs.encoder, "n_components": inputs.n_components, "image_size": inputs.image_size,
                "images": images, **needs,
            },
            identity={**fingerprints(Path(path) for path in images.values()), **read},
            outputs=("latents", "weights", "facts"),
            mem_gb=1.0 + features_memory([item.file for item in self.features] if "features" in needs else []),
        )  # fmt: skip
        self.latents = Output(name, "latents")

    def _add_design_and_voxels(self, function: str, **inputs: Source) -> dict[str, Source]:
        recordings = self.task.recordings
        designs = self._add(
            self.name("designs"), function, "designs",
            inputs={"trials": self.trials, **inputs},
            params={
                "recordings": [self._recording(item, "confounds") for item in recordings],
                "glm": identity_of(self.settings.glm),
            },
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
        return {
            "designs": Output(designs, "designs"), "summary": Output(designs, "summary"),
            "grid": Output(voxels, "grid"), "voxel_notices": Output(voxels, "notices"),
        }  # fmt: skip

    def _add_trial_responses(self) -> None:
        """Designs, voxels, one fit a run, and the runs together."""
        glm, recordings = identity_of(self.settings.glm), self.task.recordings
        shared = self._add_design_and_voxels("build_designs")
        notices = shared.pop("voxel_notices")
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
                "trials": self.trials, **shared, "voxel_notices": notices,
                "responses": tuple(Output(fit, "responses") for fit in fits),
            },
            params={
                "scope": self.scope, "glm": glm, "maps": self.settings.output.maps,
                "provenance": self.provenance("inputs", "glm"),
            },
            outputs=("values", "samples", "grid", "facts", "tree"),
            mem_gb=pool_memory(self.task),
        )  # fmt: skip

    def _add_parametric(self) -> None:
        """Designs, voxels, sums over parts of the runs, and one model over all of them."""
        glm, recordings = identity_of(self.settings.glm), self.task.recordings
        shared = self._add_design_and_voxels("build_parametric_designs", latents=self.latents)
        notices = shared.pop("voxel_notices")
        memory = parametric_memory(self.task)
        parts = []
        # as many parts as there are runs to share, and never more for more processes: sums must not depend on them
        n_parts = min(PARAMETRIC_PARTS, len(recordings))
        for number in range(n_parts):
            indices = list(range(number, len(recordings), n_parts))
            parts.append(
                self._add(
                    self.name("sums", f"{number:02d}"), "add_runs", f"sums over {len(indices)} runs, part {number + 1}",
                    inputs=shared,
                    params={
                        "recordings": [self._recording(recordings[k], "bold") for k in indices], "indices": indices,
                    },
                    limits={"n_passes": parametric_passes(self.task, self.memory_gb)},
                    outputs=("products", "sums"),
                    mem_gb=min(memory, max(self.memory_gb, LEAST_GB)),
                )
            )  # fmt: skip
        self._add(
            self.name("pool"), "solve_parametric", "parametric model",
            inputs={
                "trials": self.trials, **shared, "voxel_notices": notices,
                "products": tuple(Output(part, "products") for part in parts),
                "sums": tuple(Output(part, "sums") for part in parts),
            },
            params={
                "scope": self.scope, "glm": glm, "maps": self.settings.output.maps, "space": self.task.space,
                "provenance": self.provenance("inputs", "glm", decoder=""),
            },
            outputs=("values", "samples", "grid", "weights", "statistics", "facts", "tree"),
            mem_gb=LEAST_GB + 0.5,
        )  # fmt: skip

    def _add_given_responses(self) -> None:
        self._add(
            self.name("pool"), "read_responses", "responses that were given",
            inputs={"trials": self.trials},
            params={
                "maps": [self._recording(item, "image", "mask") for item in self.task.maps],
                "scope": self.scope, "provenance": self.provenance("inputs"),
            },
            outputs=("values", "samples", "grid", "designs", "facts", "tree"),
            mem_gb=pool_memory(self.task),
        )  # fmt: skip

    def told(self) -> dict[str, Output]:
        """What the report reads of the stages besides what they publish."""
        found = {
            "facts": Output(self.name("pool"), "facts"),
            "designs": Output(self.name("pool" if self.task.maps else "designs"), "designs"),
            "selection": Output(self.name("select"), "facts"),
        }
        made = {step.name for step in self.steps}
        for name, step in (("reliability", "reliability"), ("encoding", "encode")):
            if self.name(step) in made:  # for all tasks or for none: that is a setting
                found[name] = Output(self.name(step), "facts")
        return found

    # --- selection

    def _grey_matter(self) -> tuple[Path | None, tuple[str, ...]]:
        """The grey-matter map that lies beside the preprocessed BOLD, and why there is none."""
        space, said = self.scope["space"], ()
        for folder in (self.dataset.derivatives or {}).values():
            path, said = find_grey_matter(folder, self.task.participant, space, self.settings.inputs.session_label)
            if path is not None:
                return path, said
        return None, said or ("Grey matter: there are no preprocessed data to look for a tissue map in.",)

    def add_selection(self) -> None:
        """Choose the voxels of every fold, once for all decoders."""
        select = self.settings.select
        pool = self.name("pool")
        inputs: dict[str, Source] = {name: Output(pool, name) for name in ("values", "samples", "grid")}
        if self.parametric:
            inputs["statistics"] = Output(pool, "statistics")
        elif select.select == "gain":
            inputs["latents"] = self.latents
        self._add(
            self.name("select"), "select_voxels", f"voxels by {select.select}",
            inputs=inputs,
            params={
                **self._selection(), "scope": self.scope,
                "provenance": self.provenance("inputs", "glm", "select", decoder=""),
            },
            outputs=("voxels", "facts", "tree"),
            mem_gb=decode_memory(self.task, self.settings),
        )  # fmt: skip
        if self.settings.evaluate.reliability and not self.parametric:
            self._add(
                self.name("reliability"), "measure_reliability", "reliability of the recordings",
                inputs={name: Output(pool, name) for name in ("values", "samples", "grid")}
                | {"voxels": Output(self.name("select"), "voxels")},
                params={
                    "scope": self.scope, "seed": self.settings.evaluate.random_seed,
                    "provenance": self.provenance("inputs", "glm", "select", decoder=""),
                },
                outputs=("facts", "tree"),
                mem_gb=LEAST_GB + 0.6,
            )  # fmt: skip
        if not self.task.maps:
            self._add_carpet()

    def _add_carpet(self) -> None:
        """One run as a picture: the file is read once more, so only the first run's is."""
        recordings = self.task.recordings
        self._add(
            self.name("carpet"), "draw_carpet", f"carpet plot of {recordings[0].label}",
            inputs={"grid": Output(self.name("pool"), "grid"), "voxels": Output(self.name("select"), "voxels")},
            params={
                "recording": self._recording(recordings[0], "bold", "confounds"), "n_recordings": len(recordings),
                "scope": self.scope,
            },
            outputs=("tree",),
        )  # fmt: skip

    def _selection(self) -> dict[str, Any]:
        select = self.settings.select
        chosen = {**identity_of(select), "mask": _text(select.mask)}
        if select.mask is not None:
            chosen["mask_digest"] = checksum(select.mask)
        if select.roi is not None:
            atlas, labels = parse_roi(select.roi)
            chosen["roi"] = f"{os.path.abspath(atlas)}:{','.join(labels)}"
            chosen["roi_digest"] = [checksum(path) for path in atlas_files(atlas)]
        if select.select == "gain":
            path, said = self._grey_matter()
            chosen |= {"grey_matter": _text(path), "grey_matter_said": list(said)}
            chosen["grey_matter_digest"] = None if path is None else checksum(path)
        return {
            "select": chosen, "cross_validate": self.cross_validate, "seed": self.settings.evaluate.random_seed,
        }  # fmt: skip

    def add_decoders(self) -> None:
        """For each decoder: decode, refit for the null, draw, evaluate."""
        for decoder in self.settings.decode.decoder:
            before = len(self.steps)
            self._add_decoder(decoder)
            self.decoder_of.update({step.name: decoder for step in self.steps[before:]})

    def _add_decoder(self, decoder: str) -> None:
        model, pool = model_label(decoder), self.name("pool")
        responses = {name: Output(pool, name) for name in ("values", "samples", "grid")}
        chosen = {
            "decoder": decoder,
            "decode": identity_of(replace(self.settings.decode, decoder=())),
            "cross_validate": self.cross_validate,
        }
        sections = ("inputs", "glm", "select", "decode")
        picture = self._picture()
        weights: dict[str, Source] = {}
        if picture and picture["generator"] == "eigenface" and self.task.latents is None:
            weights = {"generator_weights": Output(self.name("encode"), "weights")}
        given: dict[str, Source] = {**responses, "voxels": Output(self.name("select"), "voxels")}
        stated = {"responses_facts": Output(pool, "facts"), "latents": self.latents}
        loss_picture = picture if needs_generator(decoder, self.settings) else None
        params = {**chosen, "scope": self.scope, "provenance": self.provenance(*sections, decoder=decoder)}
        outputs = ("rows", "predicted", "guesses", "facts", "tree")
        memory = decode_memory(self.task, self.settings)
        if self.parametric:
            given |= {name: Output(pool, name) for name in ("weights", "statistics")}
            decoded = self._add(
                self.name("decode", model), "decode_parametric", f"decoding with {decoder}",
                inputs={**given, **stated, "trials": self.trials}, params=params, outputs=outputs, mem_gb=memory,
            )  # fmt: skip
        else:
            decoded = self._add(
                self.name("decode", model), "decode_latents", f"decoding with {decoder}",
                inputs={**given, **stated},
                params={
                    **params, "picture": loss_picture, "device": self.device,
                    "reliability": self.settings.evaluate.reliability,
                },
                outputs=outputs,
                mem_gb=memory,
            )  # fmt: skip
        predictions = {
            "rows": Output(decoded, "rows"), "predicted": Output(decoded, "predicted"),
            "guesses": Output(decoded, "guesses"), "latents": self.latents,
        }  # fmt: skip
        paths = {label: str(path) for label, path in self.task.image_files.items() if label in self._tested()}
        digests = fingerprints(Path(path) for path in paths.values())
        attributes = [os.path.abspath(path) for path in self.settings.evaluate.attributes]
        networks = [item.params(self.device) for item in self.features]
        extra: dict[str, Any] = {"decoder_facts": Output(decoded, "facts")}
        if self.cross_validate:
            null = self._add(
                self.name("null", model), "refit_null", f"null distribution of {decoder}",
                inputs={**given, **weights, "latents": self.latents, "stimuli": self.stimuli},
                params={
                    **chosen, **self._selection(), "n_permutations": self.settings.evaluate.n_permutations,
                    "picture": picture, "stimulus_paths": paths, "attributes": attributes, "device": self.device,
                    "features": networks,
                },
                identity={**digests, **fingerprints(Path(path) for path in attributes), **identity(self.features)},
                outputs=("draws", "further", "facts"),
                mem_gb=memory + 1.0,
            )  # fmt: skip
            extra.update({name: Output(null, name) for name in ("draws", "further")})
            extra["null_facts"] = Output(null, "facts")
        if self.settings.evaluate.learning_curve and not self.parametric:
            self._add(
                self.name("curve", model), "draw_learning_curve", f"learning curve of {decoder}",
                inputs={**responses, "latents": self.latents},
                params={
                    **params, **self._selection(), "device": self.device, "picture": loss_picture,
                    "provenance": self.provenance(*sections, "evaluate", decoder=decoder),
                },
                outputs=("tree",),
                mem_gb=memory,
            )  # fmt: skip
        if picture:
            drawn = self._add(
                self.name("pictures", model), "reconstruct", f"reconstructions of {decoder}",
                inputs={**predictions, **weights},
                params={
                    "decoder": decoder, "picture": picture, "stimulus_files": self._stimulus_files(paths),
                    "scope": self.scope, "provenance": self.provenance(*sections, "generate", decoder=decoder),
                },
                outputs=("pictures", "tree"),
                mem_gb=picture_memory(len(self._tested()), self.pixels),
            )  # fmt: skip
            extra["pictures"] = Output(drawn, "pictures")
            self.pictures.append(([self.task.task, model], extra["pictures"]))
        self._add(
            self.name("evaluate", model), "evaluate", f"evaluation of {decoder}",
            inputs={**predictions, **extra, **self.other_spaces, "stimuli": self.stimuli, "trials": self.trials},
            params={
                "decoder": decoder, "protocol": self.settings.evaluate.protocol, **self._audited(),
                "cross_validated": bool(self.cross_validate), "picture": picture,
                "declaration": self.task.declaration, "stimulus_paths": paths,
                "attributes": attributes, "features": networks, "masks": self.masks,
                "n_permutations": self.settings.evaluate.n_permutations, "scope": self.scope,
                "provenance": self.provenance(*sections, "generate", "evaluate", decoder=decoder),
            },
            identity={
                **digests, **fingerprints(Path(path) for path in [*attributes, *self.masks.values()]),
                **identity(self.features),
            },
            outputs=("tree",),
            mem_gb=picture_memory(len(self._tested()), self.pixels)
            + features_memory([item.file for item in self.features]),
        )  # fmt: skip
        null_draws = {"draws": extra["draws"]} if "draws" in extra else {}
        self._add(
            self.name("figures", model), "draw_evidence", f"figures of {decoder}",
            inputs={**predictions, **weights, **null_draws, "scores": Output(self.name("evaluate", model), "tree")},
            params={
                "decoder": decoder, "cross_validated": bool(self.cross_validate), "picture": picture,
                "declaration": self.task.declaration, "stimulus_paths": paths,
                "n_permutations": self.settings.evaluate.n_permutations,
                "seed": self.settings.evaluate.random_seed, "scope": self.scope,
            },
            identity=digests,
            outputs=("tree",),
            mem_gb=picture_memory(len(self._tested()), self.pixels),
        )  # fmt: skip

    def _audited(self) -> dict[str, Any]:
        """What the audits ask about besides the results: overlap by content, tuning, motion."""
        select, found = self.settings.select, [text for text in self.task.notices if SAME_CONTENT in text]
        return {
            "same_content": found if found or self.task.image_files else None,
            "recordings": [self._recording(item, "confounds") for item in self.task.recordings],
            "tuning": {
                "select": select.select, "mask": select.mask is not None, "roi": select.roi is not None,
                "encoder": None if self.settings.inputs.encoder == "vaegan" else self.settings.inputs.encoder,
                "parameters": bool(self.settings.decode.parameters),
            },
        }  # fmt: skip

    def _tested(self) -> set[str]:
        samples = self.task.trials[self.task.trials["role"] == "sample"]
        return set(samples.loc[samples["split"] != "train", "stimulus_id"])

    def check_named(self) -> None:
        """Find out before the GLM whether generator, attributes and masks fit this task.

        Raises
        ------
        HyperError
        """
        n_latents = self.task.n_latents
        if self.generator is not None and self.settings.inputs.encoder not in ("eigenface", "identity"):
            made = make_generator(
                self.generator,
                space=self.task.space,
                n_latents=n_latents,
                declaration=self.task.declaration.get("Generator") or {},
                weights=self.settings.generate.weights,
                device="cpu",
                **_generator_options(self.settings),
            )
            self.pixels = int(getattr(made, "resolution", self.pixels))
        read_directions([Path(path) for path in self.settings.evaluate.attributes], n_latents)
        folders = stimuli_folders(self.dataset.root, self.settings.inputs.overlay)
        protocol = PROTOCOLS.get(self.settings.evaluate.protocol or "")
        if protocol is not None and protocol.masked:
            found = find_masks(self.task.stimuli, sorted(self._tested()), folders)
            self.masks = {label: str(path) for label, path in found.items()}
        header = read_header(self.task.reference)
        if self.settings.select.mask is not None:
            check_user_mask(self.settings.select.mask, header.shape[:3], header.affine)

    def _picture(self) -> dict[str, Any] | None:
        if self.generator is None:
            return None
        weights = self.settings.generate.weights
        return {
            "generator": self.generator, "declaration": self.task.declaration, "device": self.device,
            "weights": _text(weights), "weights_digest": _weights_digest(weights),
            "options": _generator_options(self.settings),
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
            "maps": [self._recording(item, "image") for item in self.task.maps],
            "n_train": int((samples["split"] == "train").sum()),
            "n_test": int((samples["split"] == "test").sum()),
            "n_samples_by_trial_type": {f"{kind} ({role})": int(n) for (kind, role), n in counts.items()},
        }


def choose_generator(task: TaskInput, settings: Settings) -> tuple[str | None, str]:
    """Return the generator's name, or None and why there are no pictures.

    Weights that no name goes with say by their content which generator they are for.

    Raises
    ------
    MissingFiles, InconsistentInput
        The weights cannot be read, or are of no generator known here.
    """
    wanted, weights = settings.generate.generator, settings.generate.weights
    declared = (task.declaration.get("Generator") or {}).get("Name")
    if wanted == "none":
        return None, "No pictures: --generator none was asked for."
    if wanted == BY_CONTENT and weights is not None:
        return architecture_of(weights), ""
    if wanted is not None:
        return wanted, ""
    if declared is not None and ":" in declared:
        return None, (
            f"No pictures: code named in a dataset ({declared}) is not run; pass --generator {declared} to allow it."
        )
    if weights is not None and (declared is None or not built_in(declared)):
        return architecture_of(weights), ""
    if declared is None:
        return None, (
            f"No pictures: latent space {task.space} names no generator in the events sidecar, "
            "and no --generator was given."
        )
    if not built_in(declared):
        return None, f"No pictures: generator {declared!r} of latent space {task.space} is not built in."
    if needs_weights(declared) and weights is None and settings.inputs.encoder != "eigenface":
        return None, f"No pictures: generator {declared} of latent space {task.space} needs --weights."
    return declared, ""


def _generator_options(settings: Settings) -> dict[str, Any]:
    """How the network is run, as keywords of `make_generator`."""
    generate = settings.generate
    return {"resolution": generate.resolution, "precision": generate.precision, "truncation": generate.truncation}


def needs_generator(decoder: str, settings: Settings) -> bool:
    """Whether a decoder is trained on the activations of one of the generator's layers."""
    return settings.decode.loss_layer is not None and decoder in LAYER_DECODERS


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _weights_digest(weights: Path | None) -> str | None:
    """SHA-256 of the weights: of the one file, or of the names and digests of several."""
    found = [] if weights is None else weight_files(weights)
    if len(found) == 1 and weights is not None and weights.is_file():
        return checksum(found[0])
    listing = [(path.name, checksum(path)) for path in found]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest() if listing else None
