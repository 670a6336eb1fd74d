"""Does the decoder make something new, or show what it has learned?"""

from __future__ import annotations

import numpy as np

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed

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
    if nearer <= RETRIEVAL:
        return light("PASS", f"{text}.", **figures)
    return light(
        "WARN", f"{text}: pictures may look like stimuli that were trained on rather than like those shown.", **figures
    )
