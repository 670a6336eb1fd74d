"""How many dimensions of the predictions do the scores need? Both scores over the rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hyper_bids.report.canvas import BLUE, GREY, INK, ORANGE, Drawing, draw, new_figure, style

MOST_TICKS = 9
"""Ranks that are written below the axis, at most."""


@dataclass(frozen=True, eq=False)
class RankScores:
    """One score over the rank.

    Parameters
    ----------
    name : of the score, with its unit
    values : (n_ranks,), the last from all dimensions
    chance : with permuted stimuli; NaN where it is not known
    needed : the smallest rank at which nearly all is there; None where no share can be given
    """

    name: str
    values: np.ndarray
    chance: float
    needed: int | None


def bottleneck_figure(ranks: Sequence[int], scores: Sequence[RankScores], n_latents: int, n_stimuli: int) -> Drawing:
    """Draw scores, one below the other, over the number of dimensions that predictions may use (logarithmic).

    Parameters
    ----------
    ranks : (n_ranks,), the last all that predictions have
    n_latents, n_stimuli : K, and over how many test stimuli scores are means
    """
    with style():
        figure = new_figure(440, 100 + 175 * len(scores))
        every = figure.subplots(len(scores), 1, sharex=True, squeeze=False)[:, 0]
        for axes, score in zip(every, scores, strict=True):
            _draw_score(axes, ranks, score)
        every[-1].set_xscale("log")
        shown = _ticks(ranks)
        every[-1].set_xticks(shown, [str(rank) for rank in shown])
        every[-1].minorticks_off()
        every[-1].set_xlim(ranks[0] / 1.15, ranks[-1] * 1.15)
        every[-1].set_xlabel(
            f"dimensions of the predictions that are used, of {ranks[-1]}\n"
            f"(K = {n_latents} latents, n = {n_stimuli} test stimuli)"
        )
        handles = {label: handle for axes in every for handle, label in zip(*axes.get_legend_handles_labels(),
                                                                           strict=True)}  # fmt: skip
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=2)
        return draw(figure)


def _draw_score(axes: Any, ranks: Sequence[int], score: RankScores) -> None:
    whole = float(score.values[-1])
    if np.isfinite(score.chance):
        axes.axhline(score.chance, color=GREY, linestyle=":", linewidth=1.4, label="chance")
    axes.axhline(whole, color=INK, linestyle="--", linewidth=1.0, label="all dimensions")
    if score.needed is not None:
        axes.axvline(score.needed, color=ORANGE, linewidth=1.6, label="95 % of the way to all")
    axes.plot(ranks, score.values, "o-", color=BLUE, markersize=5, linewidth=1.4, label="the first dimensions")
    below = "not above chance" if np.isfinite(score.chance) else "chance is not known"
    found = f"{score.needed} of {ranks[-1]}: 95 % of the way from chance to all"
    axes.set_title(below if score.needed is None else found, fontsize=8.5)
    axes.set_ylabel(score.name)
    axes.margins(y=0.12)
    axes.grid(color="#eef0f3")
    axes.set_axisbelow(True)


def _ticks(ranks: Sequence[int]) -> list[int]:
    """Return the ranks to be written: powers of two, every other one where there are many, and the last of all.

    >>> _ticks([1, 2, 3, 4, 6, 8, 12, 16, 20]), _ticks([1])
    ([1, 2, 4, 8, 20], [1])
    """
    powers = [rank for rank in ranks[:-1] if rank & (rank - 1) == 0 and rank * 1.4 < ranks[-1]]
    every = -(-len(powers) // (MOST_TICKS - 1)) or 1
    return [*powers[::every], ranks[-1]]
