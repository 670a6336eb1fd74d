"""Do models differ over participants? Friedman's test, exact for few participants.

Friedman 1937, JASA 32(200). Every participant ranks the models (ties share ranks); under the null all orders of
a participant's ranks are equally likely. Below 12 participants chi-squared is a poor approximation, so the
distribution of the sum of squared rank sums is computed: participant by participant, the possible rank sums are
kept as sorted vectors with their probabilities (models are exchangeable, so order does not matter). Ties are
conditioned upon. VAE-GAN's case, 2 models and 4 participants who agree, chi2(1) = 4, has p = 0.125 and not 0.0455.
"""

from __future__ import annotations

import itertools

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.result import TestResult, as_extreme, monte_carlo_p, untested

EXACT_BELOW = 12
MAX_STATES = 4_000_000
"""Rank-sum vectors times orders that one participant may add in the exact computation; beyond, random orders."""
N_DRAWS = 99_999
CHUNK = 400_000


def participant_ranks(values: np.ndarray) -> np.ndarray:
    """Rank models within each participant, 1 the lowest, ties sharing the mean rank: ``(n, k)``."""
    from scipy.stats import rankdata

    return rankdata(values, axis=1)


def friedman_statistic(ranks: np.ndarray) -> float:
    """Friedman's chi-squared with the correction for ties, from ``(n_participants, n_models)`` ranks."""
    n, k = ranks.shape
    spread = ((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum()
    within = ((ranks - (k + 1) / 2) ** 2).sum() / (n * (k - 1))
    return float(spread / (n * within)) if within > 0 else float("nan")


def _orders(doubled: np.ndarray) -> np.ndarray:
    """Distinct orders of one participant's centred doubled ranks, ``(n_orders, k)``: equally likely."""
    return np.array(sorted(set(itertools.permutations(doubled.tolist()))), dtype=np.int64)


def _added(states: np.ndarray, weights: np.ndarray, orders: np.ndarray, base: int) -> tuple[np.ndarray, np.ndarray]:
    """All sums of a state and an order, sorted and merged, with their probabilities."""
    k = states.shape[1]
    sums = np.sort((states[:, None, :] + orders).reshape(-1, k), axis=1)
    codes = np.zeros(len(sums), dtype=np.int64)
    for column in range(k - 1):  # the sums of a state are zero in all: the last follows
        codes = codes * base + (sums[:, column] + base // 2)
    _, first, place = np.unique(codes, return_index=True, return_inverse=True)
    spread = np.repeat(weights / len(orders), len(orders))
    return sums[first], np.bincount(place, weights=spread)


def exact_p(ranks: np.ndarray) -> float | None:
    """P(statistic >= observed) over all orders of every participant's ranks; None where they are too many."""
    n, k = ranks.shape
    centred = np.rint(2 * ranks - (k + 1)).astype(np.int64)
    base = 2 * n * (k - 1) + 1
    if k > 8 or base ** (k - 1) >= 2**62:
        return None
    states, weights = np.sort(centred[:1], axis=1), np.ones(1)
    for row in centred[1:-1]:
        orders = _orders(row)
        if len(states) * len(orders) > MAX_STATES:
            return None
        states, weights = _added(states, weights, orders, base)
    observed = (centred.sum(axis=0) ** 2).sum()
    if n == 1:
        return 1.0
    orders, p = _orders(centred[-1]), 0.0
    step = max(1, CHUNK // len(orders))
    for start in range(0, len(states), step):
        squares = ((states[start : start + step, None, :] + orders) ** 2).sum(axis=2)
        p += float((squares >= observed).mean(axis=1) @ weights[start : start + step])
    return min(1.0, p)


def _random_orders_p(ranks: np.ndarray, rng: np.random.Generator) -> float:
    observed = (ranks.sum(axis=0) ** 2).sum()
    step, as_good = max(1, 4_000_000 // ranks.size), 0
    for start in range(0, N_DRAWS, step):
        size = min(step, N_DRAWS - start)
        shuffled = rng.permuted(np.broadcast_to(ranks, (size, *ranks.shape)), axis=2)
        as_good += as_extreme((shuffled.sum(axis=1) ** 2).sum(axis=1), observed)
    return monte_carlo_p(as_good, N_DRAWS)


def friedman_test(values: np.ndarray, rng: np.random.Generator) -> TestResult:
    """Test whether models differ, over participants.

    Parameters
    ----------
    values : (n_participants, n_models)
        One score of every model for every participant.
    rng : for random orders, where there are too many for enumeration (more than 5 models, as a rule)

    Returns
    -------
    TestResult
        Statistic chi-squared, corrected for ties; p exact below 12 participants (or, said so, from
        random orders), else from chi-squared with k - 1 degrees of freedom.

    Raises
    ------
    InconsistentInput
        Values that are not finite: leave such participants out, and name them.
    """
    from scipy.stats import chi2

    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise InconsistentInput(f"Friedman's test needs a finite table (participants x models), got {values.shape}.")
    n, k = values.shape
    if n < 1 or k < 2:
        return untested("fewer than two models, or no participant", n, "participant")
    ranks = participant_ranks(values)
    statistic = friedman_statistic(ranks)
    if not np.isfinite(statistic):
        return untested("all models tie in every participant", n, "participant")
    if n >= EXACT_BELOW:
        method = f"Friedman, chi-squared with {k - 1} degrees of freedom"
        return TestResult(method, statistic, float(chi2.sf(statistic, k - 1)), n, "participant")
    p = exact_p(ranks)
    if p is not None:
        return TestResult("Friedman, exact distribution", statistic, p, n, "participant")
    p = _random_orders_p(ranks, rng)
    return TestResult(f"Friedman, {N_DRAWS} random orders of ranks", statistic, p, n, "participant", N_DRAWS)
