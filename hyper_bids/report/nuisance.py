"""Nuisance regressors by kind: motion24 has 24 columns, and nobody reads their names one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from hyper_bids.errors import listing

MOTION = re.compile(r"(trans|rot)_[xyz](_derivative1)?(_power2)?")
FORMS = re.compile(r"(_derivative\d+)?(_power\d+)?$")
"""What else is made of a time course: of csf, csf_derivative1, csf_power2 and csf_derivative1_power2."""

FEW = 2
"""As many of a kind as this are named one by one."""

LONGEST = 50
"""Characters of a label that columns share; a longer one leaves the drawing no room."""


def kind(name: str) -> str:
    """Return what a regressor is one of: motion, or its name without its form and without the number at the end.

    >>> kind("rot_x_derivative1_power2"), kind("a_comp_cor_04"), kind("spike_0012"), kind("csf")
    ('motion', 'a_comp_cor', 'spike', 'csf')
    >>> kind("csf_derivative1"), kind("white_matter_power2"), kind("global_signal_derivative1_power2")
    ('csf', 'white_matter', 'global_signal')
    """
    return "motion" if MOTION.fullmatch(name) else re.sub(r"_?\d+$", "", FORMS.sub("", name)) or name


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
    >>> neighbours(["csf", "csf_derivative1", "csf_power2", "csf_derivative1_power2", "white_matter"])
    [(1.5, '4 csf'), (4.0, 'white_matter')]
    >>> neighbours(["csf", "white_matter", "global_signal", "csf_power2", "white_matter_power2"])
    [(2.0, 'csf, white_matter and 3 more')]
    """
    found, start = [], 0
    rows = [(what, list(group)) for what, group in groupby(names, kind)]
    for single, neighbouring in groupby(rows, lambda row: len(row[1]) == 1):
        parts = list(neighbouring)
        if single:
            parts = [("", [own[0] for _, own in parts])]
        for what, own in parts:
            label = shared(own) if single else f"{len(own)} {what}"
            found.append((start + (len(own) - 1) / 2, label))
            start += len(own)
    return found


def shared(names: Sequence[str]) -> str:
    """Return one label for regressors of different kinds: the first names where they are short, else their number.

    >>> shared(["csf"]), shared(["csf", "white_matter", "global_signal"])
    ('csf', 'csf, white_matter and 1 more')
    >>> shared(["white_matter_derivative1_power2", "global_signal_derivative1_power2", "csf"])
    '3 others'
    """
    label = listing(names, FEW)
    return label if len(names) == 1 or len(label) <= LONGEST else f"{len(names)} others"
