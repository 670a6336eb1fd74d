"""The parametric model over all runs, against least squares on the stacked runs and against nilearn."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hyper_bids.data import Latents
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.glm.parametric import solve
from hyper_bids.glm.parametric_design import parametric_design, shared_model
from hyper_bids.glm.parametric_sums import Accumulator, merge
from hyper_bids.inputs.volumes import masked_blocks, read_mask

K, N_VOXELS, N_FACES, TR = 5, 23, 61, 1.9
N_VOLUMES = (131, 118, 143)


def events_table(rng, number, n_events=70, kinds="ababcabdtfibafatd"):
    """Train faces (letters a to c), test faces (t), dropped rows (d), imagery (i), fixation (f), in a random order."""
    letters = rng.permutation([kinds[k % len(kinds)] for k in range(n_events)])
    rows = []
    for k, letter in enumerate(letters):
        train, test = letter in "abc", letter == "t"
        role = "sample" if train or test else {"d": "drop", "i": "ignore", "f": "baseline"}[letter]
        split = "train" if train else "test" if test else ""
        kind = {"d": "face", "i": "imagery", "f": "fixation"}.get(letter, "face")
        stimulus = f"{letter}{rng.integers(N_FACES)}" if train else f"t{(k + number) % 3}" if test else ""
        rows.append((3.0 + 2.9 * k + rng.uniform(0, 0.4), 1.3, kind, role, split, stimulus))
    return pd.DataFrame(rows, columns=["onset", "duration", "trial_type", "role", "split", "stimulus_id"])


def faces(rng, n_latents=K):
    names = tuple(f"{letter}{k}" for letter in "abc" for k in range(N_FACES))
    values = rng.normal(size=(len(names), n_latents)) @ (np.eye(n_latents) + 0.4) + 0.7
    return Latents(values, names, "toy")


def designs(rng, latents, tables, **options):
    model = shared_model(tables, latents)
    motion = [pd.DataFrame(rng.normal(size=(n, 2)), columns=["trans_x", "rot_z"]) for n in N_VOLUMES]
    return [
        parametric_design(table, model, n, TR, confounds=confounds, label=f"run-{k}", **options)
        for k, (table, n, confounds) in enumerate(zip(tables, N_VOLUMES, motion, strict=True))
    ]


@pytest.fixture
def study(rng):
    """Designs of three runs and their volumes, with a mean that is large and differs between runs."""
    runs = designs(rng, faces(rng), [events_table(rng, k) for k in range(3)])
    beta = rng.normal(0, 2, (len(runs[0].names), N_VOXELS))
    data = []
    for run in runs:
        own = rng.normal(0, 5, (run.nuisance.shape[1], N_VOXELS))
        noise = rng.normal(0, 3, (len(run.matrix), N_VOXELS))
        mean = rng.uniform(400, 900, N_VOXELS)
        data.append((mean + run.matrix @ beta + run.nuisance @ own + noise).astype(np.float32))
    return runs, data, beta


def blocks(volumes, size=32):
    return (volumes[start : start + size] for start in range(0, len(volumes), size))


def accumulated(runs, data, block=32, percent=False, first=0):
    sums = Accumulator(runs[0].names, runs[0].mu, data[0].shape[1], percent=percent)
    for k, (run, volumes) in enumerate(zip(runs, data, strict=True)):
        sums.add(blocks(volumes, block), run, f"run-{first + k}")
    return sums


def stacked(runs):
    """One design for all runs: shared regressors, then each run's nuisance in columns of its own."""
    width = [run.nuisance.shape[1] for run in runs]
    rows = []
    for k, run in enumerate(runs):
        beside = [run.nuisance if j == k else np.zeros((len(run.nuisance), n)) for j, n in enumerate(width)]
        rows.append(np.hstack([run.matrix, *beside]))
    return np.vstack(rows)


def textbook(X, Y, rows):
    """Contrast values, their t, residual sum of squares and degrees of freedom by float64 least squares."""
    beta = np.linalg.lstsq(X, Y, rcond=None)[0]
    rss = ((Y - X @ beta) ** 2).sum(axis=0)
    dof = len(X) - np.linalg.matrix_rank(X)
    inverse = rows @ np.linalg.pinv(X)
    return rows @ beta, (rows @ beta) / np.sqrt(rss / dof * (inverse**2).sum(axis=1)[:, None]), rss, dof


def contrast_rows(names, width):
    """Rows of W in a design of ``width`` columns of which the shared ones come first."""
    rows = np.eye(width)[len(names) - K : len(names)]
    face = np.eye(width)[names.index("train")] - np.eye(width)[names.index("baseline_fixation")]
    return np.vstack([rows, face])


@pytest.mark.parametrize("percent", [False, True])
def test_equals_least_squares_on_the_stacked_runs(study, percent):
    runs, data, _ = study
    found = solve(accumulated(runs, data, percent=percent))
    X, names = stacked(runs), runs[0].names
    Y = np.vstack([100 * y / y.mean(axis=0, dtype=float) if percent else y.astype(float) for y in data])
    weights, t, rss, dof = textbook(X, Y, contrast_rows(names, X.shape[1]))
    assert found.dof == dof
    np.testing.assert_allclose(found.weights, weights, atol=1e-4 * np.abs(weights).max())
    np.testing.assert_allclose(found.t, t, atol=1e-4)
    np.testing.assert_allclose(found.residual_full, rss, rtol=1e-5)
    tests = np.array([[float(name == f"test_t{k}") for name in names] for k in range(3)])
    tests -= np.array([float(name == "baseline_fixation") for name in names])
    patterns = textbook(X, Y, np.pad(tests, ((0, 0), (0, X.shape[1] - len(names)))))[0]
    np.testing.assert_allclose(found.patterns, patterns, atol=1e-4 * np.abs(patterns).max())
    assert found.test_stimuli == ("t0", "t1", "t2")


def test_the_latents_gain_is_that_of_two_nested_models(study):
    runs, data, _ = study
    found = solve(accumulated(runs, data))
    X, Y, n = stacked(runs), np.vstack(data).astype(float), len(runs[0].names)
    rows = np.ones((1, X.shape[1]))
    full, dof = textbook(X, Y, rows)[2:]
    face = textbook(np.delete(X, range(n - K, n), axis=1), Y, rows[:, K:])[2]
    total = textbook(X[:, n:], Y, rows[:, n:])[2]
    f = ((face - full) / K) / (full / dof)
    np.testing.assert_allclose(found.f, f, rtol=1e-4)
    np.testing.assert_allclose(found.f_p, stats.f.sf(f, K, dof), rtol=1e-2)
    np.testing.assert_allclose(found.r2_full, 1 - full / total, rtol=1e-4)
    np.testing.assert_allclose(found.r2_face, 1 - face / total, rtol=1e-4)
    np.testing.assert_allclose(found.face_p, stats.t.sf(found.t[-1].astype(float), dof), rtol=1e-4)


def test_t_equals_nilearns(study):
    from nilearn.glm.contrasts import compute_contrast
    from nilearn.glm.first_level import run_glm

    runs, data, _ = study
    found = solve(accumulated(runs, data))
    X = stacked(runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels, results = run_glm(np.vstack(data).astype(float), X, noise_model="ols")
        for row, contrast in enumerate(contrast_rows(runs[0].names, X.shape[1])):
            t = compute_contrast(labels, results, contrast, stat_type="t").stat()
            np.testing.assert_allclose(found.t[row], np.ravel(t), atol=1e-4)


def test_mixed_events_are_the_modulated_events_convolved(study, rng):
    """nilearn's own parametric modulation: one condition per regressor, amplitudes the centred latents."""
    from nilearn.glm.first_level import compute_regressor

    latents, table = faces(rng), events_table(rng, 0)
    run = parametric_design(table, shared_model([table], latents), N_VOLUMES[0], TR)
    train = table[table["split"] == "train"]
    values = latents.rows(train["stimulus_id"].tolist()).astype(float)
    centred = values - values.mean(axis=0)
    for k in range(K):
        condition = np.vstack([train["onset"], train["duration"], centred[:, k]])
        theirs = compute_regressor(condition, "spm", TR * np.arange(N_VOLUMES[0]))[0][:, 0]
        np.testing.assert_allclose(run.matrix[:, run.names.index(f"latent_{k:04d}")], theirs, atol=1e-9)
    np.testing.assert_allclose(run.mu, values.mean(axis=0))


def test_planted_weights_are_recovered_without_noise(study, rng):
    runs, _, beta = study
    names = runs[0].names
    data = [(100 + run.matrix @ beta + run.nuisance @ np.ones((run.nuisance.shape[1], 1))) for run in runs]
    found = solve(accumulated(runs, [y.astype(np.float32) for y in data]))
    fixation = beta[names.index("baseline_fixation")]
    planted = np.vstack([beta[-K:], beta[names.index("train")] - fixation])
    np.testing.assert_allclose(found.weights, planted, atol=2e-4)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_do_not_matter(study, block):
    runs, data, _ = study
    np.testing.assert_allclose(solve(accumulated(runs, data, block)).t, solve(accumulated(runs, data)).t, atol=1e-4)


def test_merged_sums_are_one_sum_and_survive_a_file(study, tmp_path):
    runs, data, _ = study
    one = accumulated(runs, data)
    np.savez(tmp_path / "sums.npz", **accumulated(runs[1:], data[1:], first=1).state())
    with np.load(tmp_path / "sums.npz", allow_pickle=False) as file:
        later = Accumulator.from_state(dict(file))
    later.valid[7] = False
    merged = merge(accumulated(runs[:1], data[:1]), later)
    np.testing.assert_array_equal(np.flatnonzero(~merged.valid), [7])
    np.testing.assert_allclose(merged.sizes, one.sizes)
    merged.valid[7] = True
    assert merged.labels == one.labels and merged.dof == one.dof and merged.n_train == one.n_train
    np.testing.assert_allclose(merged.products, one.products, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(solve(merged).t, solve(one).t, atol=1e-4)
    with pytest.raises(InconsistentInput, match="run-1, run-2: already added"):
        merge(merged, later)


@pytest.mark.parametrize(("size", "usable"), [(100, True), (3000, False)])
def test_large_nuisance_is_projected_out_or_the_voxel_given_up(study, rng, size, usable):
    """Noise of sd 3 under drift and motion of that size: float32 holds the one, not the other."""
    runs, _, _ = study
    slow = [run.nuisance / np.abs(run.nuisance).max(axis=0) for run in runs]
    data = [600 + size * x @ rng.choice([-1, 1], (x.shape[1], N_VOXELS)) + rng.normal(0, 3, (len(x), 1)) for x in slow]
    data = [y.astype(np.float32) for y in data]
    found, X = solve(accumulated(runs, data)), stacked(runs)
    if not usable:
        assert np.isnan(found.weights).all()
        return
    t = textbook(X, np.vstack(data).astype(float), contrast_rows(runs[0].names, X.shape[1]))[1]
    np.testing.assert_allclose(found.t, t, atol=1e-5)


def test_sums_of_other_models_or_masks_are_refused(study, rng):
    runs, data, _ = study
    sums = accumulated(runs, data)
    other = designs(rng, faces(rng), [events_table(rng, k) for k in range(3)])
    with pytest.raises(InconsistentInput, match="centre mu"):
        sums.add(blocks(data[0]), other[0], "run-9")
    with pytest.raises(InconsistentInput, match="22 voxels were read, the other runs have 23"):
        sums.add(blocks(data[0][:, 1:]), runs[0], "run-9")
    with pytest.raises(InconsistentInput, match="percent"):
        merge(sums, accumulated(runs[:1], data[:1], percent=True, first=9))
    with pytest.raises(InconsistentInput, match="130 volumes were read but the design has 131 rows"):
        sums.add(blocks(data[0][1:]), runs[0], "run-9")


def test_bad_voxels_are_nan_and_leave_the_others_alone(study):
    runs, data, _ = study
    clean = solve(accumulated(runs, data))
    data = [y.copy() for y in data]
    data[1][17, 3], data[0][5, 11], data[2][:, 20] = np.nan, np.inf, 77.0
    for percent in (False, True):
        found = solve(accumulated(runs, data, percent=percent))
        bad = np.isin(np.arange(N_VOXELS), [3, 11, 20])
        for values in (found.weights, found.patterns, found.t, found.f[None], found.f_p[None], found.r2_full[None]):
            assert np.isnan(values[:, bad]).all() and np.isfinite(values[:, ~bad]).all()
    found = solve(accumulated(runs, data))
    np.testing.assert_array_equal(found.weights[:, ~bad], clean.weights[:, ~bad])


@pytest.mark.parametrize(("own", "warned"), [(1e-2, False), (1e-4, True)])
def test_the_error_of_float32_sums_grows_with_the_condition_number(rng, own, warned):
    """t differs from float64 least squares by less than 2e-6 x condition, also where latents are correlated."""
    latents = faces(rng)
    values = latents.values.astype(float)
    values[:, 4] = values[:, 0] + values[:, 1] + own * values[:, 4]
    runs = designs(rng, Latents(values, latents.stimuli, "toy"), [events_table(rng, k) for k in range(3)])
    data = [rng.normal(600, 5, (len(run.matrix), N_VOXELS)).astype(np.float32) for run in runs]
    found = solve(accumulated(runs, data))
    X = stacked(runs)
    t = textbook(X, np.vstack(data).astype(float), contrast_rows(runs[0].names, X.shape[1]))[1]
    assert found.condition > 1 / own
    assert np.abs(found.t - t).max() < 2e-6 * found.condition
    assert any("nearly collinear" in notice for notice in found.notices) == warned


def test_a_run_without_events_adds_only_noise_and_freedom(study, rng):
    data = study[1]
    table = events_table(rng, 0).iloc[:0]
    model = shared_model([events_table(rng, 1)], faces(rng))
    empty = parametric_design(table, model, N_VOLUMES[0], TR)
    sums = Accumulator(empty.names, empty.mu, N_VOXELS)
    sums.add(blocks(data[0]), empty, "rest")
    assert not sums.gram.any() and not sums.products.any() and sums.n_train == 0
    residual = data[0] - empty.nuisance @ np.linalg.lstsq(empty.nuisance, data[0].astype(float), rcond=None)[0]
    np.testing.assert_allclose(sums.squares, (residual**2).sum(axis=0), rtol=1e-4)
    assert sums.dof == N_VOLUMES[0] - empty.nuisance.shape[1]


def test_rank_deficiency_names_the_regressors(rng):
    latents = faces(rng)
    values = latents.values.astype(float)
    values[:, 3] = values[:, 0] - 2 * values[:, 2]
    runs = designs(rng, Latents(values, latents.stimuli, "toy"), [events_table(rng, k) for k in range(3)])
    data = [rng.normal(600, 5, (len(run.matrix), N_VOXELS)).astype(np.float32) for run in runs]
    with pytest.raises(InconsistentInput, match=r"rank-deficient \(11 of 12.*latent_000[023]"):
        solve(accumulated(runs, data))


def test_a_regressor_that_confounds_explain_is_named(study, rng):
    table = events_table(rng, 0)
    model = shared_model([table], faces(rng))
    plain = parametric_design(table, model, N_VOLUMES[0], TR)
    copy = pd.DataFrame({"copy": plain.matrix[:, model.names.index("ignored_imagery")]})
    run = parametric_design(table, model, N_VOLUMES[0], TR, confounds=copy)
    data = rng.normal(600, 5, (N_VOLUMES[0], N_VOXELS)).astype(np.float32)
    with pytest.raises(InconsistentInput, match="ignored_imagery"):
        solve(accumulated([run], [data]))


def test_too_few_trials_are_refused_and_few_are_warned_about(rng):
    tables = [events_table(rng, k) for k in range(3)]
    n_train = sum(int((table["split"] == "train").sum()) for table in tables)
    data = [rng.normal(600, 5, (n, N_VOXELS)).astype(np.float32) for n in N_VOLUMES]
    few = designs(rng, faces(rng, n_train - 1), tables)
    with pytest.raises(InconsistentInput, match=f"{n_train} training trials .* needs more than {n_train}"):
        solve(accumulated(few, data))
    noisy = solve(accumulated(designs(rng, faces(rng, n_train // 2), tables), data))
    assert any("the weights will be noisy" in notice for notice in noisy.notices)


def test_runs_may_lack_regressors_but_not_all_of_them(study, rng):
    latents, tables = faces(rng), [events_table(rng, k) for k in range(3)]
    tables = [table[table["role"] != "drop"] for table in tables]
    data = [rng.normal(600, 5, (n, N_VOXELS)).astype(np.float32) for n in N_VOLUMES]
    found = solve(accumulated(designs(rng, latents, tables), data))
    assert "No event in any run, not modelled: dropped." in found.notices
    tables = [table[table["role"] != "baseline"] for table in tables]
    runs = designs(rng, latents, tables)
    found = solve(accumulated(runs, data))
    assert any(notice.startswith("No baseline") for notice in found.notices)
    rows = np.eye(stacked(runs).shape[1])[[runs[0].names.index("train")]]
    X = np.delete(stacked(runs), runs[0].names.index("dropped"), axis=1)
    alone = textbook(X, np.vstack(data).astype(float), np.delete(rows, runs[0].names.index("dropped"), axis=1))[0]
    np.testing.assert_allclose(found.weights[-1:], alone, atol=1e-3)
    model = shared_model(tables, latents)
    with pytest.raises(InconsistentInput, match="'baseline_fixation', which the model of all runs lacks"):
        parametric_design(events_table(rng, 0), model, N_VOLUMES[0], TR)
    tables = [table[table["stimulus_id"] != "t1"] for table in tables]
    part = [parametric_design(table, model, n, TR) for table, n in zip(tables, N_VOLUMES, strict=True)]
    with pytest.raises(InconsistentInput, match="1 test stimuli have no trial in the runs: t1"):
        solve(accumulated(part, data))


def test_dummy_scans_leave_out_rows_and_keep_the_clock(rng):
    from nilearn.glm.first_level import compute_regressor

    table, n, dummies = events_table(rng, 0), N_VOLUMES[0], 4
    model, confounds = shared_model([table], faces(rng)), pd.DataFrame({"a": rng.normal(size=n)})
    run = parametric_design(table, model, n, TR, dummy_scans=dummies, start_time=0.6, confounds=confounds)
    train = table[table["split"] == "train"]
    condition = np.vstack([train["onset"], train["duration"], np.ones(len(train))])
    theirs = compute_regressor(condition, "spm", 0.6 + TR * np.arange(dummies, n))[0][:, 0]
    np.testing.assert_allclose(run.matrix[:, model.names.index("train")], theirs, atol=1e-9)
    np.testing.assert_array_equal(run.nuisance[:, 0], confounds["a"][dummies:])


@pytest.mark.parametrize("hrf", ["fir", "spm+derivative"])
def test_responses_of_several_functions_are_refused(rng, hrf):
    table = events_table(rng, 0)
    with pytest.raises(UsageError, match="--hrf spm or --hrf glover"):
        parametric_design(table, shared_model([table], faces(rng)), N_VOLUMES[0], TR, hrf=hrf)


def test_the_f_test_keeps_its_level(rng):
    """Without any effect of the latents, 5 % of voxels have p < 0.05."""
    runs = designs(rng, faces(rng), [events_table(rng, k) for k in range(3)])
    data = [rng.normal(600, 5, (len(run.matrix), 4001)).astype(np.float32) for run in runs]
    p = solve(accumulated(runs, data)).f_p
    assert stats.kstest(p, "uniform").pvalue > 1e-3 and 0.037 < (p < 0.05).mean() < 0.063


def simulated_events(path):
    table = pd.read_csv(path, sep="\t")
    dropped, kind = table["oneback"] == 1, table["trial_type"]
    role = np.select([dropped, kind == "Fix", kind == "Img"], ["drop", "baseline", "ignore"], "sample")
    split = kind.map({"train_face": "train", "test_face": "test"}).fillna("").where(role == "sample", "")
    found = [re.search(r"([FM]\d+)\.jpg$", str(file)) for file in table["stim_file"]]
    return table.assign(role=role, split=split, stimulus_id=[match[1] if match else "" for match in found])


def test_truth_of_the_simulated_study(shared_data):
    """The weights of ds001761's simulated voxels: amplitude times the planted direction of tuning."""
    folder = shared_data / "sim_ds001761"
    prep = folder / "derivatives/prep/sub-01/ses-03/func"
    index = pd.read_csv(folder / "stimuli/latents/simZ.tsv", sep="\t")["stimulus_id"]
    latents = Latents(np.load(folder / "stimuli/latents/simZ.npy"), tuple(index), "simZ")
    names = [path.name.removesuffix("_events.tsv") for path in sorted(folder.glob("sub-01/ses-*/func/*_events.tsv"))]
    assert len(names) == 6
    tables = [simulated_events(folder / "sub-01/ses-03/func" / f"{name}_events.tsv") for name in names]
    model = shared_model(tables, latents)
    mask = np.logical_and.reduce([read_mask(prep / f"{name}_desc-brain_mask.nii.gz")[0] for name in names])
    sums = Accumulator(model.names, model.mu, int(mask.sum()), percent=True)
    six = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    for name, table in zip(names, tables, strict=True):
        motion = pd.read_csv(prep / f"{name}_desc-confounds_timeseries.tsv", sep="\t", na_values="n/a")[six]
        run = parametric_design(table, model, len(motion), 2.0, confounds=motion, label=name)
        sums.add(masked_blocks(prep / f"{name}_desc-preproc_bold.nii.gz", mask), run, name)
    found = solve(sums)
    truth = np.load(folder / "derivatives/truth/truth.npz")
    within = mask[truth["mask"]]
    direction, amplitude, kind = (truth[key][within] for key in ("W", "amp", "cls"))
    tuned = kind == "tuned"
    direction, amplitude = direction[tuned], amplitude[tuned]
    planted = amplitude[:, None] * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    r = np.corrcoef(found.weights[:-1].T[tuned].ravel(), planted.ravel())[0, 1]
    assert r > 0.97
    assert np.median(found.r2_full[tuned] - found.r2_face[tuned]) > 3 * np.median(
        found.r2_full[~tuned] - found.r2_face[~tuned]
    )
