"""Which feature networks were asked for: names paired with files, checked before any computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.derivatives.tree import checksum
from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.features import FEATURES, Features, make_features, parse_features

if TYPE_CHECKING:
    from hyper_bids.settings import Settings

STANDARD_SET = {
    "alexnet2": ("alexnet", "features.4"), "alexnet5": ("alexnet", "features.11"),
    "inception": ("inception", "avgpool"), "clip": ("clip", "embedding"),
    "efficientnet": ("efficientnet", "avgpool"), "swav": ("swav", "avgpool"),
}  # fmt: skip
"""Name in `evaluate.natural_images.NETWORKS` -> our network and layer."""


@dataclass(frozen=True)
class Chosen:
    """A feature network that was asked for.

    Parameters
    ----------
    name : key of `FEATURES`
    layer : layer that was asked for, or None for the network's own
    file : weight file, absolute
    needed : layer that the protocol looks at, whichever was asked for; None without a protocol that uses this network
    """

    name: str
    layer: str | None
    file: str
    needed: str | None = None

    def params(self, device: str) -> dict[str, Any]:
        """Return the network as parameters of a step; `identity` says what is in its file."""
        return {"name": self.name, "layer": self.layer, "file": self.file, "device": device}


def chosen(names: Sequence[str], files: Sequence[str], protocol: str | None = None) -> tuple[Chosen, ...]:
    """Pair ``--features`` with ``--feature-weights``, in order; files alone say themselves which network they are.

    Parameters
    ----------
    protocol : ``--protocol``, whose layer is then looked for by `check_opens`

    Raises
    ------
    UsageError
        An unknown name, one twice, or more files than names.
    MissingFiles
        A name without its file, or a file that is not there.
    InconsistentInput
        A file of which nothing is known, or of a network of another kind.
    """
    parsed = [parse_features(name) for name in names]
    for name, path in zip(names, files, strict=False):
        if not Path(path).is_file():
            raise MissingFiles(f"--feature-weights {path} does not exist (for --features {name}).")
    if len(names) > len(files):
        raise MissingFiles(
            f"--features {names[len(files)]} needs its --feature-weights: a weight file (names and files are paired in "
            f"order; {len(names)} and {len(files)} were given). `hyper-tools models list` says which were published."
        )
    if names and len(files) > len(names):
        raise UsageError(
            f"--feature-weights {files[len(names)]} has no --features: names and files are paired in order, and "
            f"{len(names)} and {len(files)} were given."
        )
    if not names:
        parsed = [(_named_by(Path(path)), None) for path in files]
    double = [name for number, (name, _) in enumerate(parsed) if name in [other for other, _ in parsed[:number]]]
    if double:
        raise UsageError(f"--features names {double[0]} twice; one file of each network is used.")
    needed = _layer_of(protocol)
    return tuple(
        Chosen(name, layer, str(path), needed.get(name)) for (name, layer), path in zip(parsed, files, strict=True)
    )


def _layer_of(protocol: str | None) -> dict[str, str]:
    """Return network -> layer of a protocol; empty where it uses none."""
    from hyper_bids.evaluate.image_protocols import PROTOCOLS

    known = PROTOCOLS.get(protocol or "")
    return {known.network: known.layer} if known is not None and known.network else {}


def chosen_in(settings: Settings) -> tuple[Chosen, ...]:
    """Return the networks that the settings ask for; see `chosen`."""
    return chosen(settings.evaluate.features, settings.evaluate.feature_weights, settings.evaluate.protocol)


def _named_by(path: Path) -> str:
    if not path.is_file():
        raise MissingFiles(f"--feature-weights {path} does not exist.")
    architecture = _architecture(str(path), path.stat().st_size, path.stat().st_mtime_ns)
    return next(name for name, network in FEATURES.items() if network.architecture == architecture)


@lru_cache(maxsize=32)
def _architecture(path: str, size: int, changed: int) -> str:
    """Read the file once, however often it is asked; size and time say whether it is still the same."""
    from hyper_bids.weights import read_weights

    return read_weights(Path(path), option="--features").architecture


def identity(networks: Sequence[Chosen]) -> dict[str, str]:
    """SHA-256 of every file, for the identity of a step."""
    return {f"features {item.name}": _digest(item.file) for item in networks}


def _digest(file: str) -> str:
    status = Path(file).stat()
    return _checksum(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _checksum(file: str, size: int, changed: int) -> str:
    return checksum(Path(file))


def check_opens(networks: Sequence[Chosen]) -> None:
    """Find out now whether every file is the network that it is said to be, and has the layers that will be used.

    Raises
    ------
    HyperError
        As `make_features`.
    """
    for item in networks:
        for name, layer in STANDARD_SET.values():
            if name == item.name:
                check_layer(item, layer, "a metric")
        if item.needed is not None:
            check_layer(item, item.needed, "--protocol")
        layers_of(item)


def check_layer(item: Chosen, layer: str, user: str) -> None:
    """Refuse a file without a layer that something else than the user's own ``NAME:LAYER`` needs.

    Raises
    ------
    InconsistentInput
        It has not; others as `make_features`.
    """
    if layer not in layers_of(item):
        raise InconsistentInput(
            f"{item.file}: this {item.name} has no layer {layer}, which {user} uses; give a file that has it."
        )


def layers_of(item: Chosen) -> tuple[str, ...]:
    """Return the layers of the network in a file; it is read once, however often it is asked."""
    status = Path(item.file).stat()
    return _layers(item.name, item.layer, item.file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _layers(name: str, layer: str | None, file: str, size: int, changed: int) -> tuple[str, ...]:
    return tuple(make_features(name, Path(file), layer).layers)


def opened(params: Mapping[str, Any], layer: str | None = None) -> Features:
    """Make the network of a step's parameters; ``layer`` wins over the one that was asked for."""
    return make_features(params["name"], Path(params["file"]), layer or params["layer"], params["device"])


def for_metrics(networks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return which network fills ``feature_similarity``: the first that recognises faces, else the first."""
    faces = [item for item in networks if FEATURES[item["name"]].is_face]
    return next(iter([*faces, *networks]), None)


def named(networks: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """Return the network of that name, or None."""
    return next((item for item in networks if item["name"] == name), None)


def standard_set(networks: Sequence[Mapping[str, Any]]) -> dict[str, Features]:
    """Open the networks of natural-image papers that are there: name in `natural_images.NETWORKS` -> features."""
    found: dict[str, Features] = {}
    made: dict[str, Features] = {}
    for key, (name, layer) in STANDARD_SET.items():
        item = named(networks, name)
        if item is not None:
            made[name] = made[name].at(layer) if name in made else opened(item, layer)
            found[key] = made[name]
    return found
