"""k-way identification in exact closed form: no random draws of foils, any k.

A prediction's target wins among k candidates if none of k - 1 foils, drawn without replacement from the
N - 1 others, beats it. With a foils that beat it, t that tie with it and w that lose, N - 1 = a + t + w, and a
win shared among j tied foils worth 1 / (1 + j)::

    P = sum_j C(t, j) C(w, k-1-j) / ((1 + j) C(N-1, k-1)) = (C(t+w+1, k) - C(w, k)) / ((t+1) C(N-1, k-1))

which is C(w, k-1) / C(N-1, k-1), hypergeometric, where nothing ties. For k = 2 it is pairwise accuracy with ties
one half; for k = N full recognition, a tie at the top shared (where `identification.top1` calls it a loss:
``ties="loss"`` does so here).
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from hyper_bids.errors import InconsistentInput


@lru_cache(maxsize=65536)
def k_way_probability(n_above: int, n_tied: int, n_below: int, k: int) -> float:
    """Probability that the target wins among ``k`` candidates, k - 1 foils being drawn; exact integers inside.

    >>> k_way_probability(1, 0, 2, 2)
    0.6666666666666666
    >>> k_way_probability(0, 1, 0, 2)
    0.5
    """
    n_foils = n_above + n_tied + n_below
    ways = math.comb(n_tied + n_below + 1, k) - math.comb(n_below, k)
    return float(Fraction(ways, (n_tied + 1) * math.comb(n_foils, k - 1)))


def _probabilities(above: np.ndarray, tied: np.ndarray, below: np.ndarray, k: int) -> np.ndarray:
    counts = zip(above.tolist(), tied.tolist(), below.tolist(), strict=True)
    return np.array([k_way_probability(a, t, b, k) if a + t + b >= k - 1 else np.nan for a, t, b in counts])


def foil_counts(
    similarity: np.ndarray, own: np.ndarray, foils: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the foils above, tied with and below the target.

    Parameters
    ----------
    similarity : (n, m)
        Of each prediction with each candidate, rounded where ties are to be found
        (`identification.candidate_correlations`).
    own : (n,) int
        Column of each prediction's true candidate.
    foils : (n, m) bool, optional
        Candidates that count as foils (see `foils`); all but the own by default.

    Returns
    -------
    above, tied, below : (n,) int
        An undefined candidate is not counted; all three are 0 where the target is undefined.
    """
    similarity, own = np.asarray(similarity, dtype=np.float64), np.asarray(own)
    allowed = np.isfinite(similarity) if foils is None else np.isfinite(similarity) & foils
    allowed[np.arange(len(own)), own] = False
    target = similarity[np.arange(len(own)), own][:, None]
    allowed &= np.isfinite(target)
    return tuple((allowed & compared).sum(axis=1) for compared in (similarity > target, similarity == target,
                                                                    similarity < target))  # fmt: skip


def k_way_accuracy(
    similarity: np.ndarray, own: np.ndarray, k: int, foils: np.ndarray | None = None, ties: str = "shared"
) -> np.ndarray:
    """Expected k-way identification of every prediction, over all choices of its foils.

    Parameters
    ----------
    similarity, own, foils : as `foil_counts`
    k : candidates in a trial, the target among them; at least 2
    ties : "shared" (one half, one third ... of a win) or "loss"

    Returns
    -------
    (n,) in [0, 1], 1 / k by chance; NaN where fewer than k - 1 foils are defined

    Raises
    ------
    InconsistentInput
        k below 2, or another word for ties.
    """
    if k < 2 or ties not in ("shared", "loss"):
        raise InconsistentInput(f"k-way identification needs k of 2 at least and ties 'shared' or 'loss', got "
                                f"k = {k}, ties = {ties!r}.")  # fmt: skip
    above, tied, below = foil_counts(similarity, own, foils)
    if ties == "loss":
        above, tied = above + tied, np.zeros_like(tied)
    return _probabilities(above, tied, below, k)


def k_way_matrix(similarity: np.ndarray, k: int) -> np.ndarray:
    """k-way identification of each prediction, were each candidate in turn the true one: ``(n, m)``."""
    similarity = np.asarray(similarity, dtype=np.float64)
    matrix = np.full(similarity.shape, np.nan)
    for row, values in enumerate(similarity):
        known = np.isfinite(values)
        ordered = np.sort(values[known])
        below = np.searchsorted(ordered, values[known], side="left")
        tied = np.searchsorted(ordered, values[known], side="right") - below - 1
        matrix[row, known] = _probabilities(len(ordered) - 1 - below - tied, tied, below, k)
    return matrix


def k_way_curve(
    similarity: np.ndarray, own: np.ndarray, ks: list[int], foils: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """`k_way_accuracy` for several k: k -> ``(n,)``."""
    return {k: k_way_accuracy(similarity, own, k, foils) for k in ks}
