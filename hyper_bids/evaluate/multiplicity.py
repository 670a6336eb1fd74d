"""Many p-values at once: false discovery rate, Holm, Bonferroni, and the maximum over the same permutations.

NaN p-values (not tested) stay NaN and do not count as tests.
"""

from __future__ import annotations

import numpy as np


def _sorted(p_values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p_values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    return p_values, order, p_values[order]


def _put(p_values: np.ndarray, order: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    out = np.full(p_values.shape, np.nan)
    out[order] = np.minimum(adjusted, 1.0)
    return out


def fdr(p_values: np.ndarray) -> np.ndarray:
    """Adjust ``(m,)`` p-values for the false discovery rate (Benjamini & Hochberg 1995).

    >>> fdr(np.array([0.01, 0.04, 0.03, 0.5])).round(4)
    array([0.04  , 0.0533, 0.0533, 0.5   ])
    """
    p_values, order, ascending = _sorted(p_values)
    m = len(order)
    raised = ascending * m / np.arange(1, m + 1)
    return _put(p_values, order, np.minimum.accumulate(raised[::-1])[::-1])


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjust ``(m,)`` p-values for the family-wise error (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    p_values, order, ascending = _sorted(p_values)
    return _put(p_values, order, np.maximum.accumulate(ascending * np.arange(len(order), 0, -1)))


def bonferroni(p_values: np.ndarray) -> np.ndarray:
    """Multiply ``(m,)`` p-values by the number of tests, at most 1."""
    p_values, order, ascending = _sorted(p_values)
    return _put(p_values, order, ascending * len(order))


def max_statistic_p(observed: np.ndarray, draws: np.ndarray, two_sided: bool = True) -> np.ndarray:
    """Family-wise p of many statistics from the maximum of each permutation (Westfall & Young 1993).

    Parameters
    ----------
    observed : (m,)
    draws : (n_permutations, m), every row from *one* permutation
    two_sided : compare absolute values

    Returns
    -------
    (m,) ``(1 + #{max of draw >= observed}) / (1 + n_permutations)``; NaN where ``observed`` is
    """
    observed, draws = np.asarray(observed, dtype=np.float64), np.asarray(draws, dtype=np.float64)
    if two_sided:
        observed, draws = np.abs(observed), np.abs(draws)
    known = np.isfinite(observed)
    largest = np.sort(np.max(np.where(np.isfinite(draws), draws, -np.inf)[:, known], axis=1, initial=-np.inf))
    below = np.searchsorted(largest, observed[known] - 1e-9 * np.maximum(1.0, observed[known]), side="left")
    p = np.full(observed.shape, np.nan)
    p[known] = (1 + len(largest) - below) / (1 + len(largest))
    return p
