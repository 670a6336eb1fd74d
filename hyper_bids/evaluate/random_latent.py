"""HYPER's random-latent test, for reproduction only, with what a zero prediction gets beside it.

It asks whether decoded latents (or pictures made of them) are more similar to the truth than random ones are.
A prediction of zeros, which has seen no brain, passes it at the smallest p that the draws allow: so the test
draws no conclusion about the brain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from hyper_bids.evaluate.baselines import random_prediction_p
from hyper_bids.evaluate.refits import nan_mean
from hyper_bids.evaluate.result import TestResult


@dataclass(frozen=True)
class RandomLatentTest:
    """The decoded latents' result, and that of predicting zeros."""

    decoded: TestResult
    zero: TestResult


def random_latent_test(
    matrix: Callable[[np.ndarray, np.ndarray], np.ndarray],
    true: np.ndarray,
    predicted: np.ndarray,
    draws: Iterable[np.ndarray],
    zero: np.ndarray | None = None,
) -> RandomLatentTest:
    """Compare the mean similarity with that of random latents r_k, the same r_k for every stimulus.

    Parameters
    ----------
    matrix : similarity (predicted (m, ...), true (n, ...)) -> (m, n), as metrics have it
    true, predicted : (n, ...) latents, or luminance or features of pictures
    draws : blocks (m, ...) of random latents (`baselines.random_latents`), or of what is made from them
    zero : (1, ...), optional
        What the zero latent gives; zeros of the latents' length by default.

    Returns
    -------
    RandomLatentTest
        ``p = (1 + #{mean similarity of r_k >= that of the prediction}) / (1 + draws)``.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    zero = np.zeros((1, *true.shape[1:])) if zero is None else zero
    random = np.concatenate([matrix(block, true) for block in draws])
    own = np.diagonal(matrix(predicted, true))
    nothing = matrix(zero, true)[0]
    return RandomLatentTest(_result(own, random, "decoded latents"), _result(nothing, random, "a zero prediction"))


def _result(values: np.ndarray, random: np.ndarray, what: str) -> TestResult:
    known = np.isfinite(values)
    if not known.any():
        return TestResult(f"not tested: similarity undefined for {what}", float("nan"), float("nan"), 0)
    p = random_prediction_p(values[known], random[:, known])
    method = f"{what} against {len(random)} random latents (HYPER, for reproduction only)"
    return TestResult(method, float(nan_mean(values)), p, int(known.sum()), "stimulus", len(random))
