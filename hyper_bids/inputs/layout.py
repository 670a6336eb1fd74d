"""Which files a BIDS dataset has, asked of pybids. Its only importer.

pybids answers for the selected participants alone, and never about metadata: one odd sidecar makes
its own index fail as a whole (`Sidecars` reads them).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.errors import OutputNotWritable, UsageError

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

_NEVER_INDEXED = r"^/(stimuli|code|sourcedata|derivatives|models|logs|figures|docs)(/|$)"
_HIDDEN = r"/\."
_FIGURES = r"^/sub-[^/]+/(ses-[^/]+/)?(figures|anat|log)(/|$)"


class Index:
    """The files of a dataset that belong to some participants, by pybids.

    ``stimuli/`` and the like are never indexed (35 000 stimuli take 23 s), nor are metadata.
    """

    def __init__(
        self, root: Path, labels: Sequence[str], queries: dict[str, dict[str, Any]], database_dir: Path | None,
        *, derived: bool = False
    ) -> None:  # fmt: skip
        self.root, self.queries = root, queries
        subjects = "|".join(re.escape(label) for label in labels)
        ignore = [_NEVER_INDEXED, _HIDDEN, rf"^/sub-(?!(?:{subjects})(?:/|$))"] + ([_FIGURES] if derived else [])
        self._layout = _layout(root, ignore, derived) if database_dir is None else _stored(
            root, ignore, derived, labels, Path(database_dir)
        )  # fmt: skip

    def paths(self, query: str) -> list[Path]:
        """Return the files that a query finds, sorted."""
        from bids.exceptions import BIDSEntityError

        entities = {name: _criterion(value) for name, value in self.queries[query].items()}
        try:
            return sorted(Path(path) for path in self._layout.get(return_type="filename", **entities))
        except (ValueError, TypeError, AttributeError, BIDSEntityError) as error:
            raise UsageError(f"--bids-filter-file, {query!r}: {error}") from error


def _criterion(value: Any) -> Any:
    """null and "*" of the filter file in pybids' terms."""
    from bids.layout import Query

    if isinstance(value, list):
        return [_criterion(item) for item in value]
    return {None: Query.NONE, "*": Query.ANY}.get(value, value)


def _layout(root: Path, ignore: Sequence[str], derived: bool, database_path: Path | None = None) -> BIDSLayout:
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    indexer = BIDSLayoutIndexer(
        validate=False, index_metadata=False, ignore=[re.compile(pattern) for pattern in ignore]
    )
    config = ["bids", "derivatives"] if derived else ["bids"]
    return BIDSLayout(root, validate=False, config=config, indexer=indexer, database_path=database_path)


def _stored(root: Path, ignore: Sequence[str], derived: bool, labels: Sequence[str], folder: Path) -> BIDSLayout:
    """Open the database of this dataset, selection and state, making it first where needed.

    pybids answers from any database it is given, whatever the root. So the folder's name holds
    root, pybids version, patterns and the times of all folders (a new file changes its folder's time);
    and it is made aside and moved into place, because jobs of an array start together.
    """
    import bids

    state = [(str(path), path.stat().st_mtime_ns) for path in _folders(root, labels)]
    description = root / "dataset_description.json"
    state.append((str(description), description.stat().st_mtime_ns if description.exists() else 0))
    key = json.dumps([str(root), bids.__version__, list(ignore), derived, state])
    final = folder / hashlib.sha1(key.encode()).hexdigest()
    try:
        if not final.exists():
            folder.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
            _layout(root, ignore, derived, aside).connection_manager.engine.dispose()
            try:
                os.rename(aside, final)
            except OSError:  # another job was first: its database is the same
                shutil.rmtree(aside)
                if not final.exists():
                    raise
    except OSError as error:
        raise OutputNotWritable(f"--bids-database-dir {folder}: {error.strerror or error}.") from error
    layout = _layout(root, ignore, derived, final)
    if Path(layout.root) != root:
        raise OutputNotWritable(f"--bids-database-dir: {final} belongs to {layout.root}; delete that folder.")
    return layout


def _folders(root: Path, labels: Sequence[str]) -> list[Path]:
    inside = [root]
    for label in labels:
        subject = root / f"sub-{label}"
        inside += [path for path in [subject, *subject.glob("*"), *subject.glob("*/*")] if path.is_dir()]
    return sorted(inside)
