"""Label permutation for a fixed split: which score would these predictions get with the labels mixed?

The unit that is permuted is the whole test stimulus, with all its repeats; the decoder is not refitted,
since no test stimulus trained it. The statistic is the mean over stimuli of ``matrix[i, j]``, the score
of prediction i were j its true stimulus, so a permutation is a look-up. Reference: Ernst 2004, Stat Sci
19(4); ``(1 + b) / (1 + n)``: Phipson & Smyth 2010, SAGMB 9(1).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from hyper_bids.evaluate.refits import nan_mean

TIE_TOLERANCE = 1e-9
"""Null values this close to the observed one (relative, from 1 up) count as equal: sums round differently."""

CACHED = 150_000
"""Look-ups of one chunk of permutations."""


def stimulus_permutations(n: int, n_permutations: int, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """Permutations of n stimuli, ``(m, n)``, and whether they are all there are.

    All n! (the identity among them) where that is at most ``n_permutations``, else ``n_permutations``
    random ones.
    """
    if n <= 12 and math.factorial(n) <= n_permutations:
        return np.array(list(itertools.permutations(range(n))), dtype=int).reshape(-1, n), True
    return rng.permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1), False


def permutation_draws(matrix: np.ndarray, permutations: np.ndarray) -> np.ndarray:
    """Mean over i of ``matrix[i, permutation[i]]``, leaving NaN out: ``(m,)`` from ``(n, n)`` and ``(m, n)``."""
    matrix, rows = np.asarray(matrix), np.arange(len(matrix))
    step = max(1, CACHED // max(1, len(matrix)))  # chunks that stay in the cache: twice as fast
    starts = range(0, max(1, len(permutations)), step)
    return np.concatenate([nan_mean(matrix[rows, permutations[i : i + step]]) for i in starts])


def permutation_p(observed: float, draws: np.ndarray, higher_is_better: bool = True, exact: bool = False) -> float:
    """One-sided p: the share of null values that are at least as good as the observed one.

    ``(1 + b) / (1 + n)`` for n random draws, b of them at least as good; ``b / n`` where the draws are
    all permutations, the identity among them. A null value that is undefined counts as at least as good.

    Returns
    -------
    float in (0, 1]; NaN where ``observed`` is NaN or there is no draw

    >>> permutation_p(3.0, np.array([1.0, 2.0, 3.0]))
    0.5
    """
    draws = np.asarray(draws, dtype=np.float64)
    if not np.isfinite(observed) or not len(draws):
        return float("nan")
    gain = (observed - draws) * (1 if higher_is_better else -1)
    as_good = int((~(gain > TIE_TOLERANCE * max(1.0, abs(observed)))).sum())
    return as_good / len(draws) if exact else (1 + as_good) / (1 + len(draws))
