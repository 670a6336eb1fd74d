"""Checks of a decoding result that need no brain data. Each says PASS, WARN, FAIL or N/A (not computed), and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

COLLAPSED = 0.1
"""Share of the latents' effective dimensions below which predictions have collapsed."""


SAME = 1e-5
"""Relative change of a prediction that rounding may make."""


def participation_ratio(values: np.ndarray) -> float:
    """Effective number of dimensions of ``(n, k)``: ``(sum l)^2 / sum l^2`` over covariance eigenvalues l.

    >>> rng = np.random.default_rng(0)
    >>> round(participation_ratio(rng.normal(size=(5000, 3))), 1)
    3.0
    """
    centred = np.asarray(values, dtype=np.float64) - np.mean(values, axis=0)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    squares = float((gram**2).sum())
    return float(np.trace(gram)) ** 2 / squares if squares > 0 else 0.0


def audit(
    *,
    true: np.ndarray,
    predicted: np.ndarray,
    training_mean: np.ndarray,
    nearest: np.ndarray,
    training: np.ndarray,
    shared_stimuli: Sequence[str],
    cross_validated: bool,
    alone_difference: float,
    constant_latents: Sequence[int],
    null_notices: Sequence[str] = (),
) -> dict[str, Any]:
    """Check one decoder's predictions.

    Parameters
    ----------
    true, predicted : (n_rows, n_latents) of the test rows
    training_mean : (n_rows, n_latents) mean training latent of the row's fold
    nearest : (n_rows, n_latents) the fold's training latent nearest to the prediction
    training : (n_stimuli, n_latents) distinct training latents
    shared_stimuli : stimuli that are in the training and the test set
    cross_validated : whether that is by design
    alone_difference : largest change of a prediction when its trial is predicted alone
    constant_latents : latents that do not vary over a fold's training trials
    null_notices : what limits the null distribution

    Returns
    -------
    check -> {"Status", "Text", and its figures}
    """
    return {
        "Overlap": _overlap(shared_stimuli, cross_validated),
        "SameLatents": _same_latents(true, training, cross_validated),
        "SingleItem": _single_item(alone_difference, predicted),
        "DataScale": _data_scale(training),
        "ConstantLatents": _constant(constant_latents),
        "DimensionCollapse": _collapse(true, predicted),
        "Baselines": _baselines(true, predicted, training_mean, nearest),
        **({"NullDistribution": {"Status": "WARN", "Text": " ".join(null_notices)}} if null_notices else {}),
    }


def _overlap(shared: Sequence[str], cross_validated: bool) -> dict[str, Any]:
    if cross_validated:
        return {"Status": "PASS", "Text": "cross-validated: no trial is in the training and the test set of a fold."}
    if shared:
        return {"Status": "FAIL", "Text": f"{len(shared)} stimuli are in both sets.", "Stimuli": list(shared)}
    return {"Status": "PASS", "Text": "no stimulus is in both the training and the test set."}


def _same_latents(true: np.ndarray, training: np.ndarray, cross_validated: bool) -> dict[str, Any]:
    if cross_validated:
        return {"Status": "PASS", "Text": "not asked where stimuli are repeated over folds by design."}
    known = {row.tobytes() for row in np.ascontiguousarray(training, dtype=np.float32)}
    same = sum(row.tobytes() in known for row in np.ascontiguousarray(true, dtype=np.float32))
    if same:
        return {"Status": "WARN", "Text": f"{same} test stimuli have exactly the latents of a training stimulus."}
    return {"Status": "PASS", "Text": "no test stimulus has exactly the latents of a training stimulus."}


def _single_item(difference: float, predicted: np.ndarray) -> dict[str, Any]:
    """Predictions may not depend on which other trials are predicted with them."""
    scale = float(np.abs(predicted).max())
    alone = difference <= SAME * max(scale, 1e-12)
    text = "a trial is predicted the same alone and among others."
    if not alone:
        text = f"a trial predicted alone differs by up to {difference:.3g}: predictions use other test trials."
    return {"Status": "PASS" if alone else "FAIL", "Text": text, "LargestDifference": float(f"{difference:.6g}")}


def _constant(latents: Sequence[int]) -> dict[str, Any]:
    if not latents:
        return {"Status": "PASS", "Text": "every latent varies over the training trials."}
    text = f"{len(latents)} latents do not vary over a fold's training trials and are predicted by their mean."
    return {"Status": "WARN", "Text": text, "Latents": list(latents)}


def _data_scale(training: np.ndarray) -> dict[str, Any]:
    scale = len(training) / training.shape[1]
    status = "PASS" if scale >= 1 else "WARN"
    text = f"{len(training)} training stimuli for {training.shape[1]} latents: {scale:.2f} per latent."
    if status == "WARN":
        text += " A linear decoder can only predict within the span of the training latents."
    return {"Status": status, "Text": text, "StimuliPerLatent": round(scale, 4)}


def _collapse(true: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    if not np.ptp(true, axis=0).any():
        why = "one test stimulus" if len(true) == 1 else "the true latents are the same in every test row"
        return {"Status": "N/A", "Text": f"{why}: dimensions cannot be counted."}
    of_true, of_predicted = participation_ratio(true), participation_ratio(predicted)
    share = of_predicted / of_true
    text = f"predictions span {of_predicted:.1f} effective dimensions, the true latents {of_true:.1f}."
    return {
        "Status": "WARN" if share < COLLAPSED else "PASS",
        "Text": text + (" Nearly all predictions lie on few directions." if share < COLLAPSED else ""),
        "EffectiveDimensionsPredicted": round(of_predicted, 4),
        "EffectiveDimensionsTrue": round(of_true, 4),
    }


def _baselines(
    true: np.ndarray, predicted: np.ndarray, training_mean: np.ndarray, nearest: np.ndarray
) -> dict[str, Any]:
    """Mean squared error per latent: of the decoder, of guesses without brain data, and of retrieval."""

    def error(guess: np.ndarray) -> float:
        return float(((np.asarray(true, dtype=np.float64) - guess) ** 2).mean())

    errors = {
        "Decoder": error(predicted),
        "Zero": error(np.zeros(1)),
        "TrainingMean": error(training_mean),
        "NearestTrainingStimulus": error(nearest),
    }
    beaten = errors["Decoder"] < min(errors["Zero"], errors["TrainingMean"])
    text = (
        f"mean squared error {errors['Decoder']:.4g}; predicting the training mean gives {errors['TrainingMean']:.4g}, "
        f"zeros {errors['Zero']:.4g}, the training stimulus nearest to the prediction "
        f"{errors['NearestTrainingStimulus']:.4g}."
    )
    if not beaten:
        text += " The decoder's distances to the truth are no smaller than those of a guess without brain data."
    elif errors["Decoder"] >= errors["NearestTrainingStimulus"]:
        text += " Showing the nearest training stimulus would do as well: this may be retrieval."
    return {
        "Status": "PASS" if beaten else "WARN",
        "Text": text,
        "MeanSquaredError": {name: float(f"{value:.6g}") for name, value in errors.items()},
    }
