"""The reports in a browser: nothing is fetched, everything is drawn, and all of it works without JavaScript."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))

from chromium import browser
from page_checks import WIDER, check_contrast, check_prints, check_whole_and_quiet
from test_report import group_table, inputs, publish_reconstructions, report, result

from hyper_bids.derivatives.write import write_json
from hyper_bids.report.group import write_group_report

NAMES = [f"face{k:02d}" for k in range(9)]


@pytest.fixture(scope="module")
def chrome():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Participant's and group's page of a small result."""
    folder, rng = tmp_path_factory.mktemp("pages"), np.random.default_rng(3)
    made = result(folder / "data", rng, names=NAMES, size=(70, 90), noise=0.9)
    tree, _ = report(folder / "out", folder / "data", inputs(made, rng))
    table, people = group_table(folder, rng)
    for who, part in people.items():
        publish_reconstructions(folder, who.removeprefix("sub-"), part["drawn"])
        (folder / f"{who}.html").write_text("a report")
    write_json(folder / "dataset_description.json", {"Name": "hyper: Toys", "DatasetLinks": {"raw": "raw"}})
    return {"participant": tree.folder / "sub-01.html", "group": write_group_report(folder, [table])}


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("page", ["participant", "group"])
def test_page_is_whole_and_quiet(chrome, pages, page, width):
    check_whole_and_quiet(chrome, pages[page], width, n_images=11)


@pytest.mark.parametrize("script", [True, False])
def test_pictures_enlarge_and_close_with_and_without_javascript(chrome, pages, script):
    chrome.open(pages["participant"], script=script)
    small = chrome.run("document.querySelector('.cards img').getBoundingClientRect().width")
    chrome.run("document.querySelector('.cards a.pictures').focus()")
    chrome.press("Enter")
    time.sleep(0.3)
    assert chrome.run("document.querySelector('.cards img').getBoundingClientRect().width") > 1.5 * small
    assert chrome.run("getComputedStyle(document.querySelector('.large:target')).position") == "fixed"
    assert chrome.run("document.querySelector('.large:target').id.endsWith('-1')")
    if script:
        chrome.press("ArrowRight")
        time.sleep(0.3)
        assert chrome.run("document.querySelector('.large:target').id.endsWith('-2')")
        chrome.press("Escape")
    else:
        chrome.run("document.querySelector('.large:target .close').focus()")
        chrome.press("Enter")
    time.sleep(0.3)
    assert chrome.run("document.querySelector('.large:target')") is None


def test_search_shows_the_stimuli_that_fit(chrome, pages):
    chrome.open(pages["participant"])
    seen = "[...document.querySelectorAll('.card[data-name]')].filter(c => c.offsetParent).map(c => c.dataset.name)"
    assert sorted(chrome.run(seen)) == NAMES
    chrome.run("document.querySelector('.search input').focus()")
    chrome.call("Input.insertText", text="FACE 07")
    assert chrome.run(seen) == ["face07"]
    assert chrome.run("document.querySelector('.search output').textContent") == "1 of 9 stimuli"
    chrome.open(pages["participant"], script=False)
    assert chrome.run("document.querySelector('.search').offsetParent") is None
    assert sorted(chrome.run(seen)) == NAMES


def test_tables_sort_by_the_keyboard_and_words_stay_with_their_numbers(chrome, pages):
    chrome.open(pages["participant"])
    table = "document.querySelector('table.stack')"
    rows = f"[...{table}.tBodies[0].rows].map(r => [r.className, r.cells[0].textContent, r.cells[1]?.textContent])"
    before = chrome.run(rows)
    for direction, sign in (("ascending", 1), ("descending", -1)):
        chrome.run(f"{table}.querySelectorAll('.sort')[1].focus()")
        chrome.press("Enter")
        assert chrome.run(f"{table}.querySelectorAll('th')[1].getAttribute('aria-sort')") == direction
        after = chrome.run(rows)
        means = [float(value.split()[0]) for kind, _, value in after if kind == "value"]
        assert np.all(sign * np.diff(means) >= 0) and sorted(map(str, after)) == sorted(map(str, before))
        assert all(name in words for (_, name, _), (_, words, _) in zip(after[::2], after[1::2], strict=True))


def test_methods_can_be_copied(chrome, pages):
    chrome.open(pages["participant"])
    for name, start in (("methods-markdown", "# Methods"), ("methods-bibtex", "@article{")):
        chrome.run(f"document.getElementById('{name}').closest('details').open = true")
        chrome.run(f"document.querySelector('[data-copy={name}]').click()")
        assert chrome.run("getSelection().toString()").strip().startswith(start)


@pytest.mark.parametrize("page", ["participant", "group"])
def test_page_prints(chrome, pages, page):
    check_prints(chrome, pages[page], most=40)


def test_nothing_is_cut_off_on_a_sheet_of_paper_nor_pushed_away_by_a_long_name(chrome, tmp_path, rng):
    made = result(tmp_path / "data", rng, names=[*NAMES[:-1], "x" * 120])
    tree, _ = report(tmp_path / "out", tmp_path / "data", inputs(made, rng))
    chrome.open(tree.folder / "sub-01.html", width=690)  # A4 less its margins
    chrome.call("Emulation.setEmulatedMedia", media="print")
    try:
        chrome.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert chrome.run(WIDER) <= 0
    finally:
        chrome.call("Emulation.setEmulatedMedia", media="")
    assert chrome.run("Math.max(...[...document.querySelectorAll('tbody th')].map(h => h.offsetWidth))") < 400


@pytest.mark.parametrize("page", ["participant", "group"])
def test_text_has_the_contrast_of_wcag_aa(chrome, pages, page):
    check_contrast(chrome, pages[page])
