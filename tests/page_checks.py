"""What any page of ours must pass in a browser, on toy results and on real ones."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from chromium import Browser

WHOLE = """[...document.images].filter(i => !i.complete || !i.naturalWidth).length"""
DEAD = """[...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href').slice(1))
          .filter(id => !document.getElementById(decodeURIComponent(id)))"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
UNNAMED = """[...document.querySelectorAll('img:not([alt]), img[alt=""], [role=region]:not([aria-label])')]
             .map(e => e.outerHTML.slice(0, 90))"""

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


def check_whole_and_quiet(chrome: Browser, page: Path, width: int, n_images: int) -> None:
    """Every picture is drawn, every link leads somewhere, nothing is fetched, nothing is said, nothing is too wide."""
    chrome.open(page, width=width)
    assert chrome.run("document.images.length") >= n_images and chrome.run(WHOLE) == 0
    assert chrome.run(DEAD) == [] and chrome.run(UNNAMED) == []
    assert chrome.run(WIDER) <= 0, "the page scrolls sideways"
    assert chrome.console == []
    outside = [url for url in chrome.requests if not url.startswith(("file:", "data:", "about:"))]
    assert outside == [] and sum(url.startswith("file:") for url in chrome.requests) == 1
    levels = chrome.run(HEADINGS)
    assert levels[0] == 1 and levels.count(1) == 1 and max(np.diff(levels)) <= 1
    assert chrome.run("document.documentElement.lang") == "en"


def check_links_to_files(chrome: Browser, page: Path) -> None:
    """Every relative link names a file that lies beside the page."""
    chrome.open(page)
    named = chrome.run("[...document.querySelectorAll('a[href]')].map(a => a.href).filter(h => h.startsWith('file:'))")
    lost = [url for url in named if not Path(unquote(urlsplit(url).path)).exists()]
    assert lost == []


def check_prints(chrome: Browser, page: Path, most: int) -> None:
    """The page prints, on more than one sheet and on at most ``most``."""
    chrome.open(page)
    content = chrome.pdf()
    n_pages = content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") + content.count(b"/Type /Page>")
    assert content.startswith(b"%PDF") and 1 < n_pages < most and chrome.console == []


def check_contrast(chrome: Browser, page: Path) -> None:
    """Text stands out from what is behind it as WCAG AA asks, 4.5 to 1."""
    chrome.open(page)
    chrome.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert chrome.run(LOW) == []
