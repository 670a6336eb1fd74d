"""The group's figures in the output dataset: which are ours, so that those of results that went can go too."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from hyper_bids.derivatives.names import entities_of
from hyper_bids.derivatives.tree import checksum
from hyper_bids.derivatives.write import write_text

RECORD = "logs/group_figures.txt"
"""What earlier runs of the group wrote: SHA-256 and name, a file a line, as sha256sum does."""

FOLDER = Path("figures")


class GroupFigures:
    """The output dataset as a place where figures go, which remembers what was written.

    Parameters
    ----------
    folder : the output dataset
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.written: set[str] = set()

    def path(self, name: str) -> Path:
        """Return where to write the file of that name; its folder is made."""
        self.written.add(name)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def remove_stale(self, other_tasks: Collection[str] = ()) -> list[str]:
        """Delete what an earlier run wrote and this one did not, and return the names.

        A file whose content is not what we wrote is somebody's own, and stays; so does one that is in no record.

        Parameters
        ----------
        other_tasks : with results that this run was not asked for: their figures stay
        """
        removed, kept = [], {}
        for name, digest in self._earlier().items():
            path = self.folder / name
            if name in self.written or not path.is_file() or checksum(path) != digest:
                continue
            if entities_of(path.name).get("task") in other_tasks:
                kept[name] = digest
            else:
                path.unlink()
                removed.append(name)
        kept |= {name: checksum(self.folder / name) for name in self.written}
        write_text(self.folder / RECORD, "".join(f"{digest}  {name}\n" for name, digest in sorted(kept.items())))
        return removed

    def _earlier(self) -> dict[str, str]:
        record = self.folder / RECORD
        lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
        listed = [line.partition("  ") for line in lines]
        # a record that somebody edited can name no file elsewhere
        return {name: digest for digest, _, name in listed if Path(name).parent == FOLDER}
