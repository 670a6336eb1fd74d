"""Latent metrics: each number against a naive version and a foreign library, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics.pairwise import cosine_similarity

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate import METRICS, identification
from hyper_bids.evaluate.identification import pairwise_accuracy, pairwise_of, top1, top1_of
from hyper_bids.evaluate.latent import latent_dimension_correlation, latent_dimension_matrix
from hyper_bids.protocols import Metric

N, K = 7, 11
LATENT = [name for name, metric in METRICS.items() if metric.domain == "latent"]


def naive_correlation(x, y):
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())


def naive_pairwise(true, predicted, row):
    r = [pearsonr(predicted[row], candidate)[0] for candidate in true]
    others = [r[j] for j in range(len(true)) if j != row]
    return np.mean([1.0 if other < r[row] else 0.5 if other == r[row] else 0.0 for other in others])


NAIVE = {
    "latent_similarity": lambda z, p, i: 1 / (1 + np.sqrt(((p[i] - z[i]) ** 2).sum())),
    "latent_similarity_mse": lambda z, p, i: 1 / (1 + ((p[i] - z[i]) ** 2).sum() / z.shape[1]),
    "latent_correlation": lambda z, p, i: naive_correlation(z[i], p[i]),
    "latent_cosine": lambda z, p, i: z[i] @ p[i] / np.sqrt(z[i] @ z[i]) / np.sqrt(p[i] @ p[i]),
    "pairwise_accuracy": naive_pairwise,
    "top1": lambda z, p, i: float(naive_pairwise(z, p, i) == 1.0),
}


@pytest.fixture
def latents(rng):
    true = rng.standard_normal((N, K)) + 0.4
    return true, 0.5 * true + rng.standard_normal((N, K))


@pytest.mark.parametrize("name", LATENT)
def test_each_metric_equals_its_naive_version(name, latents):
    true, predicted = latents
    expected = [NAIVE[name](true, predicted, row) for row in range(N)]
    np.testing.assert_allclose(METRICS[name](true, predicted), expected, atol=1e-12)
    assert isinstance(METRICS[name], Metric)


@pytest.mark.parametrize("name", LATENT)
def test_the_diagonal_of_a_metrics_matrix_is_the_metric(name, latents):
    true, predicted = latents
    metric = METRICS[name]
    np.testing.assert_allclose(np.diag(metric.matrix(predicted, true)), metric(true, predicted), atol=1e-12)


@pytest.mark.parametrize("name", [n for n in LATENT if METRICS[n].is_similarity])
def test_a_matrix_compares_prediction_i_with_truth_j(name, latents):
    true, predicted = latents
    matrix = METRICS[name].matrix(predicted[:3], true)
    assert matrix.shape == (3, N)
    np.testing.assert_allclose(matrix[2, 5], METRICS[name](true[5:6], predicted[2:3])[0], atol=1e-12)


def test_correlation_and_cosine_equal_foreign_libraries(latents):
    true, predicted = latents
    r = [pearsonr(a, b)[0] for a, b in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(METRICS["latent_correlation"](true, predicted), r, atol=1e-12)
    cosine = cosine_similarity(predicted, true)
    np.testing.assert_allclose(METRICS["latent_cosine"].matrix(predicted, true), cosine, atol=1e-12)


@pytest.mark.parametrize("name", LATENT)
def test_a_perfect_prediction_scores_one(name, latents):
    np.testing.assert_allclose(METRICS[name](latents[0], latents[0]), 1.0, atol=1e-12)


def test_zeros_score_one_half_in_the_mse_form_of_normal_latents(rng):
    true = rng.standard_normal((200, 512))
    similarity = METRICS["latent_similarity_mse"]
    assert similarity(true, np.zeros_like(true)).mean() == pytest.approx(0.50, abs=0.005)
    assert similarity(true, rng.standard_normal(true.shape)).mean() == pytest.approx(1 / 3, abs=0.005)


@pytest.mark.parametrize("constant", [0.0, 0.1, 3e5])
def test_correlation_with_a_constant_is_undefined_in_float32_as_well(constant, latents):
    flat = np.full((N, K), constant, dtype=np.float32)
    for name in ("latent_correlation", "pairwise_accuracy", "top1"):
        assert np.isnan(METRICS[name](latents[0], flat)).all()


def test_one_latent_dimension_has_no_correlation_and_no_identification(rng):
    true, predicted = rng.standard_normal((2, N, 1))
    for name in ("latent_correlation", "pairwise_accuracy", "top1"):
        assert np.isnan(METRICS[name](true, predicted)).all()
    assert np.isfinite(METRICS["latent_similarity"](true, predicted)).all()


def test_identical_latents_are_ties_worth_one_half_and_no_win(latents):
    true = latents[0].copy()
    true[4] = true[1]
    expected = np.ones(N)
    expected[[1, 4]] = 1 - 0.5 / (N - 1)
    np.testing.assert_allclose(pairwise_accuracy(true, true), expected)
    np.testing.assert_array_equal(top1(true, true), expected == 1.0)


def test_a_constant_distractor_is_not_counted(latents):
    true, predicted = latents
    flat = np.ones((1, K))
    np.testing.assert_array_equal(
        pairwise_accuracy(true, predicted, candidates=flat), pairwise_accuracy(true, predicted)
    )


def test_more_distractors_count(latents, rng):
    true, predicted = latents
    further = rng.standard_normal((4, K))
    expected = [naive_pairwise(np.concatenate([true, further]), predicted, row) for row in range(N)]
    np.testing.assert_allclose(pairwise_accuracy(true, predicted, further), expected)


def test_recognition_by_sorting_equals_recognition_by_comparing(rng, monkeypatch):
    correlations = np.round(rng.standard_normal((9, 6)), 1)  # coarse, so that ties happen
    correlations[3, 2] = np.nan
    monkeypatch.setattr(identification, "candidate_correlations", lambda predicted, candidates: correlations)
    pairwise, top = identification.recognition_matrices(np.zeros((9, 2)), np.zeros((6, 2)))
    for column in range(6):
        own = np.full(9, column)
        np.testing.assert_allclose(pairwise[:, column], pairwise_of(correlations, own))
        np.testing.assert_array_equal(top[:, column], top1_of(correlations, own))


def test_dimension_correlation_equals_scipy_per_column(latents):
    true, predicted = latents
    expected = np.mean([pearsonr(true[:, k], predicted[:, k])[0] for k in range(K)])
    assert latent_dimension_correlation(true, predicted) == pytest.approx(expected, abs=1e-12)


def test_dimensions_constant_in_truth_are_left_out_and_constant_in_prediction_count_zero(latents):
    true, predicted = latents[0].copy(), latents[1].copy()
    rest = latent_dimension_correlation(true[:, 2:], predicted[:, 2:])
    true[:, 0] = 0.3
    predicted[:, 1] = -2.0
    assert latent_dimension_correlation(true, predicted) == pytest.approx(rest * (K - 2) / (K - 1))
    assert np.isnan(latent_dimension_correlation(true[:, :1], predicted[:, :1]))
    assert np.isnan(latent_dimension_correlation(true[:1], predicted[:1]))


def test_dimension_correlation_of_permuted_rows_is_a_look_up(latents, rng):
    true, predicted = latents[0].copy(), latents[1]
    true[:, 3] = 1.0
    order = rng.permutation(N)
    matrix = latent_dimension_matrix(predicted, true)
    expected = latent_dimension_correlation(true[order], predicted)
    assert matrix[np.arange(N), order].mean() == pytest.approx(expected, abs=1e-12)


def test_latents_that_do_not_align_are_refused():
    with pytest.raises(InconsistentInput, match=r"\(3, 4\).*\(3, 5\)"):
        METRICS["latent_cosine"](np.zeros((3, 4)), np.zeros((3, 5)))
