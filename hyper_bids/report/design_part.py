"""What the page says about the design: single trials, one model over all runs, or maps that were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.derivatives.names import Scope
from hyper_bids.errors import count
from hyper_bids.report import figures_design
from hyper_bids.report.gallery import FigureFolder, PlacedFigure
from hyper_bids.report.methods_responses import GIVEN, PARAMETRIC, given_kind
from hyper_bids.report.scores import known
from hyper_bids.report.tables import Table, cell, nuisance_cells


@dataclass
class DesignPart:
    """Title and sentences, figures, and a table of the runs (or maps)."""

    title: str
    sentences: list[str]
    runs_title: str
    runs: Table
    figures: list[PlacedFigure] = field(default_factory=list)


def design_part(
    task: Mapping[str, Any],
    facts: Mapping[str, Any],
    design: Mapping[str, np.ndarray],
    folder: FigureFolder,
    *,
    automatic: bool,
) -> DesignPart:
    """Describe the design of one task.

    Parameters
    ----------
    task : of the report's context
    facts : of the pooling step
    design : arrays of `build_designs` or `build_parametric_designs`; empty where maps were given
    folder : where figures go
    automatic : whether the app chose between LSA and LSS
    """
    if facts["mode"] == GIVEN:
        return _given(task, facts)
    scope = Scope(**task["scope"])
    if facts["mode"] == PARAMETRIC:
        return DesignPart(
            "Design", _parametric_words(facts), "Runs and trials", _parametric_runs(facts, task["recordings"]),
            _parametric_figures(scope, facts, design, folder),
        )  # fmt: skip
    return DesignPart(
        "Design", [_trial_words(facts, automatic)], "Runs and trials", _trial_runs(facts, task["recordings"]),
        _trial_figures(scope, facts, design, folder),
    )  # fmt: skip


# --- maps that were given


def _given(task: Mapping[str, Any], facts: Mapping[str, Any]) -> DesignPart:
    maps = task.get("maps", [])
    said = (
        f"Response maps that existed already were decoded: {count(facts['n_trials'], 'response')} in "
        f"{count(facts['n_maps'], 'file')} ({given_kind(facts)}). No model was fitted to BOLD, so there is no design "
        "to show."
    )
    rows = [[str(item.get("label", "")), given_kind(item), Path(str(item.get("image", ""))).name] for item in maps]
    columns = [("Run", False), ("What it holds", False), ("File", False)]
    return DesignPart("Responses", [said], "Maps and responses", Table("The files that were read.", columns, rows))


# --- single trials

MODES = {
    "lsa": "LSA: one model per run with a regressor for every trial.",
    "lss": "LSS: one model per trial, the trial against the rest.",
}


def _trial_words(facts: Mapping[str, Any], automatic: bool) -> str:
    said = MODES.get(facts["mode"], f"Model of trials: {facts['mode']}.")
    if facts.get("median_vif") is None:
        return said
    chosen = " (the app takes LSS above 5)" if automatic else ""
    inflation = f"{facts['median_vif']:.1f}"
    return f"{said} The median variance inflation of the trial regressors is {inflation} over all runs{chosen}."


def _trial_runs(facts: Mapping[str, Any], recordings: list[Mapping[str, Any]]) -> Table:
    lss = (
        "Regressors: trials and nuisance. Rank: of the nuisance regressors, to which a trial's own model adds two. "
        if facts["mode"] == "lss"
        else ""
    )
    caption = (
        f"{lss}Degrees of freedom are those of a trial's own model. Variance inflation: median over the run's trials. "
        "Condition number: of the design with every trial, columns scaled to unit length."
    )
    headings = (
        "Volumes", "TR (s)", "Trials", "Regressors", "Rank", "d.f.", "Variance inflation", "Condition number",
        "Drift and constant",
    )  # fmt: skip
    rows = [
        [
            run["run"], str(run["n_volumes"]), f"{run['repetition_time']:g}", str(run["n_trials"]),
            cell(run["n_regressors"]), cell(run["rank"]), cell(run["dof"]), cell(run["median_vif"], ".1f"),
            cell(run["condition_number"], ".3g"), *nuisance_cells(run, recording),
        ]
        for run, recording in zip(facts["runs"], recordings, strict=True)
    ]  # fmt: skip
    return Table(caption, [("Run", False), *((name, True) for name in headings), ("Other nuisance", False)], rows)


def _trial_figures(
    scope: Scope, facts: Mapping[str, Any], design: Mapping[str, np.ndarray], folder: FigureFolder
) -> list[PlacedFigure]:
    index = next((k for k, run in enumerate(facts["runs"]) if run["n_trials"]), None)
    if index is None:
        return []
    run = facts["runs"][index]
    trials, nuisance, times = _arrays(design, index)
    note = (
        " In LSS one trial at a time stands against the sum of the others; here all are drawn side by side."
        if facts["mode"] == "lss"
        else ""
    )
    first = "the first run with trials" if len(facts["runs"]) > 1 else "the run"
    neighbours = figures_design.neighbour_correlation(trials)
    nearby = f" Successive trials correlate with r = {neighbours:.2f} on average." if known(neighbours) else ""
    matrix = figures_design.design_figure(trials, nuisance, run["nuisance"], times)
    caption = (
        f"Design of {run['run']}, {first}: {count(run['n_trials'], 'trial')} and "
        f"{count(len(run['nuisance']), 'nuisance regressor')} over {len(times)} volumes. Each column is scaled to its "
        f"largest value.{note}"
    )
    correlation = figures_design.correlation_figure(trials, nuisance)
    others = f"Correlation of all regressors of {run['run']} but the constant.{nearby}"
    return [
        folder.save(scope.figure("design"), matrix, f"design matrix of {run['run']}", caption),
        folder.save(scope.figure("designcorrelation"), correlation, _correlated(run), others),
    ]


def _arrays(design: Mapping[str, np.ndarray], index: int) -> tuple[np.ndarray, ...]:
    return tuple(design[f"{name}_{index:04d}"] for name in ("trials", "nuisance", "times"))


def _correlated(run: Mapping[str, Any]) -> str:
    return f"correlation of the regressors of {run['run']}"


# --- one model over all runs


def _parametric_words(facts: Mapping[str, Any]) -> list[str]:
    n_latents = facts.get("n_latents")
    latents = f"the {n_latents} latents" if n_latents else "the latents"
    said = [
        f"One model over all runs: a regressor for the training stimuli, {latents} as its modulators, and a regressor "
        "for each test stimulus (and for each further kind of event). It gives one coefficient per latent and one per "
        "test stimulus, and no single-trial responses."
    ]
    told = [
        f"{count(facts['n_train'], 'training trial')}" if facts.get("n_train") is not None else "",
        f"{facts['dof']} degrees of freedom" if facts.get("dof") is not None else "",
        f"condition number {facts['condition_number']:.3g} (regressors without nuisance, scaled to unit length)"
        if facts.get("condition_number") is not None
        else "",
    ]
    numbers = ", ".join(part for part in told if part)
    return [*said, f"{numbers[0].upper()}{numbers[1:]}."] if numbers else said


def _parametric_runs(facts: Mapping[str, Any], recordings: list[Mapping[str, Any]]) -> Table:
    caption = (
        "Trials are samples; other events have regressors too. Volumes left: volumes less the rank of the run's own "
        "nuisance regressors; variance inflation and condition number belong to the model of all runs."
    )
    headings = ("Volumes", "TR (s)", "Training trials", "Test trials", "Volumes left", "Drift and constant")
    rows = [
        [
            run["run"], str(run["n_volumes"]), f"{run['repetition_time']:g}", cell(run.get("n_train")),
            cell(run["n_trials"] - run["n_train"] if run.get("n_train") is not None else None), cell(run["dof"]),
            *nuisance_cells(run, recording),
        ]
        for run, recording in zip(facts["runs"], recordings, strict=True)
    ]  # fmt: skip
    return Table(caption, [("Run", False), *((name, True) for name in headings), ("Other nuisance", False)], rows)


def _parametric_figures(
    scope: Scope, facts: Mapping[str, Any], design: Mapping[str, np.ndarray], folder: FigureFolder
) -> list[PlacedFigure]:
    runs = facts["runs"]
    index = next((k for k, run in enumerate(runs) if run.get("n_train")), None)
    if index is None or f"mixing_{index:04d}" not in design:
        return []
    run = runs[index]
    events, nuisance, times = _arrays(design, index)
    shared = events @ design[f"mixing_{index:04d}"]
    shared = shared[:, np.abs(shared).max(axis=0, initial=0) > 0]
    first = "the first run with training trials" if len(runs) > 1 else "the run"
    words = figures_design.SHARED
    matrix = figures_design.design_figure(shared, nuisance, run["nuisance"], times, words)
    caption = (
        f"Design of {run['run']}, {first}: the {count(shared.shape[1], 'regressor')} of the model over all runs that "
        f"occur in it, in the order training stimuli, other events, test stimuli, latents, and "
        f"{count(len(run['nuisance']), 'nuisance regressor')} of its own, over {len(times)} volumes. Each column is "
        "scaled to its largest value."
    )
    correlation = figures_design.correlation_figure(shared, nuisance, words)
    others = (
        f"Correlation of these regressors in {run['run']} alone, but for the constant. The model tells them "
        "apart by all runs together."
    )
    return [
        folder.save(scope.figure("design"), matrix, f"design matrix of {run['run']}", caption),
        folder.save(scope.figure("designcorrelation"), correlation, _correlated(run), others),
    ]
