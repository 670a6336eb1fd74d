"""Nulls, intervals, attributes and baselines: laws, foreign libraries, and the false-positive rate."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from hyper_bids.data import Latents
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.evaluate import METRICS
from hyper_bids.evaluate.attributes import attribute_correlations, attribute_scores, partial_correlation
from hyper_bids.evaluate.baselines import baseline_scores, random_latents, random_prediction_p
from hyper_bids.evaluate.confidence import bootstrap_correlation, bootstrap_mean, percentiles
from hyper_bids.evaluate.decoded import Decoded
from hyper_bids.evaluate.latent import latent_dimension_correlation
from hyper_bids.evaluate.nulls import permutation_draws, permutation_p, stimulus_permutations
from hyper_bids.evaluate.refits import mean_per_stimulus, refit_pairwise_accuracy, refit_statistics, row_scores
from hyper_bids.evaluate.stats import Refits, null_distributions, participant_stats


def test_few_stimuli_are_enumerated_and_many_are_sampled(rng):
    permutations, exact = stimulus_permutations(5, 1000, rng)
    assert exact and len({tuple(p) for p in permutations}) == 120
    permutations, exact = stimulus_permutations(7, 1000, rng)
    assert not exact and permutations.shape == (1000, 7)
    np.testing.assert_array_equal(np.sort(permutations, axis=1), np.tile(np.arange(7), (1000, 1)))


def test_permutation_draws_equal_the_loop_and_leave_undefined_pairs_out(rng):
    matrix = rng.standard_normal((5, 5))
    matrix[1, 3] = np.nan
    permutations, _ = stimulus_permutations(5, 1000, rng)
    expected = [np.nanmean([matrix[i, p[i]] for i in range(5)]) for p in itertools.permutations(range(5))]
    np.testing.assert_allclose(permutation_draws(matrix, permutations), expected)


def test_p_counts_ties_and_follows_the_direction():
    draws = np.array([0.1, 0.3, 0.3 + 1e-14, 0.5])
    assert permutation_p(0.3, draws) == 4 / 5
    assert permutation_p(0.3, draws, exact=True) == 3 / 4
    assert permutation_p(0.3, draws, higher_is_better=False) == 4 / 5
    assert permutation_p(0.6, draws) == 1 / 5
    assert permutation_p(0.6, np.array([np.nan, 0.1])) == 2 / 3
    assert np.isnan(permutation_p(np.nan, draws)) and np.isnan(permutation_p(0.3, np.empty(0)))


def test_exact_p_agrees_with_scipy(rng):
    x, y = rng.standard_normal((2, 6))
    terms = np.outer(y - y.mean(), x - x.mean())  # the mean over i of terms[i, p[i]] orders as Pearson's r
    permutations, exact = stimulus_permutations(6, 1000, rng)
    p = permutation_p(np.trace(terms) / 6, permutation_draws(terms, permutations), exact=exact)
    foreign = scipy_stats.permutation_test(
        (x,), lambda a: np.corrcoef(a, y)[0, 1], permutation_type="pairings", alternative="greater", n_resamples=np.inf
    )
    assert p == pytest.approx(foreign.pvalue, abs=1e-12)


@pytest.mark.parametrize("shared", [0.0, 3.0], ids=["independent", "sharing a component"])
def test_false_positive_rate_of_the_fixed_split_is_nominal(shared):
    rng = np.random.default_rng(7)
    n, k, n_simulations = 20, 12, 400
    names = ("latent_correlation", "latent_similarity", "pairwise_accuracy")
    positive = dict.fromkeys(names, 0)
    for _ in range(n_simulations):
        true = rng.standard_normal((n, k)) + shared * rng.standard_normal(k)
        predicted = rng.standard_normal((n, k)) + shared * rng.standard_normal(k)
        permutations, _ = stimulus_permutations(n, 199, rng)
        for name in names:
            matrix = METRICS[name].matrix(predicted, true)
            positive[name] += permutation_p(np.trace(matrix) / n, permutation_draws(matrix, permutations)) <= 0.05
    rates = {name: count / n_simulations for name, count in positive.items()}
    assert all(0.02 <= rate <= 0.09 for rate in rates.values()), rates


def test_a_refit_that_changes_nothing_gives_the_observed_statistic_whatever_the_chunk(rng):
    candidates = Latents(rng.standard_normal((5, 4)), tuple("abcde"), "toy")
    own = np.array([0, 1, 2, 3, 4, 0, 1])  # two stimuli have a row in two folds
    predicted = rng.standard_normal((7, 4))
    refits = np.stack([predicted, rng.standard_normal((7, 4)), predicted])
    labels = np.array(candidates.stimuli)[np.stack([own, own[::-1], own])]
    whole = refit_statistics(refits, labels, candidates)
    small = refit_statistics(refits, np.stack([own, own[::-1], own]), candidates, max_elements=1)
    scores = row_scores(predicted, own, candidates.values.astype(float))
    for name, values in scores.items():
        expected = pd.Series(values).groupby(own).mean().mean()
        assert whole[name][[0, 2]] == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(small[name], whole[name], atol=1e-12)
    for limit in (1, 10**6):
        alone = refit_pairwise_accuracy(refits, labels, candidates, max_elements=limit)
        np.testing.assert_array_equal(alone, whole["pairwise_accuracy"])
    expected = latent_dimension_correlation(candidates.values[own[::-1]], refits[1])
    assert small["latent_dimension_correlation"][1] == pytest.approx(expected, abs=1e-12)


def test_false_positive_rate_of_refits_is_nominal():
    """Leave one run out, labels permuted within runs: a refit is one product with each fold's hat matrix."""
    rng = np.random.default_rng(11)
    n_runs, n_stimuli, k, n_simulations, n_permutations = 4, 6, 5, 300, 99
    names = ("latent_correlation", "pairwise_accuracy", "latent_dimension_correlation")
    positive = dict.fromkeys(names, 0)
    run = np.repeat(np.arange(n_runs), n_stimuli)
    for _ in range(n_simulations):
        candidates = Latents(rng.standard_normal((n_stimuli, k)), tuple("abcdef"), "toy")
        responses = rng.standard_normal((len(run), 9)) + rng.standard_normal((n_runs, 9))[run]
        hat = np.zeros((len(run), len(run)))
        for left_out in range(n_runs):
            train, test = run != left_out, run == left_out
            gram = responses[train] @ responses[train].T + np.eye(train.sum())
            hat[np.ix_(test, train)] = responses[test] @ responses[train].T @ np.linalg.inv(gram)
        order = rng.permuted(np.tile(np.arange(n_stimuli), (n_permutations + 1, n_runs, 1)), axis=2)
        order[0] = np.arange(n_stimuli)
        own = order.reshape(n_permutations + 1, -1)
        statistics = refit_statistics(hat @ candidates.values[own], own, candidates)
        for name in names:
            positive[name] += permutation_p(statistics[name][0], statistics[name][1:]) <= 0.05
    rates = {name: count / n_simulations for name, count in positive.items()}
    assert all(0.02 <= rate <= 0.09 for rate in rates.values()), rates


def test_refits_with_unknown_stimuli_are_refused(rng):
    candidates = Latents(rng.standard_normal((2, 3)), ("a", "b"), "toy")
    with pytest.raises(InconsistentInput, match="no candidates: x"):
        refit_statistics(np.zeros((1, 2, 3)), np.array([["a", "x"]]), candidates)


def test_mean_per_stimulus_equals_pandas(rng):
    values, stimulus = rng.standard_normal((1, 9)), np.array([[0, 2, 2, 0, 1, 2, 0, 1, 0]])
    values[0, 3] = np.nan
    expected = pd.Series(values[0]).groupby(stimulus[0]).mean()
    np.testing.assert_allclose(mean_per_stimulus(values, stimulus, 4)[0], [*expected, np.nan])


def test_bootstrap_of_a_mean_agrees_with_scipy(rng):
    values = rng.standard_normal(30)
    ours = bootstrap_mean(np.append(values, np.nan), 4000, np.random.default_rng(1))
    foreign = scipy_stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=2)
    interval = foreign.confidence_interval
    np.testing.assert_allclose(ours, [interval.low, interval.high], atol=0.05)
    assert np.isnan(bootstrap_mean(values[:1], 100, rng)).all()


def test_bootstrap_of_dimension_correlation_equals_resampling_rows(rng):
    stimulus = np.array([0, 1, 2, 3, 4, 5, 1, 3])
    true, predicted = rng.standard_normal((2, 8, 3))
    fast = bootstrap_correlation(true, predicted, stimulus, 40, np.random.default_rng(5))
    again = np.random.default_rng(5).integers(0, 6, size=(40, 6))
    for value, drawn in zip(fast, again, strict=True):
        rows = np.concatenate([np.flatnonzero(stimulus == s) for s in drawn])
        expected = latent_dimension_correlation(true[rows], predicted[rows])
        np.testing.assert_allclose(value, expected, atol=1e-9)
    assert np.isnan(percentiles(bootstrap_correlation(true[:2], predicted[:2], stimulus[:2], 9, rng))).all()


def test_attribute_correlation_and_its_p_equal_scipy(rng):
    directions = {"smile": rng.standard_normal(6) * 40, "age": rng.standard_normal(6)}
    true = rng.standard_normal((15, 6))
    predicted = true + rng.standard_normal((15, 6))
    scores = attribute_scores(true, directions), attribute_scores(predicted, directions)
    unit = directions["smile"] / np.linalg.norm(directions["smile"])
    np.testing.assert_allclose(scores[0]["smile"], [z @ unit for z in true])
    alone, partial = attribute_correlations(*scores)
    foreign = scipy_stats.pearsonr(scores[0]["age"], scores[1]["age"])
    assert (alone["age"].r, alone["age"].p) == pytest.approx(tuple(foreign), abs=1e-12)
    r = np.corrcoef([scores[0]["age"], scores[1]["age"], scores[0]["smile"]])
    textbook = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert partial["age"].r == pytest.approx(textbook) and partial["age"].dof == 12


def test_partial_correlation_equals_the_precision_matrix_and_is_undefined_when_explained_away(rng):
    x, y = rng.standard_normal((2, 20))
    others = rng.standard_normal((20, 3)) + x[:, None]
    precision = np.linalg.inv(np.corrcoef(np.column_stack([x, y, others]).T))
    expected = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    assert partial_correlation(x, y, others).r == pytest.approx(expected)
    assert np.isnan(partial_correlation(x, y, np.column_stack([x, y])).r)


@pytest.mark.parametrize("direction", [np.zeros(3), np.ones(4), np.array([1.0, np.nan, 0.0])])
def test_directions_that_are_none_are_refused(direction):
    with pytest.raises(InconsistentInput, match="smile"):
        attribute_scores(np.zeros((2, 3)), {"smile": direction})


def test_random_latents_are_normal_or_training_latents(rng):
    normal = np.concatenate(list(random_latents(4000, 5, rng, "normal")))
    assert normal.shape == (4000, 5) and abs(normal.std() - 1) < 0.03
    training = rng.standard_normal((6, 5))
    drawn = np.concatenate(list(random_latents(50, 5, rng, training=training)))
    assert {tuple(row) for row in drawn} <= {tuple(row) for row in training}
    with pytest.raises(InconsistentInput, match="normal"):
        list(random_latents(5, 5, rng))


def test_zeros_pass_hypers_random_latent_test_without_any_brain(rng):
    true = rng.standard_normal((36, 512))
    similarity = METRICS["latent_similarity_mse"]
    random = similarity.matrix(rng.standard_normal((1000, 512)), true)
    zeros = baseline_scores(similarity.matrix, np.zeros((1, 512)), true)
    assert random_prediction_p(zeros, random) == 1 / 1001
    assert random_prediction_p(random[0], random) > 0.001


def test_attributes_of_what_is_left_out_are_tested_by_refits_not_by_t(rng):
    """Leave one stimulus out, pure noise: r leans below 0, t calls that significant, refits do not."""
    from sklearn.linear_model import Ridge

    candidates = Latents(rng.normal(size=(12, 4)), tuple(f"s{k}" for k in range(12)), "space")
    X, direction = rng.normal(size=(12, 5)), np.ones(4)

    def predict(Z):
        kept = [np.delete(np.arange(12), k) for k in range(12)]
        return np.stack([Ridge(1e3).fit(X[rows], Z[rows]).predict(X[[k]])[0] for k, rows in enumerate(kept)])

    own = np.stack([rng.permutation(12) for _ in range(60)])
    refits = np.stack([predict(candidates.values[rows]) for rows in own])
    statistics = refit_statistics(refits, own, candidates, directions={"age": direction})
    decoded = Decoded(
        predict(candidates.values), candidates.stimuli, candidates, folds=candidates.stimuli,
        directions={"age": direction, "pose": np.array([1.0, -1.0, 0.0, 0.0])},
    )  # fmt: skip
    table = participant_stats(decoded, refits=Refits(statistics=statistics)).set_index("metric")
    assert table.loc["attribute_age", "null_mean"] < -0.5
    assert table.loc["attribute_age", "p_value"] > 0.05 and "refits" in table.loc["attribute_age", "p_method"]
    for untested in ("attribute_pose", "attribute_age_partial"):
        assert np.isnan(table.loc[untested, "p_value"])
    assert np.isnan(table.loc["pairwise_accuracy", "chance"]), "theory's 0.5 is not chance for what was left out"
    whole = predict(candidates.values) @ direction / 2
    assert table.loc["attribute_age", "mean"] == pytest.approx(
        np.corrcoef(whole, candidates.values @ direction)[0, 1], abs=1e-9
    )


def test_nulls_that_are_kept_are_those_that_would_be_drawn(rng):
    names = tuple("abcdefg")
    decoded = Decoded(rng.normal(size=(7, 5)), names, Latents(rng.normal(size=(7, 5)), names, "z"))
    nulls = null_distributions(decoded, seed=3, n_permutations=50)
    pd.testing.assert_frame_equal(
        participant_stats(decoded, seed=3, nulls=nulls), participant_stats(decoded, seed=3, n_permutations=50)
    )
    with pytest.raises(UsageError, match="not both"):
        participant_stats(decoded, nulls=nulls, refits=Refits())
