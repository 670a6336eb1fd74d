"""Learning curve: subsets are nested, have their share of every run, and are scored as they are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from hyper_bids.decode.learning_curve import FRACTIONS, learning_curve, subsets
from hyper_bids.errors import InconsistentInput


def trials(*sizes):
    return pd.DataFrame({"run": [f"run-{r}" for r, size in enumerate(sizes) for _ in range(size)]})


@pytest.mark.parametrize("sizes", [(175,) * 6, (40, 7, 23, 1), (3,) * 30, (19,)])
def test_subsets_are_nested_stratified_and_of_the_size_asked_for(sizes):
    table = trials(*sizes)
    found = subsets(table, FRACTIONS, seed=4)
    for smaller, larger in pairwise(found):
        assert set(smaller) < set(larger)
    for fraction, rows in zip(FRACTIONS, found, strict=True):
        assert len(rows) == int(fraction * len(table) + 0.5) and (np.diff(rows) > 0).all()
        share = table["run"].iloc[rows].value_counts().reindex(table["run"].unique(), fill_value=0)
        assert (np.abs(share.to_numpy() - fraction * np.array(sizes)) < 2).all()
    assert found[-1].tolist() == list(range(len(table)))


def test_subsets_are_seeded_and_every_trial_is_as_likely():
    table, counts = trials(10, 30), np.zeros(40)
    assert all(np.array_equal(a, b) for a, b in zip(subsets(table, seed=1), subsets(table, seed=1), strict=True))
    for seed in range(400):
        counts[subsets(table, (0.25,), seed)[0]] += 1
    assert np.abs(counts / 400 - 0.25).max() < 0.1


@pytest.mark.parametrize(("fraction", "said"), [(0.0, "no fraction"), (1.5, "no fraction"), (0.01, "at least 2")])
def test_fractions_without_trials_are_refused(fraction, said):
    with pytest.raises(InconsistentInput, match=said):
        subsets(trials(20, 20), (fraction, 1.0))


def test_the_table_holds_what_the_scores_were():
    table = learning_curve(trials(16, 16), lambda rows: {"r": len(rows) / 32, "top1": float(rows.max())}, seed=3)
    assert list(table.columns) == ["fraction", "n_trials", "metric", "value", "reason"]
    r = table[table["metric"] == "r"]
    assert r["n_trials"].tolist() == [4, 8, 16, 32] and r["value"].tolist() == list(FRACTIONS)
    assert (table["reason"] == "").all() and len(table) == 8
    assert table["value"].iloc[-1] == 31


def test_a_subset_that_is_too_small_for_a_rule_is_a_gap_with_a_reason_and_other_faults_are_faults():
    def picky(rows):
        if len(rows) < 10:
            raise InconsistentInput("needs 10 trials")
        return {"r": 0.5}

    table = learning_curve(trials(16, 16), picky)
    assert np.isnan(table["value"]).tolist() == [True, True, False, False]
    assert table["reason"].tolist() == ["needs 10 trials"] * 2 + ["", ""]
    with pytest.raises(InconsistentInput, match="needs 10 trials"):
        learning_curve(trials(4, 4), picky, (0.5, 1.0))
    with pytest.raises(ZeroDivisionError):
        learning_curve(trials(4, 4), lambda rows: {"r": 1 / 0}, (0.5, 1.0))
