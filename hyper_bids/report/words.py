"""A row of statistics in one plain sentence, for the report: the number, what it is held against, the finding."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from statistics import NormalDist

import numpy as np

ALPHA = 0.05
ABOVE, AT, BELOW = "above chance", "at chance", "below chance"
UNDECIDABLE, UNTESTED, UNKNOWN = "not decidable", "not tested", "not computed"
GROUP = "group"
NOT_TESTED = "not tested: "
BASELINE = "a baseline"

NAMES = {
    "latent_similarity": "Latent similarity",
    "latent_similarity_mse": "Latent similarity, MSE form",
    "latent_correlation": "Latent correlation",
    "latent_cosine": "Latent cosine",
    "feature_similarity": "Feature similarity",
    "feature_similarity_mse": "Feature similarity, MSE form",
    "pixel_correlation": "Pixel correlation",
    "ssim": "Structural similarity",
    "pairwise_accuracy": "Pairwise identification",
    "top1": "Full identification",
    "latent_dimension_correlation": "Latent dimension correlation",
}
"""Metric -> what a person calls it. The report reads files and knows no metric; a test holds the two together."""


def long_name(metric: str) -> str:
    """Name of a row of stats.tsv for people.

    >>> long_name("ssim_zero"), long_name("attribute_age_partial")
    ('Structural similarity of a zero prediction', "Attribute 'age' given the other attributes")
    """
    if metric in NAMES:
        return NAMES[metric]
    if metric.startswith("attribute_"):
        name = metric.removeprefix("attribute_")
        if name.endswith("_partial"):
            return f"Attribute {name.removesuffix('_partial')!r} given the other attributes"
        return f"Attribute {name!r}"
    for suffix, what in (("_zero", "of a zero prediction"), ("_random", "of a random prediction")):
        if metric.endswith(suffix):
            return f"{long_name(metric.removesuffix(suffix))} {what}"
    return metric


def _known(row: Mapping[str, object], column: str) -> bool:
    value = row.get(column)
    return value is not None and not isinstance(value, str) and bool(np.isfinite(float(value)))


def p_text(p: float) -> str:
    """Write a p value, never as zero.

    >>> p_text(0.27), p_text(1 / 1001), p_text(0.0002), p_text(1e-9)
    ('p = 0.27', 'p = 0.001', 'p = 0.0002', 'p < 0.0001')

    What is below 0.05 is not rounded up to it:

    >>> p_text(50 / 1001), p_text(0.05)
    ('p = 0.0499', 'p = 0.050')
    """
    if p < 0.0001:
        return "p < 0.0001"
    if p < 0.0005:
        return f"p = {p:.4f}"
    if ALPHA - 0.0005 <= p < ALPHA:
        return f"p = {np.floor(p * 1e4) / 1e4:.4f}"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _two_decimals(value: object) -> str:
    return f"{round(float(value), 2) + 0.0:.2f}"  # + 0.0: no "-0.00"


def _held_against(row: Mapping[str, object]) -> str:
    parts = []
    if _known(row, "chance"):
        parts.append(f"chance {_two_decimals(row['chance'])}")
    # theory's chance assumes that any candidate could be any other; the permutations know better
    if _known(row, "null_mean") and (not parts or abs(float(row["chance"]) - float(row["null_mean"])) >= 0.02):
        parts.append(f"with permuted labels {_two_decimals(row['null_mean'])}")
    return f" ({'; '.join(parts)})" if parts else ""


def smallest_possible_p(row: Mapping[str, object]) -> float:
    """Return the smallest p that a row's test can give; 0 where nothing but the data limits it.

    1 / (N + 1) for N random permutations or refits, 1 / N for all N (Phipson & Smyth 2010). A row
    that holds ``p_floor`` (the group's, of several participants) has it from there.

    >>> smallest_possible_p({"p_method": "19 permutations of stimuli"})
    0.05
    >>> smallest_possible_p({"p_method": "all 2 permutations of stimuli (exact)"})
    0.5
    >>> smallest_possible_p({"p_method": "two-sided t test, 5 degrees of freedom"})
    0.0
    """
    if _known(row, "p_floor"):
        return float(row["p_floor"])
    found = re.match(r"(all )?(\d+) (?:permutations|refits)\b", str(row.get("p_method") or ""))
    if not found:
        return 0.0
    return 1 / int(found[2]) if found[1] else 1 / (int(found[2]) + 1)


def combined_floor(floors: Iterable[float], two_sided: bool) -> float:
    """Return the smallest p that Stouffer's method can make of tests with these smallest p (see `evaluate.group`).

    >>> round(combined_floor([1 / 6, 1 / 6], two_sided=False), 3), combined_floor([1 / 6, 0.0], two_sided=False)
    (0.086, 0.0)
    """
    sides = 2 if two_sided else 1
    floors = [min(floor / sides, 0.999) for floor in floors]
    if not floors or min(floors) <= 0:
        return 0.0
    z = sum(-NormalDist().inv_cdf(floor) for floor in floors) / np.sqrt(len(floors))
    return min(1.0, sides * NormalDist().cdf(-z))


def finding(row: Mapping[str, object]) -> str:
    """Say in two words what a row of stats.tsv found.

    >>> finding({"metric": "ssim", "mean": 0.7, "p_value": 0.2})
    'at chance'
    >>> finding({"metric": "ssim", "mean": 0.7, "p_value": 1 / 11, "p_method": "10 permutations of stimuli"})
    'not decidable'
    """
    if not _known(row, "mean"):
        return UNKNOWN
    if not _known(row, "p_value"):
        return UNTESTED
    if smallest_possible_p(row) >= ALPHA:
        return UNDECIDABLE
    if float(row["p_value"]) >= ALPHA:
        return AT
    expected = float(row["null_mean"]) if _known(row, "null_mean") else 0.0
    return BELOW if str(row["metric"]).startswith("attribute_") and float(row["mean"]) < expected else ABOVE


def unreachable(floor: float) -> str:
    """Say that a test whose smallest p is ``floor`` decides nothing.

    >>> unreachable(1 / 6)
    'the test cannot reach p < 0.05 (smallest possible p = 0.17)'
    """
    return f"the test cannot reach p < {ALPHA} (smallest possible {p_text(floor)})"


def _found(row: Mapping[str, object]) -> str:
    said = finding(row)
    if said == UNDECIDABLE:
        return f"{said}: {unreachable(smallest_possible_p(row))}"
    return f"{said}: predicted the wrong way round" if said == BELOW else said


def reason(row: Mapping[str, object]) -> str:
    """Return why a row has no p, or "" where it has one."""
    return "" if _known(row, "p_value") else str(row.get("p_method") or "").removeprefix(NOT_TESTED)


def verdict(row: Mapping[str, object]) -> str:
    """Say a row of stats.tsv or groupstats.tsv in one sentence.

    "At chance" where p is 0.05 or more; "not decidable" where the test has too few permutations for
    any p below 0.05, whatever the data; "not tested, because ..." where there is no p.

    Parameters
    ----------
    row : Series or mapping with the columns of stats.tsv, and ``participant_id`` in groupstats.tsv

    >>> verdict({"metric": "top1", "n": 20, "mean": 0.4, "chance": 0.05, "p_value": 0.001,
    ...          "p_method": "1000 permutations of stimuli"})
    'Full identification 0.40 (chance 0.05), p = 0.001 by 1000 permutations of stimuli, n = 20 stimuli: above chance.'
    """
    name = long_name(str(row["metric"]))
    why = reason(row)
    if not _known(row, "mean"):
        return f"{name}: n/a, because {why}."
    n = int(row["n"])
    unit = "participant" if row.get("participant_id") == GROUP else "stimulus"
    counted = f"n = {n} {unit}" if n == 1 else f"n = {n} {'participants' if unit == 'participant' else 'stimuli'}"
    unit_of = ": r =" if str(row["metric"]).startswith("attribute_") else ""
    value = f"{name}{unit_of} {_two_decimals(row['mean'])}{_held_against(row)}"
    if not _known(row, "p_value"):
        if why == BASELINE:
            return f"{value}, {counted}: a baseline, made without brain data."
        return f"{value}, {counted}: not tested, because {why}."
    return f"{value}, {p_text(float(row['p_value']))} by {row['p_method']}, {counted}: {_found(row)}."
