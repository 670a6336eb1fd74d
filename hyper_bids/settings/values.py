"""Words of the command line, and values of the TOML file, as values of the options."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hyper_bids.errors import UsageError, did_you_mean


def convert(name: str, value: Any, metadata: Any) -> Any:
    """Turn a word of the command line, or a value of the TOML file, into the field's value.

    Raises
    ------
    UsageError
        Naming the option, what came and what is needed.
    """
    kind = metadata["kind"]
    flag = "--" + name.replace("_", "-")
    try:
        if kind == "flag":
            if not isinstance(value, bool):
                raise ValueError("true or false")
            return value
        if kind == "table":
            return _plugin_tables(flag, value)
        if kind in ("list", "floats"):
            words = [value] if isinstance(value, (str, int, float)) else list(value)
            if kind == "floats":
                return tuple(_finite(word) for word in words)
            return tuple(str(word).removeprefix(metadata["strip"]) for word in words)
        if kind in ("int", "count"):
            if isinstance(value, bool) or float(value) != int(float(value)):
                raise ValueError("a whole number")
            value = int(float(value))
        elif kind == "float":
            value = _finite(value)
        elif kind == "memory":
            value = parse_memory(value)
        else:
            value = Path(os.path.abspath(os.path.expanduser(str(value)))) if kind == "path" else str(value)
    except (TypeError, ValueError, OverflowError):
        needed = {"flag": "true or false", "int": "a whole number", "float": "a number", "floats": "numbers"}.get(kind)
        raise UsageError(f"{flag}: {value!r} is not {needed}.") from None
    choices = metadata["choices"]
    if choices and value not in choices:
        raise UsageError(f"{flag}: {value!r} is not one of {', '.join(choices)}.{did_you_mean(str(value), choices)}")
    return value


def build_section(cls: type, values: dict[str, Any]) -> Any:
    """Make one settings dataclass from ``{field name: raw value}``; the rest keeps its default."""
    metadata = {item.name: item.metadata for item in fields(cls)}
    return cls(**{name: convert(name, value, metadata[name]) for name, value in values.items()})


def parse_memory(text: str | float) -> float:
    """Return MB from ``16G``, ``1.5 GB``, ``800M`` or a bare number of MB.

    >>> parse_memory("1.5G"), parse_memory("800M"), parse_memory(512)
    (1536.0, 800.0, 512.0)
    """
    words = str(text).strip().upper().removesuffix("B").removesuffix("I").strip()
    factor = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}.get(words[-1:])
    try:
        value = float(words if factor is None else words[:-1]) * (factor or 1.0)
    except ValueError:
        raise UsageError(f"Cannot read {text!r} as an amount of memory; write 16G, 800M or a number of MB.") from None
    if not 0 < value < float("inf"):
        raise UsageError(f"A memory limit must be positive, got {text!r}.")
    return value


def _plugin_tables(flag: str, value: Any) -> str:
    """``{"package.module:Class": {argument: value}}`` as JSON: frozen, like every other setting."""
    try:
        tables = json.loads(value or "{}") if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise UsageError(f"{flag}: {value!r} is no JSON ({error}).") from None
    if not isinstance(tables, Mapping) or not all(isinstance(inner, Mapping) for inner in tables.values()):
        raise UsageError(f'{flag}: an object per decoder is needed, {{"package.module:Class": {{"argument": 1}}}}.')
    return json.dumps(tables, sort_keys=True) if tables else ""


def _finite(value: Any) -> float:
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("finite")
    return number
