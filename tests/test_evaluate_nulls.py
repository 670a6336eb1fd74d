"""Permutation in blocks, exact nulls, corrections: against full enumeration, Monte Carlo and foreign libraries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate import METRICS
from hyper_bids.evaluate.baselines import random_latents
from hyper_bids.evaluate.exchangeable import block_permutations, n_block_permutations, permutation_test
from hyper_bids.evaluate.identification import pairwise_accuracy, recognition_matrices, top1
from hyper_bids.evaluate.many_correlations import correlations_of_columns
from hyper_bids.evaluate.multiplicity import bonferroni, fdr, holm, max_statistic_p
from hyper_bids.evaluate.random_latent import random_latent_test
from hyper_bids.evaluate.rank_null import (
    _fourier,
    full_recognition_test,
    rank_sum_pmf,
    rank_sum_test,
    success_count_pmf,
)
from hyper_bids.evaluate.result import as_extreme, monte_carlo_p


def test_block_permutations_stay_within_blocks_and_enumerate_all(rng):
    blocks = ["a", "b", "a", "b", "b", "c"]
    every, exact = block_permutations(blocks, 100, rng)
    assert exact and len(every) == 12 == n_block_permutations(blocks)
    loop = {p for p in itertools.permutations(range(6)) if all(blocks[i] == blocks[j] for i, j in enumerate(p))}
    assert {tuple(row) for row in every.tolist()} == loop
    drawn, exact = block_permutations(np.repeat([1, 2, 3], 6), 50, rng)
    assert not exact and drawn.shape == (50, 18)
    assert (np.sort(drawn, axis=1) == np.arange(18)).all() and (drawn // 6 == np.arange(18) // 6).all()


def test_permutation_test_equals_enumeration_and_scipy(rng):
    matrix = rng.standard_normal((6, 6)) + 0.8 * np.eye(6)
    means = [np.mean([matrix[i, p[i]] for i in range(6)]) for p in itertools.permutations(range(6))]
    expected = np.mean(np.array(means) >= np.trace(matrix) / 6 - 1e-12)
    found = permutation_test(matrix, 1000, rng)
    assert found.p == pytest.approx(expected) and found.n == 6 and found.n_permutations == 0
    foreign = scipy_stats.permutation_test(
        (np.arange(6),), lambda p: matrix[np.arange(6), p].mean(), permutation_type="pairings", alternative="greater"
    )
    assert found.p == pytest.approx(foreign.pvalue)
    larger = rng.standard_normal((9, 9))
    drawn = permutation_test(larger, 4999, rng)
    assert drawn.n_permutations == 4999 and round(drawn.p * 5000) == pytest.approx(drawn.p * 5000)


def test_blocks_protect_against_differences_between_them(rng):
    blocks = np.repeat(["x", "y"], 10)
    level = np.where(blocks == "x", 1.0, -1.0)
    matrix = level[:, None] * level + 0.3 * rng.standard_normal((20, 20))  # decodes the run, not the stimulus
    free, within = permutation_test(matrix, 999, rng), permutation_test(matrix, 999, rng, blocks)
    assert free.p == 0.001 and within.p > 0.05 and "within 2 blocks" in within.method
    alone = permutation_test(matrix, 999, rng, np.arange(20))
    assert alone.method.startswith("not tested") and np.isnan(alone.p)
    with pytest.raises(InconsistentInput, match="19 block labels"):
        permutation_test(matrix, 9, rng, blocks[1:])


@pytest.mark.parametrize("counts", [[5] * 5, [2, 3, 5, 4, 3], [1, 4, 4]])
def test_rank_sum_null_equals_full_enumeration(counts):
    sums = [sum(ranks) for ranks in itertools.product(*[range(m) for m in counts])]
    expected = np.bincount(sums, minlength=sum(counts) - len(counts) + 1) / len(sums)
    np.testing.assert_allclose(rank_sum_pmf(counts), expected, rtol=1e-12)
    np.testing.assert_allclose(_fourier(np.array(counts)), expected, atol=1e-14)
    if counts == [5] * 5:
        assert rank_sum_test(np.array([4, 4, 3, 4, 2]), counts).p == pytest.approx(np.mean(np.array(sums) >= 17))


def test_rank_sum_p_equals_monte_carlo_and_its_tail_is_exact(rng):
    counts = [20, 20, 17, 20]
    drawn = sum(rng.integers(0, m, 200_000) for m in counts)
    beaten = np.array([18, 15.5, 12, 19])
    found = rank_sum_test(beaten, counts, "participant")
    assert found.p == pytest.approx(np.mean(drawn >= 64), abs=0.004) and found.unit == "participant"
    perfect = rank_sum_test(np.full(36, 35.0), [36] * 36)
    assert perfect.p == pytest.approx(36.0**-36, rel=1e-10)
    with pytest.raises(InconsistentInput, match="more foils than there are"):
        rank_sum_test(np.array([5.0]), [5])


def test_full_recognition_equals_scipys_binomial_and_enumeration():
    won = np.array([1, 0, 1, 0, 0, 1, 0])
    assert full_recognition_test(won, [7] * 7).p == pytest.approx(scipy_stats.binomtest(3, 7, 1 / 7, "greater").pvalue)
    chances = [0.5, 1 / 3, 0.2]
    expected = np.zeros(4)
    for outcome in itertools.product((0, 1), repeat=3):
        expected[sum(outcome)] += np.prod([c if w else 1 - c for c, w in zip(chances, outcome, strict=True)])
    np.testing.assert_allclose(success_count_pmf(chances), expected)


def test_random_latents_are_beaten_by_nothing_at_all(rng):
    true, metric = rng.standard_normal((30, 64)), METRICS["latent_similarity_mse"].matrix
    guess = rng.standard_normal((30, 64))
    found = random_latent_test(metric, true, guess, random_latents(999, 64, rng, "normal"))
    assert found.zero.p == 0.001 and found.zero.n_permutations == 999
    assert found.decoded.p > 0.01
    naive = np.mean([1 / (1 + np.mean((t - g) ** 2)) for t, g in zip(true, guess, strict=True)])
    assert found.decoded.statistic == pytest.approx(naive)


def test_corrections_equal_scipy_and_loops_and_leave_nan(rng):
    p = rng.random(14) ** 3
    np.testing.assert_allclose(fdr(p), scipy_stats.false_discovery_control(p))
    order = np.argsort(p)
    naive = np.empty(14)
    running = 0.0
    for place, index in enumerate(order):
        running = max(running, min(1.0, (14 - place) * p[index]))
        naive[index] = running
    np.testing.assert_allclose(holm(p), naive)
    np.testing.assert_allclose(bonferroni(p), np.minimum(1, 14 * p))
    for correct in (fdr, holm, bonferroni):
        with_nan = correct(np.insert(p, 3, np.nan))
        assert np.isnan(with_nan[3])
        np.testing.assert_allclose(np.delete(with_nan, 3), correct(p))


def test_max_statistic_equals_a_loop(rng):
    observed, draws = rng.standard_normal(6) * 2, rng.standard_normal((99, 6))
    observed[2] = np.nan
    known = [i for i in range(6) if i != 2]
    largest = [max(abs(row[i]) for i in known) for row in draws]
    expected = [(1 + sum(m >= abs(observed[i]) for m in largest)) / 100 for i in known]
    np.testing.assert_allclose(max_statistic_p(observed, draws)[known], expected)
    assert np.isnan(max_statistic_p(observed, draws)[2])


def test_correlations_of_columns_find_the_planted_one(rng):
    true, predicted = rng.standard_normal((30, 11)), rng.standard_normal((30, 11))
    predicted[:, 4] += 2 * true[:, 4]
    predicted[:, 7] = 3.0
    found = correlations_of_columns(true, predicted, 999, rng)
    expected = [np.corrcoef(true[:, k], predicted[:, k])[0, 1] for k in range(11) if k != 7]
    np.testing.assert_allclose(np.delete(found.r, 7), expected)
    assert np.isnan(found.r[7]) and np.isnan(found.p_max[7])
    assert found.p_max[4] == 0.001 and np.nanmin(np.delete(found.p_max, 4)) > 0.05
    assert list(found.table(list("abcdefghijk")).columns[:2]) == ["name", "r"]
    few = correlations_of_columns(true[:5], predicted[:5], 999, rng)
    every = [np.corrcoef(true[list(p), 0], predicted[:5, 0])[0, 1] for p in itertools.permutations(range(5))]
    assert few.p[0] == pytest.approx(np.mean(np.abs(every) >= abs(few.r[0]) - 1e-9)) and few.n_permutations == 0
    assert (few.p_max[np.isfinite(few.p_max)] >= few.p[np.isfinite(few.p)] - 1e-12).all()


def test_counting_extremes_and_the_monte_carlo_p():
    draws = np.array([1.0, 2.0, 3.0, np.nan, -4.0])
    assert (as_extreme(draws, 2.0), as_extreme(draws, 2.0, "less"), as_extreme(draws, 2.5, "two-sided")) == (3, 4, 3)
    assert monte_carlo_p(0, 999) == 0.001


def test_permutation_p_of_recognition_and_exact_nulls_agree_on_a_strong_effect(rng):
    true = rng.standard_normal((12, 40))
    predicted = true + 2 * rng.standard_normal((12, 40))
    pairwise, _ = recognition_matrices(predicted, true)
    found = permutation_test(pairwise, 999, rng)
    assert found.statistic == pytest.approx(pairwise_accuracy(true, predicted).mean()) and found.p == 0.001
    assert rank_sum_test(11 * pairwise_accuracy(true, predicted), [12] * 12).p < 0.001
    assert full_recognition_test(top1(true, predicted), [12] * 12).p < 0.001


def test_false_positives_of_permutation_are_nominal_and_those_of_pairs_are_not(rng):
    permuted, over_pairs = [], []
    for _ in range(300):
        pairwise, _ = recognition_matrices(rng.standard_normal((20, 12)), rng.standard_normal((20, 12)))
        permuted.append(permutation_test(pairwise, 199, rng).p)
        won = round(np.diag(pairwise).mean() * 380)
        over_pairs.append(scipy_stats.binom.sf(won - 1, 380, 0.5))
    assert scipy_stats.binomtest(sum(p <= 0.05 for p in permuted), 300, 0.05).pvalue > 0.01
    assert scipy_stats.kstest(permuted, "uniform").pvalue > 0.01
    assert np.mean(np.array(over_pairs) <= 0.05) > 0.12
