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
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.files import ZIP_FAULTS, mapped
from hyper_bids.weights.torch_storages import LEGACY_MAGIC, SETTINGS, Layout, Storage, read_tree
from hyper_bids.weights.unpickle import BROKEN, unpickle

OLDEST_TORCH = (2, 10)
"""Older ones have holes in weights_only: CVE-2025-32434 (before 2.6) and CVE-2026-24747 (before 2.10)."""

LEGACY_START = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number as a pickle, after the two bytes that name its protocol (and a frame, from protocol 4)."""

TORCHSCRIPT = "it is TorchScript, that is, code, which could do anything. Export the network to ONNX instead"
TORCH_PROTOCOL = 2
"""The pickle protocol that `torch.save` writes unless asked, and that `torch.load` reads with weights_only."""


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
    tree, storages = read_tree(content, path.stat().st_size)
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
        tree, storages = read_tree(data, size)
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
