"""safetensors: hyper's own file of canonical weights, and anybody's flat list of tensors."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from hyper_bids.weights.canonical import Damaged, Weights
from hyper_bids.whole_files import replacing

KEY = "hyper"
VERSION = 1


def starts(head: bytes) -> bool:
    """Say whether a file starts with the length of a JSON header and the header."""
    return len(head) > 8 and 2 <= struct.unpack("<Q", head[:8])[0] < 100_000_000 and head[8:9] == b"{"


def read(path: Path) -> Weights | dict[str, np.ndarray]:
    """Return `Weights` from a file of `write`, the arrays by name from any other; half precision becomes float32.

    Raises
    ------
    Damaged
        Cut off or altered.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            described = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
    except (SafetensorError, RuntimeError, ValueError, TypeError, OSError) as error:
        raise Damaged(f"it is cut off or altered ({error})") from error
    small = (torch.bfloat16, torch.float16)
    arrays = {name: (t.float() if t.dtype in small else t).numpy().copy() for name, t in tensors.items()}
    return arrays if described is None else _own(arrays, described)


def write(weights: Weights, path: Path) -> Path:
    """Write canonical weights; the same weights give the same bytes; whole or not at all.

    Raises
    ------
    OutputNotWritable
    """
    from safetensors.numpy import save

    path = Path(path)
    described = {
        "version": VERSION,
        "architecture": weights.architecture,
        "options": dict(weights.options),
        "origin": weights.origin,
        "notes": list(weights.notes),
    }
    # One key only: the library writes several in random order.
    content = save(dict(weights.arrays), metadata={KEY: json.dumps(described, sort_keys=True)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def _own(arrays: dict[str, np.ndarray], described: str) -> Weights:
    try:
        what = json.loads(described)
        if what["version"] != VERSION:
            raise Damaged(f"it is of version {what['version']}, this program reads {VERSION}")
        plain = all(type(value) in (bool, int, float, str) for value in what["options"].values())
        if not plain or not all(isinstance(note, str) for note in what["notes"]):
            raise TypeError("options")
        return Weights(str(what["architecture"]), arrays, what["options"], str(what["origin"]), tuple(what["notes"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged("hyper's own description in it makes no sense") from error
