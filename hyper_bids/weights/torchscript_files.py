"""The numbers in a TorchScript archive, read without its code: CLIP was published in that form.

``data.pkl`` is a pickle of the module: an object of a class ``__torch__...`` per submodule, whose state holds the
tensors and the submodules. The classes are code in ``code/``, which is never opened; the objects stay inert records,
and their states are walked through for the names of the tensors. Any other TorchScript than CLIP's is refused: what
it computes stands in its code alone.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from itertools import groupby
from pathlib import Path

import numpy as np

from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.files import ZIP_FAULTS
from hyper_bids.weights.torch_files import TORCHSCRIPT, is_zip_checkpoint
from hyper_bids.weights.torch_storages import Layout, read_tree
from hyper_bids.weights.unpickle import BROKEN, Inert, Name

IMAGE_ENCODER = "visual."
NEEDED = f"{IMAGE_ENCODER}class_embedding"
BUILDERS: tuple[Name, ...] = tuple(
    ("torch.jit._pickle", name)
    for name in ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag")
)
"""Lists of numbers among a module's attributes; they stay records."""

MAX_DEPTH = 40
MAX_PICKLE = 1 << 26


def recognised(names: list[str]) -> bool:
    """Say whether a zip with these members is a TorchScript archive."""
    return is_zip_checkpoint(names) and any("/code/" in name or name.endswith("/constants.pkl") for name in names)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of CLIP's image encoder by name, ``visual.conv1.weight`` ..., as float32.

    Raises
    ------
    Damaged
        Cut off, altered, or with sizes that do not fit.
    Refused
        It is not CLIP.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            pickled = next(name for name in members if name == "data.pkl" or name.endswith("/data.pkl"))
            folder = pickled[: -len("data.pkl")]
            _check_sizes(members, folder, path.stat().st_size)
            content = archive.read(pickled)
            tree, storages = read_tree(
                io.BytesIO(content), path.stat().st_size, also=dict.fromkeys([*_classes(content), *BUILDERS])
            )
            layouts = _tensors(tree)
            if NEEDED not in layouts and f"{IMAGE_ENCODER}conv1.weight" not in layouts:
                raise Refused(TORCHSCRIPT)
            for storage in storages.values():
                there = members.get(f"{folder}data/{storage.key}")
                if there is None or storage.n_bytes > there.file_size:
                    raise Damaged(f"its storage {storage.key[:20]} is missing or shorter than announced")
            wanted = {name: layout for name, layout in layouts.items() if name.startswith(IMAGE_ENCODER)}
            return _arrays(archive, folder, wanted)
    except (*ZIP_FAULTS, *BROKEN, StopIteration) as error:
        raise Damaged(f"its zip is cut off or altered ({type(error).__name__}: {str(error)[:80]})") from error


def _check_sizes(members: dict[str, zipfile.ZipInfo], folder: str, size: int) -> None:
    read = [item for name, item in members.items() if name == f"{folder}data.pkl" or name.startswith(f"{folder}data/")]
    packed = any(item.compress_type != zipfile.ZIP_STORED for item in read)
    if packed or sum(item.file_size for item in read) > size or members[f"{folder}data.pkl"].file_size > MAX_PICKLE:
        raise Damaged("its members are compressed, or larger than the file")


def _classes(content: bytes) -> set[Name]:
    """Names of the classes that TorchScript made; the pickle is looked through without being run."""
    found = set()
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL" and argument.startswith("__torch__"):
            module, _, name = argument.partition(" ")
            found.add((module, name))
    return found


def _tensors(tree: object) -> dict[str, Layout]:
    """Return name -> tensor of a module and those in it, as a state dictionary calls them."""
    found: dict[str, Layout] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, object, int]] = [("", tree, 0)]
    while waiting:
        prefix, record, depth = waiting.pop()
        if not isinstance(record, Inert) or not isinstance(record.state, dict) or id(record) in seen:
            continue
        if depth > MAX_DEPTH:
            raise Damaged("its modules are nested without end")
        seen.add(id(record))
        for name, value in record.state.items():
            if isinstance(value, Layout):
                found[f"{prefix}{name}"] = value
            else:
                waiting.append((f"{prefix}{name}.", value, depth + 1))
    return found


def _arrays(archive: zipfile.ZipFile, folder: str, wanted: dict[str, Layout]) -> dict[str, np.ndarray]:
    """Return name -> array. A storage is read once, however many tensors look at it."""
    found: dict[str, np.ndarray] = {}
    key_of = lambda name: wanted[name].storage.key  # noqa: E731
    for key, names in groupby(sorted(wanted, key=key_of), key_of):
        raw = memoryview(archive.read(f"{folder}data/{key}"))
        for name in names:
            array = wanted[name].of(raw[: wanted[name].storage.n_bytes])
            found[name] = array.astype(np.float32) if array.dtype == np.float16 else array
    return {name: found[name] for name in wanted}
