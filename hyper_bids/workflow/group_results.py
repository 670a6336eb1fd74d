"""Participants' results as the group finds them in the output folder: read, complete or not, alike or not."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids import __version__
from hyper_bids.derivatives.names import entities_of
from hyper_bids.errors import InconsistentInput, MissingFiles, count, listing
from hyper_bids.workflow.files import TEXT_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

KEY = ("task", "space", "res", "model", "desc")
Key = tuple[str | None, ...]

MUST_AGREE = (("SoftwareVersion", "versions of hyper"), ("Settings", "settings"))
"""Entries of a sidecar that have to be the same in all participants, and what they are called."""

SHOULD_AGREE = (
    ("TrialModel", "trial models (--glm auto decides for each participant; choose lsa or lss for all)"),
)


@dataclass
class Results:
    """All participants' results of one task, space, decoder and latent space.

    Parameters
    ----------
    key : (task, space, res, model, desc)
    paths, metrics, stats, sidecars, covariates : by participant; covariates of those who have them
    codec : how complexity was measured, where it was
    notices : who is missing, and what differs
    """

    key: Key
    paths: dict[str, Path]
    metrics: dict[str, pd.DataFrame] = field(default_factory=dict)
    stats: dict[str, pd.DataFrame] = field(default_factory=dict)
    sidecars: dict[str, dict[str, Any]] = field(default_factory=dict)
    covariates: dict[str, pd.DataFrame] = field(default_factory=dict)
    codec: dict[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The key for people."""
        return title_of(self.key)

    def read(self) -> None:
        """Read all tables, and hold them to their sidecars.

        Raises
        ------
        MissingFiles
            A table is damaged, or columns that the sidecar describes, or rows of tests, are not there.
        """
        for name, path in sorted(self.paths.items()):
            self.metrics[name], self.sidecars[name] = read_results(path)
            self.stats[name] = read_results(sibling(path, "stats"))[0]
            lost = _without_test(self.metrics[name], self.stats[name])
            if lost:
                raise MissingFiles(
                    f"{sibling(path, 'stats')} is not complete: {listing(lost)} of {path.name} have no row. Run that "
                    "participant again."
                )
            beside = sibling(path, "stimuluscovariates")
            if beside.is_file():
                self.covariates[name], sidecar = read_results(beside)
                self.codec = self.codec or dict(sidecar.get("Complexity") or {})

    @cached_property
    def stacked(self) -> pd.DataFrame:
        """All participants' scores in one table: ``participant_id`` and ``stimulus_id`` as categories, and metrics."""
        from hyper_bids.evaluate.group import group_metrics

        whole = group_metrics(self.metrics)
        return whole.astype(dict.fromkeys(("participant_id", "stimulus_id"), "category"))

    @property
    def differing(self) -> dict[str, dict[str, list[str]]]:
        """What should be the same in all participants and is not -> value -> participants."""
        found = {what.partition(" (")[0]: _by_value(self, name) for name, what in (*MUST_AGREE, *SHOULD_AGREE)}
        return {what: values for what, values in found.items() if len(values) > 1}

    def joined(self, name: str) -> str:
        """The different values of a sidecar's entry, joined."""
        return "+".join(sorted({str(sidecar.get(name, "")) for sidecar in self.sidecars.values()}))


def _without_test(metrics: pd.DataFrame, stats: pd.DataFrame) -> list[str]:
    """Return metrics that were computed and of which stats.tsv says nothing."""
    from hyper_bids.evaluate.metrics import METRICS

    tested = set(stats["metric"].astype(str))
    return [name for name in METRICS if name in metrics and name not in tested and metrics[name].notna().any()]


def title_of(key: Key) -> str:
    """Write a key for people: the entities that it has."""
    return " ".join(f"{name}-{value}" for name, value in zip(KEY, key, strict=True) if value)


def sibling(path: Path, suffix: str) -> Path:
    """Return the table of another suffix beside a metrics.tsv."""
    return path.with_name(path.name.replace("_metrics.tsv", f"_{suffix}.tsv"))


def find_results(
    output_dir: Path, participants: tuple[str, ...], tasks: tuple[str, ...]
) -> tuple[dict[Key, dict[str, Path]], dict[Key, list[str]]]:
    """Return key -> participant -> metrics.tsv, and key -> participants whose results are not complete.

    Raises
    ------
    MissingFiles
        No participant has results, or one that was asked for has none.
    """
    found: dict[Key, dict[str, Path]] = defaultdict(dict)
    incomplete: dict[Key, list[str]] = defaultdict(list)
    for path in sorted(Path(output_dir).glob("sub-*/func/sub-*_metrics.tsv")):
        entities = entities_of(path.name)
        if (participants and entities["sub"] not in participants) or (tasks and entities["task"] not in tasks):
            continue
        key, name = tuple(entities.get(part) for part in KEY), f"sub-{entities['sub']}"
        if path.with_suffix(".json").is_file() and sibling(path, "stats").is_file():
            found[key][name] = path
        else:
            incomplete[key].append(name)
    there = {name for tables in found.values() for name in tables}
    missing = [label for label in participants if f"sub-{label}" not in there]
    if missing or not found:
        who = listing([f"sub-{label}" for label in missing]) if missing else "any participant"
        raise MissingFiles(
            f"{output_dir} holds no results of {who}. Run the participant level first: "
            "hyper BIDS_DIR OUTPUT_DIR participant."
        )
    return dict(found), dict(incomplete)


def read_results(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table with its sidecar, and hold the one to the other.

    Raises
    ------
    MissingFiles
        Either is damaged, or columns that the sidecar describes are not there.
    """
    try:
        table = parse_table(path.read_text("utf-8"))
        sidecar = json.loads(path.with_suffix(".json").read_text("utf-8"))
        described = {name for name, entry in sidecar.items() if isinstance(entry, dict) and "LongName" in entry}
        whole = described <= set(table.columns) and len(table) > 0
    except (OSError, ValueError, AttributeError) as error:
        raise MissingFiles(f"{path} or its JSON is damaged ({error}); run that participant again.") from error
    if not whole:
        raise MissingFiles(f"{path} is not complete; run that participant again.")
    return table, sidecar


def parse_table(text: str) -> pd.DataFrame:
    """Read a TSV of our own output, several times as fast as pandas reads small ones.

    Numbers are float64, ``n/a`` NaN; labels, and columns that hold other text, stay text.

    Raises
    ------
    ValueError
        Rows of different lengths, or no header.
    """
    import pandas as pd

    header, *lines = text.rstrip("\n").split("\n")
    names = header.split("\t")
    if not header or not lines:
        raise ValueError("no rows")
    columns = zip(*(line.split("\t") for line in lines), strict=True)
    parsed = {name: _column(name, cells) for name, cells in zip(names, columns, strict=True)}
    return pd.DataFrame(parsed, columns=names)


def _column(name: str, cells: tuple[str, ...]) -> Any:
    import pandas as pd

    if name not in TEXT_COLUMNS:
        try:
            return np.array([np.nan if cell == "n/a" else float(cell) for cell in cells])
        except ValueError:
            cells = tuple(None if cell == "n/a" else cell for cell in cells)
    return pd.Series(list(cells), dtype=object)


def check_alike(results: list[Results], allow_mixed: bool) -> None:
    """Refuse participants of other versions or settings; or, where that is allowed, say so in their notices.

    Raises
    ------
    InconsistentInput
        They differ, and ``--allow-mixed`` was not given.
    """
    for result in results:
        for name, what in MUST_AGREE:
            values = _by_value(result, name)
            if len(values) < 2:
                continue
            told = "; ".join(f"{value}: {listing(who)}" for value, who in values.items())
            if not allow_mixed:
                raise InconsistentInput(
                    f"{result.title}: participants were processed with different {what} ({told}). What they have in "
                    "common cannot be told from what was done to them. Process all of them with the same command, "
                    "name those that belong together with --participant-label, or pass --allow-mixed."
                )
            result.notices.append(f"{result.title}: participants were processed with different {what} ({told}).")
        for name, what in SHOULD_AGREE:
            if len(_by_value(result, name)) > 1:
                told = ", ".join(_by_value(result, name))
                result.notices.append(f"{result.title}: participants were processed with different {what}: {told}.")
        if any(sidecar.get("SoftwareVersion") != __version__ for sidecar in result.sidecars.values()):
            result.notices.append(f"{result.title}: made by another version than this one ({__version__}).")


def _by_value(result: Results, name: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = defaultdict(list)
    for who, sidecar in result.sidecars.items():
        values[str(sidecar.get(name))].append(who)
    return dict(values)


def name_absent(
    results: list[Results], incomplete: dict[Key, list[str]], bids_dir: Path, output_dir: Path,
    selected: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Add to the notices who is not in the results, and whether his processing was begun."""
    known = {path.name for path in Path(bids_dir).glob("sub-*") if path.is_dir()}
    if selected:
        known &= {f"sub-{label}" for label in selected}
    everyone = {name for result in results for name in result.paths}
    for result in results:
        absent = sorted(known - everyone)
        begun = [name for name in absent if (Path(output_dir) / "logs" / name).is_dir()]
        elsewhere = sorted(
            {name for other in results if other.key[0] == result.key[0] for name in other.paths} - set(result.paths)
        )
        broken = sorted(set(incomplete.get(result.key, [])) - set(result.paths))
        if absent:
            who = count(len(absent), "participant")
            text = f"{result.title}: no results of {who} of the dataset: {listing(absent, 20)}"
            text += f"; begun and not finished (see logs/): {listing(begun, 20)}." if begun else "."
            result.notices.append(text)
        if elsewhere:
            result.notices.append(
                f"{result.title}: of {count(len(elsewhere), 'participant')} there are results of other decoders or "
                f"latent spaces, and none of this: {listing(elsewhere, 20)}."
            )
        if broken:
            result.notices.append(
                f"{result.title}: results of {count(len(broken), 'participant')} left out, since they are not "
                f"complete: {listing(broken, 20)}."
            )
