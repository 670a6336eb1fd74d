"""Two models over the same participants: sign test, and Wilcoxon's signed ranks, exact for few.

Two-sided. Differences of zero say nothing about the direction and are left out (Wilcoxon 1945, Biometrics
Bulletin 1(6)); equal differences share their rank, and the distribution is conditional on those ties.
"""

from __future__ import annotations

import numpy as np

from hyper_bids.evaluate.result import TestResult, untested

EXACT_UP_TO = 200
"""Participants up to whom Wilcoxon's distribution is convolved; beyond, normal with its continuity correction."""


def _differences(differences: np.ndarray) -> np.ndarray:
    differences = np.asarray(differences, dtype=np.float64)
    return differences[np.isfinite(differences) & (differences != 0.0)]


def sign_test(differences: np.ndarray) -> TestResult:
    """Test the number of participants in whom the first model is better: binomial(n, 1/2), two-sided.

    Parameters
    ----------
    differences : (n_participants,) first model minus second; zeros and NaN are left out

    >>> sign_test(np.array([0.1, 0.2, 0.1, 0.3])).p
    0.125
    """
    from scipy.stats import binom

    differences = _differences(differences)
    n = len(differences)
    if n < 1:
        return untested("no participant in whom the two differ", 0, "participant")
    better = int((differences > 0).sum())
    p = min(1.0, 2.0 * float(binom.cdf(min(better, n - better), n, 0.5)))
    return TestResult("sign test, exact", float(better), p, n, "participant")


def signed_rank_pmf(doubled_ranks: np.ndarray) -> np.ndarray:
    """Probability of every sum of doubled ranks with positive sign, each sign having chance 1/2."""
    pmf = np.ones(1)
    for rank in np.asarray(doubled_ranks, dtype=int):
        grown = np.zeros(len(pmf) + rank)
        grown[: len(pmf)] += 0.5 * pmf
        grown[rank:] += 0.5 * pmf
        pmf = grown
    return pmf


def _normal_p(ranks: np.ndarray, positive: float) -> float:
    from scipy.stats import norm

    spread = np.sqrt((ranks**2).sum() / 4)
    distance = max(0.0, abs(positive - ranks.sum() / 2) - 0.5)
    return float(min(1.0, 2.0 * norm.sf(distance / spread)))


def wilcoxon_test(differences: np.ndarray) -> TestResult:
    """Wilcoxon's signed-rank test; statistic W, the sum of ranks of participants in whom the first is better.

    Parameters
    ----------
    differences : (n_participants,) first model minus second; zeros and NaN are left out
    """
    from scipy.stats import rankdata

    differences = _differences(differences)
    n = len(differences)
    if n < 1:
        return untested("no participant in whom the two differ", 0, "participant")
    # rounded, so that differences that are equal but for rounding share a rank
    size = np.abs(differences)
    ranks = rankdata(np.round(size / size.max(), 12))
    positive = float(ranks[differences > 0].sum())
    if n > EXACT_UP_TO:
        return TestResult("Wilcoxon signed rank, normal with continuity correction", positive,
                          _normal_p(ranks, positive), n, "participant")  # fmt: skip
    doubled = np.rint(2 * ranks).astype(int)
    pmf = signed_rank_pmf(doubled)
    at = round(2 * positive)
    p = min(1.0, 2.0 * float(min(pmf[: at + 1].sum(), pmf[at:].sum())))
    return TestResult("Wilcoxon signed rank, exact distribution", positive, p, n, "participant")
