"""Which candidate does a prediction resemble most? Pairwise and full recognition.

A prediction is correlated (Pearson r over latent dimensions) with the true latent of every
candidate; candidates are all distinct stimuli tested in any fold, unless more are named.

* Candidates whose latents are *identical* to the true one's correlate equally: they are ties, worth
  one half in `pairwise_accuracy`, and a tie at the top is no win in `top1`. Correlations are compared
  at ten decimals, so that rounding in a matrix product does not break a tie.
* With one latent dimension correlation is undefined, and so is all of this: NaN (``n/a``). The same
  for a prediction, or a true latent, that is constant over its dimensions. A *distractor* that is
  constant cannot be compared and is not counted.
"""

from __future__ import annotations

import numpy as np

from hyper_bids.evaluate.latent import latent_correlation_matrix

TIE_DECIMALS = 10


def candidate_correlations(predicted: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Correlate ``(n, n_latents)`` predictions with ``(m, n_latents)`` candidates: ``(n, m)``, for comparison."""
    return np.round(latent_correlation_matrix(predicted, candidates), TIE_DECIMALS)


def _rivals(correlations: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the own candidate's correlation ``(n, 1)`` and the others', own one NaN, ``(n, m)``."""
    rows = np.arange(len(correlations))
    target = correlations[rows, own][:, None]
    others = correlations.copy()
    others[rows, own] = np.nan
    return target, others


def pairwise_wins(correlations: np.ndarray, own: np.ndarray) -> np.ndarray:
    """1 where the target beats a candidate, one half for a tie, NaN where there is nothing to compare: ``(n, m)``."""
    target, others = _rivals(correlations, own)
    compared = np.isfinite(others) & np.isfinite(target)
    return np.where(compared, (others < target) + 0.5 * (others == target), np.nan)


def pairwise_of(correlations: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Pairwise accuracy from ``(n, m)`` correlations, row i's true candidate being column ``own[i]``: ``(n,)``."""
    target, others = _rivals(correlations, own)
    n_others = np.isfinite(others).sum(axis=1)
    won = (others < target).sum(axis=1) + 0.5 * (others == target).sum(axis=1)
    defined = (n_others > 0) & np.isfinite(target[:, 0])
    return np.where(defined, won / np.maximum(n_others, 1), np.nan)


def top1_of(correlations: np.ndarray, own: np.ndarray) -> np.ndarray:
    """1.0 where the true candidate strictly beats every other, from ``(n, m)`` correlations: ``(n,)``."""
    target, others = _rivals(correlations, own)
    defined = np.isfinite(others).any(axis=1) & np.isfinite(target[:, 0])
    return np.where(defined, ~(others >= target).any(axis=1), np.nan)


def _setting(true: np.ndarray, candidates: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Append the true rows to further candidates; return all of them and the true rows' places."""
    true = np.asarray(true)
    everything = true if candidates is None else np.concatenate([true, np.asarray(candidates)])
    return everything, np.arange(len(true))


def pairwise_accuracy(true: np.ndarray, predicted: np.ndarray, candidates: np.ndarray | None = None) -> np.ndarray:
    """Share of the other candidates that correlate less with the prediction than the true one, ties one half.

    Parameters
    ----------
    true, predicted : (n, n_latents)
        One row a distinct stimulus; each is a candidate for every other.
    candidates : (m, n_latents), optional
        Further candidates, that were not tested.

    Returns
    -------
    (n,) in [0, 1]; 0.5 by chance. NaN where undefined (see the module's text) or without a distractor.
    """
    everything, own = _setting(true, candidates)
    return pairwise_of(candidate_correlations(predicted, everything), own)


def top1(true: np.ndarray, predicted: np.ndarray, candidates: np.ndarray | None = None) -> np.ndarray:
    """1 where the true candidate beats every other, strictly; else 0. Arguments as `pairwise_accuracy`."""
    everything, own = _setting(true, candidates)
    return top1_of(candidate_correlations(predicted, everything), own)


def recognition_matrices(predicted: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairwise accuracy and top1 of every prediction, were each candidate in turn the true one.

    Parameters
    ----------
    predicted : (n, n_latents)
    candidates : (m, n_latents)

    Returns
    -------
    pairwise, top : (n, m) and (n, m), NaN where undefined
    """
    correlations = candidate_correlations(predicted, candidates)
    pairwise, top = np.full_like(correlations, np.nan), np.full_like(correlations, np.nan)
    for row, values in enumerate(correlations):
        defined = np.isfinite(values)
        n_others = defined.sum() - 1
        if n_others < 1:
            continue
        ordered = np.sort(values[defined])
        less = np.searchsorted(ordered, values[defined], side="left")
        tied = np.searchsorted(ordered, values[defined], side="right") - less - 1
        pairwise[row, defined] = (less + 0.5 * tied) / n_others
        top[row, defined] = less == n_others
    return pairwise, top


def pairwise_accuracy_matrix(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Pairwise accuracy of prediction i were stimulus j the true one, candidates being all of ``true``: ``(m, n)``."""
    return recognition_matrices(predicted, true)[0]


def top1_matrix(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Full recognition of prediction i were stimulus j the true one, candidates being all of ``true``: ``(m, n)``."""
    return recognition_matrices(predicted, true)[1]
