"""k-way identification, groups and hard foils: closed forms against brute force over all sets of foils."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate import identification
from hyper_bids.evaluate.foils import (
    all_foils,
    full_among,
    full_chance,
    hard_foils,
    other_label,
    pairwise_among,
    pairwise_among_matrix,
    same_label,
)
from hyper_bids.evaluate.k_way import k_way_accuracy, k_way_curve, k_way_matrix, k_way_probability


def brute_force(target, foils, k, shared=True):
    """Mean over all draws of k - 1 foils of the share that the target has in the win."""
    wins = []
    for drawn in itertools.combinations(foils, k - 1):
        if any(foil > target for foil in drawn):
            wins.append(0.0)
        else:
            tied = sum(foil == target for foil in drawn)
            wins.append(1 / (1 + tied) if shared else float(tied == 0))
    return np.mean(wins)


@pytest.mark.parametrize("k", range(2, 9))
@pytest.mark.parametrize("ties", ["shared", "loss"])
def test_k_way_equals_all_draws_with_and_without_ties(k, ties, rng):
    similarity = rng.integers(0, 4, (5, 8)).astype(float)  # ties in plenty
    own = np.array([0, 3, 7, 2, 2])
    expected = [brute_force(row[j], np.delete(row, j), k, ties == "shared")
                for row, j in zip(similarity, own, strict=True)]  # fmt: skip
    np.testing.assert_allclose(k_way_accuracy(similarity, own, k, ties=ties), expected)


def test_k_way_equals_a_monte_carlo_of_many_candidates(rng):
    row = rng.standard_normal((1, 300))
    order = np.argsort(row[0])
    own = order[[-20]]
    foils = np.delete(row[0], own)
    drawn = np.array([rng.choice(foils, 49, replace=False).max() for _ in range(4000)])
    exact = k_way_accuracy(row, own, 50)[0]
    assert exact == pytest.approx((drawn < row[0, own]).mean(), abs=4 * np.sqrt(exact * (1 - exact) / 4000))


def test_two_way_is_pairwise_accuracy_and_n_way_is_top1(rng):
    true, predicted = rng.standard_normal((7, 12)), rng.standard_normal((7, 12))
    similarity, own = identification.candidate_correlations(predicted, true), np.arange(7)
    np.testing.assert_allclose(k_way_accuracy(similarity, own, 2), identification.pairwise_of(similarity, own))
    np.testing.assert_allclose(k_way_accuracy(similarity, own, 7), identification.top1_of(similarity, own))
    rough = np.round(similarity, 1)
    columns = [k_way_accuracy(rough, np.full(7, column), 3) for column in range(7)]
    np.testing.assert_allclose(k_way_matrix(rough, 3), np.column_stack(columns))
    curve = k_way_curve(similarity, own, [2, 4])
    assert (curve[4] <= curve[2]).all()


def test_chance_of_k_way_is_one_in_k():
    for k in (2, 5, 30):
        assert np.mean([k_way_probability(a, 0, 29 - a, k) for a in range(30)]) == pytest.approx(1 / k)
    assert k_way_probability(0, 999, 0, 17) == pytest.approx(1 / 17), "all tied"
    assert k_way_probability(500, 0, 499, 400) < 1e-60


def test_too_few_foils_are_undefined_and_bad_k_is_refused(rng):
    similarity = rng.standard_normal((3, 4))
    assert np.isnan(k_way_accuracy(similarity, np.arange(3), 5)).all()
    similarity[0] = np.nan
    assert np.isnan(k_way_accuracy(similarity, np.arange(3), 2)).tolist() == [True, False, False]
    with pytest.raises(InconsistentInput, match="k = 1"):
        k_way_accuracy(similarity, np.arange(3), 1)


def test_groups_equal_loops(rng):
    labels = ["f", "m", "f", "n/a", "m", "f", "m", "f"]
    similarity, own = rng.integers(0, 6, (8, 8)).astype(float), np.arange(8)
    for foils, wanted in ((same_label(labels, own), True), (other_label(labels, own), False)):
        for i in range(8):
            rivals = [j for j in range(8) if j != i and "n/a" not in (labels[i], labels[j])
                      and (labels[i] == labels[j]) == wanted]  # fmt: skip
            assert np.flatnonzero(foils[i]).tolist() == rivals
        pairwise = pairwise_among(similarity, own, foils)
        loop = np.full(8, np.nan)
        for i in np.flatnonzero(foils.any(axis=1)):
            target, rivals = similarity[i, i], similarity[i, foils[i]]
            loop[i] = np.mean([1.0 if target > r else 0.5 if target == r else 0.0 for r in rivals])
        np.testing.assert_allclose(pairwise, loop)
        np.testing.assert_allclose(np.diag(pairwise_among_matrix(similarity, foils)), pairwise)
        full = [float(all(similarity[i, i] > similarity[i, foils[i]])) if foils[i].any() else np.nan for i in range(8)]
        np.testing.assert_allclose(full_among(similarity, own, foils), full)
        np.testing.assert_allclose(full_chance(similarity, own, foils)[0], 1 / (1 + foils[0].sum()))


def test_hard_foils_are_the_nearest_true_latents(rng):
    candidates, own = rng.standard_normal((9, 20)), np.array([4, 0])
    foils = hard_foils(candidates, own, 3)
    r = np.corrcoef(candidates)
    for row, target in enumerate(own):
        nearest = sorted((j for j in range(9) if j != target), key=lambda j: -r[target, j])[:3]
        assert set(np.flatnonzero(foils[row])) == set(nearest)
    np.testing.assert_array_equal(hard_foils(candidates, own, 8), all_foils(own, 9))
    with pytest.raises(InconsistentInput, match="9 asked for"):
        hard_foils(candidates, own, 9)


def test_hard_foils_are_harder_than_others(rng):
    candidates = rng.standard_normal((60, 5)) + 2 * rng.standard_normal((6, 5)).repeat(10, axis=0)
    predicted = candidates + 1.5 * rng.standard_normal(candidates.shape)
    similarity, own = identification.candidate_correlations(predicted, candidates), np.arange(60)
    hard = pairwise_among(similarity, own, hard_foils(candidates, own, 9)).mean()
    assert 0.5 < hard < pairwise_among(similarity, own, all_foils(own, 60)).mean() - 0.05
