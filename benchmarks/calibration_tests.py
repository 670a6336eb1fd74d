"""Datasets for the size and the power of every test that hyper ships: each function gives the p-values of one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from calibration_data import N_LATENTS, Row, predictions

from hyper_bids.data import Latents
from hyper_bids.evaluate.attribute_tests import attribute_table, sign_classification
from hyper_bids.evaluate.baselines import random_latents
from hyper_bids.evaluate.covariates import category_anova, covariate_table
from hyper_bids.evaluate.direction_tests import closed_form_table
from hyper_bids.evaluate.directions import closed_form_directions
from hyper_bids.evaluate.exchangeable import permutation_test
from hyper_bids.evaluate.foils import hard_foils, pairwise_among_matrix, same_label
from hyper_bids.evaluate.friedman import friedman_test
from hyper_bids.evaluate.further_refits import FurtherNull, column_p, read_draws
from hyper_bids.evaluate.group import stouffer
from hyper_bids.evaluate.identification import (
    candidate_correlations,
    pairwise_accuracy,
    recognition_matrices,
)
from hyper_bids.evaluate.k_way import k_way_matrix
from hyper_bids.evaluate.latent import latent_correlation_matrix, latent_dimension_matrix, latent_similarity_mse_matrix
from hyper_bids.evaluate.mantel import mantel_test
from hyper_bids.evaluate.many_correlations import correlations_of_columns
from hyper_bids.evaluate.multiplicity import holm
from hyper_bids.evaluate.paired_tests import sign_test, wilcoxon_test
from hyper_bids.evaluate.random_latent import random_latent_test
from hyper_bids.evaluate.rank_null import full_recognition_test, rank_sum_test
from hyper_bids.evaluate.refits import refit_statistics

N_PERMUTATIONS = 999


def over_pairs(pairwise: np.ndarray) -> float:
    """The peers' test: binomial over all n (n - 1) pairs, as if they were independent."""
    from scipy.stats import binom

    n_pairs = len(pairwise) * (len(pairwise) - 1)
    return float(binom.sf(round(float(pairwise.mean()) * n_pairs) - 1, n_pairs, 0.5))


def identification(rng: np.random.Generator, n: int, collapsed: bool, effect: float = 0.0) -> dict[Row, float]:
    """p-values of the identification tests of one dataset."""
    true, predicted = predictions(rng, n, collapsed, effect)
    data = f"n = {n}, {'collapsed' if collapsed else 'independent'}"
    pairwise, full = recognition_matrices(predicted, true)
    own = pairwise_accuracy(true, predicted)
    known = "conservative" if collapsed else "continuous"

    def permuted(matrix: np.ndarray, blocks: np.ndarray | None = None) -> float:
        return permutation_test(matrix, N_PERMUTATIONS, rng, blocks).p

    return {
        Row("permutation, latent correlation", data): permuted(latent_correlation_matrix(predicted, true)),
        Row("permutation, latent dimension correlation", data): permuted(latent_dimension_matrix(predicted, true)),
        Row("permutation, pairwise accuracy", data): permuted(pairwise),
        Row("permutation within 4 blocks, pairwise accuracy", data): permuted(pairwise, np.arange(n) % 4),
        Row("permutation, full recognition", data, "discrete"): permuted(full),
        Row("exact rank sum", data, known): rank_sum_test((n - 1) * own, [n] * n).p,
        Row("binomial, full recognition", data, "discrete"): full_recognition_test(np.diag(full), [n] * n).p,
        Row("binomial over n (n - 1) pairs", data, "peer"): over_pairs(own),
    }


def foils(rng: np.random.Generator) -> dict[Row, float]:
    """k-way, hard foils and groups."""
    true, predicted = predictions(rng, 36, collapsed=False)
    similarity, own, data = candidate_correlations(predicted, true), np.arange(36), "n = 36, independent"
    matrices = {
        "permutation, 10-way": k_way_matrix(similarity, 10),
        "permutation, pairwise among 9 hard foils": pairwise_among_matrix(similarity, hard_foils(true, own, 9)),
        "permutation, pairwise within groups": pairwise_among_matrix(similarity, same_label(own % 2, own)),
    }
    return {Row(name, data): permutation_test(m, N_PERMUTATIONS, rng).p for name, m in matrices.items()}


def many_columns(rng: np.random.Generator) -> dict[Row, float]:
    """Latents one by one: is any of them significant after correction?"""
    true, predicted = predictions(rng, 36, collapsed=True)
    found = correlations_of_columns(true, predicted, 40 * N_LATENTS, rng)
    data = "n = 36, 64 latents"
    return {
        Row("permutation, r of one latent", data): found.p[0],
        Row("maximum over latents (any)", data): float(found.p_max.min()),
        Row("FDR over latents (any)", data): float(found.p_fdr.min()),
    }


def attributes(rng: np.random.Generator, n: int) -> dict[Row, float]:
    """Attribute tests, classes by sign, similarity of spaces, covariates."""
    true, predicted = predictions(rng, n, collapsed=True)
    directions = {f"a{i}": d for i, d in enumerate(rng.standard_normal((5, N_LATENTS)))}
    table = attribute_table(true, predicted, directions)
    labels = np.where(np.arange(n) < 0.4 * n, "m", "f")
    _, by_sign = sign_classification(rng.standard_normal(n), labels, "m", N_PERMUTATIONS, rng)
    accuracy = pairwise_accuracy(true, predicted + 0.5 * true)
    covariates = covariate_table(accuracy, {f"c{i}": rng.gamma(2.0, size=n) for i in range(20)}, rng, 1999)
    data, categories = f"n = {n}", rng.permutation(np.arange(n) % 4)
    first_layer = np.random.default_rng(1).standard_normal((N_LATENTS, 4 * N_LATENTS))  # one network for all datasets
    closed_form = closed_form_table(true, predicted, *closed_form_directions(first_layer))
    return {
        Row("t test, attribute r", data): table["p_value"][0],
        Row("t test, attribute partial r, 4 others", data): table["partial_p"][0],
        Row("FDR over 5 attributes (any)", data): table["p_fdr"].min(),
        Row("permutation, class by sign", data, "discrete"): by_sign.p,
        Row("permutation, covariate r", data): covariates["p_value"][0],
        Row("Bonferroni over 20 covariates (any)", data): covariates["p_bonferroni"].min(),
        Row("permutation, ANOVA over 4 categories", data): category_anova(accuracy, categories, rng, 999).p,
        Row("Mantel test", data): mantel_test(true, rng.standard_normal((n, 20)), N_PERMUTATIONS, rng).p,
        Row(f"FDR over {N_LATENTS} closed-form directions (any)", data): closed_form["p_fdr"].min(),
    }


def hat_matrices(X: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(n, n) matrix that takes training latents to held-out predictions of a ridge with an intercept: label-free."""
    hat = np.zeros((len(X), len(X)))
    for fold in np.unique(folds):
        test, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        centred, new = X[train] - X[train].mean(axis=0), X[test] - X[train].mean(axis=0)
        weights = new @ centred.T @ np.linalg.inv(centred @ centred.T + 30.0 * np.eye(len(train)))
        mean = np.full((1, len(train)), 1 / len(train))
        hat[np.ix_(test, train)] = mean + weights @ (np.eye(len(train)) - mean)
    return hat


def cross_validated(rng: np.random.Generator, by_run: bool) -> dict[Row, float]:
    """A cross-validated ridge that sees noise: refitted null against permuting after the fit."""
    n_stimuli, n_permutations = (12, 199) if by_run else (36, 199)
    stimulus = np.tile(np.arange(n_stimuli), 4) if by_run else np.arange(n_stimuli)
    folds = np.repeat(np.arange(4), 12) if by_run else np.arange(n_stimuli) % 6
    latents = rng.standard_normal((n_stimuli, 16)).astype(np.float32)
    candidates = Latents(latents, tuple(f"s{i}" for i in range(n_stimuli)), "simulated")
    hat = hat_matrices(rng.standard_normal((len(stimulus), 40)), folds)
    runs = folds if by_run else np.zeros(len(stimulus), dtype=int)
    labels = np.stack([stimulus] + [permuted_within(stimulus, runs, rng) for _ in range(n_permutations)])
    fitted = np.einsum("ij,pjk->pik", hat, latents[labels], optimize=True)
    refitted = refit_statistics(fitted, labels, candidates)["pairwise_accuracy"]
    after = refit_statistics(np.repeat(fitted[:1], len(labels), axis=0), labels, candidates)["pairwise_accuracy"]
    data = "leave one run out" if by_run else "folds of stimuli"

    def p(draws: np.ndarray) -> float:
        return (1 + np.count_nonzero(draws[1:] >= draws[0] - 1e-9)) / len(draws)

    null = FurtherNull(latents, len(stimulus))
    null.add(fitted, labels)
    draws = read_draws(null.arrays())
    own, fdr_p, max_p = column_p(draws.latents[0], draws.latents[1:])
    return {
        Row("refits with permuted stimuli", data): p(refitted),
        Row("refits, 5-way", data): p(draws.tests["5-way identification"]),
        Row("refits, r of one latent", data): own[0],
        Row("refits, FDR over 16 latents (any)", data, "discrete"): fdr_p.min(),
        Row("refits, maximum over 16 latents (any)", data): max_p.min(),
        Row("permutation after the fit", data, "peer"): p(after),
    }


def permuted_within(stimulus: np.ndarray, runs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exchange stimuli within runs."""
    permuted = stimulus.copy()
    for run in np.unique(runs):
        permuted[runs == run] = rng.permutation(stimulus[runs == run])
    return permuted


def over_participants(rng: np.random.Generator) -> dict[Row, float]:
    """Tests whose unit is the participant."""
    found = {}
    for n in (2, 3, 4, 8, 11, 12, 30):
        kind = "discrete" if n < 20 else "continuous"
        found[Row("Friedman, 3 models", f"{n} participants", kind)] = friedman_test(rng.standard_normal((n, 3)), rng).p
    found[Row("Friedman, 5 models", "8 participants")] = friedman_test(rng.standard_normal((8, 5)), rng).p
    for n in (4, 8, 20, 50):
        found[Row("sign test", f"{n} participants", "discrete")] = sign_test(rng.standard_normal(n)).p
    for n in (5, 8, 20, 50, 250):
        kind = "discrete" if n < 20 else "continuous"
        found[Row("Wilcoxon", f"{n} participants", kind)] = wilcoxon_test(rng.standard_normal(n)).p
    table = rng.standard_normal((20, 5))
    pairs = [wilcoxon_test(table[:, a] - table[:, b]).p for a in range(5) for b in range(a)]
    found[Row("Wilcoxon, Holm over 10 pairs (any)", "20 participants", "conservative")] = holm(np.array(pairs)).min()
    own = []
    for _ in range(4):
        pairwise, _ = recognition_matrices(*predictions(rng, 20, collapsed=False)[::-1])
        own.append(permutation_test(pairwise, N_PERMUTATIONS, rng).p)
    found[Row("Stouffer over permutation p", "4 participants")] = stouffer(np.array(own))
    return found


def hypers_test(rng: np.random.Generator) -> dict[Row, float]:
    """HYPER's random-latent test of predictions that know no brain."""
    true, shrunken = predictions(rng, 36, collapsed=False)
    found = random_latent_test(
        latent_similarity_mse_matrix, true, 0.3 * shrunken, random_latents(199, N_LATENTS, rng, "normal")
    )
    return {
        Row("HYPER's random-latent test", "n = 36, noise, shrunken", "peer"): found.decoded.p,
        Row("HYPER's random-latent test", "n = 36, zeros", "peer"): found.zero.p,
    }


SIZE: dict[str, tuple[Callable, tuple]] = {
    **{f"identification {n} {c}": (identification, (n, c)) for n in (20, 36, 100) for c in (False, True)},
    "foils": (foils, ()),
    "many columns": (many_columns, ()),
    **{f"attributes {n}": (attributes, (n,)) for n in (20, 36)},
    **{f"cross-validated {by_run}": (cross_validated, (by_run,)) for by_run in (True, False)},
    "participants": (over_participants, ()),
    "random latents": (hypers_test, ()),
}
POWER: dict[str, tuple[Callable, tuple]] = {
    f"power {effect} {c}": (identification, (36, c, effect)) for effect in (0.02, 0.04, 0.08) for c in (False, True)
}
