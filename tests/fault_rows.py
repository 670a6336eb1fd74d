"""The faults of SPEC section 4, a row each: what is done to a dataset, and what the app has to say to it.

`tests/test_faults.py` applies them to participant 01, or to what all participants share.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

STEM = "sub-01/func/sub-01_task-faces_run-01"
PREPROCESSED = f"derivatives/fmriprep/{STEM}_desc-preproc_bold.nii.gz"
CONFOUNDS = f"derivatives/fmriprep/{STEM}_desc-confounds_timeseries.tsv"
EVENTS = f"{STEM}_events.tsv"
LATENTS = "stimuli/latents/pixels.npy"
SIDECAR = "task-faces_events.json"


@dataclass(frozen=True)
class Fault:
    """A change of a dataset, and what it gets.

    Parameters
    ----------
    change : applied to the folder of the dataset; may return options of the command line
    code : exit code; 1 where participant 01 fails and 02 finishes, 0 where both finish
    says : words of the messages: where, what came, what is needed or was done, what to do
    options : of the command line
    """

    change: Callable[[Path], list[str] | None]
    code: int
    says: tuple[str, ...]
    options: tuple[str, ...] = ()


# ------------------------------------------------------------------ images


def cut(bids: Path) -> None:
    path = bids / PREPROCESSED
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def corrupt(bids: Path) -> None:
    content = bytearray((bids / PREPROCESSED).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = np.random.default_rng(1).bytes(400)
    (bids / PREPROCESSED).write_bytes(bytes(content))


def no_image(bids: Path) -> None:
    (bids / PREPROCESSED).write_bytes(b"this is no image" * 100)


def rewrite(bids: Path, change: Callable[[np.ndarray], np.ndarray], repetition_time: float | None = None) -> None:
    """Change the voxels of a run; without a repetition time the file keeps its own."""
    image = nib.load(bids / PREPROCESSED)
    seconds = image.header.get_zooms()[3] if repetition_time is None else repetition_time
    new = nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine)
    new.header.set_xyzt_units("mm", "sec")
    new.header.set_zooms((*image.header.get_zooms()[:3], seconds))
    nib.save(new, bids / PREPROCESSED)


def no_repetition_time(bids: Path) -> None:
    for path in bids.rglob("*bold.json"):
        content = json.loads(path.read_text())
        content.pop("RepetitionTime", None)
        path.write_text(json.dumps(content))
    rewrite(bids, lambda values: values, repetition_time=0.0)


def bad_voxels(bids: Path) -> None:
    """One voxel of the brain is NaN in one volume, one never changes."""
    mask = np.asarray(nib.load(bids / PREPROCESSED.replace("preproc_bold", "brain_mask")).dataobj) > 0
    one, other = np.argwhere(mask)[:2]

    def change(values: np.ndarray) -> np.ndarray:
        values = values.astype(np.float32)
        values[(*one, 3)] = np.nan
        values[tuple(other)] = 700.0
        return values

    rewrite(bids, change)


def only_bad_voxels(bids: Path) -> None:
    rewrite(bids, lambda values: np.full(values.shape, np.nan, dtype=np.float32))


# ------------------------------------------------------------------ latents, sidecars, pictures


def latents(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def apply(bids: Path) -> None:
        np.save(bids / LATENTS, change(np.load(bids / LATENTS)))

    return apply


def one_cell(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[7, 3] = value
        return values

    return change


def index(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def apply(bids: Path) -> None:
        path = bids / LATENTS.replace(".npy", ".tsv")
        change(pd.read_csv(path, sep="\t")).to_csv(path, sep="\t", index=False)

    return apply


def missing_latents(bids: Path) -> None:
    index(lambda rows: rows.iloc[:-2])(bids)
    latents(lambda values: values[:-2])(bids)


def pickled_latents(bids: Path) -> None:
    np.save(bids / LATENTS, np.array([[Bomb(bids.parent / "exploded")]], dtype=object), allow_pickle=True)


def own_latents(bids: Path) -> None:
    """Latents of participant 01 alone, declared at a lower level, with a NaN in them."""
    content = json.loads((bids / SIDECAR).read_text())
    content["StimulusLatents"]["pixels"]["File"] = "latents/own.npy"
    (bids / "sub-01" / "sub-01_task-faces_events.json").write_text(json.dumps(content))
    np.save(bids / "stimuli/latents/own.npy", one_cell(np.nan)(np.load(bids / LATENTS)))


def declared(name: str, value: str) -> Callable[[Path], None]:
    def apply(bids: Path) -> None:
        content = json.loads((bids / SIDECAR).read_text())
        content["StimulusLatents"]["pixels"][name] = value
        (bids / SIDECAR).write_text(json.dumps(content))

    return apply


def no_json(bids: Path) -> None:
    (bids / SIDECAR).write_text('{"StimulusKey": ')


def no_picture(bids: Path) -> None:
    for path in (bids / "stimuli/pictures").glob("test*.png"):
        path.write_bytes(b"no picture")


def picture_outside(bids: Path) -> None:
    events(lambda rows: rows.assign(stim_file="../../secret.png"))(bids)


# ------------------------------------------------------------------ events


def events(change: Callable[[pd.DataFrame], pd.DataFrame], runs: str = "*") -> Callable[[Path], None]:
    """Change the events of participant 01."""

    def apply(bids: Path) -> None:
        for path in bids.glob(f"sub-01/func/*run-{runs}_events.tsv"):
            change(pd.read_csv(path, sep="\t")).to_csv(path, sep="\t", index=False)

    return apply


def written(content: bytes) -> Callable[[Path], None]:
    def apply(bids: Path) -> None:
        (bids / EVENTS).write_bytes(content)

    return apply


def late(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(onset=rows["onset"] + 10_000)


def last_late(rows: pd.DataFrame) -> pd.DataFrame:
    rows.loc[rows.index[-1], "onset"] += 10_000
    return rows


def in_both(rows: pd.DataFrame) -> pd.DataFrame:
    rows.loc[rows.index[0], ["stim_id", "stim_file"]] = ["train01", "pictures/train01.png"]
    return rows


def one_test_stimulus(rows: pd.DataFrame) -> pd.DataFrame:
    test = rows["trial_type"] == "test"
    rows.loc[test, ["stim_id", "stim_file"]] = ["test1", "pictures/test1.png"]
    return rows


def no_repeats(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["trial_type"] == "train") | ~rows["stim_id"].duplicated()]


def one_run(bids: Path) -> None:
    for folder in (bids, bids / "derivatives/fmriprep"):
        for path in folder.glob("sub-01/func/*"):
            if "run-01" not in path.name:
                path.unlink()


# ------------------------------------------------------------------ links, weights


def broken_links(bids: Path) -> None:
    for path in bids.glob("derivatives/fmriprep/sub-01/func/*_bold.nii.gz"):
        path.unlink()
        path.symlink_to("../../../../.git/annex/objects/zz/MD5E-s9--0/MD5E-s9--0.nii.gz")


class Bomb:
    """Pickled, it makes a file when it is unpickled without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def malicious_weights(bids: Path) -> list[str]:
    import pickle

    path = bids.parent / "weights.pkl"
    path.write_bytes(pickle.dumps({"generator": Bomb(bids.parent / "exploded")}))
    return ["--generator", "pggan", "--weights", str(path)]


def wrong_weights(bids: Path) -> list[str]:
    from safetensors.numpy import save_file

    path = bids.parent / "weights.safetensors"
    save_file({"layer.weight": np.ones((3, 5), np.float32), "layer.bias": np.ones(3, np.float32)}, path)
    return ["--generator", "pggan", "--weights", str(path)]


FAULTS = {
    "truncated NIfTI": Fault(cut, 1, (PREPROCESSED, "damaged or incomplete", "Copy or download it again")),
    "corrupt NIfTI": Fault(corrupt, 1, (PREPROCESSED, "damaged or incomplete", "Copy or download it again")),
    "no NIfTI at all": Fault(no_image, 1, (PREPROCESSED, "no readable NIfTI file", "copy or download it again")),
    "fewer volumes than confounds": Fault(
        lambda bids: rewrite(bids, lambda values: values[..., :-5]),
        1, (CONFOUNDS, "72 rows but the BOLD has 67 volumes", "same preprocessing run", "--confounds none"),
    ),
    "an event beyond the end": Fault(
        events(last_late, "01"), 0, ("sub-01: run-01: 1 trial ", "ends at 106.5 s", "is not used: event 20"),
    ),
    "all events beyond the end": Fault(
        events(late), 1, ("run-01: 20 of its 20 trials", "ends at 106.5 s", "onsets' unit (seconds", "--dummy-scans"),
    ),
    "missing TR": Fault(
        no_repetition_time, 1, (PREPROCESSED, "no repetition time", 'Add "RepetitionTime": <seconds>'),
    ),
    "NaN and constant voxels": Fault(
        bad_voxels, 0, ("sub-01", "2 of 120 voxels", "constant or not finite", "left out"),
    ),
    "no voxel without NaN": Fault(
        only_bad_voxels, 1, ("sub-01 faces", "No voxel varies and is finite in every run", "are the BOLD files empty"),
    ),
    "NaN latents": Fault(
        latents(one_cell(np.nan)), 65, (LATENTS, "1 stimuli are not finite", "train08", "correct the file"),
    ),
    "infinite latents": Fault(latents(one_cell(np.inf)), 65, (LATENTS, "1 stimuli are not finite", "train08")),
    "latents of another dimension": Fault(
        latents(lambda values: values[:, :-1]), 65, (LATENTS, "8 latents", "declares Dimension 9", "Correct"),
    ),
    "duplicate latents": Fault(
        index(lambda rows: rows.replace("train02", "train01")), 65, ("pixels.npy", "train01", "exactly one row"),
    ),
    "missing latents": Fault(
        missing_latents, 65, (LATENTS, "no latents for 2 of 34 stimuli", "test3, test4", "StimulusKey"),
    ),
    "more rows than the index": Fault(index(lambda rows: rows.iloc[1:]), 65, (LATENTS, "34 rows", "33 stimuli")),
    "pickled latents": Fault(pickled_latents, 65, (LATENTS, "pickled objects are never loaded", "numpy.save")),
    "latents of one participant": Fault(own_latents, 1, ("own.npy", "not finite", "train08")),
    "empty events": Fault(written(b""), 1, (EVENTS, "is empty", "names of the columns, and rows, are needed")),
    "events without rows": Fault(
        written(b"onset\tduration\tstim_id\n"), 1, (EVENTS, "a header and no events", "Add a row for each event"),
    ),
    "unreadable events": Fault(
        written(b"\xff\xfe\x00\x81\n" * 9), 1, (EVENTS, "no readable tab-separated text", "Save it as UTF-8"),
    ),
    "events without onsets": Fault(
        events(lambda rows: rows.drop(columns="onset"), "01"),
        1, (EVENTS, "no column onset", "only duration", "in seconds"),
    ),
    "a stimulus in both splits": Fault(
        events(in_both, "01"), 1, ("train01", "both in the training and in the test set", "--cross-validate"),
    ),
    "one run, without the other set": Fault(one_run, 1, ("There is no train sample", "StimulusSplit")),
    "one run, folds over runs": Fault(
        one_run, 65, ("sub-01", "--cross-validate run needs at least 2 runs", "found: 1"),
        ("--cross-validate", "run", "--participant-label", "01"),
    ),
    "one test stimulus": Fault(events(one_test_stimulus), 0, ("one test stimulus (test1)", "no p-value")),
    "no repeats": Fault(events(no_repeats), 0, ("sub-01", "4 of 4 stimuli have one repeat and are left out")),
    "broken annex links": Fault(
        broken_links, 1, (PREPROCESSED, "3 of", "links without content", "datalad get -d"),
    ),
    "a malicious pickle as weights": Fault(malicious_weights, 65, ("weights.pkl", "posix.mkdir", "code")),
    "weights of another architecture": Fault(wrong_weights, 65, (
        "weights.safetensors", "its arrays (bias, weight)", "no generator known here", "export it to ONNX",
    )),
    "a picture that is none": Fault(no_picture, 66, ("test1.png", "no image that can be read", "Copy it again")),
    "a picture outside of the stimuli": Fault(picture_outside, 1, ("stim_file", "../../secret.png", "are refused")),
    "'..' in a sidecar": Fault(
        declared("File", "../../secret.npy"), 65, ("space pixels, File", "'../../secret.npy'", "refused"),
    ),
    "an absolute path in a sidecar": Fault(
        declared("Index", "/etc/passwd"), 65, ("StimulusLatents, space pixels, Index", "'/etc/passwd'", "refused"),
    ),
    "a sidecar that is no JSON": Fault(
        no_json, 65, (SIDECAR, "is not valid JSON", "Correct"),
    ),
}  # fmt: skip
