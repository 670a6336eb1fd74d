"""From a name, or ``package.module:Class``, to a checked object."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from hyper_bids.errors import UsageError, did_you_mean, listing


def resolve(name: str, builtins: Mapping[str, type], kind: str, needs: tuple[str, ...]) -> type:
    """Return the class that a name stands for.

    Parameters
    ----------
    name : a key of ``builtins``, or ``package.module:Class``
    builtins : the folder's own dict (``DECODERS``, ``GENERATORS``, ...)
    kind : what it is, for the message ("decoder")
    needs : methods that the class must have

    Raises
    ------
    UsageError
        Unknown name, module that cannot be imported, or a method that is missing.
    """
    if name in builtins:
        return builtins[name]
    if ":" not in name:
        raise UsageError(
            f"Unknown {kind} {name!r}.{did_you_mean(name, builtins)} Built in: {listing(builtins, 20)}; "
            f"your own: package.module:Class."
        )
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # whatever a user's module does when it is imported
        raise UsageError(
            f"Cannot load {kind} {name!r}: {type(error).__name__}: {error}. Is the package installed and on PYTHONPATH?"
        ) from error
    missing = [method for method in needs if not callable(getattr(found, method, None))]
    if missing:
        raise UsageError(f"{kind} {name!r} has no {' and no '.join(missing)}; see docs/architecture.md, plugin points.")
    return found
