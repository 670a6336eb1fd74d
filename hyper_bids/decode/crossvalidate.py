"""Decode: select voxels, fit and predict in every fold, and refit to permuted labels for the null."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
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

SAME = 1e-5
"""Differences between refits, as a share of the spread of predictions over rows, that are rounding."""

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
    voxels_of: VoxelSelector | np.ndarray,
    make_decoder: Callable[[], Decoder],
) -> Decoded:
    """Fit on the single training trials of every fold and predict its test stimuli.

    A test stimulus's response is the unweighted mean over its repeats in the fold.

    Parameters
    ----------
    voxels_of : a selection rule, applied to each fold's training trials; or what one gave, (n_folds, n_voxels) bool
    """
    import pandas as pd

    fits, values, rows, guesses, constant = [], [], [], [], set()
    for number, fold in enumerate(folds):
        train = responses.of(fold.train)
        voxels = _voxels(voxels_of, number, train, latents)
        X, Z = train.values[:, voxels], latents.rows(train.trials["stimulus_id"])
        groups, inner = _groups(train.trials)
        decoder = fit_decoder(make_decoder(), X, Z, groups)
        constant |= set(np.flatnonzero(np.ptp(Z, axis=0) == 0).tolist())
        X_test = mean_responses(responses, fold)[:, voxels]
        n_repeats = np.array([responses.n_repeats(repeats) for repeats in fold.test.values()])
        predicted = predict(decoder, X_test, latents.n_latents, n_repeats)
        values.append(predicted.astype(np.float32))
        rows += [(label, fold.name, int(n)) for label, n in zip(fold.test, n_repeats, strict=True)]
        fits.append(FoldFit(fold, voxels, decoder, inner, _alone_difference(decoder, X_test, predicted, n_repeats)))
        guesses.append(_guesses(predicted, latents.rows(train.trials["stimulus_id"].drop_duplicates())))
    table = pd.DataFrame(rows, columns=["stimulus_id", "fold", "n_repeats"])
    mean, nearest = (np.concatenate(parts) for parts in zip(*guesses, strict=True))
    return Decoded(table, np.concatenate(values), tuple(fits), tuple(sorted(constant)), mean, nearest)


def decode_by_model(
    patterns: Responses, latents: Latents, decoder: Decoder, voxels: np.ndarray, trained: Sequence[str]
) -> Decoded:
    """Predict with a decoder that is fitted already (to the weights of the parametric GLM).

    Parameters
    ----------
    patterns : one row a test stimulus
    decoder : fitted on the voxels in ``voxels`` (n_voxels,) bool
    trained : stimulus of every training trial
    """
    import pandas as pd

    tested = patterns.trials["stimulus_id"].tolist()
    X = patterns.values[:, voxels]
    n_repeats = np.array([patterns.n_repeats(np.array([row])) for row in range(len(tested))])
    predicted = predict(decoder, X, latents.n_latents, n_repeats)
    test = {label: np.array([row]) for row, label in enumerate(tested)}
    fold = Fold("", np.zeros(0, dtype=int), test)
    fit = FoldFit(fold, voxels, decoder, "runs", _alone_difference(decoder, X, predicted, n_repeats))
    mean, nearest = _guesses(predicted, latents.rows(list(dict.fromkeys(trained))))
    constant = np.flatnonzero(np.ptp(latents.rows(list(trained)), axis=0) == 0)
    rows = pd.DataFrame({"stimulus_id": tested, "fold": "", "n_repeats": n_repeats})
    return Decoded(rows, predicted.astype(np.float32), (fit,), tuple(constant.tolist()), mean, nearest)


def _voxels(
    voxels_of: VoxelSelector | np.ndarray, number: int, train: Responses, latents: Latents
) -> np.ndarray:
    if isinstance(voxels_of, np.ndarray):
        return np.asarray(voxels_of[number], dtype=bool)
    return np.asarray(voxels_of(train, latents), dtype=bool)


def _alone_difference(decoder: Decoder, X_test: np.ndarray, predicted: np.ndarray, n_repeats: np.ndarray) -> float:
    """Largest change of a prediction when its trial is predicted alone."""
    rows = range(min(len(X_test), ALONE))
    one = [slice(row, row + 1) for row in rows]
    alone = [predict(decoder, X_test[row], predicted.shape[1], n_repeats[row])[0] for row in one]
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


def predict(decoder: Decoder, X: np.ndarray, n_latents: int, n_repeats: np.ndarray | None = None) -> np.ndarray:
    """Predict latents ``(n, n_latents)``, and hold the decoder to that shape.

    Parameters
    ----------
    n_repeats : (n,) trials that each row of ``X`` averages, passed on to decoders that take it

    Raises
    ------
    InconsistentInput
        A user's decoder raised, or returned another shape or values that are not finite.
    """
    try:
        takes_repeats = n_repeats is not None and "n_repeats" in inspect.signature(decoder.predict).parameters
        found = decoder.predict(X, n_repeats=n_repeats) if takes_repeats else decoder.predict(X)
        found = np.asarray(found, dtype=np.float64)
    except (HyperError, MemoryError):  # how much memory there is says nothing about the decoder
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
    *,
    selected_anew: bool = False,
    n_voxels: int | None = None,
    alike: bool = False,
) -> tuple[np.ndarray, str]:
    """Draw the exchanged stimuli of the null, as many times as can be afforded.

    Parameters
    ----------
    selected_anew : the voxels are selected again for each (`uses_labels`)
    n_voxels : that the decoder sees (default: all)
    alike : in all runs (`permuted_stimuli`), for decoders that ignore labels (`ignores_labels`)

    Returns
    -------
    rows : (n_permutations, n_trials) int, rows of ``latents``
    notice : why there are fewer than asked for, or ""
    """
    seen = responses.grid.n_voxels if n_voxels is None else n_voxels
    n_draws, notice = _affordable(make_decoder(), latents, folds, n_permutations, selected_anew, seen)
    stimuli, rows = permuted_stimuli(responses.trials, unit, n_draws, seed, alike=alike)
    place = {label: row for row, label in enumerate(latents.stimuli)}
    return np.array([place[label] for label in stimuli.tolist()], dtype=np.int32)[rows], notice


def refit(
    responses: Responses,
    latents: Latents,
    folds: list[Fold],
    voxels_of: VoxelSelector | np.ndarray,
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
    for number, fold in enumerate(folds):
        train, means = responses.of(fold.train), mean_responses(responses, fold)
        own = rows[:, fold.train]
        n_repeats = np.array([responses.n_repeats(repeats) for repeats in fold.test.values()])
        if uses_labels(voxels_of):
            # The selection is part of what is repeated: it may have seen the labels that are exchanged.
            parts = []
            for draw in own:
                voxels = _relabelled(voxels_of, train, latents, draw)
                if voxels is None:  # the rule finds nothing in these labels: the guess that needs no brain
                    guess = latents.values[draw].mean(axis=0, dtype=np.float64)
                    parts.append(np.broadcast_to(guess.astype(np.float32), (1, len(means), len(guess))))
                else:
                    parts.append(_refitted(make_decoder(), train, voxels, latents, draw[None], means, n_repeats))
            values.append(np.concatenate(parts))
        else:
            voxels = _voxels(voxels_of, number, train, latents)
            values.append(_refitted(make_decoder(), train, voxels, latents, own, means, n_repeats))
        tested.append(rows[:, [repeats[0] for repeats in fold.test.values()]])
    return np.concatenate(values, axis=1), np.concatenate(tested, axis=1)


def ignores_labels(predictions: np.ndarray, rows: np.ndarray) -> bool:
    """Whether refits to different labels predict the same but for rounding: a decoder that was trained elsewhere.

    What it says of a stimulus is then the same in every run, so that its hits are no independent draws of the runs,
    as they would be with stimuli exchanged in each run on its own: that null is too narrow (docs/statistics.md).

    Parameters
    ----------
    predictions : (n_permutations, n_rows, n_latents), of `refit`
    rows : (n_permutations, n_trials), to which it was refitted
    """
    if len(rows) < 2 or not (rows != rows[0]).any():
        return False
    first = predictions[0]
    limit = SAME * float(first.std(axis=0).max(initial=0.0))
    return all(float(np.abs(other - first).max(initial=0.0)) <= limit for other in predictions[1:])


def uses_labels(voxels_of: VoxelSelector | np.ndarray) -> bool:
    """Whether a selection depends on which stimulus a trial showed; a user's rule is taken to."""
    return not isinstance(voxels_of, np.ndarray) and bool(getattr(voxels_of, "uses_labels", True))


def _relabelled(rule: VoxelSelector, train: Responses, latents: Latents, draw: np.ndarray) -> np.ndarray | None:
    """The voxels that a rule selects when the trials showed the stimuli in rows ``draw`` of the latents; None: none."""
    names = np.array(latents.stimuli, dtype=object)[draw]
    exchanged = Responses(train.values, train.trials.assign(stimulus_id=names), train.grid)
    try:
        voxels = np.asarray(rule(exchanged, latents), dtype=bool)
    except InconsistentInput:
        return None
    return voxels if voxels.any() else None


def _refitted(
    decoder: Decoder, train: Responses, voxels: np.ndarray, latents: Latents, rows: np.ndarray, means: np.ndarray,
    n_repeats: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Predictions ``(n_draws, n_test, n_latents)`` after fits to the latents in ``rows`` (n_draws, n_train)."""
    X, X_test, groups = train.values[:, voxels], means[:, voxels], _groups(train.trials)[0]
    if hasattr(decoder, "predict_refitted"):
        takes_repeats = "n_repeats" in inspect.signature(decoder.predict_refitted).parameters
        given = {"n_repeats": n_repeats} if takes_repeats else {}
        return decoder.predict_refitted(X, latents.values, rows, X_test, groups=groups, **given)
    out = np.empty((len(rows), len(X_test), latents.n_latents), dtype=np.float32)
    for draw, own in enumerate(rows):
        fitted = fit_decoder(decoder, X, latents.values[own], groups)
        out[draw] = predict(fitted, X_test, latents.n_latents, n_repeats)
    return out


def _affordable(
    decoder: Decoder, latents: Latents, folds: list[Fold], wanted: int, selected_anew: bool, n_voxels: int
) -> tuple[int, str]:
    """How many refits the null gets, decided from sizes alone so that it never depends on the machine."""
    at_once = hasattr(decoder, "predict_refitted")
    limit, notice = wanted, ""
    if selected_anew or not at_once:
        limit = min(wanted, SLOW_REFITS)
        why = "voxels are selected anew for each" if selected_anew else "this decoder is refitted from scratch"
        notice = f"{limit} instead of {wanted} permutations: {why}" if limit < wanted else ""
    one = sum(_operations(decoder, len(fold.train), n_voxels, latents.n_latents) for fold in folds)
    affordable = int(REFIT_OPERATIONS // max(one, 1.0))
    if limit <= affordable:
        return limit, notice
    if affordable < FEWEST_REFITS:
        return 0, (
            f"no permutations: one refit of all folds costs {one:.0e} operations, and a p-value needs at least "
            f"{FEWEST_REFITS}. Fewer folds (--cross-validate session or stimulus:5), fewer epochs where there are any "
            "(--n-epochs), or a train/test split can be tested"
        )
    return affordable, f"{affordable} instead of {wanted} permutations, to bound the cost of refitting"


def _operations(decoder: Decoder, n_trials: int, n_voxels: int, n_latents: int) -> float:
    """Floating-point operations of one refit: the decoder's own count, or that of products with a decomposition."""
    count = getattr(decoder, "refit_operations", None)
    if callable(count):
        return float(count(n_trials, n_voxels, n_latents))
    n_products = len(getattr(decoder, "alphas", (1,))) + 2
    return 2.0 * n_trials**2 * n_latents * n_products
