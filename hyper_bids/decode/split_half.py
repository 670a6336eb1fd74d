"""Split-half reliability over repeated stimuli: of single voxels, and of what a decoder makes of them.

The repeats of every stimulus are dealt at random to two halves (an odd one to either, by chance); r is
between the halves' means over stimuli, averaged over many random halves, and stepped up to all repeats
by Spearman-Brown, ``2 r / (1 + r)`` (Spearman 1910, Brown 1910). Below 0 that formula runs to minus
infinity; ``2 r / (1 + |r|)`` continues it symmetrically. A stimulus with one repeat is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hyper_bids.data import Responses
from hyper_bids.errors import listing
from hyper_bids.seeds import generator

VOXEL_BLOCK = 512
"""Voxels handled at a time, so that a block of trials stays in the processor's cache."""

CONSTANT = 1e-20
"""What varies by less than this share of its sum of squares does so by rounding."""

FEWEST_STIMULI = 3
"""Between fewer stimuli r is always 1 or -1."""


@dataclass(frozen=True, eq=False)
class SplitHalf:
    """Reliability of every voxel; empty arrays, and why, where there are too few repeats.

    Parameters
    ----------
    r : (n_voxels,) mean over halves of r between halves over stimuli; NaN for voxels that do not vary
    reliability : (n_voxels,) Spearman-Brown of r: of the mean over all repeats
    n_stimuli, n_left_out : repeated stimuli, and those with one repeat
    repeats : (fewest, most) of the repeated stimuli
    n_halves : random halves
    reason : why there is no reliability, or ""
    notices : what the user should know
    """

    r: np.ndarray
    reliability: np.ndarray
    n_stimuli: int
    n_left_out: int
    repeats: tuple[int, int]
    n_halves: int
    reason: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DecoderCeiling:
    """How well decoded latents could at best agree with the true ones, given the noise in the responses.

    Both halves of the repeats are decoded; the ceiling of r with the truth is the square root of the
    reliability of the prediction from all repeats. It bounds what noise allows, not what this decoder's
    bias costs.

    Parameters
    ----------
    latent_r : (n_latents,) mean over halves of r between the two predictions over stimuli
    latent_ceiling : (n_latents,) ``sqrt(2 r / (1 + r))``; 0 where r is not positive, NaN where it is undefined
    stimuli : labels
    stimulus_r : (n_stimuli,) mean over halves of r between the two predictions over latents; NaN for one latent
    stimulus_ceiling : (n_stimuli,) likewise
    n_left_out, n_halves : stimuli with one repeat; random halves
    reason : why there is no ceiling, or ""
    notices : what the user should know
    """

    latent_r: np.ndarray
    latent_ceiling: np.ndarray
    stimuli: tuple[str, ...]
    stimulus_r: np.ndarray
    stimulus_ceiling: np.ndarray
    n_left_out: int
    n_halves: int
    reason: str = ""
    notices: tuple[str, ...] = ()


def spearman_brown(r: np.ndarray) -> np.ndarray:
    """Reliability of twice as many repeats.

    >>> spearman_brown(np.array([0.5, 0.0, -0.5]))
    array([ 0.66666667,  0.        , -0.66666667])
    """
    r = np.asarray(r, dtype=np.float64)
    return 2 * r / (1 + np.abs(r))


@dataclass(frozen=True, eq=False)
class _Repeats:
    """Row numbers of every repeated stimulus, and what was left out."""

    rows: dict[str, np.ndarray]
    n_left_out: int

    @property
    def counts(self) -> np.ndarray:
        return np.array([len(rows) for rows in self.rows.values()])

    @property
    def reason(self) -> str:
        n = len(self.rows)
        if n >= FEWEST_STIMULI:
            return ""
        what = "no stimulus is repeated" if n == 0 else f"only {n} stimuli are repeated ({listing(self.rows)})"
        return f"{what}; halves of repeats can be compared over {FEWEST_STIMULI} stimuli or more."

    @property
    def notices(self) -> tuple[str, ...]:
        if not self.n_left_out:
            return ()
        total = self.n_left_out + len(self.rows)
        return (f"Split halves: {self.n_left_out} of {total} stimuli have one repeat and are left out.",)


def _repeats(stimuli: np.ndarray) -> _Repeats:
    names, own, counts = np.unique(np.asarray(stimuli, dtype=str), return_inverse=True, return_counts=True)
    order = np.split(np.argsort(own, kind="stable"), np.cumsum(counts)[:-1])
    rows = {str(name): rows for name, rows in zip(names, order, strict=True) if len(rows) > 1}
    return _Repeats(rows, len(names) - len(rows))


def random_halves(groups: list[np.ndarray], n_halves: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Yield, ``n_halves`` times, the rows of each group's first half.

    An odd group's first half has one row more or less than its second, by chance.
    """
    rng = generator(seed, "split halves")
    for _ in range(n_halves):
        yield [rng.permutation(rows)[: (len(rows) + rng.integers(2)) // 2] for rows in groups]


def split_half(values: np.ndarray, stimuli: np.ndarray, n_halves: int = 100, seed: int = 0) -> SplitHalf:
    """Split-half reliability of every voxel's response pattern over repeated stimuli.

    Parameters
    ----------
    values : (n_trials, n_voxels)
    stimuli : (n_trials,) labels
    n_halves : random halves
    seed : root seed
    """
    repeats = _repeats(stimuli)
    if repeats.reason:
        none = np.zeros(0)
        return SplitHalf(none, none, len(repeats.rows), repeats.n_left_out, (0, 0), 0, repeats.reason, repeats.notices)
    used = np.concatenate(list(repeats.rows.values()))
    first, second = _averages(repeats, used, n_halves, seed)
    r = np.empty(values.shape[1])
    for start in range(0, len(r), VOXEL_BLOCK):
        block = np.asarray(values[:, start : start + VOXEL_BLOCK], dtype=np.float64)[used]
        pairs = zip(first, second, strict=True)
        r[start : start + VOXEL_BLOCK] = sum(correlate(a @ block, b @ block, 0) for a, b in pairs) / n_halves
    counts = repeats.counts
    return SplitHalf(
        r, spearman_brown(r), len(counts), repeats.n_left_out, (int(counts.min()), int(counts.max())), n_halves,
        notices=repeats.notices,
    )  # fmt: skip


def _averages(repeats: _Repeats, used: np.ndarray, n_halves: int, seed: int) -> tuple[list, list]:
    """Sparse matrices ``(n_stimuli, n_used)`` that average the trials of each half."""
    from scipy.sparse import csr_array

    own = np.repeat(np.arange(len(repeats.rows)), repeats.counts)
    position = np.full(used.max() + 1, -1)
    position[used] = np.arange(len(used))
    first, second = [], []
    for halves in random_halves(list(repeats.rows.values()), n_halves, seed):
        inside = np.zeros(len(used), dtype=bool)
        inside[position[np.concatenate(halves)]] = True
        for part, chosen in ((first, inside), (second, ~inside)):
            columns = np.flatnonzero(chosen)
            weight = 1.0 / np.bincount(own[columns], minlength=len(repeats.rows))[own[columns]]
            part.append(csr_array((weight, (own[columns], columns)), shape=(len(repeats.rows), len(used))))
    return first, second


def correlate(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """Pearson r of two arrays along an axis; NaN where either does not vary."""
    a, squares_a, varies_a = _centred(a, axis)
    b, squares_b, varies_b = _centred(b, axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (a * b).sum(axis=axis) / np.sqrt(squares_a * squares_b)
    return np.where(varies_a & varies_b, r, np.nan)


def _centred(a: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deviations from the mean, their sum of squares, and whether that is more than rounding."""
    deviations = a - a.mean(axis=axis, keepdims=True)
    squares = (deviations * deviations).sum(axis=axis)
    return deviations, squares, squares > CONSTANT * (a * a).sum(axis=axis)


def decoder_ceiling(
    predict: Callable[[np.ndarray], np.ndarray], test: Responses, n_halves: int = 100, seed: int = 0
) -> DecoderCeiling:
    """Noise ceiling of decoded latents, from the repeats of the test stimuli.

    Parameters
    ----------
    predict : (n, n_voxels) -> (n, n_latents): the fitted decoder, each row on its own
    test : single test trials, in the decoder's voxels
    n_halves : random halves
    seed : root seed

    Returns
    -------
    DecoderCeiling
        With a ``reason`` and empty arrays where fewer than three test stimuli are repeated.
    """
    repeats = _repeats(test.trials["stimulus_id"].to_numpy(str))
    if repeats.reason:
        none, reason = np.zeros(0), f"among the {len(test.trials)} test trials {repeats.reason}"
        return DecoderCeiling(none, none, (), none, none, repeats.n_left_out, 0, reason, repeats.notices)
    used = np.concatenate(list(repeats.rows.values()))
    values = test.values[used].astype(np.float64)
    over_stimuli, over_latents = [], []
    for a, b in zip(*_averages(repeats, used, n_halves, seed), strict=True):
        one, other = (np.asarray(predict(half @ values), dtype=np.float64) for half in (a, b))
        over_stimuli.append(correlate(one, other, 0))
        over_latents.append(correlate(one, other, 1))
    latent_r, stimulus_r = np.mean(over_stimuli, axis=0), np.mean(over_latents, axis=0)
    return DecoderCeiling(
        latent_r, _ceiling(latent_r), tuple(repeats.rows), stimulus_r, _ceiling(stimulus_r),
        repeats.n_left_out, n_halves, notices=repeats.notices,
    )  # fmt: skip


def _ceiling(r: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(spearman_brown(r), 0.0))
