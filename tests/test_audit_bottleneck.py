"""The reduced-rank curve: it is reduced-rank regression, and finds a rank that was planted."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.audit.bottleneck import SHARE, bottleneck, prediction_axes, rank_grid, smallest_rank
from hyper_bids.audit.evidence import Evidence
from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.decode import DECODERS
from hyper_bids.decode.crossvalidate import decode, mean_responses, predict
from hyper_bids.decode.folds import Fold, make_folds
from hyper_bids.decode.ols import OLS
from hyper_bids.decode.ridge import Ridge
from hyper_bids.evaluate.identification import pairwise_accuracy
from hyper_bids.evaluate.latent import latent_correlation
from hyper_bids.workflow.steps.bottleneck import fitted_predictions, penalty_rows, rank_curve, rank_scores

N_TRAIN, N_TEST, V = 57, 13, 19


def data(rng, k=8, n_train=N_TRAIN, rank=None, noise=1.0):
    """Responses and latents of which ``rank`` dimensions (all: None) are in the responses."""
    Z = rng.normal(size=(n_train + N_TEST, k))
    mixed = rng.normal(size=(k, V))
    if rank is not None:
        mixed = rng.normal(size=(k, rank)) @ rng.normal(size=(rank, V)) / np.sqrt(rank)
    X = Z @ mixed + noise * rng.normal(size=(len(Z), V))
    return X[:n_train].astype(np.float32), Z[:n_train], X[n_train:].astype(np.float32), Z[n_train:]


def reduced(decoder, X, rank):
    """Weights (V, K) of the scaled responses at a rank, by the audit's axes."""
    ones = np.ones(len(X), dtype=int)
    fitted = fitted_predictions(decoder, X, len(decoder.intercept_), ones)
    axes = prediction_axes(fitted - fitted.mean(axis=0), penalty_rows(decoder, X))[:rank]
    scale = X.std(axis=0, dtype=np.float64) if getattr(decoder, "standardize", False) else np.ones(X.shape[1])
    return decoder.coef_.T.astype(np.float64) * scale[:, None] @ axes.T @ axes


def naive(X, Z, penalty, rank, rng, n_starts=3, n_steps=3000):
    """Least penalised loss over ``B = U V'`` of a rank, by alternating least squares from random starts."""
    n_voxels, losses = X.shape[1], []
    gram, moments = X.T @ X + penalty * np.eye(n_voxels), X.T @ Z
    for _ in range(n_starts):
        right = np.linalg.qr(rng.normal(size=(Z.shape[1], rank)))[0]
        for _ in range(n_steps):
            left = np.linalg.solve(gram, moments @ right)
            right = np.linalg.qr(np.linalg.solve(left.T @ gram @ left, left.T @ moments).T)[0]
        losses.append(loss(X, Z, np.linalg.solve(gram, moments @ right) @ right.T, penalty))
    return min(losses)


def loss(X, Z, B, penalty):
    return float(((Z - X @ B) ** 2).sum() + penalty * (B**2).sum())


@pytest.mark.parametrize("rank", [1, 3, 8])
@pytest.mark.parametrize(("n_train", "penalty"), [(N_TRAIN, 0.0), (N_TRAIN, 30.0), (N_TRAIN, 3000.0), (7, 30.0)])
def test_it_is_reduced_rank_regression(rng, rank, penalty, n_train):
    """The penalised loss is the least that alternating least squares finds, and none of that rank is lower."""
    X, Z, _, _ = data(rng, n_train=n_train)
    decoder = (Ridge((penalty,)) if penalty else OLS()).fit(X, Z)
    B = reduced(decoder, X, rank)
    centred = X - X.mean(axis=0, dtype=np.float64)
    centred = centred / centred.std(axis=0) if penalty else centred
    found = loss(centred, Z - Z.mean(axis=0), B, penalty)
    assert np.linalg.matrix_rank(B, tol=1e-5 * np.linalg.norm(B)) == min(rank, n_train - 1)
    assert found == pytest.approx(naive(centred, Z - Z.mean(axis=0), penalty, min(rank, n_train - 1), rng), rel=1e-5)


def test_without_the_penaltys_rows_ridge_would_not_be_the_least_loss(rng):
    X, Z, _, _ = data(rng)
    decoder = Ridge((300.0,)).fit(X, Z)
    fitted = fitted_predictions(decoder, X, 8, np.ones(len(X), dtype=int))
    axes = prediction_axes(fitted - fitted.mean(axis=0))[:2]
    centred = (X - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, dtype=np.float64)
    plain = decoder.coef_.T * X.std(axis=0)[:, None] @ axes.T @ axes
    losses = [loss(centred, Z - Z.mean(axis=0), B, 300.0) for B in (reduced(decoder, X, 2), plain)]
    assert losses[0] < losses[1] - 1e-3


def test_axes_are_those_of_the_whole_svd_whichever_side_is_longer(rng):
    for shape in ((11, 5), (5, 11)):
        fitted, below = rng.normal(size=shape), rng.normal(size=(3, shape[0]))
        rows = below @ fitted
        for given, stacked in ((None, fitted), (rows, np.vstack([fitted, rows]))):
            wanted = np.linalg.svd(stacked, full_matrices=False)[2][: min(shape)]
            found = prediction_axes(fitted, given)
            np.testing.assert_allclose(np.abs(found @ wanted.T), np.eye(min(shape)), atol=1e-7)
    assert prediction_axes(np.zeros((4, 3))).shape == (0, 3)
    low = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 9))
    assert len(prediction_axes(low)) == 3


@pytest.mark.parametrize("name", [name for name in DECODERS if name not in ("layer",)])
def test_training_rows_are_predicted_as_the_decoder_does(rng, name):
    X, Z, _, _ = data(rng)
    decoder = DECODERS[name]()
    decoder.fit(X, Z)
    ones = np.ones(len(X), dtype=int)
    np.testing.assert_allclose(
        fitted_predictions(decoder, X, 8, ones), predict(decoder, X, 8, ones), rtol=1e-4, atol=1e-5
    )


class Nonlinear:
    """Has weights, and does not predict by them."""

    coef_, intercept_ = np.ones((8, V)), np.zeros(8)

    def predict(self, X):
        return np.tanh(X[:, :8])


def test_weights_that_are_not_what_a_decoder_predicts_by_are_not_used(rng):
    X = rng.normal(size=(9, V))
    np.testing.assert_array_equal(fitted_predictions(Nonlinear(), X, 8, np.ones(9, int)), np.tanh(X[:, :8]))


def sample(rng, unit=None, rank=None, k=12, noise=0.3):
    """Responses with runs of a design, its latents, and its folds."""
    X, Z, X_test, Z_test = data(rng, k, rank=rank, noise=noise, n_train=6 * N_TRAIN)
    names = tuple(f"s{row:03d}" for row in range(len(X) + len(X_test)))
    latents = Latents(np.concatenate([Z, Z_test]).astype(np.float32), names, "planted")
    split = ["train"] * len(X) + ["test"] * len(X_test)
    trials = pd.DataFrame({"run": [f"{row % 4}" for row in range(len(names))], "session": "", "stimulus_id": names,
                           "split": split})  # fmt: skip
    grid = VoxelGrid(np.ones((1, 1, V), dtype=bool), np.eye(4), None)
    responses = Responses(np.concatenate([X, X_test]), trials, grid)
    return responses, latents, make_folds(trials, unit, None if unit is None else 3, 0)


def curve_of(responses, latents, folds, make=Ridge):
    decoded = decode(responses, latents, folds, np.ones((len(folds), V), dtype=bool), make)
    return decoded, rank_scores(decoded, responses, latents)


@pytest.mark.parametrize("unit", [None, "stimulus"])
def test_every_fold_is_cut_to_its_own_axes(rng, unit):
    """Against a loop: refit, decompose by numpy, project, score; the whole is what was decoded."""
    responses, latents, folds = sample(rng, unit)
    decoded, found = curve_of(responses, latents, folds, OLS)
    assert found["ranks"].tolist() == [1, 2, 3, 4, 6, 8, 12]
    true, predicted = latents.rows(decoded.rows["stimulus_id"]).astype(float), []
    for fold in folds:
        X = responses.values[fold.train].astype(float)
        decoder = OLS().fit(X, latents.rows(responses.trials["stimulus_id"].to_numpy()[fold.train]))
        fitted = decoder.predict(X)
        axes = np.linalg.svd(fitted - fitted.mean(axis=0))[2][:3]
        own = decoder.predict(mean_responses(responses, fold)) - fitted.mean(axis=0)
        predicted.append(own @ axes.T @ axes + fitted.mean(axis=0))
    predicted = np.concatenate(predicted)
    np.testing.assert_allclose(found["rank_latent_correlation"][2], latent_correlation(true, predicted), atol=1e-5)
    np.testing.assert_allclose(found["rank_pairwise_accuracy"][2], pairwise_accuracy(true, predicted), atol=0.02)
    whole = decoded.values.astype(float)
    np.testing.assert_array_equal(found["rank_pairwise_accuracy"][-1], pairwise_accuracy(true, whole))
    np.testing.assert_allclose(found["rank_latent_correlation"][-1], latent_correlation(true, whole), rtol=1e-12)


def test_a_fold_of_few_dimensions_stays_at_its_own(rng):
    """Five training trials span four dimensions: from there on that fold scores as it does whole."""
    responses, latents, _ = sample(rng)
    few = np.arange(5)
    rest = np.arange(5, 60)
    stimuli = responses.trials["stimulus_id"].to_numpy(str)
    folds = [Fold("few", few, {stimuli[row]: np.array([row]) for row in rest}),
             Fold("many", rest, {stimuli[row]: np.array([row]) for row in few})]  # fmt: skip
    decoded, found = curve_of(responses, latents, folds, OLS)
    at, ranks = decoded.rows["fold"].to_numpy() == "few", found["ranks"].tolist()
    assert ranks[-1] == 12 and at.sum() == len(rest)
    of_few = found["rank_latent_correlation"][:, at]
    for rank, scores in zip(ranks, of_few, strict=True):
        assert np.array_equal(scores, of_few[-1]) is (rank >= 4)


@pytest.mark.parametrize("rank", [2, 4])
def test_a_planted_rank_is_found(rank):
    """Few of 12 latents' directions are in the responses: the curve rises to there, and no further."""
    responses, latents, folds = sample(np.random.default_rng(5), rank=rank, noise=0.05)
    _, found = curve_of(responses, latents, folds)
    ranks, values = found["ranks"].tolist(), found["rank_latent_correlation"].mean(axis=1)
    at = ranks.index(rank)
    assert smallest_rank(ranks, values.tolist(), 0.0) == rank
    assert values[at:].max() < 1.02 * values[at], "nothing is gained beyond"
    assert (np.diff(values[: at + 1]) > 0.05).all()


def test_predictions_that_do_not_vary_have_no_rank(rng):
    responses, latents, folds = sample(rng)
    constant = Latents(np.zeros_like(latents.values), latents.stimuli, "zero")
    _, found = curve_of(responses, constant, folds, OLS)
    assert not len(found["ranks"]) and found["rank_pairwise_accuracy"].shape == (0, N_TEST)


class InverseDistance:
    """Mean of the training latents by inverse distance, which divides by 0 at a training row."""

    def __init__(self, refuses=False):
        self.refuses = refuses

    def fit(self, X, Z):
        self.X, self.Z = np.asarray(X), np.asarray(Z)

    def predict(self, X):
        distances = ((np.asarray(X)[:, None] - self.X) ** 2).sum(axis=2)
        if self.refuses and (distances == 0).any():
            raise ValueError("a row that was learned")
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = 1 / distances
            return weights / weights.sum(axis=1, keepdims=True) @ self.Z


@pytest.mark.parametrize(("refuses", "said"), [(False, "not finite"), (True, "ValueError: a row that was learned")])
def test_a_decoder_that_cannot_predict_its_training_rows_is_decoded_and_not_assessed(rng, refuses, said):
    decoded, found = curve_of(*sample(rng), lambda: InverseDistance(refuses))
    assert np.isfinite(decoded.values).all() and list(found) == ["rank_refusal"]
    true = np.zeros((3, 2))
    evidence = Evidence(true, true, true, true, true, list("abc"), rank_curve=rank_curve(found, None, None, {}))
    light = bottleneck(evidence)
    assert light["Status"] == "N/A" and said in light["Text"] and "that it was trained on" in light["Text"]


def test_ranks_of_the_grid_rise_to_the_full_one():
    assert rank_grid(0) == [] and rank_grid(1) == [1] and rank_grid(2) == [1, 2]
    assert rank_grid(70) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 70]
    for full in range(1, 60):
        assert rank_grid(full)[-1] == full and set(rank_grid(full)[:-1]) <= set(rank_grid(60))


def light_of(ranks, pairwise, correlation, k=30, **stats):
    true = np.random.default_rng(2).normal(size=(9, k))
    tested = {"metric": "pairwise_accuracy", "p_value": 0.01, **stats}
    rows = [{"metric": "latent_correlation", "null_mean": 0.0}, tested]
    curve = {"Ranks": ranks, "PairwiseAccuracy": pairwise, "LatentCorrelation": correlation}
    return bottleneck(Evidence(true, true, true, true, true, list("abcdefghi"), stats=rows, rank_curve=curve))


def test_few_dimensions_for_identification_alone_are_no_note():
    found = light_of([1, 2, 30], [0.9, 0.99, 1.0], [0.1, 0.2, 0.6])
    assert found["Status"] == "PASS" and found["RankFor95"] == {"PairwiseAccuracy": 2, "LatentCorrelation": 30}
    assert "without predicting their latents" in found["Text"]


def test_predictions_of_few_dimensions_are_a_note_where_latents_are_many():
    assert [light_of([1, 2], [0.7, 0.9], [0.3, 0.5], k)["Status"] for k in (30, 2)] == ["NOTE", "PASS"]


def test_chance_is_that_of_permuted_stimuli_before_that_of_theory():
    known = {"ranks": [1, 4, 30], "pairwise": [0.96, 0.98, 1.0], "correlation": [0.1, 0.2, 0.6]}
    for stats, needed in (({"chance": 0.5}, 4), ({"chance": 0.5, "null_mean": 0.0}, 1), ({"null_mean": 0.9}, 30)):
        assert light_of(**known, **stats)["RankFor95"]["PairwiseAccuracy"] == needed
    assert light_of(**known, null_mean=1.0)["Status"] == "N/A"


@pytest.mark.parametrize(("p", "said"), [(0.2, "p = 0.2"), (np.nan, "not tested")])
def test_scores_that_may_be_chance_are_not_assessed(p, said):
    found = light_of([1, 2, 30], [0.53, 0.51, 0.501], [0.1, 0.2, 0.6], p_value=p, null_mean=0.5)
    assert found["Status"] == "N/A" and said in found["Text"]


# ------------------------------------------------------------------ through the app


SMALL = ("--participants", "1", "--train-runs", "3", "--test-runs", "2", "--n-train-faces", "75", "--n-test-faces", "5",
         "--repeats", "6", "--n-voxels", "80", "--image-shape", "7x6x5", "--snr", "4")  # fmt: skip


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bottleneck") / "bids"
    assert tools(["simulate", str(folder), *SMALL]) == 0
    return folder


@pytest.mark.parametrize("words", [("--decoder", "ridge"), ("--decoder", "map", "--cross-validate", "run")],
                         ids=["split", "folds"])  # fmt: skip
def test_the_app_publishes_the_curve_and_its_whole_is_the_published_score(bids, tmp_path, words):
    command = [str(bids), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work"), "-q",
               "--skip-bids-validation", "--generator", "none", "--n-permutations", "99"]  # fmt: skip
    assert main([*command, *words]) == 0
    (audit,) = (tmp_path / "out").glob("sub-01/func/*_audit.json")
    (stats,) = (tmp_path / "out").glob("sub-01/func/*_stats.tsv")
    found = json.loads(audit.read_text())["Bottleneck"]
    whole = pd.read_csv(stats, sep="\t", index_col="metric")
    for name, metric in (("PairwiseAccuracy", "pairwise_accuracy"), ("LatentCorrelation", "latent_correlation")):
        assert found[name][-1] == float(f"{whole.loc[metric, 'mean']:.6g}")
        assert found["Chance"][name] == pytest.approx(whole.loc[metric, "null_mean"], rel=1e-4)
        needed = found["RankFor95"][name]
        wanted = found["Chance"][name] + SHARE * (found[name][-1] - found["Chance"][name])
        assert found[name][found["Ranks"].index(needed)] >= wanted - 1e-5
    assert found["Status"] == "PASS" and "dimensions" in found["Text"]
    (figure,) = (tmp_path / "out").glob("sub-01/figures/*_bottleneck.svg")
    assert {"Alternative", "Caption", "Width"} == set(json.loads(figure.with_suffix(".json").read_text()))
    page = (tmp_path / "out" / "sub-01.html").read_text()
    assert page.count('alt="scores over the number of dimensions that predictions may use"') == 1
    assert "How many dimensions are decoded" in page


def test_a_model_that_was_not_fitted_to_single_trials_has_no_curve(bids, tmp_path):
    command = [str(bids), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work"), "-q",
               "--skip-bids-validation", "--generator", "none", "--n-permutations", "99"]  # fmt: skip
    assert main([*command, "--glm", "parametric", "--decoder", "inversion"]) == 0
    (audit,) = (tmp_path / "out").glob("sub-01/func/*_audit.json")
    found = json.loads(audit.read_text())["Bottleneck"]
    assert found["Status"] == "N/A" and "fitted here to responses of single trials" in found["Text"]
    assert not list((tmp_path / "out").glob("sub-01/figures/*_bottleneck.*"))
