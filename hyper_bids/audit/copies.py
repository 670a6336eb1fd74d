"""Is what is said to be predicted the truth itself, or are true ones the same?"""

from __future__ import annotations

from collections import Counter

import numpy as np

from hyper_bids.audit.light import Light, light


def copies(true: np.ndarray, predicted: np.ndarray) -> Light:
    """Look for predictions that equal a true item, and for true items that equal each other.

    Parameters
    ----------
    true, predicted : (n, k), aligned
    """
    truths = [row.tobytes() for row in np.ascontiguousarray(true, dtype=np.float64)]
    guesses = [row.tobytes() for row in np.ascontiguousarray(predicted, dtype=np.float64)]
    own = sum(one == other for one, other in zip(truths, guesses, strict=True))
    others = sum(guess in set(truths) for guess in guesses) - own
    double = sum(count for count in Counter(truths).values() if count > 1)
    said = []
    if own:
        said.append(f"{own} predictions are exactly the truth")
    if others > 0:
        said.append(f"{others} predictions are exactly another stimulus's truth: they were retrieved, not made")
    if double:
        said.append(f"{double} true items are the same as another: nothing can tell those apart")
    figures = {"Own": own, "Others": others, "SameTruth": double}
    if said:
        return light("WARN", f"{'; '.join(said)}.", **figures)
    return light("PASS", "no prediction is a copy of a true item, and no two true items are the same.", **figures)
