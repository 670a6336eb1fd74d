"""Voxel selection: every rule against a naive version and a foreign one, and planted truth found again."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.decode.gain import gain_test
from hyper_bids.decode.select import (
    AllVoxels,
    Gain,
    Reliability,
    TopZ,
    Within,
    all_voxels,
    best,
    gain_from_maps,
)
from hyper_bids.errors import InconsistentInput
from hyper_bids.protocols import VoxelSelector

N_STIMULI, N_REPEATS, N_LATENTS = 31, 3, 4
KINDS = np.repeat(["tuned", "responsive", "null", "constant", "nan"], [13, 11, 17, 2, 1])


@pytest.fixture
def planted(rng):
    """31 stimuli shown 3 times; a voxel is tuned to latents, responds to all alike, or does neither."""
    latents = Latents(rng.normal(size=(N_STIMULI, N_LATENTS)), tuple(f"s{k}" for k in range(N_STIMULI)), "test")
    trials = pd.DataFrame({"stimulus_id": np.tile(latents.stimuli, N_REPEATS)})
    trials["run"] = np.repeat([f"run-{r}" for r in range(N_REPEATS)], N_STIMULI)
    direction = rng.normal(size=(N_LATENTS, len(KINDS)))
    tuned = (KINDS == "tuned") * 2 * direction / np.linalg.norm(direction, axis=0)
    values = latents.rows(trials["stimulus_id"]) @ tuned + rng.normal(size=(len(trials), len(KINDS)))
    values += 2.0 * np.isin(KINDS, ["tuned", "responsive"])
    values[:, KINDS == "constant"] = 3.7
    values[5, KINDS == "nan"] = np.nan
    return Responses(values, trials, VoxelGrid(np.ones((len(KINDS), 1, 1), bool), np.eye(4))), latents


RULES = {
    "top-z": TopZ(7),
    "all": all_voxels,
    "gain": Gain(p=0.3),
    "gain N": Gain(7),
    "reliability": Reliability(7, n_halves=5),
    "within": Within(TopZ(7), KINDS != "null"),
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_gives_a_mask_scores_and_what_they_are(name, planted):
    rule, (responses, latents) = RULES[name], planted
    mask, scores = rule(responses, latents), rule.scores(responses, latents)
    assert isinstance(rule, VoxelSelector) and rule.name and rule.units and isinstance(rule.uses_labels, bool)
    assert mask.shape == scores.shape == (len(KINDS),) and mask.dtype == bool and mask.any()
    if rule is not all_voxels:
        assert np.isfinite(scores[mask]).all()
        if name != "gain":  # with two thresholds a larger F is not enough
            assert scores[mask].min() >= np.nanmax(np.where(mask, -np.inf, scores)), "the best are chosen"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rule))(responses, latents), mask)


@pytest.mark.parametrize("name", RULES)
def test_what_a_rule_says_of_labels_is_so(name, planted, rng):
    """Exchanging stimuli changes the scores of rules that use labels, and of no other."""
    rule, (responses, latents) = RULES[name], planted
    trials = responses.trials.assign(stimulus_id=rng.permutation(responses.trials["stimulus_id"]))
    exchanged = rule.scores(Responses(responses.values, trials, responses.grid), latents)
    assert rule.uses_labels != np.array_equal(exchanged, rule.scores(responses, latents), equal_nan=True)


def test_planted_voxels_are_found(planted):
    responses, latents = planted
    tuned, responsive = KINDS == "tuned", KINDS == "responsive"
    assert set(np.flatnonzero(Gain(int(tuned.sum()))(responses, latents))) == set(np.flatnonzero(tuned))
    assert set(np.flatnonzero(Reliability(int(tuned.sum()))(responses, None))) == set(np.flatnonzero(tuned))
    loud = TopZ(int((tuned | responsive | (KINDS == "constant")).sum()))(responses, None)
    assert (tuned | responsive)[loud].sum() == (tuned | responsive).sum()
    by_threshold = Gain()(responses, latents)
    assert by_threshold[tuned].all() and by_threshold[~tuned].mean() < 0.2
    assert all_voxels(responses, None).all() and AllVoxels() == all_voxels


def test_ties_go_to_the_lower_index_and_scores_that_are_missing_are_never_best():
    scores = np.array([np.nan, 2.0, 5.0, 2.0, np.nan, 2.0])
    assert np.flatnonzero(best(scores, 3)).tolist() == [1, 2, 3]
    assert np.flatnonzero(best(scores, 99)).tolist() == [1, 2, 3, 5]


# --- gain -----------------------------------------------------------------------------------------


def test_gain_equals_two_nested_least_squares(planted):
    responses, latents = planted
    Y, Z = responses.values.astype(float), latents.rows(responses.trials["stimulus_id"]).astype(float)
    found, n = gain_test(Y, Z), len(Z)
    one = np.ones((n, 1))
    usable = np.isin(KINDS, ["tuned", "responsive", "null"])
    rss = [
        ((Y[:, usable] - M @ np.linalg.lstsq(M, Y[:, usable], rcond=None)[0]) ** 2).sum(axis=0)
        for M in (one, np.hstack([one, Z]))
    ]
    dof = n - 1 - N_LATENTS
    np.testing.assert_allclose(found.F[usable], (rss[0] - rss[1]) / N_LATENTS / (rss[1] / dof), rtol=1e-9)
    assert found.dof == (N_LATENTS, dof) and not found.notices
    theirs = stats.ttest_1samp(Y[:, usable], 0)
    np.testing.assert_allclose(found.t[usable], theirs.statistic, rtol=1e-9)
    assert found.dof_t == n - 1
    assert np.isnan(found.F[~usable]).all() and np.isnan(found.t[~usable]).all()


def test_gain_of_one_hot_latents_is_the_one_way_anova(planted):
    """Centred one-hot latents are dependent: the rank counts, and it is said."""
    responses, _ = planted
    Y, own = responses.values[:, :9], np.tile(np.arange(N_STIMULI), N_REPEATS)
    found = gain_test(Y, (np.eye(N_STIMULI) - 1 / N_STIMULI)[own].astype(np.float32))
    theirs = stats.f_oneway(*(Y[own == k].astype(float) for k in range(N_STIMULI)))
    np.testing.assert_allclose(found.F, theirs.statistic, rtol=1e-6)
    assert found.dof == (N_STIMULI - 1, len(Y) - N_STIMULI)
    assert f"span {N_STIMULI - 1} dimensions" in found.notices[0]


def test_gain_knows_no_units_of_latents_or_voxels(planted, rng):
    responses, latents = planted
    Y, Z = responses.values[:, KINDS != "nan"], latents.rows(responses.trials["stimulus_id"])
    mixed = Z @ rng.normal(size=(N_LATENTS, N_LATENTS)) * np.array([1e-3, 1, 1e5, 3]) + 40
    np.testing.assert_allclose(gain_test(Y, Z).F, gain_test(Y * 1e3, mixed).F, rtol=1e-4)


def test_gain_keeps_its_level_where_nothing_is_planted():
    """Under the null p is uniform, over 200 seeds and studies, each with latents and a voxel of its own."""
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = gain_test(rng.normal(size=(37, 1)), rng.normal(size=(37, 5)))
        p.append((stats.f.sf(found.F[0], *found.dof), stats.t.sf(found.t[0], found.dof_t)))
    for values in np.transpose(p):
        assert stats.kstest(values, "uniform").pvalue > 0.01


def test_gain_by_threshold_is_both_tests_and_by_number_the_best_f(planted):
    responses, latents = planted
    found = gain_test(responses.values, latents.rows(responses.trials["stimulus_id"]))
    maps = found.t, found.F, found.dof_t, found.dof
    both = (stats.t.sf(found.t, found.dof_t) < 0.05) & (stats.f.sf(found.F, *found.dof) < 0.05)
    np.testing.assert_array_equal(gain_from_maps(*maps)[0], both)
    np.testing.assert_array_equal(Gain()(responses, latents), both)
    grey = np.arange(len(KINDS)) % 2 == 0
    mask, scores = gain_from_maps(*maps, n_voxels=5, within=grey)
    assert set(np.flatnonzero(mask)) == set(np.argsort(-np.where(grey & ~np.isnan(found.F), found.F, -1))[:5])
    assert np.isnan(scores[~grey]).all()
    np.testing.assert_array_equal(Gain(5, within=grey)(responses, latents), mask)


@pytest.mark.parametrize(
    ("n_latents", "rows", "said"),
    [(N_LATENTS, 5, "fewer dimensions"), (N_STIMULI + 60, 40, "fewer dimensions"), (0, 40, "none of the 0"),
     (2, 2, "at least 3")],
)  # fmt: skip
def test_gain_needs_more_trials_than_latents(rng, n_latents, rows, said):
    with pytest.raises(InconsistentInput, match=said):
        gain_test(rng.normal(size=(rows, 3)), rng.normal(size=(rows, n_latents)))


def test_gain_says_why_nothing_is_selected(planted):
    responses, latents = planted
    null = np.isin(KINDS, ["null"])
    quiet = Responses(responses.values[:, null] - 9, responses.trials, responses.grid.within(null))
    with pytest.raises(InconsistentInput, match=r"of 17 voxels 0 respond .* --n-voxels"):
        Gain()(quiet, latents)
    constant = Latents(np.ones((N_STIMULI, 2)), latents.stimuli, "constant")
    with pytest.raises(InconsistentInput, match="none of the 2 latents varies"):
        Gain()(responses, constant)
    with pytest.raises(InconsistentInput, match="one grid"):
        Gain(within=np.ones(3, bool))(responses, latents)
    with pytest.raises(InconsistentInput, match="needs latents"):
        Gain()(responses, None)
    with pytest.raises(InconsistentInput, match="constant or not finite"):
        Gain(5, within=KINDS == "constant")(responses, latents)


# --- reliability, mask ----------------------------------------------------------------------------


def test_reliability_needs_repeats_and_leaves_out_and_counts_single_trials(planted):
    responses, _ = planted
    with pytest.raises(InconsistentInput, match=r"no stimulus is repeated.*--select top-z"):
        Reliability(5)(responses.of(np.arange(N_STIMULI)), None)
    with pytest.raises(InconsistentInput, match="only 2 stimuli are repeated"):
        Reliability(5)(responses.of(np.arange(N_STIMULI + 2)), None)
    found = Reliability(5).select(responses.of(np.arange(N_STIMULI + 12)), None)
    assert f"{N_STIMULI - 12} of {N_STIMULI} stimuli have one repeat" in found.notices[0]
    flat = Responses(np.ones_like(responses.values), responses.trials, responses.grid)
    with pytest.raises(InconsistentInput, match="no voxel's response varies"):
        Reliability(5)(flat, None)


def test_reliability_is_seeded(planted):
    responses, _ = planted
    one, same, other = (Reliability(5, 7, seed).scores(responses, None) for seed in (3, 3, 4))
    assert np.array_equal(one, same, equal_nan=True) and not np.array_equal(one, other, equal_nan=True)


def test_a_rule_within_a_mask_is_the_rule_on_those_voxels_alone(planted):
    responses, latents = planted
    inside = KINDS != "tuned"
    part = Responses(responses.values[:, inside], responses.trials, responses.grid.within(inside))
    for rule in (TopZ(6), Gain(6), Reliability(6, 5)):
        within = Within(rule, inside)
        np.testing.assert_array_equal(within(responses, latents)[inside], rule(part, latents))
        assert not within(responses, latents)[~inside].any()
        assert np.isnan(within.scores(responses, latents)[~inside]).all()
    with pytest.raises(InconsistentInput, match="no voxel"):
        Within(TopZ(6), np.zeros(5, bool))
    with pytest.raises(InconsistentInput, match="for a grid of"):
        Within(TopZ(6), np.ones(5, bool))(responses, latents)
