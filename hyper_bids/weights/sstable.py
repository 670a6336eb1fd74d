"""LevelDB's sorted table, in which TensorFlow keeps checkpoints: sorted keys and values in checked blocks.

The file ends with a footer of 48 bytes: where the metaindex and the index block are (offset and size as varints),
padding, a magic number. A block is entries, u32 restart positions, their u32 count; behind it one byte of compression
(0 none, 1 snappy) and the masked u32 CRC-32C of block and byte. An entry is three varints (bytes shared with the key
before, further bytes, bytes of the value), the rest of the key, the value. The index block's values say where each
data block is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from hyper_bids.weights.canonical import Damaged
from hyper_bids.weights.crc32c import crc32c, masked
from hyper_bids.weights.protobuf import varint

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_BYTES, TRAILER_BYTES = 48, 5
PLAIN, SNAPPY = 0, 1
MAX_KEY_BYTES = 4096
MAX_SNAPPY_RATIO = 32


def ends(path: Path) -> bool:
    """Say whether the file ends as a table does."""
    if path.stat().st_size < FOOTER_BYTES:
        return False
    with path.open("rb") as file:
        file.seek(-len(MAGIC), 2)
        return file.read() == MAGIC


def items(path: Path) -> Iterator[tuple[bytes, memoryview]]:
    """Yield (key, value) in order; a value is a view of its block.

    Raises
    ------
    Damaged
        While iterating: cut off, altered (a checksum is wrong), or not in order.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < FOOTER_BYTES:
            raise Damaged(f"it has {size} bytes")
        file.seek(size - FOOTER_BYTES)
        footer = file.read(FOOTER_BYTES)
        if footer[-len(MAGIC) :] != MAGIC:
            raise Damaged("its end is missing")
        _, _, position = _handle(footer, 0)
        offset, length, _ = _handle(footer, position)
        room = size - FOOTER_BYTES
        end, before = 0, None
        for _, handle in _entries(_block(file, offset, length, room)):
            offset, length, _ = _handle(handle, 0)
            if offset < end:  # blocks that lie over each other would be read for ever
                raise Damaged("its blocks are not in order")
            end = offset + length + TRAILER_BYTES
            for key, value in _entries(_block(file, offset, length, room)):
                if before is not None and key <= before:
                    raise Damaged("its keys are not in order")
                before = key
                yield key, value


def _handle(data, position: int) -> tuple[int, int, int]:
    offset, position = varint(data, position)
    length, position = varint(data, position)
    return offset, length, position


def _block(file, offset: int, length: int, room: int) -> memoryview:
    if offset + length + TRAILER_BYTES > room:
        raise Damaged("one of its blocks reaches beyond its end")
    file.seek(offset)
    content = memoryview(file.read(length + TRAILER_BYTES))
    if len(content) != length + TRAILER_BYTES:
        raise Damaged("one of its blocks is cut off")
    (stored,) = struct.unpack("<I", content[-4:])
    if masked(crc32c(content[:-4])) != stored:
        raise Damaged(f"the checksum of its block at byte {offset} is wrong")
    if content[length] == PLAIN:
        return content[:length]
    if content[length] == SNAPPY:
        return memoryview(unsnapped(content[:length]))
    raise Damaged(f"a block is compressed in an unknown way ({content[length]})")


def _entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    if len(block) < 4:
        raise Damaged("one of its blocks is empty")
    (n_restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 - 4 * n_restarts
    if end < 0:
        raise Damaged("one of its blocks is shorter than it says")
    position, key = 0, b""
    while position < end:
        shared, position = varint(block, position)
        further, position = varint(block, position)
        length, position = varint(block, position)
        if shared > len(key) or shared + further > MAX_KEY_BYTES or further + length > end - position:
            raise Damaged("an entry of its table reaches beyond its block")
        key = key[:shared] + bytes(block[position : position + further])
        position += further
        yield key, block[position : position + length]
        position += length


def unsnapped(data) -> bytes:
    """Return what snappy packed: literals, and copies of what came before.

    Raises
    ------
    Damaged
    """
    announced, position = varint(data, 0)
    if announced > MAX_SNAPPY_RATIO * len(data):  # a copy of 64 bytes takes at least 2
        raise Damaged("a compressed block announces more than it can hold")
    result = bytearray()
    while position < len(data):
        tag = data[position]
        position += 1
        if tag & 3 == 0:
            length = (tag >> 2) + 1
            if length > 60:
                n_bytes = length - 60
                length = int.from_bytes(data[position : position + n_bytes], "little") + 1
                position += n_bytes
            if length > len(data) - position:
                raise Damaged("a compressed block is cut off")
            result += data[position : position + length]
            position += length
        else:
            n_bytes = {1: 1, 2: 2, 3: 4}[tag & 3]
            length = ((tag >> 2) & 7) + 4 if tag & 3 == 1 else (tag >> 2) + 1
            distance = int.from_bytes(data[position : position + n_bytes], "little")
            distance += (tag >> 5) << 8 if tag & 3 == 1 else 0
            position += n_bytes
            if not 0 < distance <= len(result) or position > len(data):
                raise Damaged("a compressed block refers to what is not there")
            start = len(result) - distance
            while length > 0:  # a copy may overlap what it makes
                part = result[start : start + min(length, distance)]
                result += part
                length -= len(part)
        if len(result) > announced:
            raise Damaged("a compressed block is longer than announced")
    if len(result) != announced:
        raise Damaged("a compressed block is shorter than announced")
    return bytes(result)
