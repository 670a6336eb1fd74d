"""The null of a cross-validated design: statistics of decoders refitted on permuted labels.

In cross-validation a test stimulus of one fold trains another, so permuting labels *after* the fit is
invalid (METHODS.md section 6). The caller permutes stimuli in training and test alike, refits every
fold, and hands over what the refits predict; here each refit becomes one value per metric, computed
exactly as the observed one: per row, averaged per (permuted) stimulus, then over stimuli.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.evaluate.attributes import attribute_scores
from hyper_bids.evaluate.identification import candidate_correlations, pairwise_of, top1_of
from hyper_bids.evaluate.latent import (
    latent_correlation,
    latent_cosine,
    latent_dimension_correlation,
    latent_similarity,
    latent_similarity_mse,
)

MAX_ELEMENTS = 2_000_000
"""Numbers in the largest array of a chunk: 16 MB in float64."""


def mean_per_stimulus(values: np.ndarray, stimulus: np.ndarray, n_stimuli: int) -> np.ndarray:
    """Average rows of the same stimulus, leaving NaN out.

    Parameters
    ----------
    values : (n_batch, n_rows)
    stimulus : (n_batch, n_rows) int in [0, n_stimuli)

    Returns
    -------
    (n_batch, n_stimuli); NaN for a stimulus without a defined row
    """
    n_batch = len(values)
    cell = (np.arange(n_batch)[:, None] * n_stimuli + stimulus).ravel()
    defined = np.isfinite(values).ravel()
    flat = np.where(defined, values.ravel(), 0.0)
    total = np.bincount(cell, weights=flat, minlength=n_batch * n_stimuli)
    count = np.bincount(cell, weights=defined, minlength=n_batch * n_stimuli)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(n_batch, n_stimuli)


def row_scores(predicted: np.ndarray, own: np.ndarray, candidates: np.ndarray) -> dict[str, np.ndarray]:
    """Every latent metric of every row.

    Parameters
    ----------
    predicted : (n_rows, n_latents)
    own : (n_rows,) int
        The row's true stimulus, as a row of ``candidates``.
    candidates : (n_candidates, n_latents)

    Returns
    -------
    metric -> (n_rows,)
    """
    true = candidates[own]
    correlations = candidate_correlations(predicted, candidates)
    return {
        "latent_similarity": latent_similarity(true, predicted),
        "latent_similarity_mse": latent_similarity_mse(true, predicted),
        "latent_correlation": latent_correlation(true, predicted),
        "latent_cosine": latent_cosine(true, predicted),
        "pairwise_accuracy": pairwise_of(correlations, own),
        "top1": top1_of(correlations, own),
    }


def nan_mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over an axis, leaving NaN out; NaN (and no warning) where nothing is left."""
    defined = np.isfinite(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)[()]


def _candidate_rows(true_stimuli: np.ndarray, candidates: Latents) -> np.ndarray:
    """Turn labels into rows of the candidates; integers are rows already."""
    true_stimuli = np.asarray(true_stimuli)
    if np.issubdtype(true_stimuli.dtype, np.integer):
        if true_stimuli.size and not 0 <= true_stimuli.min() <= true_stimuli.max() < len(candidates.stimuli):
            raise InconsistentInput(f"Permuted stimuli are not rows of the {len(candidates.stimuli)} candidates.")
        return true_stimuli
    labels, inverse = np.unique(true_stimuli, return_inverse=True)
    place = {label: row for row, label in enumerate(candidates.stimuli)}
    unknown = [label for label in labels if str(label) not in place]
    if unknown:
        raise InconsistentInput(f"Permuted stimuli that are no candidates: {listing(unknown)}.")
    return np.array([place[str(label)] for label in labels])[inverse].reshape(true_stimuli.shape)


def refit_statistics(
    predictions: np.ndarray,
    true_stimuli: np.ndarray,
    candidates: Latents,
    max_elements: int = MAX_ELEMENTS,
    directions: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Statistic of every latent metric for every refit, in chunks of bounded memory.

    May be called on parts of the permutations, as they are made, and the results concatenated.

    Parameters
    ----------
    predictions : (n_permutations, n_rows, n_latents)
        Predictions of the refits for every test row.
    true_stimuli : (n_permutations, n_rows)
        Each row's stimulus under that permutation: labels, or integer rows of ``candidates``.
    candidates : Latents
        All distinct stimuli tested in any fold (and further distractors, if any).
    max_elements : numbers in the largest array held at once
    directions : attribute -> (n_latents,) normals; adds ``attribute_<name>``, Pearson r over stimuli

    Returns
    -------
    metric -> (n_permutations,), with ``latent_dimension_correlation`` among them
    """
    parts = [
        _chunk_statistics(chunk, own, values, directions or {})
        for chunk, own, values in _chunks(predictions, true_stimuli, candidates, max_elements)
    ]
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]} if parts else {}


def refit_pairwise_accuracy(
    predictions: np.ndarray, true_stimuli: np.ndarray, candidates: Latents, max_elements: int = MAX_ELEMENTS
) -> np.ndarray:
    """Pairwise accuracy of every refit ``(n_permutations,)``, as `refit_statistics` gives it beside other metrics."""
    found = [np.empty(0)]
    for chunk, own, values in _chunks(predictions, true_stimuli, candidates, max_elements):
        rows = pairwise_of(candidate_correlations(chunk.reshape(-1, values.shape[1]), values), own.ravel())
        found.append(nan_mean(mean_per_stimulus(rows.reshape(own.shape), own, len(values))))
    return np.concatenate(found)


def _chunks(
    predictions: np.ndarray, true_stimuli: np.ndarray, candidates: Latents, max_elements: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Predictions in double precision, their stimuli as rows of the candidates, and these, some refits at a time."""
    predictions = np.asarray(predictions)
    own = _candidate_rows(true_stimuli, candidates)
    if predictions.ndim != 3 or own.shape != predictions.shape[:2] or predictions.shape[2] != candidates.n_latents:
        raise InconsistentInput(
            f"Refit predictions of shape {predictions.shape} and permuted stimuli of shape {own.shape} do not fit "
            f"(n_permutations, n_rows, {candidates.n_latents}) and (n_permutations, n_rows)."
        )
    values = candidates.values.astype(np.float64)
    n_permutations, n_rows = own.shape
    chunk = max(1, max_elements // (n_rows * max(values.shape)))
    for start in range(0, n_permutations, chunk):
        part = slice(start, start + chunk)
        yield predictions[part].astype(np.float64), own[part], values


def _chunk_statistics(
    predictions: np.ndarray, own: np.ndarray, values: np.ndarray, directions: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    scores = row_scores(predictions.reshape(-1, values.shape[1]), own.ravel(), values)
    statistics = {
        metric: nan_mean(mean_per_stimulus(rows.reshape(own.shape), own, len(values)))
        for metric, rows in scores.items()
    }
    statistics["latent_dimension_correlation"] = latent_dimension_correlation(values[own], predictions)
    flat = attribute_scores(predictions.reshape(-1, values.shape[1]), directions)
    for name, true in attribute_scores(values, directions).items():
        decoded = mean_per_stimulus(flat[name].reshape(own.shape), own, len(values))
        statistics[f"attribute_{name}"] = _correlation_with(true, decoded)
    return statistics


def _correlation_with(true: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Pearson r of ``(n,)`` with every row of ``(n_batch, n)``, over the stimuli that a row has."""
    known = np.isfinite(decoded)
    count = np.maximum(known.sum(axis=1), 1)[:, None]

    def centred(values: np.ndarray) -> np.ndarray:
        values = np.where(known, values, 0.0)
        return np.where(known, values - values.sum(axis=1, keepdims=True) / count, 0.0)

    x, y = centred(np.broadcast_to(true, decoded.shape)), centred(decoded)
    size = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.where(size > 0, (x * y).sum(axis=1) / np.where(size > 0, size, 1.0), np.nan)
