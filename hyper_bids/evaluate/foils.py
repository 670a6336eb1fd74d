"""Which candidates a prediction is held against: those of its group, those of others, the most similar.

Each function returns a mask ``(n, m)``, true where candidate j is a foil of prediction i, for `k_way`
and for the two scores below. Within a group (the same gender, say) what distinguishes the groups is no help;
hard foils are the candidates whose *true* latents resemble the target's most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.k_way import foil_counts, k_way_accuracy
from hyper_bids.evaluate.latent import latent_correlation_matrix


def _without_own(mask: np.ndarray, own: np.ndarray) -> np.ndarray:
    mask[np.arange(len(own)), own] = False
    return mask


def all_foils(own: np.ndarray, n_candidates: int) -> np.ndarray:
    """Every candidate but the own: ``(n, n_candidates)`` bool."""
    return _without_own(np.ones((len(own), n_candidates), dtype=bool), np.asarray(own))


def _labels(labels: Sequence[object]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.asarray(labels, dtype=object)
    known = np.array([label == label and str(label) not in ("n/a", "", "nan") for label in labels])
    return labels.astype(str), known


def same_label(labels: Sequence[object], own: np.ndarray) -> np.ndarray:
    """Candidates that share the target's label; none for a target, or of candidates, without one (n/a).

    Parameters
    ----------
    labels : m labels of the candidates, e.g. a column of stimuli.tsv
    own : (n,) int, column of each prediction's true candidate
    """
    names, known = _labels(labels)
    own = np.asarray(own)
    return _without_own((names[own][:, None] == names) & known & known[own][:, None], own)


def other_label(labels: Sequence[object], own: np.ndarray) -> np.ndarray:
    """Candidates of another label than the target's. Arguments as `same_label`."""
    names, known = _labels(labels)
    own = np.asarray(own)
    return _without_own((names[own][:, None] != names) & known & known[own][:, None], own)


def hard_foils(candidates: np.ndarray, own: np.ndarray, n_foils: int) -> np.ndarray:
    """Find the ``n_foils`` candidates whose true latents correlate most with the target's.

    Equal correlations are taken in the candidates' order, so the choice is reproducible.

    Parameters
    ----------
    candidates : (m, n_latents) true latents
    own : (n,) int

    Raises
    ------
    InconsistentInput
        Not between 1 and m - 1 foils.
    """
    own, m = np.asarray(own), len(candidates)
    if not 1 <= n_foils < m:
        raise InconsistentInput(f"Hard foils: {n_foils} asked for, but each target has {m - 1} other candidates.")
    likeness = latent_correlation_matrix(np.asarray(candidates)[own], candidates)
    likeness = np.where(np.isfinite(likeness), likeness, -np.inf)
    likeness[np.arange(len(own)), own] = -np.inf
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :n_foils]
    mask = np.zeros((len(own), m), dtype=bool)
    np.put_along_axis(mask, nearest, True, axis=1)
    return _without_own(mask, own)


def pairwise_among(similarity: np.ndarray, own: np.ndarray, foils: np.ndarray) -> np.ndarray:
    """Share of the foils that the target beats, ties one half: ``(n,)``; NaN without a foil."""
    return k_way_accuracy(similarity, own, 2, foils)


def full_among(similarity: np.ndarray, own: np.ndarray, foils: np.ndarray) -> np.ndarray:
    """1 where the target strictly beats every foil, else 0: ``(n,)``; NaN without a foil."""
    above, tied, below = foil_counts(similarity, own, foils)
    return np.where(above + tied + below > 0, (above + tied) == 0, np.nan)


def full_chance(similarity: np.ndarray, own: np.ndarray, foils: np.ndarray) -> np.ndarray:
    """Chance of full recognition, 1 / (1 + foils): ``(n,)``; groups differ in size, so stimuli do."""
    counts = np.sum(foil_counts(similarity, own, foils), axis=0)
    return np.where(counts > 0, 1.0 / (1.0 + counts), np.nan)


def pairwise_among_matrix(similarity: np.ndarray, foils: np.ndarray) -> np.ndarray:
    """`pairwise_among` of prediction i were candidate j its target, against j's foils: ``(n, m)``.

    For permutation tests, in which a target keeps its foils.

    Parameters
    ----------
    similarity : (n, m)
    foils : (m, m) bool, row j the foils of candidate j (``same_label(labels, np.arange(m))``, say)
    """
    similarity = np.asarray(similarity, dtype=np.float64)
    matrix = np.full(similarity.shape, np.nan)
    for target, own_foils in enumerate(np.asarray(foils)):
        rivals, won = similarity[:, own_foils], similarity[:, [target]]
        known = np.isfinite(rivals)
        wins = (known & (rivals < won)).sum(axis=1) + 0.5 * (known & (rivals == won)).sum(axis=1)
        count = known.sum(axis=1)
        defined = (count > 0) & np.isfinite(won[:, 0])
        matrix[:, target] = np.where(defined, wins / np.maximum(count, 1), np.nan)
    return matrix
