"""Tensors and their storages in PyTorch's pickles, read as data: every tensor must lie within its storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

import numpy as np

from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.unpickle import Global, Inert, Meaning, Name, attributes, unpickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""What PyTorch's files before 1.6, and storages within NVIDIA's pickles, start with."""

BFLOAT16 = "bfloat16"
ITEMS = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": BFLOAT16, "Byte": "u1", "Char": "i1",
         "Short": "<i2", "Int": "<i4", "Long": "<i8", "Bool": "?"}  # fmt: skip
STORAGES = {("torch", f"{kind}Storage"): dtype for kind, dtype in ITEMS.items()}

SETTINGS: tuple[Name, ...] = (("models.utils.config", "BaseConfig"), ("argparse", "Namespace"))
"""Objects that published checkpoints hold beside the weights: read as dictionaries of their attributes."""


@dataclass(frozen=True)
class Storage:
    """A block of numbers that the pickle refers to."""

    key: str
    n_items: int
    dtype: str

    @property
    def item_bytes(self) -> int:
        return 2 if self.dtype == BFLOAT16 else np.dtype(self.dtype).itemsize

    @property
    def n_bytes(self) -> int:
        return self.n_items * self.item_bytes


@dataclass(frozen=True)
class Layout:
    """A tensor as a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        return prod(self.shape) * self.storage.item_bytes

    def of(self, raw: bytes | memoryview) -> np.ndarray:
        """Return the tensor as an array of its own, from the bytes of its storage."""
        is_bfloat = self.storage.dtype == BFLOAT16
        items = np.frombuffer(raw, "<u2" if is_bfloat else self.storage.dtype)
        steps = tuple(stride * items.itemsize for stride in self.strides)
        own = np.lib.stride_tricks.as_strided(items[self.offset :], self.shape, steps).copy()
        return np.asarray(own.astype(np.uint32) << np.uint32(16)).view(np.float32) if is_bfloat else own


def read_tree(
    source, file_size: int, also: Mapping[Name, Meaning | None] = MappingProxyType({})
) -> tuple[object, dict[str, Storage]]:
    """Read the pickle as data; return its tree and its storages after checking every tensor against them.

    ``also``: further names that it may mention, as `unpickle` takes them.

    Raises
    ------
    Damaged, Refused
    """
    storages: dict[str, Storage] = {}
    layouts: list[Layout] = []

    def found(pid: object) -> Storage:
        storage = storage_of(pid)
        if storages.setdefault(storage.key, storage) != storage:
            raise Damaged("two of its tensors disagree about their storage")
        return storage

    def tensor(record: Inert) -> Layout:
        layouts.append(layout_of(record))
        return layouts[-1]

    rebuild = "torch._utils"
    meanings = {
        (rebuild, "_rebuild_tensor_v2"): tensor,
        (rebuild, "_rebuild_tensor"): tensor,
        (rebuild, "_rebuild_parameter"): lambda record: record.arguments[0],
        ("torch", "Size"): lambda record: tuple(record.arguments[0]),
        ("torch", "device"): None,
        **{name: attributes for name in SETTINGS},
        **also,
    }
    bare = frozenset({*STORAGES, *(("torch", f"{kind}{bits}") for kind in ("float", "int") for bits in (16, 32, 64))})
    tree = unpickle(source, meanings, bare=bare, persistent=found)
    if sum(layout.n_bytes for layout in layouts) > 4 * file_size:
        raise Damaged("its tensors are many times as large as the file")
    return tree, storages


def storage_of(pid: object) -> Storage:
    """Return the storage that a persistent id of PyTorch's pickles means.

    Raises
    ------
    Damaged, Refused
    """
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or not isinstance(pid[1], Global):
        raise Damaged("a reference to something that is no storage")
    kind, key, n_items = pid[1].name, pid[2], pid[4]
    if kind not in STORAGES or not isinstance(key, str) or type(n_items) is not int or n_items < 0:
        raise Damaged("a storage of unknown kind or size")
    if len(pid) == 6 and pid[5] is not None:
        raise Refused("it uses storages within storages, as PyTorch wrote before version 0.4; save it again")
    return Storage(key, n_items, STORAGES[kind])


def layout_of(record: Inert) -> Layout:
    """Return the tensor of a record ``(storage, offset, shape, strides, ...)``.

    Raises
    ------
    Damaged
    """
    storage, offset, shape, strides = record.arguments[:4]
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or any(type(number) is not int or number < 0 for number in numbers):
        raise Damaged("a tensor of unknown form")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if prod(shape) > storage.n_items or (prod(shape) and last >= storage.n_items):
        raise Damaged(f"a tensor of shape {str(shape)[:60]} is larger than its storage")
    return Layout(storage, offset, tuple(shape), tuple(strides))
