"""Files that are written whole or not at all: by temporary file and rename, whenever a job may be killed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyper_bids.errors import OutputNotWritable

_REFUSALS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
)  # fmt: skip
"""What a folder or a disk may answer; other errors are of what is written, or of its source."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a folder or disk refuses into `OutputNotWritable` that names ``path``."""
    try:
        yield
    except OSError as error:
        # numpy reports a short write (a full disk) without a number
        if error.errno in _REFUSALS or error.errno is None:
            raise OutputNotWritable(
                f"Cannot write {path}: {error.strerror or error}. Free some space or choose another folder, then run "
                "the same command again: what is finished is kept."
            ) from error
        raise


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path``, and put it in place when the block ends well.

    Parameters
    ----------
    durable : wait until the disk holds the content, so that a machine that loses power finds the old file or the new

    Raises
    ------
    OutputNotWritable
        The folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    with writing(path):
        temporary = temporary_beside(path)
        try:
            yield temporary
            os.chmod(temporary, mode_of_new_files())
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Make an empty file ``.<name>.<8 characters>`` in the folder of ``path``, which is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    os.close(handle)
    return Path(name)


def mode_of_new_files() -> int:
    """Permissions that a new file gets from the umask; temporary files are made for their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
