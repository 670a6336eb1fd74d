"""metrics.tsv, stats.tsv and their group twins: columns, counts, reasons, reproducibility, words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from hyper_bids.data import Images, Latents
from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate import METRICS
from hyper_bids.evaluate.decoded import Compared, Decoded, compare_images
from hyper_bids.evaluate.dictionary import metrics_dictionary, stats_dictionary
from hyper_bids.evaluate.group import group_interval, group_metrics, group_stats, stouffer, stouffer_two_sided
from hyper_bids.evaluate.participant import participant_metrics
from hyper_bids.evaluate.stats import NOT_TESTED, STATS_COLUMNS, References, Refits, participant_stats
from hyper_bids.report.words import NAMES, verdict

METRIC_COLUMNS = [
    *("stimulus_id", "n_repeats", "latent_similarity", "latent_similarity_mse", "latent_correlation", "latent_cosine"),
    *("feature_similarity", "feature_similarity_mse", "pixel_correlation", "ssim", "pairwise_accuracy", "top1"),
]
N, K = 8, 6


@pytest.fixture
def latents(rng):
    return Latents(rng.standard_normal((N + 2, K)), tuple(f"face{i}" for i in range(N + 2)), "toy")


def decode(latents, rng, noise=0.5, n=N, **further):
    """Decode the first n stimuli, in reverse order, so that no order can be taken for granted."""
    stimuli = latents.stimuli[:n][::-1]
    predicted = latents.rows(stimuli) + noise * rng.standard_normal((n, K))
    return Decoded(predicted, stimuli, latents, **further)


def pictures(rng, stimuli, shape=(30, 20)):
    return Images(rng.integers(0, 256, (len(stimuli), *shape, 3), dtype=np.uint8), stimuli)


def cross_validated(latents, rng, **further):
    stimuli = [*latents.stimuli[:4], *latents.stimuli[:4], latents.stimuli[0]]
    predicted = latents.rows(stimuli) + 0.5 * rng.standard_normal((9, K))
    return Decoded(predicted, stimuli, latents, folds=["1"] * 4 + ["2"] * 4 + ["3"], **further)


def row(table, metric):
    return table.set_index("metric").loc[metric]


def test_metrics_table_has_the_columns_of_the_spec(latents, rng):
    table, reasons = participant_metrics(decode(latents, rng, n_repeats=np.arange(3, 3 + N)))
    assert list(table.columns) == METRIC_COLUMNS
    assert list(METRICS) == METRIC_COLUMNS[2:]
    assert set(reasons) == {"feature_similarity", "feature_similarity_mse", "pixel_correlation", "ssim"}
    assert table[list(reasons)].isna().all(axis=None) and table.drop(columns=list(reasons)).notna().all(axis=None)
    table, _ = participant_metrics(cross_validated(latents, rng, directions={"age": np.ones(K)}))
    assert list(table.columns) == [*METRIC_COLUMNS, "attribute_age_true", "attribute_age_predicted", "fold"]


def test_rows_are_scored_against_the_stimulus_they_name(latents, rng):
    decoded = decode(latents, rng)
    table, _ = participant_metrics(decoded)
    for name in ("latent_correlation", "pairwise_accuracy", "top1", "latent_similarity"):
        expected = METRICS[name](latents.rows(decoded.stimuli), decoded.predicted)
        np.testing.assert_allclose(table[name], expected)


def test_candidates_are_all_stimuli_tested_in_any_fold_unless_more_are_named(latents, rng):
    assert set(cross_validated(latents, rng).candidates) == set(latents.stimuli[:4])
    decoded = decode(latents, rng, candidates=latents.stimuli)
    assert len(decoded.candidates) == N + 2
    stats = participant_stats(decoded, n_bootstrap=50)
    assert row(stats, "top1")["chance"] == pytest.approx(1 / (N + 2))
    assert row(stats, "top1")["p_value"] < 0.01


def test_pictures_are_one_per_stimulus_and_a_missing_one_is_said(latents, rng):
    folded = cross_validated(latents, rng)
    tested = list(folded.tested)
    true, predicted = pictures(rng, tested[::-1]), pictures(rng, tested[1:], (17, 41))
    compared = compare_images(true, predicted, (32, 24))
    assert compared.true.shape == (3, 32, 24)
    table, reasons = participant_metrics(cross_validated(latents, rng, images=compared))
    by_stimulus = table.groupby("stimulus_id")["ssim"]
    assert (by_stimulus.nunique() <= 1).all()
    assert by_stimulus.first()[tested[1:]].notna().all() and np.isnan(by_stimulus.first()[tested[0]])
    assert "1 of 4" in reasons["ssim"]
    one = compared.among(tested[2:3])
    expected = METRICS["ssim"](one.true, one.predicted)
    assert by_stimulus.first()[tested[2]] == pytest.approx(expected[0])


def test_stats_count_stimuli_not_rows(latents, rng):
    decoded = cross_validated(latents, rng)
    table, _ = participant_metrics(decoded)
    means = table.groupby("stimulus_id")["latent_correlation"].mean()
    found = row(participant_stats(decoded), "latent_correlation")
    assert found["n"] == 4 and found["mean"] == pytest.approx(means.mean())
    assert found["sem"] == pytest.approx(means.std(ddof=1) / 2)
    assert means.min() <= found["ci_low"] <= found["mean"] <= found["ci_high"] <= means.max()


def test_stats_table_has_its_columns_and_a_row_for_everything(latents, rng):
    directions = {"age": np.ones(K), "pose": np.eye(K)[0]}
    stats = participant_stats(decode(latents, rng, directions=directions), references=References("normal"))
    assert tuple(stats.columns) == STATS_COLUMNS
    similarities = [name for name, metric in METRICS.items() if metric.is_similarity]
    baselines = [f"{name}_{kind}" for name in similarities for kind in ("zero", "random")]
    attributes = ["attribute_age", "attribute_age_partial", "attribute_pose", "attribute_pose_partial"]
    assert list(stats["metric"]) == [*METRICS, "latent_dimension_correlation", *baselines, *attributes]
    assert stats["p_method"].map(type).eq(str).all()
    assert (stats["p_value"].isna() == stats["p_method"].str.startswith(NOT_TESTED)).all()
    tested = [n for n, m in METRICS.items() if m.domain == "latent"] + ["latent_dimension_correlation"]
    assert (stats.set_index("metric").loc[tested, "p_value"] < 0.05).all()


def test_one_seed_gives_one_table_and_another_seed_another(latents, rng):
    decoded = decode(latents, rng, noise=3.0)
    first, again, other = (participant_stats(decoded, references=References("normal"), seed=s) for s in (3, 3, 4))
    assert first.equals(again) and not first.equals(other)


def test_the_order_of_rows_does_not_change_means(latents, rng):
    decoded = decode(latents, rng)
    turned = Decoded(decoded.predicted[::-1], decoded.stimuli[::-1], latents)
    one, two = participant_stats(decoded), participant_stats(turned)
    np.testing.assert_allclose(one["mean"], two["mean"], rtol=1e-12)
    # permutations are drawn by position: p is the same up to Monte Carlo error
    np.testing.assert_allclose(one["p_value"], two["p_value"], atol=0.02)


def test_small_designs_are_exact_and_one_stimulus_is_not_tested(latents, rng):
    exact = row(participant_stats(decode(latents, rng, noise=0.01, n=5)), "pairwise_accuracy")
    assert exact["p_value"] == 1 / 120 and "all 120" in exact["p_method"] and exact["null_mean"] == pytest.approx(0.5)
    single = participant_stats(decode(latents, rng, n=1))
    assert single["p_value"].isna().all()
    assert "one test stimulus" in row(single, "latent_similarity")["p_method"]
    assert "one candidate" in row(single, "top1")["p_method"]
    assert row(single, "latent_similarity")["n"] == 1 and np.isnan(row(single, "latent_similarity")["ci_low"])


def test_one_latent_dimension_says_why_correlation_is_absent(rng):
    latents = Latents(rng.standard_normal((N, 1)), tuple("abcdefgh"), "toy")
    decoded = Decoded(latents.values + 0.1, latents.stimuli, latents)
    stats = participant_stats(decoded)
    assert "one latent dimension" in row(stats, "top1")["p_method"] and row(stats, "top1")["n"] == 0
    assert row(stats, "latent_dimension_correlation")["mean"] == pytest.approx(1.0)


def test_a_cross_validated_design_is_tested_by_refits_only(latents, rng):
    decoded = cross_validated(latents, rng)
    assert "refits" in row(participant_stats(decoded), "latent_correlation")["p_method"]
    assert participant_stats(decoded)["p_value"].isna().all()
    labels = np.array([rng.permutation(decoded.stimuli) for _ in range(49)])
    refits = Refits(rng.standard_normal((49, 9, K)), labels, {"ssim": rng.uniform(0, 0.1, 49)})
    images = Compared(*np.repeat(rng.uniform(0, 255, (1, 4, 20, 21)), 2, axis=0), decoded.tested)
    stats = participant_stats(cross_validated(latents, rng, images=images), refits=refits)
    for name in ("latent_correlation", "latent_dimension_correlation", "ssim"):
        found = row(stats, name)
        assert found["p_value"] == 1 / 50 and found["p_method"] == "49 refits with permuted stimuli"
    assert np.isnan(row(stats, "pixel_correlation")["p_value"])


def test_baselines_and_ceiling_of_pictures_and_latents(latents, rng):
    plain = decode(latents, rng)
    true, predicted, random = rng.uniform(0, 255, (3, N, 20, 21))
    grey = np.full((1, 20, 21), 127.0)
    references = References(
        "normal",
        zero={"image": grey},
        random={"image": random},
        ceiling={"image": Compared(true, true, plain.tested)},
    )
    decoded = Decoded(plain.predicted, plain.stimuli, latents, images=Compared(true, predicted, plain.tested))
    stats = participant_stats(decoded, references=references)
    assert row(stats, "ssim")["ceiling"] == pytest.approx(1.0) and row(stats, "ssim")["p_value"] > 0.001
    zeros = METRICS["ssim"](true, np.repeat(grey, N, axis=0)).mean()
    assert row(stats, "ssim_zero")["mean"] == pytest.approx(zeros)
    pairs = [METRICS["ssim"](true, np.repeat(r[None], N, axis=0)) for r in random]
    assert row(stats, "ssim_random")["mean"] == pytest.approx(np.mean(pairs))
    assert np.isnan(row(stats, "pixel_correlation_zero")["mean"])  # a uniform picture correlates with nothing
    zero = METRICS["latent_similarity"](decoded.true, np.zeros((N, K))).mean()
    assert row(stats, "latent_similarity_zero")["mean"] == pytest.approx(zero)
    assert abs(row(stats, "latent_correlation_random")["mean"]) < 0.05


def test_bad_test_sets_are_refused(latents, rng):
    stimuli = list(latents.stimuli[:3])
    with pytest.raises(InconsistentInput, match="average its repeats"):
        Decoded(np.zeros((2, K)), ["face0", "face0"], latents)
    with pytest.raises(InconsistentInput, match="face9x"):
        Decoded(np.zeros((1, K)), ["face9x"], latents)
    with pytest.raises(InconsistentInput, match=r"\(3, 5\)"):
        Decoded(np.zeros((3, K - 1)), stimuli, latents)
    with pytest.raises(InconsistentInput, match="not finite for face1"):
        Decoded(np.where(np.eye(3, K, 1) * [[0], [1], [0]], np.nan, 0.0), stimuli, latents)


@pytest.fixture
def study(latents, rng):
    """Three participants who saw the same stimuli."""
    people = {f"sub-0{i}": decode(latents, rng, noise=1.5, directions={"age": np.ones(K)}) for i in (1, 2, 3)}
    metrics = {name: participant_metrics(decoded)[0] for name, decoded in people.items()}
    return {name: participant_stats(decoded) for name, decoded in people.items()}, metrics


def test_group_tables_keep_participants_and_add_the_group(study):
    stats, metrics = study
    stacked = group_metrics(metrics)
    assert list(stacked.columns)[:3] == ["participant_id", "stimulus_id", "n_repeats"] and len(stacked) == 3 * N
    table = group_stats(stats, metrics)
    assert list(table.columns) == ["participant_id", *STATS_COLUMNS]
    assert len(table) == 4 * len(stats["sub-01"])
    group = table[table["participant_id"] == "group"].set_index("metric")
    means = [row(s, "latent_correlation")["mean"] for s in stats.values()]
    found = group.loc["latent_correlation"]
    assert found["n"] == 3 and found["mean"] == pytest.approx(np.mean(means))
    assert found["sem"] == pytest.approx(np.std(means, ddof=1) / np.sqrt(3))
    assert found["ci_low"] < found["mean"] < found["ci_high"]
    p = [row(s, "latent_correlation")["p_value"] for s in stats.values()]
    assert found["p_value"] == pytest.approx(scipy_stats.combine_pvalues(p, method="stouffer").pvalue)
    assert group_stats(stats, metrics).equals(table)


def test_one_participant_is_a_group_that_says_so(study):
    stats, metrics = ({"sub-01": part["sub-01"]} for part in study)
    table = group_stats(stats, metrics)
    found = table[table["participant_id"] == "group"].set_index("metric").loc["latent_correlation"]
    assert found["n"] == 1 and np.isnan(found["sem"]) and "one participant" in found["p_method"]
    assert found["p_value"] == row(stats["sub-01"], "latent_correlation")["p_value"]
    assert found["ci_low"] < found["ci_high"]


def test_a_p_of_one_does_not_silence_the_others_and_opposite_effects_cancel():
    assert stouffer([0.001, 0.001, 1.0]) < 0.1
    assert stouffer([0.03]) == pytest.approx(0.03)
    assert stouffer_two_sided([0.04], [1]) == pytest.approx(0.04) == stouffer_two_sided([0.04], [-1])
    assert stouffer_two_sided([0.01, 0.01], [1, -1]) == pytest.approx(1.0)
    assert stouffer_two_sided([0.01, 0.01], [-1, -1]) < 0.001


def test_group_interval_covers_both_sources_of_variation(rng):
    n = 40
    effect = rng.standard_normal(5)[:, None] + rng.standard_normal(n)  # participants + stimuli
    shared = np.diff(group_interval(list(effect), True, 3000, rng))[0]
    nested = np.diff(group_interval(list(effect), False, 3000, rng))[0]
    crossed_sd = np.sqrt(effect.mean(axis=1).var() / 5 + effect.mean(axis=0).var() / n)
    assert shared == pytest.approx(2 * 1.96 * crossed_sd, rel=0.15)
    nested_sd = np.sqrt(effect.mean(axis=1).var() / 5 + effect.var(axis=1).mean() / (5 * n))
    assert nested == pytest.approx(2 * 1.96 * nested_sd, rel=0.15)


def test_participants_must_match(study):
    stats, metrics = study
    with pytest.raises(InconsistentInput, match="sub-02"):
        group_stats(stats, {k: v for k, v in metrics.items() if k != "sub-02"})
    with pytest.raises(InconsistentInput, match="at least one"):
        group_metrics({})


def test_every_row_has_a_verdict(study):
    table = group_stats(*study)
    for record in table.to_dict("records"):
        text = verdict(record)
        assert text.endswith(".") and "nan" not in text
        if np.isfinite(record["p_value"]):
            assert ("at chance" in text) == (record["p_value"] >= 0.05)
        else:
            assert "because" in text or "baseline" in text


def test_verdicts_read_as_sentences():
    base = {"metric": "pairwise_accuracy", "n": 20, "mean": 0.931, "chance": 0.5, "null_mean": 0.501}
    tested = {**base, "p_value": 0.000999, "p_method": "1000 permutations of stimuli"}
    assert verdict(tested) == (
        "Pairwise identification 0.93 (chance 0.50), p = 0.001 by 1000 permutations of stimuli, "
        "n = 20 stimuli: above chance."
    )
    assert verdict({**tested, "p_value": 0.05}).endswith("at chance.")
    assert "(chance 0.50; with permuted labels 0.58)" in verdict({**tested, "null_mean": 0.58})
    untested = {**base, "n": 1, "p_value": np.nan, "p_method": "not tested: one test stimulus, nothing to permute"}
    assert verdict(untested).endswith("n = 1 stimulus: not tested, because one test stimulus, nothing to permute.")
    wrong = {**tested, "metric": "attribute_age", "mean": -0.9}
    assert "wrong way round" in verdict(wrong)


def test_every_column_is_described(latents, rng, study):
    table, reasons = participant_metrics(cross_validated(latents, rng, directions={"big_smile": np.ones(K)}))
    entries = metrics_dictionary(["participant_id", *table.columns], reasons)
    assert all(entry["LongName"] and entry["Description"] for entry in entries.values())
    assert "no feature network" in entries["feature_similarity"]["Description"]
    assert "big_smile" in entries["attribute_big_smile_true"]["LongName"]
    assert set(stats_dictionary(group_stats(*study).columns)) == {"participant_id", *STATS_COLUMNS}


def test_the_report_calls_every_metric_by_its_name():
    assert {name: NAMES[name] for name in METRICS} == {name: metric.long_name for name, metric in METRICS.items()}
