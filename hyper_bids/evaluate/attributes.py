"""Attribute scores: how far a latent lies along a direction that means something (gender, age, smile ...).

The score is ``z . n``, n the unit normal of the attribute's hyperplane, z as it is. There is no
intercept, so a score of zero is not the border between two classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput


def attribute_scores(latents: np.ndarray, directions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Project ``(n, n_latents)`` onto each direction ``(n_latents,)``, scaled to unit length: name -> ``(n,)``.

    Raises
    ------
    InconsistentInput
        A direction of another length than the latents, not finite, or of length zero.
    """
    latents = np.asarray(latents, dtype=np.float64)
    scores = {}
    for name, direction in directions.items():
        direction = np.asarray(direction, dtype=np.float64).ravel()
        length = np.linalg.norm(direction)
        if len(direction) != latents.shape[1] or not np.isfinite(length) or length == 0.0:
            raise InconsistentInput(
                f"Attribute {name!r} needs a finite direction of {latents.shape[1]} numbers, not all zero; "
                f"got {len(direction)} numbers of length {length:g}."
            )
        scores[name] = latents @ (direction / length)
    return scores


@dataclass(frozen=True)
class Correlation:
    """Pearson r, its two-sided p by t, and the degrees of freedom; NaN where undefined."""

    r: float
    p: float
    dof: int


def correlation_test(x: np.ndarray, y: np.ndarray, n_controlled: int = 0) -> Correlation:
    """Pearson r of ``(n,)`` with ``(n,)`` and ``t = r sqrt(dof / (1 - r^2))``, dof = n - 2 - n_controlled."""
    from scipy.stats import t as student

    x, y = x - np.mean(x), y - np.mean(y)
    dof, size = len(x) - 2 - n_controlled, float(np.linalg.norm(x) * np.linalg.norm(y))
    if dof < 1 or size <= 0.0:
        return Correlation(float("nan"), float("nan"), dof)
    r = float(np.clip(x @ y / size, -1.0, 1.0))
    statistic = np.inf if abs(r) == 1.0 else abs(r) * np.sqrt(dof / (1.0 - r * r))
    return Correlation(r, float(2.0 * student.sf(statistic, dof)), dof)


def partial_correlation(x: np.ndarray, y: np.ndarray, others: np.ndarray) -> Correlation:
    """Pearson r of x and y after regressing ``others`` (n, k) and an intercept out of both.

    Undefined (NaN) where the others explain either of them completely, or leave no degree of freedom.
    """
    others = np.asarray(others, dtype=np.float64)
    design = np.column_stack([np.ones(len(x)), others])
    rank = int(np.linalg.matrix_rank(design))
    both = np.column_stack([x, y])
    left = both - design @ np.linalg.lstsq(design, both, rcond=None)[0]
    if (np.linalg.norm(left, axis=0) <= 1e-8 * np.linalg.norm(both, axis=0)).any():
        return Correlation(float("nan"), float("nan"), len(x) - 1 - rank)
    return correlation_test(left[:, 0], left[:, 1], n_controlled=rank - 1)


def attribute_correlations(
    true: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray], partial: bool = True
) -> tuple[dict[str, Correlation], dict[str, Correlation]]:
    """Correlate true and predicted scores over stimuli, alone and given the *true* scores of the others.

    Controlling for the other attributes' true scores asks whether the prediction knows more about this
    attribute than what follows from the others among these stimuli.

    Parameters
    ----------
    true, predicted : attribute -> (n_stimuli,)
    partial : whether the second is wanted, whose cost grows with the square of the number of attributes

    Returns
    -------
    alone, given_others : attribute -> Correlation; the second is empty where there is one attribute only
    """
    alone = {name: correlation_test(true[name], predicted[name]) for name in true}
    if len(true) < 2 or not partial:
        return alone, {}
    given_others = {
        name: partial_correlation(
            true[name], predicted[name], np.column_stack([scores for other, scores in true.items() if other != name])
        )
        for name in true
    }
    return alone, given_others
