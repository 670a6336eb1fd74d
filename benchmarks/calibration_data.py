"""What the calibration tables are made of: their rows, and true latents with predictions of a given effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_LATENTS = 64


@dataclass(frozen=True)
class Row:
    """One line of a table: what was tested on what, and how it is judged.

    ``kind``: "continuous" (held to both limits), "discrete" or "conservative" (to the upper one), "peer" (not ours).
    """

    name: str
    data: str
    kind: str = "continuous"


def predictions(
    rng: np.random.Generator, n: int, collapsed: bool, effect: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """True latents N(0, I) and predictions of a given effect; collapsed ones share most of what they are."""
    true = rng.standard_normal((n, N_LATENTS))
    predicted = rng.standard_normal((n, N_LATENTS)) + effect * true
    return true, predicted + (2.0 * rng.standard_normal(N_LATENTS) if collapsed else 0.0)
