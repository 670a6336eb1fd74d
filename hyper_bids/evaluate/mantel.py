"""Do two latent spaces hold the same stimuli near each other? Representational similarity with a Mantel test.

Mantel 1967, Cancer Res 27(2): rows and columns of one distance matrix are exchanged together, since its
entries are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.exchangeable import block_permutations
from hyper_bids.evaluate.latent import unit_rows
from hyper_bids.evaluate.result import TestResult, as_extreme, monte_carlo_p, untested

MAX_ELEMENTS = 5_000_000


def correlation_distances(latents: np.ndarray) -> np.ndarray:
    """1 - Pearson r of every two stimuli over latents: ``(n, n)`` from ``(n, n_latents)``."""
    units = unit_rows(latents)
    return 1.0 - units @ units.T


def mantel_test(
    first: np.ndarray,
    second: np.ndarray,
    n_permutations: int,
    rng: np.random.Generator,
    blocks: Sequence[object] | None = None,
) -> TestResult:
    """Pearson r of the upper triangles of two stimulus x stimulus distance matrices; one-sided.

    Parameters
    ----------
    first, second : (n, k) and (n, m) latents of the same stimuli in the same order
    n_permutations : all there are, where they are not more
    blocks : n labels within which stimuli are exchanged, optional

    Raises
    ------
    InconsistentInput
        Different numbers of stimuli.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    n = len(first)
    if first.ndim != 2 or second.ndim != 2 or len(second) != n:
        raise InconsistentInput(
            f"Two spaces to compare need latents of the same stimuli, got {first.shape} and {second.shape}."
        )
    a, b = correlation_distances(first), correlation_distances(second)
    if n < 4 or not np.isfinite(a).all() or not np.isfinite(b).all():
        return untested("fewer than four stimuli, or latents constant over their dimensions", n)
    upper = np.triu_indices(n, 1)
    a, b = _standardised(a, upper), _standardised(b, upper)
    if a is None or b is None:
        return untested("all stimuli are equally far from each other", n)
    permutations, exact = block_permutations(["all"] * n if blocks is None else blocks, n_permutations, rng)
    observed = float((a * b).sum() / 2)
    draws = np.empty(len(permutations))
    step = max(1, MAX_ELEMENTS // (n * n))
    for start in range(0, len(permutations), step):
        p = permutations[start : start + step]
        draws[start : start + step] = np.einsum("ij,pij->p", a, b[p[:, :, None], p[:, None, :]]) / 2
    as_good, count = as_extreme(draws, observed), len(draws)
    p_value = as_good / count if exact else monte_carlo_p(as_good, count)
    method = f"Mantel test, {'all ' if exact else ''}{count} permutations of stimuli, one-sided"
    return TestResult(method, observed, p_value, n, "stimulus", 0 if exact else count)


def _standardised(distances: np.ndarray, upper: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
    """Centre and scale to unit length over the upper triangle, diagonal zero; None where nothing varies."""
    values = distances[upper] - distances[upper].mean()
    length = np.linalg.norm(values)
    if length <= 1e-12 * max(1.0, np.abs(distances[upper]).max()):
        return None
    matrix = np.zeros_like(distances)
    matrix[upper] = values / length
    return matrix + matrix.T
