"""What the pages say in few words: of several results at once, and of many nuisance regressors."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest

from hyper_bids.report import figures_design
from hyper_bids.report.notices import once
from hyper_bids.report.nuisance import LONGEST, neighbours

FORMS = ("", "_derivative1", "_power2", "_derivative1_power2")
TISSUES = ("csf", "white_matter", "global_signal")
MOTION = [f"{kind}_{axis}{form}" for kind, axis, form in product(("trans", "rot"), "xyz", FORMS)]


def test_only_the_same_words_with_other_numbers_are_likewise():
    found = [
        ("nuisance", "ridge", "1 of 26 carry run (r = 0.41)."),
        ("nuisance", "ols", "3 of 26 carry motion (r = 2)."),
        ("nuisance", "map", "2 of 26 carry run (r = -1e-05)."),
        ("other", "map", "1 of 26 carry run (r = 0.41)."),
    ]
    assert once(found) == [
        "ridge: 1 of 26 carry run (r = 0.41). Likewise, with numbers of its own: map.",
        "ols: 3 of 26 carry motion (r = 2).",
        "map: 1 of 26 carry run (r = 0.41).",
    ]


@pytest.mark.parametrize("by_tissue", [True, False])
def test_36_parameters_have_short_labels_and_the_design_figure_has_room(rng, by_tissue):
    tissues = [f"{tissue}{form}" for tissue, form in product(TISSUES, FORMS)]
    if not by_tissue:
        tissues = [f"{tissue}{form}" for form, tissue in product(FORMS, TISSUES)]
    names = [*tissues, *MOTION]
    labels = [label for _, label in neighbours(names)]
    expected = [f"4 {tissue}" for tissue in TISSUES] if by_tissue else ["csf, white_matter and 10 more"]
    assert labels == [*expected, "24 motion"] and max(map(len, labels)) <= LONGEST
    longest = ["x" * 20 + str(k) + y for k, y in enumerate("ab")]  # two names whose label is nearly of that length
    assert len(neighbours(longest)[0][1]) == 46
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures_design.design_figure(rng.random((30, 5)), rng.random((30, 38)), [*names, *longest], np.arange(30.0))
