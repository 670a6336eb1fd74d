"""Methods text, figures and tables of the reports, one law each."""

from __future__ import annotations

import base64
import io
import re
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from hyper_bids import settings as settings_module
from hyper_bids.report import (
    canvas,
    figures_design,
    figures_group,
    figures_reconstructions,
    figures_scores,
    figures_voxels,
    pictures,
    summary,
    tables,
    thumbnails,
)
from hyper_bids.report.audits import audit_items
from hyper_bids.report.methods import REFERENCES, SHORT, methods_parts, methods_text
from hyper_bids.report.page import FOLDER
from hyper_bids.report.pictures import per_stimulus
from hyper_bids.report.scores import attribute_rows, main_rows, smallest_p
from hyper_bids.report.thumbnails import SQUEEZED, Quality, read_picture
from hyper_bids.report.words import combined_floor, finding, smallest_possible_p, verdict


def plain(**changed):
    values, _ = settings_module.build(changed)
    return {name: settings_module.plain(getattr(values, name)) for name in settings_module.plain(values)}


def context(generator=None, cross_validate=None):
    task = {"scope": {"space": None}, "generator": generator, "cross_validate": cross_validate, "recordings": []}
    return {"tasks": [task], "dataset_name": "Toys", "version": "9.9", "derivatives": {}}


CASES = [
    ({}, "lss", "portrait", None, {"turner", "spm", "ssim", "torch", "ridge"}, {"glover", "eigenface"}),
    ({"hrf": "glover"}, "lsa", "eigenface", "run", {"glover", "ssim", "eigenface"}, {"spm", "turner", "torch"}),
    ({"decoder": ["mine.code:Net"]}, "lsa", None, "stimulus:5", {"spm", "phipson"}, {"ridge", "ssim", "torch"}),
]


@pytest.mark.parametrize(("changed", "mode", "generator", "folds", "cited", "absent"), CASES)
def test_methods_cite_what_ran_and_nothing_else(changed, mode, generator, folds, cited, absent):
    facts = [{"mode": mode, "runs": [{"nuisance": ["trans_x"]}]}]
    text = methods_text(plain(**changed), facts, context(generator, folds))
    body, _, listed = text.partition("## References")
    for key in REFERENCES:
        assert (SHORT[key] in body) == (REFERENCES[key] in listed)
    assert all(REFERENCES[key] in listed for key in cited)
    assert not any(REFERENCES[key] in listed for key in absent)
    assert "six motion parameters" in body


MODELS = [
    ({"hrf": "spm+derivatives"}, ["SPM's canonical", "its derivatives in time and dispersion"], {"spm"}),
    ({"hrf": "spm+derivative"}, ["SPM's canonical", "and its derivative in time at"], {"spm"}),
    ({"hrf": "glover+derivative"}, ["Glover's haemodynamic response", "its derivative in time"], {"glover"}),
    ({"hrf": "fir"}, ["finite impulse responses", "from 4 to 8 s"], set()),
    ({"noise_model": "ar1"}, ["least squares after whitening by a first-order autoregressive model"], {"spm"}),
    ({"drift": "polynomial", "drift_order": 5}, ["six motion parameters, polynomials of time up to order 5"], {"spm"}),
    ({"drift": "none"}, ["were six motion parameters and a constant."], {"spm"}),
    ({"confounds": "none"}, ["were cosines with periods down to 128 s and a constant."], {"spm"}),
    (
        {"confounds": "motion24+acompcor+scrub", "n_acompcor": 7, "fd_threshold": 0.3},
        ["squares of both, 7 aCompCor components", "framewise displacement above 0.3 mm"],
        {"spm"},
    ),
    ({"confounds": "columns", "confound_columns": ["csf", "w_*"]}, ["the columns csf, w_* of the"], {"spm"}),
    ({"non_steady_state": "regress"}, ["one regressor for each leading volume"], {"spm"}),
    ({"non_steady_state": "drop"}, ["Leading volumes that fMRIPrep flagged as not in steady state were left"], {"spm"}),
]


@pytest.mark.parametrize(("changed", "said", "responses"), MODELS)
def test_methods_say_the_model_that_was_fitted(changed, said, responses):
    drift = [] if changed.get("drift") == "none" else ["drift_1"]
    facts = [{"mode": "lsa", "runs": [{"nuisance": ["trans_x", *drift, "constant"]}]}]
    described = context()
    described["tasks"][0]["recordings"] = [{"confounds": "timeseries.tsv"}]
    if "non_steady_state" not in changed:
        changed = {**changed, "non_steady_state": "keep"}
    body, _, listed = methods_text(plain(**changed), facts, described).partition("## References")
    assert all(words in body for words in said)
    assert {key for key in ("spm", "glover") if REFERENCES[key] in listed} == responses
    assert {key for key in ("spm", "glover") if SHORT[key] in body} == responses
    if changed["non_steady_state"] == "keep":
        assert "steady" not in body


def test_methods_do_not_depend_on_a_participants_numbers():
    one, two = ([{"mode": "lsa", "runs": [{"nuisance": ["trans_x"], "rank": k}], "n_voxels": k}] for k in (5, 6))
    assert methods_text(plain(), one, context()) == methods_text(plain(), two, context())
    assert methods_parts(plain(), [], context())[0]


@pytest.mark.parametrize("key", list(REFERENCES))
def test_short_citations_agree_with_their_references(key):
    name, year = re.match(r"(\w+).* (\d{4})$", SHORT[key]).groups()
    assert REFERENCES[key].startswith(name) and f"({year})" in REFERENCES[key]


def test_scores_are_averaged_over_folds_and_sorted():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"stimulus_id": list("abcab"), "fold": list("11122"), "latent_correlation": rng.random(5)})
    found, column = per_stimulus(table)
    naive = {s: np.mean([r for n, r in zip("abcab", table[column], strict=True) if n == s]) for s in "abc"}
    assert list(found.index) == sorted(naive, key=naive.get, reverse=True)
    np.testing.assert_allclose(found[column], sorted(naive.values(), reverse=True))
    table[column] = np.nan
    table["latent_similarity_mse"] = [1, 2, 3, 1, 2]
    assert per_stimulus(table)[1] == "latent_similarity_mse"


def test_smallest_p_is_said_only_where_a_test_stands_there():
    stats = pd.DataFrame({"p_value": [1 / 1001, 0.3], "p_method": ["1000 permutations of stimuli"] * 2})
    assert "1000 permutations" in smallest_p([], stats)
    assert smallest_p([], stats.iloc[1:]) == ""


def perfect(n, n_permutations):
    """stats.tsv of predictions that are the truth."""
    from hyper_bids.data import Latents
    from hyper_bids.evaluate.decoded import Decoded
    from hyper_bids.evaluate.stats import participant_stats

    names = [f"s{k}" for k in range(n)]
    latents = Latents(np.random.default_rng(3).standard_normal((n, 6)), names, "toyZ")
    directions = {"age": np.eye(6)[0], "smile": np.eye(6)[1]}
    decoded = Decoded(latents.values, names, latents, n_repeats=np.full(n, 2), directions=directions)
    return participant_stats(decoded, n_permutations=n_permutations, n_bootstrap=20)


@pytest.mark.parametrize(
    ("n", "n_permutations", "floor"),
    [(9, 10, 1 / 11), (3, 1000, 1 / 6), (9, 19, 1 / 20), (9, 20, 1 / 21), (4, 1000, 1 / 24)],
)
def test_a_test_that_cannot_reach_significance_decides_nothing(n, n_permutations, floor):
    stats = perfect(n, n_permutations)
    row = stats.set_index("metric", drop=False).loc["latent_correlation"]
    assert row["p_value"] == pytest.approx(floor)  # a perfect result stands at the floor
    assert smallest_possible_p(row) == pytest.approx(floor)
    decidable = floor < 0.05
    assert finding(row) == ("above chance" if decidable else "not decidable")
    rows, _ = main_rows(stats)
    short, line = summary.verdict_line(rows)
    assert short == finding(row)
    for said in (verdict(row), line):
        assert ("the test cannot reach p < 0.05 (smallest possible p = " in said) != decidable
        assert "at chance" not in said and ("above chance" in said) == decidable
    assert {row.css for row in rows if row.p != "n/a"} == ({"above"} if decidable else {"none"})
    assert str(n_permutations if n == 9 else {3: 6, 4: 24}[n]) in smallest_p(rows, stats)


@pytest.mark.parametrize(
    ("method", "floor"),
    [
        ("9 refits with permuted stimuli", 0.1),
        ("9 refits with permuted stimuli, two-sided", 0.1),
        ("all 6 permutations of stimuli (exact) in the one participant", 1 / 6),
        ("two-sided t test, 3 degrees of freedom", 0),
        ("Stouffer's method over 3 participants, 2 of them with p < 0.05", 0),
        ("not tested: one test stimulus, nothing to permute", 0),
    ],
)
def test_floor_follows_from_the_method(method, floor):
    assert smallest_possible_p({"p_method": method}) == pytest.approx(floor)


@pytest.mark.parametrize("floors", [[0.1], [0.1, 1 / 6], [1 / 6, 0.5, 1 / 11]])
def test_floor_of_a_group_is_its_combined_p_of_the_participants_floors(floors):
    from scipy.stats import combine_pvalues

    from hyper_bids.evaluate.group import stouffer, stouffer_two_sided

    assert combined_floor(floors, False) == pytest.approx(combine_pvalues(floors, method="stouffer").pvalue)
    assert combined_floor(floors, False) == pytest.approx(stouffer(np.array(floors)))
    assert combined_floor(floors, True) == pytest.approx(stouffer_two_sided(np.array(floors), np.ones(len(floors))))


def test_attributes_without_a_test_are_not_counted_as_failures():
    stats = perfect(1, 1000)
    assert summary.attributes(attribute_rows(stats), stats) == "Attributes: not tested, because too few stimuli."
    stats = perfect(9, 1000)
    mixed = stats["metric"] == "attribute_smile"
    stats.loc[mixed, ["mean", "p_value"]] = np.nan
    stats.loc[mixed, "p_method"] = "not tested: the scores do not vary"
    said = summary.attributes(attribute_rows(stats), stats)
    assert said == (
        "Attributes: 1 of 1 tested predicted above chance: age (r = 1.00); "
        "smile not tested, because the scores do not vary."
    )


def test_what_was_not_computed_is_grey_and_last():
    lights = ("PASS", "N/A", "FAIL", "WARN")
    items = audit_items({f"Check{k}": {"Status": status, "Text": "why"} for k, status in enumerate(lights)})
    assert [item.status for item in items] == ["FAIL", "WARN", "PASS", "N/A"]
    assert (items[-1].word, items[-1].css) == ("not computed", "none")


@pytest.mark.parametrize(("n", "n_sheets"), [(36, 1), (37, 2), (103, 3)])
def test_every_stimulus_is_on_one_sheet_in_the_order_of_scores(n, n_sheets):
    order = np.random.default_rng(n).permutation(n)
    table = pd.DataFrame({"latent_correlation": np.linspace(1, 0, n)}, index=[f"s{k}" for k in order])
    own = np.arange(n)[:, None, None, None] * np.ones((1, 2, 3, 3), dtype=np.uint8)
    drawn = {"stimuli": np.array([f"s{k}" for k in range(n)]), "recon": own, "ceiling": own, "nearest": own}
    drawn |= {"random": own[:7], "zero": own[:1], "mean": own[1:2]}
    sheets = list(pictures.sheets(table, {}, drawn))
    assert len(sheets) == n_sheets
    for kind in ("decoded", "ceiling", "retrieved"):
        assert [image[0, 0, 0] for sheet in sheets for image in sheet.rows[kind]] == order.tolist()
    assert [name for sheet in sheets for name in sheet.captions] == [
        f"s{k}: r {r:.2f}" for k, r in zip(order, np.linspace(1, 0, n), strict=True)
    ]
    assert set(sheets[0].shared) == {"zero latent", "training mean"}
    if n_sheets == 1:
        assert sheets[0].note == "All 36 test stimuli, best first"
        return
    first = 1
    for sheet in sheets:
        last = first + len(sheet.captions) - 1
        assert sheet.note == f"Test stimuli {first} to {last} of {n}, best first"
        first = last + 1
    assert last == n


def test_the_note_is_written_on_the_sheet():
    few = {"decoded": [np.zeros((4, 5, 3), np.uint8)] * 2}
    plain_sheet, noted = (
        np.asarray(Image.open(io.BytesIO(figures_reconstructions.sheet_figure(few, ["a", "b"], note).content)))
        for note in ("", "100 of 103 test stimuli")
    )
    head = len(noted) - len(plain_sheet)
    assert head > 0 and (noted[:head] < 128).any()


def test_names_without_glyphs_are_silent_and_other_warnings_are_not():
    scores = np.array([0.4, 0.2])
    panels = [("r", scores, [scores[:1], scores[1:]], None, None)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures_scores.scores_figure(["\u9854", "\u5bb6"], panels)
        figures_reconstructions.sheet_figure({"decoded": [None, None]}, ["\u9854", "\u5bb6"])
    with canvas.style():
        figure = canvas.new_figure(200, 100)
        figure.savefig = lambda *_, **__: warnings.warn("something else", UserWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="something else"):
            canvas.draw(figure)


@pytest.mark.parametrize("shape", [(40, 20, 1), (9, 8, 7), (1, 1, 1), (6, 5, 30)])
def test_voxels_are_drawn_on_any_grid(shape):
    brain = np.ones(shape, dtype=bool)
    seen = np.zeros(shape, dtype=bool)
    seen[0] = True
    some, none = (figures_voxels.voxels_figure(brain, mask, np.diag([2.0, 3, 4, 1])) for mask in (seen, ~brain))
    assert some.content.startswith(b"\x89PNG") and some.content != none.content


def test_every_slice_that_is_drawn_holds_decoded_voxels(monkeypatch):
    brain, seen = np.ones((20, 24, 30), dtype=bool), np.zeros((20, 24, 30), dtype=bool)
    seen[3:6, 2:5, 4:8] = True
    drawn = []
    monkeypatch.setattr(figures_voxels, "_panel", lambda *given: drawn.append((given[-2], given[-1])))
    figures_voxels.voxels_figure(brain, seen, np.diag([2.0, 2, 2, 1]))
    assert len(drawn) == 6 and all(np.take(seen, index, axis).any() for axis, index in drawn)


def test_many_nuisance_regressors_are_named_by_their_kind(monkeypatch, rng):
    drawn = []
    monkeypatch.setattr(figures_design, "draw", lambda figure, _: drawn.append(figure))
    motion = [f"{kind}_{axis}{more}" for more in ("", "_derivative1", "_power2", "_derivative1_power2")
              for kind in ("trans", "rot") for axis in "xyz"]  # fmt: skip
    for names in ([*motion, "constant"], ["drift_1", "constant"]):
        trials, nuisance = rng.random((30, 5)), rng.random((30, len(names)))
        figures_design.design_figure(trials, nuisance, names, np.arange(30.0))
    many, few = ([tick.get_text() for tick in figure.axes[1].get_xticklabels()] for figure in drawn)
    assert many == ["24 motion", "constant"] and few == ["drift_1", "constant"]
    run = {"nuisance": [*motion, "csf", "drift_1", "constant"]}
    assert tables.nuisance_cells(run, {"confounds": "x.tsv"}) == ["2", "csf, 24 motion"]
    for figure in drawn:
        figure.canvas.draw()
        title = figure.axes[1].get_title(loc="left"), figure.axes[1]._left_title.get_window_extent()
        assert title[0] == "Nuisance" and title[1].x1 <= figure.bbox.x1, "the heading is not cut"


def test_a_large_figure_of_pictures_is_a_jpeg_on_the_page_and_a_plot_is_not(rng):
    def png(pixels):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    slope = np.add.outer(np.linspace(0, 200, 500), np.linspace(0, 40, 500))[..., None]
    smooth = slope + rng.normal(0, 3, (500, 500, 3))
    photograph, plot = png(smooth.clip(0, 255).astype(np.uint8)), png(np.zeros((900, 900, 3), np.uint8))
    assert len(photograph) > thumbnails.LARGE
    assert thumbnails.embedded(photograph, ".png").startswith("data:image/jpeg")
    assert len(thumbnails.embedded(photograph, ".png")) < len(thumbnails.data_uri(photograph, ".png")) / 2
    assert thumbnails.embedded(plot, ".png") == thumbnails.data_uri(plot, ".png")


def test_notes_are_folded_where_there_are_many_and_warnings_never():
    macro = Environment(loader=FileSystemLoader(FOLDER)).get_template("parts.html").module.notice_list
    few = [("FAIL", "a"), ("WARN", "b"), ("NOTE", "c")]
    many = [*few, ("NOTE", "d"), ("WARN", "e")]
    for notices, folded in ((few, []), (many, ["c", "d"])):
        head, _, details = str(macro(notices)).partition("<details")
        for kind, text in notices:
            place = details if text in folded else head
            assert f'<li class="{kind}">' in place and re.search(rf"</strong> {text}</li>", place)
        assert ("2 notes</summary>" in details) is bool(folded)


def test_neighbour_correlation_is_that_of_numpy(rng):
    trials = rng.standard_normal((30, 5))
    full = np.corrcoef(trials, rowvar=False)
    assert figures_design.neighbour_correlation(trials) == pytest.approx(np.mean([full[k, k + 1] for k in range(4)]))
    assert np.isnan(figures_design.neighbour_correlation(trials[:, :1]))


def drawings(rng):
    scores, nothing = rng.random(4), float("nan")
    row = {"mean": 0.8, "ci_low": 0.7, "ci_high": 0.9, "null_mean": 0.5, "null_sd": 0.1, "ceiling": 1, "chance": 0.5}
    unknown = {**dict.fromkeys(row, nothing), "mean": 0.4}
    panels = [("r", scores, [np.array([s, s / 2]) for s in scores], None, 0.1)]
    picture = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
    yield figures_scores.scores_figure(list("abcd"), panels)
    yield figures_scores.identification_figure(scores, 0.5, 0.6, nothing, nothing)
    yield figures_scores.null_figure(["r", "s"], [row, unknown])
    yield figures_group.participants_figure("r", ["sub-01"], [row], unknown)
    yield figures_reconstructions.sheet_figure({"shown": [picture, None], "decoded": [picture] * 2}, ["a", "b"])
    yield figures_design.correlation_figure(rng.random((20, 3)), np.ones((20, 1)))


def test_figures_are_reproducible_and_carry_no_date():
    first, second = (list(drawings(np.random.default_rng(1))) for _ in range(2))
    assert [drawing.content for drawing in first] == [drawing.content for drawing in second]
    assert not any(b"<dc:date>" in drawing.content or b"Software" in drawing.content for drawing in first)


def test_drawing_leaves_matplotlibs_settings_alone():
    before = dict(matplotlib.rcParams)
    with canvas.style():
        assert matplotlib.rcParams["svg.hashsalt"] == "hyper"
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("grey", [False, True])
def test_a_drawing_keeps_every_pixel_and_a_photograph_of_its_size_does_not(rng, grey):
    side = 384
    assert 3 * side * side > SQUEEZED * Quality.for_count(100).most  # as many bytes as a photograph's PNG is not tried
    rows, columns = np.mgrid[:side, :side]
    distance = np.hypot(rows - 190, columns - 200)[..., None]
    drawing = np.clip(abs(distance - [90, 91, 92]) * 60, 0, 255).astype(np.uint8)  # a soft coloured ring on white
    photograph = rng.integers(0, 256, (side, side, 1 if grey else 3), dtype=np.uint8) + np.zeros(3, np.uint8)
    quality = Quality(side, Quality.for_count(100).most)
    made = {name: quality.thumbnail(pixels).uri for name, pixels in (("drawing", drawing), ("photo", photograph))}
    assert made["photo"].startswith("data:image/jpeg")
    kept = Image.open(io.BytesIO(base64.b64decode(made["drawing"].partition("base64,")[2])))
    assert kept.format == "PNG" and (np.asarray(kept) == drawing).all()


def test_small_pictures_keep_their_pixels_and_large_ones_shrink(tmp_path, rng):
    small, large = (rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((10, 14), (900, 300)))
    sizes = {}
    for name, pixels in (("small", small), ("large", large)):
        made = Quality.for_count(10).thumbnail(pixels)
        decoded = Image.open(io.BytesIO(base64.b64decode(made.uri.partition("base64,")[2])))
        sizes[name] = decoded.size
        assert made.pixelated == (name == "small")
    assert sizes == {"small": (14, 10), "large": (128, 384)}
    clear = Image.fromarray(np.zeros((3, 5, 4), dtype=np.uint8))
    clear.save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png").shape == (3, 5, 3)
    assert read_picture(tmp_path / "clear.png").min() == 255
