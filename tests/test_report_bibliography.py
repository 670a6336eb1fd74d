"""The bibliography: every reference as BibTeX, and in a run exactly those that the methods text cites."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from test_report_methods import context, plain

from hyper_bids.report.bibliography import bibtex, cite_key, fields
from hyper_bids.report.citations import REFERENCES
from hyper_bids.report.methods import methods_bibtex, methods_text


@pytest.mark.parametrize("key", list(REFERENCES))
def test_every_reference_comes_apart_and_loses_nothing(key):
    found = fields(key)
    assert {"author", "title", "year"} <= set(found) and ("journal" in found) != ("booktitle" in found)
    left = REFERENCES[key].replace("et al.", "others")
    for name, value in found.items():
        parts = set(re.findall(r"\w+", value)) - {"and"} if name in ("author", "pages") else [value]
        assert all(part in left for part in parts), name
    text = bibtex([key])
    assert text.count("{") == text.count("}") and text.isascii() == REFERENCES[key].isascii()


def test_cite_keys_differ_and_entries_are_entries():
    keys = [cite_key(key) for key in REFERENCES]
    assert len(set(keys)) == len(keys) and all(re.fullmatch(r"[a-z]+\d{4}", key) for key in keys)
    text = bibtex(REFERENCES)
    assert re.findall(r"^@\w+\{(\w+),$", text, flags=re.MULTILINE) == keys
    assert len(re.findall(r"^}$", text, flags=re.MULTILINE)) == len(keys)


@pytest.mark.parametrize("settings", [{}, {"decoder": ["adam"], "loss_layer": "L2"}, {"encoder": "eigenface"}])
def test_a_run_lists_what_its_methods_text_cites(settings):
    asked = (plain(**settings), [], context())
    text, made = methods_text(*asked), methods_bibtex(*asked)
    for key, reference in REFERENCES.items():
        assert (reference in text) == (f"{{{cite_key(key)}," in made)
