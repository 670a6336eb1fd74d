"""The participants' audits beside each other: one light per check and participant, and what has to be read first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyper_bids.derivatives.names import Scope
from hyper_bids.errors import count, listing
from hyper_bids.report.audits import LIGHTS, TITLES, AuditItem, audit_items
from hyper_bids.report.read import read_json

NAMED = 6
"""Participants that a sentence names; of the others it gives the number."""


@dataclass(frozen=True)
class CheckRow:
    """One check over participants.

    Parameters
    ----------
    title : what was checked
    lights : (sign, class, words) per status that somebody has, worst first
    text : what the audit says of the participant with the worst light
    """

    title: str
    lights: list[tuple[str, str, str]]
    text: str


def read_audits(output: Path, table: Mapping[str, Any], people: Sequence[str]) -> dict[str, list[AuditItem]]:
    """Return participant -> audit, of those whose ``audit.json`` lies in the output folder.

    Parameters
    ----------
    output : the output dataset
    table : names of the result: ``task``, ``space``, ``resolution``, ``model``, ``desc``
    people : participants, with or without ``sub-``

    Raises
    ------
    MissingFiles
        An audit is damaged.
    """
    found = {}
    for who in people:
        bare = who.removeprefix("sub-")
        scope = Scope(bare, table["task"], table["space"] or None, table["resolution"] or None)
        content = read_json(output / scope.name("audit", ".json", model=table["model"], desc=table["desc"]))
        if content:
            found[f"sub-{bare}"] = audit_items(content)
    return found


def check_rows(audits: Mapping[str, Sequence[AuditItem]]) -> list[CheckRow]:
    """Return a row a check, those with the worst lights first."""
    order = list(LIGHTS)
    checks = _by_check(audits)
    worst = {title: min(order.index(item.status) for item in items.values()) for title, items in checks.items()}
    return [_row(title, checks[title]) for title in sorted(checks, key=lambda title: worst[title])]


def audit_warnings(audits: Mapping[str, Sequence[AuditItem]]) -> Iterator[tuple[str, str, str]]:
    """Yield (status, check, sentence) for every check that failed or warns in somebody: failures first, then leaks.

    The check is named with everybody concerned, also those whom the sentence only counts: so results of different
    people are never told as one.
    """
    checks = _by_check(audits)
    for status in ("FAIL", "WARN"):
        for title, items in checks.items():
            who = [name for name, item in items.items() if item.status == status]
            if who:
                first = f", of {who[0]}" if len(who) > 1 else ""
                said = f"{len(who)} of {len(items)} audits ({listing(who, NAMED)}){first}: {items[who[0]].text}"
                yield status, " ".join([title, *who]), said


def _by_check(audits: Mapping[str, Sequence[AuditItem]]) -> dict[str, dict[str, AuditItem]]:
    checks: dict[str, dict[str, AuditItem]] = {}
    for who, items in audits.items():
        for item in items:
            checks.setdefault(item.title, {})[who] = item
    order = {title: place for place, title in enumerate(TITLES.values())}
    return {title: checks[title] for title in sorted(checks, key=lambda title: order.get(title, len(order)))}


def _row(title: str, items: Mapping[str, AuditItem]) -> CheckRow:
    groups = {status: [who for who, item in items.items() if item.status == status] for status in LIGHTS}
    groups = {status: who for status, who in groups.items() if who}
    lights = []
    for status, who in groups.items():
        word, sign = LIGHTS[status]
        named = f": {listing(who, NAMED)}" if len(groups) > 1 else ""
        lights.append((sign, items[who[0]].css, f"{_many(len(who), word)}{named}"))
    return CheckRow(title, lights, items[next(iter(groups.values()))[0]].text)


def _many(n: int, word: str) -> str:
    """Write a number with a light's word, nouns in the plural.

    >>> _many(2, "warning"), _many(2, "pass"), _many(1, "notice")
    ('2 warnings', '2 pass', '1 notice')
    """
    return count(n, word) if word in ("warning", "notice") else f"{n} {word}"
