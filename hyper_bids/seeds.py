"""One root seed, named children: independent of order and of the number of processes."""

from __future__ import annotations

import hashlib

import numpy as np


def child_seed(root: int, *name: str | int) -> int:
    """Derive a 63-bit seed from the root seed and a path of names.

    The same names give the same seed wherever and in whatever order they are asked
    for; different names give unrelated streams.

    >>> child_seed(0, "permutations", "sub-01") == child_seed(0, "permutations", "sub-01")
    True
    >>> child_seed(0, "a") == child_seed(1, "a")
    False
    """
    text = "\x1f".join([str(int(root)), *(str(part) for part in name)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(root: int, *name: str | int) -> np.random.Generator:
    """Return the NumPy generator of a named child of the root seed."""
    return np.random.default_rng(child_seed(root, *name))
