"""The documentation site in a browser, opened from a folder: its search answers, and nobody else is asked."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import chromium

ROOT = Path(__file__).resolve().parents[1]
needs_mkdocs = pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
FOUND = """new Promise((done, failed) => {
  const start = Date.now()
  const field = document.querySelector("[data-md-component=search-query]")
  document.querySelector("[data-md-toggle=search]").click()
  field.focus()
  field.value = "WORDS"
  field.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}))
  const look = setInterval(() => {
    const links = [...document.querySelectorAll("a.md-search-result__link")].map(link => link.href)
    if (links.length || Date.now() - start > 30000) { clearInterval(look); done(links) }
  }, 50)
})"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    return folder


@needs_mkdocs
def test_the_search_answers_without_a_web_server(site):
    with chromium.browser() as browser:
        browser.open(site / "faq.html")
        links = browser.run(FOUND.replace("WORDS", "overlay"))
        assert any("your-data.html" in link for link in links) and all(link.startswith("file:") for link in links)
        assert not browser.console and all(url.startswith(("file:", "data:")) for url in browser.requests)


@needs_mkdocs
@pytest.mark.parametrize("width", [1400, 400])
def test_no_page_is_wider_than_the_window(site, width):
    with chromium.browser() as browser:
        for page in sorted(site.glob("*.html")):
            browser.open(page, width=width)
            assert browser.run("document.documentElement.scrollWidth") <= width, page.name
