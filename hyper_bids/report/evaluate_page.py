"""The page of ``hyper-tools evaluate``: the scores, tests and audits of predictions that somebody brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids import __version__
from hyper_bids.derivatives.write import write_text
from hyper_bids.report import pictures as sorting
from hyper_bids.report import summary
from hyper_bids.report.audits import audit_items
from hyper_bids.report.further_part import further_tables
from hyper_bids.report.group_tables import covariate_table
from hyper_bids.report.page import render
from hyper_bids.report.read import read_json, read_table
from hyper_bids.report.scores import main_rows, number
from hyper_bids.report.thumbnails import Quality

if TYPE_CHECKING:
    import pandas as pd

MOST_PICTURES = 60


@dataclass(frozen=True)
class Written:
    """Tables in one flat folder, as the participant's report finds them under BIDS names."""

    folder: Path

    def name(self, suffix: str, extension: str) -> str:
        """Return the file's name."""
        return f"{suffix}{extension}"

    def has(self, suffix: str, extension: str) -> bool:
        """Whether the file is there."""
        return (self.folder / self.name(suffix, extension)).is_file()

    def table(self, suffix: str) -> pd.DataFrame:
        """Read a table."""
        return read_table(self.folder / self.name(suffix, ".tsv"))

    def sidecar(self, suffix: str) -> dict[str, Any]:
        """Read a table's sidecar."""
        return read_json(self.folder / self.name(suffix, ".json"))


def write_evaluate_page(
    out: Path, *, metrics: pd.DataFrame, stats: pd.DataFrame, covariates: pd.DataFrame | None,
    audits: Mapping[str, Any], asked: Mapping[str, str], notices: list[str],
    pictures: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]] | None,
) -> Path:  # fmt: skip
    """Write ``evaluate.html`` beside the tables and return its path.

    Parameters
    ----------
    asked : option -> value
    pictures : true and predicted, stimulus -> (h, w, 3) uint8; None where latents were compared
    """
    rows, missing = main_rows(stats)
    finding, line = summary.verdict_line(rows)
    html = render(
        "evaluate.html",
        version=__version__,
        n=metrics["stimulus_id"].nunique(),
        finding=finding,
        line=line,
        sentences=[row.sentence for row in rows if row.metric in summary.TOLD],
        notices=[("NOTE", notice) for notice in notices],
        rows=rows,
        missing=missing,
        further=further_tables(Written(Path(out))),
        covariates=covariate_table(covariates),
        audit=audit_items(audits),
        asked=asked,
        cards=[] if pictures is None else _cards(metrics, *pictures),
    )
    return write_text(Path(out) / "evaluate.html", html)


def _cards(
    metrics: pd.DataFrame, shown: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]
) -> list[tuple[int, str, str, list[sorting.Shown]]]:
    """Return rank, stimulus, score and both pictures, evenly spaced from the best to the worst SSIM."""
    ordered = metrics.set_index("stimulus_id")["ssim"].sort_values(ascending=False, kind="stable")
    ranks = sorting.spread(len(ordered), MOST_PICTURES)
    quality = Quality.for_count(2 * len(ranks))
    cards = []
    for rank in ranks:
        label = str(ordered.index[rank])
        both = [
            sorting.Shown(kind, quality.thumbnail(side[label]), f"{kind} picture of {label}")
            for kind, side in (("true", shown), ("predicted", made))
        ]
        cards.append((int(rank) + 1, label, number(ordered.iloc[rank], 2), both))
    return cards
