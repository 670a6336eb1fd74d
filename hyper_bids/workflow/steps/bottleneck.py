"""The reduced-rank curve of a decoder: scores of its test rows from a few dimensions of its predictions.

Scores by row are kept for the audit, not the axes: those of a fold are K x K, and are gone with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.data import Latents, Responses
from hyper_bids.errors import InconsistentInput

if TYPE_CHECKING:
    from hyper_bids.decode.crossvalidate import Decoded, FoldFit

ROWS = 1024
"""Training rows whose predictions are computed at a time; bounds the float64 copy of responses."""

CHECKED = 2
"""Training rows for which weights are held against what the decoder predicts, before they stand for it."""

SCORES = {"PairwiseAccuracy": "rank_pairwise_accuracy", "LatentCorrelation": "rank_latent_correlation"}
"""Name in audit.json -> array of `rank_scores`."""


def rank_scores(decoded: Decoded, responses: Responses, space: Latents) -> dict[str, np.ndarray]:
    """Score every test row at every rank (see `hyper_bids.audit.bottleneck`).

    Parameters
    ----------
    decoded : predictions with folds that were fitted to these responses

    Returns
    -------
    ranks : (n_ranks,) int, the last the largest rank of any fold; empty where no predictions vary
    rank_pairwise_accuracy, rank_latent_correlation : (n_ranks, n_rows), from a fold's own rank on those of its
        predictions as they are
    rank_refusal : alone, what the decoder says where it cannot predict the rows that it was fitted to: one that
        weights by inverse distance divides by 0 there, and may predict test rows well
    """
    from hyper_bids.audit.bottleneck import rank_grid

    tested = list(dict.fromkeys(decoded.rows["stimulus_id"]))
    place = {label: row for row, label in enumerate(tested)}
    own = np.array([place[label] for label in decoded.rows["stimulus_id"]], dtype=int)
    candidates, folds, start = space.rows(tested).astype(np.float64), [], 0
    for fit in decoded.fits:
        try:
            mean, axes = _fold_axes(fit, responses, candidates.shape[1])
        except InconsistentInput as refusal:
            return {"rank_refusal": np.array(str(refusal))}
        rows = slice(start, start + len(fit.fold.test))
        folds.append(_fold_scores(mean, axes, decoded.values[rows].astype(np.float64), own[rows], candidates))
        start = rows.stop
    ranks = rank_grid(max(max(scores) for scores in folds))
    each = [np.concatenate([scores.get(rank, scores[max(scores)]) for scores in folds], axis=1) for rank in ranks]
    by_metric = np.array(each).reshape(len(ranks), len(SCORES), len(own)).transpose(1, 0, 2)
    return {"ranks": np.array(ranks, dtype=int), **dict(zip(SCORES.values(), by_metric, strict=True))}


def _fold_axes(fit: FoldFit, responses: Responses, n_latents: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n_latents,) and axes (rank, n_latents) of a decoder's predictions of the rows that it was fitted to."""
    from hyper_bids.audit.bottleneck import prediction_axes

    X = responses.values[fit.fold.train][:, fit.voxels]
    n_repeats = np.array([responses.n_repeats(np.array([row])) for row in fit.fold.train])
    fitted = fitted_predictions(fit.decoder, X, n_latents, n_repeats)
    mean = fitted.mean(axis=0)
    fitted -= mean
    return mean, prediction_axes(fitted, penalty_rows(fit.decoder, X))


def _fold_scores(
    mean: np.ndarray, axes: np.ndarray, predicted: np.ndarray, own: np.ndarray, candidates: np.ndarray
) -> dict[int, np.ndarray]:
    """Rank -> (2, n_rows) scores of one fold's test rows, the last rank that of its predictions as they are."""
    from hyper_bids.audit.bottleneck import rank_grid

    along, low, used, found = (predicted - mean) @ axes.T, np.tile(mean, (len(predicted), 1)), 0, {}
    for rank in rank_grid(len(axes))[:-1]:
        low += along[:, used:rank] @ axes[used:rank]
        used, found[rank] = rank, _scores(low, own, candidates)
    return {**found, len(axes): _scores(predicted, own, candidates)}


def _scores(predicted: np.ndarray, own: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return (2, n_rows) scores in the order of `SCORES`, as `evaluate.refits.row_scores` has them."""
    from hyper_bids.evaluate.identification import candidate_correlations, pairwise_of
    from hyper_bids.evaluate.latent import latent_correlation

    correlations = candidate_correlations(predicted, candidates)
    return np.stack([pairwise_of(correlations, own), latent_correlation(candidates[own], predicted)])


def fitted_predictions(decoder: Any, X: np.ndarray, n_latents: int, n_repeats: np.ndarray) -> np.ndarray:
    """Predict the training rows ``X`` (n_train, n_voxels): (n_train, n_latents) float64.

    By products of matrices where the decoder is its weights; test rows are predicted one by one, but there are few.

    Parameters
    ----------
    n_repeats : (n_train,) trials that each row averages
    """
    from hyper_bids.decode.crossvalidate import predict

    coef, intercept = getattr(decoder, "coef_", None), getattr(decoder, "intercept_", None)
    if np.shape(coef) == (n_latents, X.shape[1]) and np.shape(intercept) == (n_latents,):
        weights = np.asarray(coef, dtype=np.float64).T
        first = X[:CHECKED].astype(np.float64) @ weights + intercept
        if np.allclose(first, predict(decoder, X[:CHECKED], n_latents, n_repeats[:CHECKED]), rtol=1e-4, atol=1e-8):
            parts = [X[start : start + ROWS].astype(np.float64) @ weights for start in range(0, len(X), ROWS)]
            return np.concatenate(parts) + intercept
    parts = [slice(start, start + ROWS) for start in range(0, len(X), ROWS)]
    return np.concatenate([predict(decoder, X[part], n_latents, n_repeats[part]) for part in parts])


def penalty_rows(decoder: Any, X: np.ndarray) -> np.ndarray | None:
    """Weights of ridge times the root of their penalties, (n_voxels, n_latents), in the units that it counts them in.

    None for other decoders.

    Parameters
    ----------
    X : (n_train, n_voxels) training rows, by whose standard deviations ridge scales voxels
    """
    from hyper_bids.decode.ridge import Ridge

    if not isinstance(decoder, Ridge):
        return None
    scale = X.std(axis=0, dtype=np.float64) if decoder.standardize else np.ones(X.shape[1])
    return decoder.coef_.T * scale[:, None] * np.sqrt(decoder.alpha_)


def rank_curve(
    held: Mapping[str, np.ndarray], decoded: Any, stats: Any, facts: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what the audit says of the curve: means over stimuli; the last are those of stats.tsv. None: no curve.

    Where the decoder cannot predict its training rows, ``Refusal`` alone: what it says there.

    Parameters
    ----------
    held : arrays of `rank_scores`, among others
    decoded : `evaluate.decoded.Decoded`, with the same rows
    stats : its stats.tsv
    facts : of the decoder, with the ceiling that noise sets where it was measured
    """
    from hyper_bids.evaluate.refits import nan_mean

    if "rank_refusal" in held:
        return {"Refusal": str(held["rank_refusal"])}
    if "ranks" not in held:
        return None
    whole = stats.set_index("metric")["mean"]
    curve: dict[str, Any] = {"Ranks": held["ranks"].tolist()}
    for name, array in SCORES.items():
        below = [float(nan_mean(decoded.per_stimulus(values))) for values in held[array][:-1]]
        curve[name] = [*below, float(whole[array.removeprefix("rank_")])]
    return {**curve, "Ceiling": (facts.get("noise_ceiling") or {}).get("median_stimulus_ceiling")}
