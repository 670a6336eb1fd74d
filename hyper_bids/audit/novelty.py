"""Does the decoder make something new, or show what it has learned?"""

from __future__ import annotations

import numpy as np

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed
from hyper_bids.audit.overlap import nearest_distances
from hyper_bids.seeds import generator

N_PERMUTATIONS = 999
ALPHA = 0.05
FEWEST_ROWS = 8
MOST_ROWS = 500
"""Test rows that the curve is made of."""

RETRIEVAL = 0.5
"""Share of test rows from which predictions are called nearer to training than to the truth."""


def novelty(evidence: Evidence) -> Light:
    """Whether predictions are nearer to a training exemplar than to the truth.

    Only rows whose stimulus was in no training set are asked. Distances are Euclidean, in latent space.
    """
    rows = evidence.unseen
    if not rows.any():
        return not_assessed("every test stimulus was in the training set of its folds, by design")
    true, predicted = (np.asarray(a, dtype=np.float64)[rows] for a in (evidence.true, evidence.predicted))
    exemplar = np.asarray(evidence.nearest, dtype=np.float64)[rows]
    to_truth = np.linalg.norm(predicted - true, axis=1)
    to_exemplar = np.linalg.norm(predicted - exemplar, axis=1)
    nearer = float((to_exemplar < to_truth).mean())
    text = f"for {100 * nearer:.0f} % of test rows a training stimulus is nearer to the prediction than the true one"
    figures = {"Share": nearer, "ToTruth": np.median(to_truth), "ToTrainingStimulus": np.median(to_exemplar)}
    distance = _to_training(true[:MOST_ROWS], evidence.training, evidence.cross_validated)
    falls, said, curve = novelty_curve(true[:MOST_ROWS], predicted[:MOST_ROWS], distance, evidence.seed)
    figures |= {"Curve": curve} if curve else {}
    if nearer <= RETRIEVAL:
        return light("NOTE" if falls else "PASS", f"{text}. {said}".strip(), **figures)
    warning = "pictures may look like stimuli that were trained on rather than like those shown"
    return light("WARN", f"{text}: {warning}. {said}".strip(), **figures)


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
        f"standard deviation (r = {r:.2f}, p = {p:.3g})."
    )
    curve = {"Distance": distance.tolist(), "LatentCorrelation": accuracy.tolist(),
             "Slope": slope, "r": r, "p": p}  # fmt: skip
    return falls, text, curve
