"""The group level on folders as participants leave them: who is compared, refused, named, and what is said."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway, pearsonr, wilcoxon

from hyper_bids import __version__
from hyper_bids.derivatives.tree import checksum
from hyper_bids.derivatives.write import write_json, write_tsv
from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.report.group_figures import RECORD
from hyper_bids.settings import EvaluateSettings, Execution, Settings
from hyper_bids.workflow.files import load_table
from hyper_bids.workflow.group import run_group
from hyper_bids.workflow.group_covariates import kinds_of
from hyper_bids.workflow.group_results import parse_table

METRICS = ("latent_correlation", "pairwise_accuracy", "ssim")
MEMORY = 100e6
STIMULI = [f"face{number:02d}" for number in range(18)]


def publish(out, who, model, scores, space="toyZ", version=__version__, settings="abc", p=0.01):
    """Write one participant's tables: scores (n_stimuli, 3) of `METRICS`."""
    stem = out / f"sub-{who}" / "func" / f"sub-{who}_task-faces_model-{model}_desc-{space}_x"
    table = pd.DataFrame(scores, columns=list(METRICS))
    table.insert(0, "stimulus_id", [f"face{number:02d}" for number in range(len(table))])
    stats = pd.DataFrame({"metric": list(METRICS), "n": len(table), "mean": table[list(METRICS)].mean().to_numpy()})
    for name, value in (("sem", 0.01), ("ci_low", 0.0), ("ci_high", 1.0), ("chance", np.nan), ("null_mean", 0.0),
                        ("null_sd", 0.02), ("p_value", p), ("p_method", "999 permutations of stimuli"),
                        ("ceiling", np.nan)):  # fmt: skip
        stats[name] = value
    known = pd.DataFrame({"stimulus_id": table["stimulus_id"], "age": np.arange(len(table)) ** 2.0,
                          "sex": ["f", "m", "m"] * (len(table) // 3), "complexity": 500.0 + np.arange(len(table)) % 5,
                          "name": table["stimulus_id"] + "x"})  # fmt: skip
    for suffix, content in (("metrics", table), ("stats", stats), ("stimuluscovariates", known)):
        path = stem.with_name(stem.name.replace("_x", f"_{suffix}.tsv"))
        write_tsv(path, content)
        stamp = {"SoftwareVersion": version, "Settings": settings, "InputDigest": who, "TrialModel": "lsa"}
        write_json(path.with_suffix(".json"), {**stamp, "Complexity": {"Codec": "jpeg"}})


def study(out, rng, people=6, models=("ridge", "ols", "map")):
    """Participants whose first model is better than the others."""
    base = rng.normal(0.3, 0.1, (people, len(STIMULI), 3))
    for number in range(people):
        for place, model in enumerate(models):
            noise = rng.normal(0, 0.02, base[number].shape)
            publish(out, f"{number + 1:02d}", model, base[number] + 0.1 * (place == 0) + noise)


def group(out, bids=None, allow_mixed=False, **execution):
    settings = Settings(evaluate=EvaluateSettings(allow_mixed=allow_mixed))
    return run_group(bids or out.parent / "bids", out, settings, Execution(quiet=True, **execution))


def rows(out, name):
    (path,) = out.glob(f"task-faces_{name}.tsv")
    described = json.loads(path.with_suffix(".json").read_text())
    table = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
    assert not [column for column in table.columns if "LongName" not in described.get(column, {})]
    return table, described


def test_decoders_are_compared_as_scipy_does(tmp_path, rng):
    out = tmp_path / "out"
    study(out, rng)
    assert group(out) == 0
    found, described = rows(out, "model-all_desc-toyZ_groupcomparison")
    own = found[found["metric"] == "ssim"]
    means = {
        model: [load_table(path)["ssim"].mean() for path in sorted(out.glob(f"sub-*/func/*-{model}_*_metrics.tsv"))]
        for model in ("ridge", "ols", "map")
    }
    for row in own[own["kind"] == "pair"].to_dict("records"):
        one, two = (np.array(means[row[name]]) for name in ("model_a", "model_b"))
        assert row["value"] == pytest.approx((one - two).mean(), abs=1e-8) and row["n"] == 6
        assert row["p_value"] == pytest.approx(wilcoxon(one - two, method="exact").pvalue)
        assert row["p_holm"] >= row["p_value"]
    omnibus = own[own["kind"] == "omnibus"].iloc[0]
    assert omnibus["p_method"] == "Friedman, exact distribution" and omnibus["p_value"] < 0.05
    assert described["Compared"] == "decoders" and len(own) == 3 + 1 + 3
    page = (out / "group.html").read_text()
    assert "the 3 decoders differ" in page and "There are 6 participants." in page


def test_two_decoders_in_four_who_agree_have_the_sign_tests_p(tmp_path, rng):
    """VAE-GAN's case: chi2(1) = 4 is p = 0.125, and the page says that no smaller p could have come."""
    out = tmp_path / "out"
    study(out, rng, people=4, models=("ridge", "ols"))
    group(out)
    found, described = rows(out, "model-all_desc-toyZ_groupcomparison")
    assert found.loc[found["kind"] == "omnibus", "p_value"].tolist() == [0.125] * 3
    assert any("stays open" in sentence for sentence in described["Words"])
    page = (out / "group.html").read_text()
    assert "cannot be told apart" in page and "it does not show that other people would have it" in page


def test_latent_spaces_are_compared_by_what_means_the_same_in_both(tmp_path, rng):
    out = tmp_path / "out"
    for who in ("01", "02", "03"):
        for space in ("oneZ", "otherZ"):
            publish(out, who, "ridge", rng.normal(0.3, 0.1, (18, 3)), space=space)
    group(out)
    found, described = rows(out, "model-ridge_desc-all_groupcomparison")
    assert set(found["metric"]) == {"pairwise_accuracy", "ssim"} and described["Compared"] == "latent spaces"
    assert not list(out.glob("*model-all*"))


def test_figures_of_results_that_went_go_and_what_is_somebodys_own_stays(tmp_path, rng):
    out = tmp_path / "out"
    study(out, rng, people=2, models=("ridge", "ols"))
    group(out)
    own = out / "figures" / "task-faces_model-ols_mine.svg"
    own.write_text("not in any record")
    mine, theirs = sorted((out / "figures").glob("*model-ols*participants.svg"))[:2]
    theirs.write_text("drawn over")
    for path in out.glob("sub-*/func/*_model-ols_*"):
        path.unlink()
    group(out)
    assert {path.name for path in (out / "figures").iterdir() if "ridge" not in path.name} == {own.name, theirs.name}
    assert len(list((out / "figures").glob("*model-ridge*participants.svg"))) == len(METRICS)
    assert mine.name not in (out / "group.html").read_text()


def test_figures_of_a_task_that_was_not_asked_for_stay_while_it_has_results(tmp_path, rng):
    out = tmp_path / "out"
    study(out, rng, people=2, models=("ridge",))
    for path in list(out.glob("sub-*/func/*")):
        path.with_name(path.name.replace("task-faces", "task-places")).write_bytes(path.read_bytes())
    group(out)
    whole = {path.name for path in (out / "figures").iterdir()}
    group(out, task_id=("faces",))
    assert {path.name for path in (out / "figures").iterdir()} == whole and len(whole) == 4 * len(METRICS)
    for path in out.glob("sub-*/func/*task-places*"):
        path.unlink()
    group(out, task_id=("faces",))
    assert not list((out / "figures").glob("*task-places*")) and list((out / "figures").glob("*task-faces*"))


def test_a_record_names_no_file_outside_the_figures(tmp_path, rng):
    out = tmp_path / "out"
    study(out, rng, people=2, models=("ridge",))
    victim = tmp_path / "out" / "sub-01" / "notes.txt"
    victim.write_text("keep")
    record = out / RECORD
    record.parent.mkdir(parents=True)
    names = ("sub-01/notes.txt", "figures/../sub-01/notes.txt", str(victim))
    record.write_text("".join(f"{checksum(victim)}  {name}\n" for name in names))
    group(out)
    assert victim.read_text() == "keep"


def test_who_lacks_a_decoder_is_named_and_left_out_of_the_comparison(tmp_path, rng, capsys):
    out = tmp_path / "out"
    study(out, rng, models=("ridge", "ols"))
    for path in out.glob("sub-03/func/*_model-ols_*"):
        path.unlink()
    next(out.glob("sub-05/func/*_model-ols_*_stats.tsv")).unlink()
    for name in ("sub-01", "sub-08", "sub-09"):
        (tmp_path / "bids" / name).mkdir(parents=True)
    (out / "logs" / "sub-09").mkdir(parents=True)
    group(out)
    found, described = rows(out, "model-all_desc-toyZ_groupcomparison")
    assert (found.loc[found["kind"] == "mean", "n"] == 4).all()
    assert described["LeftOut"] == ["Not all decoders have results of 2 participants, left out: sub-03, sub-05."]
    said = capsys.readouterr().out
    assert "there are results of other decoders or latent spaces, and none of this: sub-03, sub-05" in said
    assert "no results of 2 participants of the dataset: sub-08, sub-09; begun and not finished" in said
    assert "results of 1 participant left out, since they are not complete: sub-05" in said
    assert "sub-08" in (out / "group.html").read_text()


@pytest.mark.parametrize("change", [{"version": "0.0.1"}, {"settings": "other"}])
def test_participants_who_were_processed_differently_are_refused(tmp_path, rng, change, capsys):
    out = tmp_path / "out"
    study(out, rng, people=3, models=("ridge",))
    publish(out, "04", "ridge", rng.normal(size=(18, 3)), **change)
    with pytest.raises(InconsistentInput, match=r"sub-04(.|\n)*--allow-mixed") as refused:
        group(out)
    assert refused.value.exit_code == 65 and not list(out.glob("task-*")) and not (out / "group.html").exists()
    assert group(out, participant_label=("01", "02", "03")) == 0
    assert group(out, allow_mixed=True) == 0
    assert "participants were processed with different" in capsys.readouterr().out
    assert "sub-04" in (out / "group.html").read_text()


def test_allow_mixed_does_not_change_what_participants_are_called_by():
    mixed = Settings(evaluate=EvaluateSettings(allow_mixed=True))
    assert mixed.digest() == Settings().digest() and EvaluateSettings().allow_mixed is False


def test_covariates_equal_scipy(tmp_path, rng):
    out = tmp_path / "out"
    study(out, rng, people=4, models=("ridge",))
    group(out)
    found, described = rows(out, "model-ridge_desc-toyZ_groupcovariates")
    assert set(found["covariate"]) == {"age", "complexity", "sex"}, "a name is neither number nor category"
    accuracy = np.mean([load_table(path)["ssim"] for path in out.glob("sub-*/func/*_metrics.tsv")], axis=0)
    own = found[found["metric"] == "ssim"].set_index("covariate")
    wanted = pearsonr(accuracy, np.arange(18) ** 2.0)
    assert own.loc["age", "statistic"] == pytest.approx(wanted.statistic, abs=1e-6)
    assert own.loc["age", "p_value"] == pytest.approx(wanted.pvalue, abs=0.03)
    assert own.loc["age", "p_bonferroni"] == pytest.approx(min(1, 2 * own.loc["age", "p_value"]))
    sexes = np.array(["f", "m", "m"] * 6)
    analysis = f_oneway(accuracy[sexes == "f"], accuracy[sexes == "m"])
    assert own.loc["sex", "statistic"] == pytest.approx(analysis.statistic, rel=1e-5)
    assert described["Complexity"] == {"Codec": "jpeg"}
    assert "easy to decode" in (out / "group.html").read_text()


def test_columns_are_numbers_categories_or_neither():
    table = pd.DataFrame({"age": ["3", None, "4.5"], "sex": ["f", "m", None], "same": ["1", "1", "1"],
                          "one": ["x", "x", "x"], "empty": [None] * 3})  # fmt: skip
    numeric, categories = kinds_of(table)
    assert list(numeric) == ["age"] and list(categories) == ["sex"]


def test_the_quick_reader_reads_what_pandas_reads(tmp_path, rng):
    out = tmp_path / "out"
    publish(out, "01", "ridge", rng.normal(size=(18, 3)))
    for path in out.glob("sub-01/func/*.tsv"):
        wanted = load_table(path)
        found = parse_table(path.read_text())
        pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    table = parse_table("stimulus_id\tn\tfold\n007\t3\tn/a\nNA\tn/a\t02\n")
    assert table["stimulus_id"].tolist() == ["007", "NA"] and table["fold"].tolist() == ["n/a", "02"]
    assert np.isnan(table.loc[1, "n"])


@pytest.mark.parametrize("damage", ["stimulus_id\tssim\nface\n", "", "stimulus_id\tssim\n"])
def test_a_damaged_table_is_named(tmp_path, rng, damage):
    out = tmp_path / "out"
    publish(out, "01", "ridge", rng.normal(size=(18, 3)))
    path = next(out.glob("sub-01/func/*_metrics.tsv"))
    path.write_text(damage)
    with pytest.raises(MissingFiles, match=path.name):
        group(out)


def test_many_participants_fit_and_are_drawn_as_a_distribution(tmp_path, rng):
    """60 x 18 stimuli x 5 models; 1000 x 100 x 5 took 40 s of one core and 0.7 GB when this was written."""
    out = tmp_path / "out"
    study(out, rng, people=60, models=tuple("abcde"))
    tracemalloc.start()
    group(out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY
    assert "mean; the group&#39;s 95 % interval is shaded" in (out / "group.html").read_text()


def test_decoders_of_other_responses_are_not_compared(tmp_path, rng, capsys):
    """A decoder that was added later with another GLM or other voxels differs in more than the decoder."""
    out = tmp_path / "out"
    study(out, rng, people=4, models=("ridge", "ols"))
    for path in out.glob("sub-0[12]/func/*_metrics.json"):
        other = "sub-01" in path.name and "ols" in path.name
        write_json(path, {**json.loads(path.read_text()), "SettingsBeforeDecoder": "lsa" if other else "lss"})
    assert group(out) == 0
    page = (out / "group.html").read_text()
    assert "The decoders of 1 participant were run with different settings" in page and "compared: sub-01." in page
    (path,) = out.glob("*_groupcomparison.tsv")
    assert set(load_table(path).query("kind == 'mean'")["n"]) == {3}


def test_no_group_interval_leaves_what_the_metric_can_be(tmp_path, rng):
    out = tmp_path / "out"
    study(out, rng, people=2, models=("ridge", "ols"))
    for who, shift in (("01", 0.55), ("02", 0.8)):
        publish(out, who, "ridge", np.clip(rng.normal(shift, 0.3, (18, 3)), 0, 1))
        publish(out, who, "ols", np.clip(rng.normal(shift, 0.3, (18, 3)), 0, 1))
    assert group(out) == 0
    (path,) = out.glob("*_model-ridge_*_groupstats.tsv")
    rows = load_table(path).query("participant_id == 'group' and metric == 'pairwise_accuracy'")
    assert rows["ci_low"].item() >= 0 and rows["ci_high"].item() == 1.0
    (path,) = out.glob("*_groupcomparison.tsv")
    means = load_table(path).query("kind == 'mean' and metric == 'pairwise_accuracy'")
    assert (means["ci_high"] <= 1).all() and (means["ci_low"] >= 0).all()


def test_perfect_scores_of_few_stimuli_leave_room_for_doubt(tmp_path, rng):
    """18 of 18 in both participants: at least the doubt that 18 of 18 leaves in one (Agresti and Coull)."""
    out = tmp_path / "out"
    for who in ("01", "02"):
        publish(out, who, "ridge", np.ones((18, 3)))
    assert group(out) == 0
    (path,) = out.glob("*_groupstats.tsv")
    rows = load_table(path).query("participant_id == 'group'").set_index("metric")
    assert rows.loc["pairwise_accuracy", "ci_high"] == 1 and 0.75 < rows.loc["pairwise_accuracy", "ci_low"] < 0.85


def test_a_metric_without_its_test_is_a_damaged_file(tmp_path, rng):
    out = tmp_path / "out"
    study(out, rng, people=3, models=("ridge",))
    (path,) = out.glob("sub-02/func/*_stats.tsv")
    path.write_text("\n".join(path.read_text().split("\n")[:2]) + "\n")
    with pytest.raises(MissingFiles, match=r"sub-02_.*_stats\.tsv is not complete: ssim, pairwise_accuracy"):
        group(out)


def test_participants_without_an_audit_are_named(tmp_path, rng):
    out = tmp_path / "out"
    study(out, rng, people=2, models=("ridge",))
    (path,) = out.glob("sub-02/func/*_metrics.tsv")
    write_json(path.with_name(path.name.replace("metrics.tsv", "audit.json")), {"Overlap": {"Status": "PASS"}})
    assert group(out) == 0
    assert "1 of 2 participants have no audit: sub-01." in (out / "group.html").read_text()
