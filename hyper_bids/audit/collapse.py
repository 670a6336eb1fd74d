"""How much of the latent space do predictions use? Effective dimensions, variance, and the span of training."""

from __future__ import annotations

import numpy as np

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed

COLLAPSED = 0.1
"""Share of the latents' effective dimensions below which predictions have collapsed."""

SHRUNKEN = 0.01
"""Share of the latents' variance below which predictions are all but one point."""


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


def dimension_collapse(evidence: Evidence) -> Light:
    """Compare effective dimensions and variance of predictions with those of the truth."""
    true, predicted = np.asarray(evidence.true, np.float64), np.asarray(evidence.predicted, np.float64)
    if not np.ptp(true, axis=0).any():
        alike = "one test stimulus" if len(true) == 1 else "the true latents are the same in every test row"
        return not_assessed(f"{alike}, dimensions cannot be counted")
    of_true, of_predicted = participation_ratio(true), participation_ratio(predicted)
    variance = float(predicted.var(axis=0).sum() / true.var(axis=0).sum())
    text = (
        f"predictions span {of_predicted:.1f} effective dimensions, the true latents {of_true:.1f}; their variance is "
        f"{100 * variance:.3g} % of the truth's."
    )
    figures = {
        "EffectiveDimensionsPredicted": of_predicted, "EffectiveDimensionsTrue": of_true, "VarianceRatio": variance,
    }  # fmt: skip
    if of_predicted < COLLAPSED * of_true:
        return light("WARN", f"{text} Nearly all predictions lie on few directions.", **figures)
    if variance < SHRUNKEN:
        return light("WARN", f"{text} All predictions are nearly the same.", **figures)
    return light("PASS", text, **figures)


def outside_span(true: np.ndarray, training: np.ndarray) -> float:
    """Share of the variance of ``(n, k)`` about the training mean that no combination of training latents can reach."""
    centre = np.asarray(training, np.float64).mean(axis=0)
    _, singular, axes = np.linalg.svd(np.asarray(training, np.float64) - centre, full_matrices=False)
    kept = axes[singular > 1e-6 * singular.max(initial=0.0)]
    deviation = np.asarray(true, np.float64) - centre
    total = float((deviation**2).sum())
    reached = float(((deviation @ kept.T) ** 2).sum())
    return max(0.0, 1.0 - reached / total) if total > 0 else 0.0


def data_scale(evidence: Evidence) -> Light:
    """Whether there are training stimuli enough for the latents, and how much of the truth they cannot reach."""
    training = evidence.training
    scale = len(training) / training.shape[1]
    text = f"{len(training)} training stimuli for {training.shape[1]} latents: {scale:.2f} per latent."
    if scale >= 1:
        return light("PASS", text, StimuliPerLatent=scale)
    outside = outside_span(evidence.true, training)
    text += (
        f" A linear decoder can only predict within the span of the training latents; {100 * outside:.0f} % of the "
        "test latents' variance lies outside."
    )
    return light("WARN", text, StimuliPerLatent=scale, OutsideSpan=outside)
