"""The commands of the pages: every line that somebody would copy into a shell, and where it stands."""

from __future__ import annotations

import itertools
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,}) *(\w*)[^\n]*\n(.*?)^ {0,3}\1$", re.MULTILINE | re.DOTALL)
SHELL = ("", "bash", "console", "sh", "shell")
OTHER = ("html", "json", "python", "text", "toml", "yaml")
"""Languages of fences, by whether what stands in them is for a shell."""
PROGRAMS = r"hyper|hyper-tools|docker|apptainer|singularity|datalad|sbatch|make|pip|python3?|bash|tf2onnx"
LINE = re.compile(rf"(\w+=(\"[^\"]*\"|\S*) )*({PROGRAMS}) ")
SPAN = re.compile(rf"`((?:\w+=\S* )*(?:{PROGRAMS}) [^`]+)`")
RUN_ELSEWHERE = ("tutorial.md", "your-data.md", "plugins.md")
"""Their blocks are run by test_docs_run.py."""
DRAWINGS = ("architecture.md",)
"""Pages whose fences without a language are drawings."""
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
    shell = SHELL[1:] if path.name in DRAWINGS else SHELL
    return list(dict.fromkeys(of_text(path.read_text(encoding="utf-8"), shell)))


def fences(text: str) -> list[tuple[str, str]]:
    """Return language and content of every fence of a page, without its indentation."""
    return [(language, textwrap.dedent(block)) for _, language, block in FENCE.findall(text)]


def of_text(text: str, shell: tuple[str, ...] = SHELL) -> Iterator[Command]:
    """Yield the commands of a page's text: all lines of its fences for a shell, and what looks like one elsewhere.

    Raises
    ------
    ValueError
        A fence that is not seen as one, or of a language not known here, or a line in it that is neither output, nor
        a comment, nor begins with a program known here.

    >>> [command.text for command in of_text("Try `hyper A B group`, not `hyper ... x`.")]
    ['hyper A B group']
    """
    for language, block in fences(text):
        if language in shell:
            yield from _of_block(_joined(block).splitlines())
        elif language not in (*SHELL, *OTHER) or re.search(r"^\$ ", block, re.MULTILINE):
            raise ValueError(f"a fence of {language or 'a drawing'}: is it for a shell? {block[:80]}")
    prose = FENCE.sub("", text)
    lost = re.search(r"^[ >]*(```|~~~).*", prose, re.MULTILINE)
    if lost:
        raise ValueError(f"a fence that has no end, or is indented too far: {lost[0]}")
    for line in _joined(prose).splitlines():
        if line.startswith("    ") and (LINE.match(line.strip()) or line.strip().startswith("$ ")):
            yield _command(line.strip().removeprefix("$ "))
    for span in SPAN.findall(re.sub(r"\n\s*", " ", prose)):
        if "..." not in span:
            yield Command(span, inline=True)


def _joined(text: str) -> str:
    return re.sub(r"\s*\\\n\s*", " ", text)


def _of_block(lines: list[str]) -> Iterator[Command]:
    """Yield the lines after a prompt with what stands below each; without any prompt, every line."""
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for line in lines[: starts[0]] if starts else lines:
        if line.strip() and not line.strip().startswith("#"):
            yield _command(line)
    for start, end in itertools.pairwise([*starts, len(lines)]):
        yield Command(lines[start][2:], tuple(lines[start + 1 : end]))


def _command(line: str) -> Command:
    """Return a line without prompt as the command that it must be, else it would escape the tests."""
    if not LINE.match(line.strip()):
        raise ValueError(f"not a command of a program known here (or output, whose fence is to be called text): {line}")
    return Command(_without_words(line.strip()))


def _without_words(line: str) -> str:
    """Leave out what a list of commands says beside each, at three spaces or more."""
    return re.split(r" {3,}(?![-#])", line)[0]
