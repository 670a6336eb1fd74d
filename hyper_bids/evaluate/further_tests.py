"""Tests beside the primary ones of `stats`: exact nulls, k-way, groups, hard foils, HYPER's random latents.

One row a test, each with method, n, unit and number of permutations. In cross-validated designs permuting after the
fit is invalid: the null comes from refits (`further_refits`), and where there are none the values stand untested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.evaluate.baselines import random_latents
from hyper_bids.evaluate.decoded import Decoded
from hyper_bids.evaluate.exchangeable import permutation_test
from hyper_bids.evaluate.foils import pairwise_among_matrix
from hyper_bids.evaluate.further_refits import FurtherDraws, column_p, foil_masks, identification_values, said
from hyper_bids.evaluate.identification import candidate_correlations, pairwise_of, top1_of
from hyper_bids.evaluate.k_way import k_way_matrix
from hyper_bids.evaluate.many_correlations import correlations_of_columns
from hyper_bids.evaluate.metrics import METRICS
from hyper_bids.evaluate.random_latent import random_latent_test
from hyper_bids.evaluate.rank_null import full_recognition_test, rank_sum_test
from hyper_bids.evaluate.refits import nan_mean
from hyper_bids.evaluate.result import TestResult, untested
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("test", "mean", "chance", "statistic", "p_value", "p_method", "n", "unit", "n_permutations")
PER_LATENT, MAX_WORK = 40, 500_000_000
"""Permutations per latent, so that the smallest p outlasts a correction over all of them; and their limit."""

NOT_EXACT = "cross-validated: the exact null takes rows as independent; stats.tsv has the p of refits"
CROSS_VALIDATED = "cross-validated, which needs refits with permuted stimuli"
HYPERS = ("latent_similarity", "latent_similarity_mse")


def _line(test: str, mean: float, chance: float, result: TestResult) -> dict[str, object]:
    return {"test": test, "mean": mean, "chance": chance, **result.row()}


def _permuted(decoded: Decoded, matrix: np.ndarray, seed: int, n: int, blocks: Sequence[object] | None) -> TestResult:
    rng = generator(seed, "evaluate", "further permutations")  # one stream: all tests see the same permutations
    return permutation_test(matrix[:, : len(decoded.tested)], n, rng, blocks)


def _exact_rows(decoded: Decoded, similarity: np.ndarray) -> list[dict[str, object]]:
    own, n_candidates = decoded.row_stimulus, len(decoded.candidates)
    pairwise, full = pairwise_of(similarity, own), top1_of(similarity, own)
    means = float(nan_mean(decoded.per_stimulus(pairwise))), float(nan_mean(decoded.per_stimulus(full)))
    if decoded.cross_validated:
        results = [untested(NOT_EXACT, len(decoded.tested))] * 2
    else:
        counts = np.full(len(own), n_candidates)
        beaten = np.round(2 * pairwise * (n_candidates - 1)) / 2
        results = [rank_sum_test(beaten, counts), full_recognition_test(full, counts)]
    return [
        _line("pairwise accuracy, rank sum", means[0], 0.5, results[0]),
        _line("full recognition, binomial", means[1], 1 / n_candidates, results[1]),
    ]


def _identification_rows(
    decoded: Decoded, similarity: np.ndarray, masks: Mapping[str, np.ndarray], seed: int, n: int,
    blocks: Sequence[object] | None, null: FurtherDraws | None,
) -> list[dict[str, object]]:  # fmt: skip
    """k-way identification for several k, and pairwise accuracy among chosen foils."""
    rows = []
    for name, values in identification_values(similarity, decoded.row_stimulus, masks).items():
        mean = float(nan_mean(decoded.per_stimulus(values)))
        chance = 0.5 if name in masks else 1 / int(name.partition("-")[0])
        if not np.isfinite(mean):
            why = "no stimulus has such a foil" if name in masks else "undefined for these predictions"
            result = untested(why, 0)
        elif decoded.cross_validated:
            n_tested = len(decoded.tested)
            result = untested(CROSS_VALIDATED, n_tested) if null is None else null.result(name, mean, n_tested)
        else:
            # the values of one prediction under every candidate
            matrix = pairwise_among_matrix(similarity, masks[name]) if name in masks else None
            result = _permuted(decoded, k_way_matrix(similarity, round(1 / chance)) if matrix is None else matrix,
                               seed, n, blocks)  # fmt: skip
        rows.append(_line(name, mean, chance, result))
    return rows


def _random_latent_rows(
    decoded: Decoded, distribution: str | None, training: np.ndarray | None, n_draws: int, seed: int
) -> list[dict[str, object]]:
    if distribution != "normal" and training is None:
        return []
    rows = []
    for name in HYPERS:
        rng = generator(seed, "evaluate", "random latents")
        draws = random_latents(n_draws, decoded.latents.n_latents, rng, distribution, training)
        found = random_latent_test(METRICS[name].matrix, decoded.true, decoded.predicted, draws)
        for kind, result in (("", found.decoded), (" of zeros", found.zero)):
            result = replace(result, n=min(result.n, len(decoded.tested)))  # rows of folds are not the unit
            rows.append(_line(f"{name}{kind}, random latents", result.statistic, float("nan"), result))
    return rows


def further_tests(
    decoded: Decoded,
    *,
    labels: Mapping[str, Sequence[object]] | None = None,
    blocks: Sequence[object] | None = None,
    distribution: str | None = None,
    training_latents: np.ndarray | None = None,
    n_hard: int = 9,
    null: FurtherDraws | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Tests of one participant beside those of stats.tsv.

    Parameters
    ----------
    decoded : Decoded
    labels : column of stimuli.tsv -> labels of ``decoded.candidates``, in their order; groups for identification
    blocks : labels of the test rows within which stimuli are exchanged, where the split is fixed
    distribution, training_latents : as `stats.References`; neither: no random-latent test
    n_hard : most similar candidates that are hard foils
    null : of a cross-validated design, the same numbers for refits with permuted stimuli

    Returns
    -------
    DataFrame with the columns `COLUMNS`
    """
    import pandas as pd

    similarity = candidate_correlations(decoded.predicted, decoded.candidate_values)
    masks = foil_masks(decoded.candidate_values, labels or {}, n_hard)
    rows = [
        *_exact_rows(decoded, similarity),
        *_identification_rows(decoded, similarity, masks, seed, n_permutations, blocks, null),
        *_random_latent_rows(decoded, distribution, training_latents, n_permutations, seed),
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def latent_table(
    decoded: Decoded, *, blocks: Sequence[object] | None = None, null: FurtherDraws | None = None,
    n_permutations: int = 1000, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Correlate each latent over test stimuli, corrected over latents: FDR and maximum statistic.

    ``n_permutations`` are the fewest: 40 per latent are made where that is affordable, else the smallest p would
    not outlast the FDR correction.

    Returns
    -------
    DataFrame
        ``name`` (z0000 ...), ``r  p_value  p_fdr  p_max  p_method  n  unit``; p are NaN, and the method says why,
        where the design is cross-validated and no refits (``null``) were made.
    """
    names = [f"z{number:04d}" for number in range(decoded.latents.n_latents)]
    per_stimulus = np.column_stack([decoded.per_stimulus(column) for column in decoded.predicted.T])
    rng = generator(seed, "evaluate", "latent permutations")
    true = decoded.candidate_values[: len(decoded.tested)]
    affordable = MAX_WORK // (len(true) * len(names))
    enough = max(n_permutations, min(PER_LATENT * len(names), affordable))
    draws = 1 if decoded.cross_validated else enough
    found = correlations_of_columns(true, per_stimulus, draws, rng, blocks)
    table = found.table(names)
    if decoded.cross_validated and null is not None and len(null.latents):
        table["p_value"], table["p_fdr"], table["p_max"] = column_p(found.r, null.latents)
        table["p_method"] = f"{said(len(null.latents))}, two-sided"
    elif decoded.cross_validated:
        table[["p_value", "p_fdr", "p_max"]] = float("nan")
        table["p_method"] = f"not tested: {CROSS_VALIDATED}"
    return table
