"""The methods text of a group: what the participants' runs wrote, and a paragraph on how they were combined."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyper_bids.derivatives.write import write_text
from hyper_bids.errors import listing
from hyper_bids.report.bibliography import bibtex, cite_key
from hyper_bids.report.citations import REFERENCES, Text
from hyper_bids.report.methods import LEAD

TITLE = "Group"
HEADING = "## References"
PARAGRAPH = re.compile(r"(?:\*\*(.+?)\.\*\* )?(.+)", re.DOTALL)
"""A paragraph with its title; one that somebody wrote into the file may have none."""
NAMED = 12
"""Participants that the text names."""


@dataclass(frozen=True)
class GroupMethods:
    """Methods of participants and group.

    Parameters
    ----------
    paragraphs : (title, text)
    bibliography : references in full
    markdown, bibtex : the same, to copy
    """

    paragraphs: list[tuple[str, str]]
    bibliography: list[str]
    markdown: str
    bibtex: str


def write_group_methods(
    output: Path,
    people: Mapping[str, Sequence[str]],
    tables: Sequence[Mapping[str, Any]],
    comparisons: Sequence[Mapping[str, Any]],
) -> GroupMethods:
    """Write ``logs/group_CITATION.md`` and ``.bib``: what the participants' runs wrote, and the group's part of it.

    Parameters
    ----------
    output : the output dataset; ``logs/CITATION.md`` and ``.bib`` are read from it
    people : result -> its participants, ``sub-<label>``
    tables, comparisons : as in `hyper_bids.report.group.write_group_report`
    """
    text = group_text(people, tables, comparisons)
    markdown = with_group(_read(output / "logs" / "CITATION.md") or "# Methods\n", text)
    entries = with_entries(_read(output / "logs" / "CITATION.bib"), text.used)
    write_text(output / "logs" / "group_CITATION.md", markdown)
    write_text(output / "logs" / "group_CITATION.bib", entries)
    body, _, references = markdown.partition(HEADING)
    parts = [part.strip() for part in body.split("\n\n") if part.strip() and not part.startswith("#")]
    found = [PARAGRAPH.fullmatch(part).groups("") for part in parts if part != LEAD]
    return GroupMethods(found, _entries(references), markdown, entries)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _entries(references: str) -> list[str]:
    """Entries of a numbered list."""
    return [line.partition(". ")[2] for line in references.splitlines() if line[:1].isdigit()]


def group_text(
    people: Mapping[str, Sequence[str]], tables: Sequence[Mapping[str, Any]], comparisons: Sequence[Mapping[str, Any]]
) -> Text:
    """Write the paragraph on the group: who, how p and intervals are made, and what else was tested."""
    text = Text()
    sentences = [*_who(people), *dict.fromkeys(_differing(table) for table in tables)]
    if max(map(len, people.values()), default=0) > 1:
        sentences += [
            "Over participants, p-values of metrics combine the participants' own one-sided p by Stouffer's method "
            f"{text.cite('whitlock')}, those of attributes their two-sided p with the sign of the effect: they say "
            "whether these participants' predictions carry information, not how many people's would.",
            "95 % intervals of means take participants and stimuli as samples where all were tested on the same "
            f"stimuli, by variance components {text.cite('cornfield')} with the degrees of freedom of "
            f"{text.name('satterthwaite')}, cut at what the metric can be; where they were not, participants only, by "
            "t.",
        ]
    else:
        sentences.append("p-values and intervals are the participant's own.")
    covariates = sorted({str(name) for table in tables for name in _covariates(table)})
    if covariates:
        sentences.append(
            f"The accuracy of every stimulus, averaged over participants, was tested against {listing(covariates)} by "
            "permuting stimuli, corrected for the number of covariates by Bonferroni's inequality and for the false "
            f"discovery rate {text.cite('fdr')}."
        )
    sentences += [_comparison(text, made) for made in comparisons if len(made["table"])]
    text.add(TITLE, sentences)
    return text


def _who(people: Mapping[str, Sequence[str]]) -> list[str]:
    """Say whose results were taken together: once, where all results have the same participants."""
    sets = dict.fromkeys(tuple(who) for who in people.values())
    sentences = []
    for who in sets:
        results = "; ".join(title for title, others in people.items() if tuple(others) == who)
        whose = f"The results {results}" if len(sets) > 1 else "All results"
        n = f"{len(who)} participants" if len(who) > 1 else "one participant"
        sentences.append(f"{whose} are of {n} ({listing(who, NAMED)}).")
    return sentences


def _differing(table: Mapping[str, Any]) -> str:
    """Say in what the participants' processing differs, which the paragraphs before do not know."""
    parts = [
        f"{what} ({'; '.join(f'{value}: {listing(who, NAMED)}' for value, who in values.items())})"
        for what, values in table.get("differing", {}).items()
    ]
    if not parts:
        return ""
    return (
        f"Participants were processed with different {' and '.join(parts)}; the paragraphs before this one are those "
        "of the run that wrote them."
    )


def _covariates(table: Mapping[str, Any]) -> Sequence[Any]:
    rows = table.get("covariates")
    return () if rows is None else rows["covariate"].tolist()


def _comparison(text: Text, made: Mapping[str, Any]) -> str:
    models = listing(list(made["models"]), NAMED)
    omnibus = (
        f"Friedman's test {text.cite('friedman')}, exact below 12 participants" if len(made["models"]) > 2
        else "the sign test"
    )  # fmt: skip
    return (
        f"{str(made['what']).capitalize()} ({models}) were compared over participants by {omnibus}, and in pairs by "
        f"signed ranks {text.cite('wilcoxon')} with the correction of {text.name('holm')}."
    )


def with_group(markdown: str, text: Text) -> str:
    """Return the participants' methods text with the group's paragraph, and its references behind theirs.

    Parameters
    ----------
    markdown : of `hyper_bids.report.methods.methods_text`
    text : of `group_text`
    """
    body, _, references = markdown.partition(HEADING)
    entries = _entries(references)
    entries += [REFERENCES[key] for key in text.used if REFERENCES[key] not in entries]
    ((title, sentences),) = text.paragraphs
    parts = [body.rstrip(), f"**{title}.** {' '.join(sentences)}", HEADING]
    return "\n".join(["\n\n".join(parts), "", *(f"{k}. {entry}" for k, entry in enumerate(entries, 1)), ""])


def with_entries(entries: str, keys: Sequence[str]) -> str:
    """Return BibTeX entries and those of ``keys`` that are not among them."""
    missing = bibtex(key for key in keys if f"{{{cite_key(key)}," not in entries)
    return "\n\n".join(part.strip() for part in (entries, missing) if part.strip()) + "\n"
