"""Folders and files of a training that must, or must no longer, be there."""

from __future__ import annotations

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
