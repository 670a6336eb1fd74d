"""``hyper-tools import-hyper``: HYPER's published data as a dataset that ``--responses`` decodes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hyper_bids import __version__
from hyper_bids.data import VoxelGrid
from hyper_bids.derivatives.dataset import BIDS_VERSION, IGNORED
from hyper_bids.derivatives.tree import checksum
from hyper_bids.derivatives.write import write_json, write_text, write_tsv, write_volume, write_volumes
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.weights.hyper_data import HyperData, read_hyper_data
from hyper_bids.whole_files import writing
from hyper_bids.workflow.files import save_array

TASK, SPACE = "faces", "pgganZ"
RESPONSES = Path("derivatives", "responses")
STANDARD = (0.8, 1.25)
"""A standard deviation of the latents within these is taken for that of N(0, 1)."""


def import_hyper(files: Sequence[Path], out: Path) -> Path:
    """Write a BIDS dataset from one file per participant and return its folder; whole or not at all.

    Faces are named by their latents, so that participants who saw the same faces share them. Voxels have no place in
    these files: they stand in the images in the order of the file, and ``desc-brain_mask`` marks them.

    Parameters
    ----------
    files : ``data_1.dat`` is participant 01; files of other names are counted
    out : folder to make; may exist if it is empty

    Raises
    ------
    UsageError
        Two files for one participant, or a folder that holds something.
    MissingFiles, InconsistentInput
        As `read_hyper_data`; or the participants' latents have different dimensions.
    OutputNotWritable
    """
    if not files:
        raise UsageError("import-hyper needs at least one file, e.g. data_1.dat.")
    out = Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty; name another folder, or remove it first.")
    labels = _labels(files)
    data = {label: read_hyper_data(path) for label, path in labels.items()}
    widths = {labels[label].name: item.train_latents.shape[1] for label, item in data.items()}
    if len(set(widths.values())) > 1:
        raise InconsistentInput(f"The files have latents of different dimensions: {widths}.")
    inside = out.is_dir() and os.path.ismount(out)  # a container's /out cannot be replaced, only filled
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out if inside else out.parent))
    try:
        _write(staging, data, {path.name: checksum(path) for path in labels.values()})
        with writing(out):
            if inside:
                for item in sorted(staging.iterdir()):
                    os.replace(item, out / item.name)
            else:
                staging.chmod(0o755)
                os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out


def _labels(files: Sequence[Path]) -> dict[str, Path]:
    """Return participant label -> file: the number in ``data_<number>``, else the place in the list."""
    labels: dict[str, Path] = {}
    for place, path in enumerate(files, start=1):
        number = re.search(r"data_(\d+)", path.name)
        label = f"{int(number[1]) if number else place:02d}"
        if label in labels:
            raise UsageError(f"{labels[label]} and {path} are both participant {label}; rename one to data_<number>.")
        labels[label] = path
    return labels


class Faces:
    """Names for latents: one for each distinct row, training before test, in the order of their coming."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, bytes], str] = {}
        self.latents: dict[str, np.ndarray] = {}
        self.split: dict[str, str] = {}

    def name(self, split: str, latents: np.ndarray) -> list[str]:
        """Return the names of the rows ``(n, n_latents)``."""
        named = []
        for row in latents:
            key = (split, row.tobytes())
            if key not in self.names:
                self.names[key] = f"{split}{sum(kind == split for kind, _ in self.names) + 1:04d}"
                self.latents[self.names[key]], self.split[self.names[key]] = row, split
            named.append(self.names[key])
        return named


def _write(root: Path, data: dict[str, HyperData], sources: dict[str, str]) -> None:
    faces = Faces()
    for label, item in data.items():
        names = [faces.name("train", item.train_latents), faces.name("test", item.test_latents)]
        rows = pd.DataFrame({"stimulus_id": names[0] + names[1]})
        rows["split"] = ["train"] * len(names[0]) + ["test"] * len(names[1])
        _write_responses(root / RESPONSES / f"sub-{label}" / "func", label, item, rows)
        _write_events(root / f"sub-{label}" / "beh", label, rows)
    _write_root(root, data, faces, sources)
    _write_stimuli(root / "stimuli", faces)


def _write_responses(folder: Path, label: str, item: HyperData, rows: pd.DataFrame) -> None:
    values = np.concatenate([item.train_responses, item.test_responses])
    grid, stem = _grid(values.shape[1]), f"sub-{label}_task-{TASK}"
    write_volumes(folder / f"{stem}_stat-z_desc-trial_statmap.nii.gz", values, grid)
    table = rows.assign(volume_index=np.arange(len(rows)))[["volume_index", "stimulus_id", "split"]]
    write_tsv(folder / f"{stem}_stat-z_desc-trial_statmap.tsv", table)
    write_json(
        folder / f"{stem}_stat-z_desc-trial_statmap.json",
        {
            "Description": "responses as HYPER's authors published them; a test row is the mean over presentations",
            "volume_index": {"Description": "index of the volume, from 0"},
            "stimulus_id": {"Description": "face, as in stimuli/stimuli.tsv"},
            "split": {"Levels": {"train": "training face", "test": "test face"}},
        },
    )
    write_volume(folder / f"{stem}_desc-brain_mask.nii.gz", np.ones(values.shape[1], bool), grid)
    text = "the voxels of the file in its order; their places in the brain were not published"
    mask = {"Type": "ROI", "Description": text, "SpatialReference": "orig"}
    write_json(folder / f"{stem}_desc-brain_mask.json", mask)


def _grid(n_voxels: int) -> VoxelGrid:
    """The smallest cube that holds them, 2 mm voxels, filled in C order."""
    side = int(np.ceil(np.cbrt(n_voxels) - 1e-9))
    mask = np.arange(side**3).reshape(side, side, side) < n_voxels
    return VoxelGrid(mask, np.diag([2.0, 2.0, 2.0, 1.0]), None)


def _write_events(folder: Path, label: str, rows: pd.DataFrame) -> None:
    """What was shown; when is not in the files. Without such a table the dataset would have no participant."""
    shown = {"trial_type": rows["split"], "stim_id": rows["stimulus_id"]}
    events = pd.DataFrame({"onset": "n/a", "duration": "n/a", **shown})
    write_tsv(folder / f"sub-{label}_task-{TASK}_events.tsv", events)


def _write_root(root: Path, data: dict[str, HyperData], faces: Faces, sources: dict[str, str]) -> None:
    made = {"Name": "hyper-tools import-hyper", "Version": __version__, "SourceFiles": sources}
    described = {"BIDSVersion": BIDS_VERSION, "License": "the publishers' of the data", "GeneratedBy": [made]}
    authors = {"Authors": ["Thirza Dado", "and others: Dado et al. 2022, Scientific Reports"]}
    name = {"Name": "HYPER: faces and fMRI responses as published"}
    write_json(root / "dataset_description.json", {**name, **described, **authors, "DatasetType": "raw"})
    write_text(root / "README.md", _readme(data, faces))
    write_tsv(root / "participants.tsv", pd.DataFrame({"participant_id": [f"sub-{label}" for label in data]}))
    write_json(root / f"task-{TASK}_events.json", _events_sidecar(faces))
    folder, name = root / RESPONSES, {"Name": "Responses of HYPER's participants"}
    write_json(folder / "dataset_description.json", {**name, **described, "DatasetType": "derivative"})
    write_text(folder / "README.md", "# Responses of HYPER's participants\n\nSee the README of the dataset.\n")
    write_text(folder / ".bidsignore", "\n".join(IGNORED) + "\n")


def _events_sidecar(faces: Faces) -> dict[str, object]:
    values = np.stack(list(faces.latents.values()))
    normal = {"Distribution": "normal"} if STANDARD[0] < float(values.std()) < STANDARD[1] else {}
    return {
        "trial_type": {"LongName": "Event category", "Levels": {"train": "training face", "test": "test face"}},
        "stim_id": {"Description": "face, as in stimuli/stimuli.tsv"},
        "StimulusKey": {"Column": "stim_id"},
        "StimulusSplit": {"Column": "trial_type", "Train": ["train"], "Test": ["test"]},
        "StimulusLatents": {
            SPACE: {
                "Description": "latents that the faces were synthesised from",
                "File": f"latents/{SPACE}.npy",
                "Index": f"latents/{SPACE}.tsv",
                "Dimension": int(values.shape[1]),
                **normal,
                "GroundTruth": True,
                "Generator": {"Name": "pggan"},
            }
        },
    }


def _write_stimuli(folder: Path, faces: Faces) -> None:
    names = sorted(faces.latents)
    save_array(folder / "latents" / f"{SPACE}.npy", np.stack([faces.latents[name] for name in names]))
    write_tsv(folder / "latents" / f"{SPACE}.tsv", pd.DataFrame({"stimulus_id": names}))
    write_tsv(folder / "stimuli.tsv", pd.DataFrame({"stimulus_id": names, "split": [faces.split[n] for n in names]}))
    levels = {"train": "training face", "test": "test face"}
    described = {"stimulus_id": {"Description": "label of the face"}, "split": {"Levels": levels}}
    write_json(folder / "stimuli.json", described)


def _readme(data: dict[str, HyperData], faces: Faces) -> str:
    n = {split: sum(value == split for value in faces.split.values()) for split in ("train", "test")}
    voxels = ", ".join(f"sub-{label} {item.train_responses.shape[1]}" for label, item in data.items())
    return f"""# HYPER's published data as a BIDS dataset

Made by hyper-tools import-hyper {__version__} from the files that dataset_description.json names with their SHA-256.
{n["train"]} training and {n["test"]} test faces; voxels: {voxels}. There is no BOLD: decode the responses with

    hyper DATASET OUTPUT participant --responses DATASET/{RESPONSES.as_posix()}

Add --generator pggan --weights generator.params for pictures. Not in the published files, and so not here: where the
voxels are, when the faces were shown, how often the test faces were, and the pictures that were shown (the generator
makes them of stimuli/latents).
"""
