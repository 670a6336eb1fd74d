"""The decoder `inversion`: pseudo-inverse, centring, what it needs, refits."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from hyper_bids.decode.inversion import Inversion
from hyper_bids.errors import InconsistentInput
from hyper_bids.testing import DECODER_CHECKS


@pytest.fixture
def planted(rng):
    """37 trials, 29 voxels, 5 latents with means far from 0, 11 test trials."""
    Z = rng.normal(30, 2, (37, 5))
    B = rng.normal(size=(5, 29))
    X = Z @ B + 4 + rng.normal(size=(37, 29))
    return X, Z, rng.normal(30, 2, (11, 5)) @ B + 4 + rng.normal(size=(11, 29))


def design(Z, mu):
    return np.hstack([Z - mu, np.ones((len(Z), 1))])


@pytest.mark.parametrize("check", DECODER_CHECKS, ids=lambda check: check.__name__)
def test_inversion_keeps_the_contract(check):
    check(Inversion)


def test_inversion_equals_the_pseudo_inverse(planted):
    X, Z, X_test = planted
    mu = Z.mean(axis=0)
    W = np.linalg.pinv(design(Z, mu)) @ X
    wanted = X_test @ np.linalg.pinv(W)
    decoder = Inversion().fit(X, Z)
    np.testing.assert_allclose(decoder.weights_, W, atol=1e-10)
    np.testing.assert_allclose(decoder.predict(X_test), wanted[:, :-1] + wanted[:, -1:] * mu, atol=1e-9)
    np.testing.assert_allclose(decoder.bias_coefficients(X_test), wanted[:, -1], atol=1e-10)


def test_inversion_equals_scikit_learns_least_squares_both_ways(planted):
    X, Z, X_test = planted
    encoding = LinearRegression().fit(Z - Z.mean(axis=0), X)
    W = np.vstack([encoding.coef_.T, encoding.intercept_])
    inverse = LinearRegression(fit_intercept=False).fit(W.T, X_test.T).coef_
    wanted = inverse[:, :-1] + inverse[:, -1:] * Z.mean(axis=0)
    np.testing.assert_allclose(Inversion().fit(X, Z).predict(X_test), wanted, atol=1e-8)


@pytest.mark.parametrize("shift", [0.0, 0.5, 100.0])
def test_where_the_modulators_are_centred_does_not_matter(planted, shift):
    X, Z, X_test = planted
    mu = Z.mean(axis=0) + shift
    for centre in (np.zeros(5), mu):
        W = np.linalg.lstsq(design(Z, centre), X, rcond=None)[0]
        found = Inversion.from_weights(W, centre).predict(X_test)
        np.testing.assert_allclose(found, Inversion().fit(X, Z).predict(X_test), atol=1e-10 * np.abs(X).max() * 10)


def test_centred_modulators_equal_the_uncentred_fit_to_1e_10(rng):
    """zhat = v + c mu of latents in (-1, 1), against v of the uncentred fit."""
    Z = np.tanh(rng.normal(0.2, 1, (67, 9)))
    X = Z @ rng.normal(size=(9, 41)) + 1 + 0.3 * rng.normal(size=(67, 41))
    W = np.linalg.lstsq(design(Z, 0.0), X, rcond=None)[0]
    uncentred = (X[:7] @ W.T @ np.linalg.inv(W @ W.T))[:, :-1]
    np.testing.assert_allclose(Inversion().fit(X, Z).predict(X[:7]), uncentred, atol=1e-10)


def test_without_noise_the_truth_comes_back(rng):
    W, mu = rng.normal(size=(6, 19)), rng.normal(size=5)
    Z, c = rng.normal(size=(7, 5)), rng.uniform(0.5, 2, 7)
    decoder = Inversion.from_weights(W, mu)
    X = c[:, None] * W[-1] + (Z - c[:, None] * mu) @ W[:-1]
    np.testing.assert_allclose(decoder.predict(X), Z, atol=1e-10)
    np.testing.assert_allclose(decoder.bias_coefficients(X), c, atol=1e-10)


def test_voxels_with_nan_are_left_out_and_recorded(planted):
    X, Z, X_test = planted
    wanted = Inversion().fit(np.delete(X, [3, 8], axis=1), Z)
    X[4, 3], X[:, 8] = np.nan, np.inf
    X_test[2, 3] = np.nan
    decoder = Inversion().fit(X, Z)
    assert np.flatnonzero(~decoder.voxels_).tolist() == [3, 8] and "2 of 29 voxels" in decoder.notices_[0]
    np.testing.assert_allclose(decoder.predict(X_test), wanted.predict(np.delete(X_test, [3, 8], axis=1)), atol=1e-9)
    given = Inversion.from_weights(decoder.weights_, decoder.mu_)
    np.testing.assert_array_equal(given.predict(X_test), decoder.predict(X_test))
    X_test[5, 0] = np.nan
    with pytest.raises(InconsistentInput, match=r"1 of 11 responses .* 1 voxels"):
        decoder.predict(X_test)


def test_a_constant_latent_is_predicted_by_its_mean(planted):
    X, Z, X_test = planted
    wanted = Inversion().fit(X, np.delete(Z, 2, axis=1)).predict(X_test)
    Z[:, 2] = 1.25
    found = Inversion().fit(X, Z).predict(X_test)
    np.testing.assert_array_equal(found[:, 2], 1.25)
    np.testing.assert_allclose(np.delete(found, 2, axis=1), wanted, atol=1e-9)


def test_what_it_needs_is_named(planted, rng):
    X, Z, _ = planted
    with pytest.raises(InconsistentInput, match="6 training trials are too few for 5 latents; it needs more than 6"):
        Inversion().fit(X[:6], Z[:6])
    assert "fewer than twice 6" in Inversion().fit(X[:11], Z[:11]).notices_[0]
    assert Inversion().fit(X[:12], Z[:12]).notices_ == ()
    with pytest.raises(InconsistentInput, match=r"5 voxels .* at least 6"):
        Inversion().fit(X[:, :5], Z)
    repeated = Z[np.arange(37) % 4]
    with pytest.raises(InconsistentInput, match="4 different stimuli"):
        Inversion().fit(X, repeated)
    Z[:, 4] = Z[:, 0] - 2 * Z[:, 3]
    with pytest.raises(InconsistentInput, match=r"1 of 5 latents are combinations .*: 4\."):
        Inversion().fit(X, Z)
    W = rng.normal(size=(6, 19))
    with pytest.raises(InconsistentInput, match="do not fit"):
        Inversion.from_weights(W, np.zeros(6))
    W[3] = W[0] + W[1]
    with pytest.raises(InconsistentInput, match="latent 3"):
        Inversion.from_weights(W, np.zeros(5))
    W[3] = 0
    with pytest.raises(InconsistentInput, match="latent 3"):
        Inversion.from_weights(W, np.zeros(5))


@pytest.mark.parametrize("n_voxels", [29, 71])
def test_refits_equal_fitting_anew(rng, n_voxels):
    """Labels exchanged with unequal repeats, with fewer and with more voxels than trials."""
    Z = rng.normal(3, 2, (23, 5))
    X, X_test = rng.normal(size=(43, n_voxels)), rng.normal(size=(11, n_voxels))
    X[4, 3] = np.nan
    rows = rng.integers(0, 23, (3, 43))
    found = Inversion().predict_refitted(X, Z, rows, X_test)
    for draw, own in enumerate(rows):
        wanted = Inversion().fit(X, Z[own]).predict(X_test)
        np.testing.assert_allclose(found[draw], wanted, rtol=1e-5, atol=1e-5)
