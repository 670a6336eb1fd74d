"""Which networks a file holds: flat lists of named arrays, the moving average first.

A checkpoint is a tree: a flat dictionary, a dictionary of networks, a trio (G, D, Gs). Prefixes that only say how the
network was wrapped (``module.``, ``netG.``) are taken off.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hyper_bids.weights.unpickle import Inert

AVERAGED = ("Gs", "G_ema", "g_ema", "netG_ema", "generator_ema", "generator_smooth", "avgG", "ema")
"""Moving averages over training: the networks that papers show."""

GENERATORS = ("G", "g", "netG", "generator", "Generator", "gen")
DISCRIMINATORS = ("D", "d", "netD", "discriminator", "Discriminator", "critic")
WRAPPERS = ("state_dict", "model", "model_state_dict", "params", "weights", "network", "net")
TENSORFLOW_NETWORKS = (("tfutil", "Network"), ("dnnlib.tflib.network", "Network"))
TRIO = ("G", "D", "Gs")
"""What NVIDIA's pickles hold, in this order."""

MAX_DEPTH = 3
MAX_CANDIDATES = 1000
MAX_BRANCHES = 32
"""Checkpoints are narrow above their lists of arrays; a tree that is not would take for ever to walk."""


@dataclass(frozen=True)
class Candidate:
    """One flat list of arrays that may be a generator.

    Parameters
    ----------
    member : str
        Where in the file: ``avgG``, ``Gs``, or empty for the whole of it.
    arrays : name -> array
    settings : mapping
        What the file says about how the network was built, in its own words.
    kind : str
        Class or function that built it, where the file tells.
    container : str
        File format that it was in, as `recognise.CONTAINERS` calls it.
    wanted : str
        Architecture that was asked for, where one was; it decides between two of the same names.
    """

    member: str
    arrays: Mapping[str, np.ndarray]
    settings: Mapping[str, object] = field(default_factory=dict)
    kind: str = ""
    container: str = ""
    wanted: str = ""

    def whole(self, prefix: str) -> Mapping[str, np.ndarray]:
        """Return the arrays with a prefix that all of them had, and that was taken for a wrapper's, put back."""
        if self.member.rpartition("/")[2] != prefix:
            return self.arrays
        return {f"{prefix}.{name}": array for name, array in self.arrays.items()}


def candidates(tree: object) -> list[Candidate]:
    """Return every list of arrays in the tree, moving averages first, discriminators last."""
    found = list(itertools.islice(_walk(tree, (), {}, 0), MAX_CANDIDATES))
    split = [part for candidate in found for part in _split(candidate)]
    return sorted(split, key=_rank)


def _rank(candidate: Candidate) -> int:
    parts = candidate.member.split("/")
    for rank, names in enumerate((AVERAGED, GENERATORS, (*WRAPPERS, ""))):
        if any(part in names for part in parts) and not any(part in DISCRIMINATORS for part in parts):
            return rank
    return 4 if any(part in DISCRIMINATORS for part in parts) else 3


def _walk(tree: object, path: tuple[str, ...], settings: Mapping, depth: int):
    if depth > MAX_DEPTH:
        return
    if isinstance(tree, Inert) and tree.name in TENSORFLOW_NETWORKS:
        yield _tensorflow(tree, path)
    elif isinstance(tree, list | tuple):
        names = TRIO if len(tree) == 3 and all(isinstance(item, Inert) for item in tree) else range(len(tree))
        arrays = {str(name): item for name, item in zip(names, tree, strict=True) if isinstance(item, np.ndarray)}
        if arrays and len(arrays) == len(tree):
            yield Candidate("/".join(path), arrays, {"unnamed": True})
        for name, item in zip(names, tree, strict=True):
            if isinstance(item, dict | list | tuple | Inert) and len(tree) <= 16:
                yield from _walk(item, (*path, str(name)), settings, depth + 1)
    elif isinstance(tree, dict):
        yield from _walk_dictionary(tree, path, settings, depth)


def _walk_dictionary(tree: dict, path: tuple[str, ...], settings: Mapping, depth: int):
    config = tree.get("config")
    settings = config if isinstance(config, dict) else settings
    arrays = {key: item for key, item in tree.items() if isinstance(key, str) and isinstance(item, np.ndarray)}
    if arrays:
        yield Candidate("/".join(path), arrays, settings)
    branches = [
        key
        for key, item in tree.items()
        if isinstance(key, str) and key != "config" and isinstance(item, dict | list | tuple | Inert)
    ]
    for key in branches[:MAX_BRANCHES]:
        yield from _walk(tree[key], (*path, key), settings, depth + 1)


def _tensorflow(record: Inert, path: tuple[str, ...]) -> Candidate:
    """Read the state of a pickled ``tfutil.Network``; the source code in it stays a text that nobody runs."""
    state = record.state if isinstance(record.state, dict) else {}
    arrays = tensorflow_variables(record)
    settings = state.get("static_kwargs")
    kind = f"{record.name[0]}.{state.get('build_func_name', '')}"
    return Candidate("/".join(path), arrays, settings if isinstance(settings, dict) else {}, kind)


def tensorflow_variables(record: Inert) -> dict[str, np.ndarray]:
    """Return the named arrays in the state of a pickled network of NVIDIA's, without those of its components."""
    pairs = record.state.get("variables") if isinstance(record.state, dict) else None
    return {
        pair[0]: pair[1]
        for pair in (pairs if isinstance(pairs, list) else [])
        if isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)
        and isinstance(pair[1], np.ndarray)
    }  # fmt: skip


def _split(candidate: Candidate, depth: int = 0) -> list[Candidate]:
    """Take wrappers off the names, and part a flat list that holds several networks by their prefix."""
    arrays = {_without_wrapper(name): array for name, array in candidate.arrays.items()}
    if len(arrays) != len(candidate.arrays):
        return [candidate]
    heads = {name: re.match(r"(\w+)[./](?=.)", name) for name in arrays}
    networks = {head[1] for head in heads.values() if head and head[1] in (*AVERAGED, *GENERATORS, *DISCRIMINATORS)}
    common = {head[1] if head else "" for head in heads.values()}
    parts = networks or (common if len(common) == 1 and "" not in common else set())
    if not parts or depth > MAX_DEPTH:
        return [Candidate(candidate.member, arrays, candidate.settings, candidate.kind)]
    split = []
    for part in sorted(parts):
        own = [name for name, head in heads.items() if head and head[1] == part]
        inside = {name[len(part) + 1 :]: arrays[name] for name in own}
        member = "/".join(filter(None, (candidate.member, part)))
        split += _split(Candidate(member, inside, candidate.settings, candidate.kind), depth + 1)
    return split


def _without_wrapper(name: str) -> str:
    """Drop the parts that DataParallel and the GAN-zoo's layers put in: ``module.conv.module.weight``.

    >>> _without_wrapper("module.scaleLayers.0.1.module.weight")
    'scaleLayers.0.1.weight'
    """
    return ".".join(part for part in name.split(".") if part != "module")
