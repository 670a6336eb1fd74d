"""What a reader has to know first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyper_bids.report.participant import TaskPart


def all_notices(parts: list[TaskPart], problems: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (kind, sentence): failures and warnings of the audit first, then what the stages noticed."""
    for part in parts:
        for result in part.results:
            for item in result.audit:
                if item.status in ("FAIL", "WARN"):
                    yield item.status, f"{result.title}: {item.text}"
    for part in parts:
        for notice in condensed(part.notices):
            yield "NOTE", f"{part.title}: {notice}"
        for notice in dict.fromkeys(result.generator_notice for result in part.results):
            if notice:
                yield "NOTE", f"{part.title}: {notice}"
    for problem in dict.fromkeys(problems):
        yield "WARN", problem


def condensed(notices: list[str]) -> list[str]:
    """Say once what several runs have in common: notices that differ only before their first colon.

    >>> condensed(["run-1: no table.", "run-2: no table.", "LSA is fine."])
    ['no table. (2 runs: run-1, run-2)', 'LSA is fine.']
    """
    groups: dict[str, list[str]] = {}
    for notice in notices:
        where, colon, what = notice.partition(": ")
        groups.setdefault(what if colon else notice, []).append(where if colon else "")
    said = []
    for what, places in groups.items():
        if len(places) > 1:
            said.append(f"{what} ({len(places)} runs: {', '.join(places)})")
        else:
            said.append(f"{places[0]}: {what}" if places[0] else what)
    return said
