"""What the group's page says of its participants: their audits, and how they were taken together."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parent))

from test_report import group_table

from hyper_bids.derivatives.write import write_json
from hyper_bids.errors import MissingFiles
from hyper_bids.report.bibliography import cite_key
from hyper_bids.report.citations import REFERENCES
from hyper_bids.report.group import write_group_report
from hyper_bids.report.group_audits import audit_warnings, check_rows, read_audits
from hyper_bids.report.group_methods import group_text, with_entries, with_group, write_group_methods
from hyper_bids.report.group_tables import comparison_part
from hyper_bids.report.methods import LEAD
from hyper_bids.report.notices import once

NAMES = {"task": "faces", "space": None, "resolution": None, "model": "ridge", "desc": "z"}
NO_ROWS = pd.DataFrame({"metric": []})
PARTICIPANT = (
    f"# Methods\n\n{LEAD}\n\n**Data.** BOLD images (Hoerl & Kennard 1970).\n\nWritten by hand.\n\n## References\n\n"
    f"1. {REFERENCES['ridge']}\n"
)


def comparison(*models):
    return {**NAMES, "what": "decoders", "models": list(models), "table": pd.DataFrame({"metric": ["ssim"]})}


def test_so_few_participants_that_no_test_can_decide_are_said_once():
    def row(metric, n):
        return {"kind": "omnibus", "metric": metric, "p_value": 0.5, "p_method": "sign test, exact", "n": n}

    few, many = (
        comparison_part({**comparison("ridge", "ols"), "words": [], "notices": [],
                         "table": pd.DataFrame([row(metric, n) for metric in ("ssim", "top1")])}).sentences
        for n in (5, 6)
    )  # fmt: skip
    assert few == ["The decoders cannot be told apart with 5 participants, whatever the results: the test cannot reach "
                   "p < 0.05 (smallest possible p = 0.062)."]  # fmt: skip
    assert len(many) == 2 and all("cannot be told apart, p = 0.50 by sign test" in sentence for sentence in many)


def put_audit(folder, who, **statuses):
    content = {name: {"Status": status, "Text": f"{name} of {who}."} for name, status in statuses.items()}
    path = folder / who / "func" / f"{who}_task-faces_model-ridge_desc-z_audit.json"
    path.parent.mkdir(parents=True)
    write_json(path, content)


def test_every_audit_is_counted_and_the_worst_comes_first(tmp_path):
    put_audit(tmp_path, "sub-01", Overlap="PASS", Novelty="PASS")
    put_audit(tmp_path, "sub-02", Overlap="PASS", Novelty="FAIL")
    put_audit(tmp_path, "sub-03", Overlap="PASS", Novelty="WARN")
    audits = read_audits(tmp_path, NAMES, ["01", "sub-02", "sub-03", "sub-04"])
    assert list(audits) == ["sub-01", "sub-02", "sub-03"]
    first, second = check_rows(audits)
    assert first.text == "Novelty of sub-02." and [css for _, css, _ in first.lights] == ["FAIL", "WARN", "PASS"]
    assert [words for *_, words in first.lights] == ["1 fail: sub-02", "1 warning: sub-03", "1 pass: sub-01"]
    assert second.lights == [("✓", "PASS", "3 pass")]
    told = [(status, text) for status, _, text in audit_warnings(audits)]
    assert [status for status, _ in told] == ["FAIL", "WARN"]
    assert told[0][1] == "1 of 3 audits (sub-02): Novelty of sub-02."


def test_whoever_is_concerned_in_one_result_only_is_not_lost(tmp_path):
    names = [f"sub-{k:02d}" for k in range(1, 10)]
    for who in names:
        put_audit(tmp_path, who, Novelty="WARN")
    everybody = read_audits(tmp_path, NAMES, names)
    without_last = {who: [item if who != names[-1] else replace(item, status="PASS") for item in items]
                    for who, items in everybody.items()}  # fmt: skip
    one, two = (
        [(check, title, text) for _, check, text in audit_warnings(audits)]
        for title, audits in (("ridge", everybody), ("ols", without_last))
    )
    assert len(once([*one, *two])) == 2, "the sentences differ in numbers only, and are of other people"
    assert once([*one, *((check, "map", text) for check, _, text in one)])[0].startswith("ridge; map: 9 of 9 audits")


def test_group_methods_stand_behind_the_participants_and_follow_what_was_done(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "CITATION.md").write_text(PARTICIPANT)
    (tmp_path / "logs" / "CITATION.bib").write_text("@article{hoerl1970,\n  title = {{Ridge}},\n}\n")
    table = {**NAMES, "covariates": pd.DataFrame({"covariate": ["complexity", "valence"]})}
    people = {"faces, ridge": ["sub-01", "sub-02"], "faces, map": ["sub-01", "sub-02"]}
    made = write_group_methods(tmp_path, people, [table], [comparison("ridge", "map", "ols")])
    assert [title for title, _ in made.paragraphs] == ["Data", "", "Group"]
    assert made.paragraphs[1][1] == "Written by hand."
    said = made.paragraphs[2][1]
    assert "sub-01, sub-02" in said and "complexity, valence" in said and "Friedman" in said
    assert "ridge, map, ols" in said
    for key in ("ridge", "whitlock", "cornfield", "fdr", "friedman", "holm"):
        assert made.bibliography.count(REFERENCES[key]) == 1 and made.bibtex.count(cite_key(key) + ",") == 1
    assert (tmp_path / "logs/group_CITATION.md").read_text() == made.markdown
    assert (tmp_path / "logs/group_CITATION.bib").read_text() == made.bibtex
    assert (tmp_path / "logs/CITATION.md").read_text() == PARTICIPANT  # the participants' own, which their runs write
    alone = write_group_methods(tmp_path, {"faces, ridge": ["sub-01"]}, [{**NAMES}], [])
    assert alone.bibliography == [REFERENCES["ridge"]] and "Friedman" not in alone.markdown + alone.bibtex


def test_group_paragraph_without_participants_text():
    made = [comparison("ridge", "map"), {**comparison("a", "b"), "table": NO_ROWS}]
    text = group_text({"faces": ["sub-01", "sub-02"]}, [], made)
    whole = with_group("# Methods\n", text)
    assert whole.count("**Group.**") == 1 and "sign test" in whole and "a, b" not in whole
    assert with_entries("", text.used).count("@article") == len(text.used)


def test_results_of_different_people_and_models_are_told_apart():
    people = {"faces, ridge": ["sub-01"], "faces, ols": ["sub-02"], "faces, map": ["sub-01"]}
    differing = {"trial models": {"lsa": ["sub-01"], "lss": ["sub-02", "sub-03"]}}
    ((_, sentences),) = group_text(people, [{**NAMES, "differing": differing}], []).paragraphs
    assert sentences[:2] == [
        "The results faces, ridge; faces, map are of one participant (sub-01).",
        "The results faces, ols are of one participant (sub-02).",
    ]
    assert "different trial models (lsa: sub-01; lss: sub-02, sub-03)" in sentences[2]
    assert "Stouffer" not in " ".join(sentences)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_damaged_audit_is_named(tmp_path, content):
    put_audit(tmp_path, "sub-01", Overlap="PASS")
    (path,) = tmp_path.glob("sub-01/func/*_audit.json")
    path.write_text(content)
    with pytest.raises(MissingFiles, match=r"_audit\.json is damaged .* run that participant again"):
        read_audits(tmp_path, NAMES, ["sub-01"])


def test_the_page_shows_audits_methods_and_provenance(tmp_path):
    table, people = group_table(tmp_path, np.random.default_rng(3))
    names = {key: table[key] for key in ("task", "space", "resolution", "model", "desc")}
    entities = "".join(f"_{e}-{names[k]}" for e, k in (("space", "space"), ("res", "resolution")) if names[k])
    for who in people:
        path = tmp_path / who / "func" / (
            f"{who}_task-{names['task']}{entities}_model-{names['model']}_desc-{names['desc']}_audit.json"
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"Overlap": {"Status": "FAIL", "Text": "3 stimuli are in both sets."}})
    write_json(tmp_path / "dataset_description.json", {"Name": "hyper: Toys"})
    table["provenance"] = {"Settings digest": "abc123"}
    page = write_group_report(tmp_path, [table]).read_text()
    top = page[: page.index('id="summary"')]
    assert "3 stimuli are in both sets." in top and "Failed audit" in top
    assert "Are the results what they seem?" in page and "abc123" in page and "Whitlock MC" in page
    assert json.loads((tmp_path / "dataset_description.json").read_text())["Name"] == "hyper: Toys"
