"""``hyper-tools evaluate``: pictures and latents of anybody, the same tables, and what wrong input gets."""

from __future__ import annotations

import argparse
import json
import re

import numpy as np
import pandas as pd
import pytest

from bids_app.tool_evaluate import add_evaluate, run_evaluate
from hyper_bids.audit.copies import copies
from hyper_bids.derivatives.write import write_tsv
from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.evaluate.stats import STATS_COLUMNS
from hyper_bids.generate.images import write_png
from hyper_bids.workflow.evaluate_files import Request, evaluate_files

N, K = 21, 17
LABELS = [f"face{number:02d}" for number in range(N)]


@pytest.fixture
def latents(tmp_path, rng):
    """True and predicted latents with indices whose rows are in different orders; the predicted lack one."""
    true = rng.normal(size=(N, K))
    made = 0.6 * true + 0.5 * rng.normal(size=(N, K))
    order = rng.permutation(N)[1:]
    for name, values, labels in (("true", true, LABELS), ("made", made[order], [LABELS[row] for row in order])):
        np.save(tmp_path / f"{name}.npy", values.astype(np.float32))
        write_tsv(tmp_path / f"{name}.tsv", pd.DataFrame({"stimulus_id": labels}))
    return true, made, order


@pytest.fixture
def pictures(tmp_path, rng):
    """Coloured pictures, and predictions of another size and type that are the same with noise."""
    from PIL import Image

    for side in ("true", "made"):
        (tmp_path / side).mkdir()
    for label in LABELS:
        small = rng.integers(0, 256, (8, 8, 3))
        large = np.repeat(np.repeat(small, 6, axis=0), 5, axis=1)
        write_png(tmp_path / "true" / f"{label}.png", large.astype(np.uint8))
        noisy = np.clip(large[::2] + rng.normal(0, 40, large[::2].shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(tmp_path / "made" / f"{label}.jpg", quality=95)
    return tmp_path / "true", tmp_path / "made"


def table(folder, name):
    return pd.read_csv(folder / f"{name}.tsv", sep="\t", na_values="n/a", keep_default_na=False)


def check_described(folder):
    for path in folder.glob("*.tsv"):
        content = json.loads(path.with_suffix(".json").read_text())
        assert {"Sources", "Settings", "SoftwareVersion", "RandomSeed"} <= set(content)
        assert not [name for name in table(folder, path.stem).columns if "LongName" not in content.get(name, {})], path


def test_latents_are_matched_by_their_index_and_scored_as_numpy_does(tmp_path, latents):
    true, made, order = latents
    out = tmp_path / "out"
    evaluate_files(Request(tmp_path / "true.npy", tmp_path / "made.npy", out, n_permutations=199))
    metrics, stats = table(out, "metrics").set_index("stimulus_id"), table(out, "stats").set_index("metric")
    for row in order:
        wanted = np.corrcoef(true[row], made[row])[0, 1]
        assert metrics.loc[LABELS[row], "latent_correlation"] == pytest.approx(wanted, abs=1e-6)
    assert list(stats.reset_index().columns) == list(STATS_COLUMNS)
    assert stats.loc["pairwise_accuracy", "p_value"] == 1 / 200 and stats.loc["pairwise_accuracy", "n"] == N - 1
    assert {"furtherstats", "latentstats", "audit"} <= {path.stem for path in out.iterdir()}
    page = (out / "evaluate.html").read_text()
    assert "above chance" in page and "1 of 21 true items have no prediction" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page), "self-contained"
    check_described(out)


def test_pictures_are_matched_by_stem_and_labels_make_groups(tmp_path, pictures, rng):
    labels = pd.DataFrame({"stimulus_id": LABELS, "sex": ["f", "m", "f"] * 7, "age": rng.normal(40, 9, N)})
    write_tsv(tmp_path / "labels.tsv", labels)
    out = tmp_path / "out"
    request = Request(*pictures, out, tmp_path / "labels.tsv", "dand", n_permutations=99)
    evaluate_files(request)
    metrics, stats = table(out, "metrics"), table(out, "stats").set_index("metric")
    assert metrics["stimulus_id"].tolist() == LABELS and metrics["latent_correlation"].isna().all()
    assert metrics["ssim"].notna().all() and stats.loc["ssim", "p_value"] == stats.loc["top1", "p_value"] == 0.01
    assert stats.loc["latent_correlation", "p_method"] == "not tested: pictures were compared, not latents"
    assert {"pixel_correlation_rgb", "ssim"} <= set(table(out, "protocolmetrics").columns)
    assert "pairwise accuracy within sex" in set(table(out, "furtherstats")["test"])
    assert set(table(out, "covariates")["covariate"]) == {"age", "sex", "complexity"}
    assert (out / "evaluate.html").read_text().count("<img") == 2 * N
    check_described(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    evaluate_files(request)
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


def test_shuffled_predictions_are_at_chance_in_words(tmp_path, latents):
    true, made, _ = latents
    for name, values in (("a", true), ("b", np.roll(made, 3, axis=0))):
        np.save(tmp_path / f"{name}.npy", values)
    evaluate_files(Request(tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "out", n_permutations=199))
    page = (tmp_path / "out" / "evaluate.html").read_text()
    assert "The result is at chance" in page and "row i of the one is taken for row i of the other" in page
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert audit["ShuffledResponses"]["Status"] == "WARN" and "at chance" in audit["ShuffledResponses"]["Text"]
    assert audit["Copies"]["Status"] == "PASS" and audit["Overlap"]["Status"] == "N/A"


def test_one_file_each_equals_one_matrix(tmp_path, latents):
    true, made, _ = latents
    for name, values in (("true", true), ("made", made)):
        (tmp_path / f"{name}_each").mkdir()
        for label, row in zip(LABELS, values, strict=True):
            np.save(tmp_path / f"{name}_each" / f"{label}.npy", row)
        cells = pd.DataFrame(values, columns=[f"z{k}" for k in range(K)])
        cells.insert(0, "stimulus_id", LABELS)
        cells.to_csv(tmp_path / f"{name}_all.tsv", sep="\t", index=False)
    scores = []
    for form in ("each", "all.tsv"):
        out = tmp_path / f"out_{form}"
        evaluate_files(Request(tmp_path / f"true_{form}", tmp_path / f"made_{form}", out, n_permutations=19))
        scores.append(table(out, "metrics"))
    pd.testing.assert_frame_equal(*scores)


def test_copies_of_the_truth_are_seen(rng):
    true, made = rng.normal(size=(2, 9, 4))
    assert copies(true, made)["Status"] == "PASS"
    own, other, double = made.copy(), made.copy(), true.copy()
    own[2], other[2], double[5] = true[2], true[3], true[1]
    for one, two, name in ((true, own, "Own"), (true, other, "Others"), (double, made, "SameTruth")):
        found = copies(one, two)
        assert found["Status"] == "WARN" and found[name] > 0


@pytest.mark.parametrize(
    ("true", "made", "change", "error", "words"),
    [
        ("nowhere", "made.npy", {}, MissingFiles, "no such file or folder"),
        ("true.npy", "pictures", {}, UsageError, "--true holds latents, --predicted holds pictures"),
        ("empty", "made.npy", {}, MissingFiles, "neither pictures"),
        ("made.npy", "true.npy", {}, InconsistentInput, "1 of 21 predictions have no true item"),
        ("true.npy", "short.npy", {}, InconsistentInput, "has 17 latents"),
        ("true.npy", "bare.npy", {}, InconsistentInput, "bare.npy has no index"),
        ("true.npy", "nan.npy", {}, InconsistentInput, "not finite: face03"),
        ("true.npy", "made.npy", {"protocol": "dnad"}, UsageError, "Did you mean 'dand'"),
        ("true.npy", "made.npy", {"protocol": "dand"}, UsageError, "latents were given"),
        ("true.npy", "made.npy", {"n_permutations": 0}, UsageError, "at least 1"),
        ("pictures", "doubles", {}, InconsistentInput, "same name but for the ending"),
        ("true.npy", "made.npy", {"labels": "strangers.tsv"}, InconsistentInput, "names none of the stimuli"),
    ],
)
def test_wrong_input_is_refused_and_nothing_is_written(tmp_path, latents, true, made, change, error, words):
    for folder, names in (("empty", ()), ("pictures", ("a.png",)), ("doubles", ("a.png", "a.jpg"))):
        (tmp_path / folder).mkdir()
        for name in names:
            write_png(tmp_path / folder / name, np.zeros((9, 9, 3), np.uint8))
    bad = latents[0].copy()
    bad[3, 1] = np.nan
    for name, values in (("short", latents[0][:, :-1]), ("bare", latents[0]), ("nan", bad)):
        np.save(tmp_path / f"{name}.npy", values)
        if name != "bare":
            write_tsv(tmp_path / f"{name}.tsv", pd.DataFrame({"stimulus_id": LABELS}))
    write_tsv(tmp_path / "strangers.tsv", pd.DataFrame({"stimulus_id": ["x", "y"], "sex": ["f", "m"]}))
    if "labels" in change:
        change = {"labels": tmp_path / change["labels"]}
    with pytest.raises(error, match=words):
        evaluate_files(Request(tmp_path / true, tmp_path / made, tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path, latents, capsys):
    commands = argparse.ArgumentParser().add_subparsers(dest="tool")
    add_evaluate(commands)
    words = ["--true", str(tmp_path / "true.npy"), "--predicted", str(tmp_path / "made.npy"),
             "--out", str(tmp_path / "out"), "--n-permutations", "19"]  # fmt: skip
    assert run_evaluate(commands.choices["evaluate"].parse_args(words)) == 0
    assert "evaluate.html" in capsys.readouterr().out and table(tmp_path / "out", "stats")["p_value"].min() == 0.05
