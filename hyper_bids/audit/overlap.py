"""Is what was tested new? Overlap of training and test set by id, by content and by nearest latent."""

from __future__ import annotations

import numpy as np

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed

SAME = 0.05
"""Share of the usual distance between neighbours in the training set below which two stimuli are almost the same."""

FEWEST_LATENTS = 4
"""With fewer latents neighbours come that close by chance; only equal latents are then the same."""

BLOCK = 2_000_000
"""Elements of a block of distances."""


def overlap_by_id(evidence: Evidence) -> Light:
    """Whether a stimulus is in both sets."""
    if evidence.cross_validated:
        return light("PASS", "cross-validated: no trial is in the training and the test set of a fold.")
    shared = list(evidence.shared_stimuli)
    if shared:
        return light("FAIL", f"{len(shared)} stimuli are in both sets.", Stimuli=shared)
    return light("PASS", "no stimulus is in both the training and the test set.")


def overlap_by_content(evidence: Evidence) -> Light:
    """Whether a picture is in both sets under two names."""
    if evidence.cross_validated and not evidence.unseen.any():
        return light("PASS", "not asked where stimuli are repeated over folds by design.")
    if evidence.same_content is None:
        return not_assessed("there are no pictures, or none was compared")
    if evidence.same_content:
        text = " ".join(evidence.same_content)
        return light("WARN", f"{text} What is decoded of them was learned.", Found=list(evidence.same_content))
    return light("PASS", "no picture is in both sets under two names (compared byte by byte or by git-annex key).")


def nearest_distances(points: np.ndarray, others: np.ndarray, exclude_self: bool = False) -> np.ndarray:
    """Euclidean distance of every point ``(n, k)`` to the nearest of ``(m, k)`` others: ``(n,)``.

    ``exclude_self``: point i is not compared with other i (points and others are then the same array).
    """
    points, others = np.asarray(points, dtype=np.float64), np.asarray(others, dtype=np.float64)
    centre = others.mean(axis=0)
    points, others = points - centre, others - centre  # differences of large squares would lose digits
    squares = (others**2).sum(axis=1)
    found = np.empty(len(points))
    step = max(1, BLOCK // max(1, len(others)))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        distances = squares - 2 * points[rows] @ others.T
        if exclude_self:
            distances[np.arange(len(distances)), np.arange(len(distances)) + start] = np.inf
        nearest = distances.argmin(axis=1)
        found[rows] = np.linalg.norm(points[rows] - others[nearest], axis=1)
    return found


def neighbour_distance(training: np.ndarray) -> float:
    """Median distance of a training stimulus to its nearest different neighbour; NaN where there is none."""
    if len(training) < 2:
        return float("nan")
    known = nearest_distances(training, training, exclude_self=True)
    known = known[known > 0]
    return float(np.median(known)) if len(known) else float("nan")


def overlap_by_latent(evidence: Evidence) -> Light:
    """Whether a test stimulus has, or almost has, the latents of a training stimulus."""
    if evidence.cross_validated:
        return light("PASS", "not asked where stimuli are repeated over folds by design.")
    _, first = np.unique(np.asarray(evidence.stimuli, dtype=str), return_index=True)
    usual = neighbour_distance(evidence.training)
    distances = nearest_distances(evidence.true[first], evidence.training)
    scale = float(np.abs(evidence.training).max()) or 1.0
    equal = distances <= 1e-6 * scale
    close = equal
    if np.isfinite(usual) and evidence.training.shape[1] >= FEWEST_LATENTS:
        close = equal | (distances < SAME * usual)
    labels = [str(evidence.stimuli[row]) for row in first[close]]
    quartiles = {name: np.quantile(distances, q) for name, q in (("Least", 0.0), ("Median", 0.5), ("Largest", 1.0))}
    figures = {"NearestTrainingDistance": quartiles, "NeighbourDistanceInTraining": usual, "Stimuli": labels}
    if labels:
        kind = "exactly" if equal.sum() == close.sum() else "exactly or almost"
        text = f"{len(labels)} test stimuli have {kind} the latents of a training stimulus."
        return light("WARN", text, **figures)
    text = "no test stimulus has, or almost has, the latents of a training stimulus"
    if np.isfinite(usual) and usual > 0:
        ratio = quartiles["Median"] / usual
        text += f" (median distance to the nearest: {ratio:.2f} x that between neighbours in training)"
    return light("PASS", f"{text}.", **figures)
