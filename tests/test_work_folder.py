"""A work folder that is stale, damaged, somebody else's or another version's: detected, said, and never believed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest

from hyper_bids import __version__
from hyper_bids.errors import HyperError, OutputNotWritable, UsageError
from hyper_bids.workflow import nipype_engine
from hyper_bids.workflow.plan import Output, Step
from hyper_bids.workflow.work_folder import MARK, claim


@pytest.fixture
def place(tmp_path) -> tuple[Path, Path]:
    """A work folder and a dataset."""
    work, bids = tmp_path / "work", tmp_path / "bids"
    for folder in (work, bids):
        folder.mkdir()
    (bids / "dataset_description.json").write_text('{"Name": "one"}')
    return work, bids


def test_an_own_work_folder_needs_no_words(place):
    assert claim(*place) == []
    (place[0] / "hyper" / "sub_01__faces__pool").mkdir(parents=True)
    assert claim(*place) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda mark: {**mark, "version": "0.0.0"}, "last used by hyper 0.0.0"),
        (lambda mark: {**mark, "dataset": "/elsewhere"}, "last used for /elsewhere"),
        (lambda mark: {**mark, "description": "0"}, "another description"),
        (lambda mark: {"version": "1"}, "cannot be read"),
        (lambda mark: [], "cannot be read"),
    ],
)
def test_another_version_or_dataset_is_said_once(place, change, says):
    work, bids = place
    claim(work, bids)
    (work / MARK).write_text(json.dumps(change(json.loads((work / MARK).read_text()))))
    (notice,) = claim(work, bids)
    assert says in notice and str(work) in notice
    assert claim(work, bids) == [] and json.loads((work / MARK).read_text())["version"] == __version__


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null"])
def test_an_unreadable_mark_is_said(place, content):
    (place[0] / MARK).write_bytes(content)
    (notice,) = claim(*place)
    assert "cannot be read" in notice and claim(*place) == []


def test_steps_without_a_mark_are_of_an_unknown_version(place):
    (place[0] / "hyper" / "sub_01__faces__pool").mkdir(parents=True)
    (notice,) = claim(*place)
    assert "unknown version" in notice


@pytest.mark.parametrize("name", ["hyper", "locks", "inputs", "crash"])
def test_a_file_where_a_folder_is_needed(place, name):
    (place[0] / name).write_text("a file")
    with pytest.raises(OutputNotWritable, match=rf"{name} is a file.*Move it away"):
        claim(*place)


def test_a_folder_of_that_name_that_is_something_else(place):
    (place[0] / "hyper").mkdir()
    (place[0] / "hyper" / "setup.py").touch()
    with pytest.raises(UsageError, match=r"no work folder of this app: it holds setup\.py"):
        claim(*place)
    assert not (place[0] / MARK).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user needs root")
def test_another_users_work_folder_is_refused(place):
    (place[0] / "hyper").mkdir()
    os.chown(place[0] / "hyper", 4242, 4242)
    with pytest.raises(UsageError, match=r"made by another user \(id 4242"):
        claim(*place)


# ------------------------------------------------------------------ folders of steps


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(here)
    return tmp_path / "log"


def two_steps(log: Path, source: Path) -> list[Step]:
    sources = {"sub_one": source, "sub_two": Output("sub_one", "value")}
    return [
        Step(name, "toy_steps:read", {"source": file}, {"log": str(log)}, outputs=("value",))
        for name, file in sources.items()
    ]


def run(log: Path, source: Path, work: Path) -> str:
    made = nipype_engine.run(two_steps(log, source), work, n_procs=2, memory_gb=4.0).outputs
    return made["sub_two"]["value"].read_text()


DAMAGE = {
    "no result": lambda step: next(step.glob("result_*")).unlink(),
    "random bytes as result": lambda step: next(step.glob("result_*")).write_bytes(b"\x1f\x8b" + b"random" * 9),
    "a result that is no gzip": lambda step: next(step.glob("result_*")).write_bytes(pickle.dumps({})),
    "a result cut off": lambda step: os.truncate(next(step.glob("result_*")), 60),
    "outputs.json is a folder": lambda step: ((step / "outputs.json").unlink(), (step / "outputs.json").mkdir()),
    "outputs.json is no JSON": lambda step: (step / "outputs.json").write_bytes(b"\xff{"),
    "outputs.json of another step or version": lambda step: (step / "outputs.json").write_text(
        (step / "outputs.json").read_text().replace('"stamp": "', '"stamp": "0')
    ),
    "outputs deleted": lambda step: shutil.rmtree(step / "out"),
    "out is a file": lambda step: (shutil.rmtree(step / "out"), (step / "out").write_text("")),
    "error.json is a folder": lambda step: ((step / "error.json").mkdir(), shutil.rmtree(step / "out")),
    "all but the outputs deleted": lambda step: [path.unlink() for path in step.glob("*") if path.is_file()],
    "the step's folder deleted": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_step_is_made_again_and_no_other(tmp_path, log, damage):
    source = tmp_path / "source.txt"
    source.write_text("right")
    assert run(log, source, tmp_path / "work") == "right"
    damage(tmp_path / "work" / "hyper" / "sub_one")
    assert run(log, source, tmp_path / "work") == "right"
    assert len(log.read_text().splitlines()) == 3
    assert run(log, source, tmp_path / "work") == "right" and len(log.read_text().splitlines()) == 3


def test_a_file_in_the_place_of_a_step(tmp_path, log):
    (tmp_path / "work" / "hyper").mkdir(parents=True)
    (tmp_path / "work" / "hyper" / "sub_two").write_text("")
    with pytest.raises(OutputNotWritable, match="sub_two is a file"):
        run(log, tmp_path / "source.txt", tmp_path / "work")


def test_a_copied_work_folder_does_not_read_its_original(tmp_path, log):
    source, other = tmp_path / "source.txt", tmp_path / "other.txt"
    source.write_text("right")
    other.write_text("wrong")
    run(log, source, tmp_path / "work")
    shutil.copytree(tmp_path / "work", tmp_path / "copy")
    assert run(log, other, tmp_path / "work") == "wrong"
    shutil.rmtree(tmp_path / "copy" / "hyper" / "sub_two")  # has to be made again, from the copy's first step
    assert run(log, source, tmp_path / "copy") == "right"


def test_a_work_folder_behind_a_link_is_used_again(tmp_path, log):
    source = tmp_path / "source.txt"
    source.write_text("right")
    (tmp_path / "link").symlink_to(tmp_path)
    run(log, source, tmp_path / "link" / "work")
    assert run(log, source, tmp_path / "work") == "right" and len(log.read_text().splitlines()) == 2


def test_nothing_of_nipypes_is_kept_that_nobody_reads(tmp_path, log):
    source = tmp_path / "source.txt"
    source.write_text("right")
    run(log, source, tmp_path / "work")
    found = sorted(path.name.split("0x")[0] for path in (tmp_path / "work/hyper/sub_one").iterdir())
    assert found == ["_", "out", "outputs.json", "result_sub_one.pklz"]


def test_a_limit_of_memory_that_a_step_meets_is_told_as_such(tmp_path, log):
    step = Step("sub_one", "toy_steps:starve", outputs=("value",), mem_gb=1.5)
    (failure,) = nipype_engine.run([step], tmp_path / "work", n_procs=1, memory_gb=4.0).failures
    assert isinstance(failure.error, HyperError) and failure.error.exit_code == 1
    assert "not enough memory" in str(failure.error) and "asked for 1.5 GB" in str(failure.error)
    assert "--n-cpus" in str(failure.error)
