"""When the volumes of a run were acquired: repetition time, start and number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyper_bids.errors import InconsistentInput
from hyper_bids.inputs.volumes import Header, read_header

_LONGEST = 100.0
"""s; a longer repetition time is a number of ms in the wrong place."""


@dataclass(frozen=True)
class Sampling:
    """Repetition time and start in s, and the number of volumes."""

    repetition_time: float
    start_time: float
    n_volumes: int


def read_sampling(
    bold: Path, own: dict[str, Any], raw: dict[str, Any], check_content: bool = True
) -> tuple[Sampling, list[str]]:
    """Return the sampling of a BOLD file, and notices.

    Parameters
    ----------
    bold : the file to analyse
    own : metadata of the preprocessed file, empty where ``bold`` is the raw one
    raw : metadata of the raw file
    check_content : False: the header is not read; unknown values are 0

    Raises
    ------
    InconsistentInput
        No repetition time in either sidecar nor, with a unit, in the header; or one that cannot be.
    """
    header = _bold_header(bold) if check_content else None
    declared = own.get("RepetitionTime", raw.get("RepetitionTime"))
    if declared is None and "VolumeTiming" in {**raw, **own}:
        raise InconsistentInput(
            f"{bold}: its sidecar gives VolumeTiming (sparse acquisition), which is not supported; "
            "volumes must be equally spaced (RepetitionTime)."
        )
    notices = []
    if declared is None:
        seconds = None if header is None else header.repetition_time
        if header is not None and seconds is None:
            raise InconsistentInput(
                f"{bold}: no repetition time. No sidecar that applies to it has RepetitionTime, and the NIfTI header "
                'gives none with a unit. Add "RepetitionTime": <seconds> to the task\'s _bold.json.'
            )
        if seconds is not None:
            notices.append(f"{bold.name}: repetition time {seconds:g} s from the NIfTI header; no sidecar gives it.")
    else:
        seconds = _seconds(bold, "RepetitionTime", declared)
        in_header = None if header is None else header.repetition_time
        if in_header is not None and abs(in_header - seconds) > 1e-3 * max(seconds, 1.0):
            notices.append(f"{bold.name}: repetition time {seconds:g} s (sidecar), but {in_header:g} s in its header.")
    if seconds is not None and not 0 < seconds <= _LONGEST:
        raise InconsistentInput(f"{bold}: RepetitionTime {seconds:g} cannot be; it is in seconds and above 0.")
    start = _seconds(bold, "StartTime", {**raw, **own}.get("StartTime", 0.0))
    return Sampling(seconds or 0.0, start, 0 if header is None else header.shape[3]), notices


def _bold_header(bold: Path) -> Header:
    header = read_header(bold)
    if len(header.shape) != 4 or min(header.shape) < 1:
        raise InconsistentInput(
            f"{bold}: a BOLD file must be 4-D (x, y, z, time), this one has shape {header.shape}. "
            "A single volume (an sbref or a mean image) must not carry the suffix bold."
        )
    return header


def _seconds(bold: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InconsistentInput(f"{bold}: {key} in its sidecar must be a number of seconds, got {value!r}.")
    return float(value)
