"""Maps of a network that makes them one after the other: those that were asked for, and nothing deeper."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from hyper_bids.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


def maps_named(maps: Iterable[tuple[str, Tensor]], wanted: Collection[str]) -> dict[str, Tensor]:
    """Return the wanted ones of (name, map), which stop being made at the last of them.

    >>> maps = iter(zip("abc", (1, 2, 3)))
    >>> maps_named(maps, {"b"}), list(maps)
    ({'b': 2}, [('c', 3)])
    """
    left, found = set(wanted), {}
    if not left:
        return found
    for name, made in maps:
        if name in left:
            found[name] = made
            left.remove(name)
            if not left:
                break
    return found


def maps_numbered(
    maps: Iterable[tuple[str, Tensor]], n_layers: int, layers: Sequence[str], network: str, first: str
) -> dict[str, Tensor]:
    """Return layer -> map, in the order asked for, of a network whose layers are ``0`` .. ``{n_layers}``, the image.

    Parameters
    ----------
    maps : (number as text, map)
    layers : numbers, as text or int
    network, first : what the network is, and what its layer 0 is, for the error

    Raises
    ------
    UsageError
        A layer that there is not.
    """
    for layer in layers:
        if str(layer) not in map(str, range(n_layers + 1)):
            raise UsageError(f"This {network} has no layer {layer!r}: 0 is {first}, {n_layers} the image.")
    found = maps_named(maps, {str(layer) for layer in layers})
    return {layer: found[str(layer)] for layer in layers}
