"""A small BIDS dataset, written by hand, for the tests of what is read."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

from hyper_bids.inputs.dataset import open_dataset
from hyper_bids.inputs.task import load_task
from hyper_bids.settings import InputSettings

TR, N_VOLUMES = 1.5, 40
ROWS = [("0", "1", "train", "a"), ("6", "1", "train", "b"), ("12", "1", "test", "c"), ("18", "1", "rest", "n/a")]
SPLIT = {"Train": ["train"], "Test": ["test"], "Ignore": ["rest"]}


def write_bold(path: Path, n_volumes: int = N_VOLUMES, seconds: float = TR, unit: str = "sec") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4, n_volumes), np.int16), np.eye(4))
    image.header.set_zooms((3, 3, 3, seconds))
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, path)


def write_json(path: Path, **content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_events(path: Path, rows=ROWS, columns=("onset", "duration", "trial_type", "stim_id")) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(row) for row in [columns, *rows]) + "\n")


class Sample:
    """Two participants, one of them with two sessions' worth of names; latents of stimuli a to d."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_json(root / "dataset_description.json", Name="small", BIDSVersion="1.9.0")
        write_json(root / "task-faces_bold.json", RepetitionTime=TR, TaskName="faces")
        self.declare()
        (root / "stimuli/latents").mkdir(parents=True)
        np.save(root / "stimuli/latents/z.npy", np.arange(12.0).reshape(4, 3))
        (root / "stimuli/latents/z.tsv").write_text("stimulus_id\na\nb\nc\nd\n")
        for participant in ("01", "02"):
            for run in ("1", "2"):
                write_bold(self.stem(participant, run, "bold.nii.gz"))
                write_events(self.stem(participant, run, "events.tsv"))

    def stem(self, participant: str, run: str, ending: str) -> Path:
        return self.root / f"sub-{participant}/func/sub-{participant}_task-faces_run-{run}_{ending}"

    def declare(self, where: str = "task-faces_events.json", **content) -> None:
        latents = {"StimulusLatents": {"z": {"File": "latents/z.npy", "Dimension": 3}}, "StimulusSplit": SPLIT}
        write_json(self.root / where, **{**latents, **content})

    def events(self, rows, **kwargs) -> None:
        for participant in ("01", "02"):
            for run in ("1", "2"):
                write_events(self.stem(participant, run, "events.tsv"), rows, **kwargs)

    def preprocess(self, folder: str = "derivatives/fmriprep", space: str = "T1w", table: str = "timeseries") -> Path:
        """fMRIPrep's layout: 20.2's names with ``timeseries``, older ones with ``regressors``."""
        root = self.root / folder
        entity = f"_space-{space}" if space else ""
        for participant in ("01", "02"):
            for run in ("1", "2"):
                stem = root / f"sub-{participant}/func/sub-{participant}_task-faces_run-{run}"
                write_bold(Path(f"{stem}{entity}_desc-preproc_bold.nii.gz"))
                write_bold(Path(f"{stem}{entity}_desc-brain_mask.nii.gz"))
                Path(f"{stem}_desc-confounds_{table}.tsv").write_text("trans_x\n0\n")
        return root

    def open(self, inputs: InputSettings | None = None, **options):
        return open_dataset(self.root, inputs or InputSettings(), **options)

    def load(self, inputs: InputSettings | None = None):
        inputs = inputs or InputSettings()
        return load_task(self.open(inputs, participants=["01"]), "01", "faces", inputs)
