"""Planted truth: what is there is found by every decoder, what is not there stays at chance, over many seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.decode import make_decoder
from hyper_bids.decode.crossvalidate import decode
from hyper_bids.decode.folds import make_folds
from hyper_bids.evaluate.decoded import Decoded
from hyper_bids.evaluate.further_tests import latent_table
from hyper_bids.evaluate.stats import participant_stats
from hyper_bids.settings import DecodeSettings, plain

N_LATENTS, N_DRIVEN = 6, 3
OPTIONS = {**plain(DecodeSettings()), "n_epochs": 300, "stopping": "epochs", "learning_rate": 1e-2}


def study(seed: int, effect: float = 1.0, n_train: int = 44, n_test: int = 21, n_voxels: int = 29):
    """Responses that are driven by the first latents and not by the others."""
    rng = np.random.default_rng(seed)
    n = n_train + n_test
    Z = rng.standard_normal((n, N_LATENTS)).astype(np.float32)
    weights = rng.standard_normal((N_DRIVEN, n_voxels))
    values = effect * Z[:, :N_DRIVEN] @ weights + 2 * rng.standard_normal((n, n_voxels))
    stimuli = [f"s{row:03d}" for row in range(n)]
    split = np.where(np.arange(n) < n_train, "train", "test")
    trials = pd.DataFrame({"stimulus_id": stimuli, "split": split, "run": [f"r{row % 4}" for row in range(n)]})
    grid = VoxelGrid(np.ones((n_voxels, 1, 1), bool), np.eye(4))
    return Responses(values, trials, grid), Latents(Z, tuple(stimuli), "made"), weights


def decoded_by(name: str, responses: Responses, latents: Latents) -> Decoded:
    folds = make_folds(responses.trials, None, None, 0)
    everywhere = np.ones((1, responses.grid.n_voxels), bool)
    found = decode(responses, latents, folds, everywhere, lambda: make_decoder(name, OPTIONS))
    repeats = np.ones(len(found.rows), int)
    return Decoded(
        predicted=found.values, stimuli=tuple(found.rows["stimulus_id"]), latents=latents, n_repeats=repeats
    )


DECODED = ("ridge", "ols", "adam", "map", "inversion")


@pytest.mark.parametrize("name", DECODED)
def test_driven_latents_are_found_and_the_others_are_not(name):
    table = latent_table(decoded_by(name, *study(5, n_train=200, n_test=60)[:2]), n_permutations=999)
    assert (table["r"][:N_DRIVEN] > 0.6).all() and (table["p_max"][:N_DRIVEN] < 0.01).all()
    assert (table["r"][N_DRIVEN:].abs() < 0.4).all() and (table["p_fdr"][N_DRIVEN:] > 0.01).all()


@pytest.mark.parametrize("name", ["ridge", "map", "inversion"])
def test_latents_that_no_voxel_carries_have_uniform_p_over_200_seeds(name):
    p = [
        latent_table(decoded_by(name, *study(seed)[:2]), n_permutations=199, seed=seed)["p_value"][N_DRIVEN:].to_numpy()
        for seed in range(200)
    ]
    p = np.array(p)
    assert p.shape == (200, N_LATENTS - N_DRIVEN)
    assert stats.kstest(p[:, 0], "uniform").pvalue > 1e-3  # one latent a seed: independent
    assert stats.binomtest(int((p[:, 0] <= 0.05).sum()), 200, 0.05).pvalue > 1e-3


def test_the_primary_p_is_uniform_over_200_seeds_where_nothing_is_there():
    p = []
    for seed in range(200):
        responses, latents, _ = study(seed, effect=0.0, n_train=24, n_test=15, n_voxels=11)
        table = participant_stats(decoded_by("ridge", responses, latents), n_permutations=199, seed=seed)
        p.append(table.set_index("metric").loc[["latent_correlation", "pairwise_accuracy"], "p_value"].to_numpy(float))
    for column in np.array(p).T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
        assert stats.binomtest(int((column <= 0.05).sum()), len(column), 0.05).pvalue > 1e-3


def test_planted_weights_are_recovered_without_noise():
    """Inversion's W is the planted encoding; ridge's, at a vanishing penalty, its pseudo-inverse."""
    rng = np.random.default_rng(3)
    Z = rng.standard_normal((60, 4))
    planted = rng.standard_normal((4, 17))
    X = Z @ planted + 5
    inversion = make_decoder("inversion", OPTIONS).fit(X, Z)
    np.testing.assert_allclose(inversion.weights_[:-1], planted, atol=1e-9)
    ridge = make_decoder("ridge", {**OPTIONS, "alphas": [1e-8]}).fit(X, Z)
    np.testing.assert_allclose(ridge.coef_ @ planted.T, np.eye(4), atol=1e-4)
