"""The same command again: after it has finished, was killed or stopped, or with its work folder damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_app import finished, simulated, tree_of

from bids_app.cli import main


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return simulated(tmp_path_factory.mktemp("app") / "bids")


@pytest.fixture(scope="module")
def done(dataset) -> Path:
    return finished(dataset)


def test_a_second_run_recomputes_and_rewrites_nothing(dataset, done, capsys):
    results = [path for path in done.rglob("*") if path.is_file() and path.suffix != ".lock"]
    before = {path: path.stat().st_mtime_ns for path in results}
    inputs = dataset.parent / "work" / "hyper"
    made = {path: path.stat().st_mtime_ns for path in inputs.rglob("outputs.json")}
    assert made
    words = [str(dataset), str(done), "participant", "-w", str(dataset.parent / "work"), "--n-permutations", "99"]
    assert main(words) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in made.items()), "a step was run again"
    assert all(path.stat().st_mtime_ns == time for path, time in before.items()), "a result was written again"


def test_two_runs_with_one_seed_give_identical_files(dataset, done, tmp_path):
    other = tmp_path / "out"
    command = [str(dataset), str(other), "participant", "-w", str(tmp_path / "work"), "--n-permutations", "99"]
    assert main([*command, "--n-cpus", "1"]) == 0
    assert main([str(dataset), str(other), "group"]) == 0
    ours, theirs = tree_of(done), tree_of(other)
    for tree in (ours, theirs):
        tree.pop("dataset_description.json")  # holds the path to the input, relative to the output
    different = [name for name in ours if ours[name] != theirs.get(name) and not name.endswith(".html")]
    assert set(ours) == set(theirs) and not different


def test_reports_only_needs_the_work_folder(dataset, done, tmp_path, capsys):
    words = [str(dataset), str(done), "participant", "--n-permutations", "99", "--participant-label", "01"]
    page = (done / "sub-01.html").read_bytes()
    assert main([*words, "-w", str(dataset.parent / "work"), "--reports-only"]) == 0
    assert len((done / "sub-01.html").read_bytes()) > 0.9 * len(page)
    capsys.readouterr()
    for asked in ("--reports-only", "--boilerplate-only"):
        assert main([*words, "-w", str(tmp_path / "elsewhere"), asked]) == 66
        error = capsys.readouterr().err
        assert f"{asked} reads what a finished run left" in error and "holds no finished run of sub-01" in error
        assert f"the same command without {asked}" in error and "__" not in error, "no step is named by its folder"


def test_reports_only_puts_back_results_that_the_output_lacks(dataset, done, tmp_path, capsys):
    """Into an output that lost tables, and into an empty one: what the run had written is there again."""
    copy, empty = tmp_path / "copy", tmp_path / "empty"
    shutil.copytree(done, copy)
    lost = list(copy.glob("sub-01/func/*stats.tsv"))
    assert lost
    for path in lost:
        path.unlink()
    words = ["participant", "--n-permutations", "99", "--participant-label", "01", "--reports-only"]
    for out in (copy, empty):
        assert main([str(dataset), str(out), *words, "-w", str(dataset.parent / "work")]) == 0
        ours, theirs = tree_of(done), tree_of(out)
        names = [name for name in ours if name.startswith("sub-01/")]
        assert [name for name in names if ours[name] != theirs.get(name)] == []
        assert (out / "dataset_description.json").is_file()
        assert f"missing or changed in {out}, and put back from" in capsys.readouterr().err
    assert main([str(dataset), str(copy), *words, "-w", str(dataset.parent / "work")]) == 0
    assert "put back" not in capsys.readouterr().err


def test_a_damaged_work_folder_makes_no_report(dataset, done, tmp_path, capsys):
    work, out = tmp_path / "work", tmp_path / "out"
    shutil.copytree(dataset.parent / "work", work, symlinks=True)
    next(work.glob("hyper/sub_01__*/out/tree/**/*_stats.tsv")).write_text("")
    words = ["participant", "--n-permutations", "99", "--participant-label", "01", "--reports-only"]
    assert main([str(dataset), str(out), *words, "-w", str(work)]) == 66
    error = capsys.readouterr().err
    assert "only a part of a run (not: " in error and not list(out.glob("sub-*"))


def test_resume_after_a_kill(dataset, done, tmp_path):
    """Killed in the middle, the same command gives what an uninterrupted run gives."""
    import signal
    import time

    out, work = tmp_path / "out", tmp_path / "work"
    command = [sys.executable, "-m", "bids_app.cli", str(dataset), str(out), "participant", "-w", str(work),
               "--n-permutations", "99"]  # fmt: skip
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 600
    while time.time() < deadline and len(list((work / "hyper").glob("*/outputs.json"))) < 4:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in (work / "hyper").glob("*/outputs.json")}
    assert len(finished) >= 4 and not list(out.glob("sub-*.html"))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    kept = sum(path.stat().st_mtime_ns == stamp for path, stamp in finished.items())
    assert kept >= len(finished) - 1
    ours, theirs = tree_of(done), tree_of(out)
    names = [name for name in theirs if not name.endswith((".html", "dataset_description.json"))]
    assert names and [name for name in names if ours[name] != theirs[name]] == []


@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
def test_a_stopped_run_leaves_no_process_behind(dataset, tmp_path, number):
    import signal
    import time

    import psutil

    work = tmp_path / "work"
    command = [sys.executable, "-m", "bids_app.cli", str(dataset), str(tmp_path / "out"), "participant"]
    command += ["-w", str(work)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 600
    while time.time() < deadline and not list((work / "hyper").glob("*/outputs.json")):
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(getattr(signal, number))
    _, said = process.communicate(timeout=600)
    if number == "SIGTERM":
        told = "stopped; give the same command again and it goes on where it was\n"
        assert process.returncode == 143 and said.endswith(told), "nothing after it, of leaked semaphores for one"
    _, alive = psutil.wait_procs(children, timeout=120)
    assert not alive


def test_a_run_fitted_in_several_passes_is_the_same(dataset, done, tmp_path):
    from hyper_bids.settings import GLMSettings, identity_of
    from hyper_bids.workflow import steps

    work = dataset.parent / "work" / "hyper"
    designs, voxels = work / "sub_01__faces__designs" / "out", work / "sub_01__faces__voxels" / "out"
    bold = sorted(dataset.glob("derivatives/fmriprep/sub-01/**/*run-02*preproc_bold.nii.gz"))[0]
    made = steps.fit_run(
        designs=designs / "designs.npz",
        summary=designs / "summary.json",
        grid=voxels / "grid.npz",
        recording={"participant": "01", "label": "run-02", "bold": str(bold)},
        index=1,
        glm=identity_of(GLMSettings()),
        n_passes=3,
        out_dir=tmp_path,
    )
    whole = np.load(work / "sub_01__faces__fit__run_02" / "out" / "responses.npy")
    np.testing.assert_allclose(np.load(made["responses"]), whole, atol=1e-5)
