"""Models over participants, and intervals: against enumeration, scipy and planted truth."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.compare_models import compare_models
from hyper_bids.evaluate.few_participants import (
    few_participants_words,
    participants_needed,
    smallest_friedman_p,
    smallest_sign_p,
)
from hyper_bids.evaluate.friedman import _random_orders_p, exact_p, friedman_test, participant_ranks
from hyper_bids.evaluate.identification import pairwise_of, pairwise_wins
from hyper_bids.evaluate.intervals import (
    correlation_interval,
    correlations_without,
    identification_interval,
    mean_interval,
    participants_interval,
    proportion_interval,
    two_way_interval,
)
from hyper_bids.evaluate.latent import latent_dimension_correlation
from hyper_bids.evaluate.paired_tests import sign_test, wilcoxon_test


def enumerated_friedman(values):
    """P(sum of squared rank sums >= observed) over every order of every participant's ranks."""
    ranks = participant_ranks(values)
    observed = (ranks.sum(axis=0) ** 2).sum()
    orders = [list(itertools.permutations(row)) for row in ranks]
    sums = [(np.sum(choice, axis=0) ** 2).sum() for choice in itertools.product(*orders)]
    return np.mean(np.array(sums) >= observed - 1e-9)


@pytest.mark.parametrize("shape", [(4, 2), (4, 3), (2, 4), (1, 3), (5, 3)])
@pytest.mark.parametrize("tied", [False, True])
def test_friedman_equals_enumeration(shape, tied, rng):
    values = rng.integers(0, 3, shape).astype(float) if tied else rng.standard_normal(shape)
    assert exact_p(participant_ranks(values)) == pytest.approx(enumerated_friedman(values))


@pytest.mark.parametrize("shape", [(4, 3), (11, 5), (30, 4)])
def test_friedman_statistic_and_large_samples_equal_scipy(shape, rng):
    for values in (rng.standard_normal(shape), rng.integers(0, 4, shape).astype(float)):
        found, expected = friedman_test(values, rng), scipy_stats.friedmanchisquare(*values.T)
        assert found.statistic == pytest.approx(expected.statistic)
        if shape[0] >= 12:
            assert found.p == pytest.approx(expected.pvalue)


def test_friedman_by_random_orders_agrees_with_the_exact_one(rng):
    values = rng.standard_normal((6, 4)) + np.array([0, 0.4, 0.8, 0])
    ranks = participant_ranks(values)
    assert _random_orders_p(ranks, rng) == pytest.approx(exact_p(ranks), abs=0.006)
    assert "random orders" in friedman_test(rng.standard_normal((11, 7)), rng).method
    assert friedman_test(np.ones((5, 3)), rng).method.startswith("not tested")


def test_published_case_of_two_models_and_four_participants(rng):
    values = np.array([[0.2, 0.9]] * 4) + 0.01 * rng.standard_normal((4, 2))
    found = friedman_test(values, rng)
    assert (found.statistic, found.p) == pytest.approx((4.0, 0.125))
    assert sign_test(values[:, 1] - values[:, 0]).p == pytest.approx(0.125)


@pytest.mark.parametrize("n", [1, 4, 9])
def test_sign_and_wilcoxon_equal_enumeration_of_signs(n, rng):
    differences = rng.standard_normal(n) + 0.5
    differences[: n // 3] = np.round(differences[: n // 3])  # ties, perhaps zeros
    kept = differences[differences != 0]
    ranks = scipy_stats.rankdata(np.abs(kept))
    observed = ranks[kept > 0].sum()
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(kept))])
    expected = min(1.0, 2 * min(np.mean(sums <= observed + 1e-9), np.mean(sums >= observed - 1e-9)))
    assert wilcoxon_test(differences).p == pytest.approx(expected)
    assert sign_test(differences).p == pytest.approx(scipy_stats.binomtest(int((kept > 0).sum()), len(kept)).pvalue)


def test_wilcoxon_equals_scipy_exact_and_normal(rng):
    few, many = rng.standard_normal(23) + 0.3, rng.standard_normal(400) + 0.05
    assert wilcoxon_test(few).p == pytest.approx(scipy_stats.wilcoxon(few, method="exact").pvalue)
    expected = scipy_stats.wilcoxon(many, method="asymptotic", correction=True).pvalue
    assert wilcoxon_test(many).p == pytest.approx(expected)


def tidy(rng, n_people, n_stimuli, effects):
    people, stimuli = rng.normal(0, 0.2, (n_people, 1, 1)), rng.normal(0, 0.2, (1, n_stimuli, 1))
    values = 0.5 + people + stimuli + np.array(effects) + rng.normal(0, 0.2, (n_people, n_stimuli, len(effects)))
    rows = itertools.product(range(n_people), range(n_stimuli), range(len(effects)))
    return pd.DataFrame([(f"sub-{p:02d}", f"s{s}", f"m{m}", values[p, s, m]) for p, s, m in rows],
                        columns=["participant_id", "stimulus_id", "model", "value"])  # fmt: skip


def test_comparison_finds_the_better_model_and_names_the_incomplete(rng):
    scores = tidy(rng, 9, 20, [0.0, 0.0, 0.3])
    scores = scores[~((scores.participant_id == "sub-03") & (scores.model == "m1"))]
    found = compare_models(scores, rng)
    assert found.left_out == {"sub-03": ("m1",)} and len(found.participants) == 8
    assert found.omnibus.p < 0.01 and "exact" in found.omnibus.method
    complete = scores[scores.participant_id != "sub-03"]
    means = complete.groupby(["participant_id", "model"])["value"].mean().unstack()
    np.testing.assert_allclose(found.means["mean"], means.mean())
    pair = found.pairs.query("model_a == 'm0' and model_b == 'm2'").iloc[0]
    assert pair["p_value"] == pytest.approx(scipy_stats.wilcoxon(means["m0"], means["m2"], method="exact").pvalue)
    assert pair["difference"] == pytest.approx((means["m0"] - means["m2"]).mean()) and pair["ci_high"] < 0
    assert (found.pairs["p_holm"] >= found.pairs["p_value"]).all()
    shuffled = compare_models(scores.sample(frac=1, random_state=3), rng)
    assert shuffled.omnibus.p == pytest.approx(found.omnibus.p)


def test_comparison_of_two_models_is_the_sign_test_and_bad_tables_are_refused(rng):
    found = compare_models(tidy(rng, 4, 15, [0.0, 1.0]), rng, post_hoc="sign")
    assert found.omnibus.p == pytest.approx(0.125) and "sign test" in found.omnibus.method
    assert any("0.125" in sentence for sentence in found.words)
    with pytest.raises(InconsistentInput, match="value missing"):
        compare_models(tidy(rng, 2, 3, [0, 0]).drop(columns="value"), rng)
    with pytest.raises(InconsistentInput, match="1 models"):
        compare_models(tidy(rng, 2, 3, [0]), rng)


def test_words_state_the_smallest_attainable_p():
    assert [smallest_sign_p(n) for n in (1, 2, 3, 4)] == [1.0, 0.5, 0.25, 0.125]
    assert smallest_sign_p(participants_needed()) <= 0.05 < smallest_sign_p(participants_needed() - 1)
    values = np.tile(np.arange(3.0), (3, 1))
    assert smallest_friedman_p(3, 3) == pytest.approx(exact_p(participant_ranks(values)))
    two = " ".join(few_participants_words(2, 3, [0.001, 0.3], 1000))
    assert "cannot fall below p = 0.5" in two and "1 of 2 participants has p < 0.05" in two and "0.167" in two
    assert "cannot" not in " ".join(few_participants_words(20, 3))
    assert few_participants_words(1)[0] == "There is 1 participant."


def test_proportion_interval_equals_the_formula_and_has_width_where_all_are_won():
    low, high = proportion_interval(20, 20)
    assert low < 0.9 and high == 1.0
    z = 1.959963984540054
    centre = (7 + z * z / 2) / (30 + z * z)
    assert np.mean(proportion_interval(7, 30)) == pytest.approx(centre)


def test_mean_interval_of_many_is_t_and_of_ones_a_proportion(rng):
    values = rng.standard_normal(60)
    low, high = mean_interval(values, 20_000, rng)
    expected = scipy_stats.t.interval(0.95, 59, values.mean(), scipy_stats.sem(values))
    np.testing.assert_allclose((low, high), expected, atol=0.02)
    assert mean_interval(np.ones(20), 100, rng) == proportion_interval(20, 20)
    assert np.isnan(mean_interval(values[:1], 10, rng)).all()


def test_jackknife_equals_leaving_rows_out(rng):
    stimulus = np.array([0, 1, 2, 3, 4, 5, 0, 1, 3])
    true, predicted = rng.standard_normal((9, 7)), rng.standard_normal((9, 7))
    predicted[:, 2] = 1.0
    loop = [latent_dimension_correlation(true[stimulus != i], predicted[stimulus != i]) for i in range(6)]
    np.testing.assert_allclose(correlations_without(true, predicted, stimulus), loop)
    foreign = [np.mean([0.0 if k == 2 else scipy_stats.pearsonr(true[stimulus != i, k], predicted[stimulus != i, k])[0]
                        for k in range(7)]) for i in range(6)]  # fmt: skip
    np.testing.assert_allclose(loop, foreign)
    sem, low, high = correlation_interval(true, predicted, stimulus)
    spread = np.sqrt(5 / 6 * ((loop - np.mean(loop)) ** 2).sum())
    assert sem == pytest.approx(spread) and low < high
    assert np.isnan(correlation_interval(true[:3], predicted[:3])).all()


def test_identification_jackknife_equals_leaving_stimuli_out(rng):
    similarity, own = rng.integers(0, 9, (7, 9)) + 2.0 * np.eye(7, 9), np.arange(7)  # two further candidates
    wins = pairwise_wins(similarity, own)
    np.testing.assert_allclose(np.nanmean(wins, axis=1), pairwise_of(similarity, own))
    loop = []
    for i in range(7):
        rows = [j for j in range(7) if j != i]
        kept = np.delete(similarity[rows], i, axis=1)
        loop.append(pairwise_of(kept, np.arange(6)).mean())
    sem, low, high = identification_interval(wins)
    assert sem == pytest.approx(np.sqrt(6 / 7 * ((loop - np.mean(loop)) ** 2).sum()))
    assert 0 < low < pairwise_of(similarity, own).mean() < high < 1
    perfect = identification_interval(pairwise_wins(np.eye(7), own))
    assert perfect[1:] == proportion_interval(7, 7)


def test_two_way_interval_equals_t_where_only_participants_differ(rng):
    people = rng.standard_normal(12)
    table = np.repeat(people[:, None], 7, axis=1)
    expected = scipy_stats.t.interval(0.95, 11, people.mean(), scipy_stats.sem(people))
    np.testing.assert_allclose(two_way_interval(table), expected)
    low, high = two_way_interval(table.T)
    assert high - low == pytest.approx(expected[1] - expected[0])
    nested = participants_interval([np.full(3, v) for v in people], False, 10, rng)
    np.testing.assert_allclose(nested, expected)
