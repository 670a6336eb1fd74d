"""Files whose content may live elsewhere: git-annex links, their keys, and the command that fetches them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from hyper_bids.errors import MissingFiles

_POINTER = b"/annex/objects/"
_MANY = 8


def annex_key(path: Path) -> str | None:
    """Return the git-annex key of a link or of an unlocked pointer file, or None.

    The key names the content: equal keys mean equal bytes.
    """
    if path.is_symlink():
        target = os.readlink(path)
        return os.path.basename(target) if ".git/annex/objects/" in target.replace(os.sep, "/") else None
    return _pointer_key(path)


def _pointer_key(path: Path) -> str | None:
    if not path.is_file() or path.stat().st_size > 1024:
        return None
    with open(path, "rb") as stream:
        line = stream.readline()
    return os.path.basename(line.decode("utf-8", "replace").strip()) if line.startswith(_POINTER) else None


def has_content(path: Path) -> bool:
    """Whether the file's own bytes are here: no dangling link, no pointer of an unlocked annexed file."""
    return path.exists() and (path.is_symlink() or _pointer_key(path) is None)


def require_content(files: Iterable[Path], roots: Sequence[Path]) -> None:
    """Check that every file is there with its content.

    Parameters
    ----------
    files : files that will be read
    roots : dataset roots, for the ``datalad get`` line

    Raises
    ------
    MissingFiles
        Naming the first three and, for links without content, the command that fetches all of them.
    """
    files = list(dict.fromkeys(files))
    without = [file for file in files if not has_content(file)]
    if not without:
        return
    shown = "\n  ".join(str(file) for file in without[:3])
    more = f"\n  and {len(without) - 3} more" if len(without) > 3 else ""
    links = [file for file in without if os.path.lexists(file)]
    if not links:
        raise MissingFiles(f"{len(without)} of {len(files)} files do not exist:\n  {shown}{more}")
    lines = "\n".join(_get_lines(links, roots))
    raise MissingFiles(
        f"{len(without)} of {len(files)} selected files are links without content "
        f"(git-annex, not yet downloaded, or the folder they point to is not mounted):\n  {shown}{more}\n"
        f"Get them with:\n{lines}"
    )


def _get_lines(links: Sequence[Path], roots: Sequence[Path]) -> list[str]:
    """One ``datalad get`` line per dataset; folders instead of files where there are many."""
    by_root: dict[Path, list[Path]] = {}
    for link in links:
        owners = [root for root in roots if link.is_relative_to(root)]
        root = max(owners, key=lambda path: len(path.parts)) if owners else link.parent
        by_root.setdefault(root, []).append(link)
    lines = []
    for root, inside in sorted(by_root.items()):
        paths = inside if len(inside) <= _MANY else sorted({link.parent for link in inside})
        words = " ".join(shlex.quote(str(path)) for path in paths)
        lines.append(f"  datalad get -d {shlex.quote(str(root))} {words}")
    return lines
