"""Stage functions for the engine's tests; run in worker processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hyper_bids.errors import MissingFiles


def _count(log: str, name: str) -> None:
    with open(log, "a", encoding="utf-8") as stream:
        stream.write(name + "\n")


def make(*, value: int, log: str, out_dir: Path) -> dict[str, Path]:
    _count(log, f"make {value}")
    path = out_dir / "value.txt"
    path.write_text(str(value))
    return {"value": path}


def read(*, source: Path, log: str, out_dir: Path) -> dict[str, Path]:
    _count(log, "read")
    path = out_dir / "copy.txt"
    path.write_text(source.read_text())
    return {"value": path}


def spell(*, log: str, out_dir: Path) -> dict[str, Path]:
    """A step with two outputs, of which a plan may ask for one."""
    _count(log, "spell")
    made = {name: out_dir / f"{name}.txt" for name in ("value", "word")}
    for path in made.values():
        path.write_text("1")
    return made


def add(*, parts: list[Path], log: str, out_dir: Path) -> dict[str, Path]:
    _count(log, "add")
    path = out_dir / "sum.txt"
    path.write_text(str(sum(int(part.read_text()) for part in parts)))
    return {"sum": path}


def die(*, log: str, out_dir: Path) -> dict[str, Path]:
    _count(log, "die")
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def die_once(*, log: str, out_dir: Path) -> dict[str, Path]:
    marker = Path(log + ".died")
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return make(value=9, log=log, out_dir=out_dir)


def refuse(*, out_dir: Path) -> dict[str, Path]:
    raise MissingFiles("the thing is not there; put it there")


def starve(*, out_dir: Path) -> dict[str, Path]:
    raise MemoryError("Unable to allocate 9 GiB")
