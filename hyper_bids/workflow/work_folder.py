"""The work folder's mark: who used it last, and on what; a foreign folder is refused before anything is read there.

Whether a finished step is used again is decided by content (`hyper_bids.workflow.nipype_engine`), never by the
mark: it only lets the app say in words why everything is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from hyper_bids import __version__
from hyper_bids.derivatives.write import write_text
from hyper_bids.errors import OutputNotWritable, UsageError, listing

MARK = "work_folder.json"

FOLDERS = ("hyper", "locks", "inputs", "crash")
"""What the app and nipype make in a work folder."""

STEPS = ("sub_", "batch")
"""How names of folders of steps begin, and of the scheduler's scripts."""


def claim(work_dir: Path, bids_dir: Path) -> list[str]:
    """Check a work folder before a run reads from it, mark it, and return what the user should know.

    Parameters
    ----------
    work_dir : exists and can be written
    bids_dir : the dataset of this run

    Returns
    -------
    notices : the folder was last used for another dataset, by another version, or its mark is damaged

    Raises
    ------
    OutputNotWritable
        A file is where a folder is needed.
    UsageError
        ``hyper`` in it belongs to another user (results of steps are read from it as pickles, which run code),
        or was not made by this app.
    """
    for name in FOLDERS:
        if os.path.lexists(work_dir / name) and not (work_dir / name).is_dir():
            raise OutputNotWritable(
                f"{work_dir / name} is a file, and a folder is needed there. Move it away, or choose another work "
                "folder with -w."
            )
    steps = work_dir / FOLDERS[0]
    if steps.is_dir():
        _check_owner(steps)
        _check_content(steps)
    notices = _compare(work_dir / MARK, bids_dir, used=steps.is_dir())
    write_text(work_dir / MARK, json.dumps(_mark(bids_dir)) + "\n")
    return notices


def _check_owner(folder: Path) -> None:
    """Compare with a file made just now: a mounted folder may give all files one owner, who is not this process."""
    with tempfile.NamedTemporaryFile(dir=folder.parent, prefix=".hyper-") as own:
        ours = os.fstat(own.fileno()).st_uid
    theirs = folder.stat().st_uid
    if theirs != ours:
        raise UsageError(
            f"The work folder {folder.parent} was made by another user (id {theirs}; this is {ours}). Intermediate "
            "results are read only by who wrote them: choose another work folder with -w."
        )


def _check_content(folder: Path) -> None:
    names = sorted(entry.name for entry in folder.iterdir())
    if names and not any(name.startswith(STEPS) for name in names):
        raise UsageError(
            f"{folder} is no work folder of this app: it holds {listing(names, 3)}, and no step. Choose another work "
            "folder with -w, or move it away."
        )


def _mark(bids_dir: Path) -> dict[str, str]:
    """Return what identifies a run's dataset and this app."""
    try:
        description = hashlib.sha256((bids_dir / "dataset_description.json").read_bytes()).hexdigest()
    except OSError:
        description = ""
    return {"version": __version__, "dataset": str(bids_dir.resolve()), "description": description}


def _compare(mark: Path, bids_dir: Path, *, used: bool) -> list[str]:
    ours, folder = _mark(bids_dir), mark.parent
    try:
        earlier = json.loads(mark.read_text(encoding="utf-8"))
        theirs = {key: str(earlier[key]) for key in ours}
    except FileNotFoundError:
        theirs = {**ours, "version": "(unknown version)"} if used else ours
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{mark} cannot be read; what is finished in the work folder is used only where its inputs are equal."]
    notices = []
    if theirs["version"] != ours["version"]:
        notices.append(
            f"The work folder {folder} was last used by hyper {theirs['version']}, this is {__version__}: steps that "
            "it finished are computed again."
        )
    if theirs["dataset"] != ours["dataset"] or theirs["description"] != ours["description"]:
        where = theirs["dataset"] if theirs["dataset"] != ours["dataset"] else "a dataset with another description"
        notices.append(
            f"The work folder {folder} was last used for {where}: finished steps are used again only where all that "
            "they read is the same. Use a work folder for each dataset."
        )
    return notices
