"""PyTorch checkpoints (``.pt``, ``.pth``), zip and legacy: first looked through as data, then read by PyTorch.

`torch.load(weights_only=True)` runs no code, but it believes the sizes that a file announces and does not notice
altered bytes. So the file's pickle is read once with the inert unpickler: every name is checked, every tensor must lie
within a storage and every storage within the file, and the zip's checksums must hold. Files of another pickle
protocol, which PyTorch reads only where code is allowed, are put together from that first reading.
"""

from __future__ import annotations

import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from types import MappingProxyType

import numpy as np

from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.files import ZIP_FAULTS, mapped
from hyper_bids.weights.unpickle import BROKEN, Global, Inert, Meaning, Name, attributes, unpickle

OLDEST_TORCH = (2, 10)
"""Older ones have holes in weights_only: CVE-2025-32434 (before 2.6) and CVE-2026-24747 (before 2.10)."""

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number as a pickle, after the two bytes that name its protocol (and a frame, from protocol 4)."""

BFLOAT16 = "bfloat16"
ITEMS = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": BFLOAT16, "Byte": "u1", "Char": "i1",
         "Short": "<i2", "Int": "<i4", "Long": "<i8", "Bool": "?"}  # fmt: skip
STORAGES = {("torch", f"{kind}Storage"): dtype for kind, dtype in ITEMS.items()}
TORCHSCRIPT = "it is TorchScript, that is, code, which could do anything. Export the network to ONNX instead"
TORCH_PROTOCOL = 2
"""The pickle protocol that `torch.save` writes unless asked, and that `torch.load` reads with weights_only."""

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


@dataclass(frozen=True)
class Looked:
    """What the first reading found: the tree with `Layout` for tensors, and where the bytes of storages are.

    ``bytes_of`` reads a storage once and keeps it, however many tensors look at it: together no more than the file.
    """

    protocol: int
    tree: object
    bytes_of: Callable[[Storage], bytes]


def is_zip_checkpoint(names: list[str]) -> bool:
    """Say whether a zip with these members is PyTorch's (TorchScript included)."""
    return any(name.endswith("/data.pkl") or name == "data.pkl" for name in names)


def is_legacy(head: bytes) -> bool:
    """Say whether a file starts as PyTorch wrote them before 1.6."""
    return head[:1] == b"\x80" and LEGACY_START in head[2:30]


def read(path: Path) -> object:
    """Return the checkpoint with its tensors as arrays and its settings objects as dictionaries.

    Raises
    ------
    Damaged
        Cut off, altered, or with sizes that do not fit.
    Refused
        It would run code, is TorchScript, or PyTorch is too old to be safe.
    """
    import torch

    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST_TORCH:
        raise Refused(f"PyTorch {torch.__version__} reads such files unsafely; 2.10 or newer is needed")
    with path.open("rb") as file:
        look = _look_at_legacy if is_legacy(file.read(64)) else _look_at_zip
    looked = look(path)
    known = [(_Settings, ".".join(name)) for name in SETTINGS]
    try:
        if looked.protocol != TORCH_PROTOCOL:
            return _plain(looked.tree, looked.bytes_of, {})
        with torch.serialization.safe_globals(known):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        return _plain(loaded, looked.bytes_of, {})
    except (*BROKEN, RuntimeError, zlib.error) as error:
        raise Damaged(f"PyTorch cannot read it ({type(error).__name__}: {str(error).splitlines()[0][:80]})") from error


class _Settings:
    """Stands for the classes of `SETTINGS`."""


def _plain(value: object, bytes_of: Callable[[Storage], bytes], done: dict[int, object]) -> object:
    """Return the tree in NumPy's and Python's terms; ``done`` keeps what is mentioned twice from being made twice."""
    if id(value) not in done:
        done[id(value)] = _converted(value, bytes_of, done)
    return done[id(value)]


def _converted(value: object, bytes_of: Callable[[Storage], bytes], done: dict[int, object]) -> object:
    import torch

    if isinstance(value, Layout):
        return value.of(bytes_of(value.storage))

    if isinstance(value, torch.Tensor):
        value = value.detach()
        value = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
        return np.ascontiguousarray(value.numpy()) if value.ndim else value.numpy()
    if isinstance(value, dict):
        return {key: _plain(item, bytes_of, done) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, bytes_of, done) for item in value]
    return _plain(vars(value), bytes_of, done) if isinstance(value, _Settings) else value


def _look_at_zip(path: Path) -> Looked:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
                raise Refused(TORCHSCRIPT)
            packed = [member for member in members if member.compress_type != zipfile.ZIP_STORED]
            if packed or len(set(names)) != len(names) or sum(m.file_size for m in members) > path.stat().st_size:
                raise Damaged("its members are compressed, doubled, or larger than the file")
            bad = archive.testzip()
            if bad is not None:
                raise Damaged(f"the checksum of its part {bad[:60]} is wrong")
            pickled = next(name for name in names if name == "data.pkl" or name.endswith("/data.pkl"))
            sizes = {member.filename: member.file_size for member in members}
            content = io.BytesIO(archive.read(pickled))
    except (*ZIP_FAULTS, StopIteration) as error:
        raise Damaged(f"its zip is cut off or altered ({error})") from error
    tree, storages = _look_at_pickle(content, path.stat().st_size)
    folder = pickled[: -len("data.pkl")]
    for storage in storages.values():
        there = sizes.get(f"{folder}data/{storage.key}")
        if there is None or storage.n_bytes > there:
            raise Damaged(f"its storage {storage.key[:20]} has {there} bytes, fewer than announced")

    @cache
    def bytes_of(storage: Storage) -> bytes:
        with zipfile.ZipFile(path) as archive:
            return archive.read(f"{folder}data/{storage.key}")[: storage.n_bytes]

    return Looked(_protocol(content.getvalue()[:2]), tree, bytes_of)


def _look_at_legacy(path: Path) -> Looked:
    size = path.stat().st_size
    with mapped(path) as data:
        if unpickle(data, {}) != LEGACY_MAGIC or unpickle(data, {}) != 1001:
            raise Damaged("it does not start as a PyTorch file")
        unpickle(data, {})  # about the machine that wrote it
        tree, storages = _look_at_pickle(data, size)
        keys = unpickle(data, {})
        if not isinstance(keys, list) or set(keys) != set(storages):
            raise Damaged("its list of storages is not the one that its tensors use")
        sizes = [8 + storages[key].n_bytes for key in keys]
        if sum(sizes) > size - data.tell():
            raise Damaged(f"{sum(sizes)} bytes of tensors are announced and {size - data.tell()} are there")
        starts = itertools.accumulate(sizes, initial=data.tell() + 8)  # a count of 8 bytes, then the numbers
        protocol = _protocol(data[:2])
    where = dict(zip(keys, starts, strict=False))

    @cache
    def bytes_of(storage: Storage) -> bytes:
        with mapped(path) as data:
            return data[where[storage.key] : where[storage.key] + storage.n_bytes]

    return Looked(protocol, tree, bytes_of)


def _protocol(head: bytes) -> int:
    return head[1] if head[:1] == b"\x80" else 0


def _look_at_pickle(
    source, file_size: int, also: Mapping[Name, Meaning | None] = MappingProxyType({})
) -> tuple[object, dict[str, Storage]]:
    """Read the pickle as data; return its tree and its storages after checking every tensor against them.

    ``also``: further names that it may mention, as `unpickle` takes them.
    """
    storages: dict[str, Storage] = {}
    layouts: list[Layout] = []

    def found(pid: object) -> Storage:
        storage = _storage(pid)
        if storages.setdefault(storage.key, storage) != storage:
            raise Damaged("two of its tensors disagree about their storage")
        return storage

    def tensor(record: Inert) -> Layout:
        layouts.append(_layout(record))
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


def _storage(pid: object) -> Storage:
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or not isinstance(pid[1], Global):
        raise Damaged("a reference to something that is no storage")
    kind, key, n_items = pid[1].name, pid[2], pid[4]
    if kind not in STORAGES or not isinstance(key, str) or type(n_items) is not int or n_items < 0:
        raise Damaged("a storage of unknown kind or size")
    if len(pid) == 6 and pid[5] is not None:
        raise Refused("it uses storages within storages, as PyTorch wrote before version 0.4; save it again")
    return Storage(key, n_items, STORAGES[kind])


def _layout(record: Inert) -> Layout:
    storage, offset, shape, strides = record.arguments[:4]
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or any(type(number) is not int or number < 0 for number in numbers):
        raise Damaged("a tensor of unknown form")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if prod(shape) > storage.n_items or (prod(shape) and last >= storage.n_items):
        raise Damaged(f"a tensor of shape {str(shape)[:60]} is larger than its storage")
    return Layout(storage, offset, tuple(shape), tuple(strides))
