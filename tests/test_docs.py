"""The documentation is true: its commands exist, its links lead somewhere, its site builds without a warning."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from page_commands import FENCE, fences

from bids_app import cli, tools
from bids_app.options import values_of
from hyper_bids.errors import UsageError
from hyper_bids.inputs.declaration import KEY, latent_spaces
from hyper_bids.inputs.key import stimulus_key
from hyper_bids.inputs.split import split_rule
from hyper_bids.settings import InputSettings, build, layered, sections

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
APPS = {"hyper": cli.make_parser, "hyper-tools": tools.make_parser}
ENDS = {"|", ">", "&&", "||", ";", "2>&1"}
ANSWERED_BEFORE_PARSING = {"--version", "--help", "--bids-exec-spec"}


def page_id(path):
    return path.relative_to(ROOT).as_posix()


def blocks(path, *languages):
    return [text for language, text in fences(path.read_text(encoding="utf-8")) if language in languages]


# ------------------------------------------------------------------ every command exists


def commands(path):
    """Every line of a page, in a block or between backticks, that calls one of our programs, as words."""
    text = path.read_text(encoding="utf-8")
    lines = []
    for _, block in fences(text):
        joined = re.sub(r"\\\n\s*", " ", block).splitlines()
        prompts = [line[2:] for line in joined if line.startswith("$ ")]
        lines += prompts or joined
    prose = FENCE.sub("", text)
    lines += [line.strip() for line in re.sub(r"\\\n\s*", " ", prose).splitlines() if line.startswith("    hyper")]
    lines += re.findall(r"`((?:hyper|hyper-tools) [^`\n]+)`", prose)
    ours = re.compile(r"(\w+=\S+ )*(hyper|hyper-tools|docker run|apptainer (run|exec)|make) ")
    yield from (line for line in lines if ours.match(line) and "python -c" not in line)


def called(line):
    """(program, its words) of a line, containers taken off; None for what calls none of ours."""
    line = re.split(r" {3,}(?![-#])", line)[0]  # a description beside the command
    words = shlex.split(line, comments=True)
    stop = next((k for k, word in enumerate(words) if word in ENDS or word[0] == "["), len(words))
    words = [word for word in words[:stop] if word != "..."]
    while words and words[0] not in {*APPS, "docker", "apptainer", "make"}:
        words = words[1:]
    if words[0] in ("docker", "apptainer"):
        program = "hyper-tools" if "hyper-tools" in words else "hyper"
        image = next((k for k, word in enumerate(words) if re.fullmatch(r"hyper(:\S+)?|\S+\.sif", word)), None)
        if image is None:
            return None
        rest = words[image + 1 :]
        return program, rest[1:] if rest[:1] == ["hyper-tools"] else rest
    return words[0], words[1:]


def understood(program, words):
    """Raise `UsageError` where the app would not take the words."""
    parsed = APPS[program]().parse_args(words)
    if program == "hyper":
        given = {}
        for cls in sections().values():
            given.update(values_of(parsed, cls))
        given.pop("config", None)
        build(layered([given]))


def options_of(program, words):
    """All option strings of a program, or of the companion command that the words name."""
    parser = APPS[program]()
    if program == "hyper-tools":
        parser = parser.commands()[words[0]]
    return {flag for action in parser.arguments() for flag in action.option_strings}


def commands_of(parser):
    return [one for command in parser.commands().values() for one in commands_of(command)] or [parser]


@pytest.mark.parametrize("program", APPS)
def test_every_argument_says_what_it_is(program):
    for parser in commands_of(APPS[program]()):
        assert parser.description and all(action.help for action in parser.arguments()), parser.prog


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_command_is_one_that_the_app_takes(path):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in commands(path):
        program, words = called(line) or ("", [])
        if not words or ANSWERED_BEFORE_PARSING & set(words) or re.search(r"[{<]", line.split("'")[0]):
            continue
        if program == "make":
            assert words[0] in targets, line
            continue
        try:
            understood(program, words)
        except UsageError as error:
            options = {word for word in words if word[0] == "-"}
            fragment = "required" in str(error) and options <= options_of(program, words)
            assert fragment, f"{path.name}: {line}\n{error}"


def test_a_wrong_command_would_be_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\ndocker run -v A:/a hyper /data /out group --no-such 3\n```\nSee `hyper-tools chck X`.\n")
    calls = [called(line) for line in commands(page)]
    assert calls == [("hyper", ["/data", "/out", "group", "--no-such", "3"]), ("hyper-tools", ["chck", "X"])]
    for call in calls:
        with pytest.raises(UsageError):
            understood(*call)


# ------------------------------------------------------------------ links, paths, JSON


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere_and_no_page_knows_this_machine(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", FENCE.sub("", text)):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target
    assert not re.search(r"(?<![\w.])/(work/|opt/|root/|home/)\w+", text)
    assert not re.search(r"pypi\.org|pythonhosted|download\.pytorch|jfrog|artifactory", text)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_json_blocks_are_json_and_sidecars_are_sidecars(path):
    for block in blocks(path, "json"):
        content = json.loads(block)
        if KEY in content:
            assert latent_spaces(content, InputSettings()) and stimulus_key(content, InputSettings())
            split_rule(content, InputSettings())


def test_the_changelog_knows_this_version():
    from hyper_bids import __version__

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}] - " in text and text.index("[Unreleased]") < text.index(f"[{__version__}]")


# ------------------------------------------------------------------ the site


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed (extra: docs)")
def test_the_site_builds_without_a_warning_and_asks_nobody(tmp_path):
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").glob("*.html"))
    assert {path.stem for path in PAGES if path.parent.name == "docs"} <= {path.stem for path in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe)[^>]+src=\"?https?:", text), page.name
        assert not re.search(r"<link[^>]+rel=\"?stylesheet[^>]+href=\"?https?:", text), page.name
    assert "check_decoder" in (tmp_path / "site" / "api.html").read_text(encoding="utf-8")


# ------------------------------------------------------------------ what real data say


def test_the_listing_of_ds001761_is_what_the_check_prints(shared_data, tmp_path):
    from hyper_bids.workflow.check import check_dataset

    with tarfile.open(shared_data / "ds001761_tree.tar.gz") as tree:
        tree.extractall(tmp_path, filter="tar")
    found = check_dataset(tmp_path, InputSettings(), tasks=["faces"], validated=False).text()
    (listing,) = blocks(ROOT / "docs" / "ds001761.md", "text")
    for line in listing.splitlines():
        assert line in found
