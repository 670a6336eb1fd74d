"""What a handful of participants can and cannot show, in plain words, with the smallest p that is attainable."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

FEW, MANY = 5, 12
ALPHA = 0.05


def smallest_sign_p(n_participants: int) -> float:
    """Smallest two-sided p of the sign test and of Wilcoxon's: all participants on one side.

    >>> smallest_sign_p(4)
    0.125
    """
    return min(1.0, 2.0 ** (1 - n_participants))


def smallest_friedman_p(n_participants: int, n_models: int) -> float:
    """Smallest exact p of Friedman's test: all participants order the models alike, ``k!^(1 - n)``.

    >>> smallest_friedman_p(2, 5) == 1 / 120
    True
    """
    return float(math.factorial(n_models)) ** (1 - n_participants)


def participants_needed(alpha: float = ALPHA) -> int:
    """Fewest participants with whom the sign test can reach ``alpha`` at all."""
    return math.ceil(1 - math.log2(alpha))


def _p(value: float) -> str:
    return f"{value:.3g}"


def _each_participant(p_values: np.ndarray, n_permutations: int) -> list[str]:
    known = p_values[np.isfinite(p_values)]
    sentences = []
    if n_permutations:
        sentences.append(
            f"Within one participant, {n_permutations} permutations of stimuli can reach p = "
            f"{_p(1 / (1 + n_permutations))} at best."
        )
    if len(known):
        below = int((known < ALPHA).sum())
        sentences.append(
            f"{below} of {len(known)} participants {'have' if below != 1 else 'has'} p < {ALPHA:g} of their own: this "
            f"is a statement about these participants, one by one."
        )
    return sentences


def few_participants_words(
    n_participants: int, n_models: int = 1, p_values: Sequence[float] = (), n_permutations: int = 0
) -> tuple[str, ...]:
    """Say what may be concluded from so many participants.

    Parameters
    ----------
    n_participants : those with complete results
    n_models : decoders or latent spaces that are compared; 1 where none are
    p_values : each participant's own p, of one metric
    n_permutations : behind each of those

    Returns
    -------
    Sentences; none of their numbers depends on the data but the count of p below 0.05.
    """
    one = n_participants == 1
    sentences = [f"There {'is 1 participant' if one else f'are {n_participants} participants'}."]
    sentences += _each_participant(np.asarray(p_values, dtype=np.float64), n_permutations)
    if n_participants < FEW:
        sentences.append(
            "Combining their p-values asks whether the effect is there in at least one of them; it does not show "
            "that other people would have it."
        )
    floor = smallest_sign_p(n_participants)
    if floor > ALPHA:
        sentences.append(
            f"A test over participants (sign test, Wilcoxon) cannot fall below p = {_p(floor)}, even where "
            f"{'this participant shows' if one else 'all agree on'} the effect; {participants_needed()} participants "
            f"are the fewest that can reach {ALPHA:g}."
        )
    if n_models == 2 and floor > ALPHA:
        sentences.append(
            f"Whether one of the two models is better in general stays open: p = {_p(floor)} is the smallest possible."
        )
    if n_models > 2 and n_participants < MANY:
        smallest = smallest_friedman_p(n_participants, n_models)
        can = "can" if smallest <= ALPHA else "cannot"
        sentences.append(
            f"Friedman's test of {n_models} models {can} reach {ALPHA:g} (smallest exact p: {_p(smallest)}); "
            + (
                f"which of two models is better cannot be decided by pairs (smallest p: {_p(floor)})."
                if floor > ALPHA
                else f"after correction a pair of models can reach p = {_p(floor * math.comb(n_models, 2))} at best."
            )
        )
    return tuple(sentences)
