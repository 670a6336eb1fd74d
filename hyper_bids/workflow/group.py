"""The group level: reads the output folder only, and aggregates whatever it finds there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.derivatives.names import group_name
from hyper_bids.derivatives.sidecars import Provenance
from hyper_bids.derivatives.write import write_json, write_tsv
from hyper_bids.errors import count, listing
from hyper_bids.settings import Execution, Settings
from hyper_bids.workflow import group_covariates
from hyper_bids.workflow.group_comparison import COLUMNS, Comparison, compare_all
from hyper_bids.workflow.group_results import (
    KEY,
    Key,
    Results,
    check_alike,
    find_results,
    name_absent,
    title_of,
)

if TYPE_CHECKING:
    import pandas as pd

HEADLINES = ("latent_correlation", "pairwise_accuracy", "ssim")
"""The first of these that participants were tested on is counted in the words on single participants."""


def run_group(bids_dir: Path, output_dir: Path, settings: Settings, execution: Execution) -> int:
    """Write the group's tables and group.html; return the exit code.

    Raises
    ------
    MissingFiles
        No participant has results yet, or one that was asked for has none.
    InconsistentInput
        Participants were processed with different versions or settings (unless ``--allow-mixed``).
    """
    from hyper_bids.report.group import write_group_report

    output_dir = Path(output_dir).absolute()
    found, incomplete = find_results(output_dir, execution.participant_label, execution.task_id)
    if execution.dry_run:
        for key, tables in found.items():
            print(f"{title_of(key)}: {listing(sorted(tables), 20)}")
        return 0
    results = [Results(key, paths) for key, paths in found.items()]
    for result in results:
        result.read()
    check_alike(results, settings.evaluate.allow_mixed)
    name_absent(results, incomplete, bids_dir, output_dir, execution.participant_label)
    seed, quiet = settings.evaluate.random_seed, execution.quiet
    reports = [_write_results(output_dir, result, seed) for result in results]
    comparisons = [_write_comparison(output_dir, made, seed) for made in compare_all(results, seed)]
    for result in results:
        for notice in result.notices:
            print(f"warning: {notice}")
        if not quiet:
            print(f"{result.title}: {count(len(result.paths), 'participant')}")
    page = write_group_report(output_dir, reports, comparisons, _other_tasks(output_dir, execution.task_id))
    if not quiet:
        print(f"group: done; open {page}")
    return 0


def _other_tasks(output: Path, asked: tuple[str, ...]) -> set[str]:
    """Tasks with results that were not asked for."""
    tasks = {str(key[KEY.index("task")]) for key in find_results(output, (), ())[0]} if asked else set()
    return tasks - set(asked)


def _names(key: Key) -> dict[str, Any]:
    names: dict[str, Any] = dict(zip(KEY, key, strict=True))
    names["resolution"] = names.pop("res")
    return names


def _write(output: Path, key: Key, suffix: str, table: pd.DataFrame, content: dict[str, Any]) -> None:
    names = _names(key)
    write_tsv(output / group_name(suffix=suffix, extension=".tsv", **names), table)
    write_json(output / group_name(suffix=suffix, extension=".json", **names), content)


def _stamp(output: Path, results: list[Results], seed: int) -> Provenance:
    paths = sorted(path for result in results for path in result.paths.values())
    sources = tuple(f"bids::{path.relative_to(output).as_posix()}" for path in paths)
    inputs, settings = (
        "+".join(dict.fromkeys(result.joined(name) for result in results)) for name in ("InputDigest", "Settings")
    )
    return Provenance(sources, inputs, settings, seed)


def _write_results(output: Path, result: Results, seed: int) -> dict[str, Any]:
    """Write the tables of one key; return what the report says about it."""
    from hyper_bids.evaluate.dictionary import metrics_dictionary, stats_dictionary
    from hyper_bids.evaluate.group import group_stats

    stamp, n = _stamp(output, [result], seed), len(result.paths)
    combined, tested = result.stacked, group_stats(result.stats, result.metrics, seed)
    for suffix, table, dictionary in (
        ("groupmetrics", combined, metrics_dictionary(combined.columns)),
        ("groupstats", tested, stats_dictionary(tested.columns)),
    ):
        content = stamp.stamp(Description=f"{suffix} of {count(n, 'participant')}", **dictionary)
        _write(output, result.key, suffix, table, content)
    covariates = _write_covariates(output, result, stamp, seed)
    words = _words(result)
    return {
        **_names(result.key), "metrics": combined.astype({"participant_id": object, "stimulus_id": object}),
        "stats": tested, "notices": result.notices, "words": words,
        "covariates": covariates, "differing": result.differing,
        "provenance": {
            "Version of the participants' runs": result.joined("SoftwareVersion"),
            "Settings digest of the scores": stamp.settings, "Random seed": seed,
            "Digests of the input files": listing(stamp.inputs.split("+"), 12),
        },
    }  # fmt: skip


def _write_covariates(output: Path, result: Results, stamp: Provenance, seed: int) -> pd.DataFrame | None:
    known, differing = group_covariates.merged_covariates(result.covariates)
    if known is None:
        return None
    if differing:
        result.notices.append(
            f"{result.title}: participants have different values of {listing(differing)} for the same stimulus; those "
            "of the first participant are taken."
        )
    table = group_covariates.covariate_rows(result.stacked, known, seed)
    if table.empty:
        return None
    text = f"accuracy, averaged over {count(len(result.paths), 'participant')}, against what is known of the stimuli"
    content = stamp.stamp(Description=text, Complexity=result.codec, **group_covariates.COLUMNS)
    _write(output, result.key, "groupcovariates", table, content)
    return table


def _words(result: Results) -> tuple[str, ...]:
    """What may be said about so many participants, by the p of each."""
    from hyper_bids.evaluate.few_participants import few_participants_words

    for metric in HEADLINES:
        p = [
            float(value)
            for table in result.stats.values()
            for value in table.loc[(table["metric"] == metric) & table["p_value"].notna(), "p_value"]
        ]
        if p:
            return few_participants_words(len(result.paths), 1, p)
    return few_participants_words(len(result.paths))


def _write_comparison(output: Path, made: Comparison, seed: int) -> dict[str, Any]:
    results = list(made.results.values())
    said = {"Compared": made.what, "Models": list(made.results), "Words": list(made.words), "LeftOut": made.notices}
    content = _stamp(output, results, seed).stamp(
        Description=f"{made.what} compared over participants", **said, **COLUMNS
    )
    if len(made.table):
        _write(output, made.key, "groupcomparison", made.table, content)
    return {
        **_names(made.key), "what": made.what, "models": list(made.results), "table": made.table,
        "words": made.words, "notices": made.notices,
    }  # fmt: skip
