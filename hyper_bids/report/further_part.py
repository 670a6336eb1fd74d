"""Tests beside the main ones: exact nulls, k-way, groups, single latents, corrected attributes, a paper's protocol."""

from __future__ import annotations

from dataclasses import dataclass

from hyper_bids.report.read import Result
from hyper_bids.report.scores import known, number, p_text
from hyper_bids.report.tables import Table
from hyper_bids.report.words import long_name

SHOWN_LATENTS = 20
"""Single latents in the table, those with the largest r."""


@dataclass
class FurtherTable:
    """A table that is folded away, with the line that is seen."""

    title: str
    table: Table
    note: str = ""


def further_tables(result: Result) -> list[FurtherTable]:
    """Return what there is of further tables of one decoder."""
    makers = {
        "furtherstats": _tests, "latentstats": _latents, "attributestats": _attributes, "classstats": _classes,
        "closedformstats": _closed_form, "spacestats": _spaces, "protocolmetrics": _protocol,
    }  # fmt: skip
    return [make(result) for suffix, make in makers.items() if result.has(suffix, ".tsv")]


def _p(value: object) -> str:
    return p_text(float(value)).removeprefix("p ").removeprefix("= ") if known(value) else "n/a"


def _tests(result: Result) -> FurtherTable:
    found = result.table("furtherstats")
    rows = [
        [row["test"], number(row["mean"], 3), number(row["chance"], 3), _p(row["p_value"]), row["p_method"]]
        for row in found.to_dict("records")
    ]
    columns = [("Test", False), ("Mean", True), ("Chance", True), ("p", True), ("How p was made", False)]
    caption = "Further tests, none corrected for their number. Rank sum and binomial take predictions as independent."
    return FurtherTable(f"{len(rows)} further tests", Table(caption, columns, rows))


def _latents(result: Result) -> FurtherTable:
    found = result.table("latentstats").sort_values("r", ascending=False)
    tested = found["p_value"].notna().any()
    passing = int((found["p_fdr"] <= 0.05).sum())
    rows = [
        [row["name"], number(row["r"], 3), _p(row["p_value"]), _p(row["p_fdr"]), _p(row["p_max"])]
        for row in found.head(SHOWN_LATENTS).to_dict("records")
    ]
    columns = [("Latent", False), ("r", True), ("p", True), ("p, FDR", True), ("p, family-wise", True)]
    shown = f"The {len(rows)} of {len(found)} latents with the largest r" if len(found) > len(rows) else "Every latent"
    said = f"{passing} of {len(found)} with p below 0.05 after FDR" if tested else "not tested"
    caption = f"{shown}: correlation over test stimuli ({found['p_method'].iloc[0]})."
    return FurtherTable(f"Single latents: {said}", Table(caption, columns, rows), _file(result, "latentstats"))


def _attributes(result: Result) -> FurtherTable:
    found = result.table("attributestats")
    rows = [
        [row["attribute"], row["scaling"], number(row["r"], 3), _p(row["p_value"]), _p(row["p_fdr"]),
         _p(row["p_bonferroni"]), number(row["partial_r"], 3), _p(row["partial_p"])]
        for row in found.to_dict("records")
    ]  # fmt: skip
    columns = [
        ("Attribute", False), ("Latents", False), ("r", True), ("p", True), ("p, FDR", True), ("p, Bonferroni", True),
        ("Partial r", True), ("p of partial r", True),
    ]  # fmt: skip
    return FurtherTable("Attributes, corrected for their number", Table(str(found["p_method"].iloc[0]), columns, rows))


def _classes(result: Result) -> FurtherTable:
    found = result.table("classstats")
    rows = [
        [row["label"], row["positive"], row["border"], number(row["accuracy"], 3), number(row["accuracy_true"], 3),
         _p(row["p_value"]), str(row["n"])]
        for row in found.to_dict("records")
    ]  # fmt: skip
    columns = [
        ("Label", False), ("Positive class", False), ("Border", False), ("Accuracy", True), ("By true latents", True),
        ("p", True), ("n", True),
    ]  # fmt: skip
    caption = (
        "The class that a decoded latent falls into: the side of the border along the line between the means of the "
        f"training stimuli's two classes ({found['p_method'].iloc[0]})."
    )
    return FurtherTable("Classes by projection", Table(caption, columns, rows))


def _closed_form(result: Result) -> FurtherTable:
    found = result.table("closedformstats").sort_values("r", ascending=False)
    passing = int((found["p_fdr"] <= 0.05).sum())
    rows = [
        [row["direction"], number(row["eigenvalue"], 2), number(row["r"], 3), _p(row["p_value"]), _p(row["p_fdr"])]
        for row in found.head(SHOWN_LATENTS).to_dict("records")
    ]
    columns = [("Direction", False), ("Eigenvalue", True), ("r", True), ("p", True), ("p, FDR", True)]
    shown = f"The {len(rows)} of {len(found)} directions with the largest r" if len(found) > len(rows) else "All"
    caption = f"{shown}; the number is the rank of the eigenvalue ({found['p_method'].iloc[0]})."
    title = f"The generator's directions in closed form: {passing} of {len(found)} with p below 0.05 after FDR"
    return FurtherTable(title, Table(caption, columns, rows), _file(result, "closedformstats"))


def _spaces(result: Result) -> FurtherTable:
    found = result.table("spacestats")
    rows = [
        [row["first"], row["second"], number(row["r"], 3), _p(row["p_value"]), str(row["n"])]
        for row in found.to_dict("records")
    ]
    columns = [("Distances of", False), ("and of", False), ("r", True), ("p", True), ("n", True)]
    caption = f"Which stimuli lie near each other ({found['p_method'].iloc[0]})."
    return FurtherTable("Similarity of latent spaces", Table(caption, columns, rows))


def _protocol(result: Result) -> FurtherTable:
    found, sidecar = result.table("protocolmetrics"), result.sidecar("protocolmetrics")
    rows = [
        [long_name(name), number(values.mean(), 3), number(values.sem(), 3), str(int(values.notna().sum()))]
        for name, values in found.drop(columns="stimulus_id").items()
    ]
    protocol = sidecar.get("ImageProtocol", {})
    name = str(protocol.get("Protocol", "a paper"))
    missing = [f"{metric}: {why}" for metric, why in (sidecar.get("NotComputed") or {}).items()]
    caption = f"Scored as {protocol.get('Source', 'a paper')} did, at {protocol.get('Size')} pixels."
    columns = [("Metric", False), ("Mean", True), ("s.e.m.", True), ("n", True)]
    note = f"Not computed: {'; '.join(missing)}." if missing else ""
    return FurtherTable(f"Protocol {name}", Table(caption, columns, rows), note)


def _file(result: Result, suffix: str) -> str:
    return f"All of them: {result.name(suffix, '.tsv')}"
