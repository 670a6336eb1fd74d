"""What happens on a cluster: killed workers, full and read-only disks, neighbours in one output folder, many files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_app.tools import main as tools
from hyper_bids.derivatives.write import remove_unfinished
from hyper_bids.workflow import nipype_engine
from hyper_bids.workflow.plan import Step

SECONDS = 900
KILLER = """
import os, signal, sys
def kill(event, words):
    if event == "open" and str(words[0]).endswith("run-02_desc-preproc_bold.nii.gz"):
        if os.getcwd().endswith("sub_01__faces__fit__run_02"):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that other users may enter, with a dataset and the outputs of a run of it."""
    with tempfile.TemporaryDirectory(prefix="hyper-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        words = ["--participants", "2", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "30"]
        words += ["--n-test-faces", "4", "--repeats", "5", "--n-voxels", "120", "--image-shape", "8x7x6"]
        words += ["--snr", "4", "--generator", "identity", "--n-latents", "9"]
        assert tools(["simulate", str(folder / "bids"), *words]) == 0
        done = start(folder, folder / "out", folder / "work")
        assert done.wait() == 0, done.stderr.read()
        yield folder


def start(home: Path, out: Path, work: Path, *words: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bids_app.cli", str(home / "bids"), str(out), "participant", "-w", str(work)]
    command += ["--skip-bids-validation", "--n-permutations", "19", "--nprocs", "2", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=home, **pipes, **options)


def with_path(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]), **more}


def digests(out: Path, *participants: str) -> dict[str, str]:
    files = [path for name in participants for path in (out / f"{name}.html", *out.glob(f"{name}/**/*"))]
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }


def images(out: Path, *participants: str) -> dict[str, str]:
    """Outputs that do not name the output folder."""
    return {name: digest for name, digest in digests(out, *participants).items() if not name.endswith(".html")}


# ------------------------------------------------------------------ memory


def test_a_worker_killed_in_a_fit_is_told_as_that_and_the_rest_finishes(home, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    run = start(home, tmp_path / "out", tmp_path / "work", env=with_path(tmp_path))
    printed, said = run.communicate(timeout=SECONDS)
    assert run.returncode == 1, said
    line, repeated = [line for line in said.splitlines() if line.startswith("error:")]
    assert repeated.startswith("error: sub-01: not finished:")  # at the end, where it is seen
    for words in ("sub-01 faces: GLM run-02", "the worker was killed", "want of memory", "it had asked for 0.", "GB",
                  "Give the job more memory", "--n-cpus 1 instead of 2", "details:"):  # fmt: skip
        assert words in line
    finished = {path.parent.name for path in (tmp_path / "work/hyper").glob("*/outputs.json")}
    assert {"sub_01__faces__fit__run_01", "sub_01__faces__fit__run_03"} <= finished, "the other runs finish"
    assert images(tmp_path / "out", "sub-02") == images(home / "out", "sub-02")
    assert not digests(tmp_path / "out", "sub-01")
    again = start(home, tmp_path / "out", tmp_path / "work")
    printed, said = again.communicate(timeout=SECONDS)
    assert again.returncode == 0 and printed.count(", reused") == len(finished), said
    assert images(tmp_path / "out", "sub-01") == images(home / "out", "sub-01")


@pytest.mark.parametrize("words", [[], ["--use-plugin", "MultiProc"]])
def test_a_tiny_memory_limit_is_refused_in_words(home, tmp_path, words):
    run = start(home, tmp_path / "out", tmp_path / "work", "--mem=100", *words)
    said = run.communicate(timeout=SECONDS)[1]
    assert run.returncode == 64 and "--mem allows 0.1 GB" in said and "Traceback" not in said


SBATCH = """#!{python}
import os, subprocess, sys
script = sys.argv[-1]
if {kill!r} not in script:
    subprocess.run(["bash", script], check=True)
print("Submitted batch job", os.getpid())
"""


def test_a_job_that_the_scheduler_kills_is_told_as_that(tmp_path, monkeypatch):
    """SLURM's commands are played here: the job of one step leaves nothing, as one that was killed for memory does."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, kill="sub_two"))
    (programs / "squeue").write_text("#!/bin/sh\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *sys.path]))
    monkeypatch.syspath_prepend(here)
    steps = [
        Step(f"sub_{name}", "toy_steps:make", params={"value": 1, "log": str(tmp_path / "log")}, outputs=("value",))
        for name in ("one", "two", "three")
    ]
    arguments = {"sbatch_args": "--mem=100"}
    finished = nipype_engine.run(
        steps, tmp_path / "work", n_procs=1, memory_gb=4.0, plugin="SLURM", plugin_args=arguments
    )
    (failure,) = finished.failures
    assert failure.step.name == "sub_two" and failure.error.exit_code == 1
    for words in ("probably killed for want of memory", "--mem=100", "needs about 0.5 GB", "--nipype-plugin-file"):
        assert words in str(failure.error)
    assert set(finished.outputs) == {"sub_one", "sub_three"}


# ------------------------------------------------------------------ disks


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here (that needs root): {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of one MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def sealed(home) -> Iterator[Path]:
    """The dataset, on a file system that nobody can write, root neither."""
    mount("--bind", str(home / "bids"), str(home / "bids"))
    mount("-o", "remount,ro,bind", str(home / "bids"))
    yield home / "bids"
    subprocess.run(["umount", "-l", str(home / "bids")], check=True)


def test_a_full_output_folder_is_73_and_the_same_command_goes_on(home, tmp_path, small_disk):
    out = small_disk / "out"
    (out / "sub-02").mkdir(parents=True)
    (out / "sub-02" / "earlier.tsv").write_text("an earlier result")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    words = ["--participant-label", "01"]
    run = start(home, out, tmp_path / "work", *words)
    said = run.communicate(timeout=SECONDS)[1]
    assert run.returncode == 73, said
    assert "Cannot write" in said and str(out) in said and "Free some space" in said and "is kept" in said
    assert not digests(out, "sub-01") and (out / "sub-02" / "earlier.tsv").read_text() == "an earlier result"
    assert not [path for path in out.rglob(".*") if path.name != ".bidsignore"]
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    again = start(home, out, tmp_path / "work", *words)
    printed, said = again.communicate(timeout=SECONDS)
    assert again.returncode == 0 and f"{printed.count(', reused')} steps on 2 processes" in printed, said
    assert images(out, "sub-01") == images(home / "out", "sub-01")


def test_a_full_work_folder_is_73_and_says_which(home, tmp_path, small_disk):
    (small_disk / "filler").write_bytes(bytes(980_000))
    run = start(home, tmp_path / "out", small_disk / "work", "--participant-label", "01")
    said = run.communicate(timeout=SECONDS)[1]
    assert run.returncode == 73, said
    assert "Cannot write" in said and str(small_disk) in said and "Traceback" not in said
    assert not digests(tmp_path / "out", "sub-01")


def test_read_only_input_and_an_output_that_cannot_be_written(home, tmp_path, sealed):
    before = {path: path.stat().st_mtime_ns for path in sealed.rglob("*")}
    refused = start(home, sealed / "derivatives" / "hyper", tmp_path / "work")
    said = refused.communicate(timeout=SECONDS)[1]
    assert refused.returncode == 73 and f"Cannot write to {sealed / 'derivatives' / 'hyper'}" in said
    assert "Read-only file system" in said and "Choose another output folder" in said
    run = start(home, tmp_path / "out", home / "work", "--participant-label", "01")
    said = run.communicate(timeout=SECONDS)[1]
    assert run.returncode == 0, said
    assert images(tmp_path / "out", "sub-01") == images(home / "out", "sub-01")
    assert {path: path.stat().st_mtime_ns for path in sealed.rglob("*")} == before


# ------------------------------------------------------------------ neighbours


def test_two_participants_at_once_into_one_output(home, tmp_path):
    jobs = [
        start(home, tmp_path / "out", tmp_path / "work", "--participant-label", name) for name in ("01", "02")
    ]
    said = [job.communicate(timeout=SECONDS)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    assert images(tmp_path / "out", "sub-01", "sub-02") == images(home / "out", "sub-01", "sub-02")
    for name in (".bidsignore", "layout_config.json", "README.md", "descriptions.tsv"):
        assert (tmp_path / "out" / name).read_bytes() == (home / "out" / name).read_bytes()
    assert json.loads((tmp_path / "out" / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert not [path for path in (tmp_path / "out").rglob(".*") if path.name != ".bidsignore"]


def test_what_a_killed_job_left_is_removed_and_nothing_else(tmp_path):
    ours = ["sub-01/func/.sub-01_task-faces_desc-brain_mask.json.ab12cd_x", ".sub-01.html.ab12cd_x",
            "logs/sub-01/.files.txt.ab12cd_x", ".dataset_description.json.ab12cd_x"]  # fmt: skip
    others = ["sub-02/func/.sub-02_task-faces_desc-brain_mask.json.ab12cd_x", ".sub-02.html.ab12cd_x", ".bidsignore",
              ".README.md.ab12cd_y", "sub-01/.nobodys", ".heudiconv.provider"]  # fmt: skip
    for name in ours + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    os.utime(tmp_path / ours[-1], (0, 0))  # shared by all jobs: only when it is old
    os.utime(tmp_path / ".heudiconv.provider", (0, 0))
    assert remove_unfinished(tmp_path, "sub-01") == len(ours)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(others)


# ------------------------------------------------------------------ how many files


def test_few_files(home):
    """SPEC: fewer than 60 outputs a participant besides figures and PNGs; the work folder under 100 files a run."""
    out, pictures = home / "out", (".png", ".svg")
    files = {out / "sub-01.html", *(out / "sub-01").rglob("*.*"), *(out / "logs" / "sub-01").iterdir()}
    assert 20 < sum(path.suffix not in pictures and "figures" not in path.parts for path in files) < 60
    work = [path for path in (home / "work").rglob("*") if path.is_file()]
    n_runs = 6
    assert len(work) < 100 * n_runs
    assert sum(path.suffix not in pictures for path in work) < 50 * n_runs


def test_a_clean_work_folder_holds_locks_only(home, tmp_path):
    run = start(home, tmp_path / "out", tmp_path / "work", "--participant-label", "01", "--clean-work-dir")
    said = run.communicate(timeout=SECONDS)[1]
    assert run.returncode == 0, said
    found = sorted(path.name for path in (tmp_path / "work").rglob("*") if path.is_file())
    assert found == ["sub-01.lock", "work_folder.json"]
    assert not list((tmp_path / "work").glob("*/sub_*"))
