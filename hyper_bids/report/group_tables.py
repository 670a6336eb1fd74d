"""Tables of the group's page: decoders or latent spaces against each other, and what makes stimuli easy to decode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hyper_bids.derivatives.names import label
from hyper_bids.report.scores import known, number
from hyper_bids.report.tables import Table
from hyper_bids.report.words import ALPHA, long_name, p_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class ComparisonPart:
    """What the page says about decoders, or latent spaces, against each other."""

    key: str
    title: str
    sentences: list[str]
    means: Table
    pairs: Table
    words: list[str]
    notices: list[str]


def comparison_part(made: Mapping[str, Any]) -> ComparisonPart:
    """Make the part of one comparison from the rows of groupcomparison.tsv."""
    rows = made["table"].to_dict("records")
    fixed = made["desc"] if made["what"] == "decoders" else made["model"]
    title = f"{made['task']}, {fixed}: {made['what']} compared"
    sentences = [_omnibus(row, made) for row in rows if row["kind"] == "omnibus"]
    return ComparisonPart(
        key=f"part-{label(title)}",
        title=title,
        sentences=sentences or ["No participant has results of all of them: nothing was compared."],
        means=_means(rows, made["what"]),
        pairs=_pairs(rows),
        words=list(made["words"]),
        notices=list(made["notices"]),
    )


def _omnibus(row: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    name, n = long_name(str(row["metric"])), len(made["models"])
    if not known(row["p_value"]):
        return f"{name}: {row['p_method']}."
    differ = "differ" if row["p_value"] < ALPHA else "cannot be told apart"
    return (
        f"{name}: the {n} {made['what']} {differ}, {p_text(float(row['p_value']))} by {row['p_method']}, "
        f"n = {int(row['n'])} participants."
    )


def _means(rows: list[Mapping[str, Any]], what: str) -> Table:
    cells = [
        [long_name(str(row["metric"])), str(row["model_a"]), number(row["value"]), _interval(row), str(int(row["n"]))]
        for row in rows
        if row["kind"] == "mean"
    ]
    columns = [("Metric", False), (what.capitalize(), False), ("Mean", True), ("95 % interval", True), ("n", True)]
    return Table("Means over the participants who have all of them; intervals over participants and stimuli.",
                 columns, cells)  # fmt: skip


def _pairs(rows: list[Mapping[str, Any]]) -> Table:
    cells = [
        [long_name(str(row["metric"])), f"{row['model_a']} - {row['model_b']}", number(row["value"]), _interval(row),
         _p(row["p_value"]), _p(row["p_holm"]), str(row["p_method"])]
        for row in rows
        if row["kind"] == "pair"
    ]  # fmt: skip
    columns = [("Metric", False), ("Pair", False), ("Difference", True), ("95 % interval", True), ("p", True),
               ("p, Holm", True), ("How p was made", False)]  # fmt: skip
    return Table("Pairs, the first minus the second; p two-sided over participants, Holm's over the pairs of a metric.",
                 columns, cells)  # fmt: skip


def covariate_table(found: pd.DataFrame | None) -> Table | None:
    """Return the table of what goes along with accuracy over stimuli; None where nothing is known of them."""
    if found is None or not len(found):
        return None
    cells = [
        [long_name(str(row["metric"])), str(row["covariate"]),
         f"{'r' if row['kind'] == 'numeric' else 'F'} = {number(row['statistic'], 2)}", _p(row["p_value"]),
         _p(row["p_bonferroni"]), _p(row["p_fdr"]), str(int(row["n"]))]
        for row in found.to_dict("records")
    ]  # fmt: skip
    columns = [("Accuracy", False), ("Covariate", False), ("Association", True), ("p", True), ("p, Bonferroni", True),
               ("p, FDR", True), ("Stimuli", True)]  # fmt: skip
    caption = (
        "What makes a stimulus easy to decode: accuracy, averaged over participants, against columns of stimuli.tsv "
        "and complexity (size of the picture's compressed file); p by permuting stimuli."
    )
    return Table(caption, columns, cells)


def _interval(row: Mapping[str, Any]) -> str:
    return f"{number(row['ci_low'])} to {number(row['ci_high'])}" if known(row["ci_low"]) else "n/a"


def _p(value: Any) -> str:
    return p_text(float(value)).removeprefix("p ").removeprefix("= ") if known(value) else "n/a"
