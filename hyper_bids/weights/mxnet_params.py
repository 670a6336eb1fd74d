"""MXNet's parameter list (``.params``), every version: HYPER's ``generator.params`` is one.

Layout (little endian, no checksum): ``u64 0x112, u64 0, u64 N``, N arrays, ``u64 M`` (0 or N), M names. An array of
version 2 or 3 is ``u32 magic, i32 storage, i32 ndim, i64 dims, i32 device, i32 device id, i32 dtype, data``; version 1
has no storage type; version 0 starts with its u32 ndim and has u32 dims.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path

import numpy as np

from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.files import mapped

LIST_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
BFLOAT16 = 12
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8", 7: "?", 8: "<i2", 9: "<u2", 10: "<u4",
          11: "<u8", BFLOAT16: "<u2"}  # fmt: skip
MAX_DIMS = 32
MAX_ARRAYS = 100_000


class Cursor:
    """Bytes and a position in them; asking for more than is left is `Damaged`."""

    def __init__(self, data) -> None:
        self.data = data
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def take(self, n_bytes: int) -> bytes:
        if not 0 <= n_bytes <= self.left:
            raise Damaged(f"byte {self.position}: {n_bytes} more bytes are announced and {self.left} are there")
        self.position += n_bytes
        return self.data[self.position - n_bytes : self.position]


def starts(head: bytes) -> bool:
    """Say whether a file with these first bytes is a parameter list."""
    return head[:16] == struct.pack("<QQ", LIST_MAGIC, 0)


def read(path: Path) -> dict[str, np.ndarray] | list[np.ndarray]:
    """Return the arrays by name, or as a list where the file has no names.

    Raises
    ------
    Damaged
        Cut off or altered.
    Refused
        Sparse arrays, which no generator has.
    """
    with mapped(path) as data:
        return parse(data)


def parse(data) -> dict[str, np.ndarray] | list[np.ndarray]:
    """Return the arrays of a parameter list given as bytes; see `read`."""
    cursor = Cursor(data)
    if cursor.numbers("QQ") != (LIST_MAGIC, 0):
        raise Damaged("it does not start as an MXNet parameter list")
    (n_arrays,) = cursor.numbers("Q")
    if n_arrays > min(cursor.left // 4, MAX_ARRAYS):
        raise Damaged(f"it announces {n_arrays} arrays in {cursor.left} bytes")
    arrays = [array_record(cursor) for _ in range(n_arrays)]
    (n_names,) = cursor.numbers("Q")
    if n_names not in (0, n_arrays):
        raise Damaged(f"it has {n_names} names for {n_arrays} arrays")
    names = [_name(cursor) for _ in range(n_names)]
    if cursor.left:
        raise Damaged(f"{cursor.left} bytes follow its end")
    if len(set(names)) != len(names):
        raise Damaged("two of its arrays have the same name")
    return dict(zip(names, arrays, strict=True)) if names else arrays


def array_record(cursor: Cursor) -> np.ndarray:
    """Return the array that starts at the cursor (also what MXNet puts into a pickle); it owns its memory."""
    (magic,) = cursor.numbers("I")
    if magic in (V2, V3):
        (storage,) = cursor.numbers("i")
        if storage != 0:
            kind = {1: "row-sparse", 2: "csr"}.get(storage)
            if kind is None:
                raise Damaged(f"an array of storage type {storage}")
            raise Refused(f"it holds a sparse array ({kind}), which no generator has")
    n_dims = magic if magic not in (V1, V2, V3) else cursor.numbers("i")[0]
    if n_dims < 0 or (n_dims == 0 and magic != V3):
        return np.zeros(0, np.float32)  # MXNet's array of nothing: no further fields
    if n_dims > MAX_DIMS:
        raise Damaged(f"an array of {n_dims} dimensions")
    shape = cursor.numbers(f"{n_dims}{'q' if magic in (V1, V2, V3) else 'I'}")
    _, _, code = cursor.numbers("iii")
    if code not in DTYPES or any(not 0 <= length < 1 << 40 for length in shape):
        raise Damaged(f"an array of shape {str(shape)[:60]} and type {code}")
    dtype = np.dtype(DTYPES[code])
    raw = np.frombuffer(cursor.take(prod(shape) * dtype.itemsize), dtype=dtype)
    if code == BFLOAT16:
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    try:
        return raw.reshape(shape).astype(raw.dtype.newbyteorder("="))
    except ValueError as error:  # (0, 2**39, 2**39)
        raise Damaged(f"an array of shape {str(shape)[:60]}") from error


def _name(cursor: Cursor) -> str:
    (length,) = cursor.numbers("Q")
    try:
        return bytes(cursor.take(length)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged("a name that is no text") from error
