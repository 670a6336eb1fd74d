"""Nuisance regressors by kind: motion24 has 24 columns, and nobody reads their names one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

MOTION = re.compile(r"(trans|rot)_[xyz](_derivative1)?(_power2)?")
FEW = 2
"""As many of a kind as this are named one by one."""


def kind(name: str) -> str:
    """Return what a regressor is one of: motion, or its name without the number at the end.

    >>> kind("rot_x_derivative1_power2"), kind("a_comp_cor_04"), kind("spike_0012"), kind("csf")
    ('motion', 'a_comp_cor', 'spike', 'csf')
    """
    return "motion" if MOTION.fullmatch(name) else re.sub(r"_?\d+$", "", name) or name


def listed(names: Sequence[str]) -> str:
    """Name regressors, several of a kind by their number, those of motion last; "none" where there are none.

    >>> listed(["fixation", "trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"])
    'fixation, 6 motion'
    >>> listed(["rot_x", "csf", *(f"a_comp_cor_{k:02d}" for k in range(5)), "spike_0000", "spike_0007"])
    'csf, 5 a_comp_cor, spike_0000, spike_0007, rot_x'
    """
    kinds: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: kind(name) == "motion"):  # stable: the others in their order
        kinds.setdefault(kind(name), []).append(name)
    said = [[f"{len(found)} {what}"] if len(found) > FEW else found for what, found in kinds.items()]
    return ", ".join(name for found in said for name in found) or "none"


def neighbours(names: Sequence[str]) -> list[tuple[float, str]]:
    """Return the middle and the label of successive columns of one kind; single ones beside each other share a label.

    >>> neighbours(["drift_1", "drift_2", "drift_3", "spike_0004", "constant"])
    [(1.0, '3 drift'), (3.5, 'spike_0004, constant')]
    """
    found, start = [], 0
    rows = [(what, list(group)) for what, group in groupby(names, kind)]
    for single, neighbouring in groupby(rows, lambda row: len(row[1]) == 1):
        parts = list(neighbouring)
        if single:
            parts = [("", [own[0] for _, own in parts])]
        for what, own in parts:
            label = ", ".join(own) if single else f"{len(own)} {what}"
            found.append((start + (len(own) - 1) / 2, label))
            start += len(own)
    return found
