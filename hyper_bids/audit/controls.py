"""Can the latents be decoded, by the same analysis, from signals that must not hold the stimulus?

The same folds, means over repeats, identification and permutations as for the decoder, on the global signal (the mean
response over the brain, one feature) and on voxels outside the brain (Görgen et al. 2018, NeuroImage 180).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed

GLOBAL, OUTSIDE = "GlobalSignal", "OutsideBrain"
"""The controls, as in audit.json."""

N_PERMUTATIONS = 999
FEWEST_ROWS = 8
FEWEST_DRAWS = 99
"""Permutations below which a control decides nothing."""

ALPHA = 0.05


class ControlRidge:
    """Ridge regression on a few features, in closed form, with one penalty.

    Features are centred and scaled by their standard deviation over the training trials; the penalty is the number of
    features: the mean diagonal of their Gram matrix over trials. Labels of the training trials enter linearly, so that
    a refit to others is one product.

    Parameters
    ----------
    share : test rows times training stimuli, over the training trials squared, by which the cost of refits is counted
    """

    def __init__(self, share: float = 1.0) -> None:
        self.share = share

    def predict_refitted(
        self, X: np.ndarray, Z: np.ndarray, rows: np.ndarray, X_test: np.ndarray, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Predictions ``(n_sets, n_test, n_latents)`` after fits to the rows ``(n_sets, n_trials)`` of ``Z``."""
        weights = prediction_weights(X, X_test)
        made = np.empty((len(rows), len(X_test), Z.shape[1]), dtype=np.float32)
        for own, predicted in zip(rows, made, strict=True):
            order = np.argsort(own, kind="stable")
            distinct, starts = np.unique(own[order], return_index=True)
            # Trials of one stimulus have the same latents: their weights are added before the product.
            predicted[:] = np.add.reduceat(weights[:, order], starts, axis=1) @ Z[distinct].astype(np.float64)
        return made

    def refit_operations(self, n_trials: int, n_voxels: int, n_latents: int) -> float:
        """Floating-point operations of one refit: the product of the stimuli's weights with their latents."""
        return 2.0 * self.share * n_trials**2 * n_latents


def prediction_weights(X: np.ndarray, X_test: np.ndarray) -> np.ndarray:
    """Weights ``(n_test, n_train)`` of the training latents in the ridge prediction of every test row.

    ``1 / n + x_test (X'X + p I)^-1 X'``, X standardised, p features.
    """
    X = np.asarray(X, np.float64)
    mean, spread = X.mean(axis=0), X.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    X = (X - mean) / scale
    solved = np.linalg.solve(X.T @ X + X.shape[1] * np.eye(X.shape[1]), X.T)
    return 1 / len(X) + (np.asarray(X_test, np.float64) - mean) / scale @ solved


def controls(evidence: Evidence) -> Light:
    """Say whether a control is identified better than chance (Bonferroni over the controls)."""
    missing = "; ".join(f"{WORDS[name][0]}: {why}" for name, why in evidence.controls_missing.items())
    if not evidence.controls:
        return not_assessed(missing or "no responses were decoded from outside the decoder's voxels")
    limit = ALPHA / len(evidence.controls)
    above = [name for name, found in evidence.controls.items() if found["P"] <= limit]
    said = "; ".join(_said(name, found) for name, found in evidence.controls.items())
    text = f"pairwise identification of the latents decoded {said}."
    text += "".join(f" {WORDS[name][1]}" for name in above)
    text += f" Not assessed: {missing}." if missing else ""
    status = "WARN" if OUTSIDE in above else "NOTE" if above else "PASS"
    return light(status, text, Controls=evidence.controls)


def _said(name: str, found: dict[str, Any]) -> str:
    what = f"from the {WORDS[name][0]} ({found['Voxels']} voxels) is {found['PairwiseAccuracy']:.2f}"
    return f"{what}, with permuted stimuli {found['Chance']:.2f}, p = {found['P']:.3g}"


WORDS = {
    GLOBAL: (
        "global signal",
        "Part of the decoding is in the overall amplitude of the response (arousal, luminance or size of the picture, "
        "how many voxels respond): decode from responses less their mean over voxels to see what the pattern adds.",
    ),
    OUTSIDE: (
        "signal outside the brain",
        "The stimulus can be read where there is no brain: motion or eye movements that go along with it, smoothing "
        "across the mask's edge, or a leak in the design (the order of stimuli, trials that overlap). What leaks there "
        "may leak into the decoder's voxels: look at the confounds that were modelled and at the order of stimuli.",
    ),
}
"""Control -> what it is called, and what it means where it holds the stimulus."""
