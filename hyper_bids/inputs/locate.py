"""Paths below ``/stimuli``: what is refused, and in which folders they are looked up."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from hyper_bids.errors import InconsistentInput


def stimuli_folders(root: Path, overlay: Path | None) -> tuple[Path, ...]:
    """Return the folders that ``/stimuli`` stands for: the overlay's first, then the dataset's."""
    roots = ([] if overlay is None else [Path(overlay)]) + [Path(root)]
    return tuple(folder / "stimuli" for folder in roots)


def stimulus_path(text: str, where: str) -> PurePosixPath:
    """Return a path relative to ``/stimuli`` from a path or a BIDS URI ``bids::stimuli/...``.

    Parameters
    ----------
    text : as it stands in a sidecar or a table
    where : who says so, for the message

    Raises
    ------
    InconsistentInput
        An absolute path, ``..``, another dataset's URI, or an empty path.
    """
    path = str(text).strip()
    if re.match(r"bids:", path, re.IGNORECASE):
        uri = re.fullmatch(r"bids:([^:]*):(.*)", unquote(path), re.IGNORECASE | re.DOTALL)
        path = "" if uri is None else uri[2].lstrip("/")
        if uri is None or uri[1] or not path.startswith("stimuli/"):
            raise InconsistentInput(f"{where}: {text!r} is not of the form bids::stimuli/... (a file of this dataset).")
        path = path.removeprefix("stimuli/")
    parts = re.split(r"[/\\]", path)
    if path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", path) or ".." in parts or "\0" in path:
        raise InconsistentInput(
            f"{where}: {text!r} leads out of the stimuli folder. "
            "Paths are relative to /stimuli; absolute paths and '..' are refused."
        )
    relative = PurePosixPath(path)
    if relative == PurePosixPath("."):
        raise InconsistentInput(f"{where}: the path is empty.")
    return relative


def locate(relative: PurePosixPath, folders: Sequence[Path]) -> Path | None:
    """Return the first of the folders' files of that name, even a link without content, or None."""
    for folder in folders:
        if os.path.lexists(folder / relative):
            return folder / relative
    return None
