"""What bad input, wrong words and folders that cannot be used get, through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_app import run, simulated

from bids_app.cli import main
from hyper_bids.inputs.validate import find_validator


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return simulated(tmp_path_factory.mktemp("app") / "bids")


@pytest.fixture
def broken(dataset, tmp_path) -> Path:
    copy = tmp_path / "broken"
    shutil.copytree(dataset, copy)
    return copy


def test_a_damaged_run_fails_its_participant_and_the_other_finishes(broken, tmp_path, capsys):
    path = sorted(broken.glob("derivatives/fmriprep/sub-01/**/*_desc-preproc_bold.nii.gz"))[0]
    path.write_bytes(path.read_bytes()[:4000])
    assert run(broken, tmp_path) == 1
    error = capsys.readouterr().err
    assert path.name in error and "incomplete" in error
    last = error.strip().splitlines()[-1]
    assert last.startswith("error: sub-01: not finished: ") and len(last) < 200, "the failure is said again at the end"
    assert (tmp_path / "out" / "sub-02.html").is_file()
    assert not (tmp_path / "out" / "sub-01").exists() and not (tmp_path / "out" / "sub-01.html").exists()
    assert list((tmp_path / "out" / "logs" / "sub-01").glob("crash-*.txt"))
    shutil.copyfile(sorted((broken / "sub-01").rglob("*_bold.nii.gz"))[0], path)
    assert run(broken, tmp_path) == 0, "after the repair the same command goes on"


def test_confounds_of_another_length(broken, tmp_path, capsys):
    path = sorted(broken.glob("derivatives/fmriprep/sub-01/**/*confounds_timeseries.tsv"))[0]
    path.write_text("\n".join(path.read_text().split("\n")[:-5]) + "\n")
    assert run(broken, tmp_path, "--participant-label", "01") == 65
    assert "rows but the BOLD has" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda z: z * np.nan, 65, "not finite"),
        (lambda z: z[:, :-1], 65, "64"),
        (lambda z: z[:-1], 65, "row"),
    ],
)
def test_bad_latents(broken, tmp_path, capsys, change, code, message):
    path = broken / "stimuli" / "latents" / "portrait.npy"
    np.save(path, change(np.load(path)))
    assert run(broken, tmp_path) == code
    assert message in capsys.readouterr().err and not list((tmp_path / "out").glob("sub-*"))


def test_nan_and_constant_voxels_are_left_out_and_said(broken, tmp_path, capsys):
    path = sorted(broken.glob("derivatives/fmriprep/sub-01/**/*_desc-preproc_bold.nii.gz"))[0]
    image = nib.load(path)
    mask_path = sorted(broken.glob("derivatives/fmriprep/sub-01/**/*brain_mask.nii.gz"))[0]
    mask = np.asarray(nib.load(mask_path).dataobj) > 0
    data = image.get_fdata(dtype=np.float32)
    where = np.argwhere(mask)
    data[tuple(where[0])] = np.nan
    data[tuple(where[1])] = 700.0
    nib.save(nib.Nifti1Image(data, image.affine, nib.Nifti1Header()), path)
    assert run(broken, tmp_path, "--participant-label", "01") == 0
    brain = nib.load(next((tmp_path / "out").glob("sub-01/func/*desc-brain_mask.nii.gz")))
    assert np.asarray(brain.dataobj).sum() == 298


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--participant-label", "99"], 18, "01"),
        (["--latent-space", "portrit"], 64, "portrait"),
        (["--decoder", "rigde"], 64, "Did you mean 'ridge'"),
        (["--mask", "/nowhere/mask.nii.gz"], 66, "does not exist"),
        (["--generator", "portrat"], 64, "Did you mean 'portrait'"),
        (["-d", "/nowhere"], 66, "/nowhere"),
    ],
)
def test_wrong_words_and_missing_files(dataset, tmp_path, capsys, words, code, message):
    assert run(dataset, tmp_path, *words) == code
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("sub-*"))


def test_folders_that_would_harm_the_input(dataset, tmp_path, capsys):
    assert main([str(dataset), str(dataset), "participant"]) == 64
    assert main([str(dataset), str(tmp_path / "out"), "participant", "-w", str(dataset / "work")]) == 64
    assert main([str(tmp_path / "nothing"), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work")]) == 66


def test_an_output_that_cannot_be_written(dataset, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is needed")
    assert main([str(dataset), str(blocked / "out"), "participant", "-w", str(tmp_path / "work")]) == 73


def test_an_invalid_dataset_is_refused(broken, tmp_path, capsys):
    if find_validator() is None:
        pytest.skip("bids-validator-deno is not installed")
    (broken / "sub-01" / "func" / "nonsense.txt").write_text("no BIDS name")
    assert run(broken, tmp_path) == 16
    assert run(broken, tmp_path, "--skip-bids-validation", "--participant-label", "02") == 0


def test_a_memory_limit_that_cannot_be_met_is_an_error_before_any_work(dataset, tmp_path, capsys):
    assert run(dataset, tmp_path, "--mem", "0.5G") == 64
    assert "--mem allows 0.5 GB" in capsys.readouterr().err
    assert not (tmp_path / "work" / "hyper").exists()
