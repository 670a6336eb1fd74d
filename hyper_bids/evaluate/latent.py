"""Similarity of a predicted latent to the true one, and of every prediction to every true latent.

Row functions take two aligned ``(n, n_latents)`` arrays and return ``(n,)``. Their ``_matrix``
twins take ``(m, n_latents)`` predictions and ``(n, n_latents)`` true latents and return ``(m, n)``,
entry ``[i, j]`` comparing prediction i with true latent j: null distributions are read from those.

What is undefined is NaN (``n/a`` in files), never a number: the correlation of a latent that has
one dimension or does not vary over its dimensions, the cosine of a latent of length zero.
"""

from __future__ import annotations

import numpy as np

from hyper_bids.errors import InconsistentInput

FLOAT32_RESOLUTION = 1e-7
"""Variation below this share of the values' size is rounding: latents are stored as float32."""


def _pair(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if true.shape != predicted.shape or true.ndim < 2:
        raise InconsistentInput(
            f"True and predicted latents must have one shape (n, n_latents), got {true.shape} and {predicted.shape}."
        )
    return true, predicted


def unit_rows(values: np.ndarray, centre: bool = True) -> np.ndarray:
    """Scale the last axis of ``(..., n_latents)`` to unit length, centred first if asked.

    Rows without length (or, centred, without variance) become NaN.

    >>> unit_rows(np.array([[3.0, 4.0]]), centre=False)
    array([[0.6, 0.8]])
    """
    values = np.asarray(values, dtype=np.float64)
    size = np.linalg.norm(values, axis=-1, keepdims=True)
    if centre:
        values = values - values.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(values, axis=-1, keepdims=True) if centre else size
    varies = length > (FLOAT32_RESOLUTION * size if centre else 0.0)
    return values / np.where(varies, length, np.nan)


def latent_correlation(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pearson r over the latent's dimensions.

    Parameters
    ----------
    true, predicted : (n, n_latents)

    Returns
    -------
    (n,) float64; NaN where n_latents is 1 or either latent is constant over its dimensions.
    """
    true, predicted = _pair(true, predicted)
    return np.einsum("...k,...k->...", unit_rows(true), unit_rows(predicted))


def latent_cosine(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Cosine of the angle between two latents ``(n, n_latents)``: ``(n,)``, NaN for a latent of length zero."""
    true, predicted = _pair(true, predicted)
    return np.einsum("...k,...k->...", unit_rows(true, centre=False), unit_rows(predicted, centre=False))


def latent_similarity(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """``1 / (1 + norm(predicted - true))``, Euclidean, in (0, 1] (HYPER, Dado et al. 2022): ``(n,)``."""
    true, predicted = _pair(true, predicted)
    return 1.0 / (1.0 + np.linalg.norm(predicted - true, axis=-1))


def latent_similarity_mse(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """``1 / (1 + mean((predicted - true)^2))``, in (0, 1] (HYPER's released code and 2020 preprint): ``(n,)``.

    For standard normal latents a zero prediction scores about 0.50, a random latent 0.33.
    """
    true, predicted = _pair(true, predicted)
    return 1.0 / (1.0 + np.mean((predicted - true) ** 2, axis=-1))


def latent_correlation_matrix(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Pearson r of each of m predictions with each of n true latents: ``(m, n)``."""
    return unit_rows(predicted) @ unit_rows(true).T


def latent_cosine_matrix(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Cosine of each of m predictions with each of n true latents: ``(m, n)``."""
    return unit_rows(predicted, centre=False) @ unit_rows(true, centre=False).T


def _squared_distances(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    # not by the Gram matrix, which loses the small distances to cancellation
    from scipy.spatial.distance import cdist

    return cdist(np.asarray(predicted, np.float64), np.asarray(true, np.float64), "sqeuclidean")


def latent_similarity_matrix(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """`latent_similarity` of each of m predictions with each of n true latents: ``(m, n)``."""
    return 1.0 / (1.0 + np.sqrt(_squared_distances(predicted, true)))


def latent_similarity_mse_matrix(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """`latent_similarity_mse` of each of m predictions with each of n true latents: ``(m, n)``."""
    return 1.0 / (1.0 + _squared_distances(predicted, true) / np.shape(true)[-1])


def unit_dimensions(rows: np.ndarray) -> np.ndarray:
    """Centre every dimension of ``(..., n_rows, n_latents)`` over the rows and scale it to unit length.

    A dimension that is constant over the rows becomes zeros.
    """
    rows = np.asarray(rows, dtype=np.float64)
    centred = rows - rows.mean(axis=-2, keepdims=True)
    length = np.linalg.norm(centred, axis=-2, keepdims=True)
    constant = length <= FLOAT32_RESOLUTION * np.linalg.norm(rows, axis=-2, keepdims=True)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, length))


def latent_dimension_correlation(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean over latent dimensions of Pearson r over all test rows.

    A dimension in which the *truth* does not vary has nothing to predict and is left out. One in
    which only the *prediction* does not vary counts as r = 0: leaving it out would reward a decoder
    for giving up on it.

    Parameters
    ----------
    true, predicted : (..., n_rows, n_latents)
        Leading axes are a batch (of permutations, say).

    Returns
    -------
    (...) float64; NaN with fewer than two rows or where no true dimension varies.
    """
    true, predicted = _pair(true, predicted)
    unit_true = unit_dimensions(true)
    varies = np.any(unit_true != 0.0, axis=-2).sum(axis=-1)
    total = np.einsum("...nk,...nk->...", unit_true, unit_dimensions(predicted))
    return np.where(varies > 0, total / np.maximum(varies, 1), np.nan)[()]


def latent_dimension_matrix(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Split `latent_dimension_correlation` into one term for each pairing of rows, ``(n, n)``.

    With predictions i matched to true rows ``p[i]`` the statistic is ``mean(matrix[i, p[i]])``, so a
    permutation of whole rows is a look-up. Both arrays are ``(n, n_latents)``.
    """
    unit_true = unit_dimensions(true)
    n_rows, n_varying = len(unit_true), np.any(unit_true != 0.0, axis=0).sum()
    terms = unit_dimensions(predicted) @ unit_true.T
    return terms * n_rows / n_varying if n_varying else np.full_like(terms, np.nan)
