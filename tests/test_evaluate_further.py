"""The table of further tests: its rows are those of the single tests, and cross-validated designs are not tested."""

from __future__ import annotations

import numpy as np
import pytest

from hyper_bids.data import Latents
from hyper_bids.evaluate.decoded import Decoded
from hyper_bids.evaluate.further_tests import COLUMNS, further_tests, latent_table
from hyper_bids.evaluate.identification import pairwise_accuracy
from hyper_bids.evaluate.k_way import k_way_accuracy
from hyper_bids.evaluate.rank_null import rank_sum_test

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


def test_cross_validated_designs_are_not_tested(rng):
    decoded = decoded_of(rng, folds=tuple("ab" * 7))
    for table in (further_tests(decoded, n_permutations=9), latent_table(decoded)):
        assert table["p_value"].isna().all() and table["p_method"].str.startswith("not tested").all()


def test_latents_are_tested_one_by_one(rng):
    table = latent_table(decoded_of(rng, 3.0), n_permutations=199)
    assert len(table) == 30 and (table["p_max"] >= table["p_value"] - 1e-12).all() and table["p_value"].max() < 0.1
    assert table["name"].iloc[-1] == "z0029"
