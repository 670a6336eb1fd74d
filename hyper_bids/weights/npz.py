"""NumPy archives: what MXNet 2 writes, and what people make of other files."""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path

import numpy as np

from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.files import ZIP_FAULTS

MAX_RATIO, ALWAYS_FINE = 10, 1 << 26
"""Unpacked to packed, and bytes unpacked: weights hardly shrink, a bomb does."""


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name, without the ending ``.npy``.

    Raises
    ------
    Damaged
        Cut off, altered, or larger inside than it can be.
    Refused
        Arrays of Python objects, which could run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > max(ALWAYS_FINE, MAX_RATIO * path.stat().st_size):
                raise Damaged(f"it would unpack to more than {MAX_RATIO} times its size")
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except ZIP_FAULTS as error:
        raise Damaged(f"its zip is cut off or altered ({error})") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = header(file)
        if dtype.kind not in "biufc":
            raise Refused(f"its array {member.filename[:60]} holds {dtype.kind!r} objects, which could run code")
        if prod(shape) * dtype.itemsize > member.file_size:
            raise Damaged(f"its array {member.filename[:60]} is shorter than announced")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
