"""Folds: which trials train, which stimuli are tested, and what may be exchanged under the null."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Fold:
    """One training and test set.

    Parameters
    ----------
    name : label of the fold; empty for the one train/test split
    train : (n_train,) row numbers of single trials
    test : stimulus -> row numbers of its repeats in this fold
    """

    name: str
    train: np.ndarray
    test: dict[str, np.ndarray]


def make_folds(trials: pd.DataFrame, unit: str | None, n_folds: int | None, seed: int) -> list[Fold]:
    """Make the folds.

    Parameters
    ----------
    trials : one row a trial, with stimulus_id, split, run and session
    unit : None (the split of the sidecar), ``run``, ``session`` or ``stimulus``
    n_folds : number of stimulus folds
    seed : root seed; stimuli are dealt to folds at random

    Raises
    ------
    InconsistentInput
        Fewer than two folds, or a fold without training or test trials.
    """
    if unit is None:
        split = trials["split"].to_numpy(str)
        folds = [_fold("", trials, split == "train", split == "test")]
    elif unit == "stimulus":
        folds = _stimulus_folds(trials, int(n_folds or 10), seed)
    else:
        values = trials[unit].to_numpy(str)
        names = list(dict.fromkeys(values))
        if len(names) < 2:
            raise InconsistentInput(
                f"--cross-validate {unit} needs at least 2 {unit}s with trials, found {len(names)}: {', '.join(names)}"
            )
        folds = [_fold(name, trials, values != name, values == name) for name in names]
    for fold in folds:
        if len(fold.train) < 2 or not fold.test:
            raise InconsistentInput(
                f"{'Fold ' + fold.name if fold.name else 'The split'} has {len(fold.train)} training trials and "
                f"{len(fold.test)} test stimuli; it needs at least 2 and 1."
            )
    return folds


def _fold(name: str, trials: pd.DataFrame, train: np.ndarray, test: np.ndarray) -> Fold:
    stimuli = trials["stimulus_id"].to_numpy(str)
    tested = sorted(set(stimuli[test]))
    return Fold(name, np.flatnonzero(train), {label: np.flatnonzero(test & (stimuli == label)) for label in tested})


def _stimulus_folds(trials: pd.DataFrame, n_folds: int, seed: int) -> list[Fold]:
    stimuli = trials["stimulus_id"].to_numpy(str)
    distinct = np.array(sorted(set(stimuli)))
    if len(distinct) < n_folds:
        raise InconsistentInput(
            f"--cross-validate stimulus:{n_folds} needs at least {n_folds} stimuli, found {len(distinct)}."
        )
    order = generator(seed, "stimulus folds").permutation(len(distinct))
    parts = [set(distinct[part]) for part in np.array_split(order, n_folds)]
    width = len(str(n_folds))
    return [
        _fold(f"{k + 1:0{width}d}", trials, ~(held := np.isin(stimuli, list(part))), held)
        for k, part in enumerate(parts)
    ]


def permuted_stimuli(
    trials: pd.DataFrame, unit: str, n_permutations: int, seed: int, *, alike: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Exchange whole stimuli among the trials.

    A stimulus moves with all its repeats. With run (session) folds stimuli are exchanged
    within runs (sessions), so that what differs between runs stays out of the null;
    with stimulus folds over the whole experiment (METHODS.md section 6).

    Parameters
    ----------
    alike : exchange them alike in all runs (sessions), among those that were shown in the same ones

    Returns
    -------
    stimuli : (n_stimuli,) distinct labels, sorted
    rows : (n_permutations, n_trials) int32, the stimulus that each trial stands for
    """
    rng = generator(seed, "label permutations")
    stimuli, own = np.unique(trials["stimulus_id"].to_numpy(str), return_inverse=True)
    blocks = np.zeros(len(trials), dtype=int) if unit == "stimulus" else trials[unit].to_numpy(str)
    scheme = _exchanged_alike if alike else _exchanged_within
    return stimuli, scheme(own, blocks, n_permutations, rng)


def _exchanged_within(
    own: np.ndarray, blocks: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Exchange stimuli in each block on its own, among those that were shown there."""
    rows = np.empty((n_permutations, len(own)), dtype=np.int32)
    for block in dict.fromkeys(blocks.tolist()):
        here = np.flatnonzero(blocks == block)
        distinct, which = np.unique(own[here], return_inverse=True)
        for draw in range(n_permutations):
            rows[draw, here] = distinct[rng.permutation(len(distinct))][which]
    return rows


def _exchanged_alike(own: np.ndarray, blocks: np.ndarray, n_permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Exchange stimuli in the same way in all blocks, among those that were shown in the same ones."""
    n_stimuli = int(own.max()) + 1
    shown: dict[tuple[object, ...], list[int]] = {}
    for stimulus in range(n_stimuli):
        shown.setdefault(tuple(dict.fromkeys(blocks[own == stimulus].tolist())), []).append(stimulus)
    rows = np.empty((n_permutations, len(own)), dtype=np.int32)
    for draw in range(n_permutations):
        moved = np.arange(n_stimuli)
        for members in shown.values():
            moved[members] = rng.permutation(members)
        rows[draw] = moved[own]
    return rows
