"""Learning curve: what would fewer training trials have given? Nested subsets, stratified by run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    import pandas as pd

FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of the training trials (METHODS.md section 7)."""

COLUMNS = ("fraction", "n_trials", "metric", "value", "reason")


def subsets(trials: pd.DataFrame, fractions: Sequence[float] = FRACTIONS, seed: int = 0) -> list[np.ndarray]:
    """Draw nested subsets of training trials, each with its share of every run.

    Trials are put into one random order in which every run's are spread evenly; a subset is its start, so
    that a smaller one lies inside a larger one and no run gives more than its share by more than one trial
    or so.

    Parameters
    ----------
    trials : one row a training trial, with ``run``
    fractions : in (0, 1]
    seed : root seed

    Returns
    -------
    list of (n,) int
        Row numbers, ascending; ``n = round(fraction * len(trials))``.

    Raises
    ------
    InconsistentInput
        A fraction outside (0, 1], or one that leaves fewer than 2 trials.
    """
    sizes = [int(np.floor(fraction * len(trials) + 0.5)) for fraction in fractions]
    for fraction, size in zip(fractions, sizes, strict=True):
        if not 0 < fraction <= 1:
            raise InconsistentInput(f"Learning curve: {fraction:g} is no fraction of the training trials in (0, 1].")
        if size < 2:
            raise InconsistentInput(
                f"Learning curve: {fraction:g} of {len(trials)} training trials are {size}; a decoder needs at least "
                "2. Leave out --learning-curve."
            )
    order = _spread(trials["run"].to_numpy(str), seed)
    return [np.sort(order[:size]) for size in sizes]


def _spread(runs: np.ndarray, seed: int) -> np.ndarray:
    """Random order of the trials in which those of every run are spread evenly from start to end."""
    rng = generator(seed, "learning curve")
    place = np.empty(len(runs))
    for run in dict.fromkeys(runs.tolist()):
        rows = np.flatnonzero(runs == run)
        place[rows] = (rng.permutation(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")


def learning_curve(
    trials: pd.DataFrame,
    fit_and_score: Callable[[np.ndarray], Mapping[str, float]],
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit to growing subsets of the training trials and collect the scores.

    Parameters
    ----------
    trials : one row a training trial, with ``run``
    fit_and_score : row numbers of training trials -> metric -> value on the (same) test set; selection and
        penalties are part of it, so that they see the subset alone
    fractions, seed : as `subsets`

    Returns
    -------
    DataFrame
        ``fraction``, ``n_trials``, ``metric``, ``value``, ``reason``. Where a rule or decoder refuses a subset
        as too small (`InconsistentInput`), the metrics of that fraction are NaN and ``reason`` is its message.

    Raises
    ------
    InconsistentInput
        As `subsets`; or what was raised, where every fraction is refused.
    """
    import pandas as pd

    found: list[tuple[float, int, Mapping[str, float] | InconsistentInput]] = []
    for fraction, rows in zip(fractions, subsets(trials, fractions, seed), strict=True):
        try:
            found.append((fraction, len(rows), fit_and_score(rows)))
        except InconsistentInput as refused:
            found.append((fraction, len(rows), refused))
    scored = [scores for _, _, scores in found if not isinstance(scores, InconsistentInput)]
    if not scored:
        raise found[-1][2]
    metrics = list(dict.fromkeys(metric for scores in scored for metric in scores))
    table = []
    for fraction, n_trials, scores in found:
        refused = isinstance(scores, InconsistentInput)
        for metric in metrics:
            value = float("nan") if refused else float(scores.get(metric, float("nan")))
            table.append((float(fraction), n_trials, metric, value, str(scores) if refused else ""))
    return pd.DataFrame(table, columns=list(COLUMNS))
