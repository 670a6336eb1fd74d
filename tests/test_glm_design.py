"""Designs of runs: regressors and drift against nilearn, what is modelled, and how well it can be estimated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from glm_runs import N_VOLUMES, TR, events_table, nilearns_name, small_design

from hyper_bids.errors import InconsistentInput
from hyper_bids.glm.design import RunDesign, cosine_drift, polynomial_drift, run_design
from hyper_bids.glm.diagnosis import check_rank, choose_mode, variance_inflation
from hyper_bids.glm.fit import trial_models
from hyper_bids.glm.hrf import HRFS, basis_regressors


@pytest.fixture
def design(rng):
    return small_design(rng)


@pytest.mark.parametrize("hrf", HRFS)
@pytest.mark.parametrize("tr", [0.8, 2.0, 2.5])
def test_regressors_equal_nilearns(rng, hrf, tr):
    from nilearn.glm.first_level.hemodynamic_models import compute_regressor, orthogonalize

    frame_times = np.arange(83) * tr
    onsets, durations = rng.uniform(-3, 80 * tr, 11), np.append(rng.uniform(0, 4, 10), 0.0)
    ours = basis_regressors(onsets, durations, frame_times, hrf)
    delays = list(range(ours.shape[2])) if hrf == "fir" else None
    for event in range(11):
        condition = (onsets[[event]], durations[[event]], np.ones(1))
        theirs = compute_regressor(condition, nilearns_name(hrf), frame_times, fir_delays=delays)[0]
        mine = ours[:, event].copy()
        np.testing.assert_allclose(mine if hrf == "fir" else orthogonalize(mine), theirs, atol=1e-12)


@pytest.mark.parametrize("hrf", ["spm+derivative", "fir"])
def test_variance_inflation_of_several_basis_functions(rng, hrf):
    design = run_design(events_table(rng, n=4, spacing=25.0), N_VOLUMES, TR, hrf=hrf)
    X, b = design.matrix, design.n_basis
    for trial in (0, 3):
        contrast = np.zeros(X.shape[1])
        contrast[trial * b : (trial + 1) * b] = design.weights[trial]
        own = X[:, trial * b : (trial + 1) * b]
        own = own - own.mean(axis=0)
        alone = design.weights[trial] @ np.linalg.inv(own.T @ own) @ design.weights[trial]
        wanted = contrast @ np.linalg.inv(X.T @ X) @ contrast / alone
        assert variance_inflation(design)[trial] == pytest.approx(wanted, rel=1e-6)


def test_polynomial_drift_spans_nilearns():
    from nilearn.glm.first_level import make_first_level_design_matrix

    theirs = make_first_level_design_matrix(np.arange(61) * TR, drift_model="polynomial", drift_order=4).to_numpy()
    ours = polynomial_drift(61, 4)
    assert np.linalg.matrix_rank(np.hstack([ours, theirs])) == 5 == ours.shape[1]


def test_drift_equals_nilearns():
    from nilearn.glm.first_level import make_first_level_design_matrix

    theirs = make_first_level_design_matrix(np.arange(131) * TR, drift_model="cosine", high_pass=1 / 100)
    np.testing.assert_allclose(cosine_drift(131, TR, 100.0), theirs.to_numpy(), atol=1e-12)


def test_baseline_is_not_modelled_and_ignored_types_are_one_regressor_each(rng):
    events = events_table(rng)
    events["role"] = ["baseline", "ignore", "drop", "ignore"] + ["sample"] * 10
    events["trial_type"] = ["fix", "cue", "train", "imagery"] + ["train"] * 10
    got = run_design(events, N_VOLUMES, TR)
    assert got.nuisance_names[:3] == ("cue", "imagery", "dropped")
    assert list(got.trial_rows) == list(range(4, 14))
    without = run_design(events[events["role"] != "baseline"], N_VOLUMES, TR)
    np.testing.assert_array_equal(got.matrix, without.matrix)


def test_a_trial_after_the_end_is_reported_and_not_used(rng):
    events = events_table(rng)
    events.loc[13, "onset"] = N_VOLUMES * TR + 30
    got = run_design(events, N_VOLUMES, TR, label="run-2")
    assert 13 not in got.trial_rows and len(got.trial_rows) == 13
    assert "run-2: 1 trial whose response lies outside" in got.notices[0]
    events["onset"] += 1e4
    with pytest.raises(InconsistentInput, match="14 of its 14 trials lie outside the run"):
        run_design(events, N_VOLUMES, TR)


def test_short_and_long_events_of_one_run_are_all_used(rng):
    events = events_table(rng, n=10, spacing=14.0)
    events["duration"] = [20.0, 0.0] * 5
    assert len(run_design(events, N_VOLUMES, TR).trial_rows) == 10


def test_a_trial_cut_off_by_the_end_is_kept_while_its_response_shows(rng):
    events = events_table(rng)
    end = (N_VOLUMES - 1) * TR
    events.loc[13, "onset"] = end - 5.0
    assert 13 in run_design(events, N_VOLUMES, TR).trial_rows
    events.loc[13, "onset"] = end - 1.5
    assert 13 not in run_design(events, N_VOLUMES, TR).trial_rows


def test_a_sample_that_is_listed_as_an_ignored_event_too_is_refused(rng):
    events = events_table(rng)
    double = events.iloc[[4]].assign(role="ignore", trial_type="cue")
    design = run_design(pd.concat([events, double], ignore_index=True), N_VOLUMES, TR)
    with pytest.raises(InconsistentInput, match=r"trial 5 of the run.*listed twice"):
        check_rank(design, "lss", "run-1")


def test_no_degrees_of_freedom_is_an_error(rng):
    events = pd.DataFrame({"onset": 1.0 + 3 * np.arange(20), "duration": 0.0, "role": "sample"})
    design = run_design(events.assign(trial_type=[f"kind{k}" for k in range(20)]), 20, 4.0)
    with pytest.raises(InconsistentInput, match="no degrees of freedom"):
        trial_models(design, "lss", "condition")
    assert (trial_models(design, "lss", "one").dof == 20 - 2 - design.nuisance.shape[1]).all()


def test_dummy_scans_leave_the_clock_alone(rng):
    events = events_table(rng)
    whole, short = run_design(events, N_VOLUMES, TR), run_design(events, N_VOLUMES, TR, dummy_scans=4)
    np.testing.assert_allclose(short.trials, whole.trials[4:], atol=2e-2)


def test_variance_inflation_equals_its_definition(rng, design):
    matrix = design.matrix
    for trial in (0, 6):
        others = np.delete(matrix, trial, axis=1)
        x = matrix[:, trial]
        residual = x - others @ np.linalg.lstsq(others, x, rcond=None)[0]
        wanted = ((x - x.mean()) ** 2).sum() / (residual**2).sum()
        assert variance_inflation(design)[trial] == pytest.approx(wanted, rel=1e-6)


def test_auto_takes_lsa_with_rest_and_lss_back_to_back(rng):
    rested = run_design(events_table(rng, n=12, spacing=12.0), N_VOLUMES, TR)
    crowded = run_design(events_table(rng, n=36, spacing=4.4, duration=1.5), N_VOLUMES, TR)
    assert choose_mode("auto", [rested])[0] == "lsa"
    assert choose_mode("auto", [crowded])[0] == "lss"
    assert choose_mode("lsa", [crowded])[0] == "lsa"


def test_a_rank_deficient_design_names_its_columns(rng, design):
    double = RunDesign(
        design.trials,
        np.column_stack([design.nuisance, 2 * design.nuisance[:, 1]]),
        design.trial_rows,
        design.weights,
        design.conditions,
        (*design.nuisance_names, "copied"),
        design.frame_times,
    )
    with pytest.raises(InconsistentInput, match=r"rank-deficient.*(copied|rot_z)"):
        check_rank(double, "lss", "run-1")
    assert check_rank(design, "lsa", "run-1") == design.matrix.shape[1]
