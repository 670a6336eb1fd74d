"""Tables of the group's page: decoders or latent spaces against each other, and what makes stimuli easy to decode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hyper_bids.derivatives.names import file_name, label
from hyper_bids.errors import count
from hyper_bids.report.figures_comparison import comparison_figure
from hyper_bids.report.scores import known, number
from hyper_bids.report.tables import Table
from hyper_bids.report.words import ALPHA, long_name, p_text, unreachable

if TYPE_CHECKING:
    import pandas as pd

    from hyper_bids.report.gallery import FigureFolder

DRAWN = ("latent_correlation", "pairwise_accuracy", "top1", "latent_dimension_correlation", "ssim", "pixel_correlation")
"""Metrics that are drawn; the tables have all."""


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
    entities: dict[str, str | None]


def comparison_part(made: Mapping[str, Any]) -> ComparisonPart:
    """Make the part of one comparison from the rows of groupcomparison.tsv."""
    rows = made["table"].to_dict("records")
    fixed = made["desc"] if made["what"] == "decoders" else made["model"]
    title = f"{made['task']}, {fixed}: {made['what']} compared"
    sentences = list(dict.fromkeys(_omnibus(row, made) for row in rows if row["kind"] == "omnibus"))
    return ComparisonPart(
        key=f"part-{label(' '.join([title, made['space'] or '', made['resolution'] or '']))}",
        title=title,
        sentences=sentences or ["No participant has results of all of them: nothing was compared."],
        means=_means(rows, made["what"]),
        pairs=_pairs(rows),
        words=list(made["words"]),
        notices=list(made["notices"]),
        entities=entities_of_table(made),
    )


def entities_of_table(table: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the entities of a group file: task, space, resolution, decoder and latent space."""
    names = {"task": "task", "space": "space", "res": "resolution", "model": "model", "desc": "desc"}
    return {entity: table[key] or None for entity, key in names.items()}


def draw_comparison(made: Mapping[str, Any], folder: FigureFolder) -> None:
    """Draw what is compared side by side, a panel a metric; nothing where nothing was compared."""
    rows = [row for row in made["table"].to_dict("records") if row["kind"] == "mean"]
    metrics = list(dict.fromkeys(str(row["metric"]) for row in rows))
    shown = [metric for metric in DRAWN if metric in metrics]
    if not shown:
        return
    names = list(dict.fromkeys(str(row["model_a"]) for row in rows))
    found = {(str(row["metric"]), str(row["model_a"])): row for row in rows}
    panels = [(long_name(metric), [_values(found.get((metric, name))) for name in names]) for metric in shown]
    n = max(int(row["n"]) for row in rows)
    caption = (
        f"Means over the participants who have all {made['what']} (n = {n}), with 95 % intervals over participants and "
        "stimuli; filled: the largest mean. Intervals do not test a difference: the table of pairs does."
    )
    name = file_name(entities_of_table(made), "comparison", ".svg")
    alt = f"{made['what']} compared over participants"
    folder.save(f"figures/{name}", comparison_figure(names, panels), alt, caption)


def _values(row: Mapping[str, Any] | None) -> dict[str, float] | None:
    if row is None or not known(row["value"]):
        return None
    low, high = (float(row[name]) if known(row[name]) else float("nan") for name in ("ci_low", "ci_high"))
    return {"mean": float(row["value"]), "ci_low": low, "ci_high": high, "chance": float("nan")}


def _omnibus(row: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    name, n = long_name(str(row["metric"])), len(made["models"])
    if not known(row["p_value"]):
        return f"{name}: {row['p_method']}."
    differ = "differ" if row["p_value"] < ALPHA else "cannot be told apart"
    floor = 2.0 ** (1 - int(row["n"])) if str(row["p_method"]).startswith("sign test") else 0.0
    if floor >= ALPHA:
        who = count(int(row["n"]), "participant")  # the same of every metric: said once
        return f"The {made['what']} cannot be told apart with {who}, whatever the results: {unreachable(floor)}."
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
