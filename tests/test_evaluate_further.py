"""The table of further tests: its rows are those of the single tests; cross-validated designs need refits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hyper_bids.data import Latents
from hyper_bids.evaluate.attribute_tests import refitted_attribute_table
from hyper_bids.evaluate.decoded import Decoded
from hyper_bids.evaluate.further_refits import FurtherNull, column_p, read_draws
from hyper_bids.evaluate.further_tests import COLUMNS, further_tests, latent_table
from hyper_bids.evaluate.identification import pairwise_accuracy
from hyper_bids.evaluate.k_way import k_way_accuracy
from hyper_bids.evaluate.rank_null import rank_sum_test
from hyper_bids.workflow.steps.further import groups_of, means_of

NAMES = tuple(f"s{i:02d}" for i in range(14))


def decoded_of(rng, effect=1.0, folds=None):
    latents = Latents(rng.standard_normal((14, 30)).astype(np.float32), NAMES, "toy")
    predicted = effect * latents.values + rng.standard_normal((14, 30))
    return Decoded(predicted, NAMES, latents, folds)


def test_rows_are_those_of_the_single_tests(rng):
    decoded = decoded_of(rng, 0.2)
    gender = np.where(np.arange(14) < 6, "f", "m")
    table = further_tests(decoded, labels={"gender": gender}, distribution="normal", n_permutations=199)
    assert list(table.columns) == list(COLUMNS) and table["unit"].eq("stimulus").all()
    table = table.set_index("test")
    pairwise = pairwise_accuracy(decoded.true, decoded.predicted)
    assert table.loc["2-way identification", "mean"] == pytest.approx(pairwise.mean())
    assert table.loc["pairwise accuracy, rank sum", "p_value"] == rank_sum_test(13 * pairwise, [14] * 14).p
    r = np.corrcoef(decoded.predicted, decoded.true)[:14, 14:]
    assert table.loc["5-way identification", "mean"] == pytest.approx(k_way_accuracy(r, np.arange(14), 5).mean())
    within = [np.mean([r[i, i] > r[i, j] for j in range(14) if j != i and gender[i] == gender[j]]) for i in range(14)]
    assert table.loc["pairwise accuracy within gender", "mean"] == pytest.approx(np.mean(within))
    assert table.loc["latent_similarity_mse of zeros, random latents", "p_value"] == pytest.approx(1 / 200)
    assert {"20-way identification", "50-way identification"}.isdisjoint(table.index)


def test_the_null_gives_uniform_p_and_an_effect_small_ones(rng):
    strong = further_tests(decoded_of(rng), n_permutations=199).set_index("test")
    assert (strong["p_value"] <= 0.01).all() and (strong["n"] == 14).all()
    nothing = [further_tests(decoded_of(rng, 0.0), n_permutations=99)["p_value"].min() for _ in range(8)]
    assert max(nothing) > 0.05


def test_cross_validated_designs_without_refits_are_not_tested(rng):
    decoded = decoded_of(rng, folds=tuple("ab" * 7))
    for table in (further_tests(decoded, n_permutations=9), latent_table(decoded)):
        assert table["p_value"].isna().all() and table["p_method"].str.startswith("not tested").all()


def in_two_folds(rng, effect):
    """Every stimulus in both folds, and 99 refits to permuted labels that predict nothing but noise."""
    latents = Latents(rng.standard_normal((14, 30)).astype(np.float32), NAMES, "toy")
    own = np.tile(np.arange(14), 2)
    drawn = np.stack([np.tile(rng.permutation(14), 2) for _ in range(99)])
    noise = rng.standard_normal((28, 30))
    predicted = effect * latents.values[own] + noise
    refits = np.broadcast_to(noise, (99, 28, 30))
    return Decoded(predicted, NAMES * 2, latents, tuple("a" * 14 + "b" * 14)), refits, drawn


def test_refits_are_scored_as_the_observed_predictions_are(rng):
    """The draws of the identity permutation are the observed numbers; a naive loop agrees for the others."""
    decoded, refits, drawn = in_two_folds(rng, 0.3)
    gender = np.where(np.arange(14) < 6, "f", "m")
    null = FurtherNull(decoded.candidate_values, 28, labels={"gender": gender}, directions={"smile": np.eye(30)[3]})
    null.add(decoded.predicted[None], decoded.row_stimulus[None])
    null.add(refits, drawn)
    draws = read_draws({name: np.array(values) for name, values in null.arrays().items()})
    table = further_tests(decoded, labels={"gender": gender}, null=draws).set_index("test")
    tested = table[table["p_value"].notna()]
    assert set(draws.tests) == set(tested.index) and len(tested) == 6
    for name, row in tested.iterrows():
        assert draws.tests[name][0] == pytest.approx(row["mean"])
    assert draws.latents[0] == pytest.approx(latent_table(decoded, null=draws)["r"].to_numpy(), abs=1e-6)
    r = np.corrcoef(refits[4], decoded.candidate_values)[:28, 28:]
    wins = [np.mean([r[i, k] > r[i, j] for j in range(14) if j != k]) for i, k in enumerate(drawn[4])]
    per_stimulus = [np.mean([win for win, k in zip(wins, drawn[4], strict=True) if k == j]) for j in range(14)]
    assert draws.tests["2-way identification"][5] == pytest.approx(np.mean(per_stimulus))
    means = np.stack([refits[4][drawn[4] == j].mean(axis=0) for j in range(14)])
    smile = np.corrcoef(means[:, 3], decoded.candidate_values[:, 3])[0, 1]
    assert draws.attributes["smile"][5] == pytest.approx(smile)
    assert draws.latents[5, 3] == pytest.approx(smile, abs=1e-6)


def test_refits_give_p_to_every_further_test(rng):
    decoded, refits, drawn = in_two_folds(rng, 2.0)
    null = FurtherNull(decoded.candidate_values, 28, directions={"smile": np.eye(30)[3]})
    null.add(refits, drawn)
    draws = read_draws(null.arrays())
    tested = further_tests(decoded, null=draws).set_index("test")
    identified = tested[tested.index.str.contains("identification|similar")]
    assert (identified["p_value"] == 0.01).all() and identified["p_method"].str.contains("99 refits").all()
    latents = latent_table(decoded, null=draws)
    assert latents["p_value"].max() < 0.05 and (latents["p_max"] >= latents["p_value"]).all()
    found = refitted_attribute_table(decoded.candidate_values, means_of(decoded), {"smile": np.eye(30)[3]}, draws)
    assert found["p_value"].item() == pytest.approx(latents["p_value"][3])


def test_the_null_of_the_further_tests_is_bounded():
    null = FurtherNull(np.zeros((2000, 2_000_000 // 2000)), 10_000)
    assert 0 <= null.left < 100 and null.arrays()["latents"].shape == (0, 1000)


def test_latents_are_tested_one_by_one(rng):
    table = latent_table(decoded_of(rng, 3.0), n_permutations=199)
    assert len(table) == 30 and (table["p_max"] >= table["p_value"] - 1e-12).all() and table["p_value"].max() < 0.1
    assert table["name"].iloc[-1] == "z0029"


def test_a_draw_that_equals_the_observed_r_counts_although_draws_are_in_single_precision(rng):
    latents = Latents(rng.standard_normal((4, 50)).astype(np.float32), NAMES[:4], "toy")
    predicted = rng.standard_normal((8, 50))
    decoded = Decoded(predicted, NAMES[:4] * 2, latents, tuple("aaaabbbb"))
    null = FurtherNull(decoded.candidate_values, 8)
    null.add(np.repeat(predicted[None], 20, axis=0), np.repeat(decoded.row_stimulus[None], 20, axis=0))
    table = latent_table(decoded, null=read_draws(null.arrays()))
    assert (table["p_value"] == 1).all() and (table["p_max"] == 1).all()


def test_undefined_draws_count_as_extreme_in_the_maximum_too():
    draws = np.full((100, 1), np.nan)
    draws[:10] = 0.1
    p, _, p_max = column_p(np.array([0.5]), draws)
    assert p[0] == p_max[0] == pytest.approx(91 / 101)


def test_labels_that_some_stimuli_lack_still_make_groups():
    stimuli = pd.DataFrame({"stimulus_id": NAMES, "gender": ["m", "f"] * 6 + [None, "x"], "id": NAMES})
    assert list(groups_of(stimuli, NAMES)) == ["gender"]
    decoded = decoded_of(np.random.default_rng(0), 2.0)
    table = further_tests(decoded, labels=groups_of(stimuli, NAMES), n_permutations=99)
    assert table.set_index("test").loc["pairwise accuracy within gender", "p_value"] <= 0.05
