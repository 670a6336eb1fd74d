"""Several decoders side by side: the same test stimuli, one table and one figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.derivatives.names import Scope
from hyper_bids.report.figures_comparison import comparison_figure
from hyper_bids.report.gallery import FigureFolder, PlacedFigure
from hyper_bids.report.scores import known, number
from hyper_bids.report.words import long_name, p_text

if TYPE_CHECKING:
    import pandas as pd

METRICS = (
    "latent_correlation", "pairwise_accuracy", "top1", "latent_dimension_correlation", "ssim", "pixel_correlation",
)  # fmt: skip
"""Columns, all of them the better the larger; the first that is known sorts the decoders."""

FIELDS = ("mean", "ci_low", "ci_high", "chance")


@dataclass(frozen=True)
class ComparedCell:
    """A decoder's value of one metric, as text."""

    value: str
    interval: str
    p: str
    best: bool


@dataclass(frozen=True)
class ComparedRow:
    """One decoder: its name, where its own section is, and a cell per metric."""

    decoder: str
    key: str
    cells: list[ComparedCell | None]


@dataclass(frozen=True)
class ComparisonPart:
    """Table, figure and what they do not say."""

    sorted_by: str
    columns: list[tuple[str, str]]
    rows: list[ComparedRow]
    figure: PlacedFigure
    latent_space: str


def comparison_part(
    scope: Scope, latent_space: str, decoders: list[tuple[str, str, pd.DataFrame]], folder: FigureFolder
) -> ComparisonPart | None:
    """Compare the decoders of one task and latent space; None where there is one, or nothing to compare.

    Parameters
    ----------
    scope, latent_space : whose results these are
    decoders : name, key of its section, stats.tsv
    folder : where the figure goes
    """
    tables = {name: stats.set_index("metric") for name, _, stats in decoders}
    records = {name: {metric: _record(table, metric) for metric in METRICS} for name, table in tables.items()}
    metrics = [metric for metric in METRICS if any(found[metric] for found in records.values())]
    if len(decoders) < 2 or not metrics:
        return None
    order = sorted(decoders, key=lambda item: _rank(records[item[0]][metrics[0]]))
    best = {metric: max(found[metric]["mean"] for found in records.values() if found[metric]) for metric in metrics}
    rows = [
        ComparedRow(name, key, [_cell(records[name][metric], best[metric]) for metric in metrics])
        for name, key, _ in order
    ]
    panels = [(long_name(metric), [records[name][metric] for name, _, _ in order]) for metric in metrics]
    drawing = comparison_figure([name for name, _, _ in order], panels)
    n = max(int(table["n"].max()) for table in tables.values())
    caption = (
        f"Mean over test stimuli (n = {n}) with 95 % interval, one row a decoder; filled: the largest mean. Dotted: "
        "chance."
    )
    name = scope.figure(latent_space, ".svg", suffix="comparison")
    placed = folder.save(name, drawing, "scores of all decoders side by side", caption)
    chances = [_chance(records, metric) for metric in metrics]
    columns = list(zip([long_name(metric) for metric in metrics], chances, strict=True))
    return ComparisonPart(long_name(metrics[0]).lower(), columns, rows, placed, latent_space)


def _record(table: pd.DataFrame, metric: str) -> dict[str, float] | None:
    if metric not in table.index or not known(table.loc[metric, "mean"]):
        return None
    row = table.loc[metric]
    return {name: float(row[name]) if known(row[name]) else np.nan for name in (*FIELDS, "p_value")}


def _rank(record: dict[str, float] | None) -> float:
    return np.inf if record is None else -record["mean"]


def _chance(records: dict[str, dict[str, Any]], metric: str) -> str:
    found = [row[metric]["chance"] for row in records.values() if row[metric] and np.isfinite(row[metric]["chance"])]
    return f"chance {number(found[0], 2)}" if found else ""


def _cell(record: dict[str, float] | None, best: float) -> ComparedCell | None:
    if record is None:
        return None
    interval = "no interval"
    if np.isfinite(record["ci_low"]):
        interval = f"{number(record['ci_low'], 2)} to {number(record['ci_high'], 2)}"
    p = p_text(record["p_value"]) if np.isfinite(record["p_value"]) else "not tested"
    return ComparedCell(number(record["mean"]), interval, p, record["mean"] == best)
