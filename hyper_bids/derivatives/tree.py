"""A stage's share of the output: files under their final names, and a manifest with checksums.

A stage writes into a folder of its own; `publish` puts finished trees into the output
folder. So nothing half-made is ever seen there, and a second run finds the same files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hyper_bids.derivatives.write import replacing, write_json


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
    """Whether every file of a tree is there (somebody may have cleaned the work folder by hand)."""
    return Path(manifest).is_file() and all(path.is_file() for path in tree_files(manifest).values())


def publish(manifests: Iterable[Path], output: Path) -> int:
    """Copy trees into the output folder, file by file, atomically; return how many changed.

    A file that is there with the same content is left alone, its time stamp too.
    """
    changed = 0
    for manifest in manifests:
        sums = json.loads(Path(manifest).read_text(encoding="utf-8"))
        for name, source in tree_files(manifest).items():
            target = Path(output) / name
            same_size = target.is_file() and target.stat().st_size == source.stat().st_size
            if same_size and checksum(target) == sums[name]:
                continue
            with replacing(target) as temporary:
                shutil.copyfile(source, temporary)
            changed += 1
    return changed


def link_view(manifests: Iterable[Path], folder: Path) -> Path:
    """Lay several trees over each other as symbolic links, for a stage that reads them as one dataset."""
    for manifest in manifests:
        for name, source in tree_files(manifest).items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_symlink():
                os.symlink(os.path.abspath(source), target)
    return Path(folder)
