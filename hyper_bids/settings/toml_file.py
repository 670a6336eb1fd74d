"""Options in a TOML file: read, and written for a run to be repeated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hyper_bids.errors import UsageError, did_you_mean
from hyper_bids.settings.all_sections import Settings, sections
from hyper_bids.settings.declare import plain
from hyper_bids.settings.decode import plugin_parameters
from hyper_bids.settings.execution import Execution


def read_toml(path: Path) -> dict[str, Any]:
    """Read options from a TOML file: top-level, or in the sections of `sections`.

    Raises
    ------
    UsageError
        The file cannot be read, or names a section or an option that does not exist.
    """
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Cannot read --config {path}: {error}") from error
    values: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            if key not in sections():
                raise UsageError(f"{path}: unknown section [{key}].{did_you_mean(key, sections())}")
            known = [item.name for item in fields(sections()[key])]
            for name, inner in value.items():
                if name.replace("-", "_") not in known:
                    raise UsageError(f"{path}: unknown option {name!r} in [{key}].{did_you_mean(name, known)}")
                values[name.replace("-", "_")] = inner
        else:
            values[key.replace("-", "_")] = value
    return values


def _plugin_lines(parameters: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, inner in parameters.items():
        lines += ["", f"[decode.parameters.{json.dumps(name)}]"]
        lines += [f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in inner.items()]
    return lines


def write_toml(settings: Settings, execution: Execution) -> str:
    """Return all options as TOML that ``--config`` reads back."""
    lines = []
    for section in sections():
        part = execution if section == "execution" else getattr(settings, section)
        lines.append(f"[{section}]")
        for name, value in plain(part).items():
            if value is not None and name not in ("config", "dry_run", "parameters"):
                lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
        if section == "decode":
            lines += _plugin_lines(plugin_parameters(settings.decode))
        lines.append("")
    return "\n".join(lines)
