"""The commands of the pages: every line that somebody would copy into a shell, and where it stands."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = r"hyper|hyper-tools|docker|apptainer|singularity|datalad|sbatch|make|pip|python3?|bash|tf2onnx"
LINE = re.compile(rf"(\w+=(\"[^\"]*\"|\S*) )*({PROGRAMS}) ")
SPAN = re.compile(rf"`((?:\w+=\S* )*(?:{PROGRAMS}) [^`]+)`")
RUN_ELSEWHERE = ("tutorial.md", "your-data.md", "plugins.md")
"""Their blocks are run by test_docs_run.py."""
NO_INSTRUCTIONS = ("options.md", "outputs.md", "presets.md", "CHANGELOG.md")
"""What is generated, and what was: they say that a command exists."""


@dataclass(frozen=True)
class Command:
    """A line to be run, the lines that the page shows below it, and whether it stands in running text."""

    text: str
    shown: tuple[str, ...] = ()
    inline: bool = False

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def pages() -> list[Path]:
    """Return the pages whose commands nobody else runs."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [path for path in found if path.name not in (*RUN_ELSEWHERE, *NO_INSTRUCTIONS)]


def commands(path: Path) -> list[Command]:
    """Return the commands of a page in its order: of its blocks and indented lines, then those of its text."""
    return list(dict.fromkeys(of_text(path.read_text(encoding="utf-8"))))


def of_text(text: str) -> Iterator[Command]:
    """Yield the commands of a page's text.

    >>> [command.text for command in of_text("Try `hyper A B group`, not `hyper ... x`.")]
    ['hyper A B group']
    """
    for _, block in FENCE.findall(text):
        yield from _of_block(_joined(block).splitlines())
    prose = FENCE.sub("", text)
    yield from _of_block([line.strip() for line in _joined(prose).splitlines() if line.startswith("    ")])
    for span in SPAN.findall(re.sub(r"\n\s*", " ", prose)):
        if "..." not in span:
            yield Command(span, inline=True)


def _joined(text: str) -> str:
    return re.sub(r"\s*\\\n\s*", " ", text)


def _of_block(lines: list[str]) -> Iterator[Command]:
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in itertools.pairwise([*starts, len(lines)]):
        yield Command(lines[start][2:], tuple(lines[start + 1 : end]))
    if not starts:
        yield from (Command(_without_words(line)) for line in lines if LINE.match(line))


def _without_words(line: str) -> str:
    """Leave out what a list of commands says beside each, at three spaces or more."""
    return re.split(r" {3,}(?![-#])", line)[0]
