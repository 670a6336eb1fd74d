"""Protocol buffers as bare fields: enough to look through a file before any library is given it.

A message is a list of fields; each is ``varint (number << 3 | wire type)`` and a value: 0 a varint, 1 eight bytes, 2 a
length and so many bytes (text, a message, packed numbers), 5 four bytes. Unknown fields are skipped, none is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hyper_bids.weights.canonical import Damaged

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1_000_000
"""Of one message: more are no network, and would take long."""


def varint(data, position: int) -> tuple[int, int]:
    """Return the unsigned number at ``position`` and the position behind it.

    >>> varint(bytes([0xAC, 0x02]), 0)
    (300, 2)
    """
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
    raise Damaged("a number in it is cut off or has no end")


def fields(data) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield (number, wire type, value) of a message; values of wire type 2 are views, not copies.

    Raises
    ------
    Damaged
        While iterating: a field reaches beyond the message, or is of no known type.
    """
    data = memoryview(data)
    position = n_fields = 0
    while position < len(data):
        n_fields += 1
        if n_fields > MAX_FIELDS:
            raise Damaged(f"a message in it has more than {MAX_FIELDS} fields")
        tag, position = varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, position = varint(data, position)
            yield number, wire, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(wire)
        if wire == BYTES:
            length, position = varint(data, position)
        if length is None or number == 0 or length > len(data) - position:
            raise Damaged("a field in it reaches beyond its end, or is of no known type")
        view = data[position : position + length]
        position += length
        yield number, wire, view if wire == BYTES else int.from_bytes(view, "little")


def messages(data, number: int) -> Iterator[memoryview]:
    """Yield every field of this number that is a message, text or bytes."""
    for found, wire, value in fields(data):
        if found == number and wire == BYTES:
            yield value


def integer(data, number: int, default: int = 0) -> int:
    """Return the last field of this number that is a whole number; negative ones come as 64-bit complements."""
    value = default
    for found, wire, content in fields(data):
        if found == number and wire in (VARINT, FIXED32, FIXED64):
            value = content
    return value - (1 << 64) if value >= 1 << 63 else value


def text(data, number: int) -> str:
    """Return the last text of this number, empty where there is none."""
    found = b""
    for view in messages(data, number):
        found = view
    try:
        return bytes(found).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged("a text in it is no text") from error


def numbers(data, number: int) -> list[int]:
    """Return repeated signed whole numbers, packed or not."""
    result: list[int] = []
    for found, wire, value in fields(data):
        if found != number:
            continue
        if wire == BYTES:
            position = 0
            while position < len(value):
                item, position = varint(value, position)
                result.append(item)
        else:
            result.append(value)
    return [item - (1 << 64) if item >= 1 << 63 else item for item in result]


def floats(data, number: int, item_bytes: int) -> bytes:
    """Return repeated fixed-width numbers as they lie in memory, packed or not."""
    layout = {4: "<I", 8: "<Q"}[item_bytes]
    parts = [
        bytes(value) if wire == BYTES else struct.pack(layout, value)
        for found, wire, value in fields(data)
        if found == number and wire in (BYTES, {4: FIXED32, 8: FIXED64}[item_bytes])
    ]
    return parts[0] if len(parts) == 1 else b"".join(parts)
