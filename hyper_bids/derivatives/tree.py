"""A stage's share of the output: files under their final names, and a manifest with checksums.

A stage writes into a folder of its own; `publish` puts finished trees into the output
folder. So nothing half-made is ever seen there, and a second run finds the same files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from hyper_bids.derivatives.names import entities_of
from hyper_bids.derivatives.write import stage, write_json, write_text


class Tree:
    """Files under ``folder`` whose relative names are those of the output dataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder) / "tree"
        self.files: list[str] = []

    def path(self, name: str) -> Path:
        """Return where to write the file of that final name; its folder is made."""
        self.files.append(name)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def manifest(self) -> Path:
        """Write and return ``manifest.json``: the names with their SHA-256, relative to itself."""
        content = {name: checksum(self.folder / name) for name in sorted(set(self.files))}
        return write_json(self.folder.parent / "manifest.json", content)


def checksum(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_files(manifest: Path) -> dict[str, Path]:
    """Return final name -> where the file lies now."""
    folder = Path(manifest).parent / "tree"
    return {name: folder / name for name in json.loads(Path(manifest).read_text(encoding="utf-8"))}


def intact(manifest: Path) -> bool:
    """Whether every file of a tree is there with the content that was written (a disk may lie, a user may tidy up)."""
    try:
        sums = json.loads(Path(manifest).read_text(encoding="utf-8"))
        return all(checksum(path) == sums[name] for name, path in tree_files(manifest).items())
    except (OSError, ValueError):
        return False


def publish(manifests: Iterable[Path], output: Path, record: Path | None = None) -> tuple[int, list[str]]:
    """Put trees into the output folder: everything is copied first, then everything is renamed.

    So a full disk leaves the results of an earlier run as they were. A file that is there with the
    same content is left alone, its time stamp too.

    Parameters
    ----------
    manifests : of the trees
    output : the output folder
    record : list of the files that earlier runs published. Those of a decoder and latent space
        that this run publishes too, and does not make any more, are deleted: they belong to
        other settings. Results of other decoders and spaces stay.

    Returns
    -------
    changed : number of files that were written
    removed : names that were deleted

    Raises
    ------
    OutputNotWritable
        Nothing was changed.
    """
    output, staged, names = Path(output), [], []
    try:
        for manifest in manifests:
            sums = json.loads(Path(manifest).read_text(encoding="utf-8"))
            for name, source in tree_files(manifest).items():
                names.append(name)
                target = output / name
                same_size = target.is_file() and target.stat().st_size == source.stat().st_size
                if not (same_size and checksum(target) == sums[name]):
                    staged.append((stage(target, source), target))
    except BaseException:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
        raise
    for temporary, target in staged:
        os.replace(temporary, target)
    return len(staged), _remove_stale(output, set(names), record) if record is not None else []


def _remove_stale(output: Path, names: set[str], record: Path) -> list[str]:
    earlier = set(record.read_text(encoding="utf-8").splitlines()) if record.is_file() else set()
    families = {_family(name) for name in names} - {None}
    stale = sorted(name for name in earlier - names if _family(name) in families and (output / name).is_file())
    for name in stale:
        (output / name).unlink()
    write_text(record, "".join(f"{name}\n" for name in sorted((earlier | names) - set(stale))))
    return stale


def _family(name: str) -> tuple[str | None, ...] | None:
    """Task, space, decoder and latent space of a result; None for what is shared by all decoders."""
    entities = entities_of(Path(name).name)
    keys = ("sub", "task", "space", "res", "model", "desc")
    return tuple(entities.get(key) for key in keys) if "model" in entities else None


def link_view(manifests: Iterable[Path], folder: Path) -> Path:
    """Lay several trees over each other as symbolic links, for a stage that reads them as one dataset."""
    for manifest in manifests:
        for name, source in tree_files(manifest).items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_symlink():
                os.symlink(os.path.abspath(source), target)
    return Path(folder)
