"""The whole way, through the command line, on a small simulated dataset."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_app import finished, run, simulated, table, tree_of

from bids_app.cli import main
from hyper_bids.inputs.validate import find_validator


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return simulated(tmp_path_factory.mktemp("app") / "bids")


@pytest.fixture(scope="module")
def done(dataset) -> Path:
    return finished(dataset)


def test_the_output_is_what_the_specification_says(done):
    stem = "sub-01/func/sub-01_task-faces_"
    wanted = ["dataset_description.json", "README.md", ".bidsignore", "layout_config.json", "descriptions.tsv",
              "descriptions.json", "sub-01.html", "group.html", "logs/CITATION.md"]  # fmt: skip
    for name in ("desc-brain_mask", "desc-decoding_mask", "stat-z_desc-stimulus_statmap"):
        wanted += [f"{stem}{name}.nii.gz", f"{stem}{name}.json"]
    wanted += [f"{stem}stat-z_desc-stimulus_statmap.tsv", f"{stem}model-ridge_desc-portrait_audit.json"]
    for name in ("latents.tsv", "metrics.tsv", "stats.tsv", "recon.tsv", "decoder.npz"):
        wanted += [f"{stem}model-ridge_desc-portrait_{part}" for part in (name, name.split(".")[0] + ".json")]
    for name in ("groupmetrics", "groupstats"):
        wanted += [f"task-faces_model-ridge_desc-portrait_{name}.{kind}" for kind in ("tsv", "json")]
    missing = [name for name in wanted if not (done / name).is_file()]
    assert not missing
    assert len(list(done.glob("sub-01/func/*_recon.png"))) == 5
    assert list(done.glob("logs/sub-01/*.log")) and list(done.glob("logs/sub-01/*_config.toml"))


@pytest.mark.skipif(find_validator() is None, reason="bids-validator-deno is not installed")
def test_the_output_is_valid_bids(done):
    report = subprocess.run(
        [find_validator(), str(done), "--format", "json", "--ignoreWarnings"], capture_output=True, text=True
    )
    errors = [issue for issue in json.loads(report.stdout)["issues"]["issues"] if issue["severity"] == "error"]
    assert not errors


def test_pybids_finds_every_file_through_its_entities(dataset, done):
    from bids import BIDSLayout

    layout = next(iter(BIDSLayout(dataset, derivatives=done).derivatives.values()))
    found = {Path(path) for path in layout.get(return_type="file")}
    there = {path for path in done.rglob("*") if path.is_file()}
    assert {path.name for path in there - found} == {"layout_config.json", ".bidsignore"}
    for query, n in (
        ({"suffix": "statmap", "stat": "z", "desc": "stimulus", "extension": ".nii.gz"}, 2),
        ({"suffix": "metrics", "model": "ridge", "desc": "portrait", "extension": ".tsv"}, 2),
        ({"suffix": "recon", "stim": "test1", "extension": ".png"}, 2),
        ({"suffix": "mask", "desc": "decoding", "subject": "01", "extension": ".nii.gz"}, 1),
        ({"suffix": "groupstats", "model": "ridge", "extension": ".tsv"}, 1),
    ):
        assert len(layout.get(**query)) == n, query


def test_every_column_is_described_and_every_json_says_what_it_was_made_from(done):
    for path in [*done.glob("sub-*/func/*.json"), *done.glob("task-*.json")]:
        content = json.loads(path.read_text())
        assert {"Sources", "Settings", "SoftwareVersion", "RandomSeed"} <= set(content), path.name
        if path.with_suffix(".tsv").is_file():
            header = path.with_suffix(".tsv").read_text().split("\n")[0].split("\t")
            undescribed = [name for name in header if not {"LongName", "Description"} <= set(content.get(name, {}))]
            assert not undescribed, f"{path.name}: {undescribed}"


def test_the_columns_are_the_specifications(done):
    metrics = table(done, "sub-01/func/*_metrics.tsv")
    assert list(metrics.columns[:12]) == [
        "stimulus_id", "n_repeats", "latent_similarity", "latent_similarity_mse", "latent_correlation",
        "latent_cosine", "feature_similarity", "feature_similarity_mse", "pixel_correlation", "ssim",
        "pairwise_accuracy", "top1",
    ]  # fmt: skip
    stats = table(done, "sub-01/func/*_stats.tsv")
    columns = ["metric", "n", "mean", "sem", "ci_low", "ci_high", "chance", "null_mean", "null_sd", "p_value",
               "p_method", "ceiling"]  # fmt: skip
    assert list(stats.columns) == columns
    assert list(table(done, "task-*_groupstats.tsv").columns) == ["participant_id", *columns]
    assert set(table(done, "task-*_groupstats.tsv")["participant_id"]) == {"sub-01", "sub-02", "group"}


def test_row_i_of_the_table_is_volume_i_of_the_maps(done):
    rows = table(done, "sub-01/func/*_desc-stimulus_statmap.tsv")
    image = nib.load(next(done.glob("sub-01/func/*_desc-stimulus_statmap.nii.gz")))
    assert image.shape == (10, 9, 8, len(rows)) and list(rows["volume_index"]) == list(range(len(rows)))
    assert (rows.loc[rows["split"] == "test", "n_repeats"] == 6).all()
    mask = np.asarray(nib.load(next(done.glob("sub-01/func/*_desc-brain_mask.nii.gz"))).dataobj) > 0
    assert mask.sum() == 300 and (np.asarray(image.dataobj)[~mask] == 0).all()


def test_the_saved_decoder_gives_the_saved_latents(done):
    """Weights, maps and latents fit together: what is written is what was used."""
    with np.load(next(done.glob("sub-01/func/*_decoder.npz")), allow_pickle=False) as saved:
        decoder = dict(saved)
    maps = np.asarray(nib.load(next(done.glob("sub-01/func/*_desc-stimulus_statmap.nii.gz"))).dataobj)
    rows = table(done, "sub-01/func/*_desc-stimulus_statmap.tsv")
    latents = table(done, "sub-01/func/*_latents.tsv").set_index("stimulus_id").filter(regex="^z")
    X = maps[decoder["mask"]].T[:, decoder["voxels_000"]]
    predicted = X @ decoder["coef_000"].T + decoder["intercept_000"]
    tested = rows["split"] == "test"
    np.testing.assert_allclose(predicted[tested], latents.loc[rows.loc[tested, "stimulus_id"]], atol=2e-4)


def test_the_planted_latents_are_decoded(done):
    stats = table(done, "sub-01/func/*_stats.tsv").set_index("metric")
    for metric in ("latent_correlation", "pairwise_accuracy", "latent_dimension_correlation"):
        row = stats.loc[metric]
        assert row["p_value"] <= 0.02 and row["mean"] > row["null_mean"] + 2 * row["null_sd"], metric


def test_the_input_is_left_alone_and_may_be_read_only(dataset, tmp_path):
    before = tree_of(dataset)
    copy = tmp_path / "bids"
    shutil.copytree(dataset, copy)
    for folder, _, names in os.walk(copy):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o444)
        os.chmod(folder, 0o555)
    assert main([str(copy), str(tmp_path / "out"), "participant", "--participant-label", "01", "-w",
                 str(tmp_path / "work"), "--n-permutations", "19"]) == 0  # fmt: skip
    assert tree_of(copy) == before
    for folder, _, _ in os.walk(copy):
        os.chmod(folder, 0o755)


def test_dry_run_says_what_it_would_do_and_writes_nothing(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(dataset), str(out), "participant", "--dry-run", "-w", str(tmp_path / "work")]) == 0
    text = capsys.readouterr().out
    for wanted in ("sub-01 task-faces: 3 runs", "train: 50 trials of 50 stimuli", "test: 30 trials of 5 stimuli",
                   "64 dimensions", "predicted peak memory", "generator: portrait"):  # fmt: skip
        assert wanted in text
    assert not any(tmp_path.iterdir())


def test_several_decoders_share_the_responses(dataset, tmp_path, capsys):
    out, work = tmp_path / "out", tmp_path / "work"
    words = ["--participant-label", "sub-02", "--decoder", "ridge", "sklearn.linear_model:Ridge"]
    words += ["--generator", "none", "--maps", "trial", "--n-permutations", "19"]
    assert main([str(dataset), str(out), "participant", "-w", str(work), *words]) == 0
    assert len(list(out.glob("sub-02/func/*_metrics.tsv"))) == 2
    assert len(list(out.glob("sub-02/func/*desc-trial_statmap.nii.gz"))) == 3
    assert not list(out.glob("sub-02/func/*_recon.png"))
    assert len(list((work / "hyper").glob("*fit*"))) == 3
    assert len(list((work / "hyper").glob("*controls*"))) == 1, "control signals are decoded once for both"
    lights = [json.loads(path.read_text())["Controls"] for path in out.glob("sub-02/func/*_audit.json")]
    assert len(lights) == 2 and lights[0] == lights[1] and "5 test rows are too few" in lights[0]["Text"]
    assert "Both decoders predicted the latents" in (out / "sub-02.html").read_text()


def test_cross_validation_over_stimuli_keeps_them_apart(dataset, tmp_path):
    out = tmp_path / "out"
    words = [str(dataset), str(out), "participant", "--participant-label", "01", "-w", str(tmp_path / "work"),
             "--cross-validate", "stimulus:4", "--n-permutations", "49", "--generator", "none"]  # fmt: skip
    assert main(words) == 0
    latents = table(out, "sub-01/func/*_latents.tsv")
    assert latents["fold"].nunique() == 4 and latents["stimulus_id"].is_unique and len(latents) == 55
    stats = table(out, "sub-01/func/*_stats.tsv").set_index("metric")
    assert "refits" in stats.loc["pairwise_accuracy", "p_method"]
    assert "tested on 55 stimuli, each predicted once." in (out / "sub-01.html").read_text()


def test_group_before_participant(dataset, done, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert main([str(dataset), str(tmp_path / "out"), "group"]) == 66
    assert main([str(dataset), str(done), "group", "--participant-label", "01", "07"]) == 66
    assert "sub-07" in capsys.readouterr().err


def test_ar1_polynomial_drift_and_derivatives_run_through_the_app(dataset, tmp_path):
    words = ["--participant-label", "01", "--noise-model", "ar1", "--drift", "polynomial", "--hrf", "spm+derivative"]
    assert run(dataset, tmp_path, *words, "--generator", "none") == 0
    (path,) = (tmp_path / "out").glob("sub-01/func/*desc-stimulus_statmap.json")
    content = json.loads(path.read_text())
    assert (content["Estimator"], content["Drift"], content["HRF"]) == ("ar1", "polynomial", "spm+derivative")
