"""One check's answer: a light (PASS, NOTE, WARN, FAIL, or N/A where nothing could be assessed), words and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Light = dict[str, Any]
"""``Status``, ``Text``, and the figures behind them, ready for JSON."""


def light(status: str, text: str, **figures: Any) -> Light:
    """Return a check's answer; numbers get six digits, and those that are not finite become null.

    >>> light("PASS", "fine.", Share=1 / 3, Distance=float("nan"))
    {'Status': 'PASS', 'Text': 'fine.', 'Share': 0.333333, 'Distance': None}
    """
    return {"Status": status, "Text": text, **{name: _plain(value) for name, value in figures.items()}}


def not_assessed(why: str) -> Light:
    """Return the answer of a check that had nothing to look at."""
    return light("N/A", f"not assessed: {why}.")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    return float(f"{float(value):.6g}") if math.isfinite(value) else None
