"""Exact null of a sum of ranks, and of a count of full recognitions, by convolution.

VanRullen & Reddy 2019 draw 10^6 times: under the null the number of foils that a target beats is uniform on
0 .. m - 1, and stimuli are independent, so the sum's distribution is a convolution of uniforms, one per
stimulus (or per subject, in imagery), whose numbers of candidates m may differ. All terms are positive, so
the smallest tail keeps its relative precision.

Stimuli are *not* independent where predictions share a component or targets are each other's foils: the test
is then conservative (docs/statistics.md gives its real size). It is shown beside the permutation p, labelled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.result import TestResult, untested

MAX_WORK = 4e8
"""Multiplications of the direct convolution; beyond, the Fourier transform, exact to 1e-12 absolutely."""


def _direct(counts: np.ndarray) -> np.ndarray:
    pmf = np.ones(1)
    for count in counts:
        pmf = np.convolve(pmf, np.full(count, 1.0 / count))
    return pmf


def _fourier(counts: np.ndarray) -> np.ndarray:
    length = int((counts - 1).sum()) + 1
    size = 1 << (length - 1).bit_length()
    spectrum = np.ones(size // 2 + 1, dtype=complex)
    for count, times in zip(*np.unique(counts, return_counts=True), strict=True):
        uniform = np.zeros(size)
        uniform[:count] = 1.0 / count
        spectrum *= np.fft.rfft(uniform) ** times
    return np.clip(np.fft.irfft(spectrum, size)[:length], 0.0, None)


def rank_sum_pmf(n_candidates: Sequence[int]) -> np.ndarray:
    """Probability of every sum of independent uniform ranks.

    Parameters
    ----------
    n_candidates : candidates of each stimulus, the target among them; its rank is uniform on 0 .. m - 1

    Returns
    -------
    (1 + sum(m - 1),) probabilities of the sums 0, 1, ...

    >>> rank_sum_pmf([2, 2])
    array([0.25, 0.5 , 0.25])
    """
    counts = np.sort(np.asarray(n_candidates, dtype=int))
    if not len(counts) or counts[0] < 1:
        raise InconsistentInput("The null of a rank sum needs at least one stimulus, and one candidate for each.")
    work = float(np.cumsum(counts - 1) @ counts)
    return _direct(counts) if work <= MAX_WORK else _fourier(counts)


def _of_a_choice(values: np.ndarray, n_candidates: Sequence[int], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and numbers of candidates of the stimuli that have a value and were chosen among two or more."""
    values, counts = np.asarray(values, dtype=np.float64), np.asarray(n_candidates, dtype=int)
    if values.shape != counts.shape:
        raise InconsistentInput(f"{len(values)} {name} but {len(counts)} numbers of candidates.")
    known = np.isfinite(values) & (counts > 1)
    return values[known], counts[known]


def rank_sum_test(beaten: np.ndarray, n_candidates: Sequence[int], unit: str = "stimulus") -> TestResult:
    """Test the number of foils that targets beat, summed over stimuli; one-sided, exact under independence.

    Parameters
    ----------
    beaten : (n,)
        Foils that each target beats, ties one half; a half in the sum is rounded down, which is conservative.
    n_candidates : n numbers of candidates, the target among them

    Returns
    -------
    TestResult, its statistic the sum
    """
    beaten, counts = _of_a_choice(beaten, n_candidates, "ranks")
    if not len(beaten):
        return untested("no stimulus has a rank among two candidates or more", 0, unit)
    if (beaten < 0).any() or (beaten > counts - 1).any():
        raise InconsistentInput("A target cannot beat more foils than there are: ranks lie in 0 .. candidates - 1.")
    total = float(beaten.sum())
    pmf = rank_sum_pmf(counts)
    upper = pmf[int(np.floor(total + 1e-9)) :]
    p = float(min(1.0, upper[::-1].sum()))
    method = "exact null of the rank sum by convolution, ranks taken as independent"
    return TestResult(method, total, p, len(beaten), unit)


def success_count_pmf(chances: Sequence[float]) -> np.ndarray:
    """Probability of 0 .. n successes of n independent trials with unequal chances (Poisson binomial)."""
    pmf = np.ones(1)
    for chance in chances:
        pmf = np.convolve(pmf, [1.0 - chance, chance])
    return pmf


def full_recognition_test(won: np.ndarray, n_candidates: Sequence[int], unit: str = "stimulus") -> TestResult:
    """Test the number of targets that beat every foil: binomial(n, 1/m), or its mixture for unequal m.

    Parameters
    ----------
    won : (n,) 1 or 0
    n_candidates : n numbers of candidates, the target among them
    """
    won, counts = _of_a_choice(won, n_candidates, "outcomes")
    if not len(won):
        return untested("no stimulus has two candidates", 0, unit)
    total = round(float(won.sum()))
    pmf = success_count_pmf(1.0 / counts)
    same = len(set(counts.tolist())) == 1
    method = f"binomial, chance 1/{counts[0]}" if same else "Poisson binomial, chance 1 / candidates"
    p = float(min(1.0, pmf[total:].sum()))
    return TestResult(f"{method}, stimuli taken as independent", float(total), p, len(won), unit)
