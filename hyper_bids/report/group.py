"""The group's report: participants beside each other, and what they say together."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np

from hyper_bids import __version__
from hyper_bids.derivatives.names import Scope, file_name, label
from hyper_bids.derivatives.write import write_text
from hyper_bids.errors import listing
from hyper_bids.report import pictures, summary
from hyper_bids.report.figures_group import distribution_figure, participants_figure
from hyper_bids.report.gallery import FigureFolder, Gallery
from hyper_bids.report.group_audits import CheckRow, audit_warnings, check_rows, read_audits
from hyper_bids.report.group_figures import GroupFigures
from hyper_bids.report.group_methods import write_group_methods
from hyper_bids.report.group_tables import comparison_part, covariate_table, draw_comparison, entities_of_table
from hyper_bids.report.notices import once
from hyper_bids.report.page import render
from hyper_bids.report.read import read_table
from hyper_bids.report.scores import ScoreRow, attribute_rows, known, main_rows, number
from hyper_bids.report.tables import Table
from hyper_bids.report.thumbnails import Quality, Thumbnail, read_picture
from hyper_bids.report.words import combined_floor, smallest_possible_p

if TYPE_CHECKING:
    import pandas as pd

GROUP = "group"
FIGURES = ("latent_correlation", "pairwise_accuracy", "top1", "ssim")
"""Metrics that are drawn; the table has them all."""

MANY = 40
"""Participants from whom on single ones are no longer drawn beside each other."""

LISTED = 200
"""Participants in the table of the page; the files have all."""

SIDE_BY_SIDE = 12
"""Participants whose reconstructions are shown."""

WHICH = re.compile(r"^task-\S+( [a-z]+-\S+)*: ")
"""What a notice names its result by; the page has a name for people before it."""

COLUMNS = ("mean", "sem", "ci_low", "ci_high", "null_mean", "null_sd", "chance")


@dataclass(frozen=True)
class GroupCard:
    """A stimulus that all participants saw, with everybody's reconstruction."""

    stimulus: str
    rank: int
    shown: list[pictures.Shown]
    score: str


@dataclass
class GroupPart:
    """What the page says about one task, space, decoder and latent space."""

    key: str
    title: str
    where: list[tuple[str, str]]
    finding: str
    line: str
    sentences: list[str]
    notices: list[str]
    participants: list[tuple[str, str, list[ScoreRow | None]]]
    columns: list[str]
    rows: list[ScoreRow]
    attributes: list[tuple[ScoreRow, ScoreRow | None]]
    entities: dict[str, str | None]
    cards: list[GroupCard]
    n_shared: int
    sorted_by: str
    words: list[str]
    covariates: Table | None
    people: list[str]
    checks: list[CheckRow]
    warnings: list[tuple[str, str, str]]
    provenance: Mapping[str, Any]


def write_group_report(
    output: Path, tables: list[dict[str, Any]], comparisons: Sequence[Mapping[str, Any]] = (),
    other_tasks: Collection[str] = (),
) -> Path:  # fmt: skip
    """Write ``group.html`` into the output folder, and the methods text beside it (``logs/group_CITATION.md``).

    Parameters
    ----------
    output : the output dataset; reconstructions, ``recon.tsv`` and ``audit.json`` are read from it
    tables : one per task, space, model and latent space: ``task``, ``space``, ``resolution``, ``model``,
        ``desc``, ``metrics`` (groupmetrics), ``stats`` (groupstats), ``notices``; where there are,
        ``words`` (what so many participants can show), ``covariates`` (groupcovariates), ``provenance``
        (entries of the participants' sidecars that say what made them) and ``differing`` (what -> value ->
        participants, of entries that should be the same)
    comparisons : one per set of decoders or latent spaces: the names, ``what``, ``models``, ``table``
        (groupcomparison), ``words``, ``notices``
    other_tasks : with results that were not asked for: figures of an earlier run about them stay, all others that
        this run does not write are deleted

    Returns
    -------
    path of ``group.html``
    """
    output = Path(output)
    description = _description(output)
    raw = _raw_folder(output, description)
    problems: list[str] = []
    figures = GroupFigures(output)
    folder = FigureFolder(figures)
    parts = [
        _part(output, raw, table, title, problems, folder)
        for table, title in zip(tables, titles(tables), strict=True)
    ]
    for made in comparisons:
        draw_comparison(made, folder)
    figures.remove_stale(other_tasks)  # before the page lists what there is
    notices = [
        (status, said) for status in ("FAIL", "WARN")
        for said in once([(check, part.title, text) for part in parts for kind, check, text in part.warnings
                          if kind == status])
    ]  # fmt: skip
    notices += [("NOTE", said) for said in once([(text, part.title, text) for part in parts for text in part.notices])]
    notices += [("WARN", problem) for problem in dict.fromkeys(problems)]
    people = sorted({who for part in parts for who in part.people})
    html = render(
        "group.html",
        gallery=Gallery([output], "figures"),
        name=str(description.get("Name", "hyper")).removeprefix("hyper: "),
        version=__version__,
        parts=parts,
        comparisons=[comparison_part(made) for made in comparisons],
        several=len(parts) > 1,
        notices=notices,
        raw=str(raw or "unknown"),
        people=listing(people, MANY),
        provenance=provenance_rows(parts),
        methods_of=write_group_methods(output, {part.title: part.people for part in parts}, tables, comparisons),
    )
    return write_text(output / "group.html", html)


def titles(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name every result by task and decoder, and by what else tells it from the others.

    >>> one = {"task": "faces", "model": "map", "desc": "z", "space": "MNI", "resolution": "2"}
    >>> titles([one, {**one, "model": "ols"}]), titles([one, {**one, "space": ""}])
    (['faces, map', 'faces, ols'], ['faces, map, MNI', 'faces, map'])
    """
    differing = [name for name in ("desc", "space", "resolution") if len({table.get(name) for table in tables}) > 1]
    return [
        ", ".join(str(table[name]) for name in ("task", "model", *differing) if table.get(name)) for table in tables
    ]


def provenance_rows(parts: Sequence[GroupPart]) -> list[tuple[str, Any]]:
    """Return (what, value) of what made the results: once where it is the same for all, else a row a result."""
    rows = []
    for name in dict.fromkeys(name for part in parts for name in part.provenance):
        found = {part.title: part.provenance[name] for part in parts if name in part.provenance}
        if len(found) == len(parts) and len({str(value) for value in found.values()}) == 1:
            rows.append((name, next(iter(found.values()))))
        else:
            rows += [(f"{name}: {title}", value) for title, value in found.items()]
    return rows


def _description(output: Path) -> dict[str, Any]:
    path = output / "dataset_description.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _raw_folder(output: Path, description: Mapping[str, Any]) -> Path | None:
    """Return the folder of the dataset that the output was made from; None where it is not here any more."""
    link = (description.get("DatasetLinks") or {}).get("raw")
    if not isinstance(link, str):
        return None
    parsed = urlparse(link)
    if parsed.scheme not in ("", "file"):
        return None
    folder = Path(os.path.normpath(Path(unquote(parsed.path)) if parsed.scheme else output / link))
    return folder if folder.is_dir() else None


def _part(
    output: Path, raw: Path | None, table: Mapping[str, Any], title: str, problems: list[str], folder: FigureFolder
) -> GroupPart:
    stats = table["stats"]
    people = [str(who) for who in dict.fromkeys(stats["participant_id"]) if who != GROUP]
    together = _with_floors(stats[stats["participant_id"] == GROUP], stats[stats["participant_id"] != GROUP])
    rows, _ = main_rows(together)
    finding, line = _line(rows, len(people))
    found_attributes = attribute_rows(together)
    tables = dict(list(stats.groupby("participant_id", sort=False)))
    own = {who: {row.metric: row for row in main_rows(tables[who])[0]} for who in people[:LISTED]}
    _draw(stats, people, rows, entities_of_table(table), folder)
    cards, n_shared, column = _cards(output, raw, table, people, problems)
    told = [row for row in rows if row.metric in summary.TOLD]
    about = [summary.attributes(found_attributes, together), summary.against_zero(rows, together)]
    audits = read_audits(output, table, people)
    return GroupPart(
        key=f"part-{label(title)}",
        title=title,
        where=_where(table),
        finding=finding,
        line=line,
        sentences=[*(row.sentence for row in told), *filter(None, about)],
        notices=[WHICH.sub("", str(notice)) for notice in table.get("notices", [])],
        participants=[_person(output, who, own[who], rows) for who in people[:LISTED]],
        columns=[row.name for row in rows],
        rows=rows,
        attributes=found_attributes,
        entities=entities_of_table(table),
        cards=cards,
        n_shared=n_shared,
        sorted_by=column.replace("_", " "),
        words=[str(sentence) for sentence in table.get("words", ())],
        covariates=covariate_table(table.get("covariates")),
        people=[f"sub-{who.removeprefix('sub-')}" for who in people],
        checks=check_rows(audits),
        warnings=[*audit_warnings(audits), *_without_audit(people, audits)],
        provenance=table.get("provenance", {}),
    )


def _without_audit(people: Sequence[str], audits: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name participants whose results nobody looked at."""
    lost = [name for who in people if (name := f"sub-{who.removeprefix('sub-')}") not in audits]
    if not lost:
        return []
    said = f"{len(lost)} of {len(people)} participants have no audit: {listing(lost, MANY)}."
    return [("WARN", " ".join(["no audit", *lost]), said)]


def _with_floors(together: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Add ``p_floor``, the smallest p that each combined test can give, from the participants' own tests."""
    floors = []
    for metric in together["metric"]:
        tested = own[(own["metric"] == metric) & own["p_value"].notna()].to_dict("records")
        two_sided = str(metric).startswith("attribute_") and len(tested) > 1
        floors.append(combined_floor([smallest_possible_p(row) for row in tested], two_sided))
    return together.assign(p_floor=floors)


def _where(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {"task": "Task", "space": "Space", "resolution": "Resolution", "model": "Decoder", "desc": "Latent space"}
    return [(name, str(table[key])) for key, name in names.items() if table.get(key)]


def _line(rows: list[ScoreRow], n_people: int) -> tuple[str, str]:
    finding, line = summary.verdict_line(rows)
    if n_people == 1:
        return finding, f"{line} There is one participant: this says nothing about others."
    return finding, (
        f"{line} This is about these {n_people} participants taken together; how many people in the population would "
        "show it is another question."
    )


def _person(
    output: Path, who: str, own: Mapping[str, ScoreRow], rows: list[ScoreRow]
) -> tuple[str, str, list[ScoreRow | None]]:
    name = f"sub-{who.removeprefix('sub-')}"
    link = f"{name}.html" if (output / f"{name}.html").is_file() else ""
    return name, link, [own.get(row.metric) for row in rows]


def _record(row: pd.Series) -> dict[str, float]:
    return {name: float(row[name]) if known(row[name]) else float("nan") for name in COLUMNS}


def _draw(
    stats: pd.DataFrame, people: list[str], rows: list[ScoreRow], entities: Mapping[str, str | None],
    folder: FigureFolder,
) -> None:  # fmt: skip
    """Draw participants beside each other, a figure a metric."""
    for row in rows:
        if row.metric not in FIGURES:
            continue
        here = stats[stats["metric"] == row.metric].set_index("participant_id")
        shown = [who for who in people if who in here.index and known(here.loc[who, "mean"])]
        if len(shown) > MANY:
            drawing = distribution_figure(row.name, here.loc[shown, "mean"].to_numpy(float), _record(here.loc[GROUP]))
            caption = f"{row.sentence} Each participant's mean; the group's 95 % interval is shaded."
        else:
            drawing = participants_figure(
                row.name,
                [f"sub-{who.removeprefix('sub-')}" for who in shown],
                [_record(here.loc[who]) for who in shown],
                _record(here.loc[GROUP]),
            )
            caption = f"{row.sentence} Bars are 95 % intervals over stimuli (group: over stimuli and participants)."
        name = file_name({**entities, "stat": label(row.metric)}, "participants", drawing.extension)
        folder.save(f"figures/{name}", drawing, f"{row.name} of every participant and of the group", caption)


# --- reconstructions side by side


def _cards(
    output: Path, raw: Path | None, table: Mapping[str, Any], people: list[str], problems: list[str]
) -> tuple[list[GroupCard], int, str]:
    """Return a card per stimulus that every participant with reconstructions was tested on, best first."""
    listings = _listings(output, table, people)
    shared = set.intersection(*(set(found) for found in listings.values())) if listings else set()
    if not shared:
        return [], 0, pictures.SORT[0]
    scores, column = pictures.per_stimulus(_shared_metrics(table["metrics"], shared))
    ranks = pictures.spread(len(scores))
    quality = Quality.for_count(len(ranks) * (1 + len(listings)))
    cards = []
    for rank in ranks:
        stimulus = str(scores.index[rank])
        files = {who: found[stimulus] for who, found in listings.items()}
        shown = [_stimulus(raw, files, quality, stimulus, problems)]
        shown += [
            pictures.Shown(who, _thumbnail(output / recon, quality), f"reconstruction of {stimulus} from {who}")
            for who, (recon, _) in files.items()
        ]
        value = scores.iloc[rank][column]
        cards.append(GroupCard(stimulus, int(rank) + 1, shown, number(value, 2) if np.isfinite(value) else "n/a"))
    return cards, len(scores), column


def _shared_metrics(metrics: pd.DataFrame, shared: set[str]) -> pd.DataFrame:
    """Return participants' scores of the shared stimuli, averaged per participant and stimulus first."""
    here = metrics[metrics["stimulus_id"].astype(str).isin(shared)]
    numeric = [name for name in here.columns if name not in ("participant_id", "stimulus_id", "fold")]
    means = here.groupby(["participant_id", "stimulus_id"], sort=True)[numeric].mean()
    return means.reset_index().drop(columns="participant_id")


def _listings(output: Path, table: Mapping[str, Any], people: list[str]) -> dict[str, dict[str, tuple[str, str]]]:
    """Return participant -> stimulus -> (reconstruction, stimulus file), for those who have reconstructions."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for who in people:
        if len(found) == SIDE_BY_SIDE:
            break
        bare = who.removeprefix("sub-")
        scope = Scope(bare, table["task"], table["space"] or None, table["resolution"] or None)
        path = output / scope.name("recon", ".tsv", model=table["model"], desc=table["desc"])
        if path.is_file():
            rows = read_table(path)
            found[f"sub-{bare}"] = {
                str(row["stimulus_id"]): (str(row["recon_file"]), str(row["stim_file"])) for _, row in rows.iterrows()
            }
    return found


def _stimulus(
    raw: Path | None, files: Mapping[str, tuple[str, str]], quality: Quality, stimulus: str, problems: list[str]
) -> pictures.Shown:
    """Return the picture that was shown, where it still lies in the raw dataset."""
    alt = pictures.ALTS["shown"].format(stimulus)
    for _, name in files.values():
        path = None if raw is None or name == "n/a" else raw / "stimuli" / name
        if path is not None and path.is_file():
            pixels = pictures.stimulus_picture(stimulus, {stimulus: str(path)}, problems)
            return pictures.Shown("shown", None if pixels is None else quality.thumbnail(pixels), alt)
    return pictures.Shown("shown", None, alt)


def _thumbnail(path: Path, quality: Quality) -> Thumbnail | None:
    return quality.thumbnail(read_picture(path)) if path.is_file() else None
