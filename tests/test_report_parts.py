"""Methods text, figures and tables of the reports, one law each."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from hyper_bids import settings as settings_module
from hyper_bids.report import (
    canvas,
    figures_design,
    figures_group,
    figures_reconstructions,
    figures_scores,
    figures_voxels,
)
from hyper_bids.report.methods import REFERENCES, SHORT, methods_parts, methods_text
from hyper_bids.report.pictures import per_stimulus
from hyper_bids.report.scores import smallest_p
from hyper_bids.report.thumbnails import Quality, read_picture


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


@pytest.mark.parametrize("shape", [(40, 20, 1), (9, 8, 7), (1, 1, 1), (6, 5, 30)])
def test_voxels_are_drawn_on_any_grid(shape):
    brain = np.ones(shape, dtype=bool)
    seen = np.zeros(shape, dtype=bool)
    seen[0] = True
    some, none = (figures_voxels.voxels_figure(brain, mask, np.diag([2.0, 3, 4, 1])) for mask in (seen, ~brain))
    assert some.content.startswith(b"\x89PNG") and some.content != none.content


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
    import matplotlib

    before = dict(matplotlib.rcParams)
    with canvas.style():
        assert matplotlib.rcParams["svg.hashsalt"] == "hyper"
    assert dict(matplotlib.rcParams) == before


def test_small_pictures_keep_their_pixels_and_large_ones_shrink(tmp_path, rng):
    import base64
    import io

    from PIL import Image

    small, large = (rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((10, 14), (900, 300)))
    sizes = {}
    for name, pixels in (("small", small), ("large", large)):
        made = Quality.for_count(10).thumbnail(pixels)
        decoded = Image.open(io.BytesIO(base64.b64decode(made.uri.partition("base64,")[2])))
        sizes[name] = decoded.size
        assert made.pixelated == (name == "small")
    assert sizes == {"small": (14, 10), "large": (69, 208)}
    clear = Image.fromarray(np.zeros((3, 5, 4), dtype=np.uint8))
    clear.save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png").shape == (3, 5, 3)
    assert read_picture(tmp_path / "clear.png").min() == 255
