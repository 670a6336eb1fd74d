"""Every command of README and docs is run as it is written, in a shell, on the smallest input that it takes.

The pages' own names (BIDS_DIR, generator.params, ...) are those of the stand-ins (page_stand_ins.py), so that no word
is changed but ADDRESS, that of a server here. Container engines and SLURM are played (page_programs.py). What is not
run stands in `NOT_RUN` with its reason; a new command in a page is run, or the tests fail: every line of a fence for a
shell has to be known, and beyond the fences what begins with a program known here is taken for a command.

The calls of our programs are answered by a process that has imported them already (page_server.py says what that leaves
untested); one command of README is therefore run as installed too.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import page_programs
import page_server
import page_stand_ins as stand_ins
from page_commands import ROOT, Command, commands, of_text, pages
from test_docs import understood

from hyper_bids.errors import UsageError

BIN = Path(sys.executable).parent
MEASURES = "measures for minutes, or hours"
ENGINE = "needs a container engine and minutes; tests/container/test_image.sh is run by hand on every image"
INDEX = "installs from a package index"
DATALAD = "needs DataLad and a network"
DEVICE = "needs a GPU and hours; tests/test_train_app.py trains the same at toy size"
NOT_RUN = {
    "make test": "is what runs this test",
    "make image": ENGINE,
    "make test-image": ENGINE,
    "bash tests/container/test_image.sh": ENGINE,
    "PARTS=speed SIF=hyper.sif bash tests/container/test_image.sh": ENGINE,
    "pip install -c constraints.txt .": INDEX,
    "pip install 'hyper-bids[onnx]'": INDEX,
    "datalad install https://github.com/OpenNeuroDatasets/ds001761.git": DATALAD,
    "datalad containers-add --url hyper.sif hyper": DATALAD,
    "datalad get sub-01 stimuli task-*_events.json participants.tsv": DATALAD,
    "hyper-tools check ds001761 --task-id faces --template overlay": "test_docs.py runs it on the real tree",
    "hyper sim_ds001761 out-sim participant -d prep=sim_ds001761/derivatives/prep -w work-sim": "test_docs_run.py",
    "hyper sim_ds001761 out-sim-vaegan participant -d prep=sim_ds001761/derivatives/prep --preset vaegan "
    "--latent-space simZ -w work-sim-vaegan": "test_docs_run.py",
    "hyper-tools train dand --images CELEBA --out dand.safetensors --feature-weights rcmalli_vggface_tf_vgg16.h5 "
    "--loss-weights vgg16-397923af.pth --space-images DATASET/stimuli/train --device cuda": DEVICE,
    "hyper-tools train vaegan --images CELEBA --out vaegan.safetensors --device cuda": DEVICE,
    "scancel --batch --signal=TERM 5": "needs a job that runs; tests/test_kill.py stops runs at 22 moments",
    "grep -B 1 -A 1 CANCELLED workterm/logs/hyper_5_1.log": "the log of that job",
    "python benchmarks/training.py": MEASURES,
    "python benchmarks/glm.py --repeats 5 --nilearn 1": MEASURES,
    "python benchmarks/parametric.py": MEASURES,
    "python benchmarks/decoders.py": MEASURES,
    "python benchmarks/evaluation.py": MEASURES,
    "python benchmarks/generators.py": MEASURES,
    "python benchmarks/calibration.py --write docs/statistics.md": MEASURES,
}
"""Command, without its comment, -> why it is not run here."""

ENDS_WITH = {"hyper-tools models verify generator.params": 65}
"""Exit code where it is not 0: the toy is not the published file."""

FURNISHED = {
    "README.md": stand_ins.readme,
    "generators.md": stand_ins.generators,
    "hpc.md": stand_ins.cluster,
    "security.md": stand_ins.cluster,
    "faq.md": stand_ins.readme,
    "index.md": stand_ins.readme,
}
BEFORE = {
    "hyper BIDS_DIR FOLDER group": "cp -r out FOLDER",
    "apptainer build hyper.sif docker-archive:hyper.tar": "rm -f hyper.sif",
}
"""What has to be there first, as the sentence around the command says."""

CAN_BE_COMPARED = re.compile(r"same|limits: .*|    \d+ files compared.*|\d+ steps on .*|\[\d+/\d+\] .*")
"""Lines that a page shows and that do not depend on machine, data and time, but for what `VARIES`."""
VARIES = {
    r"\d+ (files|tables)": r"\\d+ \1",
    r"\d+ process(es)?": r"\\d+ process(?:es)?",
    r"at most \d+\\\.\d+ GB": r"at most \\d+\.\\d+ GB",
    r"^\\\[\d+/": r"\\[\\d+/",
}
"""Counts of files and processes, memory, and in which order parallel steps end: in an escaped line -> in a pattern."""


def bare(command: Command) -> str:
    return re.sub(r"\s+#.*$", "", command.text)


def is_mention(command: Command) -> bool:
    """Whether a span in running text only names a command: ours without its words, others' with a single one."""
    if not command.inline:
        return False
    program, *words = command.words
    if program not in ("hyper", "hyper-tools"):
        return len(words) < 2
    try:
        understood(program, words)
    except UsageError as error:
        return "required" in str(error)
    except SystemExit:  # --version, --help
        pass
    return False


def to_run(path: Path) -> list[Command]:
    return [command for command in commands(path) if not is_mention(command) and bare(command) not in NOT_RUN]


# ------------------------------------------------------------------ none escapes


def test_the_list_of_what_is_not_run_is_exact():
    written = {bare(command) for path in pages() for command in commands(path)}
    assert set(NOT_RUN) <= written, "no page has it any more"
    assert all(NOT_RUN.values()) and set(ENDS_WITH) | set(BEFORE) <= written


def test_a_new_command_is_found_wherever_it_stands():
    text = """
```
hyper A B group   what it does
```

    hyper-tools check C \\
        --task-id d

Or `FOO=1 make
x y`.

```console
$ new-program z | tail
its output
$ second
```
See `hyper-tools check`, `hyper ... -d X`.
"""
    found = list(of_text(text))
    expected = ["hyper A B group", "new-program z | tail", "second", "hyper-tools check C --task-id d"]
    expected += ["FOO=1 make x y", "hyper-tools check"]
    assert [command.text for command in found] == expected and found[1].shown == ("its output",)
    assert [is_mention(command) for command in found] == [False] * 5 + [True]


@pytest.mark.parametrize(
    "text",
    [
        "```\nhyper A B group\n```\n",
        "1. So:\n\n   ```bash\n   hyper A B group\n   ```\n",
        "~~~\nhyper A B group\n~~~\n",
        "```sh\n# a comment\n\n    hyper A B group\n```\n",
        "So:\n\n    $ hyper A B group\n",
    ],
)
def test_no_form_of_a_block_hides_a_command(text):
    assert [command.text for command in of_text(text)] == ["hyper A B group"]


@pytest.mark.parametrize(
    "text",
    [
        "```\ncd x && hyper A B group\n```\n",
        "```\nfor x in 1 2; do hyper A B group; done\n```\n",
        "```\nsudo docker run hyper A B group\n```\n",
        "```bash\nuv pip install hyper-bids\n```\n",
        "```\nmake\n$ hyper A B group\n```\n",
        "```text\n$ hyper A B group\n```\n",
        "```zsh\nhyper A B group\n```\n",
        "* So:\n\n      ```\n      hyper A B group\n      ```\n",
        "```\nhyper A B group\n",
    ],
)
def test_what_cannot_be_read_as_a_command_is_no_silence(text):
    with pytest.raises(ValueError, match=r"fence|command"):
        list(of_text(text))


# ------------------------------------------------------------------ and all run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return stand_ins.Assets(tmp_path_factory.mktemp("assets"))


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = page_programs.install(tmp_path_factory.mktemp("programs") / "bin")
    with page_server.start(folder, page_programs.OURS):
        yield folder


@pytest.fixture
def address(tmp_path):
    """Serve the folder that the page's stand-ins were put into."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "here" / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/pggan_celebahq_smile_boundary.npy"
    server.shutdown()
    server.server_close()
    thread.join()


class Shell:
    """A folder and an environment in which the commands of a page follow each other."""

    def __init__(self, place: Path, programs: Path, **variables: str) -> None:
        place.mkdir()
        self.place = place
        self.jobs = place.parent / "jobs"
        self.environment = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),  # for jobs, too
            "SLURM_CPUS_PER_TASK": "1",  # one process, which imports everything once
            "PLAYED_JOBS": str(self.jobs), "PLAYED_CALLS": str(place.parent / "calls"), **variables,
        }  # fmt: skip

    def __call__(self, text: str) -> subprocess.CompletedProcess:
        words = ["bash", "-uo", "pipefail", "-c", text]
        return subprocess.run(words, cwd=self.place, env=self.environment, capture_output=True, text=True, timeout=1800)

    def run(self, command: Command, words: dict[str, str]) -> None:
        """Run a command; hold its exit code and what can be compared against the page."""
        number = next((int(found[1]) for line in command.shown if (found := re.match(r"array (\d+)", line))), None)
        self.jobs.write_text(str(number or 900))
        text = re.sub(r"\b[A-Z]+\b", lambda word: words.get(word[0], word[0]), command.text)
        done = self(f"{BEFORE.get(bare(command), ':')}\n{text}")
        said = f"{command.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == ENDS_WITH.get(bare(command), 0), said
        for line in filter(CAN_BE_COMPARED.fullmatch, command.shown):
            pattern = re.escape(line).replace("\\ ", " ")
            for there, anything in VARIES.items():
                pattern = re.sub(there, anything, pattern)
            assert any(re.fullmatch(pattern, given) for given in done.stdout.splitlines()), said


def run_page(path: Path, shell: Shell, **words: str) -> None:
    for command in to_run(path):
        shell.run(command, words)


PLAIN = ("README.md", "faq.md", "hpc.md", "index.md", "performance.md", "security.md")


@pytest.mark.parametrize("name", PLAIN)
def test_the_commands_of_a_page_run(name, made, programs, tmp_path):
    venv = tmp_path / "venv"
    shell = Shell(tmp_path / "here", programs, VENV=str(venv), DEMO=str(tmp_path / "demo"))
    if name == "README.md":
        installed(venv, programs)
        for part in ("Makefile", "pyproject.toml", "constraints.txt", "docs"):
            (shell.place / part).symlink_to(ROOT / part)
    FURNISHED.get(name, lambda place, made: None)(shell.place, made)
    run_page(next(path for path in pages() if path.name == name), shell)


@pytest.mark.skipif(not shutil.which("hyper", path=str(BIN)), reason="hyper is not installed beside this Python")
def test_a_page_begins_with_what_the_installed_programs_do(made, tmp_path):
    """The first commands on one's own data: nothing is imported before, and workers are those of a forkserver."""
    shell = Shell(tmp_path / "here", BIN, PYTHONPATH="")
    stand_ins.readme(shell.place, made)
    words = ("hyper-tools check BIDS_DIR", "hyper BIDS_DIR OUTPUT_DIR participant --participant-label 01 -w WORK_DIR")
    chosen = [command for command in commands(ROOT / "README.md") if command.text in words]
    assert len(chosen) == 2
    for command in chosen:
        shell.run(command, {})
    assert (shell.place / "OUTPUT_DIR" / "sub-01.html").is_file()


def installed(venv: Path, programs: Path) -> None:
    """Make what `make` takes for an environment that is set up, whose simulation is a small one."""
    (venv / "bin").mkdir(parents=True)
    shutil.copy(programs / "hyper", venv / "bin")
    small = " ".join(["--participants 2 --generator identity --n-latents 9", *stand_ins.SMALL])
    (venv / "bin" / "hyper-tools").write_text(f'#!/bin/sh\nexec "{programs}/hyper-tools" "$@" {small}\n')
    (venv / "bin" / "hyper-tools").chmod(0o755)
    (venv / ".installed").touch()


def test_the_commands_of_the_generators_page_run(made, programs, tmp_path, address):
    shell = Shell(tmp_path / "here", programs)
    stand_ins.generators(shell.place, made)
    run_page(ROOT / "docs" / "generators.md", shell, ADDRESS=address)
    drawn = list((shell.place / "SIMULATED_OUT").glob("sub-01/func/*_recon.png"))
    assert len(drawn) == 6, "a reconstruction for every test stimulus"


def test_the_commands_of_the_published_study_run(shared_data, programs, tmp_path):
    shell = Shell(tmp_path / "here", programs)
    stand_ins.published_study(shell.place, shared_data)
    run_page(ROOT / "docs" / "ds001761.md", shell)


def test_every_page_with_commands_is_run():
    assert {path.name for path in pages() if to_run(path)} == {*PLAIN, "generators.md", "ds001761.md"}


# ------------------------------------------------------------------ the stand-ins would notice


@pytest.mark.parametrize(
    "text, says",
    [
        ("docker run --rm -u 1:1 -v A:/data -v B:/out hyper /data /out participant", "/data could be written to"),
        ("docker run --rm -u 1:1 -v A:/data:ro hyper /data /out participant", "/out cannot be written to"),
        ("docker run --rm -v A:/data:ro -v B:/out hyper /data /out participant", "would belong to root"),
        ("docker run --rm -u 1:1 --read-only -v A:/data:ro -v B:/out hyper /data /out participant", "no /tmp"),
        ("docker run --rm --mount A hyper /data /out participant", "no option --mount"),
        ("apptainer run -B A:/data:ro,B:/out x.sif /data /out participant", "environment would get in"),
        ("apptainer run --containall -B A:/data:ro,B:/out none.sif /data /out participant", "none.sif"),
    ],
)
def test_an_engine_holds_a_page_to_its_promises(text, says, programs, tmp_path):
    shell = Shell(tmp_path / "here", programs)
    (shell.place / "x.sif").touch()
    done = shell(text)
    assert done.returncode == 1 and says in done.stderr
