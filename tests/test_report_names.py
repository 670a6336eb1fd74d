"""Names are text in every figure and page, whatever signs they have, however long they are and however many."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parent))

from chromium import browser
from test_report import Page, group_table, inputs, report, result

from hyper_bids.derivatives.write import write_json
from hyper_bids.report import (
    figures_attributes,
    figures_comparison,
    figures_group,
    figures_interpolation,
    figures_null,
    figures_regions,
    figures_scores,
    figures_similarity,
    figures_training,
)
from hyper_bids.report.canvas import draw, drawable, new_figure, short_names, style
from hyper_bids.report.group import write_group_report

NAMES = [r"a$\frac$", "$x^2$_%", r"\alpha{", "$"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_read_as_mathematics(name):
    with style():
        figure = new_figure(200, 100)
        axes = figure.subplots()
        title = axes.set_title(name)
        axes.set_yticks([0.5], [name])
        assert b"<svg" in draw(figure).content
        (label,) = axes.get_yticklabels()
        for text in (title, label):
            assert text.get_text() == name and not text.get_parse_math()


def test_logarithmic_axes_have_plain_numbers(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures_training, "draw", drawn.append)
    figures_training.loss_figure([np.geomspace(3000.0, 2.0, 400)[:, None]], [None])
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    drawn[0].canvas.draw()
    for axis in (axes.xaxis, axes.yaxis):
        labels = [label.get_text() for label in [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]]
        assert any(labels) and not any("$" in label for label in labels)


# --- names that are long, alike, or in a script that the font lacks

LONG = [f"{'a_stimulus_of_a_long_name_' * 3}{k:02d}" for k in range(80)]
HARD = {
    "long": LONG[:6],
    "wide": ["W" * k for k in range(76, 82)],
    "without glyphs": ["日本語", "顔", "家" * 40, "tab\tand\nline", "\U0001f9e0"],
    "numbered": ["stimulus_0001_upright", "sti…ight #1", "stimulus_0002_upright"],
    "few": ["test1", "test2"],
}


@pytest.mark.parametrize("longest", [12, 22])
@pytest.mark.parametrize("names", [*HARD.values(), LONG, NAMES])
def test_short_names_fit_and_stay_different(names, longest):
    short = short_names(names, longest)
    assert len(set(short)) == len(set(names)) and max(map(len, short)) <= longest
    assert [drawable(name) for name in short] == short
    twice = short_names([*names, *names], longest)
    assert twice[: len(names)] == twice[len(names) :] == short


def test_names_that_fit_are_as_they_were():
    assert short_names(["face", "x" * 22, "é"]) == ["face", "x" * 22, "é"]


def test_escapes_are_those_of_python_and_never_cut():
    name = "日本語" * 10
    (short,) = short_names([name], 20)
    head, _, tail = short.partition("…")
    assert head and name.startswith(head.encode().decode("unicode_escape"))
    assert tail and name.endswith(tail.encode().decode("unicode_escape"))


def figures_of(names, rng):
    """Every figure that writes names of stimuli, participants, metrics or attributes."""
    n = len(names)
    row = {"mean": 0.8, "ci_low": 0.7, "ci_high": 0.9, "null_mean": 0.5, "null_sd": 0.1, "ceiling": 1, "chance": 0.5}
    panels = [(title, rng.random(n), [rng.random(2)] * n, 0.5, 0.1) for title in ("Latent correlation", "Pairwise")]
    attributes = {name: tuple(rng.normal(size=(2, 7))) for name in names}
    titles = {name: f"{' '.join(name.split())}\nr = 0.40, p = 0.001" for name in names}
    pixels = rng.integers(0, 255, (3, 5, 4, 3), np.uint8)
    yield figures_scores.scores_figure(names, panels)
    yield figures_scores.null_figure(names, [row] * n)
    yield figures_group.participants_figure("r", names, [row] * n, row)
    yield figures_similarity.similarity_figure(names, *rng.uniform(-1, 1, (2, n, n)))
    yield figures_interpolation.interpolation_figure(
        [(f"{k}. {name}\nr = 0.40", pixels, pixels[0]) for k, name in enumerate(names)], (0.0, 0.5, 1.0))  # fmt: skip
    yield figures_attributes.attributes_figure(attributes, titles)
    yield figures_attributes.attribute_bars_figure(attributes, titles)
    yield figures_comparison.comparison_figure(names, [(title, [row] * n) for title in ("Latent correlation", "ssim")])
    yield figures_regions.regions_figure(names, np.arange(n) + 5, np.arange(n))
    yield figures_null.null_distributions_figure(
        [figures_null.Null(name, rng.normal(size=20), 1.0, "p = 0.0499") for name in names])  # fmt: skip


@pytest.mark.parametrize("names", HARD.values(), ids=HARD)
def test_no_name_makes_a_figure_warn(names, rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(drawing.content for drawing in figures_of(names, rng))


@pytest.mark.parametrize("names", HARD.values(), ids=HARD)
def test_all_text_lies_in_the_figure_and_none_on_its_neighbour(monkeypatch, names, rng):
    drawn = []
    for module in (figures_scores, figures_group, figures_similarity, figures_interpolation, figures_attributes,
                   figures_comparison, figures_regions, figures_null):  # fmt: skip
        monkeypatch.setattr(module, "draw", lambda figure, *_, **__: drawn.append(drawn_figure(figure)))
    list(figures_of(names, rng))
    for texts, whole in drawn:
        assert all(whole.x0 - 1 <= box.x0 and box.x1 <= whole.x1 + 1 for _, box in texts)
        labels = [box for kind, box in texts if kind == "label"]
        pairs = ((one, two) for k, one in enumerate(labels) for two in labels[:k])
        assert not any(one.overlaps(two) for one, two in pairs)


def drawn_figure(figure):
    """Where a figure's texts lie that are no numbers, those that name axes apart, and the figure itself, in pixels."""
    from matplotlib.text import Text

    draw(figure)
    figure.canvas.draw()
    named = {axis.label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)}
    seen = [text for text in figure.findobj(Text) if text.get_visible()]
    texts = [text for text in seen if text.get_text().strip("\N{MINUS SIGN}0123456789.")]
    return [("label" if text in named else "", text.get_window_extent()) for text in texts], figure.bbox


@pytest.mark.parametrize("n", [1, 2, 5])
def test_rows_of_few_stimuli_have_room(monkeypatch, n, rng):
    drawn = []
    monkeypatch.setattr(figures_scores, "draw", drawn.append)
    figures_scores.scores_figure(LONG[:n], [(name, rng.random(n), [rng.random(2)] * n, 0.5, 0.1) for name in "ab"])
    drawn[0].canvas.draw()
    for axes in drawn[0].axes:
        assert axes.get_window_extent().height >= max(60, 16 * n)


def test_every_tick_label_without_a_glyph_is_escaped_where_names_are_not_shortened():
    with style():
        figure = new_figure(200, 100)
        axes = figure.subplots()
        axes.set_xticks([0, 1], ["顔", "a"])
        axes.set_title("家\nr = 1")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            draw(figure)
        assert [label.get_text() for label in axes.get_xticklabels()] == [r"\u9854", "a"]
        assert axes.get_title(loc="left") == "\\u5bb6\nr = 1"


# --- names without pictures, and of many participants


@pytest.mark.parametrize("known", [0, 1])
def test_stimuli_are_listed_by_name_where_no_picture_of_any_is_known(tmp_path, rng, known):
    made = result(tmp_path / "data", rng, n=9, pictures=False)
    made["paths"] = dict(list(made["paths"].items())[:known])
    page = Page(report(tmp_path / "out", tmp_path / "data", inputs(made, rng, generator=None))[1])
    listed = [tag["data-name"] for _, tag in page.tags if "data-name" in tag]
    scores = made["metrics"].set_index("stimulus_id")["latent_correlation"]
    assert listed == scores.sort_values(ascending=False).index.tolist()
    assert page.text.count("no picture file here") == (8 if known else 0)
    assert page.text.count("No pictures: none was asked for.") == 1 + known
    ranks = [tag["value"] for tag in page.all("li") if "value" in tag]
    assert ranks == ([] if known else [str(k) for k in range(1, 10)])
    assert all(f"latent r {score:.2f}" in page.text for score in scores)


@pytest.mark.parametrize("n", [20, 21])
def test_the_table_of_many_participants_is_folded_and_whole(tmp_path, n):
    page, people = group_page(tmp_path, n)
    assert page.text.count(f"All {n} participants") == (n > 20)
    assert not any("open" in details for details in page.all("details"))
    (table,) = re.findall(r'<table class="wrap people.*?</table>', page.html, re.DOTALL)
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == people
    folded = page.html[: page.html.index(table)].rpartition("<details>")[2]
    assert (f"All {n} participants" in folded and "</details>" not in folded) == (n > 20)


def test_no_column_of_the_participants_is_cut_where_the_page_is_wide(tmp_path):
    group_page(tmp_path, 3)
    with browser() as chrome:
        chrome.open(tmp_path / "group.html", width=1400)
        inside, seen = (chrome.run(f"document.querySelector('.people').parentElement.{side}Width")
                        for side in ("scroll", "client"))  # fmt: skip
    assert inside <= seen


def group_page(folder, n):
    """A group's page of ``n`` participants, and their names."""
    table, _ = group_table(folder, np.random.default_rng(3), ["01"])
    one = {name: table[name][table[name]["participant_id"] == "sub-01"] for name in ("metrics", "stats")}
    people = [f"sub-{k:02d}" for k in range(1, n + 1)]
    for name, rows in one.items():
        others = [rows.assign(participant_id=who) for who in people[1:]]
        table[name] = pd.concat([table[name], *others], ignore_index=True)
    write_json(folder / "dataset_description.json", {"Name": "hyper: Toys"})
    page = Page(write_group_report(folder, [table]).read_text(encoding="utf-8"))
    page.html = (folder / "group.html").read_text(encoding="utf-8")
    return page, people
