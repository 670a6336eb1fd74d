"""What a reader has to know first."""

from __future__ import annotations

import re
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
            yield told(part.title, notice)
        for result in part.results:
            for notice in result.notices:
                yield told(result.title, notice)
        for notice in dict.fromkeys(result.generator_notice for result in part.results):
            if notice:
                yield "NOTE", f"{part.title}: {notice}"
    for problem in dict.fromkeys(problems):
        yield "WARN", problem


RUN = re.compile(r"(^|[ _])(sub|ses|run)-")
"""What a notice about one run begins with."""


def told(whose: str, notice: str) -> tuple[str, str]:
    """Return the kind of a notice and its sentence.

    >>> told("faces", "Warning: few trials."), told("faces", "one left out.")
    (('WARN', 'faces: few trials.'), ('NOTE', 'faces: one left out.'))
    """
    warns = notice.startswith("Warning: ")
    return "WARN" if warns else "NOTE", f"{whose}: {sentence(notice.removeprefix('Warning: '))}"


def sentence(notice: str) -> str:
    """End a notice like a sentence.

    >>> sentence("the loss still fell"), sentence("map: by ridge.")
    ('the loss still fell.', 'map: by ridge.')
    """
    return notice if notice.endswith((".", "!", "?")) else f"{notice}."


def condensed(notices: list[str]) -> list[str]:
    """Say once what several runs have in common: notices that differ only in the run before their first colon.

    >>> condensed(["run-1: no table.", "run-2: no table.", "LSA is fine.", "Halves: one left out."])
    ['no table. (2 runs: run-1, run-2)', 'LSA is fine.', 'Halves: one left out.']
    """
    groups: dict[str, list[str]] = {}
    for notice in notices:
        where, _, what = notice.partition(": ")
        of_run = bool(what) and RUN.search(where) is not None
        groups.setdefault(what if of_run else notice, []).append(where if of_run else "")
    said = []
    for what, places in groups.items():
        if len(places) > 1:
            said.append(f"{what} ({len(places)} runs: {', '.join(places)})")
        else:
            said.append(f"{places[0]}: {what}" if places[0] else what)
    return said
