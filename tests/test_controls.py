"""Controls: the same analysis on the global signal and on voxels outside the brain, alone and through the app."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from glm_runs import small_design

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.audit.checks import CHECKS
from hyper_bids.audit.controls import GLOBAL, N_PERMUTATIONS, OUTSIDE, ControlRidge
from hyper_bids.audit.evidence import Evidence
from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.decode import crossvalidate
from hyper_bids.glm.fit import accumulate, accumulate_apart
from hyper_bids.inputs import masks, volumes
from hyper_bids.simulate.bold import trial_responses
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.controls import control_scores, decode_controls
from hyper_bids.workflow.steps.decoding import folds_of
from hyper_bids.workflow.steps.outside import CANDIDATES, FEWEST, MOST, responses_outside, save_outside, voxels_outside
from hyper_bids.workflow.steps.responses import find_voxels, fit_run

K = 6
NOTHING = np.zeros((1, 1))


def light_of(facts):
    evidence = Evidence(
        *[NOTHING] * 5, ["a"], controls=facts["found"], controls_missing=facts["missing"]
    )
    return CHECKS["Controls"](evidence)


def line(n):
    """A grid of n voxels."""
    return VoxelGrid(np.ones((n, 1, 1), dtype=bool), np.eye(4))


# ------------------------------------------------------------------ the decoder


def test_refits_are_scikit_learns_ridge_with_as_large_a_penalty_as_there_are_features(rng):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, Z, new = rng.normal(3, 2, (21, 9)), rng.normal(1, 2, (8, K)), rng.normal(size=(5, 9))
    X[:, 4] = 7.0  # a feature that does not vary
    rows = rng.integers(0, 8, (3, 21))  # of stimuli, each with several trials
    model = make_pipeline(StandardScaler(), Ridge(alpha=9))
    wanted = [model.fit(X, Z[own]).predict(new) for own in rows]
    np.testing.assert_allclose(ControlRidge().predict_refitted(X, Z, rows, new), wanted, atol=1e-5)


# ------------------------------------------------------------------ sizes and power


class Experiment:
    """Noise everywhere: 40 training and 12 test stimuli (each twice), or 4 runs with the same 8 stimuli."""

    n_permutations = 1000

    def __init__(self, rng, folder, cross_validate=None, n_stimuli=8, n_runs=4):
        self.cross_validate = cross_validate
        if cross_validate:
            labels, split = [f"s{k}" for k in range(n_stimuli)] * n_runs, "cv"
            runs = np.repeat([f"run-{k}" for k in range(n_runs)], n_stimuli)
        else:
            labels = [f"a{k:02d}" for k in range(40)] + [f"b{k:02d}" for k in range(12)] * 2
            split, runs = ["train"] * 40 + ["test"] * 24, np.repeat(["run-1", "run-2"], 32)
        self.trials = pd.DataFrame({"stimulus_id": labels, "split": split, "run": runs, "session": ""})
        stimuli = tuple(dict.fromkeys(labels))
        self.space = Latents(rng.normal(size=(len(stimuli), K)), stimuli, "z")
        self.shown = self.space.rows(labels)
        self.brain = rng.normal(size=(len(labels), 15))
        self.outside = rng.normal(size=(len(labels), 30))
        self.folder = folder

    def light(self):
        parts = np.array_split(self.outside.astype(np.float32), 2)
        runs = [files.save_array(self.folder / f"{k}.npy", part) for k, part in enumerate(parts)]
        drawn = save_outside(self.folder / "outside.npz", line(30))
        made = decode_controls(
            values=files.save_array(self.folder / "values.npy", self.brain),
            samples=files.save_table(self.folder / "samples.tsv", self.trials),
            grid=files.save_grid(self.folder / "grid.npz", line(self.brain.shape[1])),
            latents=files.save_latents(self.folder / "latents.npz", self.space),
            cross_validate=self.cross_validate, n_permutations=self.n_permutations, seed=3, out_dir=self.folder,
            outside=drawn, outside_runs=runs,
        )  # fmt: skip
        return light_of(files.load_json(made["controls"]))


@pytest.mark.parametrize(("cross_validate", "n"), [(None, 120), ("run", 40)])
def test_without_a_stimulus_in_them_p_is_uniform(tmp_path, rng, cross_validate, n):
    found = [Experiment(rng, tmp_path, cross_validate).light() for _ in range(n)]
    p = np.array([[item["Controls"][name]["P"] for name in (GLOBAL, OUTSIDE)] for item in found]).ravel()
    assert (p <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(p))
    np.testing.assert_allclose(p.mean(), 0.5, atol=3 * np.sqrt(1 / 12 / len(p)))
    passed = np.mean([item["Status"] == "PASS" for item in found])
    assert passed >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / n)


@pytest.mark.parametrize("cross_validate", [None, "run"])
def test_a_stimulus_outside_the_brain_is_warned_of(tmp_path, rng, cross_validate):
    experiment = Experiment(rng, tmp_path, cross_validate)
    experiment.outside += experiment.shown @ rng.normal(size=(K, 30))
    found = experiment.light()
    assert found["Status"] == "WARN" and "where there is no brain" in found["Text"]
    assert found["Controls"][OUTSIDE]["P"] <= 0.01 < found["Controls"][GLOBAL]["P"]
    assert found["Controls"][OUTSIDE]["Voxels"] == 30


@pytest.mark.parametrize("cross_validate", [None, "run"])
def test_a_stimulus_in_the_overall_amplitude_is_noted(tmp_path, rng, cross_validate):
    experiment = Experiment(rng, tmp_path, cross_validate)
    experiment.brain += 3 * experiment.shown[:, :1]
    found = experiment.light()
    assert found["Status"] == "NOTE" and "overall amplitude" in found["Text"]
    assert found["Controls"][GLOBAL]["P"] <= 0.025 < found["Controls"][OUTSIDE]["P"]


# ------------------------------------------------------------------ where it cannot be asked


def test_what_cannot_be_asked_says_why(tmp_path, rng):
    experiment = Experiment(rng, tmp_path)
    experiment.outside[5, FEWEST - 1 :] = np.nan
    found = experiment.light()
    assert found["Status"] == "PASS" and list(found["Controls"]) == [GLOBAL]
    assert f"of 30 voxels drawn outside the brain mask {FEWEST - 1} have a signal" in found["Text"]
    experiment.outside[5] = np.nan
    assert "the BOLD seems to be set to 0 outside the brain" in experiment.light()["Text"]
    responses, folds = Responses(experiment.brain, experiment.trials, line(15)), folds_of(experiment.trials, None, 0)
    given = light_of(control_scores(responses, experiment.space, folds, None, 99, 0))
    assert given["Status"] == "PASS" and "the responses were given" in given["Text"]
    responses = responses.of(~experiment.trials["stimulus_id"].isin([f"b{k:02d}" for k in range(7, 12)]).to_numpy())
    found = light_of(control_scores(responses, experiment.space, folds_of(responses.trials, None, 0), None, 99, 0))
    assert found["Status"] == "N/A" and "7 test rows are too few; 8 are needed" in found["Text"]


def test_one_latent_is_no_pattern_to_identify(tmp_path, rng):
    experiment = Experiment(rng, tmp_path)
    experiment.space = Latents(experiment.space.values[:, :1], experiment.space.stimuli, "z")
    found = experiment.light()
    assert found["Status"] == "N/A" and "not defined with 1 latents" in found["Text"]


def test_refits_are_counted_as_they_are_and_too_few_are_not_made(tmp_path, rng, monkeypatch):
    experiment = Experiment(rng, tmp_path, "run")
    one = 4 * 2 * 8 * 8 * K  # folds of 8 test rows, and 8 stimuli in 24 training trials
    monkeypatch.setattr(crossvalidate, "REFIT_OPERATIONS", 100.5 * one)
    assert experiment.light()["Controls"][GLOBAL]["Permutations"] == 100
    monkeypatch.setattr(crossvalidate, "REFIT_OPERATIONS", 98.5 * one)
    real = crossvalidate.refit
    monkeypatch.setattr(
        crossvalidate, "refit", lambda *given: real(*given) if len(given[-1]) == 1 else pytest.fail("for nothing")
    )
    found = experiment.light()
    assert found["Status"] == "N/A" and "98 instead of 999 permutations" in found["Text"]
    assert "a control needs 99" in found["Text"]


@pytest.mark.parametrize(("n_stimuli", "n_runs", "decides"), [(2, 4, False), (2, 10, True), (4, 2, False)])
def test_few_exchanges_decide_nothing(tmp_path, rng, n_stimuli, n_runs, decides):
    """Of 4 exchanges of two runs with two stimuli, two are learned as well as the truth: no leak gives p below 1/2."""
    experiment = Experiment(rng, tmp_path, "run", n_stimuli, n_runs)
    experiment.outside += 9 * experiment.shown @ rng.normal(size=(K, 30))
    found = experiment.light()
    assert found["Status"] == ("WARN" if decides else "N/A")
    assert decides or f"{n_stimuli} stimuli can be exchanged within runs in too few ways" in found["Text"]


def test_as_many_permutations_as_asked_for_and_enough_to_decide(tmp_path, rng):
    experiment = Experiment(rng, tmp_path, "run")
    for experiment.n_permutations, drawn in ((19, 99), (150, 150), (5000, N_PERMUTATIONS)):
        assert experiment.light()["Controls"][GLOBAL]["Permutations"] == drawn


# ------------------------------------------------------------------ voxels outside, and one pass


def brains():
    """A brain, and that of another run, which reaches further."""
    centre = np.zeros((15, 14, 13), dtype=bool)
    centre[4:9, 4:10, 4:10] = True
    larger = centre.copy()
    larger[9:11, 6, 6] = True
    return centre, larger


@pytest.mark.parametrize("kept", [(), (0,), (0, 1)], ids=["computed", "file and computed", "files"])
def test_outside_is_away_from_every_runs_brain(tmp_path, monkeypatch, kept):
    """Whether their masks are files or computed; those are computed once."""
    centre, larger = brains()
    recordings, computed = [], []
    for run, brain in enumerate((centre, larger)):
        mask, bold = tmp_path / f"mask{run}.nii.gz", tmp_path / f"bold{run}.nii.gz"
        nib.save(nib.Nifti1Image(brain.astype(np.uint8), np.eye(4)), mask)
        nib.save(nib.Nifti1Image(np.ones((*brain.shape, 2), dtype=np.float32), np.eye(4)), bold)
        recordings.append({"label": f"run-{run}", "bold": str(bold), "mask": str(mask) if run in kept else None})
    of = {Path(recording["bold"]): brain for recording, brain in zip(recordings, (centre, larger), strict=True)}
    monkeypatch.setattr(masks, "compute_mask", lambda bold, affine: computed.append(bold) or of[bold])
    made = find_voxels(recordings=recordings, space=None, out_dir=tmp_path)
    np.testing.assert_array_equal(files.load_grid(made["grid"]).mask, centre)
    assert len(computed) == 2 - len(kept)
    drawn = files.load_grid(made["outside"]).mask
    assert drawn.sum() == CANDIDATES
    apart = np.abs(np.argwhere(drawn)[:, None] - np.argwhere(larger)[None]).max(axis=2).min(axis=1)
    assert apart.min() == 3
    np.testing.assert_array_equal(drawn, voxels_outside(larger, VoxelGrid(centre, np.eye(4)), True)[0].mask)


def test_what_lies_outside_a_mask_file_of_a_region_is_not_known(tmp_path):
    small = np.zeros((20, 20, 20), dtype=bool)
    small[8:12, 8:12, 8:12] = True
    grid = VoxelGrid(small, np.eye(4))
    drawn, why = voxels_outside(small, grid, True)
    assert drawn.n_voxels == 0
    values, _, said = responses_outside(save_outside(tmp_path / "outside.npz", drawn, why), [], 0)
    assert values is None
    assert said == "the brain mask covers 0.8 % of the image: what lies outside may be brain"
    assert voxels_outside(small, grid, False)[0].n_voxels == CANDIDATES, "nilearn computes no region"


def test_of_many_voxels_outside_some_are_drawn_and_stay_in_their_place(tmp_path, rng):
    values = rng.normal(size=(4, CANDIDATES)).astype(np.float32)
    values[0, ::3] = np.nan
    drawn = save_outside(tmp_path / "outside.npz", line(CANDIDATES))
    runs = [files.save_array(tmp_path / f"{k}.npy", part) for k, part in enumerate(np.split(values, 2))]
    found, grid, why = responses_outside(drawn, runs, 1)
    assert found.shape == (4, MOST) and not why
    np.testing.assert_array_equal(found, values[:, grid.mask.ravel()])


@pytest.mark.parametrize("noise_model", ["ols", "ar1"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_some_voxels_do_not_depend_on_others(rng, noise_model, dtype):
    design = small_design(rng)
    n_voxels = 9001  # more than two tiles
    whole = rng.normal(800, 3, (len(design.matrix), n_voxels + 700)).astype(np.float32)
    outside = np.sort(rng.choice(n_voxels + 700, 700, replace=False))
    brain = np.setdiff1d(np.arange(n_voxels + 700), outside)
    own = np.ascontiguousarray(whole[:, brain])
    wanted = accumulate([own[:50], own[50:]], design, noise_model=noise_model, dtype=dtype)
    found, _ = accumulate_apart([whole[:50], whole[50:]], [brain, outside], design, "run", noise_model, dtype)
    for name in ("projected", "squares", "residual", "mean", "valid", "lagged", "lag_product", "last"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)


# ------------------------------------------------------------------ through the app


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("controls") / "bids"
    words = ["--participants", "1", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "50", "--repeats", "4",
             "--n-test-faces", "10", "--n-voxels", "300", "--image-shape", "14x13x12", "--snr", "4"]  # fmt: skip
    assert tools(["simulate", str(folder), *words, "--generator", "identity", "--n-latents", "9"]) == 0
    return folder


def participant(folder, out, *words):
    command = [str(folder), str(out), "participant", "-w", str(out) + "_work", "-q", "--skip-bids-validation"]
    quick = ["--generator", "none", "--no-reliability", "--n-permutations", "99"]
    assert main([*command, *quick, *words]) == 0
    (audit,) = out.glob("sub-01/func/*_audit.json")
    return json.loads(audit.read_text())["Controls"], (out / "sub-01.html").read_text()


@pytest.fixture(scope="module")
def zeroed(dataset):
    """As the simulation leaves the BOLD: 0 outside the brain."""
    return participant(dataset, dataset.parent / "zeroed")


def test_bold_that_is_zero_outside_leaves_the_global_signal(zeroed):
    found, page = zeroed
    assert list(found["Controls"]) == [GLOBAL] and found["Controls"][GLOBAL]["Voxels"] == 300
    assert "the BOLD seems to be set to 0 outside the brain" in found["Text"] and "global signal" in page


@pytest.fixture(scope="module")
def leaky(dataset, zeroed):
    """Noise outside the brain, and in it what was shown."""
    rng = np.random.default_rng(5)
    truth = np.load(next(dataset.glob("derivatives/*/sub-01/*_truth.npz")))
    latents = (truth["latents"] - truth["latents"].mean(axis=0)) / truth["latents"].std(axis=0)
    of = dict(zip(truth["stimuli"].tolist(), latents, strict=True))
    weights = rng.normal(size=(latents.shape[1], 14 * 13 * 12))
    paths = sorted(dataset.glob("derivatives/fmriprep/**/*_desc-preproc_bold.nii.gz"))
    for number, path in enumerate(paths, start=1):
        image, here = nib.load(path), truth["trial_run"] == number
        onsets = truth["trial_onset"][here]
        signal = np.asarray(image.dataobj, dtype=np.float32)
        outside = (signal == 0).all(axis=3)
        times = np.arange(signal.shape[3]) * float(image.header.get_zooms()[3])
        shape = trial_responses(times, onsets, np.full(len(onsets), 1.5), 0.0)
        leak = shape @ np.array([of[label] for label in truth["trial_stimulus"][here]]) @ weights[:, outside.ravel()]
        signal[outside] = (100 + leak + rng.normal(size=leak.shape)).T
        nib.save(nib.Nifti1Image(signal, image.affine, image.header), path)
    return dataset


def test_what_was_shown_outside_the_brain_is_warned_of(leaky):
    found, page = participant(leaky, leaky.parent / "leaky")
    assert found["Status"] == "WARN" and found["Controls"][OUTSIDE]["P"] <= 0.01
    assert "The stimulus can be read where there is no brain" in page


def test_the_parametric_model_says_that_it_has_no_training_responses(dataset, tmp_path):
    found, _ = participant(dataset, tmp_path / "out", "--glm", "parametric", "--decoder", "inversion")
    assert found["Status"] == "N/A" and "no responses of single training trials" in found["Text"]


@pytest.mark.parametrize("n_passes", [1, 3])
def test_voxels_outside_cost_no_second_read(leaky, zeroed, tmp_path, monkeypatch, n_passes):
    from hyper_bids.settings import GLMSettings, identity_of

    opened = []
    real = volumes._opened
    monkeypatch.setattr(volumes, "_opened", lambda path: opened.append(path) or real(path))
    work = leaky.parent / "zeroed_work" / "hyper"
    designs, voxels = (work / f"sub_01__faces__{step}" / "out" for step in ("designs", "voxels"))
    bold = next(leaky.glob("derivatives/fmriprep/**/*run-02*preproc_bold.nii.gz"))
    common = {
        "designs": designs / "designs.npz", "summary": designs / "summary.json", "grid": voxels / "grid.npz",
        "recording": {"participant": "01", "label": "run-02", "bold": str(bold)}, "index": 1,
        "glm": identity_of(GLMSettings()), "n_passes": n_passes,
    }  # fmt: skip
    alone = fit_run(**common, out_dir=tmp_path)
    without = np.load(alone["responses"])
    assert list(alone) == ["responses"] and len(opened) == n_passes
    made = fit_run(**common, out_dir=tmp_path, outside=voxels / "outside.npz")
    assert len(opened) == 2 * n_passes
    np.testing.assert_array_equal(np.load(made["responses"]), without)
    outside = np.load(made["outside"])
    assert np.isfinite(outside).all() and outside.shape[1] == files.load_grid(voxels / "outside.npz").n_voxels
