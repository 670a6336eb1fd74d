"""Run one step in a folder: call the function, keep its outputs, or leave a readable error.

Knows nothing of the engine, so that a test, or another engine, can run a plan.
"""

from __future__ import annotations

import importlib
import json
import shutil
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyper_bids.derivatives.write import write_text
from hyper_bids.errors import HyperError
from hyper_bids.workflow.plan import Output, Step, regroup

OUTPUTS = "outputs.json"
ERROR = "error.json"


def execute(
    target: str, files: Mapping[str, Path], params: Mapping[str, Any], folder: Path, stamp: str = ""
) -> dict[str, Path]:
    """Call ``target`` with its files and parameters; write ``outputs.json`` or ``error.json``.

    Parameters
    ----------
    target : ``package.module:function``
    files : flat name -> path (see `hyper_bids.workflow.plan.Step.sources`)
    params : keyword arguments
    folder : of this step; its sub-folder ``out`` is emptied first
    stamp : of the step (`hyper_bids.workflow.plan.Step.stamp`), kept beside the outputs

    Returns
    -------
    output name -> absolute path
    """
    folder = Path(folder)
    out = folder / "out"
    for path in (out, folder / OUTPUTS, folder / ERROR):
        remove(path)
    out.mkdir(parents=True)
    module, _, function = target.partition(":")
    try:
        call = getattr(importlib.import_module(module), function)
        made = call(**regroup({name: Path(path) for name, path in files.items()}), **params, out_dir=out)
    except Exception as error:
        record_error(folder, error)
        raise
    relative = {name: str(Path(path).relative_to(folder)) for name, path in made.items()}
    write_text(folder / OUTPUTS, json.dumps({"stamp": stamp, "outputs": relative}))
    return {name: Path(path).absolute() for name, path in made.items()}


def remove(path: Path) -> None:
    """Remove what an earlier run, or a hand, left at this place, be it a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def record_error(folder: Path, error: Exception) -> None:
    """Leave the error where the main process finds it, whatever the engine does with the exception."""
    content = {
        "class": type(error).__name__ if isinstance(error, HyperError | MemoryError) else "",
        "message": str(error) or type(error).__name__,
        "traceback": "".join(traceback.format_exception(error)),
    }
    write_text(Path(folder) / ERROR, json.dumps(content))


def read_error(folder: Path) -> dict[str, str] | None:
    """Return what `record_error` left in a step's folder, or None."""
    return _read(Path(folder) / ERROR)


def read_outputs(folder: Path, stamp: str | None = None) -> dict[str, Path] | None:
    """Return a finished step's outputs, or None where it has not finished or files are gone.

    With a ``stamp``: None too where the outputs are those of another step.
    """
    found = _read(Path(folder) / OUTPUTS)
    if found is None or not isinstance(found.get("outputs"), dict):  # nothing, or another version's
        return None
    if stamp is not None and found.get("stamp") != stamp:
        return None
    outputs = {name: Path(folder) / relative for name, relative in found["outputs"].items()}
    return outputs if all(output.is_file() for output in outputs.values()) else None


def _read(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where it is not there or was cut off by a crash."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def run_in_process(steps: list[Step], folder: Path) -> dict[str, dict[str, Path]]:
    """Run a plan step by step in this process, without cache: for tests and for a single step."""
    made: dict[str, dict[str, Path]] = {}
    for step in steps:
        files = {
            name: made[source.step][source.name] if isinstance(source, Output) else source
            for name, source in step.sources()
        }
        arguments = {**step.params, **step.limits}
        made[step.name] = execute(step.target, files, arguments, Path(folder) / step.name, step.stamp())
    return made
