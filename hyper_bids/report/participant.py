"""The participant's report: what was done, what came out, and whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.derivatives.names import Scope, label
from hyper_bids.derivatives.write import write_bytes, write_text
from hyper_bids.errors import listing
from hyper_bids.report import figures_attributes, figures_design, figures_scores, figures_voxels, pictures, summary
from hyper_bids.report.audits import AuditItem, audit_items
from hyper_bids.report.canvas import Drawing
from hyper_bids.report.figures_reconstructions import sheet_figure
from hyper_bids.report.methods import methods_parts, methods_text
from hyper_bids.report.notices import all_notices
from hyper_bids.report.page import PlacedFigure, place, render
from hyper_bids.report.read import Result, read_volume
from hyper_bids.report.scores import ScoreRow, attribute_rows, known, main_rows, p_text, smallest_p
from hyper_bids.report.tables import chosen_penalties, input_files, penalty, run_row, settings_rows, stimulus_table
from hyper_bids.report.thumbnails import Quality

if TYPE_CHECKING:
    import pandas as pd

    from hyper_bids.derivatives.tree import Tree


@dataclass
class ResultPart:
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
    sheet_file: str
    sheet_note: str
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
    audit: list[AuditItem]
    metrics_file: str
    cross_validated: bool


@dataclass
class TaskPart:
    """What the page says about one task's data and design."""

    key: str
    title: str
    facts: Mapping[str, Any]
    runs: list[dict[str, Any]]
    trial_types: list[tuple[str, int]]
    figures: dict[str, PlacedFigure]
    notices: list[str]
    mode: str
    results: list[ResultPart] = field(default_factory=list)


def write_report(
    *,
    tree: Tree,
    dataset: Path,
    participant: str,
    context: Mapping[str, Any],
    facts: list[dict[str, Any]],
    designs: list[dict[str, np.ndarray]],
    pictures: list[dict[str, np.ndarray]],
) -> None:
    """Write ``sub-<label>.html`` and its figures.

    Parameters
    ----------
    tree : where the files go, under their names in the output dataset
    dataset : folder laid out like the output dataset, with this participant's results
    participant : label
    context : what was asked for; ``tasks`` is aligned with ``facts`` and ``designs``, ``pictures``
        ([task, model], ...) with ``pictures``
    facts : of `pool_runs`, one per task
    designs : of `build_designs`, one per task: trials, nuisance and frame times of every run
    pictures : of `reconstruct`, one per task and model that has a generator

    Raises
    ------
    MissingFiles
        A table of results is not in ``dataset``.
    """
    drawn = {tuple(names): arrays for names, arrays in zip(context["pictures"], pictures, strict=True)}
    maker = _Maker(tree, Path(dataset), participant, drawn)
    parts = [
        maker.task(task, fact, design)
        for task, fact, design in zip(context["tasks"], facts, designs, strict=True)
    ]
    paragraphs, references = methods_parts(context["settings"], facts, context)
    html = render(
        "participant.html",
        participant=participant,
        context=context,
        tasks=parts,
        several=len(parts) > 1 or any(len(part.results) > 1 for part in parts),
        notices=list(all_notices(parts, maker.problems)),
        paragraphs=paragraphs,
        bibliography=references,
        markdown=methods_text(context["settings"], facts, context),
        settings=settings_rows(context["settings"]),
        inputs=input_files(context),
        penalty=penalty,
        digest=maker.input_digest(context),
    )
    write_text(tree.path(f"sub-{participant}.html"), html)


class _Maker:
    """Makes the parts of one report, and writes their figures."""

    def __init__(
        self, tree: Tree, dataset: Path, participant: str, drawn: Mapping[tuple[str, ...], Mapping[str, np.ndarray]]
    ) -> None:
        self.tree, self.dataset, self.participant, self.drawn = tree, dataset, participant, drawn
        self.problems: list[str] = []

    def save(self, name: str, drawing: Drawing, alt: str, caption: str) -> PlacedFigure:
        """Write a figure under its BIDS name and put it on the page."""
        write_bytes(self.tree.path(name), drawing.content)
        return place(drawing, alt, caption, name)

    def task(self, task: Mapping[str, Any], facts: Mapping[str, Any], design: Mapping[str, np.ndarray]) -> TaskPart:
        scope = Scope(**task["scope"])
        pairs = zip(facts["runs"], task["recordings"], strict=True)
        part = TaskPart(
            key=f"task-{label(task['task'])}",
            title=task["task"],
            facts=facts,
            runs=[run_row(run, recording) for run, recording in pairs],
            trial_types=list(task["n_samples_by_trial_type"].items()),
            figures={**self._voxels(scope, facts), **self._design(scope, facts, design)},
            notices=list(dict.fromkeys([*task["notices"], *facts["notices"]])),
            mode=facts["mode"].upper(),
        )
        part.results += [self._result(task, facts, scope, model) for model in task["models"]]
        return part

    def input_digest(self, context: Mapping[str, Any]) -> str:
        """Return the digest of the input files' content that the results' sidecars carry; "" if they do not."""
        for task in context["tasks"]:
            for model in task["models"]:
                result = Result(self.dataset, Scope(**task["scope"]), model["model"], task["latent_space"])
                if digest := result.sidecar("stats").get("InputDigest"):
                    return str(digest)
        return ""

    # --- voxels and design

    def _voxels(self, scope: Scope, facts: Mapping[str, Any]) -> dict[str, PlacedFigure]:
        brain, seen = (
            read_volume(self.dataset / scope.name("mask", ".nii.gz", desc=desc)) for desc in ("brain", "decoding")
        )
        if brain is None or seen is None:
            return {}
        n_brain, n_seen = int(brain[0].sum()), int(seen[0].sum())
        share = f"all {n_brain} voxels" if n_seen == n_brain else f"{n_seen} of the {n_brain} voxels"
        caption = (
            f"Blue: voxels that the decoder saw in any fold, {share} of the brain mask (grey). "
            f"L is the participant's left."
        )
        drawing = figures_voxels.voxels_figure(brain[0], seen[0], brain[1])
        alt = f"slices of the brain mask with {n_seen} decoded voxels marked"
        return {"voxels": self.save(scope.figure("decodingmask", drawing.extension), drawing, alt, caption)}

    def _design(
        self, scope: Scope, facts: Mapping[str, Any], design: Mapping[str, np.ndarray]
    ) -> dict[str, PlacedFigure]:
        index = next((k for k, run in enumerate(facts["runs"]) if run["n_trials"]), None)
        if index is None:
            return {}
        run = facts["runs"][index]
        trials, nuisance, times = (design[f"{name}_{index:04d}"] for name in ("trials", "nuisance", "times"))
        matrix = figures_design.design_figure(trials, nuisance, run["nuisance"], times)
        correlation = figures_design.correlation_figure(trials, nuisance)
        note = (
            " In LSS one trial at a time stands against the sum of the others; here all are drawn side by side."
            if facts["mode"] == "lss"
            else ""
        )
        first = "the first run with trials" if len(facts["runs"]) > 1 else "the run"
        neighbours = figures_design.neighbour_correlation(trials)
        nearby = f" Successive trials correlate with r = {neighbours:.2f} on average." if known(neighbours) else ""
        return {
            "design": self.save(
                scope.figure("design", matrix.extension),
                matrix,
                f"design matrix of {run['run']}",
                f"Design of {run['run']}, {first}: {run['n_trials']} trials and {len(run['nuisance'])} nuisance "
                f"regressors over {len(times)} volumes. Each column is scaled to its largest value.{note}",
            ),
            "correlation": self.save(
                scope.figure("designcorrelation", correlation.extension),
                correlation,
                f"correlation of the regressors of {run['run']}",
                f"Correlation of all regressors of {run['run']} but the constant.{nearby}",
            ),
        }

    # --- results

    def _result(
        self, task: Mapping[str, Any], facts: Mapping[str, Any], scope: Scope, model: Mapping[str, str]
    ) -> ResultPart:
        result = Result(self.dataset, scope, model["model"], task["latent_space"])
        rows, untold = main_rows(result.stats)
        found_attributes = attribute_rows(result.stats)
        decoder = result.sidecar("decoder")
        table, column = pictures.per_stimulus(result.metrics)
        drawn = self.drawn.get((task["task"], model["model"]))
        finding, line = summary.verdict_line(rows)
        sentences = [
            summary.recorded(self.participant, task["task"], facts),
            summary.decoded(task, result.metrics, decoder, model["decoder"]),
            line,
            *summary.told(rows),
            summary.against_zero(rows, result.stats),
            summary.attributes(found_attributes, result.stats),
        ]
        columns, cells = stimulus_table(table)
        dictionary = result.sidecar("metrics")
        return ResultPart(
            key=f"task-{label(task['task'])}-{model['model']}",
            title=f"{task['task']}, {model['decoder']}",
            finding=finding,
            sentences=[sentence for sentence in sentences if sentence],
            generator=task["generator"],
            generator_notice=task["generator_notice"],
            sorted_by=_title(column, dictionary),
            n_stimuli=len(table),
            cards=pictures.cards(table, task["stimulus_paths"], drawn, self.problems),
            references=pictures.references(drawn, Quality.for_count(3 * len(table))) if drawn else [],
            sheet_file=self._sheet(result, table, task, drawn),
            sheet_note=pictures.sheet_note(len(table)),
            rows=rows,
            untold=untold,
            floor=smallest_p(rows, result.stats),
            attributes=found_attributes,
            glossary=_glossary(dictionary, result.sidecar("stats"), rows),
            per_stimulus=cells,
            per_stimulus_columns=columns,
            figures=self._score_figures(result, table, rows),
            decoder=decoder,
            constant=listing(decoder["ConstantLatents"], 12) if decoder.get("ConstantLatents") else "",
            alphas=chosen_penalties(result),
            audit=audit_items(result.sidecar("audit")),
            metrics_file=result.name("metrics", ".tsv"),
            cross_validated=bool(task["cross_validate"]),
        )

    def _figure(self, result: Result, what: str, drawing: Drawing, alt: str, caption: str) -> PlacedFigure:
        # the latent space goes into desc-, as in all files of a result: two spaces do not overwrite each other
        name = result.scope.figure(result.latent_space, drawing.extension, suffix=what, model=result.model)
        return self.save(name, drawing, alt, caption)

    def _sheet(
        self, result: Result, table: pd.DataFrame, task: Mapping[str, Any], drawn: Mapping[str, np.ndarray] | None
    ) -> str:
        if drawn is None:
            return ""
        drawing = sheet_figure(
            *pictures.sheet_rows(table, task["stimulus_paths"], drawn), note=pictures.sheet_note(len(table))
        )
        return self._figure(result, "reconstructions", drawing, "", "").file

    def _score_figures(self, result: Result, table: pd.DataFrame, rows: list[ScoreRow]) -> dict[str, PlacedFigure]:
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
            placed["scores"] = self._figure(result, "scores", drawing, "scores of every test stimulus", caption)
        if "pairwise_accuracy" in [row.metric for row in shown]:
            row, values = stats.loc["pairwise_accuracy"], table["pairwise_accuracy"].to_numpy(float)
            drawing = figures_scores.identification_figure(
                values, float(row["chance"]), float(row["mean"]), float(row["ci_low"]), float(row["ci_high"])
            )
            placed["identification"] = self._figure(
                result, "identification", drawing, "histogram of pairwise identification", _identified(values)
            )
        compared = [row for row in rows if known(stats.loc[row.metric, "null_mean"])]
        if compared:
            records = [stats.loc[row.metric].to_dict() for row in compared]
            drawing = figures_scores.null_figure([row.name for row in compared], records)
            caption = f"Each metric beside its null distribution (n = {len(table)} stimuli)."
            placed["null"] = self._figure(result, "null", drawing, "metrics and their null distributions", caption)
        placed.update(self._attribute_figure(result, table, stats))
        return placed

    def _attribute_figure(self, result: Result, table: pd.DataFrame, stats: pd.DataFrame) -> dict[str, PlacedFigure]:
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
        return {"attributes": self._figure(result, "attributes", drawing, "true against predicted attributes", caption)}


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
