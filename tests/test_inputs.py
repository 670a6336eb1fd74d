"""A BIDS folder in, recordings and trials out: selection, inheritance, splits, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from hyper_bids.errors import (
    HyperError,
    InconsistentInput,
    InvalidDataset,
    MissingFiles,
    NothingSelected,
    OutputNotWritable,
    UsageError,
)
from hyper_bids.inputs.layout import open_dataset
from hyper_bids.inputs.sidecars import Sidecars
from hyper_bids.inputs.task import load_task, load_trials
from hyper_bids.inputs.validate import find_validator, validate
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


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path / "dataset")


# ------------------------------------------------------------------ selection


def test_raw_recordings(sample: Sample) -> None:
    dataset = sample.open(participants=["sub-02"])
    assert dataset.participants == ("02",)
    first = dataset.recordings[0]
    assert (first.label, first.repetition_time, first.n_volumes) == ("run-1", TR, N_VOLUMES)
    assert (first.mask, first.confounds, first.space, first.start_time) == (None, None, None, 0.0)
    assert first.bold == first.raw == sample.stem("02", "1", "bold.nii.gz")


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        ({"participants": ["01", "03"]}, {}, "03 not found. There are: 01, 02"),
        ({"tasks": ["face"]}, {}, "Did you mean 'faces'"),
        ({}, {"session_label": ("01",)}, "session-label: 01 not found"),
    ],
)
def test_unknown_labels_name_those_found(sample: Sample, options: dict, settings: dict, message: str) -> None:
    with pytest.raises(NothingSelected, match=message):
        sample.open(InputSettings(**settings), **options)


def test_sessions_are_selected_and_labelled(sample: Sample) -> None:
    for session in ("pre", "post"):
        stem = sample.root / f"sub-01/ses-{session}/func/sub-01_ses-{session}_task-faces"
        write_bold(Path(f"{stem}_bold.nii.gz"))
        write_events(Path(f"{stem}_events.tsv"))
    labels = [recording.label for recording in sample.open(participants=["01"]).recordings]
    assert labels == ["run-1", "run-2", "ses-post", "ses-pre"]
    chosen = sample.open(InputSettings(session_label=("pre",)), participants=["01"])
    assert [recording.session for recording in chosen.recordings] == ["pre"]
    with pytest.raises(NothingSelected, match=r"sub-02\. Participants that have some: 01"):
        sample.open(InputSettings(session_label=("pre",)), participants=["01", "02"])
    assert "sub-02" in sample.open(InputSettings(session_label=("pre",))).notices[0]


def test_further_entities_keep_labels_unique(sample: Sample) -> None:
    for acquisition in ("hi", "lo"):
        stem = sample.root / f"sub-01/func/sub-01_task-faces_acq-{acquisition}_dir-AP_run-3"
        write_bold(Path(f"{stem}_bold.nii.gz"))
        write_events(Path(f"{stem}_events.tsv"))
    labels = [recording.label for recording in sample.open(participants=["01"]).recordings]
    assert labels == ["acq-hi_dir-AP_run-3", "acq-lo_dir-AP_run-3", "run-1", "run-2"]


def test_runs_are_sorted_by_number(sample: Sample) -> None:
    for run in ("10", "3"):
        write_bold(sample.stem("01", run, "bold.nii.gz"))
        write_events(sample.stem("01", run, "events.tsv"))
    assert [recording.run for recording in sample.open(participants=["01"]).recordings] == ["1", "2", "3", "10"]


def test_echoes_are_refused_unless_one_is_chosen_or_they_are_combined(sample: Sample, tmp_path: Path) -> None:
    for echo in ("1", "2"):
        write_bold(sample.root / f"sub-01/func/sub-01_task-faces_run-3_echo-{echo}_bold.nii.gz")
    write_bold(sample.root / "sub-01/func/sub-01_task-faces_run-3_part-phase_bold.nii.gz")
    write_events(sample.stem("01", "3", "events.tsv"))
    with pytest.raises(InconsistentInput, match=r"echo-1.*Echoes must be combined"):
        sample.open()
    write_json(tmp_path / "filter.json", bold={"echo": "2", "run": "3"}, t1w={"session": "x"})
    chosen = sample.open(InputSettings(bids_filter_file=tmp_path / "filter.json"), participants=["01"])
    assert [recording.bold.name for recording in chosen.recordings] == ["sub-01_task-faces_run-3_echo-2_bold.nii.gz"]
    prep = sample.preprocess()
    write_bold(prep / "sub-01/func/sub-01_task-faces_run-3_space-T1w_desc-preproc_bold.nii.gz")
    assert len(sample.open(participants=["01"]).recordings) == 3


@pytest.mark.parametrize(("run", "found"), [(None, ["bold"]), ("*", ["run-1", "run-2"]), (["2"], ["run-2"])])
def test_filter_file_null_and_star(sample: Sample, tmp_path: Path, run, found: list[str]) -> None:
    write_bold(sample.root / "sub-01/func/sub-01_task-faces_bold.nii.gz")
    write_events(sample.root / "sub-01/func/sub-01_task-faces_events.tsv")
    write_json(tmp_path / "filter.json", bold={"run": run})
    dataset = sample.open(InputSettings(bids_filter_file=tmp_path / "filter.json"), participants=["01"])
    assert [recording.label for recording in dataset.recordings] == found


@pytest.mark.parametrize("content", ['{"bolt": {}}', '{"bold": {"nonsense": "1"}}', "{", "[]"])
def test_bad_filter_files(sample: Sample, tmp_path: Path, content: str) -> None:
    (tmp_path / "filter.json").write_text(content)
    with pytest.raises(UsageError, match="--bids-filter-file"):
        sample.open(InputSettings(bids_filter_file=tmp_path / "filter.json"))


def test_default_tasks_are_those_that_name_latents(sample: Sample) -> None:
    stem = sample.root / "sub-01/func/sub-01_task-loc"
    write_bold(Path(f"{stem}_bold.nii.gz"))
    write_events(Path(f"{stem}_events.tsv"), [("0", "1", "face  ")], columns=("onset", "duration", "trial_type"))
    assert sample.open().tasks() == ("faces",)
    assert sample.open(tasks=["loc"], check_content=False).tasks() == ("loc",)
    (sample.root / "task-faces_events.json").unlink()
    with pytest.raises(InconsistentInput, match=r"\(faces, loc\).*StimulusLatents.*--latents"):
        sample.open()
    assert sample.open(InputSettings(latents=(f"z={sample.root}/stimuli/latents/z.npy",))).tasks() == ("faces",)


def test_documented_column_called_run(sample: Sample) -> None:
    sample.declare(run={"Description": "number of the run"}, role={"Description": "whatever"})
    rows = [(*row, "7", "x") for row in ROWS]
    sample.events(rows, columns=("onset", "duration", "trial_type", "stim_id", "run", "role"))
    trials = sample.load().trials
    assert trials["run"].unique().tolist() == ["run-1", "run-2"]
    assert set(trials["events_run"]) == {"7"} and set(trials["events_role"]) == {"x"}


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_no_dataset_description(sample: Sample, content: str | None) -> None:
    path = sample.root / "dataset_description.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InvalidDataset, match="dataset_description"):
        sample.open()


def test_folders_that_are_no_dataset(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(MissingFiles, match="no such folder"):
        open_dataset(tmp_path / "nowhere", InputSettings())
    write_json(tmp_path / "empty/dataset_description.json", Name="x", BIDSVersion="1.9.0")
    with pytest.raises(NothingSelected, match="no participant"):
        open_dataset(tmp_path / "empty", InputSettings())
    (tmp_path / "empty/sub-01/anat").mkdir(parents=True)
    with pytest.raises(NothingSelected, match="No BOLD"):
        open_dataset(tmp_path / "empty", InputSettings())


def test_stimuli_are_not_indexed(sample: Sample) -> None:
    write_bold(sample.root / "stimuli/sub-01/func/sub-01_task-faces_run-9_bold.nii.gz")
    write_bold(sample.root / "sourcedata/sub-01/func/sub-01_task-faces_run-9_bold.nii.gz")
    assert len(sample.open(participants=["01"]).recordings) == 2


def test_database_is_used_and_never_stale_or_of_another_dataset(sample: Sample, tmp_path: Path) -> None:
    database = tmp_path / "db"
    first = sample.open(database_dir=database)
    assert sample.open(database_dir=database) == first == sample.open()
    assert len(list(database.iterdir())) == 1
    other = Sample(tmp_path / "other")
    assert other.open(database_dir=database).recordings[0].bold.is_relative_to(other.root)
    write_bold(sample.stem("01", "3", "bold.nii.gz"))
    write_events(sample.stem("01", "3", "events.tsv"))
    assert len(sample.open(database_dir=database).recordings) == 5
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritable, match="--bids-database-dir"):
        sample.open(database_dir=tmp_path / "file")


# ------------------------------------------------------------------ sidecars, sampling, events files


def test_inheritance_agrees_with_pybids_and_the_overlay_comes_last(sample: Sample, tmp_path: Path) -> None:
    from bids.layout import BIDSLayout

    sample.declare(A=1, B={"x": 1}, C=1, D=1)
    write_json(sample.root / "sub-01/sub-01_events.json", B={"y": 2}, C=3)
    write_json(sample.stem("01", "1", "events.json"), D=4)
    write_json(sample.stem("01", "2", "events.json"), D=5)
    file = sample.stem("01", "1", "events.tsv")
    merged = Sidecars(sample.root).of(file)
    assert (merged["A"], merged["B"], merged["C"], merged["D"]) == (1, {"y": 2}, 3, 4)
    assert merged == BIDSLayout(sample.root).get_metadata(file)
    write_json(tmp_path / "overlay/task-faces_events.json", D=6)
    overlaid = Sidecars(sample.root, tmp_path / "overlay").of(sample.stem("01", "1", "bold.nii.gz"), "events")
    assert overlaid == {**merged, "D": 6}


def test_broken_json_is_named(sample: Sample) -> None:
    (sample.root / "sub-01/sub-01_events.json").write_text('{"a": }')
    with pytest.raises(InconsistentInput, match=r"sub-01_events\.json is not valid JSON.*column"):
        sample.load()


@pytest.mark.parametrize("level", ["sub-01/func", "sub-01", ""])
def test_events_are_inherited(sample: Sample, level: str) -> None:
    for run in ("1", "2"):
        sample.stem("01", run, "events.tsv").unlink()
    name = "sub-01_task-faces_events.tsv" if level else "task-faces_events.tsv"
    write_events(sample.root / level / name)
    write_json(sample.stem("01", "1", "bold.json"), RepetitionTime=1.25)
    recordings = sample.open(participants=["01"]).recordings
    assert {recording.events for recording in recordings} == {sample.root / level / name}
    assert [recording.repetition_time for recording in recordings] == [1.25, TR]


def test_runs_without_events(sample: Sample) -> None:
    sample.stem("01", "2", "events.tsv").unlink()
    with pytest.raises(MissingFiles, match=r"1 of 4 runs have no events(.|\n)*run-2_bold"):
        sample.open()


@pytest.mark.parametrize(("seconds", "unit", "found"), [(2.0, "sec", 2.0), (2500, "msec", 2.5)])
def test_repetition_time_of_the_header(sample: Sample, seconds: float, unit: str, found: float) -> None:
    (sample.root / "task-faces_bold.json").unlink()
    for run in ("1", "2"):
        write_bold(sample.stem("01", run, "bold.nii.gz"), seconds=seconds, unit=unit)
    dataset = sample.open(participants=["01"])
    assert [recording.repetition_time for recording in dataset.recordings] == [found, found]
    assert "from the NIfTI header" in dataset.notices[0]


@pytest.mark.parametrize(
    ("sidecar", "header", "message"),
    [
        ({}, (0, "sec"), "no repetition time.*Add"),
        ({}, (1.0, "unknown"), "no repetition time.*Add"),
        ({"RepetitionTime": 0}, (2.0, "sec"), "cannot be"),
        ({"RepetitionTime": 2000}, (2.0, "sec"), "in seconds"),
        ({"RepetitionTime": "2"}, (2.0, "sec"), "number of seconds"),
        ({"VolumeTiming": [0, 5]}, (2.0, "sec"), "VolumeTiming"),
        ({"RepetitionTime": 2, "StartTime": "x"}, (2.0, "sec"), "StartTime"),
    ],
)
def test_repetition_times_that_cannot_be(sample: Sample, sidecar: dict, header: tuple, message: str) -> None:
    write_json(sample.root / "task-faces_bold.json", **sidecar)
    write_bold(sample.stem("01", "1", "bold.nii.gz"), seconds=header[0], unit=header[1])
    with pytest.raises(InconsistentInput, match=message) as caught:
        sample.open(participants=["01"])
    assert "run-1_bold.nii.gz" in str(caught.value)


def test_damaged_and_flat_images_are_named(sample: Sample) -> None:
    path = sample.stem("01", "1", "bold.nii.gz")
    for content in (b"", b"garbage" * 100, path.read_bytes()[:60]):
        path.write_bytes(content)
        with pytest.raises(MissingFiles, match=r"run-1_bold\.nii\.gz is no readable NIfTI"):
            sample.open()
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4)), np.eye(4)), path)
    with pytest.raises(InconsistentInput, match=r"must be 4-D.*\(2, 3, 4\)"):
        sample.open()


# ------------------------------------------------------------------ derivatives


@pytest.mark.parametrize("table", ["timeseries", "regressors"])
@pytest.mark.parametrize("space", ["T1w", "MNI152NLin2009cAsym", ""])
@pytest.mark.parametrize("description", [None, {"Name": "fMRIPrep"}, {"DatasetType": "derivative"}])
def test_fmriprep_layouts(sample: Sample, table: str, space: str, description: dict | None) -> None:
    prep = sample.preprocess(space=space, table=table)
    if description is not None:
        write_json(prep / "dataset_description.json", **description)
    write_bold(prep / "sub-01/anat/sub-01_space-T1w_desc-brain_mask.nii.gz")
    write_json(prep / "task-faces_desc-preproc_bold.json", StartTime=0.7, RepetitionTime=1.75)
    dataset = sample.open()
    assert dataset.derivatives == {"fmriprep": prep}
    first = dataset.recordings[0]
    assert first.bold.is_relative_to(prep) and first.raw == sample.stem("01", "1", "bold.nii.gz")
    assert first.mask.parent == first.bold.parent and first.confounds.name.endswith(f"confounds_{table}.tsv")
    assert (first.space, first.start_time, first.repetition_time) == (space or None, 0.7, 1.75)


def test_raw_bold_need_not_be_there_where_it_is_not_read(sample: Sample) -> None:
    sample.preprocess()
    bold = sample.stem("01", "1", "bold.nii.gz")
    bold.unlink()
    bold.symlink_to("../../.git/annex/objects/x/MD5E-s1--0.nii.gz")
    assert len(sample.open().recordings) == 4
    with pytest.raises(MissingFiles, match="datalad get -d"):
        sample.open(InputSettings(derivatives=("none",)))


def test_missing_preprocessed_runs_are_named(sample: Sample) -> None:
    prep = sample.preprocess()
    for path in prep.glob("sub-0[12]/func/*run-2*bold.nii.gz"):
        path.unlink()
    with pytest.raises(MissingFiles, match=r"2 of 4 selected runs(.|\n)*sub-01_task-faces_run-2(.|\n)*sub-02"):
        sample.open()


def test_runs_without_mask_or_confounds_are_reported(sample: Sample) -> None:
    prep = sample.preprocess()
    (prep / "sub-01/func/sub-01_task-faces_run-1_space-T1w_desc-brain_mask.nii.gz").unlink()
    (prep / "sub-01/func/sub-01_task-faces_run-2_desc-confounds_timeseries.tsv").unlink()
    dataset = sample.open()
    assert [recording.mask is None for recording in dataset.recordings] == [True, False, False, False]
    assert any("No brain mask" in notice and "run-1" in notice for notice in dataset.notices)
    assert any("No confounds table" in notice and "run-2" in notice for notice in dataset.notices)


@pytest.mark.parametrize(
    ("spaces", "wanted", "found"),
    [
        (["T1w", "MNI"], None, ("T1w", None)),
        (["T1w", "T1w_res-2"], None, ("T1w", None)),
        (["MNI"], None, ("MNI", None)),
        ([""], None, (None, None)),
        (["MNI", "MNI_res-2"], "MNI", ("MNI", None)),
        (["MNI", "MNI_res-2"], "MNI:res-2", ("MNI", "2")),
        (["T1w", "MNI_res-2"], "MNI", ("MNI", "2")),
        (["T1w", ""], "orig", (None, None)),
        (["MNI", "fsl"], None, "MNI, fsl"),
        (["MNI", ""], None, "orig, MNI"),
        (["MNI", "MNI_res-2"], None, "MNI, MNI:res-2"),
        (["MNI_res-1", "MNI_res-2"], "MNI", "MNI:res-1, MNI:res-2"),
        (["T1w"], "MNI", "found: T1w"),
        (["T1w"], "MNI:2", "LABEL:res-X"),
    ],
)
def test_which_space(sample: Sample, spaces: list[str], wanted: str | None, found: tuple | str) -> None:
    for space in spaces:
        sample.preprocess(space=space)
    inputs = InputSettings(space=wanted)
    if isinstance(found, str):
        with pytest.raises(UsageError, match=found):
            sample.open(inputs)
    else:
        recordings = sample.open(inputs).recordings
        assert {(recording.space, recording.resolution) for recording in recordings} == {found}
        expected = "" if found[0] is None else f"_space-{found[0]}"
        assert all(f"{expected}_" in recording.mask.name for recording in recordings)


def test_derivatives_option(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    prep = sample.preprocess("derivatives/mine")
    assert sample.open().derivatives == {}
    monkeypatch.chdir(sample.root)
    for words, name in ((("derivatives/mine",), "mine"), ((f"prep={prep}",), "prep")):
        dataset = sample.open(InputSettings(derivatives=words))
        assert dataset.derivatives == {name: prep} and dataset.recordings[0].space == "T1w"
    for words, error in (
        ((f"a={prep}", f"a={sample.root}"), UsageError),
        ((str(prep), f"b={prep}"), UsageError),
        (("a=/nowhere",), MissingFiles),
        ((str(prep), str(sample.preprocess("derivatives/second"))), UsageError),
    ):
        with pytest.raises(error):
            sample.open(InputSettings(derivatives=words))
    with pytest.raises(UsageError, match="--derivatives"):
        sample.open(InputSettings(space="T1w"))


# ------------------------------------------------------------------ trials


def samples_of(trials: pd.DataFrame, split: str) -> list[str]:
    return sorted(set(trials.loc[(trials["split"] == split) & (trials["role"] == "sample"), "stimulus_id"]))


def test_a_task_is_loaded(sample: Sample) -> None:
    task = sample.load()
    assert samples_of(task.trials, "train") == ["a", "b"] and samples_of(task.trials, "test") == ["c"]
    assert task.latents.stimuli == ("a", "b", "c")
    assert task.trials["role"].value_counts().to_dict() == {"sample": 6, "ignore": 2}
    assert task.trials["onset"].tolist() == [0.0, 6.0, 12.0, 18.0] * 2
    assert task.trials["recording"].tolist() == [0] * 4 + [1] * 4
    assert any("one test stimulus (c)" in notice for notice in task.notices)


def test_values_are_stripped_and_odd_ids_survive(sample: Sample) -> None:
    (sample.root / "stimuli/latents/z.tsv").write_text("stimulus_id\nNA\n001\nNone\nd\n")
    sample.events([("0", "1", "train  ", " stim-NA"), ("6", "1", " train", "001 "), ("12 ", "1", "test", "None")])
    trials = sample.load().trials
    assert samples_of(trials, "train") == ["001", "NA"] and samples_of(trials, "test") == ["None"]


def test_key_is_stim_file_verbatim_or_what_the_pattern_finds(sample: Sample) -> None:
    rows = [("0", "1", "train", "r1/a.png"), ("6", "1", "test", "r1/b.png"), ("9", "1", "test", "r2/b.png")]
    sample.events(rows, columns=("onset", "duration", "trial_type", "stim_file"))
    trials, _ = load_trials(sample.open(), "01", "faces", InputSettings())
    assert samples_of(trials, "test") == ["r1/b.png", "r2/b.png"]
    task = sample.load(InputSettings(stim_key=r"stim_file:(\w+)\.png$"))
    assert samples_of(task.trials, "test") == ["b"]
    sample.declare(StimulusKey={"Column": "stim_file", "Regex": r"/(\w)\.png"})
    assert sample.load().latents.stimuli == ("a", "b")
    sample.events([*rows, ("15", "1", "test", "odd.jpg")], columns=("onset", "duration", "trial_type", "stim_file"))
    with pytest.raises(InconsistentInput, match=r"matches nothing in 2 sample rows \(test\): odd\.jpg"):
        sample.load()


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ({"Column": "nothing"}, InconsistentInput, "no column nothing.*columns: onset"),
        ({"Column": "stim_id", "Regex": "("}, InconsistentInput, "regular expression"),
        ({"Column": "stim_id", "Regex": "(a)(b)"}, InconsistentInput, "exactly one group"),
        ("stim_id", InconsistentInput, "object"),
        (None, UsageError, "exactly one group"),
    ],
)
def test_keys_that_cannot_be_used(sample: Sample, key, error: type[HyperError], message: str) -> None:
    sample.declare(**({} if key is None else {"StimulusKey": key}))
    with pytest.raises(error, match=message):
        sample.load(InputSettings(stim_key="stim_id:x" if key is None else None))


def test_roles(sample: Sample) -> None:
    split = {**SPLIT, "Ignore": ["rest", "Img"], "Baseline": ["rest"], "DropWhere": {"oneback": [1], "bad": ["yes"]}}
    sample.declare(StimulusSplit=split)
    rows = [
        ("0", "1", "train", "a", "0", "n/a"),
        ("3", "1", "train", "a", "1", "n/a"),
        ("6", "1", "train", "b", "1.0", "n/a"),
        ("9", "1", "train", "b", "0", "n/a"),
        ("12", "1", "test", "c", "0", "yes"),
        ("15", "1", "test", "d", "n/a", "n/a"),
        ("18", "1", "rest", "d", "1", "n/a"),
        ("21", "1", "Img", "n/a", "0", "n/a"),
    ]
    sample.events(rows, columns=("onset", "duration", "trial_type", "stim_id", "oneback", "bad"))
    trials = sample.load().trials[:8]
    assert trials["role"].tolist() == ["sample", "drop", "drop", "sample", "drop", "sample", "baseline", "ignore"]
    assert trials["split"].tolist() == ["train", "", "", "train", "", "test", "", ""]


def test_precedence_of_the_split(sample: Sample, tmp_path: Path) -> None:
    """Command line > overlay > sidecar > column split of events > of stimuli.tsv > names of trial types."""
    columns = ("onset", "duration", "trial_type", "stim_id", "kind")
    rows = [("0", "1", "Train1", "a", "k1"), ("6", "1", "TEST", "b", "k2"), ("9", "1", "train", "c", "k3")]
    sample.events(rows, columns=columns)
    sample.declare(StimulusSplit={})

    def sets(**options) -> tuple[list[str], list[str]]:
        trials = sample.load(InputSettings(**options)).trials
        return samples_of(trials, "train"), samples_of(trials, "test")

    assert sets() == (["a", "c"], ["b"])
    (sample.root / "stimuli/stimuli.tsv").write_text("stimulus_id\tsplit\na\tTest\nstim-b\ttrain\nc\tn/a\n")
    assert sets() == (["b"], ["a"])
    with_split = [(*row, split) for row, split in zip(rows, ("test", "train", "train"), strict=True)]
    sample.events(with_split, columns=(*columns, "split"))
    assert sets() == (["b", "c"], ["a"])
    sample.declare(StimulusSplit={"Column": "kind", "Train": ["k1"], "Test": ["k2", "k3"]})
    assert sets() == (["a"], ["b", "c"])
    write_json(
        tmp_path / "overlay/task-faces_events.json",
        StimulusSplit={"Column": "kind", "Train": ["k2"], "Test": ["k3"], "Ignore": ["k1"]},
    )
    assert sets(overlay=tmp_path / "overlay") == (["b"], ["c"])
    options = {"overlay": tmp_path / "overlay", "train_trial_types": ("k1",), "test_trial_types": ("k2",)}
    with pytest.raises(InconsistentInput, match=r"k3 \(kind\) is neither"):
        sets(**options)
    assert sets(**{**options, "test_trial_types": ("k2", "k3")}) == (["a"], ["b", "c"])


@pytest.mark.parametrize(
    ("split", "rows", "message"),
    [
        ({"Train": ["train"], "Test": ["test"]}, ROWS, r"rest \(trial_type\) is neither(.|\n)*train: 4\n  rest: 2"),
        ({}, ROWS, r"rest \(trial_type\) is neither"),
        ({**SPLIT, "Train": ["train", "test"]}, ROWS, "test is named as train and as test"),
        ({**SPLIT, "Baseline": ["train"]}, ROWS, "train is named as train and as ignore"),
        ({**SPLIT, "Column": "nothing"}, ROWS, "no column 'nothing'"),
        ({**SPLIT, "DropWhere": {"nothing": [1]}}, ROWS, "DropWhere: the events have no column 'nothing'"),
        ({**SPLIT, "Train": [{}]}, ROWS, "list of values"),
        (["train"], ROWS, "object"),
        ({**SPLIT, "Test": ["probe"], "Ignore": ["rest", "test"]}, ROWS, r"no test sample(.|\n)*train: 4"),
        (SPLIT, [("0", "1", "train", "a"), ("6", "1", "test", "a")], r"both in the training and in the test set: a\."),
        (SPLIT, [("0", "1", "train", "n/a"), ("6", "1", "test", "a")], "line 2 of run run-1"),
        (SPLIT, [("0", "1", "train", "a"), ("6", "1", "test", "x")], r"no latents for 1 of 2 stimuli: x"),
        (SPLIT, [("n/a", "1", "train", "a")], r"line 2: onset is 'n/a'"),
        (SPLIT, [("0", "x", "train", "a")], "duration is 'x'"),
        (SPLIT, [("0", "-1", "train", "a")], "at least 0"),
        (SPLIT, [("0", "inf", "train", "a")], "duration is 'inf'"),
        (SPLIT, [("0", "1", "train")], "line 2: 3 cells"),
        (SPLIT, [], "no events"),
    ],
)
def test_events_and_splits_that_are_refused(sample: Sample, split, rows, message: str) -> None:
    sample.declare(StimulusSplit=split)
    sample.events(rows)
    with pytest.raises(InconsistentInput, match=message):
        sample.load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "no readable"),
        (b"a\tb\n1\t2\n", "no column onset"),
        (b"onset\tonset\n1\t2\n", "twice"),
    ],
)
def test_unreadable_events(sample: Sample, content: bytes, message: str) -> None:
    path = sample.stem("01", "2", "events.tsv")
    path.write_bytes(content)
    with pytest.raises(InconsistentInput, match=message) as caught:
        sample.load()
    assert str(path) in str(caught.value)


def test_lower_sidecar_replaces_the_latents_as_a_whole(sample: Sample) -> None:
    np.save(sample.root / "stimuli/latents/y.npy", np.ones((4, 2)))
    (sample.root / "stimuli/latents/y.tsv").write_text("stimulus_id\na\nb\nc\nd\n")
    write_json(sample.root / "sub-01/sub-01_events.json", StimulusLatents={"y": {"File": "latents/y.npy"}})
    dataset = sample.open()
    assert load_task(dataset, "01", "faces", InputSettings()).space == "y"
    assert load_task(dataset, "02", "faces", InputSettings()).space == "z"
    write_json(sample.stem("01", "2", "events.json"), StimulusLatents={"z": {"File": "latents/z.npy"}})
    with pytest.raises(InconsistentInput, match="run-1 and run-2 declare different StimulusLatents"):
        sample.load()


@pytest.mark.parametrize(
    ("folds", "message"),
    [("run", "2 runs"), ("session", "2 sessions"), ("stimulus:5", "5 stimuli"), ("stimulus:4", None)],
)
def test_too_few_units_to_cross_validate(sample: Sample, folds: str, message: str | None) -> None:
    sample.events([("0", "1", "x", "a"), ("6", "1", "y", "b"), ("9", "1", "y", "c"), ("12", "1", "rest", "d")])
    sample.declare(StimulusSplit={})
    write_events(sample.stem("01", "2", "events.tsv"), [("0", "1", "rest", "n/a")])
    if message is None:
        task = sample.load(InputSettings(cross_validate=folds))
        assert samples_of(task.trials, "cv") == ["a", "b", "c", "d"]
        assert "rest (1)" in task.notices[0]
    else:
        with pytest.raises(InconsistentInput, match=message):
            sample.load(InputSettings(cross_validate=folds))


def test_cross_validation_pools_train_and_test(sample: Sample) -> None:
    sample.events([("0", "1", "train", "a"), ("6", "1", "test", "a"), ("9", "1", "rest", "b")])
    trials = sample.load(InputSettings(cross_validate="run")).trials
    assert samples_of(trials, "cv") == ["a"] and set(trials["split"]) == {"cv", ""}


def test_latent_file_of_the_overlay_and_stimuli_tables_are_merged(sample: Sample, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay/stimuli"
    overlay.mkdir(parents=True)
    (sample.root / "stimuli/stimuli.tsv").write_text("stimulus_id\tgender\tage\na\tf\t20\nb\tm\tn/a\n")
    (overlay / "stimuli.tsv").write_text("stimulus_id\tage\tfilename\nstim-b\t30\tpictures/b.png\nc\t40\tc.png\n")
    (overlay / "pictures").mkdir()
    (overlay / "pictures/b.png").write_bytes(b"b")
    (sample.root / "stimuli/c.png").write_bytes(b"c")
    task = sample.load(InputSettings(overlay=tmp_path / "overlay"))
    table = task.stimuli.set_index("stimulus_id")
    assert task.stimuli.columns[0] == "stimulus_id" and table.index.tolist() == ["a", "b", "c"]
    assert table.loc["b", ["gender", "age"]].tolist() == ["m", "30"] and table.loc["a", "age"] == "20"
    assert task.image_files == {"b": overlay / "pictures/b.png", "c": sample.root / "stimuli/c.png"}
    assert "1 of 3 stimuli have no picture" in task.notices[-1]
    with pytest.raises(MissingFiles, match="--overlay"):
        sample.load(InputSettings(overlay=tmp_path / "nowhere"))


@pytest.mark.parametrize("content", ["id\na\n", "stimulus_id\na\nstim-a\n", "stimulus_id\tx\nn/a\t1\n", ""])
def test_stimulus_tables_that_are_refused(sample: Sample, content: str) -> None:
    (sample.root / "stimuli/stimuli.tsv").write_text(content)
    with pytest.raises(InconsistentInput, match=r"stimuli\.tsv"):
        sample.load()


def _pictures(sample: Sample) -> None:
    rows = [("0", "1", "train", "a", "1/a.png"), ("3", "1", "train", "b", "1/b.png"), ("6", "1", "test", "c", "c.png")]
    sample.events(rows, columns=("onset", "duration", "trial_type", "stim_id", "stim_file"))
    (sample.root / "stimuli/1").mkdir()


@pytest.mark.parametrize("annexed", [False, True])
def test_same_picture_in_both_sets(sample: Sample, annexed: bool) -> None:
    _pictures(sample)
    for name, content in (("1/a.png", "same!"), ("1/b.png", "other"), ("c.png", "same!")):
        path = sample.root / "stimuli" / name
        if annexed:
            path.symlink_to(f"../.git/annex/objects/{content}/MD5E-s5--{content}.png")
        else:
            path.write_text(content)
    task = sample.load()
    assert any("1 picture(s)" in notice and "a = c" in notice for notice in task.notices)
    assert len(task.image_files) == (0 if annexed else 3)
    with pytest.raises(InconsistentInput, match=r"a = c.*--strict"):
        sample.load(InputSettings(strict=True))
    assert not any("picture(s)" in notice for notice in sample.load(InputSettings(cross_validate="run")).notices)
    assert any("a = c" in notice for notice in sample.load(InputSettings(cross_validate="stimulus:2")).notices)


def test_pictures_outside_the_stimuli_folder_are_refused(sample: Sample) -> None:
    sample.events(
        [("0", "1", "train", "a", "../../secret.png"), ("6", "1", "test", "b", "b.png")],
        columns=("onset", "duration", "trial_type", "stim_id", "stim_file"),
    )
    with pytest.raises(InconsistentInput, match=r"stim_file: '\.\./\.\./secret\.png' leads out"):
        sample.load()


def test_unlocked_annex_pointers_count_as_missing(sample: Sample) -> None:
    sample.stem("01", "1", "bold.nii.gz").write_text("/annex/objects/MD5E-s1--0.nii.gz\n")
    with pytest.raises(MissingFiles, match="datalad get"):
        sample.open()


# ------------------------------------------------------------------ validator


@pytest.mark.skipif(find_validator() is None, reason="bids-validator-deno is not installed")
def test_validator_needs_no_home_and_lists_errors(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    sample.declare(trial_type={"Description": "x", "Levels": {"train": "x", "test": "x", "rest": "x"}})
    assert validate(sample.root) == []
    (sample.root / "sub-01/func/junk.txt").write_text("")
    with pytest.raises(InvalidDataset, match=r"NOT_INCLUDED \(1 x\), first in /sub-01/func/junk\.txt"):
        validate(sample.root)


def test_without_a_validator_a_notice(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", os.devnull)
    monkeypatch.setenv("PATH", "")
    assert "not installed" in validate(sample.root)[0]
