"""The group level: reads the output folder only, and aggregates whatever it finds there."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids import __version__
from hyper_bids.derivatives.names import entities_of, group_name
from hyper_bids.derivatives.sidecars import Provenance
from hyper_bids.derivatives.write import write_json, write_tsv
from hyper_bids.errors import MissingFiles, listing
from hyper_bids.settings import Execution, Settings
from hyper_bids.workflow import files

if TYPE_CHECKING:
    import pandas as pd

KEY = ("task", "space", "res", "model", "desc")


def run_group(bids_dir: Path, output_dir: Path, settings: Settings, execution: Execution) -> int:
    """Write groupmetrics, groupstats and group.html; return the exit code.

    Raises
    ------
    MissingFiles
        No participant has results yet, or one that was asked for has none.
    """
    from hyper_bids.evaluate.dictionary import metrics_dictionary, stats_dictionary
    from hyper_bids.evaluate.group import group_metrics, group_stats
    from hyper_bids.report.group import write_group_report

    output_dir = Path(output_dir).absolute()
    found = find_results(output_dir, execution.participant_label, execution.task_id)
    if execution.dry_run:
        for key, tables in found.items():
            print(f"{_title(key)}: {listing(sorted(tables), 20)}")
        return 0
    seed, reports = settings.evaluate.random_seed, []
    for key, tables in found.items():
        metrics, stats, sidecars = {}, {}, []
        for name, path in sorted(tables.items()):
            metrics[name], sidecar = read_results(path)
            stats[name], _ = read_results(path.with_name(path.name.replace("_metrics.tsv", "_stats.tsv")))
            sidecars.append(sidecar)
        notices = _notices(key, sidecars, bids_dir, tables)
        for notice in notices:
            print(f"warning: {notice}")
        names: dict[str, Any] = dict(zip(KEY, key, strict=True))
        names["resolution"] = names.pop("res")
        sources = tuple(f"bids::{path.relative_to(output_dir).as_posix()}" for _, path in sorted(tables.items()))
        stamp = Provenance(sources, _joined(sidecars, "InputDigest"), _joined(sidecars, "Settings"), seed)
        combined, tested = group_metrics(metrics), group_stats(stats, metrics, seed)
        for suffix, table, dictionary in (
            ("groupmetrics", combined, metrics_dictionary(combined.columns)),
            ("groupstats", tested, stats_dictionary(tested.columns)),
        ):
            write_tsv(output_dir / group_name(suffix=suffix, extension=".tsv", **names), table)
            content = stamp.stamp(Description=f"{suffix} of {len(tables)} participants", **dictionary)
            write_json(output_dir / group_name(suffix=suffix, extension=".json", **names), content)
        reports.append({**names, "metrics": combined, "stats": tested, "notices": notices})
        if not execution.quiet:
            print(f"{_title(key)}: {len(tables)} participants")
    page = write_group_report(output_dir, reports)
    if not execution.quiet:
        print(f"group: done; open {page}")
    return 0


def find_results(
    output_dir: Path, participants: tuple[str, ...], tasks: tuple[str, ...]
) -> dict[tuple[str | None, ...], dict[str, Path]]:
    """Return (task, space, res, model, desc) -> participant -> metrics.tsv."""
    found: dict[tuple[str | None, ...], dict[str, Path]] = defaultdict(dict)
    for path in sorted(output_dir.glob("sub-*/func/sub-*_metrics.tsv")):
        entities = entities_of(path.name)
        if (participants and entities["sub"] not in participants) or (tasks and entities["task"] not in tasks):
            continue
        complete = path.with_suffix(".json").is_file() and path.with_name(
            path.name.replace("_metrics.tsv", "_stats.tsv")
        ).is_file()
        if complete:
            found[tuple(entities.get(name) for name in KEY)][f"sub-{entities['sub']}"] = path
    there = {name for tables in found.values() for name in tables}
    missing = [label for label in participants if f"sub-{label}" not in there]
    if missing or not found:
        who = listing([f"sub-{label}" for label in missing]) if missing else "any participant"
        raise MissingFiles(
            f"{output_dir} holds no results of {who}. Run the participant level first: "
            "hyper BIDS_DIR OUTPUT_DIR participant."
        )
    return dict(found)


def read_results(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table with its sidecar, and hold the one to the other.

    Raises
    ------
    MissingFiles
        Either is damaged, or columns that the sidecar describes are not there.
    """
    try:
        table = files.load_table(path)
        sidecar = json.loads(path.with_suffix(".json").read_text("utf-8"))
        described = {name for name, entry in sidecar.items() if isinstance(entry, dict) and "LongName" in entry}
        whole = described <= set(table.columns) and len(table) > 0
    except (OSError, ValueError, AttributeError) as error:
        raise MissingFiles(f"{path} or its JSON is damaged ({error}); run that participant again.") from error
    if not whole:
        raise MissingFiles(f"{path} is not complete; run that participant again.")
    return table, sidecar


def _title(key: tuple[str | None, ...]) -> str:
    return " ".join(f"{name}-{value}" for name, value in zip(KEY, key, strict=True) if value)


def _joined(sidecars: list[dict[str, Any]], name: str) -> str:
    return "+".join(sorted({str(sidecar.get(name, "")) for sidecar in sidecars}))


def _notices(
    key: tuple[str | None, ...], sidecars: list[dict[str, Any]], bids_dir: Path, tables: dict[str, Path]
) -> list[str]:
    notices = []
    for name, what in (
        ("SoftwareVersion", "versions of hyper"),
        ("Settings", "settings"),
        ("TrialModel", "trial models (--glm auto decides for each participant; choose lsa or lss for all)"),
    ):
        values = sorted({str(sidecar.get(name)) for sidecar in sidecars})
        if len(values) > 1:
            notices.append(f"{_title(key)}: participants were processed with different {what}: {', '.join(values)}.")
    if any(sidecar.get("SoftwareVersion") != __version__ for sidecar in sidecars):
        notices.append(f"{_title(key)}: made by another version than this one ({__version__}).")
    known = {path.name for path in Path(bids_dir).glob("sub-*") if path.is_dir()}
    absent = sorted(known - set(tables))
    if absent:
        notices.append(f"{_title(key)}: {len(absent)} participants of the dataset have no results: {listing(absent)}.")
    return notices
