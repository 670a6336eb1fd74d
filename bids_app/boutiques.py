"""The Boutiques descriptor (``--bids-exec-spec``), made from the parser."""

from __future__ import annotations

import json
import re

from hyper_bids import __version__

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
}


def descriptor_text(parser) -> str:
    """Return the descriptor as JSON: every option of the parser is an input."""
    inputs, keys = [], []
    for action in parser._actions:
        if action.dest in ("help", "version", "bids_exec_spec"):
            continue
        key = f"[{action.dest.upper()}]"
        keys.append(key)
        entry = {
            "id": action.dest,
            "name": action.dest.replace("_", " "),
            "description": (action.help or "").replace("%%", "%"),
            "value-key": key,
            "optional": bool(action.option_strings),
            "type": "Flag" if action.nargs == 0 else "String",
        }
        if action.option_strings:
            entry["command-line-flag"] = next(f for f in action.option_strings if f.startswith("--"))
        if action.nargs == "+":
            entry["list"] = True
        if action.choices:
            entry["value-choices"] = list(action.choices)
        inputs.append(entry)
    descriptor = {
        "name": "hyper",
        "tool-version": __version__,
        "description": re.sub(r"\s+", " ", parser.description),
        "schema-version": "0.5",
        "command-line": "hyper " + " ".join(keys),
        "inputs": inputs,
        "output-files": [
            {"id": "output", "name": "derivatives", "path-template": "[OUTPUT_DIR]", "optional": False}
        ],
        "error-codes": [{"code": code, "description": text} for code, text in ERROR_CODES.items()],
        "custom": {"BIDSAppSpecVersion": "0.1.0", "BIDSApplicationVersion": __version__},
    }
    return json.dumps(descriptor, indent=2)
