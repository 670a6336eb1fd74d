"""Split halves, noise ceilings and the reliability of recordings, against naive versions, scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hyper_bids.data import Responses, VoxelGrid
from hyper_bids.decode.split_half import decoder_ceiling, random_halves, spearman_brown, split_half
from hyper_bids.evaluate.ceiling import noise_ceiling
from hyper_bids.evaluate.multinomial import GRADIENT, path_logits
from hyper_bids.evaluate.reliability import choose_penalty, recording_reliability
from hyper_bids.seeds import generator


def as_responses(values, stimuli):
    grid = VoxelGrid(np.ones((values.shape[1], 1, 1), bool), np.eye(4))
    return Responses(values, pd.DataFrame({"stimulus_id": stimuli}), grid)


def recorded(rng, n_stimuli, n_repeats, n_voxels, signal=1.0, noise=1.0):
    """Trials repeat by repeat: (values, labels, true responses)."""
    truth = signal * rng.normal(size=(n_stimuli, n_voxels))
    values = np.tile(truth, (n_repeats, 1)) + noise * rng.normal(size=(n_stimuli * n_repeats, n_voxels))
    return values, np.tile([f"s{k:03d}" for k in range(n_stimuli)], n_repeats), truth


# --- split halves ---------------------------------------------------------------------------------


def test_halves_part_every_stimulus_and_the_odd_trial_goes_to_either():
    groups = [np.array([3, 8]), np.array([0, 4, 5]), np.array([1, 2, 6, 7, 9, 10, 11])]
    sizes = []
    for halves in random_halves(groups, 60, seed=0):
        for rows, first in zip(groups, halves, strict=True):
            assert set(first) < set(rows) and len(set(first)) == len(first)
        sizes.append([len(first) for first in halves])
    assert [set(own) for own in zip(*sizes, strict=True)] == [{1}, {1, 2}, {3, 4}]


def test_split_half_equals_a_loop_with_pearsonr(rng):
    values, stimuli, _ = recorded(rng, 7, 5, 3)
    stimuli = stimuli.astype(object)
    stimuli[-1], stimuli[-2] = "alone", "s000"  # unequal repeats, and one without
    found = split_half(values, stimuli, n_halves=4, seed=9)
    names = sorted(set(stimuli) - {"alone"})
    groups, r = [np.flatnonzero(stimuli == name) for name in names], []
    for halves in random_halves(groups, 4, seed=9):
        one = np.array([values[first].mean(axis=0) for first in halves])
        other = np.array([values[np.setdiff1d(g, f)].mean(axis=0) for g, f in zip(groups, halves, strict=True)])
        r.append([stats.pearsonr(one[:, v], other[:, v]).statistic for v in range(3)])
    np.testing.assert_allclose(found.r, np.mean(r, axis=0), atol=1e-12)
    np.testing.assert_allclose(found.reliability, 2 * found.r / (1 + np.abs(found.r)))
    assert (found.n_stimuli, found.n_left_out, found.repeats) == (7, 1, (4, 6))


def test_spearman_brown_of_halves_is_the_noise_ceiling(rng):
    """Two estimates of one number, s2_s / (s2_s + s2_n / m): over many stimuli they meet, at the planted value."""
    values, stimuli, _ = recorded(rng, 1500, 4, 5, signal=0.8)
    planted = 0.64 / (0.64 + 1 / 4)
    np.testing.assert_allclose(split_half(values, stimuli, 20).reliability, planted, atol=0.04)
    np.testing.assert_allclose(noise_ceiling(values, stimuli).r2, planted, atol=0.04)


def test_without_signal_halves_do_not_agree(rng):
    values, stimuli, _ = recorded(rng, 50, 3, 400, signal=0.0)
    found = split_half(values, stimuli, 20)
    assert abs(found.r.mean()) < 0.02
    assert spearman_brown(np.array([-1.0, 1.0])).tolist() == [-1.0, 1.0]


def test_constant_and_missing_voxels_have_no_reliability(rng):
    values, stimuli, _ = recorded(rng, 9, 3, 4)
    values[:, 1], values[2, 3] = 0.1, np.nan
    assert np.isfinite(split_half(values, stimuli).r).tolist() == [True, False, True, False]
    assert np.isfinite(noise_ceiling(values, stimuli).r2).tolist() == [True, False, True, False]


def test_without_repeats_everything_says_so_and_nothing_fails(rng):
    values, stimuli, _ = recorded(rng, 9, 1, 4)
    test = as_responses(values, stimuli)
    assert "no stimulus is repeated" in split_half(values, stimuli).reason
    assert "of 9 stimuli 0 are repeated" in noise_ceiling(values, stimuli).reason
    assert "no stimulus is repeated" in decoder_ceiling(lambda X: X, test).reason
    found = recording_reliability(test)
    assert found.skipped and "4 repetitions" in found.reason and found.table.empty


# --- ceilings -------------------------------------------------------------------------------------


def test_noise_ceiling_is_the_intraclass_correlation(rng):
    values, stimuli, _ = recorded(rng, 23, 4, 6, signal=0.5)
    F = stats.f_oneway(*(values[stimuli == name] for name in np.unique(stimuli))).statistic
    found = noise_ceiling(values, stimuli)
    np.testing.assert_allclose(found.r2, np.maximum(0, 1 - 1 / F), atol=1e-12)
    assert found.n_repeats == pytest.approx(4)


def test_variance_components_equal_a_loop_and_the_planted_ones(rng):
    values, stimuli, _ = recorded(rng, 900, 5, 3, signal=2.0, noise=1.5)
    keep = rng.random(len(stimuli)) < 0.7  # unequal repeats, some stimuli with one
    values, stimuli = values[keep], stimuli[keep]
    found = noise_ceiling(values, stimuli)
    groups = [values[stimuli == name] for name in np.unique(stimuli)]
    groups = [own for own in groups if len(own) > 1]
    s2_n = np.mean([own.var(axis=0, ddof=1) for own in groups], axis=0)
    m = 1 / np.mean([1 / len(own) for own in groups])
    s2_s = np.var([own.mean(axis=0) for own in groups], axis=0, ddof=1) - s2_n / m
    np.testing.assert_allclose(found.s2_n, s2_n)
    np.testing.assert_allclose(found.s2_s, s2_s)
    np.testing.assert_allclose(found.r2, s2_s / (s2_s + s2_n / m))
    np.testing.assert_allclose(s2_n, 2.25, rtol=0.08)
    np.testing.assert_allclose(s2_s, 4.0, rtol=0.2)
    assert found.n_left_out > 0 and f"{found.n_left_out} of" in found.notices[0]


def test_the_decoders_ceiling_is_what_a_noiseless_truth_would_reach(rng):
    """r of the prediction from all repeats with the decoder's own noiseless output is the ceiling."""
    values, stimuli, truth = recorded(rng, 800, 6, 11, signal=0.7)
    weights = rng.normal(size=(11, 3)) * np.array([1.0, 5.0, 0.0]) + np.array([0, 0, 1]) * np.eye(11)[:, :1]
    found = decoder_ceiling(lambda X: X @ weights + 4, as_responses(values, stimuli), 20)
    names = np.array(found.stimuli)
    mean = np.array([values[stimuli == name].mean(axis=0) for name in names]) @ weights
    r = [np.corrcoef(mean[:, k], (truth @ weights)[:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(found.latent_ceiling, r, atol=0.03)
    assert found.stimulus_r.shape == (800,) and names.tolist() == sorted(set(stimuli))


def test_a_latent_that_is_always_the_same_has_no_ceiling_and_noise_has_none_above_0(rng):
    values, stimuli, _ = recorded(rng, 60, 4, 5, signal=0.0)
    weights = np.eye(5)[:, :2] * np.array([1.0, 0.0])
    found = decoder_ceiling(lambda X: X @ weights + 0.1, as_responses(values, stimuli), 50)
    assert found.latent_ceiling[0] < 0.45 and np.isnan(found.latent_ceiling[1])
    one = decoder_ceiling(lambda X: X[:, :1], as_responses(values, stimuli), 5)
    assert np.isnan(one.stimulus_ceiling).all()


# --- reliability of recordings --------------------------------------------------------------------


@pytest.mark.parametrize(("n", "n_voxels"), [(40, 203), (90, 17)], ids=["dual", "primal"])
def test_logistic_regression_in_the_row_space_equals_scikit_learns_on_the_voxels(rng, n, n_voxels):
    own = np.arange(n) % 5
    X = rng.normal(size=(n, n_voxels)) + 0.5 * np.eye(5)[own] @ rng.normal(size=(5, n_voxels)) + 1.3
    X_test, penalties = rng.normal(size=(11, n_voxels)), (1e2, 1e-2, 1e4, 1.0)
    found, exact = (softmax(path_logits(X, own, X_test, penalties, stop), axis=2) for stop in (GRADIENT, 1e-11))
    for k, penalty in enumerate(penalties):
        theirs = LogisticRegression(C=1 / penalty, solver="newton-cg", tol=1e-10, max_iter=10_000).fit(X, own)
        np.testing.assert_allclose(exact[k], theirs.predict_proba(X_test), atol=3e-5)
        np.testing.assert_allclose(found[k], theirs.predict_proba(X_test), atol=3e-3)


def test_the_whole_procedure_equals_one_made_of_scikit_learn(rng):
    n_stimuli, n_repeats, penalties = 6, 5, (1e-1, 1e1, 1e3)
    values, stimuli, _ = recorded(rng, n_stimuli, n_repeats, 40, signal=0.35)
    found = recording_reliability(as_responses(values, stimuli), penalties=penalties, seed=2)
    samples = values.astype(np.float32).reshape(n_repeats, n_stimuli, -1).astype(float)

    def hits(train, test, penalty):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=100_000))
        model.fit(train.reshape(-1, 40), np.tile(np.arange(n_stimuli), len(train)))
        return (model.predict(test.reshape(-1, 40)) == np.tile(np.arange(n_stimuli), len(test))).sum()

    draws, rows = generator(2, "reliability of recordings"), []
    for fold in range(n_repeats):
        order = draws.permutation(np.delete(np.arange(n_repeats), fold))
        for m in (3, 4):
            chosen = samples[order[:m]]
            parts = np.array_split(np.arange(m), 3)
            score = [sum(hits(np.delete(chosen, p, 0), chosen[p], c) for p in parts) for c in penalties[::-1]]
            best = penalties[::-1][int(np.argmax(score))]
            rows.append((fold + 1, m, hits(chosen, samples[[fold]], best) / n_stimuli, best))
    wanted = pd.DataFrame(rows, columns=["fold", "m", "accuracy", "penalty"])
    pd.testing.assert_frame_equal(found.folds, wanted)
    by_m = wanted.groupby("m")["accuracy"]
    np.testing.assert_allclose(found.table["accuracy"], by_m.mean())
    np.testing.assert_allclose(found.table["sd"], by_m.std())
    assert (found.table["chance"] == 1 / n_stimuli).all()


def test_more_repetitions_tell_more_and_none_is_told_from_noise(rng):
    signal = recording_reliability(as_responses(*recorded(rng, 9, 14, 60, signal=0.4)[:2]), penalties=(1.0, 100.0))
    assert signal.table["m"].tolist() == list(range(3, 12)) and signal.n_repeats == 12 and not signal.notices
    assert signal.table["accuracy"].iloc[-1] > signal.table["accuracy"].iloc[0] > 3 / 9
    noise = recording_reliability(as_responses(*recorded(rng, 9, 12, 60, signal=0.0)[:2]), penalties=(1.0, 100.0))
    assert abs(noise.table["accuracy"].mean() - 1 / 9) < 0.05


def test_the_first_repetitions_are_used(rng):
    values, stimuli, _ = recorded(rng, 5, 14, 30)
    spoilt = values.copy()
    spoilt[5 * 12 :] = 99.0
    one, other = (recording_reliability(as_responses(v, stimuli), penalties=(1.0,)) for v in (values, spoilt))
    pd.testing.assert_frame_equal(one.folds, other.folds)


def test_fewer_repetitions_are_all_used_and_fewer_than_four_are_skipped(rng):
    values, stimuli, _ = recorded(rng, 5, 6, 30)
    values[:, 4], values[3, 7] = 2.0, np.nan
    found = recording_reliability(as_responses(values, stimuli), penalties=(1.0,))
    assert found.table["m"].tolist() == [3, 4, 5] and len(found.folds) == 18
    assert "1 voxels are not finite" in found.notices[0] and "6 repetitions instead of 12" in found.notices[1]
    kept = np.arange(30)[(stimuli != "s002") | (np.arange(30) < 15)]
    skipped = recording_reliability(as_responses(values[kept], stimuli[kept]))
    assert skipped.skipped and "s002 has 3" in skipped.reason
    assert "1 test stimuli" in recording_reliability(as_responses(values[:1], stimuli[:1])).reason


def test_of_equal_penalties_the_larger_is_chosen(rng):
    samples = np.tile(10 * np.eye(4), (5, 1, 1)) + 0.01 * rng.normal(size=(5, 4, 4))
    assert choose_penalty(samples, (1e-2, 1.0, 1e-1)) == 1.0
