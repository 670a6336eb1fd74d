"""The references of the methods text as BibTeX, from the same entries: nothing is written twice."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from hyper_bids.report.citations import REFERENCES

ENTRY = re.compile(r"(?P<authors>.+?) \((?P<year>\d{4})\)\. (?P<title>.+?)(?P<end>[.?!]) (?P<rest>.+)")
"""Form of every entry of `citations.REFERENCES`: authors (year). Title. Venue volume(number):pages. Address"""

VENUE = re.compile(
    r"(?:In: )?(?P<venue>.+?)(?: (?P<volume>\d+(?:\.\d+)*)(?:\((?P<number>[^)]+)\))?(?::(?P<pages>[\w-]+))?)?"
)
MEETINGS = ("International Conference", "Advances in Neural Information", "Neural Networks: Tricks")
"""Beginnings of venues that are no journals."""


def fields(key: str) -> dict[str, str]:
    """Take a reference apart.

    >>> found = fields("ridge")
    >>> found["author"], found["journal"], found["volume"], found["number"], found["pages"], found["doi"]
    ('Hoerl, A. E. and Kennard, R. W.', 'Technometrics', '12', '1', '55--67', '10.1080/00401706.1970.10488634')
    """
    entry = ENTRY.fullmatch(REFERENCES[key])
    if entry is None:
        raise ValueError(f"reference {key!r} does not have the form that bibliography.ENTRY describes")
    rest, _, address = entry["rest"].partition("https://")
    venue = VENUE.fullmatch(rest.strip().rstrip("."))
    where = "booktitle" if venue["venue"].startswith(MEETINGS) else "journal"
    title = entry["title"] + (entry["end"] if entry["end"] != "." else "")
    found = {
        "author": " and ".join(_author(name) for name in entry["authors"].split(", ")),
        "title": title, "year": entry["year"], where: venue["venue"], "volume": venue["volume"] or "",
        "number": venue["number"] or "", "pages": (venue["pages"] or "").replace("-", "--"),
        "doi": address.removeprefix("doi.org/") if address.startswith("doi.org/") else "",
        "url": f"https://{address}" if address and not address.startswith("doi.org/") else "",
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _author(name: str) -> str:
    """Write a name as BibTeX wants it.

    >>> _author("van Gerven MAJ"), _author("et al.")
    ('van Gerven, M. A. J.', 'others')
    """
    if name == "et al.":
        return "others"
    family, _, initials = name.rpartition(" ")
    return f"{family}, {' '.join(f'{letter}.' for letter in initials)}"


def cite_key(key: str) -> str:
    """Return the key to cite a reference by: first author and year, in ASCII.

    >>> cite_key("dand"), cite_key("ridge")
    ('gucluturk2017', 'hoerl1970')
    """
    found = fields(key)
    family = found["author"].partition(",")[0]
    plain = unicodedata.normalize("NFKD", family).encode("ascii", "ignore").decode()
    return re.sub(r"\W", "", plain).lower() + found["year"]


def bibtex(keys: Iterable[str]) -> str:
    """Return references as BibTeX, UTF-8; titles in braces keep their capitals.

    Parameters
    ----------
    keys : of `citations.REFERENCES`
    """
    entries = []
    for key in keys:
        found = fields(key)
        kind = "inproceedings" if "booktitle" in found else "article"
        lines = [f"  {name} = {{{_value(name, value)}}}," for name, value in found.items()]
        entries.append("\n".join([f"@{kind}{{{cite_key(key)},", *lines, "}"]))
    return "\n\n".join(entries) + "\n"


def _value(name: str, value: str) -> str:
    if name in ("doi", "url"):
        return value
    escaped = re.sub(r"([&%#_$])", r"\\\1", value)
    return f"{{{escaped}}}" if name == "title" else escaped
