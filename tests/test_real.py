"""The app on real recordings, against the reference numbers that come with them."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd

from bids_app.cli import main


def stats_of(out) -> pd.DataFrame:
    (path,) = out.glob("sub-01/func/*_stats.tsv")
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False).set_index("metric")


def decode(folder, prep, tmp_path, *words) -> pd.DataFrame:
    out = tmp_path / "out"
    command = [str(folder), str(out), "participant", "-w", str(tmp_path / "work"), "-q", "--skip-bids-validation"]
    assert main([*command, "-d", f"prep={folder / 'derivatives' / prep}", *words]) == 0
    return stats_of(out)


def test_haxby(shared_data, tmp_path):
    words = ["--latent-space", "onehot8", "--cross-validate", "run", "--select", "all"]
    stats = decode(shared_data / "haxby", "haxbyprep", tmp_path, *words)
    assert stats.loc["pairwise_accuracy", "mean"] >= 0.87 and stats.loc["pairwise_accuracy", "p_value"] <= 0.01
    assert stats.loc["pairwise_accuracy", "n"] == 8
    assert 0.48 < stats.loc["pairwise_accuracy", "null_mean"] < 0.52


def test_haxby_with_shuffled_labels_is_at_chance(shared_data, tmp_path):
    """Labels permuted within runs: what is left is bias, and there must be none."""
    from hyper_bids.data import Latents
    from hyper_bids.decode import Ridge
    from hyper_bids.decode.crossvalidate import decode as decode_folds
    from hyper_bids.decode.folds import make_folds
    from hyper_bids.decode.select import all_voxels
    from hyper_bids.evaluate.identification import pairwise_accuracy
    from hyper_bids.workflow import files

    words = ["--latent-space", "onehot8", "--cross-validate", "run", "--select", "all", "--n-permutations", "1"]
    decode(shared_data / "haxby", "haxbyprep", tmp_path, *words)
    folder = tmp_path / "work" / "hyper" / "sub_01__objectviewing__pool" / "out"
    responses = files.load_responses(folder / "values.npy", folder / "samples.tsv", folder / "grid.npz")
    latents = files.load_latents(tmp_path / "work" / "inputs" / "sub_01__objectviewing__files" / "latents.npz")
    assert isinstance(latents, Latents)
    rng, scores = np.random.default_rng(0), []
    for _ in range(10):
        trials = responses.trials.copy()
        trials["stimulus_id"] = trials.groupby("run")["stimulus_id"].transform(lambda x: rng.permutation(x.to_numpy()))
        shuffled = type(responses)(responses.values, trials, responses.grid)
        decoded = decode_folds(shuffled, latents, make_folds(trials, "run", None, 0), all_voxels, Ridge)
        true = latents.rows(decoded.rows["stimulus_id"])
        scores.append(pairwise_accuracy(true, decoded.values, latents.values).mean())
    assert 0.47 <= np.mean(scores) <= 0.53


def test_miyawaki(shared_data, tmp_path):
    stats = decode(shared_data / "miyawaki", "prep", tmp_path, "--cross-validate", "run", "--select", "all")
    assert stats.loc["latent_correlation", "mean"] >= 0.88
    assert stats.loc["pairwise_accuracy", "mean"] >= 0.92
    assert len(list((tmp_path / "out").glob("sub-01/func/*_recon.png"))) == 10


def test_sim_ds001761(shared_data, tmp_path):
    stats = decode(shared_data / "sim_ds001761", "prep", tmp_path)
    assert stats.loc["top1", "mean"] >= 0.95 and stats.loc["latent_dimension_correlation", "mean"] >= 0.88
    assert stats.loc["top1", "n"] == 20


def test_raw_images_as_they_came(shared_data, tmp_path):
    """Without derivatives: no confounds, a computed mask, and both are said."""
    folder = tmp_path / "sim"
    shutil.copytree(shared_data / "sim_ds001761", folder, ignore=shutil.ignore_patterns("derivatives"))
    out = tmp_path / "out"
    command = [str(folder), str(out), "participant", "-w", str(tmp_path / "work"), "-q", "--n-permutations", "99"]
    assert main(command) == 0
    assert stats_of(out).loc["top1", "mean"] > 0.5
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "no confounds table" in page and "have no brain mask" in page
