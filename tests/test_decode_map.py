"""The decoder `map`: the textbook formulas, foreign references, degenerate cases, repeats."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import Covariance, multivariate_normal
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from hyper_bids.decode.map import ALPHAS, MAP
from hyper_bids.errors import InconsistentInput
from hyper_bids.testing import DECODER_CHECKS


def planted(rng, n, n_latents, n_voxels, noise=1.0, n_test=13):
    """Latents and voxels with means and scales of their own, float64."""
    B = rng.normal(size=(n_latents, n_voxels)) / np.sqrt(n_latents)
    scale, shift = rng.uniform(1, 9, n_latents), rng.normal(0, 20, n_latents)
    Z, Z_test = rng.normal(size=(n, n_latents)), rng.normal(size=(n_test, n_latents))
    X = Z @ B + noise * rng.normal(size=(n, n_voxels))
    X_test = Z_test @ B + noise * rng.normal(size=(n_test, n_voxels))
    return 5 + 3 * X, Z * scale + shift, 5 + 3 * X_test, Z_test * scale + shift


def textbook(X, Z, X_test, m=1):
    """METHODS.md section 4 line by line: prediction and posterior variance in the units of Z."""
    sd_x, sd_z = X.std(axis=0), Z.std(axis=0)
    Y, T = (X - X.mean(axis=0)) / sd_x, (Z - Z.mean(axis=0)) / sd_z
    B = np.linalg.inv(T.T @ T) @ T.T @ Y
    S_inv = np.diag(m / ((Y - T @ B) ** 2).mean(axis=0))
    cov = np.linalg.inv(B @ S_inv @ B.T + np.eye(len(B)))
    mode = (cov @ B @ S_inv @ ((X_test - X.mean(axis=0)) / sd_x).T).T
    return mode * sd_z + Z.mean(axis=0), np.diag(cov) * sd_z**2


SIZES = [(61, 7, 23), (61, 17, 11), (83, 5, 131)]
"""Trials, latents, voxels: more voxels than latents, fewer, and many."""


@pytest.mark.parametrize("check", DECODER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("ridge", [False, True])
def test_map_keeps_the_contract(check, ridge):
    check(lambda: MAP(ridge=ridge))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("m", [1, 6])
def test_map_equals_the_textbook(rng, size, m):
    X, Z, X_test, _ = planted(rng, *size)
    mode, variance = textbook(X, Z, X_test, m)
    decoder = MAP().fit(X, Z)
    assert decoder.notices_ == () and decoder.penalty_ is None
    n_repeats = np.full(len(X_test), m)
    np.testing.assert_allclose(decoder.predict(X_test, n_repeats), mode, atol=1e-6)
    np.testing.assert_allclose(decoder.posterior_variance(n_repeats)[3], variance, rtol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_two_systems_are_identical(rng, size):
    """``(B S^-1 B' + I)^-1 B S^-1 y = B (B'B + S)^-1 y``: the one that is not solved, from the learned parts."""
    X, Z, X_test, _ = planted(rng, *size)
    decoder = MAP().fit(X, Z)
    B = decoder.axes_ @ decoder.loadings_ * np.sqrt(decoder.noise_)
    Y = (X_test - X.mean(axis=0)) / X.std(axis=0)
    larger = Y @ np.linalg.inv(B.T @ B + np.diag(decoder.noise_)) @ B.T
    np.testing.assert_allclose(decoder.predict(X_test), larger * Z.std(axis=0) + Z.mean(axis=0), atol=1e-6)


def test_map_is_the_conditional_mean_of_the_joint_gaussian(rng):
    """Foreign reference: the posterior density by scipy has its maximum at the prediction."""
    X, Z, X_test, _ = planted(rng, 61, 3, 19)
    decoder = MAP().fit(X, Z)
    T, Y = (Z - Z.mean(axis=0)) / Z.std(axis=0), (X - X.mean(axis=0)) / X.std(axis=0)
    encoding = LinearRegression(fit_intercept=False).fit(T, Y)
    noise = Covariance.from_diagonal(((Y - encoding.predict(T)) ** 2).mean(axis=0))
    y, prior = (X_test[0] - X.mean(axis=0)) / X.std(axis=0), multivariate_normal(np.zeros(3), np.eye(3))

    def log_posterior(z):
        return multivariate_normal(encoding.predict(z[None])[0], noise).logpdf(y) + prior.logpdf(z)

    mode = (decoder.predict(X_test)[0] - Z.mean(axis=0)) / Z.std(axis=0)
    step, sd = 1e-4, np.sqrt(decoder.posterior_variance()) / Z.std(axis=0)
    gradient = [(log_posterior(mode + step * e) - log_posterior(mode - step * e)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(gradient * sd, 0, atol=1e-6)


@pytest.mark.parametrize("size", [(61, 7, 23), (61, 17, 11)])
def test_posterior_equals_a_gaussian_process_over_voxels(rng, size):
    """Foreign reference: voxels as samples, loadings as features, by scikit-learn's Gaussian process."""
    X, Z, X_test, _ = planted(rng, *size)
    decoder = MAP().fit(X, Z)
    A = (decoder.axes_ @ decoder.loadings_).T
    whitened = (X_test - X.mean(axis=0)) * decoder.whitener_
    process = GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=1.0, optimizer=None).fit(A, whitened.T)
    mean, sd = process.predict(np.eye(len(decoder.axes_)), return_std=True)
    np.testing.assert_allclose((decoder.predict(X_test) - Z.mean(axis=0)) / Z.std(axis=0), mean.T, atol=1e-6)
    ours = decoder.posterior_variance() / Z.var(axis=0)
    np.testing.assert_allclose(ours, sd.reshape(len(ours), -1)[:, 0] ** 2, rtol=1e-5)


@pytest.mark.parametrize(("n", "n_latents", "n_voxels"), [(31, 30, 53), (31, 47, 19), (40, 30, 43)])
def test_without_residual_the_encoding_is_by_ridge_and_noise_by_leaving_out(rng, n, n_latents, n_voxels):
    X, Z, X_test, _ = planted(rng, n, n_latents, n_voxels)
    decoder = MAP().fit(X, Z)
    assert "by ridge" in decoder.notices_[0] and decoder.inner_folds_ == "leave one trial out"
    T, Y = (Z - Z.mean(axis=0)) / Z.std(axis=0), (X - X.mean(axis=0)) / X.std(axis=0)
    error, B = [], []
    for alpha in ALPHAS:
        left_out = cross_val_predict(SklearnRidge(alpha), T, Y, cv=LeaveOneOut())
        error.append(((Y - left_out) ** 2).mean(axis=0))
        B.append(SklearnRidge(alpha).fit(T, Y).coef_.T)
    best = np.argmin(error, axis=0)
    np.testing.assert_allclose(decoder.penalty_, np.array(ALPHAS)[best])
    np.testing.assert_allclose(decoder.noise_, np.min(error, axis=0), rtol=1e-6)
    B, S = np.array(B)[best, :, np.arange(n_voxels)].T, np.min(error, axis=0)
    zhat = np.linalg.solve(B / S @ B.T + np.eye(n_latents), B / S @ ((X_test - X.mean(axis=0)) / X.std(axis=0)).T).T
    np.testing.assert_allclose(decoder.predict(X_test), zhat * Z.std(axis=0) + Z.mean(axis=0), atol=1e-6)


def test_repeats_reduce_the_noise_of_trials_and_not_the_error_of_the_weights(rng):
    """Without residual the noise of a mean is between S/m and S, and is S - N (1 - 1/m) in the textbook."""
    X, Z, X_test, _ = planted(rng, 31, 30, 53)
    decoder = MAP().fit(X, Z)
    m, share = 5, decoder.averaged_
    assert (share > 0).all() and (share <= 1).all() and share.min() < 0.999
    S = decoder.noise_ * (1 - share * (1 - 1 / m))
    B = decoder.axes_ @ decoder.loadings_ * np.sqrt(decoder.noise_)
    cov = np.linalg.inv(B / S @ B.T + np.eye(len(B)))
    zhat = (cov @ (B / S) @ ((X_test - X.mean(axis=0)) / X.std(axis=0)).T).T
    n_repeats = np.full(len(X_test), m)
    np.testing.assert_allclose(decoder.predict(X_test, n_repeats), zhat * Z.std(axis=0) + Z.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(decoder.posterior_variance(n_repeats)[0], np.diag(cov) * Z.var(axis=0), rtol=1e-6)


@pytest.mark.parametrize("m", [None, 13])
def test_with_700_averaged_samples_and_699_latents_map_beats_the_mean(rng, m):
    X, Z, X_test, Z_test = planted(rng, 700, 699, 1009, n_test=48)
    decoder = MAP().fit(X.astype(np.float32), Z.astype(np.float32))
    n_repeats = None if m is None else np.full(48, m)
    error = ((decoder.predict(X_test, n_repeats) - Z_test) / Z.std(axis=0)) ** 2
    of_mean = ((Z.mean(axis=0) - Z_test) / Z.std(axis=0)) ** 2
    assert error.mean() < 0.95 * of_mean.mean()


def test_least_squares_there_would_not_beat_the_mean(rng):
    """Why ridge: the textbook with next to no residual is worse than no prediction."""
    X, Z, X_test, Z_test = planted(rng, 100, 98, 131)
    error = ((textbook(X, Z, X_test)[0] - Z_test) / Z.std(axis=0)) ** 2
    ours = ((MAP().fit(X, Z).predict(X_test) - Z_test) / Z.std(axis=0)) ** 2
    of_mean = (((Z.mean(axis=0) - Z_test) / Z.std(axis=0)) ** 2).mean()
    assert ours.mean() < of_mean < error.mean()


@pytest.mark.parametrize("ridge", [False, True])
def test_each_row_has_its_own_number_of_repeats(rng, ridge):
    X, Z, X_test, _ = planted(rng, 61, 7, 23)
    decoder = MAP(ridge=ridge).fit(X, Z)
    n_repeats = np.array([1, 14, 3] * 5)[: len(X_test)]
    together = decoder.predict(X_test, n_repeats)
    for row, m in enumerate(n_repeats):
        alone = decoder.predict(X_test[row : row + 1], n_repeats[row : row + 1])
        np.testing.assert_array_equal(together[row], alone[0])
        np.testing.assert_array_equal(decoder.posterior_variance(n_repeats)[row], decoder.posterior_variance([m])[0])
    silent = MAP(ridge=ridge, repeat_noise=False).fit(X, Z)
    np.testing.assert_array_equal(silent.predict(X_test, n_repeats), decoder.predict(X_test))


def test_the_posterior_variance_is_the_error_where_the_model_is_true(rng):
    X, Z, X_test, Z_test = planted(rng, 4001, 11, 17, noise=2.0, n_test=1500)
    decoder = MAP().fit(X, Z)
    error = ((decoder.predict(X_test) - Z_test) ** 2).mean(axis=0)
    np.testing.assert_allclose(decoder.posterior_variance() / error, 1, atol=0.15)
    assert (decoder.posterior_variance([9])[0] < decoder.posterior_variance()).all()


@pytest.mark.parametrize("ridge", [False, True])
def test_units_of_voxels_and_latents_do_not_matter(rng, ridge):
    X, Z, X_test, _ = planted(rng, 61, 7, 23)
    a, b = rng.uniform(0.1, 10, 23), rng.uniform(0.1, 10, 7)
    plain = MAP(ridge=ridge).fit(X, Z)
    scaled = MAP(ridge=ridge).fit(X * a + 3, Z * b - 2)
    np.testing.assert_allclose(scaled.predict(X_test * a + 3), plain.predict(X_test) * b - 2, atol=1e-6)
    np.testing.assert_allclose(scaled.posterior_variance(), plain.posterior_variance() * b**2, rtol=1e-6)


@pytest.mark.parametrize("ridge", [False, True])
def test_constant_voxels_and_latents(rng, ridge):
    X, Z, X_test, _ = planted(rng, 61, 7, 23)
    X[:, 4], Z[:, 2] = 7.0, 1.25
    decoder = MAP(ridge=ridge).fit(X, Z)
    assert decoder.constant_voxels_.tolist() == [4] and decoder.constant_latents_.tolist() == [2]
    assert "1 of 23 voxels are constant" in decoder.notices_[-1]
    found = decoder.predict(X_test)
    np.testing.assert_array_equal(found[:, 2], 1.25)
    assert decoder.posterior_variance()[2] == 0
    varying = np.arange(7) != 2
    without = MAP(ridge=ridge).fit(np.delete(X, 4, axis=1), Z[:, varying]).predict(np.delete(X_test, 4, axis=1))
    np.testing.assert_allclose(found[:, varying], without, atol=1e-6)


def test_nothing_varies(rng):
    decoder = MAP().fit(np.ones((31, 5)), rng.normal(size=(31, 3)))
    assert np.ptp(decoder.predict(rng.normal(size=(4, 5))), axis=0).max() == 0
    decoder = MAP().fit(rng.normal(size=(31, 5)), np.ones((31, 3)))
    np.testing.assert_array_equal(decoder.predict(rng.normal(size=(4, 5))), 1)
    np.testing.assert_array_equal(decoder.posterior_variance(), 0)


def test_latents_that_repeat_each_other_share_the_prediction(rng):
    X, Z, X_test, _ = planted(rng, 61, 7, 23)
    found = MAP().fit(X, np.hstack([Z, Z[:, :1]])).predict(X_test)
    np.testing.assert_allclose(found[:, 0], found[:, -1], atol=1e-6)


def test_float32_is_kept_and_predicts_the_same(rng):
    X, Z, X_test, _ = planted(rng, 61, 7, 2003)
    single = MAP().fit(X.astype(np.float32), Z.astype(np.float32))
    assert single.loadings_.dtype == np.float32
    np.testing.assert_allclose(single.predict(X_test), MAP().fit(X, Z).predict(X_test), atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(rng, bad):
    X, Z, X_test, _ = planted(rng, 61, 7, 23)
    decoder = MAP().fit(X, Z)
    X_test[1, 2] = X[3, 4] = bad
    with pytest.raises(InconsistentInput, match="1 of 13"):
        decoder.predict(X_test)
    with pytest.raises(InconsistentInput, match="1 of 61"):
        MAP().fit(X, Z)
    Z[5, 1] = bad
    with pytest.raises(InconsistentInput, match="1 training trials have latents"):
        MAP().fit(X_test.repeat(5, axis=0)[:61], Z)


@pytest.mark.parametrize("n_repeats", [[1, 2], [0] * 13, [1.5] * 13, ["a"] * 13, [np.nan] * 13])
def test_repeats_must_be_whole_and_one_a_row(rng, n_repeats):
    X, Z, X_test, _ = planted(rng, 61, 7, 23)
    with pytest.raises(InconsistentInput, match="13 whole numbers"):
        MAP().fit(X, Z).predict(X_test, n_repeats)


def test_other_voxels_than_in_training_are_refused(rng):
    X, Z, X_test, _ = planted(rng, 61, 7, 23)
    with pytest.raises(InconsistentInput, match="fitted on 23 voxels"):
        MAP().fit(X, Z).predict(X_test[:, 1:])


def test_map_is_a_scikit_learn_estimator():
    assert clone(MAP(alphas=(1.0,), ridge=True)).get_params() == {
        "alphas": (1.0,), "ridge": True, "repeat_noise": True
    }  # fmt: skip


def test_many_numbers_of_repeats_are_served_whatever_came_before(rng):
    X, Z, X_test, _ = planted(rng, 61, 7, 23)
    decoder = MAP().fit(X, Z)
    for m in [*range(1, 20), 3, 1]:
        wanted = textbook(X, Z, X_test, m)[0]
        np.testing.assert_allclose(decoder.predict(X_test, np.full(len(X_test), m)), wanted, atol=1e-6)
