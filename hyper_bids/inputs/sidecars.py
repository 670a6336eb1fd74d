"""JSON sidecars by the inheritance principle of BIDS, with the overlay merged last.

Read here and not through pybids: its index fails as a whole where a sidecar documents a
column called ``run`` (pybids issue 1255), and is slower.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.inputs.names import BIDSName, parse_name


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises
    ------
    MissingFiles
        The file cannot be opened.
    InconsistentInput
        It is not JSON, or not an object; names the file and the place in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise MissingFiles(f"Cannot read {path}: {error.strerror or error}.") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InconsistentInput(f"{path} is not valid JSON: {error}. Correct the file.") from error
    if not isinstance(content, dict):
        raise InconsistentInput(f"{path} must hold a JSON object {{...}}, not a {type(content).__name__}.")
    return content


class Sidecars:
    """All sidecars of one dataset, each file read once.

    Parameters
    ----------
    root : dataset root
    overlay : a partial BIDS root whose sidecars are merged last, or None

    Raises
    ------
    MissingFiles
        The overlay is not a folder.
    """

    def __init__(self, root: Path, overlay: Path | None = None) -> None:
        if overlay is not None and not Path(overlay).is_dir():
            raise MissingFiles(f"--overlay {overlay}: no such folder.")
        self.root = Path(root)
        self.overlay = None if overlay is None else Path(overlay)
        self._contents: dict[Path, dict[str, Any]] = {}
        self._folders: dict[Path, list[tuple[BIDSName, Path]]] = {}

    def applicable(self, file: Path, suffix: str | None = None) -> list[Path]:
        """Return the sidecars that apply to a file of this dataset, in order of increasing precedence.

        ``suffix`` asks for the sidecars of another file of the same run: the events of a BOLD file.
        """
        relative = Path(file).relative_to(self.root)
        name = parse_name(file)
        name = BIDSName(name.entities, suffix or name.suffix, name.extension)
        levels = [*reversed(relative.parents)]
        found = [path for level in levels for path in self._at(self.root / level, name)]
        if self.overlay is not None:
            found += [path for level in levels for path in self._at(self.overlay / level, name)]
        return found

    def of(self, file: Path, suffix: str | None = None) -> dict[str, Any]:
        """Return the merged metadata: a lower level replaces a whole key, the overlay comes last."""
        merged: dict[str, Any] = {}
        for path in self.applicable(file, suffix):
            merged.update(self._content(path))
        return merged

    def _at(self, folder: Path, name: BIDSName) -> list[Path]:
        """Sidecars of one folder that apply, the most general first."""
        fitting = [
            (len(sidecar.entities), path)
            for sidecar, path in self._listing(folder)
            if sidecar.suffix == name.suffix and sidecar.applies_to(name)
        ]
        return [path for _, path in sorted(fitting)]

    def _listing(self, folder: Path) -> list[tuple[BIDSName, Path]]:
        if folder not in self._folders:
            names = sorted(os.listdir(folder)) if folder.is_dir() else []
            self._folders[folder] = [
                (parse_name(name), folder / name) for name in names if name.endswith(".json") and name[0] != "."
            ]
        return self._folders[folder]

    def _content(self, path: Path) -> dict[str, Any]:
        if path not in self._contents:
            self._contents[path] = read_json(path)
        return self._contents[path]
