"""TensorFlow's checkpoints, V1 (one file, or several shards) and V2 (``.index`` and ``.data-00000-of-0000N``).

V1: a sorted table; key "" holds the list of variables (name, shape, type, slices), every other value one slice: name,
extents, a tensor. V2: the index is the same kind of table; key "" holds the number of shards and the byte order, every
other value type, shape, shard, offset, size and checksum of the raw bytes in a data file, or the slices of a variable
that was saved in parts. Optimisers' slots and what holds no floats are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from hyper_bids.weights import sstable
from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.crc32c import crc32c, masked
from hyper_bids.weights.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    fields,
    floats,
    integer,
    messages,
    numbers,
    text,
)

FLOAT, DOUBLE, BFLOAT16, HALF = 1, 2, 14, 19
DTYPES = {FLOAT: "<f4", DOUBLE: "<f8", HALF: "<f2", BFLOAT16: "<u2"}
SLOTS = re.compile(r"/(Adam|RMSProp|Momentum|Adagrad|Adadelta|Ftrl)(_\d+)?$|(^|/)beta[12]_power$|OPTIMIZER_SLOT")
OBJECT_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
MAX_DIMS = 8
MAX_VARIABLES = 100_000
START = re.compile(rb"\x00\x00[\x80-\xff]{0,4}[\x00-\x7f][\x0a\x08]")
"""An empty key, then a value that is V1's list (field 1, a message) or V2's header (field 1, a number)."""

V1_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})$")
Slice = tuple[tuple[int, int | None], ...]
"""Start and length of each dimension; length None is the whole of it."""


@dataclass(frozen=True)
class Variable:
    """What a checkpoint says of one variable."""

    shape: tuple[int, ...]
    dtype: int
    slices: tuple[Slice, ...]

    @property
    def n_bytes(self) -> int:
        return prod(self.shape) * np.dtype(DTYPES[self.dtype]).itemsize


def recognised(path: Path, head: bytes) -> bool:
    """Say whether the file is one of a checkpoint; cut off files are known by their first bytes."""
    return sstable.ends(path) or START.match(head) is not None


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the variables that hold floats, without optimisers' slots.

    Parameters
    ----------
    path : Path
        The file of a V1 checkpoint (any of its shards), or the ``.index`` of a V2 one.

    Raises
    ------
    Damaged
        A file is cut off, altered or missing.
    Refused
        An older or rarer form that is not read.
    """
    for key, value in sstable.items(path):
        kind = next((wire for number, wire, _ in fields(value) if number == 1), None)
        if key == b"" and kind == BYTES:
            return _read_v1(_v1_files(path))
        if key == b"" and kind == VARINT:
            return _read_v2(path)
        break
    raise Damaged("its table is not that of a TensorFlow checkpoint")


def index_of(path: Path) -> Path:
    """Return the ``.index`` file where ``path`` is the prefix of a V2 checkpoint, else ``path``."""
    index = path.with_name(f"{path.name}.index")
    return index if not path.is_file() and index.is_file() else path


def _wanted(name: str, dtype: int) -> bool:
    return dtype in DTYPES and not SLOTS.search(name)


def _array(raw: bytes, dtype: int, shape: tuple[int, ...]) -> np.ndarray:
    items = np.frombuffer(raw, DTYPES[dtype])
    if dtype == BFLOAT16:
        items = (items.astype(np.uint32) << 16).view(np.float32)
    return items.reshape(shape).astype(items.dtype.newbyteorder("="))


def _shape(data) -> tuple[int, ...]:
    lengths = tuple(integer(dim, 1) for dim in messages(data, 2))
    if len(lengths) > MAX_DIMS or any(not 0 <= length < 1 << 40 for length in lengths):
        raise Damaged(f"a variable of shape {str(lengths)[:60]}")
    return lengths


def _slice(data) -> Slice:
    extents = []
    for extent in messages(data, 1):
        present = {number: value for number, _, value in fields(extent) if number in (1, 2)}
        extents.append((integer(extent, 1), integer(extent, 2) if 2 in present else None))
    return tuple(extents)


def _region(extents: Slice, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the part of the variable that a slice is."""
    extents = extents or ((0, None),) * len(shape)
    if len(extents) != len(shape):
        raise Damaged("a slice of a variable has another number of dimensions")
    region = tuple(
        slice(start, total if length is None else start + length)
        for (start, length), total in zip(extents, shape, strict=True)
    )
    if any(not 0 <= part.start <= part.stop <= total for part, total in zip(region, shape, strict=True)):
        raise Damaged("a slice reaches beyond its variable")
    return region


def _size(region: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in region)


def _assembled(name: str, variable: Variable, parts: list[tuple[tuple[slice, ...], np.ndarray]]) -> np.ndarray:
    """Put slices together; they must fill the variable, each place once."""
    if sum(array.size for _, array in parts) != prod(variable.shape):
        raise Damaged(f"{name[:60]} is not complete: a shard or a slice is missing")
    if len(parts) == 1:
        return parts[0][1]
    whole = np.full(variable.shape, np.nan, dtype=parts[0][1].dtype)
    filled = np.zeros(variable.shape, dtype=bool)
    for region, array in parts:
        whole[region], filled[region] = array, True
    if not filled.all():
        raise Damaged(f"slices of {name[:60]} lie over each other")
    return whole


# --- V1 ---------------------------------------------------------------------------------------------------------------


def _v1_files(path: Path) -> list[Path]:
    match = V1_SHARD.match(path.name)
    if match is None:
        return [path]
    n_shards = int(match[3])
    files = [path.with_name(f"{match[1]}-{i:05d}-of-{n_shards:05d}") for i in range(n_shards)]
    for file in files:
        if not file.is_file():
            raise Damaged(f"its shard {file.name} is not beside it")
    return files


def _read_v1(files: list[Path]) -> dict[str, np.ndarray]:
    variables: dict[str, Variable] = {}
    parts: dict[str, list] = {}
    for file in files:
        for key, value in sstable.items(file):
            if key == b"":
                _merge(variables, _v1_variables(value))
                continue
            for saved in messages(value, 2):
                name = text(saved, 1)
                variable = variables.get(name)
                if variable is None:
                    raise Damaged(f"it holds {name[:60]!r}, which its list does not have")
                if _wanted(name, variable.dtype):
                    parts.setdefault(name, []).append(_v1_part(name, saved, variable))
    wanted = {name: variable for name, variable in variables.items() if _wanted(name, variable.dtype)}
    return {name: _assembled(name, variable, parts.pop(name, [])) for name, variable in wanted.items()}


def _merge(variables: dict[str, Variable], more: Mapping[str, Variable]) -> None:
    for name, variable in more.items():
        known = variables.setdefault(name, variable)
        if (known.shape, known.dtype) != (variable.shape, variable.dtype):
            raise Damaged(f"its shards disagree about {name[:60]}")


def _v1_variables(value) -> dict[str, Variable]:
    found = {}
    for meta in messages(value, 1):
        for item in messages(meta, 1):
            shape = next(map(_shape, messages(item, 2)), ())
            slices = tuple(map(_slice, messages(item, 4)))
            found[text(item, 1)] = Variable(shape, integer(item, 3), slices)
            if len(found) > MAX_VARIABLES:
                raise Damaged(f"it has more than {MAX_VARIABLES} variables")
    return found


def _v1_part(name: str, saved, variable: Variable) -> tuple[tuple[slice, ...], np.ndarray]:
    region = _region(next(map(_slice, messages(saved, 2)), ()), variable.shape)
    tensor = next(messages(saved, 3), memoryview(b""))
    raw = b"".join(messages(tensor, 4))
    if not raw and variable.dtype in (FLOAT, DOUBLE):
        raw = floats(tensor, 5 if variable.dtype == FLOAT else 6, 4 if variable.dtype == FLOAT else 8)
    elif not raw:
        raw = np.array(numbers(tensor, 13), dtype=np.int64).astype("<u2").tobytes()  # half floats as numbers
    size = _size(region)
    if len(raw) != prod(size) * np.dtype(DTYPES[variable.dtype]).itemsize:
        raise Damaged(f"{name[:60]} has {len(raw)} bytes, but shape {size}")
    return region, _array(raw, variable.dtype, size)


# --- V2 ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """Where in which data file a variable, or a slice of one, lies."""

    variable: Variable
    shard: int
    offset: int
    size: int
    checksum: int | None


def _read_v2(path: Path) -> dict[str, np.ndarray]:
    if path.suffix != ".index":
        raise Refused("it is the index of a TensorFlow checkpoint, but its name does not end in .index")
    index = dict(_v2_index(path))
    header = index.pop(b"")
    n_shards = integer(header, 1)
    if integer(header, 2) != 0:
        raise Refused("it was written on a big-endian machine, which is not read")
    if not 0 < n_shards <= 10_000:
        raise Damaged(f"it says that it has {n_shards} data files")
    data = [path.with_name(f"{path.stem}.data-{i:05d}-of-{n_shards:05d}") for i in range(n_shards)]
    entries = {key: _entry(value) for key, value in index.items()}
    wanted = {name: entry for name, entry in _named(entries) if _wanted(name, entry.variable.dtype)}
    return _v2_arrays(wanted, entries, data)


def _v2_index(path: Path) -> Iterator[tuple[bytes, bytes]]:
    total = 0
    for n_items, (key, value) in enumerate(sstable.items(path)):
        total += len(key)
        if n_items > MAX_VARIABLES or total > 1 << 26:
            raise Damaged(f"it has more than {MAX_VARIABLES} variables, or very long names")
        yield key, bytes(value)


def _named(entries: Mapping[bytes, Entry]) -> Iterator[tuple[str, Entry]]:
    for key, entry in entries.items():
        if not key.startswith(b"\x00"):  # those are slices of other variables
            yield key.decode("utf-8", errors="replace").removesuffix(OBJECT_SUFFIX), entry


def _entry(value: bytes) -> Entry:
    shape = next(map(_shape, messages(value, 2)), ())
    slices = tuple(map(_slice, messages(value, 7)))
    checksum = None
    for number, wire, content in fields(value):
        if number == 6 and wire in (FIXED32, FIXED64):
            checksum = content
    variable = Variable(shape, integer(value, 1), slices)
    return Entry(variable, integer(value, 3), integer(value, 4), integer(value, 5), checksum)


def _v2_arrays(wanted: Mapping[str, Entry], entries: Mapping[bytes, Entry], data: list[Path]) -> dict[str, np.ndarray]:
    missing = [file.name for file in data if not file.is_file()]
    if missing:
        raise Damaged(f"its data file {missing[0]} is not beside it")
    room = 2 * sum(file.stat().st_size for file in data) + (1 << 20)
    arrays = {}
    for name, entry in wanted.items():
        room -= entry.variable.n_bytes
        if room < 0:
            raise Damaged("its variables are larger than its data files")
        parts = []
        for extents in entry.variable.slices or ((),):
            part = entry
            if entry.variable.slices:
                key = slice_key(name, extents)
                if key not in entries:
                    raise Damaged(f"a slice of {name[:60]} is missing")
                part = entries[key]
            region = _region(extents, entry.variable.shape)
            parts.append((region, _v2_part(name, part, entry.variable.dtype, _size(region), data)))
        arrays[name] = _assembled(name, entry.variable, parts)
    return arrays


def _v2_part(name: str, entry: Entry, dtype: int, size: tuple[int, ...], data: list[Path]) -> np.ndarray:
    n_bytes = prod(size) * np.dtype(DTYPES[dtype]).itemsize
    if entry.variable.dtype != dtype or entry.size != n_bytes or not 0 <= entry.shard < len(data) or entry.offset < 0:
        raise Damaged(f"{name[:60]} has {entry.size} bytes in data file {entry.shard}, but shape {size}")
    if entry.offset + n_bytes > data[entry.shard].stat().st_size:
        raise Damaged(f"its data file {data[entry.shard].name} is cut off")
    with data[entry.shard].open("rb") as file:
        file.seek(entry.offset)
        raw = file.read(n_bytes)
    if len(raw) != n_bytes or (entry.checksum is not None and masked(crc32c(raw)) != entry.checksum):
        raise Damaged(f"the checksum of {name[:60]} is wrong")
    return _array(raw, dtype, size)


def slice_key(name: str, extents: Slice) -> bytes:
    """Return the key of a slice: 0, the name, the number of dimensions and the extents, so written that they sort."""
    escaped = name.encode().replace(b"\xff", b"\xff\x00").replace(b"\x00", b"\x00\xff") + b"\x00\x01"
    parts = [_signed(value) for start, length in extents for value in (start, -1 if length is None else length)]
    return b"\x00" + escaped + _unsigned(len(extents)) + b"".join(parts)


def _unsigned(value: int) -> bytes:
    content = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(content)]) + content


def _signed(value: int) -> bytes:
    """One byte for 6 bits and sign, two for 13, ...: the length in leading ones, as UTF-8 has it.

    >>> _signed(0).hex(), _signed(-1).hex(), _signed(63).hex(), _signed(64).hex()
    ('80', '7f', 'bf', 'c040')
    """
    magnitude = value if value >= 0 else ~value
    length = magnitude.bit_length() // 7 + 1
    content = bytearray(value.to_bytes(max(length, 1), "big", signed=True)) if length <= 7 else None
    if content is None:
        raise Damaged("a slice starts where no variable reaches")
    content[0] ^= (0xFF00 >> length) & 0xFF
    return bytes(content)
