"""The plan of one task of a participant: its name, the files it starts from, its steps and what they were made from.

What the steps are is said stage by stage: `task_checks`, `task_responses`, `task_selection`,
`task_decoders`, and for the report `task_report`, each a function that is given the plan.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.derivatives.tree import checksum
from hyper_bids.derivatives.write import write_npz
from hyper_bids.inputs.recording import Dataset, Recording
from hyper_bids.inputs.response_maps import ResponseMap
from hyper_bids.inputs.task import TaskInput
from hyper_bids.settings import Settings, replace
from hyper_bids.workflow import files
from hyper_bids.workflow.feature_networks import chosen_in
from hyper_bids.workflow.fingerprints import confounds_sidecar, files_of, fingerprints
from hyper_bids.workflow.generator_choice import choose_generator
from hyper_bids.workflow.plan import Output, Source, Step

STEPS = "hyper_bids.workflow.steps"


def node(*parts: str) -> str:
    """Return the name of a step."""
    return "__".join(re.sub(r"\W", "_", part) for part in parts)


class TaskPlan:
    """Steps of one participant and task; the stages add to it.

    Parameters
    ----------
    task, dataset, settings : what was loaded, and what was asked for
    device : ``cpu`` or ``cuda``
    work_dir : where the small files that the steps start from are written (under ``inputs/``)
    memory_gb : limit for one process

    Attributes
    ----------
    steps, trees : the steps so far, and which of their outputs are published
    trials, stimuli, latents : what the steps start from; latents that are computed are a step's output
    other_spaces : further latent spaces of the same stimuli, an input of the evaluation, or nothing
    scope : entities of every output's name
    generator, generator_notice : its name, or None and why
    features : feature networks to compare pictures by
    """

    def __init__(
        self, task: TaskInput, dataset: Dataset, settings: Settings, device: str, work_dir: Path, memory_gb: float
    ) -> None:
        self.task, self.dataset, self.settings, self.device = task, dataset, settings, device
        self.memory_gb = memory_gb
        self.steps: list[Step] = []
        self.trees: list[Output] = []
        self.scope = {
            "participant": task.participant, "task": task.task, "space": task.first.space,
            "resolution": task.first.resolution,
        }  # fmt: skip
        self.digests = fingerprints(path for run in task.runs for path in files_of(run))
        self.generator, self.generator_notice = choose_generator(task, settings)
        self.features = chosen_in(settings)
        self.latents: Source
        self.other_spaces: dict[str, Source] = {}
        self._write_starting_files(Path(work_dir) / "inputs" / self.name("files"))

    def _write_starting_files(self, folder: Path) -> None:
        task = self.task
        columns = ["recording", "run", "session", "onset", "duration", "trial_type", "stimulus_id", "split", "role"]
        columns += [name for name in ("volume", "n_repeats") if task.maps]
        self.trials = files.save_table(folder / "trials.tsv", task.trials[columns])
        self.stimuli = files.save_table(folder / "stimuli.tsv", task.stimuli)
        if task.latents is not None:
            self.latents = files.save_latents(folder / "latents.npz", task.latents)
        if task.other_spaces:
            arrays = {f"of_{name}": other.values for name, other in task.other_spaces.items()}
            arrays["stimuli"] = np.array(next(iter(task.other_spaces.values())).stimuli)
            self.other_spaces = {"other_spaces": write_npz(folder / "spaces.npz", arrays)}

    @property
    def cross_validate(self) -> str | None:
        return self.settings.inputs.cross_validate

    @property
    def parametric(self) -> bool:
        """Whether one model over all runs takes the place of single-trial responses."""
        return self.settings.glm.glm == "parametric"

    @property
    def seed(self) -> int:
        return self.settings.evaluate.random_seed

    def name(self, *parts: str) -> str:
        """Name of a step of this task."""
        return node(f"sub_{self.task.participant}", self.task.task, *parts)

    def output(self, step: str, *names: str) -> dict[str, Source]:
        """Outputs of a step of this task, by their own names, as inputs of another."""
        return {name: Output(self.name(step), name) for name in names}

    def add(self, name: str, function: str, label: str, **step: Any) -> str:
        """Add a step that calls one of `hyper_bids.workflow.steps`; return its name."""
        title = f"sub-{self.task.participant} {self.task.task}: {label}"
        self.steps.append(Step(name=name, target=f"{STEPS}:{function}", label=title, **step))
        if "tree" in step["outputs"]:
            self.trees.append(Output(name, "tree"))
        return name

    def tested(self) -> set[str]:
        """Labels of the stimuli whose latents are predicted."""
        samples = self.task.trials[self.task.trials["role"] == "sample"]
        return set(samples.loc[samples["split"] != "train", "stimulus_id"])

    def recording(self, recording: Recording | ResponseMap, *kinds: str) -> dict[str, Any]:
        """A recording or map as parameters: with digests of those of its files that the step reads."""
        found = {kind: getattr(recording, kind) for kind in kinds}
        if "confounds" in kinds:
            found["confounds_json"] = confounds_sidecar(recording)
        return {
            **recording.to_dict(),
            "label": recording.label,
            "digests": {kind: self.digests[str(path)] for kind, path in found.items() if path is not None},
        }

    def provenance(self, *sections: str, decoder: str | None = None) -> dict[str, Any]:
        """Sources, the digest of all that was read, and the digest of the settings that can change the output.

        Parameters
        ----------
        sections : of the settings
        decoder : whose output it is, ``""`` where it is made of the latents for all decoders; None: before latents
        """
        uris = [self._uri(path) for run in self.task.runs for path in files_of(run)[:2]]
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
            "seed": self.seed,
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
