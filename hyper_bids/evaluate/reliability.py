"""Reliability of the recordings (HYPER): from how many repetitions can a stimulus be told from its response?

The first 12 repetitions of every test stimulus, as single samples. Outer fold k leaves out repetition k of
every stimulus; for m = 3 to 11 a multinomial logistic regression is fitted to m of the other 11 and names the
stimuli of repetition k. Its penalty (1e-4 to 1e4) is the one with most hits in an inner 3-fold
cross-validation over the m repetitions, the larger of equals. Voxels are standardised by the training samples
of each fold, inner ones too (METHODS.md section 6). Ours where the paper is silent: which m of 11 is the start
of one random order per fold, so that more repetitions are the fewer and some more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.data import Responses
from hyper_bids.evaluate.multinomial import path_logits
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    import pandas as pd

PENALTIES = tuple(10.0**power for power in range(-4, 5))
N_REPEATS = 12
FEWEST_TRAINED = 3
INNER_FOLDS = 3
FEWEST_REPEATS = FEWEST_TRAINED + 1


@dataclass(frozen=True, eq=False)
class RecordingReliability:
    """How well stimuli are told apart, by number of repetitions trained on.

    Parameters
    ----------
    table : m, accuracy (mean over folds), sd (over folds, n - 1), chance (1 / n_stimuli); empty where skipped
    folds : fold (1 on), m, accuracy, penalty
    n_stimuli, n_repeats : of how many stimuli how many repetitions were used
    reason : why it was skipped, or ""
    notices : what the user should know
    """

    table: pd.DataFrame
    folds: pd.DataFrame
    n_stimuli: int
    n_repeats: int
    reason: str = ""
    notices: tuple[str, ...] = ()

    @property
    def skipped(self) -> bool:
        return bool(self.reason)


def recording_reliability(
    test: Responses, *, n_repeats: int = N_REPEATS, penalties: tuple[float, ...] = PENALTIES, seed: int = 0
) -> RecordingReliability:
    """Measure how well single responses name their stimulus, for growing numbers of training repetitions.

    Parameters
    ----------
    test : single test trials in their order of time, in the voxels of the decoding mask
    n_repeats : repetitions used, at most; fewer where a stimulus has fewer
    penalties : to choose from
    seed : root seed

    Returns
    -------
    RecordingReliability
        Skipped, with a ``reason``, below 2 stimuli, 4 repetitions or one voxel that is finite.
    """
    import pandas as pd

    samples, reason, notices = _samples(test, n_repeats)
    n_used, n_stimuli = samples.shape[:2]
    if reason:
        return RecordingReliability(
            pd.DataFrame(columns=["m", "accuracy", "sd", "chance"]),
            pd.DataFrame(columns=["fold", "m", "accuracy", "penalty"]),
            n_stimuli, n_used, reason, notices,
        )  # fmt: skip
    rng = generator(seed, "reliability of recordings")
    rows = []
    for fold in range(n_used):
        order = rng.permutation(np.delete(np.arange(n_used), fold))
        for m in range(FEWEST_TRAINED, n_used):
            penalty = choose_penalty(samples[order[:m]], penalties)
            hits = _hits(samples[order[:m]], samples[[fold]], (penalty,))[0]
            rows.append((fold + 1, m, hits / n_stimuli, penalty))
    folds = pd.DataFrame(rows, columns=["fold", "m", "accuracy", "penalty"])
    by_number = folds.groupby("m")["accuracy"]
    table = pd.DataFrame({"accuracy": by_number.mean(), "sd": by_number.std(ddof=1)}).reset_index()
    return RecordingReliability(table.assign(chance=1 / n_stimuli), folds, n_stimuli, n_used, "", notices)


def _samples(test: Responses, n_repeats: int) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Array (n_used, n_stimuli, n_voxels) of the first repetitions, why there is none, and notices."""
    stimuli = test.trials["stimulus_id"].to_numpy(str)
    names, own, counts = np.unique(stimuli, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return np.zeros((0, len(names), 0)), f"there are {len(names)} test stimuli, 2 are needed.", ()
    n_used, fewest = min(n_repeats, int(counts.min())), names[np.argmin(counts)]
    if n_used < FEWEST_REPEATS:
        reason = (
            f"{FEWEST_REPEATS} repetitions of every test stimulus are needed (to train on {FEWEST_TRAINED} and test "
            f"on another), but stimulus {fewest} has {counts.min()}."
        )
        return np.zeros((n_used, len(names), 0)), reason, ()
    rows = np.stack([np.flatnonzero(own == k)[:n_used] for k in range(len(names))], axis=1)
    finite = np.isfinite(test.values).all(axis=0)
    notices = [f"Reliability of the recordings: {(~finite).sum()} voxels are not finite and left out."]
    notices = notices if not finite.all() else []
    if n_used < n_repeats:
        trained = f"{FEWEST_TRAINED} to {n_used - 1}" if n_used - 1 > FEWEST_TRAINED else f"{FEWEST_TRAINED}"
        notices.append(
            f"Reliability of the recordings: {n_used} repetitions instead of {n_repeats}, since stimulus {fewest} "
            f"has no more; trained on {trained}."
        )
    reason = "" if finite.any() else "no voxel is finite in all test trials."
    return test.values[:, finite][rows].astype(np.float64), reason, tuple(notices)


def choose_penalty(samples: np.ndarray, penalties: tuple[float, ...]) -> float:
    """Return the penalty with most hits in a 3-fold cross-validation over repetitions, the larger of equals.

    Parameters
    ----------
    samples : (m, n_stimuli, n_voxels)
    """
    if len(penalties) == 1:
        return penalties[0]
    ordered = tuple(sorted(penalties, reverse=True))
    hits = np.zeros(len(ordered), dtype=int)
    for held in np.array_split(np.arange(len(samples)), min(INNER_FOLDS, len(samples))):
        hits += _hits(np.delete(samples, held, axis=0), samples[held], ordered)
    return ordered[int(np.argmax(hits))]


def _hits(train: np.ndarray, test: np.ndarray, penalties: tuple[float, ...]) -> np.ndarray:
    """Test samples named rightly, per penalty; voxels are standardised by the training samples."""
    n_stimuli, n_voxels = train.shape[1:]
    X, X_test = train.reshape(-1, n_voxels), test.reshape(-1, n_voxels)
    mean, sd = X.mean(axis=0), X.std(axis=0)
    scale = np.where(sd > 1e-10 * np.abs(mean), sd, np.inf)
    own = np.tile(np.arange(n_stimuli), len(train))
    logits = path_logits((X - mean) / scale, own, (X_test - mean) / scale, penalties)
    return (logits.argmax(axis=2) == np.tile(np.arange(n_stimuli), len(test))).sum(axis=1)
