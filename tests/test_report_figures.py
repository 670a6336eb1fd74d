"""New figures: they draw, they say what they show, and their numbers are those that were tested."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parent))

from test_report import SPACE, TASK, Page, inputs, report, result

from hyper_bids.audit.novelty import MOST_ROWS
from hyper_bids.data import Images, Latents, VoxelGrid
from hyper_bids.derivatives.names import Scope
from hyper_bids.derivatives.tree import Tree, tree_files
from hyper_bids.derivatives.write import write_json, write_npz, write_tsv, write_volume, write_volumes
from hyper_bids.errors import MissingFiles
from hyper_bids.evaluate.decoded import Decoded, compare_images
from hyper_bids.evaluate.participant import participant_metrics
from hyper_bids.evaluate.stats import Refits, null_distributions, participant_stats
from hyper_bids.report import decoder_part, figures_latents
from hyper_bids.report.canvas import Drawing
from hyper_bids.report.figures_attributes import MOST_BARS, attribute_bars_figure
from hyper_bids.report.figures_bottleneck import RankScores, bottleneck_figure
from hyper_bids.report.figures_carpet import carpet_figure, scaled
from hyper_bids.report.figures_identification import curve_figure
from hyper_bids.report.figures_interpolation import interpolation_figure
from hyper_bids.report.figures_latents import latents_figure
from hyper_bids.report.figures_novelty import fitted_line, novelty_figure
from hyper_bids.report.figures_null import Null, null_distributions_figure
from hyper_bids.report.figures_regions import regions_figure
from hyper_bids.report.figures_similarity import similarity_figure
from hyper_bids.report.figures_template import glass_figure, project, surface_figure
from hyper_bids.report.gallery import QUERIES, FigureFolder, Gallery
from hyper_bids.report.group_tables import draw_comparison
from hyper_bids.report.read import Result
from hyper_bids.report.voxel_part import voxel_part
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.figures import (
    CARPET_VOXELS,
    draw_carpet,
    draw_evidence,
    numbers_of_candidates,
)
from hyper_bids.workflow.steps.pictures import reconstruct

NAN = float("nan")
MNI = np.array([[9.0, 0, 0, -72], [0, 9, 0, -104], [0, 0, 9, -60], [0, 0, 0, 1]])


def blob(shape=(17, 21, 15)):
    places = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1) @ MNI[:3, :3] + MNI[:3, 3]
    values = np.exp(-((places - [35, -60, -10]) ** 2).sum(-1) / 900)
    return np.where(values > 0.1, values, 0)


FIGURES = {
    "similarity": lambda rng: similarity_figure(list("abcd"), rng.normal(size=(4, 4)), rng.normal(size=(4, 6))),
    "similarity, unknown": lambda rng: similarity_figure(list("abc"), np.full((3, 3), NAN), np.full((3, 5), NAN)),
    "curve": lambda rng: curve_figure([2, 3, 5], np.array([1.0, 0.8, 0.1]), np.full(3, 0.05), rng.random((2, 3)), 5),
    "curve, no null": lambda rng: curve_figure([2], np.array([0.5]), np.array([0.0]), None, 2),
    "nulls": lambda rng: null_distributions_figure(
        [Null(name, rng.normal(size=50), 3.0, "p = 0.02") for name in "ab"]),
    "null, two-sided": lambda rng: null_distributions_figure(
        [Null("a", np.append(rng.normal(size=50), NAN), -3.0, "p = 0.02", two_sided=True)]),
    "novelty": lambda rng: novelty_figure(rng.random(9), rng.random(9), "r = 0.10, p = 0.4, n = 9"),
    "bottleneck": lambda rng: bottleneck_figure(
        [1, 2, 3, 7], [RankScores("a", rng.random(4), 0.5, 2), RankScores("b", rng.random(4), NAN, None)], 9, 5),
    "bottleneck, one dimension": lambda rng: bottleneck_figure([1], [RankScores("a", np.ones(1), 0.5, 1)], 2, 3),
    "null, constant": lambda rng: null_distributions_figure([Null("a", np.ones(9), 1.0, "p = 1.00")]),
    "interpolation": lambda rng: interpolation_figure(
        [("a", rng.integers(0, 255, (3, 5, 4, 3), np.uint8), None)], (0.0, 0.5, 1.0)),
    "latents": lambda rng: latents_figure(np.array([0.5, NAN, -0.2]), np.array([0.01, NAN, 0.6]), 9),
    "regions": lambda rng: regions_figure(["V1", "x" * 60], np.array([30, 7]), np.array([4, 0])),
    "carpet": lambda rng: carpet_figure(
        rng.normal(size=(9, 5)), np.arange(5) < 2, np.arange(9.0), {"FD": ("mm", np.append(NAN, rng.random(8)))}),
    "carpet, all decoded": lambda rng: carpet_figure(np.ones((4, 3)), np.ones(3, bool), np.arange(4.0), {}),
    "glass": lambda rng: glass_figure([("a", blob(), "r", 1.0)], MNI),
    "surface": lambda rng: surface_figure("a", blob(), MNI, "r", None),
    "bars": lambda rng: attribute_bars_figure(
        {name: tuple(rng.normal(size=(2, 7))) for name in "ab"}, {"a": "a\nr", "b": "b"}),
}  # fmt: skip


def test_both_sides_of_a_correction_are_named_by_their_p(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures_latents, "draw", drawn.append)
    figures_latents.latents_figure(np.array([0.2, 0.1]), np.array([0.6, 0.7]), 9)
    (text,) = drawn[0].legends[0].get_texts()
    assert text.get_text() == "p ≥ 0.05 after FDR (2)"
    assert all(float(tick).is_integer() for tick in drawn[0].axes[0].get_xticks())


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_and_is_reproducible(name):
    first, second = (FIGURES[name](np.random.default_rng(1)) for _ in range(2))
    assert first.content == second.content
    assert first.content.startswith(b"\x89PNG" if first.extension == ".png" else b"<?xml")
    assert b"dc:date" not in first.content and 200 <= first.width <= 580


def test_bars_are_drawn_of_so_many_stimuli_at_most():
    rng = np.random.default_rng(2)
    few, many = (attribute_bars_figure({"a": tuple(rng.normal(size=(2, n)))}, {"a": "a"}) for n in (MOST_BARS, 9999))
    assert len(many.content) < 1.2 * len(few.content)


def test_a_carpet_keeps_what_is_fast_and_drops_level_and_trend(rng):
    bold = rng.standard_normal((80, 6))
    naive = np.stack([column - np.polyval(np.polyfit(np.arange(80), column, 1), np.arange(80)) for column in bold.T], 1)
    naive /= 1.4826 * np.median(np.abs(naive), axis=0)
    raised = 100 + 7 * bold + np.linspace(0, 50, 80)[:, None]
    np.testing.assert_allclose(scaled(raised), naive, atol=1e-9)
    assert not scaled(np.full((5, 2), 3.0)).any()


def test_left_of_the_brain_seen_from_the_left_has_its_front_on_the_left():
    front, back = np.array([[-40.0, 60, 0]]), np.array([[-40.0, -90, 0]])
    for side, view, sign in (("left", "lateral", -1), ("left", "medial", 1), ("right", "lateral", 1)):
        difference = project(front, side, view)[0][0, 0] - project(back, side, view)[0][0, 0]
        assert np.sign(difference) == sign
    _, depth = project(np.array([[-60.0, 0, 0], [-5.0, 0, 0]]), "left", "lateral")
    assert depth[0] > depth[1]


# --- listed by queries


def test_a_figure_of_any_step_is_listed_with_its_words(tmp_path, rng):
    made = result(tmp_path / "data", rng, n=4)
    own = FigureFolder(Tree(tmp_path / "step"))
    name = Scope("01", TASK).figure("mine", ".svg", suffix="novel", model="ridge")
    saved = own.save(name, Drawing(b"<svg xmlns='http://www.w3.org/2000/svg'/>", ".svg", 300), "alt text", "n = 4.")
    for path in (own.tree.folder / Path(name).parent).iterdir():
        target = tmp_path / "data" / Path(name).parent / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    page = Page(report(tmp_path / "out", tmp_path / "data", inputs(made, rng))[1])
    shown = [picture for picture in page.all("img") if picture["alt"] == "alt text"]
    assert [(picture["src"], picture["width"]) for picture in shown] == [(saved.uri, "300")]
    assert "n = 4." in page.text and saved.key in {tag.get("id") for _, tag in page.tags}


def test_a_figure_without_words_is_refused(tmp_path):
    path = tmp_path / "sub-01/figures/sub-01_task-a_desc-carpet_figure.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    with pytest.raises(MissingFiles, match="Alternative, Caption and Width"):
        Gallery([tmp_path], "sub-01/figures").of("runs", task="a")


def test_sections_list_figures_in_the_order_of_the_queries(tmp_path):
    folder, drawing = FigureFolder(Tree(tmp_path)), Drawing(b"", ".svg", 200)
    scope = Scope("01", "a")
    for query in reversed(QUERIES):
        named = {"suffix": query.suffix, "model": None if query.desc else "ridge"}
        folder.save(scope.figure(query.desc or "toyZ", ".svg", **named), drawing, "alt", "caption")
    gallery = Gallery([folder.tree.folder], "sub-01/figures")
    for section in {query.section for query in QUERIES}:
        listed = [item for model in (None, "ridge") for item in gallery.of(section, task="a", model=model)]
        found = [Path(item.file).stem for item in listed]
        wanted = [query.desc or query.suffix for query in QUERIES if query.section == section]
        assert [stem.rpartition("_")[2] if "figure" not in stem else stem.partition("desc-")[2][:-7]
                for stem in found] == wanted  # fmt: skip
    assert not gallery.others(task="a", model="ridge") and not gallery.of("scores", task="b", model="ridge")


# --- figures of the steps


def decoded(rng, n=7, n_latents=6, **further):
    names = tuple(f"face{k}" for k in range(n))
    space = Latents(rng.standard_normal((n + 4, n_latents)), (*names, *(f"old{k}" for k in range(4))), SPACE)
    predicted = space.values[:n] + 0.5 * rng.standard_normal((n, n_latents))
    return Decoded(predicted, names, space, **further), space


@pytest.mark.parametrize("cross_validated", [False, True])
def test_kept_null_values_are_those_of_every_permuted_metric(rng, cross_validated):
    names = [f"face{k}" for k in range(7)]
    pixels = rng.integers(0, 256, (2, 7, 16, 16, 3), dtype=np.uint8)
    images = compare_images(dict(zip(names, pixels[0], strict=True)), Images(pixels[1], names))
    folds = tuple("ab"[k % 2] for k in range(7)) if cross_validated else None
    found, _ = decoded(rng, images=images, folds=folds, directions={"age": np.eye(6)[0]})
    refits = Refits(statistics={name: rng.normal(size=99) for name in ("latent_cosine", "ssim", "attribute_age")})
    refits = refits if cross_validated else None
    nulls = null_distributions(found, refits=refits, seed=5, n_permutations=99)
    stats = participant_stats(found, refits=refits, seed=5, n_permutations=99, n_bootstrap=20).set_index("metric")
    draws = {name: null.draws for name, null in nulls.items() if len(null.draws)}
    assert set(draws) == set(stats.index[stats["null_mean"].notna()]) and "ssim" in draws
    for name, values in draws.items():
        assert values.mean() == pytest.approx(stats.loc[name, "null_mean"])
        assert values.std(ddof=1) == pytest.approx(stats.loc[name, "null_sd"])


def test_the_legend_of_the_nulls_names_percentiles_of_every_side_that_is_drawn(monkeypatch):
    from matplotlib.figure import Figure

    legends, legend = [], Figure.legend
    monkeypatch.setattr(Figure, "legend", lambda self, *a, **k: legends.append(legend(self, *a, **k)))
    one, two = (Null("a", np.repeat([0.0, 1.0], [60, 40]), 1.0, "p", two_sided=sided) for sided in (False, True))
    assert (one.draws >= one.critical[0]).mean() == 0.4  # of a discrete null far more than 5 % lie on the line
    for nulls in ([one], [two], [one, two]):
        null_distributions_figure(nulls)
    lines = [text.get_text() for made in legends for text in made.get_texts() if "percentile" in text.get_text()]
    assert lines == ["null: 95th percentile", "null: 2.5th and 97.5th percentile",
                     "null: 95th percentile (two-sided: 2.5th, 97.5th)"]  # fmt: skip


def test_five_percent_of_null_values_lie_beyond_the_lines(rng):
    draws = np.append(rng.permutation(np.arange(1000.0)), NAN)
    (above,), (low, high) = (Null("a", draws, 0.0, "p", two_sided).critical for two_sided in (False, True))
    assert (draws > above).sum() == ((draws < low) | (draws > high)).sum() == 50


def test_interval_of_the_novelty_line_is_that_of_scipy(rng):
    from scipy.stats import linregress, t

    x, y = rng.random((2, 15))
    line, half = fitted_line(x, y, np.array([0.0, 0.7]))
    known = linregress(x, y)
    np.testing.assert_allclose(line, known.intercept + known.slope * np.array([0.0, 0.7]))
    assert half[0] == pytest.approx(t.ppf(0.975, 13) * known.intercept_stderr)


def test_the_audits_novelty_curve_is_drawn_beside_it(tmp_path, rng):
    made = result(tmp_path / "data", rng, n=9)
    assert "nearest training stimulus" not in Page(report(tmp_path / "a", tmp_path / "data", inputs(made, rng))[1]).text
    path = tmp_path / "data" / Scope("01", TASK).name("audit", ".json", model="ridge", desc=SPACE)
    curve = {"Distance": list(range(9)), "LatentCorrelation": rng.random(9).tolist(), "r": -0.25, "p": 0.031}
    write_json(path, {"Novelty": {"Status": "NOTE", "Text": "falls.", "Curve": {**curve, "Slope": -0.1}}})
    page = Page(report(tmp_path / "b", tmp_path / "data", inputs(made, rng))[1])
    alts = [picture["alt"] for picture in page.all("img")]
    assert alts.count("score over the distance to the nearest training stimulus") == 1


@pytest.mark.parametrize("cross_validated", [False, True])
def test_the_novelty_caption_says_what_the_distance_is_to_and_which_rows_were_asked(tmp_path, rng, cross_validated):
    assert decoder_part.AUDITED_ROWS == MOST_ROWS
    curve = {"Distance": list(range(9)), "LatentCorrelation": rng.random(9).tolist(), "r": -0.25, "p": 0.031}
    captions = []
    for n_rows in (MOST_ROWS, MOST_ROWS + 1):
        read = Result(tmp_path, Scope("01", TASK), "ridge", SPACE)
        read.__dict__["metrics"] = pd.DataFrame({"stimulus_id": np.arange(n_rows)})
        write_json(tmp_path / read.name("audit", ".json"), {"Novelty": {"Curve": curve}})
        folder = FigureFolder(Tree(tmp_path / f"{n_rows}"))
        captions.append(decoder_part._novelty_figure(read, cross_validated, folder)["novelty"].caption)
    assert [f"first {MOST_ROWS}" in caption for caption in captions] == [False, True]
    for caption in captions:
        assert ("nearest other stimulus" in caption) == cross_validated
        assert ("training s" in caption) == (not cross_validated)


def test_the_retrieved_picture_is_of_the_training_stimulus_nearest_to_the_prediction(tmp_path, rng):
    space = Latents(rng.random((4, 12)), ("test", "old0", "old1", "old2"), SPACE)
    rows = pd.DataFrame({"stimulus_id": ["test", "test"], "fold": ["a", "b"], "n_repeats": 1})
    predicted = space.values[[2, 2]] + 0.01
    guesses = {"trained": np.array(space.stimuli[1:]), "nearest": space.values[[1, 2]],
               "training_mean": np.tile(space.values[1:].mean(axis=0), (2, 1))}  # fmt: skip
    made = reconstruct(
        rows=files.save_table(tmp_path / "rows.tsv", rows), guesses=write_npz(tmp_path / "guesses.npz", guesses),
        predicted=files.save_array(tmp_path / "predicted.npy", predicted), decoder="ridge", stimulus_files={},
        latents=files.save_latents(tmp_path / "latents.npz", space), picture={**IDENTITY, "weights_digest": None},
        scope={"participant": "01", "task": TASK, "space": None, "resolution": None}, out_dir=tmp_path / "out",
        provenance={"sources": [], "inputs": "", "settings": "", "seed": 0},
    )  # fmt: skip
    drawn = files.load_arrays(made["pictures"])
    as_pixels = np.round(255 * space.values.reshape(4, 2, 2, 3))
    assert drawn["nearest"].shape == drawn["recon"].shape == (1, 2, 2, 3)
    np.testing.assert_allclose(drawn["nearest"][0], as_pixels[2], atol=1)
    np.testing.assert_allclose(drawn["mean"][0], as_pixels[1:].mean(axis=0), atol=1.5)


def test_numbers_of_candidates_reach_from_two_to_all():
    for n in (2, 3, 36, 1000):
        ks = numbers_of_candidates(n)
        assert ks[0] == 2 and ks[-1] == n and ks == sorted(set(ks)) and len(ks) <= 11


IDENTITY = {
    "generator": "identity", "declaration": {"Generator": {"Name": "identity", "Shape": [2, 2, 3]}}, "weights": None,
    "device": "cpu", "options": {},
}  # fmt: skip


@pytest.mark.parametrize("pictured", [False, True])
def test_evidence_is_drawn_from_predictions_and_scores(tmp_path, rng, pictured):
    found, space = decoded(rng, n_latents=12 if pictured else 6)
    scope, named = Scope("01", TASK), {"model": "ridge", "desc": SPACE}
    tree = Tree(tmp_path / "scores")
    write_tsv(tree.path(scope.name("metrics", ".tsv", **named)), participant_metrics(found)[0])
    stats = participant_stats(found, n_permutations=59, n_bootstrap=20)
    write_tsv(tree.path(scope.name("stats", ".tsv", **named)), stats)
    table = pd.DataFrame({"stimulus_id": found.stimuli, "fold": "", "n_repeats": 3})
    nulls = {name: null.draws for name, null in null_distributions(found, n_permutations=59).items()}
    ends = {"stimuli": np.array(found.stimuli), **dict.fromkeys(("recon", "ceiling"), np.zeros((7, 2, 2, 3), np.uint8))}
    made = draw_evidence(
        rows=files.save_table(tmp_path / "rows.tsv", table), scores=tree.manifest(),
        predicted=files.save_array(tmp_path / "predicted.npy", found.predicted),
        guesses=write_npz(tmp_path / "guesses.npz", {"trained": np.array(space.stimuli[7:])}),
        latents=files.save_latents(tmp_path / "latents.npz", space), decoder="ridge", cross_validated=False,
        picture=IDENTITY if pictured else None, declaration={}, stimulus_paths={}, n_permutations=59, seed=0,
        nulls=write_npz(tmp_path / "nulls.npz", nulls),
        pictures=write_npz(tmp_path / "pictures.npz", ends) if pictured else None,
        scope={"participant": "01", "task": TASK, "space": None, "resolution": None}, out_dir=tmp_path / "out",
    )  # fmt: skip
    names = [name for name in tree_files(made["tree"]) if not name.endswith(".json")]
    kinds = {"similaritymap.png", "identificationcurve.svg", "nulldistributions.svg"}
    assert {name.rpartition("_")[2] for name in names} == kinds | ({"interpolation.png"} if pictured else set())
    gallery = Gallery([tmp_path / "out" / "tree"], "sub-01/figures")
    listed = gallery.of("scores", task=TASK, model="ridge") + gallery.of("pictures", task=TASK, model="ridge")
    assert len(listed) == len(names) and all("7" in item.caption for item in listed)
    assert any("over 7 stimuli" in item.caption and "mean over" not in item.caption
               for item in listed if "nulldistributions" in item.file)  # fmt: skip


@pytest.mark.parametrize("motion", [True, False])
def test_a_carpet_reads_few_voxels_of_the_file(tmp_path, rng, motion):
    grid = VoxelGrid(np.ones((11, 12, 13), dtype=bool), np.eye(4))
    bold = 100 + rng.standard_normal((20, grid.n_voxels)).astype(np.float32)
    write_volumes(tmp_path / "bold.nii.gz", bold, grid)
    table = tmp_path / "run_desc-confounds_timeseries.tsv"
    write_tsv(table, pd.DataFrame({"framewise_displacement": np.append(NAN, rng.random(19))}))
    seen = np.zeros((2, grid.n_voxels), dtype=bool)
    seen[0, :500] = seen[1, 400:800] = True
    recording = {"bold": str(tmp_path / "bold.nii.gz"), "confounds": str(table) if motion else None,
                 "label": "run-1", "repetition_time": 2.0}  # fmt: skip
    made = draw_carpet(
        grid=files.save_grid(tmp_path / "grid.npz", grid), voxels=files.save_array(tmp_path / "voxels.npy", seen),
        recording=recording, n_recordings=3, out_dir=tmp_path / "out",
        scope={"participant": "01", "task": TASK, "space": None, "resolution": None},
    )  # fmt: skip
    assert len(tree_files(made["tree"])) == 2
    item = Gallery([tmp_path / "out" / "tree"], "sub-01/figures").of("runs", task=TASK)[0]
    assert f"20 volumes of run-1, the first of 3 runs: {2 * CARPET_VOXELS} voxels" in item.caption
    assert ("no table with the head's motion" in item.caption) == (not motion)


@pytest.mark.parametrize("space", [None, "T1w", "MNI152NLin2009cAsym"])
def test_a_template_is_drawn_for_a_template_only_and_regions_where_they_are_known(tmp_path, space):
    scope, grid = Scope("01", TASK, space), VoxelGrid(np.ones((17, 21, 15), dtype=bool), MNI, space)
    write_volume(tmp_path / scope.name("mask", ".nii.gz", desc="brain"), np.ones(grid.n_voxels, dtype=bool), grid)
    seen = (blob() > 0)[grid.mask]
    write_volume(tmp_path / scope.name("mask", ".nii.gz", desc="decoding"), seen, grid)
    regions = [{"label": name, "n_voxels": 9 + k, "n_selected": k} for k, name in enumerate("abc")]
    regions.append({"label": "n/a", "n_voxels": 9000, "n_selected": 40})
    selection = {"rule": "all", "n_inside": 7, "n_voxels": [7], "regions": regions}
    facts = {"mode": "lsa", "n_voxels": 7, "n_voxels_mask": 9}
    part = voxel_part(tmp_path, scope, facts, selection, "z", FigureFolder(Tree(tmp_path / "out")))
    drawn = {Path(item.file).stem.partition("desc-")[2] for item in part.figures}
    template = {"decodingglass_figure", "decodingsurface_figure"}
    wanted = template if space and space.startswith("MNI") else set()
    assert drawn == {"decodingmask_figure", "regions_figure"} | wanted
    assert part.regions.rows[2] == ["c", "11", "2", "18 %"] and len(part.regions.rows) == 4
    assert "3 of 43 lie in one" in next(item for item in part.figures if "regions" in item.file).caption


def test_single_latents_and_bars_are_on_the_page(tmp_path, rng):
    made = result(tmp_path / "data", rng, n=9)
    numbers = {"r": [0.9, 0.1, NAN], "p_value": [0.01, 0.4, NAN], "p_fdr": [0.02, 0.4, NAN], "p_max": [0.02, 0.5, NAN]}
    table = pd.DataFrame({"name": list("abc"), **numbers, "p_method": "99 permutations"})
    named = {"model": "ridge", "desc": SPACE}
    write_tsv(tmp_path / "data" / Scope("01", TASK).name("latentstats", ".tsv", **named), table)
    write_json(tmp_path / "data" / Scope("01", TASK).name("latentstats", ".json", **named), {})
    page = Page(report(tmp_path / "out", tmp_path / "data", inputs(made, rng))[1])
    alts = [picture["alt"] for picture in page.all("img")]
    assert "correlation of every single latent" in alts and "attributes of every stimulus" in alts
    assert alts.index("attributes of every stimulus") < alts.index("true against predicted attributes")


def test_what_a_group_compares_is_drawn(tmp_path):
    rows = [{"metric": metric, "kind": "mean", "model_a": model, "value": value, "ci_low": NAN, "ci_high": NAN, "n": 3}
            for metric in ("ssim", "latent_cosine") for model, value in (("a", 0.4), ("b", NAN))]  # fmt: skip
    made = {"task": TASK, "space": None, "resolution": None, "model": "all", "desc": SPACE, "what": "decoders"}
    folder = FigureFolder(Tree(tmp_path))
    draw_comparison({**made, "table": pd.DataFrame(rows)}, folder)
    item = Gallery([folder.tree.folder], "figures").of("comparison", task=TASK, model="all", desc=SPACE, space=None)[0]
    assert "all decoders (n = 3)" in item.caption
    draw_comparison({**made, "model": "none", "table": pd.DataFrame(rows[2:])}, folder)
    assert len(folder.tree.files) == 2
