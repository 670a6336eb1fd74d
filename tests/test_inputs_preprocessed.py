"""Preprocessed BOLD beside the raw dataset: layouts, spaces, what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from input_files import Sample, write_bold, write_json

from hyper_bids.errors import MissingFiles, UsageError
from hyper_bids.settings import InputSettings


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path / "dataset")


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
