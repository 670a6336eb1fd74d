"""Minimum-norm least squares against numpy's and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from hyper_bids.decode.ols import OLS
from hyper_bids.errors import InconsistentInput
from hyper_bids.testing import DECODER_CHECKS


@pytest.fixture(params=[(29, 53), (61, 23)], ids=["wide", "tall"])
def planted(request, rng):
    n_trials, n_voxels = request.param
    Z = rng.normal(3, 2, (n_trials, 7))
    X = Z @ rng.normal(size=(7, n_voxels)) + rng.normal(0, 3, (n_trials, n_voxels)) + 11
    return X, Z, rng.normal(size=(13, n_voxels)) * 4 + 11


@pytest.mark.parametrize("check", DECODER_CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check):
    check(OLS)


def test_it_equals_numpys_lstsq_on_centred_data(planted):
    X, Z, X_test = planted
    weights = np.linalg.lstsq(X - X.mean(axis=0), Z - Z.mean(axis=0))[0]
    decoder = OLS().fit(X, Z)
    np.testing.assert_allclose(decoder.coef_, weights.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(decoder.predict(X_test), (X_test - X.mean(axis=0)) @ weights + Z.mean(axis=0), atol=1e-4)


def test_it_equals_scikit_learns_linear_regression(planted):
    X, Z, X_test = planted
    theirs = LinearRegression().fit(X, Z)
    ours = OLS().fit(X, Z)
    np.testing.assert_allclose(ours.predict(X_test), theirs.predict(X_test), atol=1e-4)
    assert ours.rank_ == theirs.rank_ == min(len(X) - 1, X.shape[1])


def test_a_repeated_voxel_shares_its_weight(planted):
    X, Z, _ = planted
    repeated = np.concatenate([X, X[:, :5]], axis=1)
    decoder = OLS().fit(repeated, Z)
    np.testing.assert_allclose(decoder.coef_[:, :5], decoder.coef_[:, -5:], atol=1e-5)
    assert decoder.rank_ == np.linalg.matrix_rank(repeated - repeated.mean(axis=0))


def test_a_component_below_the_rank_cut_is_not_amplified(rng):
    X = rng.normal(size=(40, 9))
    X[:, 8] = X[:, 0] + 1e-8 * rng.normal(size=40)
    decoder = OLS().fit(X, rng.normal(size=(40, 3)))
    assert decoder.rank_ == 8 and np.abs(decoder.coef_).max() < 10


def test_refits_equal_fitting_anew(planted, rng):
    X, Z, X_test = planted
    rows = np.stack([rng.permutation(len(Z)) for _ in range(5)])
    got = OLS().predict_refitted(X, Z, rows, X_test, groups=np.arange(len(X)) % 4)
    for own, predicted in zip(rows, got, strict=True):
        np.testing.assert_allclose(predicted, OLS().fit(X, Z[own]).predict(X_test), atol=1e-4)


def test_responses_without_any_variance_predict_the_mean(rng):
    Z = rng.normal(size=(6, 3))
    decoder = OLS().fit(np.full((6, 4), 7.0), Z)
    np.testing.assert_allclose(decoder.predict(rng.normal(size=(2, 4))), np.tile(Z.mean(axis=0), (2, 1)))
    assert decoder.rank_ == 0


def test_a_constant_latent_is_predicted_by_its_mean(planted):
    X, Z, X_test = planted
    Z[:, 2] = 1.3
    np.testing.assert_allclose(OLS().fit(X, Z).predict(X_test)[:, 2], 1.3, rtol=1e-12)


@pytest.mark.parametrize(
    ("X", "Z", "message"),
    [
        (np.full((5, 3), np.nan), np.ones((5, 2)), "finite"),
        (np.ones((5, 3)), np.full((5, 2), np.inf), "finite"),
        (np.ones((1, 3)), np.ones((1, 2)), "at least 2 training trials"),
        (np.ones((0, 3)), np.ones((0, 2)), "at least 2 training trials"),
        (np.ones((5, 3)), np.ones((4, 2)), "as many responses as latents"),
        (np.ones((5, 0)), np.ones((5, 2)), "at least one voxel"),
    ],
)
def test_bad_data_is_refused(X, Z, message):
    with pytest.raises(InconsistentInput, match=message):
        OLS().fit(X, Z)


def test_other_voxels_than_fitted_are_refused(planted):
    X, Z, _ = planted
    with pytest.raises(InconsistentInput, match=f"fitted on {X.shape[1]} voxels"):
        OLS().fit(X, Z).predict(X[:, 1:])
