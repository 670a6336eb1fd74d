"""The pages that say "run this" are run: every shell and Python block, in the order of the pages, in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(bash|python|console)( title=\"([^\"]+)\")?[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Run a script in a folder of its own, with our programs on the path whether they are installed or not."""
    folder = tmp_path_factory.mktemp("docs")
    programs = folder / "programs"
    programs.mkdir()
    calls = {"hyper": "-m bids_app.cli", "hyper-tools": "-m bids_app.tools", "python": ""}
    for name, words in calls.items():
        path = programs / name
        path.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}:$PYTHONPATH" exec "{sys.executable}" {words} "$@"\n')
        path.chmod(0o755)
    place = folder / "here"
    place.mkdir()

    def run(script):
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        words = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    run.folder = place
    return run


def run_page(name, shell):
    """Run the blocks of a page; return all that they printed."""
    printed = []
    for language, _, title, code in BLOCK.findall((ROOT / "docs" / name).read_text(encoding="utf-8")):
        if language == "bash":
            printed.append(shell(code))
        elif language == "python":
            (shell.folder / (title or "block.py")).write_text(code)
            if not title or title == "my_metric.py":
                printed.append(shell(f"python {title or 'block.py'}"))
    return "".join(printed)


@pytest.fixture(scope="module")
def tutorial(shell):
    return run_page("tutorial.md", shell)


def test_the_tutorial_says_what_happens(tutorial, shell):
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (promised,) = re.findall(r"`(train on .*?)`", page)
    assert promised in tutorial and "Nothing is missing." in tutorial
    for name in ("sub-01.html", "sub-02.html", "group.html"):
        assert f"out/{name}" in page and (shell.folder / "out" / name).is_file()
    rows = [line.split("\t") for line in tutorial.splitlines()]
    table = {row[0]: row for row in rows if row[0] in ("metric", "pairwise_accuracy")}
    assert table["metric"] == ["metric", "n", "mean", "ci_low", "p_value"], "the columns that the page names"
    decoded = next(row for row in rows if row[0] == "pairwise_accuracy" and len(row) == 5)
    assert float(decoded[2]) > 0.9 and float(decoded[4]) < 0.01
    shuffled = [row for row in rows if row[0] == "pairwise_accuracy" and len(row) == 4][-1]
    assert float(shuffled[3]) > 0.01, "the latents of other faces"


def test_one_can_describe_a_dataset_as_the_page_says(tutorial, shell):
    printed = run_page("your-data.md", shell)
    assert "exit code 65" in printed and '"StimulusKey"' in printed
    assert printed.count("Nothing is missing.") == 2, "before the keys were taken away, and with the template"
    assert "encoder" not in printed and (shell.folder / "out-eigen" / "sub-01.html").is_file()


def test_the_plugins_work_as_written(tutorial, shell):
    printed = run_page("plugins.md", shell)
    assert "keeps the contract" in printed
    assert list((shell.folder / "out-nearest").glob("sub-01/func/*model-mydecodersNearest*_stats.tsv"))
    assert len(list((shell.folder / "out-stripes").glob("sub-01/func/*_recon.png"))) == 10
    (share, p) = re.search(r"sign_agreement (\S+), p (\S+) ", printed).groups()
    assert float(share) > 0.55 and float(p) < 0.05


def test_every_file_and_column_stands_in_the_glossary(tutorial, shell, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import glossary

    text = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    found = {**glossary.collect(shell.folder / "out"), **glossary.collect(shell.folder / "out-cv")}
    for name, columns in found.items():
        if name.endswith(".json") and f"`{name}`" not in text:
            assert any(f"`{name[:-5]}{end}`" in text for end in glossary.BESIDE), f"make docs: {name}"
            continue
        assert f"`{name}`" in text, f"make docs: {name}"
        section = text.partition(f"### `{name}`\n")[2].partition("\n### ")[0]
        for column, entry in columns.items():
            assert glossary.row(column, entry) in section, f"make docs: {column} of {name}"


def test_ds001761_runs_as_written(shared_data, shell):
    """The last block of the page, on the simulated copy."""
    page = (ROOT / "docs" / "ds001761.md").read_text(encoding="utf-8")
    blocks = [code for language, _, _, code in BLOCK.findall(page) if language == "console"]
    (shell.folder / "sim_ds001761").symlink_to(shared_data / "sim_ds001761")
    for line in blocks[-1].splitlines():
        shell(line.removeprefix("$ "))
    for out, least in (("out-sim", 0.90), ("out-sim-vaegan", 0.93)):
        (path,) = (shell.folder / out / "sub-01" / "func").glob("*_stats.tsv")
        stats = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False).set_index("metric")["mean"]
        assert stats["top1"] == 1 and stats["latent_dimension_correlation"] > least
