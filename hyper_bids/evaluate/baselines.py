"""What a similarity is worth: its value for a zero prediction and for a random one, that know no brain.

A similarity may be high for a prediction that carries no information: under HYPER's released formula
zeros score 0.50 for standard normal latents. So every similarity is shown beside these two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.refits import nan_mean

N_DRAWS = 1000
MAX_ELEMENTS = 2_000_000


def random_latents(
    n_draws: int,
    n_latents: int,
    rng: np.random.Generator,
    distribution: str | None = None,
    training: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Yield random latents, ``n_draws`` in all, in blocks ``(m, n_latents)`` of bounded memory.

    N(0, I) where the space is declared ``"normal"``; else training latents ``(n_train, n_latents)``,
    resampled with replacement.

    Raises
    ------
    InconsistentInput
        Neither is there.
    """
    block = max(1, MAX_ELEMENTS // n_latents)
    if distribution != "normal" and (training is None or not len(training)):
        raise InconsistentInput(
            "Random latents need a space declared with Distribution 'normal', or training latents to resample."
        )
    for start in range(0, n_draws, block):
        size = min(block, n_draws - start)
        if distribution == "normal":
            yield rng.standard_normal((size, n_latents))
        else:
            yield np.asarray(training, dtype=np.float64)[rng.integers(0, len(training), size)]


def baseline_scores(matrix: Callable, predictions: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Mean score per stimulus of predictions that are the same for every stimulus.

    Parameters
    ----------
    matrix : a metric's ``matrix(predicted (m, ...), true (n, ...)) -> (m, n)``
    predictions : (m, ...)
    true : (n, ...)

    Returns
    -------
    (n,) mean over the m predictions; NaN where the metric is undefined for all of them
    """
    return nan_mean(matrix(predictions, true), axis=0)


def random_prediction_p(observed: np.ndarray, random: np.ndarray) -> float:
    """HYPER's random-latent test, for reproduction only: it answers no question about the brain.

    ``p = (1 + #{similarity(z, r_k) >= similarity(z, zhat)}) / (1 + n)``, similarities averaged over
    stimuli first. A zero prediction passes it at p = 0.001 without any brain data.

    Parameters
    ----------
    observed : (n_stimuli,)
        Similarity of each stimulus's prediction.
    random : (n_draws, n_stimuli)
        Similarity of random latents r_k (or of images made from them) to each stimulus.

    >>> random_prediction_p(np.array([0.5, 0.5]), np.array([[0.3, 0.4], [0.6, 0.5]]))
    0.6666666666666666
    """
    null = nan_mean(np.asarray(random, dtype=np.float64), axis=1)
    return float((1 + np.count_nonzero(null >= np.mean(observed))) / (1 + len(null)))
