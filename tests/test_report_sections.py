"""The report's sections on voxels, reliability, decoders compared, training and given or parametric responses."""

from __future__ import annotations

import html as markup
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parent))

from test_report import SPACE, TASK, Page, check_self_contained, inputs, report, result

from hyper_bids.data import VoxelGrid
from hyper_bids.derivatives.names import Scope
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_npz, write_tsv, write_volumes
from hyper_bids.errors import MissingFiles
from hyper_bids.report import summary
from hyper_bids.report.comparison_part import METRICS, comparison_part
from hyper_bids.report.design_part import design_part
from hyper_bids.report.gallery import FigureFolder
from hyper_bids.report.read import Result, read_maps
from hyper_bids.report.reliability_part import reliability_words
from hyper_bids.report.training_part import ceiling_words, training_part
from hyper_bids.report.voxel_part import score_units, selection_words

NAN = float("nan")
GRID = VoxelGrid(np.pad(np.ones((3, 2, 3), dtype=bool), ((1, 1), (1, 1), (0, 0))), np.diag([-3.0, 3.0, 4.0, 1.0]))
"""That of the masks which `test_report.result` writes: 18 voxels, right to left."""


def test_maps_are_turned_like_masks(tmp_path, rng):
    values = rng.standard_normal((2, GRID.n_voxels)).astype(np.float32)
    write_volumes(tmp_path / "score.nii.gz", values, GRID)
    maps, affine = read_maps(tmp_path / "score.nii.gz")
    assert maps.shape == (2, *GRID.mask.shape) and affine[0, 0] == 3
    np.testing.assert_allclose(maps[:, ::-1][:, GRID.mask], values, rtol=1e-6)
    assert read_maps(tmp_path / "none.nii.gz") is None


# --- words


SELECTED = {"rule": "top-z", "score": "mean", "units": "z", "n_inside": 90, "n_voxels": [40], "n_any": 40, "n_all": 40}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "From training data alone, 40 of them were selected by top-z (score: mean)."),
        ({"n_voxels": [40, 40], "n_any": 44}, "40 of them were selected in each fold by top-z (score: mean); 44 in"),
        ({"n_voxels": [30, 40]}, "30 to 40 of them"),
        ({"n_inside": 40}, "40 of these lie inside the mask or regions to choose from. The decoder saw all of them"),
        ({"rule": "all", "n_voxels": [90]}, "The decoder saw all of them (rule all)."),
        ({"score": None}, "40 of them were selected by top-z."),
    ],
)
def test_selection_in_words(changed, said):
    assert said in " ".join(selection_words({**SELECTED, **changed}, 90))


@pytest.mark.parametrize(
    ("mode", "stat", "expected"),
    [("lsa", None, "t"), ("parametric", None, "% signal change"), ("given", "beta", "beta")],
)
def test_units_of_a_mean_response_are_the_responses(mode, stat, expected):
    from hyper_bids.decode.select import TopZ

    assert score_units({"units": TopZ.units}, {"mode": mode, "stat": stat}, "t") == expected
    assert score_units({"units": "r"}, {"mode": mode, "stat": stat}, "t") == "r"


FOUND = {
    "n_stimuli": 20, "n_trials": 180, "n_repeats": 9.0, "reason": "", "recordings_reason": "", "notices": ["only 9."],
    "voxels": {name: {"median_seen": 0.5, "median_brain": 0.25} for name in ("split_half", "reliability", "ceiling")},
    "recordings": [{"m": m, "accuracy": a, "sd": 0.1, "chance": 0.05} for m, a in ((3, 0.5), (8, 0.9))],
}  # fmt: skip


def test_reliability_in_words():
    text = " ".join(reliability_words(FOUND))
    assert "180 single trials of 20 stimuli; those that are repeated have 9 repeats." in text
    assert text.count("0.50 (0.25 in the whole brain mask)") == 3
    assert "after training on 3 repetitions the stimulus was named rightly in 50 %, after 8 in 90 % of cases" in text
    assert "(chance 5 %)" in text and "not measured" not in text


def test_without_repeats_the_reason_is_said():
    none = {
        "n_stimuli": 8, "n_trials": 8, "reason": "no stimulus is repeated.", "voxels": {}, "recordings": [],
        "recordings_reason": "4 repetitions are needed, but stimulus a has 1.", "notices": [],
    }  # fmt: skip
    text = " ".join(reliability_words(none))
    assert "Voxels: not measured, because no stimulus is repeated." in text
    assert "Identification from single responses: not measured, because 4 repetitions are needed" in text
    assert reliability_words({**none, "reason": "", "recordings_reason": ""})[1:] == [""]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, ""),
        ({"reason": "no stimulus is repeated."}, "is not known: no stimulus is repeated."),
        ({"reason": "", "median_stimulus_ceiling": 0.912}, "would allow this decoder r = 0.91 between a stimulus's"),
        (
            {"reason": "", "median_stimulus_ceiling": 0.9, "median_latent_ceiling": 0.8, "latent_ceiling": [0.8] * 6},
            "and r = 0.80 over stimuli (latent dimension correlation, median over 6 latents)",
        ),
        ({"reason": "", "median_latent_ceiling": None, "median_stimulus_ceiling": None}, ""),
    ],
)
def test_noise_ceiling_in_words(found, said):
    text = ceiling_words(found)
    assert said in text and (text == "") == (said == "")


RUNS = [{"run": "run-01", "n_volumes": 40, "repetition_time": 1.5, "n_trials": 6, "n_train": 4, "rank": 9, "dof": 37,
         "n_regressors": 9, "median_vif": None, "condition_number": None, "nuisance": ["drift_1", "constant"],
         "conditions": ["a"] * 6}]  # fmt: skip
MODES = {
    "lsa": {"mode": "lsa", "median_vif": None, "runs": RUNS},
    "parametric": {"mode": "parametric", "median_vif": None, "runs": RUNS, "dof": 30, "condition_number": 5.5,
                   "n_latents": 2, "n_train": 4},
    "given": {"mode": "given", "median_vif": None, "runs": [], "n_maps": 1, "n_trials": 12, "stat": "z",
              "level": "trial"},
}  # fmt: skip
MODES = {mode: {"n_voxels": 18, "n_voxels_mask": 18, "notices": [], **facts} for mode, facts in MODES.items()}

RECORDED = {
    "lsa": "sub-01 did task faces in 1 run: 40 volumes of 1.5 s, 1 min in all, with 6 trials to decode.",
    "parametric": "sub-01 did task faces in 1 run: 40 volumes of 1.5 s, 1 min in all, with 6 trials to model.",
    "given": "Of sub-01 in task faces, 12 responses that existed already were decoded, from 1 file of response maps "
    "(z values, a map per trial).",
}
LEARNED = {
    "lsa": "it learned from 30 training trials and was tested on 2 stimuli that it was not trained on, each averaged "
    "over 3 repeats.",
    "parametric": "it learned from 30 training trials and was tested on 2 stimuli that it was not trained on, each "
    "with one coefficient over 3 repeats.",
    "given": "it learned from 30 training responses and was tested on 2 stimuli that it was not trained on, each "
    "averaged over 3 repeats.",
}
DESIGN = {
    "lsa": ["LSA: one model per run"],
    "parametric": ["the 2 latents as its modulators", "4 training trials, 30 degrees of freedom, condition number 5.5"],
    "given": ["12 responses in 1 file (z values, a map per trial)", "No model was fitted to BOLD"],
}


@pytest.mark.parametrize("mode", MODES)
def test_what_was_recorded_and_learned_in_words(mode):
    facts = MODES[mode]
    metrics = pd.DataFrame({"stimulus_id": ["a", "b"], "n_repeats": [3, 3]})
    decoder = {"Folds": [{"n_train": 30, "n_voxels": 40}], "NLatents": 2}
    assert summary.recorded("01", "faces", facts) == RECORDED[mode]
    said = summary.decoded({"latent_space": "toyZ"}, metrics, decoder, "ridge", mode)
    assert said == f"From 40 voxels, the decoder ridge predicted the 2 latents of toyZ; {LEARNED[mode]}"


def designs(mode, rng):
    if mode == "given":
        return {}
    arrays = {"trials_0000": rng.random((40, 6)), "nuisance_0000": rng.random((40, 2)), "times_0000": np.arange(40.0)}
    return {**arrays, "mixing_0000": rng.random((6, 5))} if mode == "parametric" else arrays


def task_context(mode):
    maps = [{"label": "all", "stat": "z", "level": "trial", "image": "/maps/sub-01_statmap.nii.gz"}]
    return {
        "scope": {"participant": "01", "task": TASK}, "maps": maps if mode == "given" else [],
        "recordings": [] if mode == "given" else [{"label": "run-01", "bold": "b.nii.gz", "confounds": None}],
    }  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_design_in_words_tables_and_figures(tmp_path, rng, mode):
    tree = Tree(tmp_path)
    part = design_part(task_context(mode), MODES[mode], designs(mode, rng), FigureFolder(tree), automatic=False)
    assert all(said in " ".join(part.sentences) for said in DESIGN[mode])
    assert {len(row) for row in part.runs.rows} == {len(part.runs.columns)}
    drawn = [name for name in tree.files if not name.endswith(".json")]
    assert len(part.figures) == len(drawn) == (0 if mode == "given" else 2)
    assert "None" not in str(part.runs.rows)


def test_parametric_facts_with_missing_parts_do_not_crash(tmp_path):
    run = {name: value for name, value in RUNS[0].items() if name != "n_train"}
    facts = {"mode": "parametric", "runs": [run], "median_vif": None, "notices": []}
    part = design_part(task_context("parametric"), facts, {}, FigureFolder(Tree(tmp_path)), automatic=False)
    assert "the latents as its modulators" in part.sentences[0] and len(part.sentences) == 1
    assert part.figures == [] and "n/a" in part.runs.rows[0]


# --- decoders compared


def stats_table(mean, missing=()):
    rows = [
        {"metric": metric, "n": 9, "mean": NAN if metric in missing else mean - 0.01 * k, "ci_low": mean - 0.2,
         "ci_high": mean + 0.2, "chance": 0.5 if metric == "pairwise_accuracy" else NAN, "p_value": 0.004}
        for k, metric in enumerate(METRICS)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def compare(tmp_path, **tables):
    decoders = [(name, f"key-{name}", table) for name, table in tables.items()]
    return comparison_part(Scope("01", TASK), SPACE, decoders, FigureFolder(Tree(tmp_path)))


def test_decoders_are_sorted_and_the_best_of_a_metric_is_bold(tmp_path):
    part = compare(tmp_path, low=stats_table(0.3), high=stats_table(0.7), none=stats_table(0.5, METRICS[:1]))
    assert [row.decoder for row in part.rows] == ["high", "low", "none"]
    assert part.sorted_by == "latent correlation" and part.columns[1] == ("Pairwise identification", "chance 0.50")
    assert [cell.best for cell in part.rows[0].cells] == [True] * len(METRICS)
    assert not any(cell.best for row in part.rows[1:] for cell in row.cells if cell)
    assert part.rows[2].cells[0] is None
    first = part.rows[1].cells[0]
    assert (first.value, first.interval, first.p) == ("0.300", "0.10 to 0.50", "p = 0.004")


def test_equally_good_decoders_are_both_bold(tmp_path):
    part = compare(tmp_path, a=stats_table(0.5), b=stats_table(0.5))
    assert all(cell.best for row in part.rows for cell in row.cells)


@pytest.mark.parametrize("tables", [{"one": stats_table(0.5)}, {k: stats_table(0.5, METRICS) for k in "ab"}])
def test_nothing_is_compared_where_there_is_nothing_to_compare(tmp_path, tables):
    assert compare(tmp_path, **tables) is None


# --- pages


def add_learned(dataset, model="adam", n_columns=2, n_folds=2, best=None):
    """Write what a trained decoder leaves: losses, notices, ceiling, learning curve."""
    scope, named = Scope("01", TASK), {"model": model, "desc": SPACE}
    curves = {f"loss_curve_{k:03d}": 5 / np.arange(1, 31, dtype=np.float32)[:, None] * np.ones(n_columns)
              for k in range(n_folds)}  # fmt: skip
    write_npz(dataset / scope.name("decoder", ".npz", **named), curves)
    folds = [{"fold": f"run-{k}", "n_train": 30, "n_test": 7, "n_voxels": 40, "median_alpha": None, "inner_folds": None,
              "best_epoch": best} for k in range(n_folds)]  # fmt: skip
    ceiling = {"reason": "", "median_latent_ceiling": 0.87, "median_stimulus_ceiling": 0.91}
    content = {"Decoder": model, "Folds": folds, "Notices": ["the loss still fell"], "NoiseCeiling": ceiling}
    write_json(dataset / scope.name("decoder", ".json", **named), content)
    rows = [
        (fraction, n, metric, NAN if n == 5 else fraction, "too few trials." if n == 5 else "n/a")
        for fraction, n in ((0.125, 5), (0.5, 20), (1.0, 40)) for metric in ("latent_correlation", "top1")
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["fraction", "n_trials", "metric", "value", "reason"])
    write_tsv(dataset / scope.name("learningcurve", ".tsv", **named), table)


def add_maps(dataset, rng, n_folds=2):
    """Write maps of the selection's scores and of reliability."""
    scope = Scope("01", TASK)
    scores = rng.standard_normal((n_folds, 18)).astype(np.float32)
    write_volumes(dataset / scope.name("statmap", ".nii.gz", stat="score", desc="selection"), scores, GRID)
    found = np.append(rng.random((3, 17)), np.zeros((3, 1)), axis=1).astype(np.float32)  # the last voxel is constant
    write_volumes(dataset / scope.name("statmap", ".nii.gz", stat="r", desc="reliability"), found, GRID)


@pytest.mark.parametrize("best", [None, 7])
@pytest.mark.parametrize(("n_columns", "n_folds"), [(1, 1), (2, 3)])
def test_losses_and_learning_curve_of_a_decoder(tmp_path, n_columns, n_folds, best):
    add_learned(tmp_path, n_columns=n_columns, n_folds=n_folds, best=best)
    part = Result(tmp_path, Scope("01", TASK), "adam", SPACE)
    metrics = pd.DataFrame({"stimulus_id": ["a", "b", "b"], "ssim": 0.5})
    write_tsv(tmp_path / part.name("metrics", ".tsv"), metrics)
    tree = Tree(tmp_path / "out")
    made = training_part(part, part.sidecar("decoder"), False, FigureFolder(tree))
    drawn = [name.rpartition("_")[2] for name in tree.files if not name.endswith(".json")]
    assert drawn == ["loss.svg", "learningcurve.svg"]
    loss = made.figures[0].caption
    assert ("held out" in loss) == (n_columns == 2) and (f"{n_folds} folds" in loss) == (n_folds > 1)
    assert ("epoch whose weights were kept" in loss) == (n_columns == 2 or best is not None)
    assert [row[:2] for row in made.curve.rows] == [["5", "1/8"], ["20", "1/2"], ["40", "all"]]
    assert [row[2] for row in made.curve.rows] == ["n/a", "0.500", "1.000"]
    assert made.refused == ["1/8 (5 trials): too few trials."]
    assert "Means over n = 2 test stimuli." in made.figures[1].caption


def test_a_decoder_that_leaves_none_of_it_has_none_of_it(tmp_path):
    made = training_part(Result(tmp_path, Scope("01", TASK), "ridge", SPACE), {}, False, FigureFolder(Tree(tmp_path)))
    assert (made.figures, made.curve, made.refused, made.ceiling) == ([], None, [], "")


def whole_report(tmp_path, rng, mode="lsa", models=("ridge", "adam"), maps=True, **told):
    data = tmp_path / "data"
    for model in models:
        made = result(data, np.random.default_rng(5), model=model, noise=0.2 if model == "ridge" else 0.9)
    if maps:
        add_maps(data, rng)
        add_learned(data)
    arguments = inputs(made, rng, models=models)
    arguments["facts"] = [{**arguments["facts"][0], **MODES[mode]}]
    arguments["designs"] = [designs(mode, rng)]
    arguments["context"]["tasks"][0].update(task_context(mode))
    tree, html = report(tmp_path / "out", data, {**arguments, **told})
    return tree, html, Page(html)


TOLD = {
    "selection": [{**SELECTED, "notices": ["Grey matter: none was found."]}],
    "reliability": [FOUND],
    "encoding": [{"encoder": "eigenface", "image_size": 48, "n_latents": 6, "notices": ["only 6 components."]}],
}


@pytest.mark.parametrize("mode", MODES)
def test_a_page_with_everything(tmp_path, rng, mode):
    tree, html, page = whole_report(tmp_path, rng, mode, **TOLD)
    check_self_contained(page)
    text = re.sub(r"\s+", " ", page.text)
    assert RECORDED[mode] in text and all(said in text for said in DESIGN[mode])
    for said in ("Grey matter: none was found.", "only 6 components.", "only 9.", "faces, adam: the loss still fell."):
        assert said in text
    assert "6 principal components of the stimuli at 48 x 48 pixels" in text
    assert "Differences between decoders are not tested here" in text
    figures = {name.rpartition("/")[2] for name in tree.files if "/figures/" in name}
    wanted = ("desc-selection_figure.png", "desc-reliability_figure.png", "desc-noiseceiling_figure.svg",
              "desc-recordings_figure.svg", f"desc-{SPACE}_comparison.svg", f"model-adam_desc-{SPACE}_loss.svg",
              f"model-adam_desc-{SPACE}_learningcurve.svg")  # fmt: skip
    assert {name for name in wanted if not any(figure.endswith(name) for figure in figures)} == set()
    order = ('id="task-faces-comparison"', 'id="task-faces-ridge-pictures"', 'id="task-faces-voxels"')
    assert [html.index(part) for part in order] == sorted(html.index(part) for part in order)
    assert html.index(">ridge</a>") < html.index(">adam</a>")  # the better one first
    assert max(int(picture["width"]) for picture in page.all("img") if picture.get("width")) <= 560


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("absent", [None, []])
def test_a_page_without_any_of_it(tmp_path, rng, mode, absent):
    told = dict.fromkeys(TOLD, absent)
    _, html, page = whole_report(tmp_path, rng, mode, models=("ridge",), maps=False, **told)
    check_self_contained(page)
    for part in ("comparison", "reliability"):
        assert f"task-faces-{part}" not in html
    assert "Loss over the epochs" not in html and "What correlation noise would allow" not in html
    assert "18 of 18 voxels of the brain mask" in markup.unescape(html)


def test_reliability_that_could_not_be_measured_is_a_section_with_its_reason(tmp_path, rng):
    found = {"n_stimuli": 7, "n_trials": 7, "reason": "no stimulus is repeated.", "recordings_reason": "1 each."}
    _, html, page = whole_report(tmp_path, rng, models=("ridge",), maps=False, reliability=[found])
    check_self_contained(page)
    section = html.partition('id="task-faces-reliability"')[2].partition("</section>")[0]
    assert "not measured, because no stimulus is repeated." in section and "<img" not in section


def test_facts_of_another_number_of_tasks_are_refused(tmp_path, rng):
    with pytest.raises(ValueError, match="zip"):
        whole_report(tmp_path, rng, models=("ridge",), maps=False, selection=[SELECTED, SELECTED])


def test_a_result_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingFiles, match=r"learningcurve\.tsv"):
        Result(tmp_path, Scope("01", TASK), "ridge", SPACE).table("learningcurve")
