"""Label permutation within exchangeability blocks, and the test made of it.

Stimuli may be exchanged only where nothing but their labels distinguishes them under the null: where runs or
sessions differ (in baseline, noise, repeats), within runs or sessions. Winkler et al. 2014, NeuroImage 92,
section on exchangeability blocks. For cross-validated designs the decoder has to be refitted (`refits`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.nulls import permutation_draws, permutation_p, stimulus_permutations
from hyper_bids.evaluate.result import TestResult, untested

CHUNK = 200_000


def block_members(blocks: Sequence[object]) -> list[np.ndarray]:
    """Rows of each block, in order of first appearance."""
    labels = [str(label) for label in blocks]
    return [np.flatnonzero([label == block for label in labels]) for block in dict.fromkeys(labels)]


def n_block_permutations(blocks: Sequence[object]) -> int:
    """How many relabellings there are within blocks: the product of their factorials."""
    return math.prod(math.factorial(len(rows)) for rows in block_members(blocks))


def _enumerated(members: list[np.ndarray], n: int) -> np.ndarray:
    """All relabellings within blocks, ``(m, n)``."""
    every = np.empty((1, n), dtype=int)
    for rows in members:
        own = rows[stimulus_permutations(len(rows), math.factorial(len(rows)), np.random.default_rng(0))[0]]
        grown = np.repeat(every, len(own), axis=0)
        grown[:, rows] = np.tile(own, (len(every), 1))
        every = grown
    return every


def block_permutations(
    blocks: Sequence[object], n_permutations: int, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Permutations of n stimuli that exchange them within blocks only.

    Parameters
    ----------
    blocks : n labels
    n_permutations : all there are, where they are not more; else so many random ones

    Returns
    -------
    permutations : (m, n) int, row p matching prediction i with stimulus ``p[i]``
    exact : whether they are all there are (the identity among them)
    """
    members, n = block_members(blocks), len(blocks)
    if n_block_permutations(blocks) <= n_permutations:
        return _enumerated(members, n), True
    if len(members) == 1:
        return stimulus_permutations(n, n_permutations, rng)
    permutations = np.empty((n_permutations, n), dtype=int)
    for rows in members:
        tiled = np.tile(rows, (n_permutations, 1))
        permutations[:, rows] = rng.permuted(tiled, axis=1) if len(rows) > 1 else tiled
    return permutations, False


def permutation_test(
    matrix: np.ndarray,
    n_permutations: int,
    rng: np.random.Generator,
    blocks: Sequence[object] | None = None,
    higher_is_better: bool = True,
) -> TestResult:
    """Test whether predictions fit their own stimuli better than exchanged ones; fixed split.

    Parameters
    ----------
    matrix : (n, n)
        Score of prediction i were j its true stimulus (`recognition_matrices`, `pairwise_among_matrix`,
        `k_way_matrix`, any metric's ``matrix``); the statistic is the mean of its diagonal.
    n_permutations : random ones, or all there are where they are not more
    blocks : n labels within which stimuli are exchanged, optional

    Returns
    -------
    TestResult, one-sided

    Raises
    ------
    InconsistentInput
        The matrix is not square, or labels do not fit it.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    n = len(matrix)
    if matrix.shape != (n, n) or (blocks is not None and len(blocks) != n):
        given = "no blocks" if blocks is None else f"{len(blocks)} block labels"
        raise InconsistentInput(f"A permutation test needs a square matrix of scores, got {matrix.shape} and {given}.")
    labels = ["all"] * n if blocks is None else blocks
    within = "" if blocks is None else f" within {len(block_members(labels))} blocks"
    if n_block_permutations(labels) < 2:
        return untested(f"nothing to exchange{within}", n)
    permutations, exact = block_permutations(labels, n_permutations, rng)
    draws = np.concatenate(
        [permutation_draws(matrix, permutations[i : i + CHUNK]) for i in range(0, len(permutations), CHUNK)]
    )
    observed = float(permutation_draws(matrix, np.arange(n)[None])[0])
    p = permutation_p(observed, draws, higher_is_better, exact)
    count = len(permutations)
    what = f"{count} permutations of stimuli{within}"
    method = f"all {what} (exact)" if exact else what
    return TestResult(method, observed, p, n, "stimulus", 0 if exact else count)
