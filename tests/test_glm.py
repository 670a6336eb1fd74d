"""The estimates of the GLM against a naive version and against nilearn, on small and on real data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from glm_runs import N_VOLUMES, N_VOXELS, TR, events_table, naive, nilearns_name, recorded, small_design

from hyper_bids.errors import InconsistentInput
from hyper_bids.glm import fit, products
from hyper_bids.glm.columns import run_columns
from hyper_bids.glm.design import RunDesign, run_design
from hyper_bids.glm.fit import accumulate, estimate
from hyper_bids.glm.hrf import HRFS
from hyper_bids.glm.tails import exact_z
from hyper_bids.inputs.confounds import read_confounds
from hyper_bids.inputs.volumes import masked_blocks, read_header, read_mask


@pytest.fixture
def design(rng):
    return small_design(rng)


def nilearns_z(Y, events, labels, wanted, hrf, noise_model, delays=None):
    """z of one condition in nilearn's own design, fitted by nilearn."""
    from nilearn.glm.contrasts import compute_contrast
    from nilearn.glm.first_level import make_first_level_design_matrix, run_glm

    table = events.assign(trial_type=labels)[["onset", "duration", "trial_type"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        design = make_first_level_design_matrix(
            np.arange(len(Y)) * TR, table, hrf_model=nilearns_name(hrf), high_pass=1 / 128, fir_delays=delays
        )
        found, results = run_glm(Y.astype(float), design.to_numpy(), noise_model=noise_model)
    if delays is None:
        contrast = (design.columns == wanted).astype(float)
    else:
        inside = [delay for delay in delays if 4.0 <= delay * TR < 8.0]
        contrast = np.isin(design.columns, [f"{wanted}_delay_{delay}" for delay in inside]) / len(inside)
    made = compute_contrast(found, results, contrast, "t")
    return made.effect.ravel(), made.stat(), exact_z(made.stat(), results[found[0]].df_residuals)


@pytest.mark.parametrize("noise_model", ["ols", "ar1"])
@pytest.mark.parametrize("mode", ["lsa", "lss"])
@pytest.mark.parametrize("hrf", HRFS)
def test_every_hrf_and_noise_model_equals_nilearn(rng, hrf, mode, noise_model):
    """Autocorrelated noise, whole models built and fitted by nilearn; float64 data, so what differs is the method."""
    n = 3 if hrf == "fir" and mode == "lsa" else 7
    events = events_table(rng, n=n, spacing=20.0)
    design = run_design(events, N_VOLUMES, TR, hrf=hrf)
    noise = rng.normal(0, 2, (N_VOLUMES, N_VOXELS))
    for volume in range(1, N_VOLUMES):
        noise[volume] += 0.4 * noise[volume - 1]
    beta = rng.normal(0, 3, (design.matrix.shape[1], N_VOXELS))
    Y = (800 + design.matrix @ beta + noise).astype(np.float32)
    got = estimate(accumulate([Y[:31], Y[31:]], design, noise_model=noise_model), design, mode, noise_model=noise_model)
    delays = list(range(design.n_basis)) if hrf == "fir" else None
    for trial in (0, n - 1):
        labels = [f"t{k}" if mode == "lsa" or k == trial else "rest" for k in range(n)]
        _, _, theirs = nilearns_z(Y, events, labels, f"t{trial}", hrf, noise_model, delays)
        difference = np.abs(got.values[trial] - theirs)
        # nilearn cuts rho to hundredths: a voxel on the edge of a bin may fall to either side.
        assert np.sort(difference)[-2 if noise_model == "ar1" else -1] < 2e-4


def test_ar1_from_sums_equals_whitening_the_data(rng, design):
    Y = recorded(rng, design)
    got = estimate(accumulate([Y], design, noise_model="ar1"), design, "lsa", response="t", noise_model="ar1").values
    X = design.matrix
    residual = Y - X @ np.linalg.lstsq(X, Y.astype(float), rcond=None)[0]
    rho = (residual[1:] * residual[:-1]).sum(0) / (residual**2).sum(0) * N_VOLUMES / (N_VOLUMES - 1)
    for voxel in range(0, N_VOXELS, 4):
        cut = int(rho[voxel] * 100) / 100
        whiten = np.eye(N_VOLUMES) - cut * np.eye(N_VOLUMES, k=-1)
        _, t, _ = naive(whiten @ X, 3, (whiten @ Y.astype(float))[:, [voxel]])
        assert got[3, voxel] == pytest.approx(t[0], abs=2e-4)


@pytest.mark.parametrize("mode", ["lsa", "lss"])
def test_ar1_of_every_trial_equals_whitening_the_data(rng, design, mode):
    """Every trial's own model, rho from its own residuals, by whitening of the data in float64."""
    Y = recorded(rng, design)
    Y[1:] += 0.3 * (Y[:-1] - Y.mean(axis=0))
    got = estimate(accumulate([Y], design, noise_model="ar1"), design, mode, response="t", noise_model="ar1").values
    off = 0
    for trial in range(design.n_trials):
        rest = np.delete(design.trials, trial, axis=1)
        rest = rest if mode == "lsa" else rest.sum(axis=1, keepdims=True)
        X = np.hstack([design.trials[:, [trial]], rest, design.nuisance])
        residual = Y - X @ np.linalg.lstsq(X, Y.astype(float), rcond=None)[0]
        rho = (residual[1:] * residual[:-1]).sum(0) / (residual**2).sum(0) * N_VOLUMES / (N_VOLUMES - 1)
        for voxel in range(0, N_VOXELS, 6):
            whiten = np.eye(N_VOLUMES) - int(rho[voxel] * 100) / 100 * np.eye(N_VOLUMES, k=-1)
            _, t, _ = naive(whiten @ X, 0, (whiten @ Y.astype(float))[:, [voxel]])
            off += not np.isclose(got[trial, voxel], t[0], atol=2e-5, rtol=2e-6)
    assert off == 0


@pytest.mark.parametrize("response", ["beta", "t", "z"])
def test_lsa_equals_the_textbook(rng, design, response):
    Y = recorded(rng, design)
    got = estimate(accumulate([Y[:40], Y[40:]], design), design, "lsa", response=response)
    for trial in (0, 5, 13):
        beta, t, dof = naive(design.matrix, trial, Y.astype(float))
        wanted = {"beta": 100 * beta / Y.mean(axis=0), "t": t, "z": exact_z(t, dof)}[response]
        np.testing.assert_allclose(got.values[trial], wanted, rtol=2e-5, atol=2e-5)
        assert got.dof[trial] == dof


@pytest.mark.parametrize("rest", ["one", "condition"])
def test_lss_equals_one_model_per_trial(rng, design, rest):
    Y = recorded(rng, design)
    got = estimate(accumulate([Y], design), design, "lss", rest=rest)
    kinds = np.array(design.conditions) if rest == "condition" else np.full(14, "all")
    for trial in range(14):
        others = [
            design.trials[:, (kinds == kind) & (np.arange(14) != trial)].sum(axis=1) for kind in dict.fromkeys(kinds)
        ]
        model = np.column_stack([design.trials[:, trial], *others, design.nuisance])
        _, t, dof = naive(model, 0, Y.astype(float))
        np.testing.assert_allclose(got.values[trial], exact_z(t, dof), atol=3e-5)
        assert got.dof[trial] == dof


def test_the_estimate_does_not_depend_on_the_blocks(rng, design):
    Y = recorded(rng, design)
    whole = estimate(accumulate([Y], design), design, "lsa").values
    parts = estimate(accumulate(np.array_split(Y, 13), design), design, "lsa").values
    np.testing.assert_allclose(whole, parts, atol=1e-4)


@pytest.mark.parametrize("noise_model", ["ols", "ar1"])
@pytest.mark.parametrize("mode", ["lsa", "lss"])
def test_the_estimate_does_not_depend_on_tiles_and_steps(rng, design, mode, noise_model, monkeypatch):
    Y = recorded(rng, design)

    def fitted():
        sums = accumulate([Y[:50], Y[50:]], design, noise_model=noise_model, dtype=np.float32)
        return estimate(sums, design, mode, noise_model=noise_model).values

    whole = fitted()
    for module, name, value in ((products, "TILE", 11), (products, "STEP", 7), (fit, "HANDED_ON", 10)):
        monkeypatch.setattr(module, name, value)
    for name in ("TILE", "AT_ONCE"):
        monkeypatch.setattr(fit, name, 3)
    np.testing.assert_allclose(fitted(), whole, atol=2e-5)


def test_projections_are_those_on_the_basis(rng, design, monkeypatch):
    monkeypatch.setattr(products, "TILE", 5)
    Y = recorded(rng, design)
    sums = accumulate([Y[:50], Y[50:]], design, noise_model="ar1")
    basis = sums.basis
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
    fitted = basis @ sums.projected[:, 3:19]
    wanted = basis @ (basis.T @ Y[:, 3:19].astype(float))
    np.testing.assert_allclose(fitted - fitted.mean(axis=0), wanted - wanted.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(sums.mean, Y.mean(axis=0, dtype=float), rtol=1e-12)
    assert sums.projected[:, :].shape == (basis.shape[1], N_VOXELS)


def crowded(rng, spacing):
    """Trials that nearly explain each other."""
    return run_design(events_table(rng, n=14, spacing=spacing).assign(duration=0.0), N_VOLUMES, TR)


@pytest.mark.parametrize("noise_model", ["ols", "ar1"])
def test_trials_that_nearly_explain_each_other(rng, noise_model):
    """Sums against the regressors themselves would lose digits; a basis of them is taken instead."""
    design = crowded(rng, 0.3)
    assert run_columns(design).n_events == 0
    Y = recorded(rng, design)
    got = estimate(accumulate([Y], design, noise_model=noise_model), design, "lss", noise_model=noise_model).values
    for trial in (0, 7, 13):
        rest = np.delete(design.trials, trial, axis=1).sum(axis=1)
        model = np.column_stack([design.trials[:, trial], rest, design.nuisance])
        if noise_model == "ar1":
            for voxel in (3, 11):
                assert got[trial, voxel] == pytest.approx(whitened_z(model, Y[:, [voxel]]), abs=1e-4)
            continue
        _, t, dof = naive(model, 0, Y.astype(float))
        np.testing.assert_allclose(got[trial], exact_z(t, dof), atol=3e-5)


def whitened_z(model, y):
    """z of a model's first column with AR(1) noise, one voxel, by whitening."""
    residual = y - model @ np.linalg.lstsq(model, y.astype(float), rcond=None)[0]
    rho = (residual[1:] * residual[:-1]).sum() / (residual**2).sum() * len(y) / (len(y) - 1)
    whiten = np.eye(len(y)) - int(rho * 100) / 100 * np.eye(len(y), k=-1)
    _, t, dof = naive(whiten @ model, 0, whiten @ y.astype(float))
    return exact_z(t, dof)[0]


def test_a_trial_that_is_there_twice_shares_its_response(rng, design):
    """Columns that depend on each other: the model's fit and degrees of freedom are those without the copy."""
    trials = np.column_stack([design.trials, design.trials[:, 3]])
    weights, rows = np.vstack([design.weights, design.weights[:1]]), np.append(design.trial_rows, 14)
    double = RunDesign(
        trials, design.nuisance, rows, weights, (*design.conditions, "train"), design.nuisance_names,
        design.frame_times,
    )  # fmt: skip
    Y = recorded(rng, design)
    got, once = (estimate(accumulate([Y], d), d, "lsa", response="beta") for d in (double, design))
    np.testing.assert_array_equal(got.dof[:14], once.dof)
    np.testing.assert_allclose(np.delete(got.values, [3, 14], axis=0), np.delete(once.values, 3, axis=0), rtol=1e-4)
    np.testing.assert_allclose(got.values[3] + got.values[14], once.values[3], rtol=1e-4)


@pytest.mark.parametrize("noise_model", ["ols", "ar1"])
@pytest.mark.parametrize("mode", ["lsa", "lss"])
def test_voxels_that_the_model_nearly_explains_keep_their_digits(rng, design, mode, noise_model):
    """Drift and motion of 0.999 of the variance: what is left must not be rounding."""
    Y = recorded(rng, design)
    slow = design.nuisance[:, :-1] @ rng.normal(0, 1, (design.nuisance.shape[1] - 1, N_VOXELS))
    Y += (slow * (31 * Y.std(axis=0) / slow.std(axis=0))).astype(np.float32)
    sums = accumulate([Y], design, noise_model=noise_model, dtype=np.float32)
    got = estimate(sums, design, mode, noise_model=noise_model).values
    for trial in (0, 5, 13):
        rest = np.delete(design.trials, trial, axis=1)
        rest = rest if mode == "lsa" else rest.sum(axis=1, keepdims=True)
        X = np.hstack([design.trials[:, [trial]], rest, design.nuisance])
        if noise_model == "ar1":
            wanted = np.array([whitened_z(X, Y[:, [voxel]]) for voxel in range(N_VOXELS)])
        else:
            _, t, dof = naive(X, 0, Y.astype(float))
            wanted = exact_z(t, dof)
        np.testing.assert_allclose(got[trial], wanted, atol=1e-4)


def test_a_design_that_explains_everything_gives_back_its_betas(rng, design):
    beta = rng.normal(0, 3, (design.matrix.shape[1], N_VOXELS))
    beta[-1] = 1000
    Y = (design.matrix @ beta).astype(np.float32)
    products = accumulate([Y], design)
    got = estimate(products, design, "lsa", response="beta").values
    np.testing.assert_allclose(got * Y.mean(axis=0) / 100, beta[:14], atol=2e-2)
    assert np.isfinite(estimate(products, design, "lsa").values).all()


def test_invalid_voxels_are_marked_and_leave_the_others_alone(rng, design):
    Y = recorded(rng, design)
    clean = estimate(accumulate([Y], design), design, "lsa").values
    Y[3, 2], Y[:, 7], Y[0, 9] = np.nan, 1013.1, np.inf
    got = estimate(accumulate([Y], design), design, "lsa").values
    bad = np.isin(np.arange(N_VOXELS), [2, 7, 9])
    assert np.isnan(got[:, bad]).all()
    np.testing.assert_allclose(got[:, ~bad], clean[:, ~bad])


def test_a_wrong_number_of_volumes_is_an_error(rng, design):
    Y = recorded(rng, design)
    for wrong in (Y[:-1], np.vstack([Y, Y[:2]])):
        with pytest.raises(InconsistentInput, match=r"run-1: .* the design has 97 rows"):
            accumulate([wrong], design, "run-1")


def first_level_model(folder, name, label):
    """Everything nilearn needs for one run of a shared dataset."""
    prep = next(p for p in (folder / name / "derivatives").iterdir() if "prep" in p.name)
    bold = sorted(prep.rglob(f"*{label}_desc-preproc_bold.nii.gz"))[0]
    mask = sorted(prep.rglob(f"*{label}_desc-brain_mask.nii.gz"))[0]
    table = sorted(prep.rglob(f"*{label}_desc-confounds_timeseries.tsv"))[0]
    events = pd.read_csv(sorted((folder / name).rglob(f"sub-01*{label}_events.tsv"))[0], sep="\t")
    return bold, mask, table, events


@pytest.mark.parametrize(("name", "label", "tr"), [("haxby", "run-02", 2.5), ("sim_ds001761", "run-03", 2.0)])
@pytest.mark.parametrize("mode", ["lsa", "lss"])
def test_z_maps_equal_nilearns_first_level_model(shared_data, name, label, tr, mode):
    from nilearn.glm.first_level import FirstLevelModel

    bold, mask_path, table, events = first_level_model(shared_data, name, label)
    events = events[~events["trial_type"].isin(["Fix"])].reset_index(drop=True)
    events = events.assign(role="sample")
    mask, _ = read_mask(mask_path)
    n_volumes = read_header(bold).shape[3]
    confounds = read_confounds(table, "motion6", n_volumes).table
    design = run_design(events, n_volumes, tr, confounds=confounds)
    got = estimate(accumulate(masked_blocks(bold, mask), design), design, mode).values

    def nilearns(trial_types, contrast):
        model = FirstLevelModel(tr, hrf_model="spm", drift_model="cosine", high_pass=1 / 128, noise_model="ols",
                                slice_time_ref=0, mask_img=str(mask_path), minimize_memory=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(str(bold), events.assign(trial_type=trial_types)[["onset", "duration", "trial_type"]],
                      confounds=confounds)
            return model.masker_.transform(model.compute_contrast(contrast, output_type="z_score")).ravel()

    n = len(events)
    for trial in (0, n // 2, n - 1):
        if mode == "lsa":
            theirs = nilearns([f"t{k:03d}" for k in range(n)], f"t{trial:03d}")
        else:
            theirs = nilearns(["one" if k == trial else "rest" for k in range(n)], "one")
        assert np.abs(got[trial] - theirs).max() < 1e-4


def test_betas_of_noise_free_data_come_back(shared_data):
    truth = np.load(shared_data / "miyawaki/derivatives/truth/sub-01/func/sub-01_task-viewFigure_betas.npy")
    bold, mask_path, table, events = first_level_model(shared_data, "miyawaki", "ses-01_task-viewFigure_run-03")
    mask, _ = read_mask(mask_path)
    n_volumes = read_header(bold).shape[3]
    design = run_design(events.assign(role="sample"), n_volumes, 2.0,
                        confounds=read_confounds(table, "motion6", n_volumes).table)
    products = accumulate(masked_blocks(bold, mask), design)
    got = estimate(products, design, "lsa", response="beta").values
    wanted = truth[events["trial_id"].to_numpy()]
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.995
    assert np.isfinite(estimate(products, design, "lsa").values).all()
