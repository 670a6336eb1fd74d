"""Pickled networks: NVIDIA's TensorFlow and PyTorch snapshots, and plain dictionaries of arrays."""

from __future__ import annotations

from pathlib import Path

from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.files import mapped
from hyper_bids.weights.unpickle import Inert, Meaning, Name, dictionary, unpickle

PERSISTENT: Name = ("torch_utils.persistence", "_reconstruct_persistent_obj")
"""NVIDIA's PyTorch networks: the one argument is a dictionary with ``class_name``, ``module_src``, ``state``."""


def _theano(record: Inert) -> object:
    raise Refused(
        "it is the Theano version of NVIDIA's PGGAN, which is not read. Use the TensorFlow version of the same network"
    )


def _hyper_data(record: Inert) -> object:
    raise Refused("it holds MXNet arrays, as HYPER's published responses do: `hyper-tools import-hyper` reads those")


ALLOWED: dict[Name, Meaning | None] = {
    ("tfutil", "Network"): None,
    ("dnnlib.tflib.network", "Network"): None,
    ("network", "Network"): _theano,
    ("mxnet.ndarray.ndarray", "NDArray"): _hyper_data,
    ("dnnlib.util", "EasyDict"): dictionary,
    ("dnnlib", "EasyDict"): dictionary,
    PERSISTENT: None,
    ("torch._utils", "_rebuild_tensor_v2"): None,
    ("torch._utils", "_rebuild_parameter"): None,
    ("torch.storage", "_load_from_bytes"): None,
}
"""None stays an `Inert` record, which the network's own reader interprets. None of them is ever imported or called."""


def starts(head: bytes) -> bool:
    """Say whether a file starts as a pickle, of any protocol."""
    if head[:1] == b"\x80":
        return True
    containers = head[:2] in (b"(d", b"(l", b"(i", b"(t", b"(c", b"}q", b"]q", b"}(", b"](")
    return containers or (head[:1] == b"c" and b"\n" in head[:80])


def read(path: Path) -> object:
    """Return the pickle's tree: arrays, plain containers, `Inert` records of networks.

    Raises
    ------
    Damaged, Refused
        See `unpickle`.
    """
    with mapped(path) as data:
        tree = unpickle(data, ALLOWED)
        if data.tell() != len(data):
            raise Damaged(f"{len(data) - data.tell()} bytes follow its end")
    return tree
