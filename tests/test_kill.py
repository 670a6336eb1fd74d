"""Killed at 22 seeded moments over two runs, and given again each time: no finished work is lost, no byte differs."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bids_app.tools import main as tools

SECONDS = 600
CHAINS = {
    20261121: ["load", 0, 0, 1, 2, 3, 4, 5, 7, 9, 11, 13, "publish", "publish", "publish"],
    20261122: ["load", 1, 4, 6, 8, 11, "publish"],
}
"""Seed -> what has been reached when the run is killed: numbers are steps with outputs."""


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    words = ["--participants", "1", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "30"]
    words += ["--n-test-faces", "4", "--repeats", "5", "--n-voxels", "120", "--image-shape", "8x7x6", "--snr", "4"]
    words += ["--generator", "identity", "--n-latents", "9"]
    assert tools(["simulate", str(folder / "bids"), *words]) == 0
    return folder


@pytest.fixture(scope="module")
def uninterrupted(here) -> dict[str, str]:
    """Name -> SHA-256 of every output of a run that nobody disturbed."""
    done = subprocess.run(command(here), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(finished(here))} steps on 2 processes" in done.stdout and ", reused" not in done.stdout
    return taken_away(here)


def command(here: Path) -> list[str]:
    words = [sys.executable, "-m", "bids_app.cli", str(here / "bids"), str(here / "out"), "participant"]
    words += ["-w", str(here / "work"), "--nprocs", "2", "--skip-bids-validation", "--n-permutations", "19"]
    return words


def taken_away(here: Path) -> dict[str, str]:
    """Return the digests of the outputs, and remove them and the work folder."""
    out = here / "out"
    digests = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] != "logs"
    }
    for name in ("out", "work"):
        (here / name).rename(here / f"{name}.{time.monotonic_ns()}")
    return digests


def finished(here: Path) -> dict[str, tuple[int, int]]:
    """Step that has finished, for the engine too -> which writing of its outputs this is."""
    found = {}
    for folder in (here / "work" / "hyper").glob("*"):
        marks = [path for path in folder.glob("_0x*.json") if "unfinished" not in path.name]
        if marks and (folder / "outputs.json").is_file():
            state = (folder / "outputs.json").stat()
            found[folder.name] = (state.st_ino, state.st_mtime_ns)
    return found


def reached(here: Path, moment: str | int) -> Callable[[], bool]:
    """Return a check of whether a run has come to that moment."""
    if moment == "load":
        return lambda: (here / "out").is_dir() or (here / "work").is_dir()
    if moment == "publish":  # its temporary files have names with a dot in front
        return lambda: next((here / "out" / "sub-01").rglob(".sub-*"), None) is not None
    folder = here / "work" / "hyper"
    if moment == 0:
        return lambda: next(folder.glob("*/_0x*_unfinished.json"), None) is not None
    return lambda: len(list(folder.glob("*/outputs.json"))) >= moment


def stop(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """End a run by SIGKILL of all its processes, or by SIGTERM of the first alone, as a batch system's warning."""
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
        process.communicate(timeout=SECONDS)
        return
    process.send_signal(number)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 143 and "give the same command again and it goes on where it was" in said


@pytest.mark.parametrize("seed", CHAINS)
def test_killed_again_and_again_a_run_ends_as_an_uninterrupted_one(here, uninterrupted, seed):
    rng, where = np.random.default_rng(seed), Counter()
    for number, moment in enumerate(CHAINS[seed]):
        before, check = finished(here), reached(here, moment)
        process = subprocess.Popen(
            command(here), start_new_session=True, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + SECONDS
        while not check() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.003 if moment == "publish" else 0.3))
        alive = process.poll() is None
        if alive:
            polite = number % 4 == 3 and moment != "publish"
            stop(process, signal.SIGTERM if polite else signal.SIGKILL)
        assert alive or process.wait() == 0, process.stderr.read()
        after = finished(here)
        assert {name: after.get(name) for name in before} == before, "finished steps were made again"
        unpublished = next((here / "out").rglob(".sub-*"), None) is not None
        where["publish" if unpublished else len(after)] += alive
    assert where.total() == len(CHAINS[seed]), "some kills came too late"
    assert where["publish"] and len(where) >= 5, where
    before = finished(here)
    last = subprocess.run(command(here), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert last.stdout.count(", reused") == len(before)
    assert {name: finished(here)[name] for name in before} == before
    assert taken_away(here) == uninterrupted
