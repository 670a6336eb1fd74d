"""What steps left in their folders: damaged ones are forgotten, and outputs and errors collected.

nipype, which `nipype_engine` alone imports, keeps a record of its own beside ours (`execute`) in the
folder of a step, and takes a step for finished by that record.
"""

from __future__ import annotations

import gzip
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

from hyper_bids.derivatives.tree import intact
from hyper_bids.errors import ERRORS, HyperError, OutputNotWritable, WorkerKilled
from hyper_bids.whole_files import writing
from hyper_bids.workflow.execute import ERROR, OUTPUTS, read_error, read_outputs, remove
from hyper_bids.workflow.plan import Step, descendants

RESULT = "result_*.pklz"
MARKS = ("_0x*.json", RESULT)
"""nipype's own files of a finished step; without them it is run again."""


@dataclass(frozen=True)
class Failure:
    """A step that failed, with its own words."""

    step: Step
    error: HyperError
    traceback: str


@dataclass(frozen=True)
class Finished:
    """What a run left: the outputs of every finished step, and the failures."""

    outputs: dict[str, dict[str, Path]]
    failures: tuple[Failure, ...]


def forget_if_damaged(folder: Path, step: Step) -> None:
    """Make nipype recompute a step that is not as it was left: by hand, by a crash, in another place, by others.

    Raises
    ------
    OutputNotWritable
        There is a file where the step's folder belongs.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise OutputNotWritable(
            f"{folder} is a file, and the step needs a folder there. Move it away, or choose another work folder "
            "with -w."
        )
    remove(folder / ERROR)
    outputs = read_outputs(folder, step.stamp())
    if outputs is None or ("tree" in outputs and not intact(outputs["tree"])) or not _result_whole(folder, outputs):
        for mark in (mark for pattern in MARKS for mark in folder.glob(pattern)):
            remove(mark)


def _result_whole(folder: Path, outputs: dict[str, Path]) -> bool:
    """Whether nipype's own record of the step can be read, and names the same files as ours.

    It names them by absolute paths: in a copied work folder those of the original, which may have changed since.
    """
    records = list(folder.glob(RESULT))
    if len(records) != 1:
        return False
    try:
        with gzip.open(records[0]) as stream:
            made = pickle.load(stream).outputs
        return all(os.path.samefile(getattr(made, name), output) for name, output in outputs.items())
    except Exception:  # unpickling what a crash or another version left can raise anything; all mean: make it again
        return False


def when_finished(folder: Path) -> tuple[int, int] | None:
    """Say which writing of a step's outputs this is, or None where there is none."""
    try:
        state = (folder / OUTPUTS).stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns


def _error(step: Step, left: dict[str, str]) -> HyperError:
    """Return the error that a step left; memory that was refused is told as a killed worker is."""
    if left["class"] == MemoryError.__name__:
        return WorkerKilled(
            f"there was not enough memory ({left['message']}; the step had asked for {step.mem_gb:.1f} GB). Give the "
            "job more memory, or run fewer processes at once with --n-cpus."
        )
    return ERRORS.get(left["class"], HyperError)(left["message"])


def _of_engine(broke: Exception, work_dir: Path) -> HyperError:
    """Return what the engine itself failed at: its own files of a step, on a full disk, or anything else."""
    if isinstance(broke, OSError) and broke.errno is not None:
        named = broke.filename if isinstance(broke.filename, str | os.PathLike) else None  # a descriptor's is a number
        try:
            with writing(Path(named or work_dir)):
                raise broke
        except OutputNotWritable as refused:
            return refused
        except OSError:
            pass
    return HyperError(f"The workflow engine failed: {broke}")


def collect(steps: list[Step], folders: dict[str, Path], broke: Exception | None) -> Finished:
    """Return the outputs of every step that finished, and what the others left to say.

    Parameters
    ----------
    folders : step -> its folder
    broke : what the engine raised, or None

    Raises
    ------
    OutputNotWritable
        The engine could not write its own files.
    HyperError
        The engine failed in another way without a step that did, or a step ended without its outputs.
    """
    failures = []
    for step in steps:
        left = read_error(folders[step.name])
        if left is not None:
            error = _error(step, left)
            failures.append(Failure(step, error, left["traceback"]))
    if broke is not None and not failures:
        raise _of_engine(broke, next(iter(folders.values())).parent) from broke
    lost = descendants(steps, {failure.step.name for failure in failures})
    outputs = {}
    for step in steps:
        if step.name not in lost:
            made = read_outputs(folders[step.name])
            if made is None:
                if failures:  # stopped at the first crash, before this step's turn
                    continue
                raise HyperError(f"Step {step.name} ended without its outputs in {folders[step.name]}.")
            outputs[step.name] = made
    return Finished(outputs, tuple(failures))
