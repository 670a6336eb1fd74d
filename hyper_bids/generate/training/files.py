"""Files of a training are written whole or not at all: a job may be killed at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyper_bids.errors import OutputNotWritable


def made_folder(path: Path) -> Path:
    """Make a folder where there is none and return it.

    Raises
    ------
    OutputNotWritable
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritable(f"Cannot make the folder {path}: {error.strerror or error}.") from error
    return Path(path)


def removed(path: Path) -> None:
    """Remove a file where there is one.

    Raises
    ------
    OutputNotWritable
    """
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise OutputNotWritable(f"Cannot remove {path}: {error.strerror or error}.") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; put it in place, safely on disk, when the block ends well.

    Raises
    ------
    OutputNotWritable
    """
    path = Path(path)
    part = made_folder(path.parent) / f".{path.name}.{os.getpid()}.part"
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OutputNotWritable(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
