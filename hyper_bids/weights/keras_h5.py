"""Keras's HDF5 files as named arrays: no `load_model`, whose layers may be code, and nothing from outside the file.

A file of ``save_weights`` has a group per layer, in which the weights' own names, slashes included, nest:
``conv1/7x7_s2/conv1/7x7_s2/kernel:0`` is the kernel of the layer ``conv1/7x7_s2``. A whole model has the same under
``model_weights``. HDF5's own library looks at the file in another process (see `h5_table`); here only numbers are read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from hyper_bids.errors import MissingFiles
from hyper_bids.weights import h5_table
from hyper_bids.weights.canonical import Damaged, Refused

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def starts(head: bytes) -> bool:
    """Say whether a file starts as HDF5."""
    return head.startswith(SIGNATURE)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays as ``layer/part``: ``conv1_1/kernel``, ``conv1/7x7_s2/bn/gamma``.

    Raises
    ------
    Damaged
        Cut off, altered, or larger inside than it can be.
    Refused
        Something in it lies elsewhere, or is no plain number; or Theano wrote it, whose kernels lie otherwise.
    MissingFiles
        h5py is not installed, or cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="hyper_h5_") as folder:
        unpacked = Path(folder) / "unpacked"
        found = _looked_at(Path(path).resolve(), unpacked)
        if "refused" in found:
            raise Refused(str(found["refused"]))
        if "damaged" in found:
            raise Damaged(str(found["damaged"]))
        if "not_installed" in found:
            raise MissingFiles(
                f"HDF5 files need h5py, which cannot be loaded here ({found['not_installed']}): pip install h5py."
            )
        return {_plain_name(row["name"]): _array(row, unpacked if row["packed"] else path) for row in found["rows"]}


def _looked_at(path: Path, unpacked: Path) -> dict:
    """Return what `h5_table` says, from a process that the library may take down with it.

    It finds its modules where this process found them; ``-I`` alone would hide what PYTHONPATH names.
    """
    places = json.dumps([place for place in sys.path if place])
    command = [sys.executable, "-I", h5_table.__file__, str(path), str(unpacked), places]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise Damaged(f"HDF5's library broke down over it (exit {done.returncode})") from error


def _array(row: Mapping, path: Path) -> np.ndarray:
    dtype, shape = np.dtype(row["dtype"]), tuple(row["shape"])
    n_bytes = prod(shape) * dtype.itemsize
    with Path(path).open("rb") as file:
        file.seek(row["offset"])
        raw = file.read(n_bytes)
    if len(raw) != n_bytes:
        raise Damaged(f"its {row['name'][:60]} is cut off")
    return np.frombuffer(raw, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _plain_name(path: str) -> str:
    """Return ``layer/part`` from the path of a weight, in which the layer's name comes twice.

    >>> _plain_name("conv1/7x7_s2/bn/conv1/7x7_s2/bn/gamma:0"), _plain_name("fc6/fc6_1/bias:0")
    ('conv1/7x7_s2/bn/gamma', 'fc6/bias')
    """
    *layer, part = path.split("/")
    half = len(layer) // 2
    name = layer[:half] if layer[:half] == layer[half:] else layer[: max(1, half)]
    return "/".join((*name, part.partition(":")[0]))
