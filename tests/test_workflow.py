"""The plan as data, and the engine: resume, content, code version, killed workers, error texts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

import hyper_bids
from hyper_bids.errors import HyperError, MissingFiles, OutputNotWritable, WorkerKilled
from hyper_bids.workflow import nipype_engine
from hyper_bids.workflow.execute import run_in_process
from hyper_bids.workflow.plan import Output, Step, check_plan, code_version, descendants
from hyper_bids.workflow.resources import available_cpus, available_memory_mb
from hyper_bids.workflow.step_folders import collect


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return tmp_path / "log"


def toy(name, function, *, log=None, inputs=None, outputs=("value",), **params):
    if log is not None:
        params["log"] = str(log)
    return Step(name, f"toy_steps:{function}", inputs=inputs or {}, params=params, outputs=outputs)


def sum_of_two(log):
    parts = (Output("one", "value"), Output("two", "value"))
    return [
        toy("one", "make", log=log, value=1),
        toy("two", "make", log=log, value=2),
        toy("sum", "add", log=log, inputs={"parts": parts}, outputs=("sum",)),
    ]


def run(steps, tmp_path, **options):
    return nipype_engine.run(steps, tmp_path / "work", n_procs=2, memory_gb=4.0, **options)


def lines(log):
    return log.read_text().splitlines() if log.is_file() else []


def test_a_plan_gives_the_same_in_process_and_through_nipype(tmp_path, log):
    steps = sum_of_two(log)
    ours = run_in_process(steps, tmp_path / "plain")["sum"]["sum"].read_text()
    theirs = run(steps, tmp_path).outputs["sum"]["sum"].read_text()
    assert ours == theirs == "3"


def test_a_second_run_recomputes_nothing_and_a_new_version_everything(tmp_path, log):
    run(sum_of_two(log), tmp_path)
    assert len(lines(log)) == 3
    seen = []
    run(sum_of_two(log), tmp_path, progress=lambda step, status: seen.append((step.name, status)))
    assert len(lines(log)) == 3 and set(seen) == {(name, "reused") for name in ("one", "two", "sum")}
    run([replace(step, version="next") for step in sum_of_two(log)], tmp_path)
    assert len(lines(log)) == 6


def test_changed_content_recomputes_and_a_touch_does_not(tmp_path, log):
    source = tmp_path / "source.txt"
    source.write_text("aaa")
    steps = [toy("read", "read", log=log, inputs={"source": source})]
    run(steps, tmp_path)
    stamp = source.stat()
    source.write_text("bbb")
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size, same time, other content
    assert run(steps, tmp_path).outputs["read"]["value"].read_text() == "bbb"
    os.utime(source)
    run(steps, tmp_path)
    assert len(lines(log)) == 2


@pytest.mark.parametrize("left", ["", "{", "[]", '{"value": "out/value.txt"}', '{"outputs": 3}'])
def test_what_another_version_or_a_crash_left_is_made_again(tmp_path, log, left):
    run([toy("one", "make", log=log, value=1)], tmp_path)
    (tmp_path / "work" / "hyper" / "one" / "outputs.json").write_text(left)
    assert run([toy("one", "make", log=log, value=1)], tmp_path).outputs["one"]["value"].read_text() == "1"
    assert len(lines(log)) == 2


def test_a_changed_identity_recomputes(tmp_path, log):
    step = toy("one", "make", log=log, value=1)
    run([step], tmp_path)
    run([replace(step, identity={"file": "other digest"})], tmp_path)
    assert len(lines(log)) == 2


def test_an_output_that_was_not_asked_for_before_is_made(tmp_path, log):
    asked = toy("spell", "spell", log=log)
    for outputs in (("value",), ("value", "word"), ("word", "value")):
        made = run([replace(asked, outputs=outputs)], tmp_path).outputs["spell"]
        assert set(outputs) <= set(made)
    assert lines(log) == ["spell", "spell"]


def test_changed_limits_do_not_recompute(tmp_path, log):
    step = replace(toy("one", "make", value=1), limits={"log": str(log)})
    run([step], tmp_path)
    run([replace(step, limits={"log": str(log) + ".other"})], tmp_path)
    assert len(lines(log)) == 1 and not Path(str(log) + ".other").exists()


def test_an_output_deleted_by_hand_is_made_again(tmp_path, log):
    first = run(sum_of_two(log), tmp_path)
    first.outputs["one"]["value"].unlink()
    assert run(sum_of_two(log), tmp_path).outputs["sum"]["sum"].read_text() == "3"
    assert lines(log).count("make 1") == 2 and lines(log).count("make 2") == 1


def test_a_killed_worker_is_reported_and_the_others_finish(tmp_path, log):
    heir = toy("heir", "read", log=log, inputs={"source": Output("doomed", "value")})
    finished = run([*sum_of_two(log), toy("doomed", "die", log=log), heir], tmp_path)
    assert finished.outputs["sum"]["sum"].read_text() == "3"
    (failure,) = finished.failures
    assert failure.step.name == "doomed" and isinstance(failure.error, WorkerKilled)
    assert "memory" in str(failure.error) and lines(log).count("die") == 2
    assert "heir" not in finished.outputs


def test_a_worker_killed_once_is_tried_again(tmp_path, log):
    finished = run([toy("unlucky", "die_once", log=log), *sum_of_two(log)], tmp_path)
    assert not finished.failures and finished.outputs["unlucky"]["value"].read_text() == "9"


def test_a_steps_own_words_survive(tmp_path, log):
    finished = run([toy("bad", "refuse"), *sum_of_two(log)], tmp_path)
    (failure,) = finished.failures
    assert isinstance(failure.error, MissingFiles) and failure.error.exit_code == 66
    assert str(failure.error) == "the thing is not there; put it there"
    assert "toy_steps.py" in failure.traceback and finished.outputs["sum"]


def test_a_plan_is_checked_before_anything_runs(log):
    with pytest.raises(ValueError, match="no earlier step makes"):
        check_plan([toy("sum", "add", inputs={"parts": (Output("one", "value"),)})])
    with pytest.raises(ValueError, match="two steps"):
        check_plan([toy("one", "make"), toy("one", "make")])
    assert descendants(sum_of_two(log), {"one"}) == {"one", "sum"}


def test_limits_come_from_what_this_process_may_use():
    assert available_cpus({}) <= len(os.sched_getaffinity(0))
    assert available_cpus({"SLURM_CPUS_PER_TASK": "1"}) == 1
    assert available_memory_mb({"SLURM_MEM_PER_NODE": "123"}) == 123


def test_another_code_is_another_version(tmp_path, monkeypatch):
    (tmp_path / "science").mkdir()
    monkeypatch.setattr(hyper_bids, "__file__", str(tmp_path / "__init__.py"))
    found = []
    for name, text in (("science/a.py", "x = 1"), ("science/a.py", "x = 2"), ("science/b.py", ""), ("notes.txt", "")):
        (tmp_path / name).write_text(text)
        found.append(code_version.__wrapped__())
    assert len(set(found[:3])) == 3 and found[3] == found[2]
    assert all(version.startswith(f"{hyper_bids.__version__}+") for version in found)


@pytest.mark.parametrize("name", ["/scratch/hyper/step/_node.pklz", b"/scratch/hyper/step", 7, None])
def test_a_disk_that_fills_under_the_engine_is_told_as_that(tmp_path, name):
    full = OSError(28, "No space left on device")
    full.filename = name
    with pytest.raises(OutputNotWritable, match="No space left on device") as caught:
        collect([toy("one", "write")], {"one": tmp_path}, full)
    assert (name if isinstance(name, str) else "Cannot write") in str(caught.value)
    for other in (ValueError("a graph with a cycle"), OSError(110, "Connection timed out")):
        with pytest.raises(HyperError, match="The workflow engine failed: ") as caught:
            collect([toy("one", "write")], {"one": tmp_path}, other)
        assert not isinstance(caught.value, OutputNotWritable)
