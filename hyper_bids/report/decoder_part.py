"""What the page says about one decoder: pictures, scores and their tests, audit, how it learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.derivatives.names import label
from hyper_bids.errors import listing
from hyper_bids.report import figures_attributes, figures_scores, pictures, summary
from hyper_bids.report.audits import AuditItem, audit_items, tally
from hyper_bids.report.figures_latents import latents_figure
from hyper_bids.report.figures_novelty import novelty_figure
from hyper_bids.report.figures_reconstructions import sheet_figure
from hyper_bids.report.further_part import FurtherTable, further_tables
from hyper_bids.report.gallery import FigureFolder, PlacedFigure
from hyper_bids.report.notices import sentence
from hyper_bids.report.read import Result
from hyper_bids.report.scores import ScoreRow, attribute_rows, known, main_rows, p_text, smallest_p
from hyper_bids.report.tables import Table, chosen_penalties, fold_table, stimulus_table
from hyper_bids.report.thumbnails import Quality
from hyper_bids.report.training_part import TrainingPart, training_part

if TYPE_CHECKING:
    import pandas as pd

AUDITED_ROWS = 500
"""Test rows that the audit's novelty curve is made of, at most (``hyper_bids.audit.novelty.MOST_ROWS``)."""


@dataclass
class DecoderPart:
    """What the page says about one task and decoder."""

    key: str
    title: str
    finding: str
    sentences: list[str]
    generator: str | None
    generator_notice: str
    sorted_by: str
    n_stimuli: int
    cards: list[pictures.Card]
    references: list[pictures.Shown]
    n_random: int
    sheet_files: list[str]
    rows: list[ScoreRow]
    untold: list[str]
    floor: str
    attributes: list[tuple[ScoreRow, ScoreRow | None]]
    glossary: list[tuple[str, str]]
    per_stimulus: list[list[str]]
    per_stimulus_columns: list[str]
    figures: dict[str, PlacedFigure]
    decoder: dict[str, Any]
    alphas: str
    constant: str
    folds: Table | None
    training: TrainingPart
    notices: list[str]
    audit: list[AuditItem]
    metrics_file: str
    cross_validated: bool
    stats: pd.DataFrame
    further: list[FurtherTable]
    entities: dict[str, str | None]
    tally: list[tuple[str, str, str]]


def decoder_part(
    task: Mapping[str, Any],
    facts: Mapping[str, Any],
    result: Result,
    name: str,
    drawn: Mapping[str, np.ndarray] | None,
    problems: list[str],
    folder: FigureFolder,
    encoding: Mapping[str, Any] | None = None,
    n_results: int = 1,
) -> DecoderPart:
    """Describe one decoder of one task.

    Parameters
    ----------
    task : of the report's context
    facts : of the pooling step
    result : the decoder's files
    name : of the decoder, as it was asked for
    drawn : arrays of `reconstruct`; None where there is no generator
    problems : sentences are added for pictures that cannot be read
    folder : where figures go
    encoding : facts of `encode_stimuli`, where the latents were computed
    n_results : how many decoders (over all tasks) share the page

    Raises
    ------
    MissingFiles
        A table of results is not there.
    """
    rows, untold = main_rows(result.stats)
    found_attributes = attribute_rows(result.stats)
    decoder = result.sidecar("decoder")
    table, column = pictures.per_stimulus(result.metrics)
    finding, line = summary.verdict_line(rows)
    sentences = [
        summary.recorded(result.scope.participant, task["task"], facts),
        summary.decoded(task, result.metrics, decoder, name, facts["mode"]),
        line,
        *summary.told(rows),
        summary.against_zero(rows, result.stats),
        summary.attributes(found_attributes, result.stats),
        summary.encoded(encoding),
    ]
    columns, cells = stimulus_table(table)
    dictionary = result.sidecar("metrics")
    return DecoderPart(
        key=f"task-{label(task['task'])}-{result.model}",
        title=f"{task['task']}, {name}",
        finding=finding,
        sentences=[sentence for sentence in sentences if sentence],
        generator=task["generator"],
        generator_notice=task["generator_notice"],
        sorted_by=_title(column, dictionary),
        n_stimuli=len(table),
        cards=pictures.cards(table, task["stimulus_paths"], drawn, problems, n_results),
        references=_references(drawn, n_results * len(table)),
        n_random=len(drawn["random"]) if drawn else 0,
        sheet_files=_sheets(result, table, task, drawn, folder),
        rows=rows,
        untold=untold,
        floor=smallest_p(rows, result.stats),
        attributes=found_attributes,
        glossary=_glossary(dictionary, result.sidecar("stats"), rows),
        per_stimulus=cells,
        per_stimulus_columns=columns,
        figures=_score_figures(result, table, rows, bool(task["cross_validate"]), folder),
        decoder=decoder,
        constant=listing(decoder["ConstantLatents"], 12) if decoder.get("ConstantLatents") else "",
        alphas=chosen_penalties(result),
        folds=fold_table(decoder.get("Folds") or [], bool(task["cross_validate"])),
        training=training_part(result, decoder, bool(task["cross_validate"]), folder),
        notices=[sentence(str(notice)) for notice in decoder.get("Notices") or []],
        audit=audit_items(result.sidecar("audit")),
        metrics_file=result.name("metrics", ".tsv"),
        cross_validated=bool(task["cross_validate"]),
        stats=result.stats,
        further=further_tables(result),
        entities={"task": result.scope.task, "model": result.model},
        tally=tally(audit_items(result.sidecar("audit"))),
    )


def _references(drawn: Mapping[str, np.ndarray] | None, n_cards: int) -> list[pictures.Shown]:
    return pictures.references(drawn, Quality.for_count(pictures.ON_CARD * n_cards)) if drawn else []


def _sheets(
    result: Result, table: pd.DataFrame, task: Mapping[str, Any], drawn: Mapping[str, np.ndarray] | None,
    folder: FigureFolder,
) -> list[str]:  # fmt: skip
    """Write all reconstructions on one sheet or several, and return their names; none without a generator."""
    if drawn is None:
        return []
    scale, files = 2.0 if len(table) <= pictures.FINE_SHEETS * pictures.ON_SHEET else 1.0, []
    several = len(table) > pictures.ON_SHEET
    for number, sheet in enumerate(pictures.sheets(table, task["stimulus_paths"], drawn), 1):
        drawing = sheet_figure(sheet.rows, sheet.captions, sheet.note, sheet.shared, scale)
        about = f"Stimuli, their reconstructions, ceilings and baselines. {sheet.note}."
        chunk = number if several else None
        placed = folder.save_result(result, "reconstructions", drawing, "reconstructions", about, chunk=chunk)
        files.append(placed.file)
    return files


def _score_figures(
    result: Result, table: pd.DataFrame, rows: list[ScoreRow], cross_validated: bool, folder: FigureFolder
) -> dict[str, PlacedFigure]:
    stats = result.stats.set_index("metric")
    placed = {}
    shown = [row for row in rows if row.metric in ("latent_correlation", "pairwise_accuracy")]
    if shown:
        panels = [_panel(row, table, result.metrics, stats) for row in shown]
        drawing = figures_scores.scores_figure([str(stimulus) for stimulus in table.index], panels)
        folds = " Small grey dots are single folds." if len(result.metrics) > len(table) else ""
        caption = (
            f"Every test stimulus, best on top (n = {len(table)}).{folds} "
            "Broken line: mean of the null distribution."
        )
        placed["scores"] = folder.save_result(result, "scores", drawing, "scores of every test stimulus", caption)
    if "pairwise_accuracy" in [row.metric for row in shown]:
        row, values = stats.loc["pairwise_accuracy"], table["pairwise_accuracy"].to_numpy(float)
        drawing = figures_scores.identification_figure(
            values, float(row["chance"]), float(row["mean"]), float(row["ci_low"]), float(row["ci_high"])
        )
        placed["identification"] = folder.save_result(
            result, "identification", drawing, "histogram of pairwise identification", _identified(values)
        )
    compared = [row for row in rows if known(stats.loc[row.metric, "null_mean"])]
    if compared:
        records = [stats.loc[row.metric].to_dict() for row in compared]
        drawing = figures_scores.null_figure([row.name for row in compared], records)
        caption = f"Each metric beside its null distribution (n = {len(table)} stimuli)."
        placed["null"] = folder.save_result(result, "null", drawing, "metrics and their null distributions", caption)
    placed.update(_latents_figure(result, len(table), folder))
    placed.update(_novelty_figure(result, cross_validated, folder))
    placed.update(_attribute_figure(result, table, stats, folder))
    return placed


def _attribute_figure(
    result: Result, table: pd.DataFrame, stats: pd.DataFrame, folder: FigureFolder
) -> dict[str, PlacedFigure]:
    names = [name.removeprefix("attribute_").removesuffix("_true") for name in table if name.endswith("_true")]
    scores = {
        name: tuple(table[f"attribute_{name}_{which}"].to_numpy(float) for which in ("true", "predicted"))
        for name in names
    }
    if not scores:
        return {}
    titles = {name: _attribute_title(name, stats) for name in names}
    drawing = figures_attributes.attributes_figure(scores, titles)
    caption = (
        "Attribute scores of the true and of the decoded latents, in units of the latents; a dot is a test "
        f"stimulus (n = {len(table)}), the line a least-squares fit, p two-sided."
    )
    alt = "true against predicted attributes"
    bars = figures_attributes.attribute_bars_figure(scores, titles)
    about = (
        "The same scores as bars, a pair a stimulus, in units of the latents"
        f"{_of_many(len(table), figures_attributes.MOST_BARS)}. r and p as beside the dots."
    )
    return {
        "attributebars": folder.save_result(result, "attributebars", bars, "attributes of every stimulus", about),
        "attributes": folder.save_result(result, "attributes", drawing, alt, caption),
    }


def _of_many(n: int, most: int) -> str:
    return f"; {most} of {n} stimuli, evenly spaced in the order of their true scores" if n > most else ""


def _latents_figure(result: Result, n_stimuli: int, folder: FigureFolder) -> dict[str, PlacedFigure]:
    """Draw the correlation of every single latent; {} where there is no table of them."""
    if not result.has("latentstats", ".tsv"):
        return {}
    found = result.table("latentstats")
    r, p_fdr = found["r"].to_numpy(float), found["p_fdr"].to_numpy(float)
    if not np.isfinite(r).any():
        return {}
    drawing = latents_figure(r, p_fdr, n_stimuli)
    caption = (
        f"Correlation of true and decoded values of each of {len(r)} latents over test stimuli (n = {n_stimuli}), the "
        "largest first. Blue: p below 0.05 after correction for the false discovery rate "
        f"({found['p_method'].iloc[0]})."
    )
    alt = "correlation of every single latent"
    return {"singlelatents": folder.save_result(result, "singlelatents", drawing, alt, caption)}


def _novelty_figure(result: Result, cross_validated: bool, folder: FigureFolder) -> dict[str, PlacedFigure]:
    """Draw the audit's novelty curve; {} where it could not be computed.

    Cross-validated, the audit measures the distance to all other stimuli, not to the training set of the fold.
    """
    curve = (result.sidecar("audit").get("Novelty") or {}).get("Curve")
    if not curve:
        return {}
    distance, score = (np.array(curve[name], dtype=float) for name in ("Distance", "LatentCorrelation"))
    tested = f"r = {curve['r']:.2f}, {p_text(curve['p'])}, n = {len(score)}"
    nearest = "other stimulus" if cross_validated else "training stimulus"
    among = " (of all stimuli that any fold trained on, also where its own did not)" if cross_validated else ""
    first = f" (of the first {AUDITED_ROWS} such at most)" if len(result.metrics) > AUDITED_ROWS else ""
    unlike = "far from all others" if cross_validated else "unlike the training set"
    caption = (
        f"How well each of {len(score)} test stimuli{first} that were not trained on is decoded, over the distance of "
        f"its true latent to the nearest {nearest}{among}. p: one-sided for a falling line, stimuli permuted. Band: "
        f"pointwise 95 % interval of the line. Where the line falls, stimuli {unlike} are decoded worse."
    )
    drawing = novelty_figure(distance, score, tested, nearest)
    alt = f"score over the distance to the nearest {nearest}"
    return {"novelty": folder.save_result(result, "novelty", drawing, alt, caption)}


def _panel(row: ScoreRow, table: pd.DataFrame, metrics: pd.DataFrame, stats: pd.DataFrame) -> tuple[Any, ...]:
    by_stimulus = metrics.groupby("stimulus_id")[row.metric]
    folds = [by_stimulus.get_group(stimulus).to_numpy(float) for stimulus in table.index]
    found = stats.loc[row.metric]
    return row.name, table[row.metric].to_numpy(float), folds, float(found["chance"]), float(found["null_mean"])


def _identified(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    above, first = int((values > 0.5).sum()), int((values >= 1).sum())
    return (
        f"How many of the other candidates each stimulus beats: {above} of {len(values)} stimuli beat more than half, "
        f"{first} all of them."
    )


def _attribute_title(name: str, stats: pd.DataFrame) -> str:
    row = stats.loc[f"attribute_{name}"] if f"attribute_{name}" in stats.index else None
    if row is None or not known(row["mean"]):
        return name
    tested = f", {p_text(float(row['p_value']))}" if known(row["p_value"]) else ", not tested"
    return f"{name}\nr = {float(row['mean']):.2f}{tested}"


def _title(column: str, dictionary: Mapping[str, Any]) -> str:
    return str((dictionary.get(column) or {}).get("LongName", column.replace("_", " "))).lower()


def _glossary(metrics: Mapping[str, Any], stats: Mapping[str, Any], rows: list[ScoreRow]) -> list[tuple[str, str]]:
    described = [(row.name, metrics[row.metric]["Description"]) for row in rows if row.metric in metrics]
    columns = [(entry["LongName"], entry["Description"]) for entry in stats.values() if isinstance(entry, Mapping)]
    return described + columns
