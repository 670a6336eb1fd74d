"""Does the decoder make something new, or show what it has learned?"""

from __future__ import annotations

import numpy as np

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed
from hyper_bids.audit.memoryless import memoryless
from hyper_bids.audit.overlap import nearest_distances
from hyper_bids.seeds import generator

N_PERMUTATIONS = 999
ALPHA = 0.05
FEWEST_ROWS = 8
MOST_ROWS = 500
"""Test rows that the curve is made of."""

RETRIEVAL = 0.5
"""Share of test rows from which predictions are called nearer to training than to the truth."""

BEYOND_CHANCE = 0.01
CLEARLY = 0.95
"""Predictions are called remembered where they come nearer to training stimuli than predictions as wrong without
memory do: by this p, and by this ratio of the distances."""


def novelty(evidence: Evidence) -> Light:
    """Whether predictions are nearer to a training exemplar than to the truth, and than they would be without memory.

    Only rows whose stimulus was in no training set are asked. Distances are Euclidean, in latent space.
    """
    rows = evidence.unseen
    if not rows.any():
        return not_assessed("every test stimulus was in the training set of its folds, by design")
    true, predicted = (np.asarray(a, dtype=np.float64)[rows] for a in (evidence.true, evidence.predicted))
    exemplar = np.asarray(evidence.nearest, dtype=np.float64)[rows]
    to_truth = np.linalg.norm(predicted - true, axis=1)
    to_exemplar = np.linalg.norm(predicted - exemplar, axis=1)
    figures = {"Share": float((to_exemplar < to_truth).mean()), "ToTruth": np.median(to_truth),
               "ToTrainingStimulus": np.median(to_exemplar)}  # fmt: skip
    status, text, beside = _against_memoryless(figures["Share"], true, predicted, evidence)
    distance = _to_training(true[:MOST_ROWS], evidence.training, evidence.cross_validated)
    falls, said, curve = novelty_curve(true[:MOST_ROWS], predicted[:MOST_ROWS], distance, evidence.seed)
    figures |= beside | ({"Curve": curve} if curve else {})
    return light("NOTE" if falls and status == "PASS" else status, f"{text} {said}".strip(), **figures)


def _against_memoryless(
    share: float, true: np.ndarray, predicted: np.ndarray, evidence: Evidence
) -> tuple[str, str, dict[str, object]]:
    """Hold the share of rows nearer to training against what predictions with the same error, but no memory, give."""
    text = f"for {100 * share:.0f} % of test rows a training stimulus is nearer to the prediction than the true one"
    reference = memoryless(true, predicted, _trained_on(true, evidence), evidence.seed)
    if reference is None:
        why = "too few rows, or predictions that do not vary, to say whether more than without memory"
        return ("NOTE" if share > RETRIEVAL else "PASS"), f"{text} ({why}).", {}
    ratio = reference.observed / reference.distance if reference.distance > 0 else 1.0
    figures = {"Memoryless": {"Share": reference.share, "Distance": reference.distance,
                              "Observed": reference.observed, "p": reference.p}}  # fmt: skip
    text += (
        f"; with errors of the same size, but without memory, for {100 * reference.share:.0f} %. The distance to that "
        f"stimulus is {ratio:.2f} times what it is without memory (p = {reference.p:.3g})"
    )
    if reference.p > BEYOND_CHANCE or ratio > CLEARLY:
        return ("NOTE" if share > RETRIEVAL else "PASS"), f"{text}: no sign that stimuli were remembered.", figures
    if share <= RETRIEVAL:
        return "NOTE", f"{text}: predictions lean towards training, but are mostly nearer to the truth.", figures
    return "WARN", f"{text}: pictures may look like stimuli that were trained on rather than like those shown.", figures


def _trained_on(true: np.ndarray, evidence: Evidence) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows, among those of unseen stimuli, and the latents that were trained on for them: by fold.

    Stimuli of a fold are among those that other folds train on, and not among its own.
    """
    known = np.asarray(evidence.training, dtype=np.float64)
    if not evidence.cross_validated:
        return [(np.arange(len(true)), known)]
    folds = np.asarray(evidence.folds, dtype=str)[evidence.unseen]
    by_fold = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    return [(rows, known[nearest_distances(known, true[rows]) > 0]) for rows in by_fold]


def _to_training(true: np.ndarray, training: np.ndarray, cross_validated: bool) -> np.ndarray:
    """Distance of every true latent to the nearest that was trained on; NaN where there is none.

    Under cross-validation a stimulus is among those that other folds train on: that one is not its neighbour.
    """
    known = np.asarray(training, dtype=np.float64)
    if not cross_validated:
        return nearest_distances(true, known)
    others = [known[(known != row).any(axis=1)] for row in true]
    return np.array([nearest_distances(row[None], rest)[0] if len(rest) else np.nan
                     for row, rest in zip(true, others, strict=True)])  # fmt: skip


def novelty_curve(
    true: np.ndarray, predicted: np.ndarray, distance: np.ndarray, seed: int
) -> tuple[bool, str, dict[str, object]]:
    """Ask whether accuracy falls with the distance of a stimulus to the nearest one that was trained on.

    Parameters
    ----------
    true, predicted : (n, n_latents)
    distance : (n,) to the nearest training stimulus, NaN where there is none

    Returns
    -------
    falls : whether it does, p below 0.05 (one-sided, stimuli permuted)
    text : in words
    curve : ``Distance`` and ``LatentCorrelation`` of every row, ``Slope`` (correlation per standard deviation of the
        distance), ``r``, ``p``; empty where there is none
    """
    x, y = true - true.mean(axis=1, keepdims=True), predicted - predicted.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    defined = (lengths > 0) & np.isfinite(distance)
    accuracy = np.divide((x * y).sum(axis=1), lengths, out=np.full(len(true), np.nan), where=defined)
    distance, accuracy = distance[defined], accuracy[defined]
    if defined.sum() < FEWEST_ROWS or not distance.std() > 0 or not accuracy.std() > 0:
        return False, "", {}
    along = (distance - distance.mean()) / distance.std()
    slope = float((along * accuracy).mean())
    rng = generator(seed, "audit", "novelty")
    drawn = rng.permuted(np.tile(along, (N_PERMUTATIONS, 1)), axis=1) @ accuracy / len(accuracy)
    p = (1 + int((drawn <= slope + 1e-12).sum())) / (1 + N_PERMUTATIONS)
    falls, r = p < ALPHA, slope / float(accuracy.std())
    said = "falls" if falls else "does not fall"
    text = (
        f"Accuracy {said} with the distance to the nearest training stimulus: {slope:+.3f} in latent correlation per "
        f"standard deviation (r = {r:z.2f}, p = {p:.3g})."
    )
    curve = {"Distance": distance.tolist(), "LatentCorrelation": accuracy.tolist(),
             "Slope": slope, "r": r, "p": p}  # fmt: skip
    return falls, text, curve
