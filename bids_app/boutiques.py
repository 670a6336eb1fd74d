"""The Boutiques descriptor (``--bids-exec-spec``), made from the parser and the settings.

No ``default-value`` is given: Boutiques would put it on the command line, where it
would win over ``--preset`` and ``--config``. Defaults stand in the descriptions.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from hyper_bids import __version__
from hyper_bids.settings import sections

ERROR_CODES = {
    1: "some participant failed, the others finished",
    16: "the input is not valid BIDS",
    18: "the filters selected nothing",
    64: "the command line is wrong",
    65: "latents, events or split are inconsistent",
    66: "files are missing or annexed without content, or group before participant",
    70: "a fault of hyper",
    73: "the output cannot be written",
    75: "locked by another job",
    130: "interrupted (Ctrl-C); the same command goes on where it was",
    143: "stopped (SIGTERM, a walltime); the same command goes on where it was",
}

MADE = ("output_dir", "work_dir", "bids_database_dir")
"""Folders that the app makes: a Boutiques ``File`` would have to exist."""


def descriptor_text(parser: Any) -> str:
    """Return the descriptor as JSON: every argument of the parser is an input, every section a group."""
    made = {action.dest: list(_inputs(action)) for action in parser.arguments() if action.dest != "help"}
    inputs = [entry for entries in made.values() for entry in entries]
    descriptor = {
        "name": "hyper",
        "tool-version": __version__,
        "author": "The hyper developers",
        "description": re.sub(r"\s+", " ", parser.description or ""),
        "schema-version": "0.5",
        "command-line": " ".join(["hyper", *(entry["value-key"] for entry in inputs)]),
        "inputs": inputs,
        "groups": _groups(made),
        "output-files": [
            {"id": "output_dataset", "name": "BIDS derivatives", "path-template": "[OUTPUT_DIR]", "optional": False}
        ],
        "error-codes": [{"code": code, "description": text} for code, text in ERROR_CODES.items()],
        "tags": {"domain": ["neuroinformatics", "fmri"]},
        "custom": {"BIDSAppSpecVersion": "0.1.0", "BIDSApplicationVersion": __version__},
    }
    image = os.environ.get("HYPER_DOCKER_TAG")  # set in the container image
    if image:
        descriptor["container-image"] = {"type": "docker", "image": image}
    return json.dumps(descriptor, indent=2)


def _inputs(action: Any) -> Iterator[dict[str, Any]]:
    """Describe an argparse action; an option with a ``--no-`` form is two flags that exclude each other."""
    words, name = action.option_strings, action.dest
    negative = [word for word in words if word.startswith("--no-")]
    if action.nargs != 0 or not negative:
        yield _input(action, name, _flag(words))
        return
    positive = [word for word in words if word not in negative]
    yield {**_input(action, name, _flag(positive)), "disables-inputs": [f"no_{name}"]}
    yield {**_input(action, f"no_{name}", _flag(negative)), "disables-inputs": [name]}


def _input(action: Any, name: str, flag: str | None) -> dict[str, Any]:
    """Return one input."""
    entry: dict[str, Any] = {
        "id": name,
        "name": name.replace("_", " "),
        "description": (action.help or "").replace("%%", "%"),
        "value-key": f"[{name.upper()}]",
        "optional": flag is not None,
    }
    if flag is not None:
        entry["command-line-flag"] = flag
    if action.nargs == 0:
        return entry | {"type": "Flag"}
    kind, choices = _kinds().get(action.dest, ("path" if action.dest == "bids_dir" else "str", action.choices))
    number = {"int": {"integer": True}, "float": {}, "floats": {}}.get(kind)
    if number is not None:
        entry |= {"type": "Number", **number}
    else:
        entry["type"] = "File" if kind == "path" and action.dest not in MADE else "String"
    if action.nargs == "+":
        entry |= {"list": True, "min-list-entries": 1}
    if choices:
        entry["value-choices"] = list(choices)
    return entry


def _kinds() -> dict[str, tuple[str, tuple[str, ...] | None]]:
    """Return field name -> kind and choices: settings check them, so the parser does not know them."""
    declared = [item for cls in sections().values() for item in fields(cls) if item.metadata]
    return {item.name: (item.metadata["kind"], item.metadata["choices"]) for item in declared}


def _flag(words: list[str]) -> str | None:
    """Return the plain long spelling; None for a positional."""
    return next((word for word in words if word.startswith("--")), None)


def _groups(made: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return a group of inputs per section of the settings."""
    groups = []
    for section, cls in sections().items():
        members = [entry["id"] for item in fields(cls) for entry in made.get(item.name, ())]
        text = (cls.__doc__ or "").strip().splitlines()[0]
        groups.append({"id": f"{section}_options", "name": section, "description": text, "members": members})
    return groups
