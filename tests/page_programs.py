"""Stand-ins for what a test machine lacks: container engines and SLURM, played by small programs on the path.

The engines take the words of a page, hold them against what the page promises of its mounts, and start the app of this
tree with the paths of the host, since there is no image. `sbatch` runs its script at once.

Not the same as an engine, besides: a call with the words and folders of an earlier one is not made again, one line is
printed instead (README shows one run by Docker, by Apptainer and without either); only its mounts are looked at.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = {"hyper": "bids_app.cli", "hyper-tools": "bids_app.tools"}
PLAYED = ("docker", "apptainer", "sbatch")
KEPT = ("PATH", "PYTHONPATH", "TMPDIR", "OMP_NUM_THREADS")
"""Variables that a container of this tree's app needs; the others stay outside."""
SINGLE = ("--rm", "--read-only", "--containall", "--notest")
WITH_VALUE = ("-u", "-v", "-B", "--network", "--tmpfs", "--cap-drop", "--cpus", "--memory", "--env",
              "--mksquashfs-args")  # fmt: skip


def install(folder: Path) -> Path:
    """Write the programs that are played into a folder for PATH."""
    folder.mkdir()
    for name in ("python", "python3"):
        _write(folder / name, f'PYTHONPATH="{ROOT}:$PYTHONPATH" exec "{sys.executable}" "$@"')
    for name in PLAYED:
        _write(folder / name, f'exec "{sys.executable}" "{__file__}" {name} "$@"')
    for name in ("squeue", "scancel"):
        _write(folder / name, "exit 0")
    return folder


def _write(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def main(program: str, *words: str) -> None:
    """Play a program."""
    if program == "sbatch":
        sbatch(list(words))
    elif words[0] == "save":
        print(f"image {words[1]}")
    elif words[0] == "build":
        build(list(words[1:]))
    else:
        engine(program, list(words))


# ------------------------------------------------------------------ engines


def build(words: list[str]) -> None:
    """Play ``apptainer build [options] FILE.sif SOURCE``."""
    _, (target, source) = options(words)
    must(target.endswith(".sif"), f"{target} is no .sif")
    must(source == "hyper.def" or source.startswith(("docker-daemon:hyper:", "docker-archive:")), source)
    Path(target).touch()


def options(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Split into the engine's options with their values, and the rest from the image on."""
    given, rest = [], list(words)
    while rest[0].startswith("-"):
        name = rest.pop(0)
        must(name in (*SINGLE, *WITH_VALUE), f"no option {name}")
        given.append((name, rest.pop(0) if name in WITH_VALUE else ""))
    return given, rest


def engine(program: str, words: list[str]) -> None:
    """Play ``docker run`` and ``apptainer run``."""
    must(words[0] == "run", f"{program} {words[0]}")
    given, (image, *rest) = options(words[1:])
    must(image == "hyper" if program == "docker" else Path(image).is_file() and image.endswith(".sif"), image)
    names = [name for name, _ in given]
    if program == "docker":
        must("--rm" in names and ("--read-only" not in names or "--tmpfs" in names), "what stays, and no /tmp")
    else:
        must("--containall" in names, "the host's environment would get in")
    mounts = dict(mount for name, value in given if name in ("-v", "-B") for mount in _mounts(value))
    _promised(rest, mounts, names if program == "docker" else [*names, "-u"])
    inside = [_outside(word, mounts) for word in rest]
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if "--dry-run" not in inside and _called_before(inside):
        print("the same call of the app was made before")
        return
    os.execvpe("hyper", ["hyper", *inside], {**kept, "HOME": "/nonexistent", **_grants(given)})


def _mounts(value: str) -> list[tuple[str, tuple[str, bool]]]:
    """Folder in the container -> (folder outside, whether it is read-only) of a ``-v`` or ``-B``."""
    found = []
    for item in value.split(","):
        outside, inside, mode = [*item.split(":"), "", ""][:3]
        found.append((inside or outside, (os.path.abspath(outside), mode == "ro")))
    return found


def _promised(words: list[str], mounts: dict[str, tuple[str, bool]], names: list[str]) -> None:
    """The input is mounted read-only, what is written to is not, and belongs to who calls."""
    bids, out, level = words[:3]
    must(bids not in mounts or mounts[bids][1], f"{bids} could be written to")
    must(level == "group" or bids in mounts, f"{bids} is not mounted")
    for folder in [out, *words[words.index("-w") + 1 :][:1]] if "-w" in words else [out]:
        if "--dry-run" not in words:
            must(folder in mounts and not mounts[folder][1], f"{folder} cannot be written to")
            must("-u" in names, "the output would belong to root")


def _outside(word: str, mounts: dict[str, tuple[str, bool]]) -> str:
    for inside, (outside, _) in mounts.items():
        if word == inside or word.startswith(f"{inside}/"):
            return outside + word[len(inside) :]
    return word


def _grants(given: list[tuple[str, str]]) -> dict[str, str]:
    """Limits of an engine, handed on as those of a job: no cgroup is made here."""
    found = {"SLURM_CPUS_PER_TASK": "1"}
    for name, value in given:
        if name == "--cpus":
            found["SLURM_CPUS_PER_TASK"] = value
        elif name == "--memory":
            found["SLURM_MEM_PER_NODE"] = str(int(value.removesuffix("g")) * 1000)
        elif name == "--env":
            found.update([value.split("=", 1)])
    return found


def _called_before(words: list[str]) -> bool:
    """Whether the app got the same words, with folders by their real places, from an earlier line of the page."""
    calls = Path(os.environ["PLAYED_CALLS"])
    call = "\t".join(os.path.realpath(word) if word.startswith("/") else word for word in words)
    known = calls.read_text().splitlines() if calls.exists() else []
    calls.write_text("\n".join([*known, call]) + "\n")
    return call in known


# ------------------------------------------------------------------ SLURM


def sbatch(words: list[str]) -> None:
    """Run a script as the tasks of a job, one after the other, and print the job's number as SLURM does."""
    import subprocess

    given = {}
    while words[0].startswith("-"):
        name, _, value = words.pop(0).partition("=")
        given[name] = value if name.startswith("--") else words.pop(0)
    script = Path(words[0])
    head = dict(line[8:].strip().split("=", 1) for line in script.read_text().splitlines() if _is_directive(line))
    given = {**head, **given}
    number = _next_job()
    name = given.get("--job-name", script.name)
    for task in range(1, int(given.get("--array", "1-1").rpartition("-")[2]) + 1):
        log = given.get("--output", given.get("-o", os.devnull))
        for mark, text in {"%x": name, "%A": number, "%j": number, "%a": task}.items():
            log = log.replace(mark, str(text))
        # two CPUs would be two processes that import everything: one is asked for less
        job = {"SLURM_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": str(task), "SLURM_CPUS_PER_TASK": "1"}
        if given.get("--mem", "").isdigit():
            job["SLURM_MEM_PER_NODE"] = given["--mem"]
        with open(log, "w") as file:
            command = ["bash", *words]
            subprocess.run(command, check=True, stdout=file, stderr=file, env={**os.environ, **job})
    print(number if "--parsable" in given else f"Submitted batch job {number}")


def _is_directive(line: str) -> bool:
    return line.startswith("#SBATCH --") and "=" in line


def _next_job() -> int:
    """Count jobs in the file that the test names; it begins with the page's own numbers."""
    counter = Path(os.environ["PLAYED_JOBS"])
    number = int(counter.read_text())
    counter.write_text(str(number + 1))
    return number


def must(condition: bool, words: str) -> None:
    """End with what is wrong."""
    if not condition:
        raise SystemExit(f"not as the page promises: {words}")


if __name__ == "__main__":
    main(*sys.argv[1:])
