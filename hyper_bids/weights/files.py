"""Bytes of a weight file, without loading them."""

from __future__ import annotations

import mmap
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyper_bids.weights.canonical import Damaged
from hyper_bids.weights.unpickle import BROKEN

ZIP_FAULTS = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, OSError, RuntimeError, *BROKEN)
"""What `zipfile` raises on archives that are cut off, altered, encrypted or packed in a way that it does not know."""


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Give the file's bytes as a read-only memory map: reading beyond its end returns less, and allocates nothing."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise Damaged("it is empty") from error
        with data:
            yield data
