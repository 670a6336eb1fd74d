"""NVIDIA's pickled StyleGANs as plain dictionaries of arrays; the source code in them stays a text that nobody runs.

PyTorch networks are trees of modules, each pickled as a dictionary ``{class_name, module_src, state}``; their tensors
refer to storages that are PyTorch files within the pickle. TensorFlow networks have components.
"""

from __future__ import annotations

import io

import numpy as np

from hyper_bids.weights.candidates import TRIO, tensorflow_variables
from hyper_bids.weights.canonical import Damaged
from hyper_bids.weights.pickles import PERSISTENT
from hyper_bids.weights.torch_storages import LEGACY_MAGIC, STORAGES, Storage, layout_of, storage_of
from hyper_bids.weights.unpickle import Inert, unpickle

TENSORFLOW = ("dnnlib.tflib.network", "Network")
PARAMETER = ("torch._utils", "_rebuild_parameter")
TENSOR = ("torch._utils", "_rebuild_tensor_v2")
NESTED = ("torch.storage", "_load_from_bytes")
MAX_DEPTH = 12
MAX_COPIES, ALWAYS_FINE = 4, 1 << 24
"""Bytes of all tensors: as a multiple of the bytes of their storages, and what is let pass in any case."""


def flattened(tree: object, member: str | None) -> object:
    """Return the tree with NVIDIA's networks as ``{name: array, ..., "config": settings}``; others stay.

    Of a snapshot in which no member was asked for, only the moving average is unpacked. rosinality's average latent,
    which lies beside the network, is put into it.
    """
    if isinstance(tree, Inert):
        return _network(tree)
    if isinstance(tree, list | tuple) and any(map(_is_network, tree)):
        names = TRIO if len(tree) == 3 else [str(i) for i in range(len(tree))]
        tree = dict(zip(names, tree, strict=True))
    if not isinstance(tree, dict):
        return tree
    if member is None and _is_network(tree.get("G_ema")):
        tree = {"G_ema": tree["G_ema"]}
    elif member is None and _is_network(tree.get("Gs")):
        tree = {"Gs": tree["Gs"]}
    average = tree.get("latent_avg")
    result = {}
    for key, item in tree.items():
        result[key] = _network(item) if _is_network(item) else item
        if key in ("g_ema", "g") and isinstance(item, dict) and isinstance(average, np.ndarray):
            result[key] = {**item, "latent_avg": average}
    return result


def _is_network(value: object) -> bool:
    if not isinstance(value, Inert):
        return False
    return value.name == PERSISTENT or (value.name == TENSORFLOW and bool(_components(value)))


def _network(record: Inert) -> object:
    if not _is_network(record):
        return record
    return _tensorflow(record) if record.name == TENSORFLOW else _snapshot(record)


# --- TensorFlow -------------------------------------------------------------------------------------------------------


def _components(record: Inert) -> dict:
    state = record.state if isinstance(record.state, dict) else {}
    components = state.get("components")
    return components if isinstance(components, dict) else {}


def _tensorflow(record: Inert) -> dict[str, object]:
    settings = record.state.get("static_kwargs")
    return {**_variables(record, "", 0), "config": settings if isinstance(settings, dict) else {}}


def _variables(record: Inert, prefix: str, depth: int) -> dict[str, np.ndarray]:
    if depth > 3:
        raise Damaged("its networks are nested without end")
    found = {f"{prefix}{name}": array for name, array in tensorflow_variables(record).items()}
    for name, component in list(_components(record).items())[:16]:
        if isinstance(component, Inert) and component.name == TENSORFLOW:
            found |= _variables(component, f"{prefix}{name}/", depth + 1)
    return found


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def _snapshot(record: Inert) -> dict[str, object]:
    tensors = _Tensors()
    arrays: dict[str, object] = {}
    settings: dict[str, object] = {}
    for path, state in _modules(record, (), set()):
        for kind in ("_parameters", "_buffers"):
            members = state.get(kind)
            for name, value in members.items() if isinstance(members, dict) else ():
                if isinstance(value, Inert):
                    arrays[".".join((*path, str(name)))] = tensors.array(value)
        if path[-1:] == ("conv1",) and state.get("conv_clamp") is not None:
            settings["conv_clamp"] = state["conv_clamp"]
        if path == ("mapping", "fc0") and "bias_gain" in state:
            settings["lr_multiplier"] = state["bias_gain"]
    return {**arrays, "config": settings}


def _modules(record: object, path: tuple[str, ...], open_: set[int]):
    """Yield (path, state) of a module and those in it."""
    if not isinstance(record, Inert) or record.name != PERSISTENT:
        return
    described = record.arguments[0] if record.arguments else None
    state = described.get("state") if isinstance(described, dict) else None
    if not isinstance(state, dict) or len(path) > MAX_DEPTH or id(record) in open_:
        raise Damaged("one of its modules makes no sense")
    open_.add(id(record))  # also after its end: a module that is in two places would be walked through again and again
    yield path, state
    modules = state.get("_modules")
    for name, module in modules.items() if isinstance(modules, dict) else ():
        yield from _modules(module, (*path, str(name)), open_)


class _Tensors:
    """Makes arrays of pickled tensors, and keeps account of how large they are together."""

    def __init__(self) -> None:
        self._storages: dict[int, tuple[Storage, bytes]] = {}
        self._room = ALWAYS_FINE

    def array(self, record: Inert) -> np.ndarray:
        if record.name == PARAMETER and record.arguments and isinstance(record.arguments[0], Inert):
            record = record.arguments[0]
        if record.name != TENSOR or len(record.arguments) < 4 or not _is_storage(record.arguments[0]):
            raise Damaged("a tensor of unknown form")
        storage, raw = self._storage(record.arguments[0])
        offset, shape, strides = record.arguments[1:4]
        if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) != len(strides):
            raise Damaged("a tensor of unknown form")
        layout = layout_of(Inert(TENSOR, (storage, offset, shape, strides)))
        self._room -= layout.n_bytes
        if self._room < 0:
            raise Damaged("its tensors are many times as large as their storages")
        return layout.of(raw)

    def _storage(self, record: Inert) -> tuple[Storage, bytes]:
        if id(record) not in self._storages:
            storage, raw = nested_storage(record.arguments[0])
            self._room += MAX_COPIES * len(raw)
            self._storages[id(record)] = storage, raw
        return self._storages[id(record)]


def _is_storage(value: object) -> bool:
    return (
        isinstance(value, Inert) and value.name == NESTED and len(value.arguments) == 1
        and isinstance(value.arguments[0], bytes)
    )  # fmt: skip


def nested_storage(content: bytes) -> tuple[Storage, bytes]:
    """Return the one storage of a PyTorch file within a pickle, and its bytes.

    Raises
    ------
    Damaged, Refused
        It is cut off, holds anything else, or would run code.
    """
    source = io.BytesIO(content)
    if unpickle(source, {}) != LEGACY_MAGIC or unpickle(source, {}) != 1001:
        raise Damaged("a storage in it does not start as a PyTorch file")
    unpickle(source, {})  # about the machine that wrote it
    storage = unpickle(source, {}, bare=frozenset(STORAGES), persistent=storage_of)
    keys = unpickle(source, {})
    if not isinstance(storage, Storage) or not isinstance(keys, list) or keys != [storage.key]:
        raise Damaged("a storage in it makes no sense")
    source.seek(8, io.SEEK_CUR)  # the number of items once more
    raw = source.read(storage.n_bytes)
    if len(raw) != storage.n_bytes:
        raise Damaged(f"a storage in it has {len(raw)} bytes, fewer than announced")
    return storage, raw
