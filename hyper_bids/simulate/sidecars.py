"""What the dataset says about itself: descriptions, data dictionaries, and the latents' declaration."""

from __future__ import annotations

import numpy as np

from hyper_bids import __version__
from hyper_bids.settings import plain
from hyper_bids.simulate.bold import HIGH_PASS, cosines, framewise_displacement
from hyper_bids.simulate.design import Run, timing_of
from hyper_bids.simulate.settings import SimulateSettings
from hyper_bids.simulate.stimuli import Stimuli, has_normal_latents

BIDS_VERSION = "1.10.0"
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


def description(name: str, kind: str, settings: SimulateSettings) -> dict[str, object]:
    """Return dataset_description.json of the raw dataset or of a derivative."""
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "License": "CC0",
        "Authors": ["hyper-tools simulate"],
        "GeneratedBy": [
            {
                "Name": "hyper-tools simulate",
                "Version": __version__,
                "Description": "simulated; nobody was scanned",
                "Settings": plain(settings),
            }
        ],
        **({"SourceDatasets": [{"URL": "../.."}], "DatasetLinks": {"raw": "../.."}} if kind == "derivative" else {}),
    }


def readme(settings: SimulateSettings, stimuli: Stimuli) -> str:
    """Return the README of the raw dataset."""
    return f"""# Simulated fMRI of {settings.participants} participants looking at {len(stimuli.labels)} stimuli

Made by hyper-tools simulate {__version__} with seed {settings.random_seed}; nobody was scanned.
Design {settings.design}: {len(stimuli.train)} training stimuli, {len(stimuli.test)} test stimuli shown
{settings.repeats} times each. A tuned voxel's amplitude in a trial is linear in the stimulus's latents (space
{stimuli.latents.space}, {stimuli.latents.n_latents} dimensions), which stand in stimuli/latents and are declared in
task-faces_events.json. BOLD is amplitude x SPM's haemodynamic response, plus drift, motion artefact and AR(1) noise.
The truth (weights, tuned voxels, noise-free amplitudes) is in derivatives/truth. The raw BOLD has no head shifts to
correct: derivatives/fmriprep, where there is one, holds the same images in the layout of fMRIPrep's output.
All settings are in dataset_description.json.
"""


def events_sidecar(settings: SimulateSettings, stimuli: Stimuli) -> dict[str, object]:
    """Return task-faces_events.json with StimulusKey, StimulusSplit and StimulusLatents (SPEC section 2)."""
    timing = timing_of(settings)
    levels = {"train": "training stimulus", "test": "test stimulus"}
    split: dict[str, object] = {"Column": "trial_type", "Train": ["train"], "Test": ["test"]}
    sidecar: dict[str, object] = {
        "trial_type": {"LongName": "Event category", "Levels": levels},
        "stim_id": {"Description": "column stimulus_id of stimuli/stimuli.tsv"},
    }
    if timing.null_events:
        levels["fixation"] = "null event: fixation only"
        split |= {"Ignore": ["fixation"], "Baseline": ["fixation"]}
    if timing.one_backs:
        sidecar["oneback"] = {"Description": "1: repeats the stimulus before it; 0: does not"}
        split |= {"DropWhere": {"oneback": [1]}}
    if stimuli.pngs:
        sidecar["stim_file"] = {"Description": "picture shown, path relative to /stimuli"}
    return {
        **sidecar,
        "StimulusKey": {"Column": "stim_id"},
        "StimulusSplit": split,
        "StimulusLatents": {stimuli.latents.space: latents_entry(settings, stimuli)},
    }


def latents_entry(settings: SimulateSettings, stimuli: Stimuli) -> dict[str, object]:
    """Return the declaration of the latent space."""
    space = stimuli.latents.space
    entry: dict[str, object] = {
        "Description": "latents that the stimuli were made from and that the simulated brains encode",
        "File": f"latents/{space}.npy",
        "Index": f"latents/{space}.tsv",
        "Dimension": stimuli.latents.n_latents,
        "GroundTruth": True,
    }
    if has_normal_latents(settings):
        entry["Distribution"] = "normal"
    if stimuli.declaration is not None:
        entry["Generator"] = stimuli.declaration
    return entry


def event_rows(run: Run, stimuli: Stimuli, settings: SimulateSettings) -> tuple[list[str], list[list[object]]]:
    """Return columns and rows of a run's events.tsv."""
    columns = ["onset", "duration", "trial_type", "stim_id"]
    columns += ["stim_file"] if stimuli.pngs else []
    columns += ["oneback"] if timing_of(settings).one_backs else []
    rows = []
    for trial in run.trials:
        values = {
            "onset": f"{trial.onset:.4f}",
            "duration": trial.duration,
            "trial_type": trial.trial_type,
            "stim_id": trial.stimulus,
            "stim_file": None if trial.stimulus is None else stimuli.file_of(trial.stimulus),
            "oneback": int(trial.oneback),
        }
        rows.append([values[column] for column in columns])
    return columns, rows


def stimuli_table(stimuli: Stimuli) -> tuple[list[str], list[list[object]], dict[str, object]]:
    """Return columns, rows and data dictionary of stimuli/stimuli.tsv."""
    scores = {name: stimuli.latents.values @ normal for name, normal in stimuli.attributes.items()}
    columns = ["stimulus_id", "filename", "split", *(c for name in scores for c in (name, f"{name}_score"))]
    dictionary: dict[str, object] = {
        "stimulus_id": {"Description": "label of the stimulus, stim_id in events.tsv"},
        "filename": {"Description": "picture, path relative to /stimuli"},
        "split": {"Levels": {"train": "training stimulus", "test": "test stimulus"}},
    }
    for name in scores:
        dictionary[name] = {
            "Description": f"true class of the attribute {name}",
            "Levels": {"1": "on the positive side of its hyperplane", "0": "on the other side"},
        }
        dictionary[f"{name}_score"] = {"Description": f"signed distance of the latents from the hyperplane of {name}"}
    rows = []
    for row, label in enumerate(stimuli.labels):
        values: list[object] = [label, stimuli.file_of(label), "train" if row < len(stimuli.train) else "test"]
        for score in scores.values():
            values += [int(score[row] > 0), float(score[row])]
        rows.append(values)
    return columns, rows, dictionary


def confounds_table(motion: np.ndarray, values: np.ndarray, tr: float) -> tuple[list[str], list[list[object]]]:
    """Return columns and rows of a confounds table in fMRIPrep's names and order.

    Parameters
    ----------
    motion : (n_volumes, 6) mm and rad
    values : (n_volumes, n_voxels) BOLD in scanner units
    tr : s
    """
    n_volumes = len(motion)
    steps = np.diff(values, axis=0)
    table: dict[str, list[object]] = {
        "global_signal": values.mean(axis=1).tolist(),
        "dvars": [None, *np.sqrt((steps**2).mean(axis=1)).tolist()],
        "framewise_displacement": [None, *framewise_displacement(motion).tolist()],
    }
    basis = cosines(n_volumes, tr)
    table |= {f"cosine{k:02d}": basis[:, k].tolist() for k in range(basis.shape[1])}
    for k, name in enumerate(MOTION):
        derivative = np.diff(motion[:, k])
        table[name] = motion[:, k].tolist()
        table[f"{name}_derivative1"] = [None, *derivative.tolist()]
        table[f"{name}_derivative1_power2"] = [None, *(derivative**2).tolist()]
        table[f"{name}_power2"] = (motion[:, k] ** 2).tolist()
    return list(table), [list(row) for row in zip(*table.values(), strict=True)]


def confounds_sidecar() -> dict[str, object]:
    """Return the data dictionary of the columns that are not motion."""
    return {
        "global_signal": {"Description": "mean over the brain mask, scanner units"},
        "dvars": {"Description": "root mean square change over the brain mask since the volume before"},
        "framewise_displacement": {"Units": "mm", "Description": "Power et al. 2012; rotations on a radius of 50 mm"},
        "cosine00": {"Method": "cosine", "Description": f"discrete cosines slower than {HIGH_PASS:g} s"},
    }
