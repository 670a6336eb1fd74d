"""Rows of stats.tsv as rows of the report's tables: numbers, baselines beside them, and the test in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.report.words import (
    ABOVE,
    AT,
    BELOW,
    UNDECIDABLE,
    UNKNOWN,
    UNTESTED,
    finding,
    long_name,
    p_text,
    reason,
    smallest_possible_p,
    verdict,
)

if TYPE_CHECKING:
    import pandas as pd

ORDER = (
    "latent_correlation", "latent_dimension_correlation", "pairwise_accuracy", "top1", "pixel_correlation", "ssim",
    "feature_similarity", "feature_similarity_mse", "latent_cosine", "latent_similarity", "latent_similarity_mse",
)  # fmt: skip
"""In the order in which a reader asks for them; metrics that are not named here follow."""

HEADLINES = ("latent_correlation", "pairwise_accuracy", "latent_similarity_mse")
"""The first of these that was tested says whether the result is above chance."""

BASELINES = ("_zero", "_random")

TESTED = (ABOVE, AT, BELOW)
CLASSES = {ABOVE: "above", AT: "at", BELOW: "at", UNDECIDABLE: "none", UNTESTED: "none", UNKNOWN: "none"}


def number(value: Any, digits: int = 3) -> str:
    """Write a number for a table.

    >>> number(0.91415), number(float("nan")), number(12345.6)
    ('0.914', 'n/a', '1.23e+04')
    """
    value = float(value)
    if not np.isfinite(value):
        return "n/a"
    return f"{round(value, digits) + 0.0:.{digits}f}" if abs(value) < 1000 else f"{value:.3g}"


def known(value: Any) -> bool:
    """Whether a cell holds a number."""
    return isinstance(value, (int, float, np.number)) and bool(np.isfinite(value))


@dataclass(frozen=True)
class ScoreRow:
    """One metric, ready to print."""

    metric: str
    name: str
    value: str
    interval: str
    chance: str
    null: str
    p: str
    ceiling: str
    zero: str
    random: str
    n: int
    sentence: str
    finding: str
    floor: float
    reason: str

    @property
    def css(self) -> str:
        """Class of the finding's badge."""
        return CLASSES[self.finding]


def _interval(row: Mapping[str, Any]) -> str:
    if not known(row["ci_low"]):
        return "n/a"
    return f"{number(row['ci_low'])} to {number(row['ci_high'])}"


def _with_spread(mean: Any, spread: Any) -> str:
    return number(mean) if not known(spread) else f"{number(mean)} ± {number(spread)}"


def score_row(row: Mapping[str, Any], baselines: Mapping[str, Any]) -> ScoreRow:
    """Make a printable row; ``baselines`` are the means of the zero and the random prediction."""
    return ScoreRow(
        metric=str(row["metric"]),
        name=long_name(str(row["metric"])),
        value=_with_spread(row["mean"], row["sem"]),
        interval=_interval(row),
        chance=number(row["chance"]),
        null=_with_spread(row["null_mean"], row["null_sd"]),
        p=p_text(float(row["p_value"])).removeprefix("p = ").removeprefix("p ") if known(row["p_value"]) else "n/a",
        ceiling=number(row["ceiling"]),
        zero=number(baselines.get("_zero", np.nan)),
        random=number(baselines.get("_random", np.nan)),
        n=int(row["n"]),
        sentence=verdict(row),
        finding=finding(row),
        floor=smallest_possible_p(row),
        reason=reason(row),
    )


def _rank(metric: str) -> int:
    return ORDER.index(metric) if metric in ORDER else len(ORDER)


def main_rows(stats: pd.DataFrame) -> tuple[list[ScoreRow], list[str]]:
    """Return the metrics that were computed, and a sentence for each that was not."""
    records = stats.to_dict("records")
    means = {str(row["metric"]): row["mean"] for row in records}
    main = [row for row in records if not str(row["metric"]).endswith(BASELINES) and not is_attribute(row["metric"])]
    main.sort(key=lambda row: _rank(str(row["metric"])))
    rows = [
        score_row(row, {kind: means.get(f"{row['metric']}{kind}", np.nan) for kind in BASELINES})
        for row in main
        if known(row["mean"])
    ]
    return rows, [verdict(row) for row in main if not known(row["mean"])]


def is_attribute(metric: Any) -> bool:
    """Whether a row is about an attribute."""
    return str(metric).startswith("attribute_")


def attribute_rows(stats: pd.DataFrame) -> list[tuple[ScoreRow, ScoreRow | None]]:
    """Return every attribute's row with that of the partial correlation, None where there is none."""
    records = {str(row["metric"]): row for row in stats.to_dict("records") if is_attribute(row["metric"])}
    partial = "_partial"
    return [
        (score_row(row, {}), score_row(records[name + partial], {}) if name + partial in records else None)
        for name, row in records.items()
        if not (name.endswith(partial) and name.removesuffix(partial) in records)
    ]


def headline(rows: list[ScoreRow]) -> ScoreRow | None:
    """Return the row that decides what the summary says; None where nothing was tested.

    A test that can decide goes before one that cannot.
    """
    tested = {row.metric: row for row in rows if row.finding in TESTED}
    tested = tested or {row.metric: row for row in rows if row.finding == UNDECIDABLE}
    return next((tested[name] for name in HEADLINES if name in tested), None)


def smallest_p(rows: list[ScoreRow], stats: pd.DataFrame) -> str:
    """Say where p stands at the smallest value that the number of permutations allows; "" where it does nowhere."""
    floors = set()
    for row in stats.to_dict("records"):
        floor = smallest_possible_p(row)
        if known(row["p_value"]) and floor > 0 and abs(row["p_value"] / floor - 1) < 1e-6:
            floors.add((floor, str(row["p_method"]).partition(" of ")[0].partition(" with ")[0]))
    if not floors:
        return ""
    text = " or ".join(f"{p_text(floor)} with {method}" for floor, method in sorted(floors))
    return f"Permutation p-values cannot be smaller than {text}."
