"""A BIDS folder in, recordings out: what is selected, in which order, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from input_files import N_VOLUMES, ROWS, TR, Sample, write_bold, write_events, write_json

from hyper_bids.errors import (
    InconsistentInput,
    InvalidDataset,
    MissingFiles,
    NothingSelected,
    OutputNotWritable,
    UsageError,
)
from hyper_bids.inputs.dataset import open_dataset
from hyper_bids.inputs.validate import find_validator, validate
from hyper_bids.settings import InputSettings


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path / "dataset")


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


def test_unlocked_annex_pointers_count_as_missing(sample: Sample) -> None:
    sample.stem("01", "1", "bold.nii.gz").write_text("/annex/objects/MD5E-s1--0.nii.gz\n")
    with pytest.raises(MissingFiles, match="datalad get"):
        sample.open()


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
