"""Progress: what it knows of the time left, and what terminals, log files and jobs get to see."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import time

import pytest

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.workflow.journal import Journal
from hyper_bids.workflow.live import DIM, fitted
from hyper_bids.workflow.plan import Output, Step
from hyper_bids.workflow.progress import Progress, kind, makespan, memory_in_use

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def step(name, label, *parents, bold=None, mem_gb=0.5):
    inputs = {f"from_{parent}": Output(parent, "made") for parent in parents}
    params = {"recording": {"bold": str(bold)}} if bold else {}
    return Step(name, "m:f", inputs=inputs, params=params, outputs=("made",), label=label, mem_gb=mem_gb)


def follow(progress, clock, name, seconds):
    progress.start(name)
    clock.now += seconds
    return progress.end(name)


# ------------------------------------------------------------------ time left


def test_nothing_is_said_before_something_is_known_and_a_lower_limit_until_all_is():
    clock = Clock()
    steps = [step(f"glm{k}", f"sub-01 faces: GLM run-0{k}") for k in range(4)]
    steps.append(step("decode", "sub-01 faces: decoding with ridge", *[item.name for item in steps]))
    progress = Progress(steps, n_procs=1, memory_gb=8, clock=clock)
    assert progress.time_left() is None
    progress.start("glm0")
    clock.now += 50
    assert progress.time_left() is None, "a step that has not ended is no measure"
    progress.end("glm0")
    left = progress.time_left()
    assert (left.seconds, left.complete) == (150, False) and str(left) == "at least 2 min 30 s left"
    for k in (1, 2, 3):
        follow(progress, clock, f"glm{k}", 50)
    assert progress.time_left() is None, "of the decoding nothing is known"
    assert progress.describe()[0] == "[4/5] preparing"
    assert follow(progress, clock, "decode", 7) == 7 and progress.n_done == 5
    assert progress.describe() == ("[5/5] writing the results", "3 min 27 s")


def test_no_time_is_said_to_be_left_where_none_is_known():
    """A step that takes longer than its kind did: zero seconds are no forecast."""
    clock = Clock()
    steps = [step("a", "x: one"), step("b", "x: one", "a"), step("c", "x: two", "b")]
    progress = Progress(steps, n_procs=1, memory_gb=8, clock=clock)
    assert progress.describe() == ("[0/3] preparing", "0 s")
    follow(progress, clock, "a", 5)
    progress.start("b")
    assert progress.describe() == ("[1/3] x: one", "5 s, at least 5 s left")
    clock.now += 6
    assert progress.describe() == ("[1/3] x: one", "11 s")
    progress.fail("b")
    assert progress.describe() == ("[2/3] writing the results", "11 s"), "what waits for it will not run"


def test_the_forecast_is_exact_where_work_is_in_proportion_and_all_kinds_are_known(tmp_path):
    """Two participants one after the other: once the first is done, what is left is what then happens."""
    clock, sizes = Clock(), {"01": (100, 300), "02": (200, 500)}
    steps = []
    for participant, runs in sizes.items():
        for number, size in enumerate(runs):
            bold = tmp_path / f"{participant}_{number}.nii"
            bold.write_bytes(b"x" * size)
            steps.append(step(f"g{participant}{number}", f"sub-{participant} faces: GLM run-{number}", bold=bold))
        steps.append(step(f"d{participant}", f"sub-{participant} faces: decoding with ridge", steps[-1].name))
    progress = Progress(steps, n_procs=1, memory_gb=8, clock=clock)
    for name, seconds in (("g010", 10), ("g011", 30), ("d01", 4)):
        follow(progress, clock, name, seconds)
    assert progress.time_left().seconds == pytest.approx(20 + 50 + 4) and progress.time_left().complete
    progress.start("g020")
    clock.now += 5
    assert progress.time_left().seconds == pytest.approx(15 + 50 + 4), "time passes"
    clock.now += 100
    assert progress.time_left().seconds == pytest.approx(50 + 4), "a late step is due at once, never before"


def test_kept_steps_are_not_timed_and_what_waits_for_a_failed_one_is_not_counted():
    clock = Clock()
    steps = [step("a", "x: one"), step("b", "x: one"), step("c", "x: two", "a"), step("d", "x: three", "b")]
    progress = Progress(steps, n_procs=2, memory_gb=8, clock=clock)
    assert progress.end("a") is None and progress.time_left() is None
    progress.start("b")
    clock.now += 3
    progress.fail("b")
    follow(progress, clock, "c", 5)
    assert progress.time_left() is None and progress.n_done == 3


def test_makespan_against_answers_that_are_clear():
    free = [step(name, name) for name in "abcde"]
    seconds = {"a": 3.0, "b": 3.0, "c": 3.0, "d": 3.0, "e": 3.0}
    assert [makespan(free, seconds, n_procs, 8) for n_procs in (1, 2, 9)] == [15, 9, 3]
    chain = [step("a", "a"), step("b", "b", "a"), step("c", "c", "b")]
    assert makespan(chain, seconds, 4, 8) == 9
    large = [step(name, name, mem_gb=5) for name in "abc"]
    assert makespan(large, seconds, 3, 8) == 9, "two of them do not fit into the memory together"
    assert makespan(large, seconds, 3, 2) == 9, "one that does not fit at all is run alone"


def test_kinds_leave_out_who_and_which_run():
    labels = ["sub-01 faces: GLM ses-01_run-02", "sub-02 faces: GLM run-7", "sub-01 faces: decoding with ridge"]
    kinds = [kind(step("s", label)) for label in labels]
    assert kinds[0] == kinds[1] != kinds[2]


def test_memory_in_use_counts_children():
    before = memory_in_use()
    code = "x = bytearray(150_000_000); print(len(x), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert 0.13 < memory_in_use() - before < 0.4
        child.communicate(b"\n")


# ------------------------------------------------------------------ what is shown


@pytest.mark.parametrize("width", [0, 5, 12, 40, 79, 200])
def test_the_line_never_wraps(width, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    line = fitted("[12/36] sub-01 faces: GLM run-01, sub-01 faces: GLM run-02", "3 min, 1.0 of 4.0 GB", width)
    assert len(ESCAPE.sub("", line)) <= width


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert DIM not in fitted("[1/2] GLM", "3 s", 60)
    monkeypatch.delenv("NO_COLOR")
    assert DIM in fitted("[1/2] GLM", "3 s", 60)


def test_messages_stand_above_the_line_and_the_log_has_everything(tmp_path, monkeypatch):
    """In a terminal of its own: after every message the line is there again, and at the end it is gone."""
    code = f"""
import time
from pathlib import Path
from hyper_bids.workflow.journal import Journal
journal = Journal(Path({str(tmp_path)!r}))
journal.open("01")
with journal.following(lambda: ("[1/2] GLM", "3 s")):
    journal.step("a finished step", "01"); journal.say("something said", "01"); journal.warn("something odd", "01")
    journal.warn("something odd", "01")
    time.sleep(1.2)
print("the end")
"""
    shown = in_terminal([sys.executable, "-c", code])
    assert shown.count("[1/2] GLM") >= 3 and "a finished step" not in shown
    lines = as_seen(shown)
    assert lines == ["something said", "warning: something odd", "the end"]
    (log,) = (tmp_path / "logs" / "sub-01").glob("*.log")
    text = log.read_text()
    assert text.count("something odd") == 2, "a warning that comes again is only logged"
    assert "a finished step" in text and "\x1b" not in text and "\r" not in text


def test_a_heartbeat_is_a_plain_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hyper_bids.workflow.journal.HEARTBEAT_SECONDS", 0.05)
    journal = Journal(tmp_path)
    with journal.following(lambda: ("[3/9] sub-01: GLM", "5 min, about 9 min left, 1.0 of 4.0 GB")):
        time.sleep(0.3)
    out = capsys.readouterr().out
    assert "still at work: [3/9] sub-01: GLM; 5 min, about 9 min left, 1.0 of 4.0 GB\n" in out and "\x1b" not in out


# ------------------------------------------------------------------ the app


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("progress") / "bids"
    words = ["--participants", "1", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "30", "--n-test-faces",
             "4", "--repeats", "3", "--n-voxels", "120", "--image-shape", "8x7x6", "--generator", "none"]  # fmt: skip
    assert tools(["simulate", str(folder), *words]) == 0
    return folder


def command(dataset, out, *words):
    folders = [str(dataset), str(dataset.parent / out), "participant", "-w", str(dataset.parent / f"{out}work")]
    return [*folders, "--skip-bids-validation", "--n-permutations", "19", "--n-cpus", "1", *words]


def test_a_job_gets_plain_lines_and_quiet_is_quiet(dataset, capfd, monkeypatch):
    assert main(command(dataset, "plain")) == 0
    out = capfd.readouterr().out
    assert "\x1b" not in out and "\r" not in out
    n_steps = int(re.search(r"(\d+) steps on", out)[1])
    assert [int(number) for number in re.findall(r"^\[(\d+)/\d+\]", out, flags=re.M)] == [*range(1, n_steps + 1)]
    (log,) = (dataset.parent / "plain" / "logs" / "sub-01").glob("*.log")
    assert len(re.findall(r"took [\d.]+ s; [\d.]+ GB in use", log.read_text())) == n_steps
    assert main(command(dataset, "plain", "-q")) == 0
    assert capfd.readouterr().out == "", "nothing happened that a quiet user wants to hear of"
    logs = sorted((dataset.parent / "plain" / "logs" / "sub-01").glob("*.log"))
    assert any("kept from an earlier run" in path.read_text() for path in logs)


def test_a_terminal_gets_one_line(dataset):
    words = [sys.executable, "-m", "bids_app.cli", *command(dataset, "plain")]
    shown = in_terminal(words)
    assert "reading and checking the input" in shown and re.search(r"\[\d+/\d+\].*of \d+\.\d GB", shown)
    seen = as_seen(shown)
    assert not [line for line in seen if line.startswith("[")], "no step is left on the screen"
    assert seen[-1].startswith("sub-01: done")


def in_terminal(words, columns=100):
    """Run a command in a terminal of its own; return what it wrote."""
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, columns))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(parent)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


def as_seen(shown):
    """What stands on the screen in the end: a line that was cleared is gone."""
    lines = []
    for line in shown.replace("\r\n", "\n").split("\n"):
        left = re.sub(r"\x1b\[[0-9;]*m", "", line.rpartition("\r\x1b[K")[2])
        lines.append(left)
    return [line for line in lines if line]


def test_a_reader_that_leaves_does_not_end_the_run(dataset):
    """`hyper ... | head -1`, or a tee that was killed: what nobody reads is in the log, and the run goes on."""
    words = [sys.executable, "-m", "bids_app.cli", *command(dataset, "unread")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "steps on" in process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() == 0 and "error" not in said, said
    assert (dataset.parent / "unread" / "sub-01.html").is_file()
    (log,) = (dataset.parent / "unread" / "logs" / "sub-01").glob("*.log")
    assert "done; open" in log.read_text()
