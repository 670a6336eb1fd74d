"""Decode: select voxels, fit and predict in every fold, and refit to permuted labels for the null."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.data import Latents, Responses
from hyper_bids.decode.folds import Fold, permuted_labels
from hyper_bids.protocols import Decoder, VoxelSelector

if TYPE_CHECKING:
    import pandas as pd

SLOW_REFITS = 100
"""Refits for the null of a decoder that has no `predict_refitted` of its own."""

REFIT_OPERATIONS = 4e13
"""Floating-point operations that the null may cost; beyond it fewer permutations are drawn, and that is said."""


@dataclass(frozen=True, eq=False)
class FoldFit:
    """What one fold learned: the voxels, the fitted decoder, and how its penalties were chosen."""

    fold: Fold
    voxels: np.ndarray
    decoder: Decoder


@dataclass(frozen=True, eq=False)
class Decoded:
    """Predictions of all folds.

    Parameters
    ----------
    rows : DataFrame, one row a test stimulus (and fold): stimulus_id, fold, n_repeats
    values : (n_rows, n_latents) float32, in the units of the latent file
    fits : one per fold
    constant : indices of latents that are constant over the training trials of a fold
    """

    rows: pd.DataFrame
    values: np.ndarray
    fits: tuple[FoldFit, ...]
    constant: tuple[int, ...]


def decode(
    responses: Responses,
    latents: Latents,
    folds: list[Fold],
    selector: VoxelSelector,
    make_decoder: Callable[[], Decoder],
) -> Decoded:
    """Fit on the single training trials of every fold and predict its test stimuli.

    A test stimulus's response is the unweighted mean over its repeats in the fold.
    """
    import pandas as pd

    fits, values, rows, constant = [], [], [], set()
    for fold in folds:
        train = responses.of(fold.train)
        voxels = np.asarray(selector(train, latents), dtype=bool)
        X, Z = train.values[:, voxels], latents.rows(train.trials["stimulus_id"])
        decoder = fit_decoder(make_decoder(), X, Z, _groups(train.trials))
        constant |= set(np.flatnonzero(np.ptp(Z, axis=0) == 0).tolist())
        predicted = np.asarray(decoder.predict(mean_responses(responses, fold)[:, voxels]))
        values.append(predicted.reshape(len(fold.test), latents.n_latents).astype(np.float32))
        rows += [(label, fold.name, len(repeats)) for label, repeats in fold.test.items()]
        fits.append(FoldFit(fold, voxels, decoder))
    table = pd.DataFrame(rows, columns=["stimulus_id", "fold", "n_repeats"])
    return Decoded(table, np.concatenate(values), tuple(fits), tuple(sorted(constant)))


def mean_responses(responses: Responses, fold: Fold) -> np.ndarray:
    """Mean response of every test stimulus over its repeats in the fold, ``(n_stimuli, n_voxels)`` float32."""
    return np.stack([responses.values[rows].mean(axis=0, dtype=np.float64) for rows in fold.test.values()]).astype(
        np.float32
    )


def _groups(trials: pd.DataFrame) -> np.ndarray:
    """Inner folds: runs; where there is only one, stimuli."""
    runs = trials["run"].to_numpy(str)
    return runs if len(set(runs)) > 1 else trials["stimulus_id"].to_numpy(str)


def fit_decoder(decoder: Decoder, X: np.ndarray, Z: np.ndarray, groups: np.ndarray) -> Decoder:
    """Fit, passing the inner groups to decoders that take them."""
    if "groups" in inspect.signature(decoder.fit).parameters:
        return decoder.fit(X, Z, groups=groups)
    return decoder.fit(X, Z)


def null_labels(
    make_decoder: Callable[[], Decoder],
    responses: Responses,
    latents: Latents,
    folds: list[Fold],
    unit: str,
    n_permutations: int,
    seed: int,
) -> tuple[np.ndarray, str]:
    """Draw the permuted labels of the null, as many as can be afforded.

    Returns
    -------
    labels : (n_permutations, n_trials)
    notice : why there are fewer than asked for, or ""
    """
    n_draws, notice = _affordable(make_decoder(), latents, folds, n_permutations)
    return permuted_labels(responses.trials, unit, n_draws, seed), notice


def refit(
    responses: Responses,
    latents: Latents,
    folds: list[Fold],
    selector: VoxelSelector,
    make_decoder: Callable[[], Decoder],
    labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Refit every fold to permuted labels, in training and test alike (METHODS.md section 6).

    Permuting after the fit is not valid where training and test data share stimuli or
    statistics; the whole procedure, choice of the penalties included, is repeated.

    Parameters
    ----------
    labels : (n_permutations, n_trials), from `null_labels`, or some rows of it

    Returns
    -------
    values : (n_permutations, n_rows, n_latents) float32, rows as in `Decoded.rows`
    stimuli : (n_permutations, n_rows) the stimulus that each row stands for in that permutation
    """
    values, tested = [], []
    for fold in folds:
        train = responses.of(fold.train)
        voxels = np.asarray(selector(train, latents), dtype=bool)
        X, X_test = train.values[:, voxels], mean_responses(responses, fold)[:, voxels]
        values.append(_refitted(make_decoder(), X, latents, labels[:, fold.train], X_test, _groups(train.trials)))
        tested.append(labels[:, [rows[0] for rows in fold.test.values()]])
    return np.concatenate(values, axis=1), np.concatenate(tested, axis=1)


def _refitted(
    decoder: Decoder, X: np.ndarray, latents: Latents, labels: np.ndarray, X_test: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    row_of = {label: row for row, label in enumerate(latents.stimuli)}
    index = np.vectorize(row_of.__getitem__, otypes=[int])(labels)
    out = np.empty((len(labels), len(X_test), latents.n_latents), dtype=np.float32)
    if hasattr(decoder, "predict_refitted"):
        step = max(1, int(2e8 // (8 * X.shape[0] * latents.n_latents)))
        for start in range(0, len(labels), step):
            targets = latents.values[index[start : start + step]]
            out[start : start + step] = decoder.predict_refitted(X, targets, X_test, groups=groups)
        return out
    for draw, rows in enumerate(index):
        predicted = fit_decoder(decoder, X, latents.values[rows], groups).predict(X_test)
        out[draw] = np.asarray(predicted).reshape(len(X_test), -1)
    return out


def _affordable(decoder: Decoder, latents: Latents, folds: list[Fold], wanted: int) -> tuple[int, str]:
    """How many refits the null gets, decided from sizes alone so that it never depends on the machine."""
    if not hasattr(decoder, "predict_refitted"):
        if wanted <= SLOW_REFITS:
            return wanted, ""
        return SLOW_REFITS, f"{SLOW_REFITS} instead of {wanted} permutations: this decoder is refitted from scratch"
    n_products = len(getattr(decoder, "alphas", (1,))) + 2
    one = sum(2.0 * len(fold.train) ** 2 * latents.n_latents * n_products for fold in folds)
    affordable = max(99, int(REFIT_OPERATIONS // max(one, 1.0)))
    if wanted <= affordable:
        return wanted, ""
    return affordable, f"{affordable} instead of {wanted} permutations, to bound the cost of refitting"
