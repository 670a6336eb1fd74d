"""CRC-32C (Castagnoli), which guards every block of a TensorFlow checkpoint; in NumPy, many bytes at a time.

The remainder of a polynomial division is linear: data are cut into equal lanes, the remainders of all lanes are
computed side by side, and neighbours are joined by ``crc(AB) = shifted(crc(A), length of B) ^ crc(B)``.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np

POLYNOMIAL = 0x82F63B78
ALL = 0xFFFFFFFF
MASK_DELTA = 0xA282EAD8
LANES = 1 << 14
SHORT = 4096
"""Bytes below which one at a time is as fast."""


@cache
def _table() -> np.ndarray:
    """Return the remainder that each byte leaves, ``(256,)`` uint32."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


def crc32c(data) -> int:
    """Return the checksum of bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    values = np.frombuffer(data, dtype=np.uint8)
    n_lanes = LANES if len(values) >= SHORT else 1
    while n_lanes > 1 and len(values) < 64 * n_lanes:
        n_lanes //= 4
    length = len(values) // n_lanes
    remainder = ALL
    if n_lanes > 1:
        lanes = np.ascontiguousarray(values[: length * n_lanes].reshape(n_lanes, length).T)
        remainder = _joined(_side_by_side(lanes), length, remainder)
        values = values[length * n_lanes :]
    table = _table().tolist()
    for byte in values.tolist():
        remainder = table[(remainder ^ byte) & 0xFF] ^ (remainder >> 8)
    return remainder ^ ALL


def masked(checksum: int) -> int:
    """Return the form in which LevelDB's tables store a checksum: rotated, with a constant added."""
    return (((checksum >> 15) | (checksum << 17)) + MASK_DELTA) & ALL


def _side_by_side(rows: np.ndarray) -> np.ndarray:
    """Return the remainder of every column, started at zero."""
    table = _table()
    remainders = np.zeros(rows.shape[1], dtype=np.uint32)
    for row in rows:
        remainders = table[(remainders ^ row) & 0xFF] ^ (remainders >> np.uint32(8))
    return remainders


def _joined(remainders: np.ndarray, length: int, start: int) -> int:
    """Return the remainder of all lanes one after the other, after ``start``; their number is a power of two."""
    total = length * len(remainders)
    shift = _shift(length)
    while len(remainders) > 1:
        remainders = _applied(shift, remainders[0::2]) ^ remainders[1::2]
        shift = _applied(shift, shift)
    return int(remainders[0]) ^ int(_applied(_shift(total), np.array([start], dtype=np.uint32))[0])


@lru_cache(maxsize=64)
def _shift(n_bytes: int) -> np.ndarray:
    """Return what ``n_bytes`` zero bytes make of each single bit: a matrix over two elements, ``(32,)`` uint32."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    power = _table()[bits & 0xFF] ^ (bits >> np.uint32(8))  # one byte
    result = bits
    while n_bytes:
        if n_bytes & 1:
            result = _applied(power, result)
        power = _applied(power, power)
        n_bytes >>= 1
    return result


def _applied(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    result = np.zeros_like(values)
    for i in range(32):
        result ^= np.where(values >> np.uint32(i) & np.uint32(1), matrix[i], np.uint32(0))
    return result
