"""Where libraries cache when the user has no home: a folder of the run's own, gone at its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CACHES = ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TEMPLATEFLOW_HOME")
SAY = "import os; from bids_app.cli import give_home; give_home(); print(*(os.environ.get(n, '-') for n in {!r}))"


def given(tmp_path: Path, code: str = SAY.format(CACHES), **environment: str) -> list[str]:
    """Return what the variables hold in a process with that environment, after `give_home`."""
    scratch = tmp_path / "tmp"
    scratch.mkdir(exist_ok=True)
    whole = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(scratch), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=whole, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(scratch.iterdir()), "temporary folders stay behind"
    return done.stdout.split()


def test_a_home_that_can_be_written_is_left_alone(tmp_path):
    assert given(tmp_path, HOME=str(tmp_path)) == [str(tmp_path), "-", "-", "-"]


@pytest.mark.parametrize("home", [{}, {"HOME": ""}, {"HOME": "/nonexistent"}, {"HOME": "/dev/null"}])
def test_without_a_home_there_is_one(tmp_path, home):
    found, *others = given(tmp_path, **home)
    assert Path(found).parent == tmp_path / "tmp" and others == ["-", "-", "-"]  # they are looked up below the home


@pytest.mark.parametrize("name", CACHES[1:])
def test_only_a_cache_that_cannot_be_written_is_replaced(tmp_path, name):
    (tmp_path / "file").touch()
    environment = {"HOME": str(tmp_path), name: str(tmp_path / "file" / "cache")}
    found = dict(zip(CACHES, given(tmp_path, **environment), strict=True))
    assert "hyper-home-" in found.pop(name)
    assert found.pop("HOME") == str(tmp_path) and set(found.values()) == {"-"}


def test_templates_that_lie_ready_are_kept(tmp_path):
    (tmp_path / "templates" / "tpl-X").mkdir(parents=True)
    (tmp_path / "templates").chmod(0o555)
    found = given(tmp_path, HOME="/nonexistent", TEMPLATEFLOW_HOME=str(tmp_path / "templates"))
    assert found[3] == str(tmp_path / "templates") and "hyper-home-" in found[0]


def test_a_run_that_is_stopped_removes_its_folder(tmp_path):
    code = (
        "import multiprocessing, time; from bids_app.cli import give_home, _stop\n"
        "give_home(); multiprocessing.Process(target=time.sleep, args=(60,)).start(); _stop(0)"
    )
    assert given(tmp_path, code) == []
