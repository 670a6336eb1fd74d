"""How one option is declared, and what a dataclass of options is read as."""

from __future__ import annotations

import dataclasses
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from hyper_bids.errors import UsageError


def option(
    default: Any,
    text: str,
    *,
    kind: str = "str",
    flags: tuple[str, ...] = (),
    choices: tuple[str, ...] | None = None,
    metavar: str | None = None,
    strip: str = "",
    identity: bool | str | None = None,
    least: float | None = None,
) -> Any:
    """Declare one option.

    Parameters
    ----------
    default : value when the option is not given
    text : one-line help, shown by ``--help`` and in the documentation
    kind : ``str``, ``int``, ``float``, ``flag``, ``path``, ``list``, ``floats`` or ``memory``
        How text becomes a value; or ``count``. ``list`` takes one or more words; ``table`` a JSON object of objects.
    flags : spellings besides ``--field-name``
    choices : allowed values
    strip : prefix that users may leave in ("sub-")
    identity : whether the value enters the digest; default: all but paths. ``"given"``: only whether there is one
    least : smallest value that can be meant
    """
    if identity is None:
        identity = kind != "path"
    metadata = {
        "help": text,
        "kind": kind,
        "flags": flags,
        "choices": choices,
        "metavar": metavar,
        "strip": strip,
        "identity": identity,
        "least": least,
    }
    return field(default=default, metadata=metadata)


def check_least(settings: Any) -> None:
    """Refuse values below the least that can be meant.

    Raises
    ------
    UsageError
    """
    for item in fields(settings):
        value, least = getattr(settings, item.name), item.metadata["least"]
        if least is not None and value is not None and value < least:
            raise UsageError(f"--{item.name.replace('_', '-')} must be at least {least}, got {value}.")


def plain(settings: Any) -> dict[str, Any]:
    """Return a dataclass as JSON-ready values (paths as text, tuples as lists)."""

    def convert(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        return list(value) if isinstance(value, tuple) else value

    return {item.name: convert(getattr(settings, item.name)) for item in fields(settings)}


def identity_of(settings: Any) -> dict[str, Any]:
    """Return the values of a stage's settings that enter the digest."""
    kinds = {item.name: item.metadata.get("identity", True) for item in fields(settings)}
    return {
        name: value is not None if kinds[name] == "given" else value
        for name, value in plain(settings).items()
        if kinds[name]
    }


def replace(settings: Any, **changes: Any) -> Any:
    """Return a copy of a settings dataclass with some fields changed."""
    return dataclasses.replace(settings, **changes)
