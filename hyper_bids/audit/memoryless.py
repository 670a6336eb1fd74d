"""How near to training stimuli do predictions come that are as wrong as these, and remember none of them?

Many training stimuli fill the space: of a thousand, one lies nearer to a weak prediction than the truth does, whatever
the decoder. What a decoder remembers shows in how much nearer it comes than predictions without memory would.

Those are made from the predictions' own principal axes (so that they lie where the predictions lie, in the span of
few training stimuli too). On every axis a line is fitted to the true value; what is left of the axes is dealt to other
rows, each axis on its own, and scaled to the row's own residual. Slope, spread and size of the error stay; only what a
prediction shares with a single training stimulus is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyper_bids.seeds import generator

N_DRAWS = 199
FEWEST_ROWS = 8
MOST_ROWS = 100
"""Rows that are compared, drawn at random where there are more."""


@dataclass(frozen=True)
class Memoryless:
    """Predictions without memory, beside those that were made.

    Parameters
    ----------
    share : of their rows, to which a training stimulus is nearer than the truth
    distance : mean of theirs to the nearest training stimulus
    observed : the same of the predictions, over the same rows
    p : share of draws that come as near as the predictions, (1 + b) / (1 + N)
    """

    share: float
    distance: float
    observed: float
    p: float


def memoryless(
    true: np.ndarray, predicted: np.ndarray, known: Sequence[tuple[np.ndarray, np.ndarray]], seed: int
) -> Memoryless | None:
    """Draw predictions without memory, and measure how near to training stimuli they come.

    Parameters
    ----------
    true, predicted : (n, n_latents)
    known : pairs of rows (indices) and the (m, n_latents) latents that were trained on for them; every row in one
    seed : root seed

    Returns
    -------
    None below `FEWEST_ROWS`, or where predictions do not vary.
    """
    rng = generator(seed, "audit", "memoryless")
    known = [(np.asarray(rows), latents) for rows, latents in known if len(rows) and len(latents)]
    rows = np.sort(np.concatenate([rows for rows, _ in known])) if known else np.array([], dtype=int)
    if len(rows) > MOST_ROWS:
        rows = np.sort(rng.choice(rows, MOST_ROWS, replace=False))
    if len(rows) < FEWEST_ROWS or not np.ptp(predicted[rows], axis=0).any():
        return None
    centre, axes = _axes(predicted[rows])
    made, _ = _along(predicted[rows], centre, axes)
    truth, truth_beside = _along(true[rows], centre, axes)
    trained = [(np.flatnonzero(np.isin(rows, own)), *_along(latents, centre, axes)) for own, latents in known]
    fitted = _fitted(made, truth)
    residual = made - fitted
    size = np.linalg.norm(residual, axis=1, keepdims=True)
    shares, distances = np.empty(N_DRAWS), np.empty(N_DRAWS)
    for draw in range(N_DRAWS):
        dealt = rng.permuted(residual, axis=0)
        dealt *= size / np.maximum(np.linalg.norm(dealt, axis=1, keepdims=True), 1e-300)
        points = fitted + dealt
        nearest = _nearest(points, trained)
        shares[draw] = (nearest < np.sqrt(((points - truth) ** 2).sum(axis=1) + truth_beside)).mean()
        distances[draw] = nearest.mean()
    observed = float(_nearest(made, trained).mean())
    p = (1 + int((distances <= observed).sum())) / (1 + N_DRAWS)
    return Memoryless(float(shares.mean()), float(distances.mean()), observed, p)


def _axes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(k,)`` and principal axes ``(q, k)`` of rows, those without variance left out."""
    centre = values.mean(axis=0)
    _, spread, axes = np.linalg.svd(values - centre, full_matrices=False)
    return centre, axes[spread > 1e-9 * spread[0]]


def _along(values: np.ndarray, centre: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates ``(n, q)`` on the axes, and the squared distance ``(n,)`` from the space that they span."""
    offset = np.asarray(values, dtype=np.float64) - centre
    found = offset @ axes.T
    return found, np.maximum((offset**2).sum(axis=1) - (found**2).sum(axis=1), 0.0)


def _fitted(made: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Part of every coordinate that rises with the true one."""
    away = truth - truth.mean(axis=0)
    slope = np.maximum((away * made).sum(axis=0) / np.maximum((away**2).sum(axis=0), 1e-300), 0.0)
    return away * slope


def _nearest(points: np.ndarray, trained: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Distance of every point to the nearest of the training stimuli of its rows."""
    found = np.empty(len(points))
    for rows, known, beside in trained:
        own = points[rows]
        squares = (own**2).sum(axis=1)[:, None] + (known**2).sum(axis=1) + beside - 2 * own @ known.T
        found[rows] = np.sqrt(np.maximum(squares.min(axis=1), 0.0))
    return found
