"""A p-value with everything that is needed to believe it: method, n, unit, number of permutations."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class TestResult:
    """What every test of this folder returns.

    Attributes
    ----------
    method : how p was made, in words; where there is none it starts with "not tested"
    statistic : observed value; NaN where undefined
    p : NaN where there is none
    n : number of units
    unit : what was permuted, drawn or ranked ("stimulus", "participant", ...)
    n_permutations : random permutations or draws; 0 where p is exact or from a formula
    """

    __test__ = False  # not a class of tests for pytest

    method: str
    statistic: float
    p: float
    n: int
    unit: str = "stimulus"
    n_permutations: int = 0

    def row(self) -> dict[str, object]:
        """Return the fields as columns of a table, p as ``p_value`` and method as ``p_method``."""
        fields = asdict(self)
        return {"statistic": fields.pop("statistic"), "p_value": fields.pop("p"), "p_method": fields.pop("method"),
                **fields}  # fmt: skip


def untested(why: str, n: int, unit: str = "stimulus") -> TestResult:
    """Result of a test that could not be made, with the reason."""
    return TestResult(f"not tested: {why}", float("nan"), float("nan"), n, unit)


def monte_carlo_p(n_as_good: int, n_draws: int) -> float:
    """``(1 + b) / (1 + n)`` for b of n random draws at least as good (Phipson & Smyth 2010)."""
    return (1 + int(n_as_good)) / (1 + int(n_draws))


def as_extreme(draws: np.ndarray, observed: float, tail: str = "greater") -> int:
    """Count draws at least as extreme; differences of rounding count as equal, undefined draws as extreme.

    ``tail``: "greater", "less" or "two-sided" (of absolute values).
    """
    draws = np.asarray(draws, dtype=np.float64)
    if tail == "two-sided":
        draws, observed = np.abs(draws), abs(observed)
    gain = (observed - draws) * (-1.0 if tail == "less" else 1.0)
    return int((~(gain > 1e-9 * max(1.0, abs(observed)))).sum())
