"""What is decoded may come from elsewhere: the parametric model, maps that exist, latents of the pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.presets import PRESETS

SMALL = [
    "--participants", "1", "--train-runs", "3", "--test-runs", "2", "--n-train-faces", "150", "--n-test-faces", "6",
    "--repeats", "6", "--n-voxels", "300", "--image-shape", "10x9x8", "--snr", "4", "--n-latents", "64",
]  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sources") / "bids"
    assert tools(["simulate", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def done(dataset) -> Path:
    """A run from the BOLD, with trial maps."""
    assert run(dataset, dataset.parent / "out", "--maps", "both") == 0
    return dataset.parent / "out"


def run(dataset: Path, out: Path, *words: str) -> int:
    work = out.parent / f"{out.name}_work"
    return main([str(dataset), str(out), "participant", "-w", str(work), "--n-permutations", "49", *words])


def table(folder: Path, pattern: str) -> pd.DataFrame:
    (path,) = folder.glob(f"sub-01/func/{pattern}")
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def score(folder: Path, metric: str, model: str = "*") -> float:
    return table(folder, f"*model-{model}_*_stats.tsv").set_index("metric").loc[metric, "mean"]


# ------------------------------------------------------------------ the parametric model


@pytest.fixture(scope="module")
def parametric(dataset) -> Path:
    out = dataset.parent / "parametric"
    assert run(dataset, out, "--glm", "parametric", "--decoder", "inversion", "--select", "all", "--maps", "both") == 0
    return out


def test_the_parametric_model_decodes_through_the_app(parametric):
    assert score(parametric, "latent_correlation") > 0.8 and score(parametric, "pairwise_accuracy") == 1
    metrics = table(parametric, "*metrics.tsv")
    assert (metrics["n_repeats"] == 6).all() and len(metrics) == 6


def test_weights_and_their_t_are_written_one_volume_a_latent_and_the_bias_last(parametric):
    (beta,) = parametric.glob("sub-01/func/*stat-beta_desc-portrait_statmap.nii.gz")
    (t,) = parametric.glob("sub-01/func/*stat-t_desc-portrait_statmap.nii.gz")
    rows = table(parametric, "*stat-beta_desc-portrait_statmap.tsv")
    assert rows["regressor"].iloc[-1] == "bias" and len(rows) == 65 == nib.load(beta).shape[3] == nib.load(t).shape[3]
    (mask,) = parametric.glob("sub-01/func/*desc-brain_mask.nii.gz")
    inside = nib.load(mask).get_fdata() > 0
    weights, values = nib.load(beta).get_fdata()[inside], nib.load(t).get_fdata()[inside]
    ratio = weights / values  # the standard error: per voxel times per regressor
    assert np.allclose(ratio[:, 0] / ratio[:, 5], (ratio[:, 0] / ratio[:, 5])[0], rtol=1e-4)


def test_inversion_of_the_written_weights_gives_the_written_latents(parametric):
    (path,) = parametric.glob("sub-01/func/*model-inversion*_decoder.npz")
    arrays = np.load(path)
    stem = "sub-01/func/sub-01_task-faces_space-T1w_stat-beta_desc-stimulus_statmap"
    (image,) = parametric.glob("sub-01/func/*stat-beta_desc-stimulus_statmap.nii.gz")
    assert stem.split("/")[-1].split("_")[-1] in image.name
    inside = arrays["mask"].astype(bool)
    patterns = nib.load(image).get_fdata()[inside][arrays["voxels_000"].astype(bool)].T
    W = arrays["weights_000"].astype(float)
    found = patterns @ W.T @ np.linalg.inv(W @ W.T)
    latents = found[:, :-1] + found[:, -1:] * arrays["mu_000"]
    order = table(parametric, "*stat-beta_desc-stimulus_statmap.tsv")["stimulus_id"].tolist()
    written = table(parametric, "*_latents.tsv").set_index("stimulus_id").loc[order].filter(like="z")
    np.testing.assert_allclose(latents, written.to_numpy(float), atol=2e-3)


def test_the_parametric_model_is_the_same_in_several_passes(dataset, parametric, monkeypatch, tmp_path):
    from hyper_bids.workflow import task_responses

    monkeypatch.setattr(task_responses, "parametric_passes", lambda task, memory_gb: 3)
    words = ("--glm", "parametric", "--decoder", "inversion", "--select", "all", "--maps", "both")
    assert run(dataset, tmp_path / "out", *words) == 0
    one, other = (score(folder, "latent_correlation") for folder in (tmp_path / "out", parametric))
    assert one == pytest.approx(other, abs=1e-6)


def test_gain_finds_the_voxels_that_the_latents_drive(dataset, tmp_path):
    out = tmp_path / "out"
    words = ("--glm", "parametric", "--decoder", "inversion", "--select", "gain", "--n-voxels", "90")
    assert run(dataset, out, *words) == 0
    facts = json.loads(next(out.glob("sub-01/func/*stat-score_desc-selection_statmap.json")).read_text())
    assert "F" in facts["Description"]
    assert table(out, "*stat-score_desc-selection_statmap.tsv")["n_selected"].tolist() == [90]
    assert score(out, "pairwise_accuracy") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--decoder", "ridge"), "--decoder inversion"),
        (("--decoder", "inversion", "--cross-validate", "run"), "train/test split"),
        (("--decoder", "inversion", "--hrf", "fir"), "--hrf spm or glover"),
        (("--decoder", "inversion", "--noise-model", "ar1"), "ordinary least squares"),
        (("--decoder", "inversion", "--select", "reliability"), "single-trial"),
    ],
)
def test_what_needs_single_trials_is_refused_before_any_work(dataset, tmp_path, capsys, words, message):
    assert run(dataset, tmp_path / "out", "--glm", "parametric", *words) == 64
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_parametric_weights_of_sim_ds001761_are_the_planted_ones(shared_data, tmp_path):
    root, out = shared_data / "sim_ds001761", tmp_path / "out"
    words = ("--glm", "parametric", "--decoder", "inversion", "--select", "all", "--maps", "trial")
    assert run(root, out, *words, "--skip-bids-validation") == 0
    (image,) = out.glob("sub-01/func/*stat-beta_desc-simZ_statmap.nii.gz")
    (path,) = out.glob("sub-01/func/*desc-brain_mask.nii.gz")
    truth = np.load(root / "derivatives" / "truth" / "truth.npz", allow_pickle=False)
    mask = nib.load(path).get_fdata() > 0
    within = mask[truth["mask"]]
    direction, amplitude, tuned = truth["W"][within], truth["amp"][within], truth["cls"][within] == "tuned"
    planted = (amplitude[:, None] * direction / np.linalg.norm(direction, axis=1, keepdims=True))[tuned]
    estimated = nib.load(image).get_fdata()[mask][tuned, :-1]
    assert np.corrcoef(estimated.ravel(), planted.ravel())[0, 1] >= 0.97


# ------------------------------------------------------------------ maps that exist


def test_trial_maps_of_an_earlier_run_give_the_same_results(dataset, done, tmp_path):
    assert run(dataset, tmp_path / "out", "--responses", str(done)) == 0
    for name in ("metrics", "stats", "latents"):
        (ours,), (theirs,) = (folder.glob(f"sub-01/func/*_{name}.tsv") for folder in (tmp_path / "out", done))
        assert ours.read_bytes() == theirs.read_bytes(), name


@pytest.fixture
def given(done, tmp_path) -> Path:
    """Betas of another program, brought into the form: no mask, one file, a table with the least it needs."""
    folder = tmp_path / "betas" / "sub-01" / "func"
    folder.mkdir(parents=True)
    images = sorted(done.glob("sub-01/func/*desc-trial_statmap.nii.gz"))
    values = np.concatenate([nib.load(path).get_fdata(dtype=np.float32) for path in images], axis=3)
    tables = [pd.read_csv(str(path).replace(".nii.gz", ".tsv"), sep="\t") for path in images]
    image = nib.Nifti1Image(values, nib.load(images[0]).affine)
    nib.save(image, folder / "sub-01_task-faces_stat-beta_desc-trial_statmap.nii.gz")
    rows = pd.concat(tables)[["stimulus_id", "split"]]
    rows.to_csv(folder / "sub-01_task-faces_stat-beta_desc-trial_statmap.tsv", sep="\t", index=False)
    return tmp_path / "betas"


def test_betas_of_other_programs_are_decoded(dataset, done, given, tmp_path, capsys):
    bare = tmp_path / "bare"  # no BOLD and no events: the sidecar, the latents and the pictures are enough
    shutil.copytree(dataset, bare, ignore=shutil.ignore_patterns("sub-*", "derivatives"))
    assert run(bare, tmp_path / "out", "--responses", str(given), "--skip-bids-validation") == 0
    assert "no brain mask" in capsys.readouterr().err
    # one file is one run to the app, so that penalties are chosen by other inner folds than before
    assert score(tmp_path / "out", "latent_correlation") == pytest.approx(score(done, "latent_correlation"), abs=0.1)
    assert run(bare, tmp_path / "dry", "--responses", str(given), "--skip-bids-validation", "--dry-run") == 0
    assert "every trial" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda folder, path: path.unlink(), 66, "table"),
        (lambda folder, path: path.write_text(path.read_text().replace("stimulus_id", "name")), 65, "stimulus_id"),
        (lambda folder, path: path.write_text(path.read_text().rsplit("\n", 2)[0] + "\n"), 65, "volumes"),
        (lambda folder, path: path.write_text(path.read_text().replace("train", "n/a").replace("test", "n/a")), 65, ""),
        (lambda folder, path: shutil.rmtree(folder / "sub-01" / "func"), 18, "no response map"),
    ],
    ids=["no table", "no stimuli", "a row short", "no split", "no map"],
)
def test_bad_maps(dataset, given, tmp_path, capsys, change, code, message):
    (path,) = given.rglob("*_statmap.tsv")
    change(given, path)
    assert run(dataset, tmp_path / "out", "--responses", str(given)) == code
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*_metrics.tsv"))


# ------------------------------------------------------------------ latents of the pictures, presets


@pytest.mark.parametrize(("encoder", "n"), [("eigenface", 20), ("identity", 8 * 8 * 3)])
def test_latents_are_computed_from_the_pictures(dataset, tmp_path, encoder, n):
    out = tmp_path / "out"
    assert run(dataset, out, "--encoder", encoder, "--n-components", "20", "--image-size", "8") == 0
    assert len(table(out, f"*desc-{encoder}_latents.tsv").filter(regex=r"z\d").columns) == n
    assert score(out, "latent_correlation") > 0.3
    assert len(list(out.glob("sub-01/func/*_recon.png"))) == 6


def test_principal_components_are_those_of_the_training_pictures_alone(dataset, tmp_path):
    from hyper_bids.workflow.steps import encode_stimuli

    pictures = sorted((dataset / "stimuli").rglob("*.png"))[:12]
    labels = [path.stem for path in pictures]
    trials = pd.DataFrame({"stimulus_id": labels, "role": "sample", "split": ["train"] * 8 + ["test"] * 4})
    trials.to_csv(tmp_path / "trials.tsv", sep="\t", index=False)
    images = dict(zip(labels, map(str, pictures), strict=True))
    common = {"trials": tmp_path / "trials.tsv", "encoder": "eigenface", "n_components": 5, "image_size": 16}
    one = encode_stimuli(images=images, out_dir=tmp_path, **common)
    weights = dict(np.load(one["weights"]))
    images.update(dict(zip(labels[8:], map(str, reversed(pictures[8:])), strict=True)))
    (tmp_path / "again").mkdir()
    again = dict(np.load(encode_stimuli(images=images, out_dir=tmp_path / "again", **common)["weights"]))
    assert all(np.array_equal(weights[name], again[name]) for name in weights)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_runs_or_names_what_is_missing(dataset, tmp_path, capsys, preset):
    own = "encoder" in PRESETS[preset]
    words = ["--preset", preset, "--n-epochs", "5", "--image-size", "8", "--n-components", "10"]
    code = run(dataset, tmp_path / "out", *words)
    if own:
        assert code == 0
        return
    assert code == 66
    said = capsys.readouterr().err
    assert preset in said and PRESETS[preset]["latent_generator"] in said and "--latent-space" in said
    assert run(dataset, tmp_path / "out", *words, "--latent-space", "portrait") == 0
    assert 0 <= score(tmp_path / "out", "pairwise_accuracy") <= 1


def test_a_preset_prints_what_it_sets_and_a_later_option_overrides(dataset, tmp_path, capsys):
    words = ["--preset", "hyper", "--latent-space", "portrait", "--n-voxels", "77", "--dry-run"]
    assert run(dataset, tmp_path / "out", *words) == 0
    said = capsys.readouterr().out
    for name, value in PRESETS["hyper"].items():
        assert f"--{name.replace('_', '-')} {value[0] if isinstance(value, list) else value}" in said
    assert "--n-voxels 4096   (overridden: 77)" in said
