"""Sidecars, sampling and events files of a run: inheritance, repetition time, damaged files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from input_files import TR, Sample, write_bold, write_events, write_json

from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.inputs.sidecars import Sidecars


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path / "dataset")


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
