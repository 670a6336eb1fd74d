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
