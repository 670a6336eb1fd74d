"""Decoders, folds and the null of cross-validated designs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.decode import DECODERS
from hyper_bids.decode.crossvalidate import decode, null_stimuli, refit
from hyper_bids.decode.folds import make_folds, permuted_stimuli
from hyper_bids.decode.ridge import ALPHAS, Ridge
from hyper_bids.decode.select import TopZ, all_voxels
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.registry import resolve
from hyper_bids.testing import DECODER_CHECKS


@pytest.fixture(params=[(29, 53), (61, 23)], ids=["dual", "primal"])
def planted(request, rng):
    n_trials, n_voxels = request.param
    Z = rng.normal(3, 2, (n_trials, 7))
    X = Z @ rng.normal(size=(7, n_voxels)) + rng.normal(0, 3, (n_trials, n_voxels)) + 11
    return X, Z, rng.normal(size=(13, n_voxels)) * 4 + 11


@pytest.mark.parametrize("name", [name for name in DECODERS if name != "layer"])  # needs a generator: test_decode_layer
@pytest.mark.parametrize("check", DECODER_CHECKS, ids=lambda check: check.__name__)
def test_every_decoder_keeps_the_contract(name, check):
    check(DECODERS[name])


@pytest.mark.parametrize("alpha", [1e-2, 3.0, 1e4])
def test_ridge_equals_scikit_learns(planted, alpha):
    X, Z, X_test = planted
    theirs = make_pipeline(StandardScaler(), SklearnRidge(alpha)).fit(X, Z).predict(X_test)
    ours = Ridge(alphas=(alpha,)).fit(X, Z).predict(X_test)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_ridge_equals_the_normal_equations(planted):
    X, Z, X_test = planted
    centred, scale = X - X.mean(axis=0), X.std(axis=0)
    S = centred / scale
    W = np.linalg.solve(S.T @ S + 50 * np.eye(S.shape[1]), S.T @ (Z - Z.mean(axis=0)))
    wanted = (X_test - X.mean(axis=0)) / scale @ W + Z.mean(axis=0)
    np.testing.assert_allclose(Ridge(alphas=(50.0,)).fit(X, Z).predict(X_test), wanted, atol=1e-5)


def test_leave_one_trial_out_chooses_as_scikit_learn(planted):
    X, Z, _ = planted
    S = StandardScaler().fit_transform(X)
    for target in range(Z.shape[1]):
        theirs = RidgeCV(ALPHAS, scoring="neg_mean_squared_error").fit(S, Z[:, target])
        assert Ridge().fit(X, Z).alpha_[target] == pytest.approx(theirs.alpha_)


def test_grouped_errors_equal_refitting_without_the_group(planted):
    X, Z, _ = planted
    groups = np.arange(len(X)) % 4
    S = StandardScaler().fit_transform(X)
    error = np.zeros((len(ALPHAS), Z.shape[1]))
    for row, alpha in enumerate(ALPHAS):
        for train, test in LeaveOneGroupOut().split(S, groups=groups):
            error[row] += ((SklearnRidge(alpha).fit(S[train], Z[train]).predict(S[test]) - Z[test]) ** 2).sum(axis=0)
    np.testing.assert_allclose(Ridge().fit(X, Z, groups=groups).alpha_, np.array(ALPHAS)[error.argmin(axis=0)])


def test_refits_equal_fitting_anew(planted, rng):
    X, Z, X_test = planted
    groups = np.arange(len(X)) % 4
    rows = np.stack([rng.permutation(len(Z)) for _ in range(3)])
    for shared in (False, True):
        got = Ridge(shared=shared).predict_refitted(X, Z, rows, X_test, groups=groups)
        for k, own in enumerate(rows):
            wanted = Ridge(shared=shared).fit(X, Z[own], groups=groups).predict(X_test)
            np.testing.assert_allclose(got[k], wanted, atol=1e-4)


def test_a_constant_latent_is_predicted_by_its_mean_and_a_constant_voxel_is_harmless(planted):
    X, Z, X_test = planted
    Z[:, 2], X[:, 4] = 1.25, 7.0
    np.testing.assert_allclose(Ridge().fit(X, Z).predict(X_test)[:, 2], 1.25, atol=1e-6)


def test_ridge_is_a_scikit_learn_estimator():
    assert clone(Ridge(alphas=(1.0,), shared=True)).get_params() == {
        "alphas": (1.0,), "shared": True, "standardize": True
    }


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(planted, bad):
    X, Z, _ = planted
    X[0, 0] = bad
    with pytest.raises(InconsistentInput, match="finite"):
        Ridge().fit(X, Z)


def test_decoders_by_name():
    needs = ("fit", "predict")
    assert resolve("ridge", DECODERS, "decoder", needs) is Ridge
    assert resolve("sklearn.linear_model:Ridge", DECODERS, "decoder", needs) is SklearnRidge
    with pytest.raises(UsageError, match="Did you mean 'ridge'"):
        resolve("rigde", DECODERS, "decoder", needs)
    with pytest.raises(UsageError, match="has no predict"):
        resolve("sklearn.preprocessing:StandardScaler", DECODERS, "decoder", needs)
    with pytest.raises(UsageError, match="Cannot load"):
        resolve("no_such_package:Ridge", DECODERS, "decoder", needs)


# --- folds ----------------------------------------------------------------------------------------


def experiment(rng, n_runs=5, n_stimuli=6, n_voxels=19, signal=1.0, n_latents=4):
    stimuli = [f"s{k}" for k in range(n_stimuli)]
    trials = pd.DataFrame(
        [(f"run-{r}", f"ses-{r % 2}", stimuli[k]) for r in range(n_runs) for k in rng.permutation(n_stimuli)],
        columns=["run", "session", "stimulus_id"],
    ).assign(split="cv")
    latents = Latents(rng.normal(size=(n_stimuli, n_latents)), tuple(stimuli), "test")
    Z = latents.rows(trials["stimulus_id"])
    values = signal * Z @ rng.normal(size=(n_latents, n_voxels)) + rng.normal(size=(len(trials), n_voxels))
    return Responses(values, trials, VoxelGrid(np.ones((n_voxels, 1, 1), bool), np.eye(4))), latents


@pytest.mark.parametrize(("unit", "n_folds"), [("run", 5), ("session", 2), ("stimulus", 3)])
def test_every_trial_is_tested_once_and_never_trained_on_in_its_fold(rng, unit, n_folds):
    responses, _ = experiment(rng)
    folds = make_folds(responses.trials, unit, 3, seed=0)
    assert len(folds) == n_folds
    tested = np.concatenate([np.concatenate(list(fold.test.values())) for fold in folds])
    assert sorted(tested) == list(range(len(responses.trials)))
    for fold in folds:
        assert not set(fold.train) & set(np.concatenate(list(fold.test.values())))
        if unit == "stimulus":
            assert not set(responses.trials["stimulus_id"].iloc[fold.train]) & set(fold.test)


def test_one_run_is_no_fold(rng):
    responses, _ = experiment(rng, n_runs=1)
    with pytest.raises(InconsistentInput, match="at least 2 runs"):
        make_folds(responses.trials, "run", None, seed=0)


@pytest.mark.parametrize("unit", ["run", "session", "stimulus"])
def test_permutations_move_whole_stimuli_within_their_block(rng, unit):
    responses, _ = experiment(rng)
    trials = responses.trials
    stimuli, rows = permuted_stimuli(trials, unit, 20, seed=3)
    for labels in stimuli[rows]:
        blocks = np.zeros(len(trials)) if unit == "stimulus" else trials[unit]
        moved = pd.DataFrame({"block": blocks, "old": trials["stimulus_id"], "new": labels})
        assert (moved.groupby(["block", "old"])["new"].nunique() == 1).all()
        assert (moved.groupby(["block", "new"])["old"].nunique() == 1).all()


def test_top_z_takes_the_largest_means_within_the_fold(rng):
    responses, latents = experiment(rng)
    mean = responses.values.mean(axis=0)
    assert set(np.flatnonzero(TopZ(4)(responses, latents))) == set(np.argsort(-mean)[:4])
    assert TopZ(10**6)(responses, latents).all() and all_voxels(responses, latents).all()


def test_planted_latents_are_decoded(rng):
    responses, latents = experiment(rng, signal=2.0)
    folds = make_folds(responses.trials, "run", None, seed=0)
    decoded = decode(responses, latents, folds, all_voxels, Ridge)
    true = latents.rows(decoded.rows["stimulus_id"])
    assert np.corrcoef(true.ravel(), decoded.values.ravel())[0, 1] > 0.9
    assert list(decoded.rows["n_repeats"].unique()) == [1] and len(decoded.rows) == 30


def test_selection_never_sees_the_test_trials(rng):
    responses, latents = experiment(rng)
    folds = make_folds(responses.trials, "run", None, seed=0)
    changed = responses.values.copy()
    first = np.concatenate(list(folds[0].test.values()))
    changed[first] = 1e3 * rng.normal(size=(len(first), changed.shape[1]))
    other = Responses(changed, responses.trials, responses.grid)
    one = decode(responses, latents, folds[:1], TopZ(5), Ridge).fits[0]
    two = decode(other, latents, folds[:1], TopZ(5), Ridge).fits[0]
    np.testing.assert_array_equal(one.voxels, two.voxels)
    np.testing.assert_array_equal(one.decoder.coef_, two.decoder.coef_)


def test_refits_follow_the_rows_and_the_permuted_labels(rng):
    responses, latents = experiment(rng)
    folds = make_folds(responses.trials, "run", None, seed=0)
    rows, _ = null_stimuli(Ridge, responses, latents, folds, "run", 5, seed=1)
    values, stimuli = refit(responses, latents, folds, all_voxels, Ridge, rows)
    names = np.array(latents.stimuli)
    labels = names[rows]
    for draw in range(5):
        relabelled = Responses(
            responses.values, responses.trials.assign(stimulus_id=labels[draw]), responses.grid
        )
        wanted = decode(relabelled, latents, make_folds(relabelled.trials, "run", None, seed=0), all_voxels, Ridge)
        table = wanted.rows.assign(row=range(len(wanted.rows))).set_index(["fold", "stimulus_id"])["row"]
        found = [table[key] for key in zip(wanted.rows["fold"], names[stimuli[draw]], strict=True)]
        np.testing.assert_allclose(values[draw], wanted.values[found], atol=1e-4)


def test_a_foreign_decoder_gets_fewer_refits_and_says_so(rng):
    responses, latents = experiment(rng, n_runs=2)
    folds = make_folds(responses.trials, "run", None, seed=0)
    rows, notice = null_stimuli(SklearnRidge, responses, latents, folds, "run", 1000, seed=1)
    assert len(rows) == 100 and "100 instead of 1000" in notice
    values, _ = refit(responses, latents, folds, all_voxels, SklearnRidge, rows[:3])
    first = SklearnRidge().fit(responses.values[folds[0].train], latents.values[rows[0, folds[0].train]])
    tested = [rows[0] for rows in folds[0].test.values()]
    np.testing.assert_allclose(values[0, : len(tested)], first.predict(responses.values[tested]), atol=1e-5)


def test_a_null_that_costs_too_much_is_left_out_and_says_so(rng, monkeypatch):
    from hyper_bids.decode import crossvalidate

    responses, latents = experiment(rng)
    folds = make_folds(responses.trials, "run", None, seed=0)
    one = sum(2.0 * len(fold.train) ** 2 * 4 * 21 for fold in folds)
    monkeypatch.setattr(crossvalidate, "REFIT_OPERATIONS", 50.5 * one)
    rows, notice = null_stimuli(Ridge, responses, latents, folds, "run", 1000, seed=1)
    assert len(rows) == 50 and "50 instead of 1000" in notice
    monkeypatch.setattr(crossvalidate, "REFIT_OPERATIONS", 3 * one)
    rows, notice = null_stimuli(Ridge, responses, latents, folds, "run", 1000, seed=1)
    assert len(rows) == 0 and "no permutations" in notice


def test_every_fold_reports_guesses_and_single_item_invariance(rng):
    responses, latents = experiment(rng, signal=2.0)
    folds = make_folds(responses.trials, "stimulus", 3, seed=0)
    decoded = decode(responses, latents, folds, all_voxels, Ridge)
    for row, (label, name) in enumerate(zip(decoded.rows["stimulus_id"], decoded.rows["fold"], strict=True)):
        fold = next(fold for fold in folds if fold.name == name)
        training = latents.rows(sorted(set(responses.trials["stimulus_id"].iloc[fold.train])))
        np.testing.assert_allclose(decoded.training_mean[row], training.mean(axis=0), atol=1e-6)
        distance = np.linalg.norm(training - decoded.values[row], axis=1)
        np.testing.assert_array_equal(decoded.nearest[row], training[distance.argmin()])
        assert not (decoded.nearest[row] == latents.rows([label])[0]).all()
    assert max(fit.alone_difference for fit in decoded.fits) == 0.0
