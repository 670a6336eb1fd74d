"""What a weight file comes to: named arrays in canonical form, and the two ways in which a file can fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np


class Damaged(Exception):
    """The bytes are not what their format says: cut off, altered, or something else altogether."""


class Refused(Exception):
    """The file is intact, but it is not weights that may or can be used; the text says why."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of one network in hyper's canonical form.

    Parameters
    ----------
    architecture : str
        Which network: ``pggan``, ...
    arrays : name -> float32 array
        Canonical names; every scale that a framework applies at run time is already inside.
    options : name -> number, bool or str
        What the arrays do not tell, ready for JSON.
    origin : str
        Whose layout, in which container: "HYPER's MXNet generator, MXNet parameter list".
    notes : tuple of str
        What was chosen or left out when it was read, for people.
    """

    architecture: str
    arrays: Mapping[str, np.ndarray]
    options: Mapping[str, object] = field(default_factory=dict)
    origin: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", MappingProxyType(dict(self.arrays)))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        object.__setattr__(self, "notes", tuple(self.notes))

    def __reduce__(self):
        return type(self), (self.architecture, dict(self.arrays), dict(self.options), self.origin, self.notes)

    @property
    def n_parameters(self) -> int:
        return sum(int(array.size) for array in self.arrays.values())


def as_float32(name: str, array: np.ndarray, network: str) -> np.ndarray:
    """Return an array of a network as contiguous float32 of the same shape.

    Parameters
    ----------
    network : what people call it, for the error: "this PGGAN"

    Raises
    ------
    Refused
        It holds no numbers, or some that are not finite in float32.
    """
    if array.dtype.kind not in "fiu":
        raise Refused(f"{name[:60]} of {network} holds {array.dtype}, not numbers")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
    if not np.isfinite(values).all():
        raise Refused(f"{name[:60]} of {network} holds values that are not finite")
    return values


def checked_arrays(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], network: str
) -> dict[str, np.ndarray]:
    """Return the arrays as float32, if they are exactly those of ``shapes``.

    Parameters
    ----------
    network : what people call it, for the error: "a VAE-GAN"

    Raises
    ------
    Refused
        One is missing, unknown, of another shape, or not of finite numbers.
    """
    missing, unknown = sorted(set(shapes) - set(arrays)), sorted(set(arrays) - set(shapes))
    if missing:
        raise Refused(f"it looks like {network}, but lacks {', '.join(missing[:3])}")
    if unknown:
        some = ", ".join(name[:60] for name in unknown[:3])
        raise Refused(f"it looks like {network}, but has {some}, which that network has not")
    for name, array in arrays.items():
        if array.shape != shapes[name]:
            raise Refused(f"{name} of {network} has shape {array.shape}, but its neighbours need {shapes[name]}")
    return {name: as_float32(name, array, network) for name, array in arrays.items()}


def width(arrays: Mapping[str, np.ndarray], layer: str) -> int:
    """Return how many units a layer has; -1, which no shape has, where it is not there."""
    bias = arrays.get(f"{layer}.bias")
    return -1 if bias is None or bias.ndim != 1 else len(bias)
