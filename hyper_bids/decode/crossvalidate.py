"""Decode: select voxels, fit and predict in every fold, and refit to permuted labels for the null."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.data import Latents, Responses
from hyper_bids.decode.folds import Fold, permuted_stimuli
from hyper_bids.errors import HyperError, InconsistentInput
from hyper_bids.protocols import Decoder, VoxelSelector

if TYPE_CHECKING:
    import pandas as pd

ALONE = 50
"""Test rows that are predicted once more, alone, to see that others do not change them."""

SLOW_REFITS = 100
"""Refits for the null of a decoder that has no `predict_refitted` of its own."""

REFIT_OPERATIONS = 4e13
"""Floating-point operations that the null may cost; beyond it fewer permutations are drawn, and that is said."""

FEWEST_REFITS = 19
"""Below this no p of 0.05 can be reached, and the null is left out."""


@dataclass(frozen=True, eq=False)
class FoldFit:
    """What one fold learned.

    Parameters
    ----------
    fold, voxels, decoder : the fold, the mask (n_voxels,) of selected voxels, and the fitted decoder
    inner : what the inner folds were: runs or stimuli
    alone_difference : largest change of a prediction when its trial is predicted alone, in latent units
    """

    fold: Fold
    voxels: np.ndarray
    decoder: Decoder
    inner: str
    alone_difference: float


@dataclass(frozen=True, eq=False)
class Decoded:
    """Predictions of all folds.

    Parameters
    ----------
    rows : DataFrame, one row a test stimulus (and fold): stimulus_id, fold, n_repeats
    values : (n_rows, n_latents) float32, in the units of the latent file
    fits : one per fold
    constant : indices of latents that are constant over the training trials of a fold
    training_mean : (n_rows, n_latents) mean latent of the fold's training stimuli
    nearest : (n_rows, n_latents) the training stimulus nearest to the prediction
    """

    rows: pd.DataFrame
    values: np.ndarray
    fits: tuple[FoldFit, ...]
    constant: tuple[int, ...]
    training_mean: np.ndarray
    nearest: np.ndarray


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

    fits, values, rows, guesses, constant = [], [], [], [], set()
    for fold in folds:
        train = responses.of(fold.train)
        voxels = np.asarray(selector(train, latents), dtype=bool)
        X, Z = train.values[:, voxels], latents.rows(train.trials["stimulus_id"])
        groups, inner = _groups(train.trials)
        decoder = fit_decoder(make_decoder(), X, Z, groups)
        constant |= set(np.flatnonzero(np.ptp(Z, axis=0) == 0).tolist())
        X_test = mean_responses(responses, fold)[:, voxels]
        predicted = predict(decoder, X_test, latents.n_latents)
        values.append(predicted.astype(np.float32))
        rows += [(label, fold.name, len(repeats)) for label, repeats in fold.test.items()]
        fits.append(FoldFit(fold, voxels, decoder, inner, _alone_difference(decoder, X_test, predicted)))
        guesses.append(_guesses(predicted, latents.rows(train.trials["stimulus_id"].drop_duplicates())))
    table = pd.DataFrame(rows, columns=["stimulus_id", "fold", "n_repeats"])
    mean, nearest = (np.concatenate(parts) for parts in zip(*guesses, strict=True))
    return Decoded(table, np.concatenate(values), tuple(fits), tuple(sorted(constant)), mean, nearest)


def _alone_difference(decoder: Decoder, X_test: np.ndarray, predicted: np.ndarray) -> float:
    """Largest change of a prediction when its trial is predicted alone."""
    rows = range(min(len(X_test), ALONE))
    alone = [predict(decoder, X_test[row : row + 1], predicted.shape[1])[0] for row in rows]
    return float(max(np.abs(single - predicted[row]).max() for row, single in zip(rows, alone, strict=True)))


def _guesses(predicted: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a decoder has to beat: the mean training latent, and the training latent nearest to the prediction."""
    mean = np.broadcast_to(training.mean(axis=0, dtype=np.float64), predicted.shape)
    squares = (training**2).sum(axis=1)
    nearest = training[np.argmin(squares - 2 * predicted @ training.T, axis=1)]
    return mean.astype(np.float32), nearest


def mean_responses(responses: Responses, fold: Fold) -> np.ndarray:
    """Mean response of every test stimulus over its repeats in the fold, ``(n_stimuli, n_voxels)`` float32."""
    return np.stack([responses.values[rows].mean(axis=0, dtype=np.float64) for rows in fold.test.values()]).astype(
        np.float32
    )


def _groups(trials: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Inner folds and what they are: runs; where there is only one, stimuli."""
    runs = trials["run"].to_numpy(str)
    return (runs, "runs") if len(set(runs)) > 1 else (trials["stimulus_id"].to_numpy(str), "stimuli")


def fit_decoder(decoder: Decoder, X: np.ndarray, Z: np.ndarray, groups: np.ndarray) -> Decoder:
    """Fit, passing the inner groups to decoders that take them; return the decoder.

    Raises
    ------
    InconsistentInput
        A user's decoder raised an error of its own.
    """
    try:
        if "groups" in inspect.signature(decoder.fit).parameters:
            decoder.fit(X, Z, groups=groups)
        else:
            decoder.fit(X, Z)
    except HyperError:
        raise
    except Exception as error:  # a plugin may raise anything
        raise InconsistentInput(
            f"Decoder {type(decoder).__name__} failed in fit on {X.shape[0]} trials x {X.shape[1]} voxels and "
            f"{Z.shape[1]} latents: {type(error).__name__}: {error}."
        ) from error
    return decoder


def predict(decoder: Decoder, X: np.ndarray, n_latents: int) -> np.ndarray:
    """Predict latents ``(n, n_latents)``, and hold the decoder to that shape.

    Raises
    ------
    InconsistentInput
        A user's decoder raised, or returned another shape or values that are not finite.
    """
    try:
        found = np.asarray(decoder.predict(X), dtype=np.float64)
    except HyperError:
        raise
    except Exception as error:  # a plugin may raise anything
        raise InconsistentInput(
            f"Decoder {type(decoder).__name__} failed in predict on {X.shape[0]} trials x {X.shape[1]} voxels: "
            f"{type(error).__name__}: {error}."
        ) from error
    if found.ndim == 1 and n_latents == 1:
        found = found[:, None]
    if found.shape != (len(X), n_latents) or not np.isfinite(found).all():
        raise InconsistentInput(
            f"Decoder {type(decoder).__name__} predicted an array {found.shape}"
            + ("" if np.isfinite(found).all() else " with values that are not finite")
            + f"; needed: finite numbers of shape ({len(X)}, {n_latents}), one row a trial."
        )
    return found


def null_stimuli(
    make_decoder: Callable[[], Decoder],
    responses: Responses,
    latents: Latents,
    folds: list[Fold],
    unit: str,
    n_permutations: int,
    seed: int,
) -> tuple[np.ndarray, str]:
    """Draw the exchanged stimuli of the null, as many times as can be afforded.

    Returns
    -------
    rows : (n_permutations, n_trials) int, rows of ``latents``
    notice : why there are fewer than asked for, or ""
    """
    n_draws, notice = _affordable(make_decoder(), latents, folds, n_permutations)
    stimuli, rows = permuted_stimuli(responses.trials, unit, n_draws, seed)
    place = {label: row for row, label in enumerate(latents.stimuli)}
    return np.array([place[label] for label in stimuli.tolist()], dtype=np.int32)[rows], notice


def refit(
    responses: Responses,
    latents: Latents,
    folds: list[Fold],
    selector: VoxelSelector,
    make_decoder: Callable[[], Decoder],
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Refit every fold to exchanged stimuli, in training and test alike (METHODS.md section 6).

    Permuting after the fit is not valid where training and test data share stimuli or
    statistics; the whole procedure, choice of the penalties included, is repeated.

    Parameters
    ----------
    rows : (n_permutations, n_trials), from `null_stimuli`, or some rows of it

    Returns
    -------
    values : (n_permutations, n_rows, n_latents) float32, rows as in `Decoded.rows`
    stimuli : (n_permutations, n_rows) int, row of ``latents`` that each test row stands for
    """
    values, tested = [], []
    for fold in folds:
        train = responses.of(fold.train)
        voxels = np.asarray(selector(train, latents), dtype=bool)
        X, X_test = train.values[:, voxels], mean_responses(responses, fold)[:, voxels]
        values.append(_refitted(make_decoder(), X, latents, rows[:, fold.train], X_test, _groups(train.trials)[0]))
        tested.append(rows[:, [repeats[0] for repeats in fold.test.values()]])
    return np.concatenate(values, axis=1), np.concatenate(tested, axis=1)


def _refitted(
    decoder: Decoder, X: np.ndarray, latents: Latents, rows: np.ndarray, X_test: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    if hasattr(decoder, "predict_refitted"):
        return decoder.predict_refitted(X, latents.values, rows, X_test, groups=groups)
    out = np.empty((len(rows), len(X_test), latents.n_latents), dtype=np.float32)
    for draw, own in enumerate(rows):
        out[draw] = predict(fit_decoder(decoder, X, latents.values[own], groups), X_test, latents.n_latents)
    return out


def _affordable(decoder: Decoder, latents: Latents, folds: list[Fold], wanted: int) -> tuple[int, str]:
    """How many refits the null gets, decided from sizes alone so that it never depends on the machine."""
    if not hasattr(decoder, "predict_refitted"):
        if wanted <= SLOW_REFITS:
            return wanted, ""
        return SLOW_REFITS, f"{SLOW_REFITS} instead of {wanted} permutations: this decoder is refitted from scratch"
    n_products = len(getattr(decoder, "alphas", (1,))) + 2
    one = sum(2.0 * len(fold.train) ** 2 * latents.n_latents * n_products for fold in folds)
    affordable = int(REFIT_OPERATIONS // max(one, 1.0))
    if wanted <= affordable:
        return wanted, ""
    if affordable < FEWEST_REFITS:
        return 0, (
            f"no permutations: one refit of all folds costs {one:.0e} operations, and a p-value needs at least "
            f"{FEWEST_REFITS}. Fewer folds (--cross-validate session or stimulus:5) or a train/test split can be tested"
        )
    return affordable, f"{affordable} instead of {wanted} permutations, to bound the cost of refitting"
