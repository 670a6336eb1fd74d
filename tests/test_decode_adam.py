"""HYPER's dense layer: against ridge at convergence, against a naive Adam step by step, and its stop rules."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import Ridge as SklearnRidge

from hyper_bids.decode.adam import Adam, hold_out, latent_scaling
from hyper_bids.decode.dense import INITIAL
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.seeds import generator
from hyper_bids.testing import DECODER_CHECKS


@pytest.fixture
def planted(rng):
    Z = rng.normal(size=(37, 5)).astype(np.float32)
    X = (Z @ rng.normal(size=(5, 23)) + 0.5 * rng.normal(size=(37, 23)) + 0.3).astype(np.float32)
    return X, Z


def quick(**parameters) -> Adam:
    return Adam(**{"n_epochs": 20, "learning_rate": 1e-3, "batch_size": 8} | parameters)


@pytest.mark.parametrize("make", [quick, Adam, lambda: quick(stopping="held-out")], ids=["quick", "hyper", "held-out"])
@pytest.mark.parametrize("check", DECODER_CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check, make):
    check(make)


def test_the_defaults_are_the_papers():
    wanted = {"n_epochs": 1500, "batch_size": 30, "learning_rate": 1e-5, "weight_decay": 0.01, "stopping": "epochs"}
    assert Adam().get_params() | wanted == Adam().get_params()
    assert clone(Adam(seed=3, patience=7)).get_params() == Adam(seed=3, patience=7).get_params()


def naive(X, Z, n_epochs, batch_size, rate, decay, seed):
    """The textbook's Adam in float64, gradients by automatic differentiation of the loss as written."""
    W = torch.from_numpy(
        generator(seed, "adam", "weights").uniform(-INITIAL, INITIAL, (X.shape[1], Z.shape[1])).astype(np.float32)
    ).double()
    b = torch.zeros(Z.shape[1], dtype=torch.float64)
    parameters, order = [W.requires_grad_(), b.requires_grad_()], generator(seed, "adam", "order")
    m, v, t, curve = [0.0, 0.0], [0.0, 0.0], 0, []
    X, Z = torch.from_numpy(X).double(), torch.from_numpy(Z).double()
    for _ in range(n_epochs):
        rows, total = order.permutation(len(X)), 0.0
        for start in range(0, len(X), batch_size):
            batch = rows[start : start + batch_size]
            t += 1
            loss = (0.5 * ((X[batch] @ W + b - Z[batch]) ** 2).mean(dim=1)).mean()
            total += loss.item() * len(batch)
            for k, gradient in enumerate(torch.autograd.grad(loss, parameters)):
                with torch.no_grad():
                    gradient = gradient + decay * parameters[k]
                    m[k] = 0.9 * m[k] + 0.1 * gradient
                    v[k] = 0.999 * v[k] + 0.001 * gradient**2
                    step = (m[k] / (1 - 0.9**t)) / ((v[k] / (1 - 0.999**t)).sqrt() + 1e-8)
                    parameters[k] -= rate * step
        curve.append(total / len(X))
    return W.detach().numpy(), b.detach().numpy(), np.array(curve)


def test_every_step_is_the_textbooks(planted):
    X, Z = planted
    decoder = quick(weight_decay=0.3, seed=4).fit(X, Z)
    W, b, curve = naive(X, Z, 20, 8, 1e-3, 0.3, seed=4)
    np.testing.assert_allclose(decoder.coef_, W.T, atol=1e-5)
    np.testing.assert_allclose(decoder.intercept_, b, atol=1e-5)
    np.testing.assert_allclose(decoder.loss_curve_[:, 0], curve, rtol=1e-5)


@pytest.mark.parametrize("n_trials", [37, 11], ids=["tall", "wide"])
def test_at_convergence_it_is_ridge_with_alpha_n_k_wd_and_a_penalised_bias(planted, n_trials):
    X, Z = planted[0][:n_trials], planted[1][:n_trials]
    decay = 0.02
    decoder = Adam(
        n_epochs=12000, batch_size=n_trials, learning_rate=3e-4, weight_decay=decay, scale_latents="none"
    ).fit(X, Z)
    ones = np.column_stack([X, np.ones(n_trials)]).astype(float)

    def closed(alpha):
        return np.linalg.solve(ones.T @ ones + alpha * np.eye(ones.shape[1]), ones.T @ Z)

    found, alpha = np.column_stack([decoder.coef_, decoder.intercept_]).T, n_trials * Z.shape[1] * decay
    np.testing.assert_allclose(found, closed(alpha), atol=2e-4)
    theirs = SklearnRidge(alpha, fit_intercept=False).fit(ones, Z)
    np.testing.assert_allclose(found, theirs.coef_.T, atol=2e-4)
    assert np.abs(found - closed(n_trials * decay)).max() > 0.02, "the sum over latents would pass as well"
    free = SklearnRidge(alpha).fit(X, Z).intercept_
    assert np.abs(decoder.intercept_ - free).max() > 2e-3, "a bias without penalty would pass as well"


def test_the_same_seed_gives_the_same_bits_and_torchs_random_state_is_neither_used_nor_changed(planted):
    X, Z = planted
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = quick(seed=5).fit(X, Z)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two, other = quick(seed=5).fit(X, Z), quick(seed=6).fit(X, Z)
    np.testing.assert_array_equal(one.coef_, two.coef_)
    np.testing.assert_array_equal(one.loss_curve_, two.loss_curve_)
    assert not np.array_equal(one.coef_, other.coef_)


def test_exactly_the_epochs_asked_for(planted):
    decoder = quick(n_epochs=13).fit(*planted, groups=np.arange(37) % 4)
    assert decoder.loss_curve_.shape == (13, 1) and decoder.n_epochs_ == decoder.best_epoch_ == 13
    assert decoder.held_out_ == () and decoder.inner_folds_ is None and decoder.loss_names_ == ("training",)


# --- stopping on held-out training data ---------------------------------------------------------------


def overfitting(rng):
    """Noise that a decoder without decay learns by heart: the held-out loss falls, then rises."""
    Z = rng.normal(size=(48, 3)).astype(np.float32)
    X = (Z @ rng.normal(size=(3, 90)) + 6 * rng.normal(size=(48, 90))).astype(np.float32)
    return X, Z, np.array([f"run-{k % 6}" for k in range(48)])


def test_training_stops_patience_epochs_after_the_best_and_keeps_the_best_weights(rng):
    X, Z, groups = overfitting(rng)
    parameters = {"learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 8, "stopping": "held-out", "patience": 9}
    decoder = Adam(n_epochs=2000, **parameters).fit(X, Z, groups=groups)
    held = decoder.loss_curve_[:, 1]
    assert decoder.best_epoch_ == held.argmin() + 1 and decoder.n_epochs_ == decoder.best_epoch_ + 9 < 2000
    rows = np.isin(groups, decoder.held_out_)
    error = decoder.predict(X[rows]) - Z[rows]
    assert (error**2).mean() / 2 == pytest.approx(held.min(), rel=1e-4)
    shorter = Adam(n_epochs=decoder.best_epoch_, **parameters).fit(X, Z, groups=groups)
    np.testing.assert_array_equal(shorter.coef_, decoder.coef_)
    assert decoder.notices_ == () and "had no 9 further epochs" in shorter.notices_[0]


def test_held_out_trials_are_whole_groups_that_are_not_trained_on(rng):
    X, Z, groups = overfitting(rng)
    decoder = quick(stopping="held-out", held_out=0.3).fit(X, Z, groups=groups)
    assert len(decoder.held_out_) == 2 and decoder.inner_folds_ == "2 of 6 groups held out"
    kept = ~np.isin(groups, decoder.held_out_)
    changed = np.where(kept[:, None], X, -X)
    other = quick(stopping="held-out", held_out=0.3).fit(changed, Z, groups=groups)
    np.testing.assert_array_equal(other.loss_curve_[:3, 0], decoder.loss_curve_[:3, 0])
    assert not np.array_equal(other.loss_curve_[:3, 1], decoder.loss_curve_[:3, 1])
    assert quick(stopping="held-out").fit(X, Z).inner_folds_ == "5 of 48 trials held out"


def test_the_choice_of_groups_is_seeded_and_reaches_all_of_them():
    groups = np.repeat(["a", "b", "c", "d"], [3, 4, 5, 6])
    chosen = {hold_out(groups, 18, 0.25, seed)[2] for seed in range(40)}
    assert chosen == {("a",), ("b",), ("c",), ("d",)}
    assert hold_out(groups, 18, 0.25, 7)[2] == hold_out(groups, 18, 0.25, 7)[2]
    training, held, *_ = hold_out(groups, 18, 0.25, 7)
    assert sorted([*training, *held]) == list(range(18))


@pytest.mark.parametrize(
    ("groups", "message"),
    [(["a"] * 6, "at least 2 groups of training trials, found 1: a"), (["a"] * 5, "shape")],
)
def test_too_few_groups_to_hold_one_out(rng, groups, message):
    with pytest.raises(InconsistentInput, match=message):
        quick(stopping="held-out").fit(rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), groups=np.array(groups))


def test_two_trials_are_too_few_to_hold_one_out(rng):
    with pytest.raises(InconsistentInput, match="leaves 1 training trial"):
        quick(stopping="held-out").fit(rng.normal(size=(2, 4)), rng.normal(size=(2, 3)))


# --- units of the latents ------------------------------------------------------------------------------


def test_standard_normal_latents_are_used_raw_and_others_scaled(rng):
    Z = rng.normal(size=(200, 11))
    assert latent_scaling(Z, "auto").kind == "none"
    assert latent_scaling(np.repeat(Z, 3, axis=0), "auto").kind == "none"
    for other in (0.2 * Z, 30 * Z, Z + 2, Z * np.linspace(0.1, 9, 11)):
        scaling = latent_scaling(other, "auto")
        assert scaling.kind == "unit"
        targets = scaling.targets(other)
        np.testing.assert_allclose(targets.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(targets.std(axis=0), 1, atol=1e-6)


def test_scaled_latents_come_back_in_their_units(planted):
    X, Z = planted
    standard = ((Z - Z.mean(axis=0, dtype=float)) / Z.std(axis=0, dtype=float)).astype(np.float32)
    raw = quick(scale_latents="none").fit(X, standard).predict(X)
    scaled = quick().fit(X, 40 + 700 * standard)
    assert scaled.latent_scaling_ == "unit"
    np.testing.assert_allclose((scaled.predict(X) - 40) / 700, raw, atol=1e-4)


@pytest.mark.parametrize("scaling", ["none", "unit", "auto"])
def test_a_constant_latent_is_predicted_by_its_mean(planted, scaling):
    X, Z = planted
    Z[:, 2] = 1.3
    predicted = quick(scale_latents=scaling).fit(X, Z).predict(X)
    np.testing.assert_array_equal(predicted[:, 2], np.float32(1.3))
    assert np.ptp(predicted[:, 1]) > 0
    np.testing.assert_array_equal(quick(scale_latents=scaling).fit(X, np.ones_like(Z)).predict(X), 1.0)


# --- bad input ------------------------------------------------------------------------------------------


def test_fewer_trials_than_a_batch_are_one_batch_and_it_is_said(planted):
    X, Z = planted
    decoder = Adam(n_epochs=3).fit(X[:7], Z[:7])
    assert "7 training trials are fewer than the batch size of 30" in decoder.notices_[0]
    np.testing.assert_array_equal(decoder.coef_, Adam(n_epochs=3, batch_size=7).fit(X[:7], Z[:7]).coef_)


@pytest.mark.parametrize(
    ("X", "Z", "message"),
    [
        (np.full((5, 3), np.nan), np.ones((5, 2)), "finite"),
        (np.ones((5, 3)), np.full((5, 2), np.nan), "finite"),
        (np.ones((1, 3)), np.ones((1, 2)), "at least 2 training trials"),
        (np.ones((0, 3)), np.ones((0, 2)), "at least 2 training trials"),
        (np.ones((5, 3)), np.ones((5, 0)), "at least one voxel and one latent"),
    ],
)
def test_bad_data_is_refused(X, Z, message):
    with pytest.raises(InconsistentInput, match=message):
        quick().fit(X, Z)


def test_training_that_diverges_is_no_result(planted):
    X, Z = planted
    with pytest.raises(InconsistentInput, match="diverged"), np.errstate(all="ignore"):
        quick(learning_rate=1e30).fit(X, Z)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"weight_decay": -1.0}, {"stopping": "early"},
        {"patience": 0}, {"held_out": 1.0}, {"scale_latents": "yes"}, {"device": "gpu"}, {"device": "meta"},
        {"layer": "L4"}, {"crop": 0.0},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_out_of_range_are_refused(planted, parameters):
    with pytest.raises(UsageError, match=str(next(iter(parameters)))):
        quick(**parameters).fit(*planted)


def test_a_missing_cuda_device_is_named(planted):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UsageError, match="no CUDA device"):
        quick(device="cuda").fit(*planted)


def test_locked_arrays_are_taken_without_a_warning(planted):
    X, Z = planted
    X.flags.writeable = Z.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick().fit(X, Z)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_repeats_itself_and_agrees_with_the_cpu(planted):
    one, two, cpu = (quick(device=device).fit(*planted) for device in ("cuda", "cuda", "cpu"))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    np.testing.assert_allclose(one.coef_, cpu.coef_, atol=1e-4)
