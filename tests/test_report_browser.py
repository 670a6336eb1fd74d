"""The reports in a browser: nothing is fetched, everything is drawn, and all of it works without JavaScript."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))

from chromium import browser
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


WHOLE = """[...document.images].filter(i => !i.complete || !i.naturalWidth).length"""
DEAD = """[...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href').slice(1))
          .filter(id => !document.getElementById(decodeURIComponent(id)))"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
UNNAMED = """[...document.querySelectorAll('img:not([alt]), img[alt=""], [role=region]:not([aria-label])')]
             .map(e => e.outerHTML.slice(0, 90))"""


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("page", ["participant", "group"])
def test_page_is_whole_and_quiet(chrome, pages, page, width):
    chrome.open(pages[page], width=width)
    assert chrome.run("document.images.length") > 10 and chrome.run(WHOLE) == 0
    assert chrome.run(DEAD) == [] and chrome.run(UNNAMED) == []
    assert chrome.run(WIDER) <= 0, "the page scrolls sideways"
    assert chrome.console == []
    outside = [url for url in chrome.requests if not url.startswith(("file:", "data:", "about:"))]
    assert outside == [] and sum(url.startswith("file:") for url in chrome.requests) == 1
    levels = chrome.run(HEADINGS)
    assert levels[0] == 1 and levels.count(1) == 1 and max(np.diff(levels)) <= 1
    assert chrome.run("document.documentElement.lang") == "en"


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
    chrome.open(pages[page])
    content = chrome.pdf()
    n_pages = content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") + content.count(b"/Type /Page>")
    assert content.startswith(b"%PDF") and 1 < n_pages < 40 and chrome.console == []


LOW = """(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = new Set();
  for (const e of document.querySelectorAll('main *, nav a')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.offsetParent) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) found.add(e.outerHTML.slice(0, 80));
  }
  return [...found];
})()"""


@pytest.mark.parametrize("page", ["participant", "group"])
def test_text_has_the_contrast_of_wcag_aa(chrome, pages, page):
    chrome.open(pages[page])
    chrome.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert chrome.run(LOW) == []
