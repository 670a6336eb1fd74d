"""What a reader has to know first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hyper_bids.errors import listing

if TYPE_CHECKING:
    from hyper_bids.report.participant import TaskPart


def all_notices(parts: list[TaskPart], problems: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (kind, sentence): failures and warnings of the audit first, then what the stages noticed."""
    for status in ("FAIL", "WARN"):
        found = [(item.title, result.title, item.text) for part in parts for result in part.results
                 for item in result.audit if item.status == status]  # fmt: skip
        for sentence_of_all in once(found):
            yield status, sentence_of_all
    for part in parts:
        for notice in condensed(part.notices):
            yield told(part.title, notice)
        for said in once([(notice, result.title, notice) for result in part.results for notice in result.notices]):
            whose, _, notice = said.partition(": ")
            yield told(whose, notice)
        for notice in dict.fromkeys(result.generator_notice for result in part.results):
            if notice:
                yield "NOTE", f"{part.title}: {notice}"
    for problem in dict.fromkeys(problems):
        yield "WARN", problem


NUMBER = re.compile(r"([^\W\d][\w+-]*)|[-\u2212]?\d+(\.\d+)?(e[-+]?\d+)?")
"""A number; the first group is a word or name (sub-01, a_comp_cor_04), which says who or what, not how much."""


def once(found: Iterable[tuple[str, str, str]]) -> list[str]:
    """Say once what a check says of several results in the same words, numbers aside: the first one's, and whose else.

    What differs in words, or in whom it names, is said for itself.

    Parameters
    ----------
    found : (check, whose, text)

    >>> once([("null", "map", "100 draws."), ("data", "map", "few."), ("null", "ols", "100 draws.")])
    ['map; ols: 100 draws.', 'map: few.']
    >>> once([("mse", "map", "mse 1.2."), ("mse", "ols", "mse 1.3."), ("mse", "ridge", "mse 1.4.")])
    ['map: mse 1.2. Likewise, with numbers of their own: ols; ridge.']
    >>> once([("nuisance", "ridge", "run: r = 0.4."), ("nuisance", "ols", "motion: r = 0.3.")])
    ['ridge: run: r = 0.4.', 'ols: motion: r = 0.3.']
    >>> once([("trials", "map", "few in run-1: 3."), ("trials", "ols", "few in run-2: 3.")])
    ['map: few in run-1: 3.', 'ols: few in run-2: 3.']
    """
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for check, whose, text in found:
        words = NUMBER.sub(lambda match: match[1] or "0", text)
        alike.setdefault((check, words), []).append((whose, text))
    said = []
    for items in alike.values():
        text = items[0][1]
        same = "; ".join(whose for whose, other in items if other == text)
        others = "; ".join(whose for whose, other in items if other != text)
        more = f" Likewise, with numbers of {'its' if '; ' not in others else 'their'} own: {others}." if others else ""
        said.append(f"{same}: {sentence(text) if more else text}{more}")
    return said


RUN = re.compile(r"(^|[ _])(sub|ses|run)-")
"""What a notice about one run begins with."""

PARTICIPANT = re.compile(r"^sub-[0-9a-zA-Z+]+ ")
"""Whose run it is, which the page and the line in the terminal say already."""

NAMED = 4
"""Runs that a sentence names; of the others it gives the number."""


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
    >>> condensed([f"sub-01 run-{k}: no table." for k in range(1, 7)] + ["sub-01 run-1: one volume."])
    ['no table. (6 runs: run-1, run-2, run-3, run-4 and 2 more)', 'run-1: one volume.']
    """
    groups: dict[str, list[str]] = {}
    for notice in notices:
        where, _, what = notice.partition(": ")
        of_run = bool(what) and RUN.search(where) is not None
        groups.setdefault(what if of_run else notice, []).append(PARTICIPANT.sub("", where) if of_run else "")
    said = []
    for what, places in groups.items():
        if len(places) > 1:
            said.append(f"{what} ({len(places)} runs: {listing(places, NAMED)})")
        else:
            said.append(f"{places[0]}: {what}" if places[0] else what)
    return said
