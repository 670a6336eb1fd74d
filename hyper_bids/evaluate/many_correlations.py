"""Which latents (or attributes) are decoded? Pearson r over stimuli of each, with one set of permutations.

Every permutation exchanges whole stimuli in all columns at once, so it keeps the columns' dependence: the
maximum over columns is then an exact family-wise correction, and FDR stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.exchangeable import block_permutations
from hyper_bids.evaluate.latent import unit_dimensions
from hyper_bids.evaluate.multiplicity import fdr, max_statistic_p

if TYPE_CHECKING:
    import pandas as pd

MAX_ELEMENTS = 20_000_000


@dataclass(frozen=True, eq=False)
class CorrelationsOfColumns:
    """Per column: r, its own two-sided permutation p, FDR, and p by the maximum over columns.

    Attributes
    ----------
    r, p, p_fdr, p_max : (n_columns,); NaN where truth or prediction does not vary
    method, n, unit, n_permutations : as `result.TestResult`
    """

    r: np.ndarray
    p: np.ndarray
    p_fdr: np.ndarray
    p_max: np.ndarray
    method: str
    n: int
    unit: str
    n_permutations: int

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """One row per column: name, r, p_value, p_fdr, p_max, p_method, n, unit."""
        import pandas as pd

        return pd.DataFrame({"name": list(names), "r": self.r, "p_value": self.p, "p_fdr": self.p_fdr,
                             "p_max": self.p_max, "p_method": self.method, "n": self.n, "unit": self.unit})  # fmt: skip


def correlations_of_columns(
    true: np.ndarray,
    predicted: np.ndarray,
    n_permutations: int,
    rng: np.random.Generator,
    blocks: Sequence[object] | None = None,
) -> CorrelationsOfColumns:
    """Correlate every column of the truth with its prediction over stimuli; fixed split.

    Parameters
    ----------
    true, predicted : (n_stimuli, n_columns) latents, or attribute scores
    blocks : n_stimuli labels within which stimuli are exchanged, optional

    Raises
    ------
    InconsistentInput
        Shapes differ.
    """
    true, predicted = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if true.ndim != 2 or true.shape != predicted.shape:
        raise InconsistentInput(f"Columns to correlate need one 2-D shape, got {true.shape} and {predicted.shape}.")
    n, n_columns = true.shape
    x, y = unit_dimensions(true), unit_dimensions(predicted)
    defined = x.any(axis=0) & y.any(axis=0)
    r = np.where(defined, (x * y).sum(axis=0), np.nan)
    permutations, exact = block_permutations(["all"] * n if blocks is None else blocks, n_permutations, rng)
    draws = np.empty((len(permutations), n_columns))
    step = max(1, MAX_ELEMENTS // (n * n_columns))
    for start in range(0, len(permutations), step):
        part = permutations[start : start + step]
        draws[start : start + step] = np.einsum("ik,pik->pk", y, x[part], optimize=True)
    as_far = (np.abs(draws) >= np.abs(r) - 1e-9).sum(axis=0)
    count = len(permutations)
    p = np.where(defined, as_far / count if exact else (1 + as_far) / (1 + count), np.nan)
    p_max = max_statistic_p(r, draws)
    if exact:  # the identity is among them: b / n
        p_max = (p_max * (1 + count) - 1) / count
    within = "" if blocks is None else " within blocks"
    method = f"{'all ' if exact else ''}{count} permutations of stimuli{within}, two-sided"
    return CorrelationsOfColumns(r, p, fdr(p), p_max, method, n, "stimulus", 0 if exact else count)
