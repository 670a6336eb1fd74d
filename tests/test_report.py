"""The reports: self-contained, complete, reproducible, and honest about a negative result."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

from hyper_bids import settings as settings_module
from hyper_bids.data import Images, Latents, VoxelGrid
from hyper_bids.derivatives.names import Scope, entities_of
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_tsv, write_volume
from hyper_bids.evaluate.decoded import Decoded, compare_images
from hyper_bids.evaluate.dictionary import metrics_dictionary, stats_dictionary
from hyper_bids.evaluate.group import group_metrics, group_stats
from hyper_bids.evaluate.participant import participant_metrics
from hyper_bids.evaluate.stats import participant_stats
from hyper_bids.generate.images import write_png
from hyper_bids.report.group import write_group_report
from hyper_bids.report.participant import write_report
from hyper_bids.report.pictures import ON_SHEET

SPACE, TASK = "toyZ", "faces"


class Page(HTMLParser):
    """What a browser would find: tags, texts, links, pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"unbalanced </{tag}>"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def result(dataset, rng, participant="01", n=None, size=(24, 20), model="ridge", noise=0.4, names=None, pictures=True):
    """Write tables, masks and sidecars of one result, and return the report's inputs for it."""
    names = names or [f"face{k:02d}" for k in rng.permutation(n or 7)]
    n = len(names)
    latents = Latents(rng.standard_normal((n, 6)), names, SPACE)
    predicted = latents.values * (noise < 1) + noise * rng.standard_normal((n, 6))
    pixels = {kind: rng.integers(0, 256, (n, *size, 3), dtype=np.uint8) for kind in ("recon", "ceiling", "shown")}
    compared = compare_images(dict(zip(names, pixels["shown"], strict=True)), Images(pixels["recon"], names))
    directions = {"age": np.eye(6)[0], "smile": np.eye(6)[1]}
    images = compared if pictures else None
    decoded = Decoded(predicted, names, latents, n_repeats=np.full(n, 9), images=images, directions=directions)
    metrics, reasons = participant_metrics(decoded)
    stats = participant_stats(decoded, n_permutations=199, n_bootstrap=50)
    scope = Scope(participant, TASK)
    named = {"model": model, "desc": SPACE}
    write_tsv(dataset / scope.name("metrics", ".tsv", **named), metrics)
    write_json(dataset / scope.name("metrics", ".json", **named), metrics_dictionary(metrics.columns, reasons))
    write_tsv(dataset / scope.name("stats", ".tsv", **named), stats)
    write_json(dataset / scope.name("stats", ".json", **named), stats_dictionary(stats.columns))
    audit = {"Overlap": {"Status": "FAIL", "Text": "2 stimuli are in both sets."}, "Seed": 0}
    write_json(dataset / scope.name("audit", ".json", **named), audit)
    fold = {"fold": "", "n_train": 30, "n_test": n, "n_voxels": 40, "median_alpha": 1000.0, "inner_folds": "runs"}
    write_json(dataset / scope.name("decoder", ".json", **named), {"Decoder": model, "NLatents": 6, "Folds": [fold]})
    mask = np.zeros((5, 4, 3), dtype=bool)
    mask[1:4, 1:3] = True
    grid = VoxelGrid(mask, np.diag([-3.0, 3.0, 4.0, 1.0]))
    for desc in ("brain", "decoding"):
        write_volume(dataset / scope.name("mask", ".nii.gz", desc=desc), np.ones(18, dtype=bool), grid)
    drawn = {"stimuli": np.array(names), **{kind: pixels[kind] for kind in ("recon", "ceiling")}}
    drawn.update(zero=pixels["ceiling"][:1], mean=pixels["ceiling"][-1:], random=pixels["ceiling"][:2])
    drawn.update(nearest=pixels["ceiling"][::-1])
    paths = {}
    for name, picture in zip(names, pixels["shown"], strict=True):
        place = dataset / "raw" / "stimuli" / f"{re.sub('[^0-9a-z]', '', name)}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        paths[name] = str(write_png(place, picture))
    return {"metrics": metrics, "stats": stats, "drawn": drawn, "paths": paths}


RUN = {
    "run": "run-01", "n_volumes": 50, "repetition_time": 1.5, "n_trials": 4, "n_regressors": 7, "rank": 7, "dof": 43,
    "median_vif": 1.2, "condition_number": 3.4, "nuisance": ["trans_x", "drift_1", "constant"], "conditions": ["a"] * 4,
}  # fmt: skip


def inputs(made, rng, participant="01", generator="identity", models=("ridge",)):
    """Arguments of write_report besides the tree and the dataset."""
    sections = settings_module.sections()
    plain = {name: settings_module.plain(cls()) for name, cls in sections.items() if name != "execution"}
    task = {
        "task": TASK, "scope": {"participant": participant, "task": TASK, "space": None, "resolution": None},
        "latent_space": SPACE, "models": [{"decoder": name, "model": name} for name in models],
        "generator": generator, "generator_notice": "" if generator else "No pictures: none was asked for.",
        "stimulus_paths": made["paths"], "cross_validate": None, "n_train": 30, "n_test": 63,
        "notices": [f"run-0{k}: no confounds table." for k in (1, 2)], "n_samples_by_trial_type": {"face (sample)": 93},
        "recordings": [{"label": "run-01", "bold": "sub-01_bold.nii.gz", "mask": None, "confounds": None}],
    }  # fmt: skip
    context = {
        "tasks": [task], "pictures": [[TASK, name] for name in models] if generator else [], "settings": plain,
        "settings_digest": "0123456789ab", "seed": 0, "version": "9.9", "dataset_name": "Toys <&>", "bids_dir": "raw",
        "derivatives": {}, "command": "hyper raw out participant",
    }  # fmt: skip
    facts = {"mode": "lsa", "median_vif": 1.2, "runs": [RUN], "notices": [], "n_voxels": 18, "n_voxels_mask": 18}
    design = {
        "trials_0000": rng.random((50, 4)), "nuisance_0000": rng.random((50, 3)), "times_0000": 1.5 * np.arange(50),
    }  # fmt: skip
    drawn = [made["drawn"] for _ in models] if generator else []
    return {"participant": participant, "context": context, "facts": [facts], "designs": [design], "pictures": drawn}


def report(folder, dataset, arguments):
    tree = Tree(folder)
    write_report(tree=tree, dataset=dataset, **arguments)
    tree.manifest()
    return tree, (tree.folder / f"sub-{arguments['participant']}.html").read_text(encoding="utf-8")


def check_self_contained(page):
    ids = Counter(attributes["id"] for _, attributes in page.tags if attributes.get("id"))
    assert max(ids.values()) == 1
    assert [tag.get("src") for tag in page.all("script")] == [None] and not page.all("iframe")
    assert all(picture["src"].startswith("data:image/") and picture["alt"] for picture in page.all("img"))
    assert all(link["href"].startswith("data:") for link in page.all("link"))
    targets = {link["href"] for link in page.all("a") if link["href"].startswith("#")}
    assert targets and {target[1:] for target in targets} <= set(ids)
    assert page.open == []


@pytest.mark.parametrize("models", [("ridge",), ("ridge", "mine")])
@pytest.mark.parametrize("generator", ["identity", None])
def test_page_is_self_contained_and_every_link_leads_somewhere(tmp_path, rng, models, generator):
    for model in models:
        made = result(tmp_path / "data", rng, model=model)
    _, html = report(tmp_path / "out", tmp_path / "data", inputs(made, rng, generator=generator, models=models))
    page = Page(html)
    check_self_contained(page)
    assert {link["href"][0] for link in page.all("a")} == {"#"}
    assert "url(" not in html and "@import" not in html
    assert ("No pictures: none was asked for." in page.text) == (generator is None)


def test_all_stimuli_are_shown_sorted_by_score(tmp_path, rng):
    made = result(tmp_path / "data", rng, n=11, noise=0.8)
    _, html = report(tmp_path / "out", tmp_path / "data", inputs(made, rng))
    shown = re.findall(r"\d+\. <strong>(face\d\d)</strong>", html)
    table = made["metrics"].set_index("stimulus_id")["latent_correlation"]
    assert shown == table.sort_values(ascending=False).index.tolist()
    assert len(re.findall(r'alt="reconstruction of', html)) == 11


def test_several_sheets_are_numbered_and_are_no_stimulus(tmp_path, rng):
    made = result(tmp_path / "data", rng, n=ON_SHEET + 1)
    tree, html = report(tmp_path / "out", tmp_path / "data", inputs(made, rng))
    found = [entities_of(path.name) for path in sorted(tree.folder.rglob("*_reconstructions.png"))]
    assert [entities.get("chunk") for entities in found] == ["1", "2"]
    assert {entities["desc"] for entities in found} == {SPACE} and not any("stim" in entities for entities in found)
    assert "chunk-1_" in html and "chunk-2_" in html


@pytest.mark.parametrize("n", [2, 3])
def test_the_page_says_when_stimuli_share_random_pictures(tmp_path, rng, n):
    made = result(tmp_path / "data", rng, n=n)
    assert len(made["drawn"]["random"]) == 2
    text = Page(report(tmp_path / "out", tmp_path / "data", inputs(made, rng))[1]).text
    assert ("drawn anew for each stimulus" in text, "one of 2 that stimuli share" in text) == (n == 2, n == 3)


@pytest.mark.parametrize(("noise", "expected"), [(0.1, "above chance"), (10.0, "at chance")])
def test_summary_says_what_the_permutations_found(tmp_path, noise, expected):
    rng = np.random.default_rng(4)
    made = result(tmp_path / "data", rng, n=12, noise=noise)
    p = made["stats"].set_index("metric").loc["latent_correlation", "p_value"]
    assert (p >= 0.05) == (expected == "at chance")
    _, html = report(tmp_path / "out", tmp_path / "data", inputs(made, rng))
    summary = html.partition('id="summary"')[2].partition("</section>")[0]
    decisive = re.search(r"<strong>(.*?)</strong>", summary).group(1)
    assert expected in decisive.partition("(")[0]


@pytest.mark.parametrize("n", [1, 3])
def test_what_cannot_be_tested_is_not_called_a_negative_result(tmp_path, rng, n):
    made = result(tmp_path / "data", rng, n=n, noise=0.0)
    _, html = report(tmp_path / "out", tmp_path / "data", inputs(made, rng))
    summary = html.partition('id="summary"')[2].partition("</section>")[0]
    assert "at chance" not in html and "0 of 2" not in summary
    wanted = "not tested" if n == 1 else "the test cannot reach p &lt; 0.05 (smallest possible p = 0.17)"
    assert wanted in re.search(r"<strong>(.*?)</strong>", summary).group(1)
    assert ("Attributes: not tested, because too few stimuli." in summary) == (n == 1)


def test_sentences_in_wide_tables_are_held_in_view(tmp_path, rng):
    made = result(tmp_path / "data", rng)
    _, html = report(tmp_path / "out", tmp_path / "data", inputs(made, rng))
    for opening in (r"<caption>", r'<tr class="words"><td colspan="\d+">'):
        cells = re.findall(f"{opening}(.{{19}})", html)
        assert cells and set(cells) == {'<span class="held">'}
    widths = [int(picture["width"]) for picture in Page(html).all("img") if picture.get("width")]
    assert max(widths) <= 560 and "min-width: 600px" not in html


def test_table_holds_the_numbers_of_the_tsv(tmp_path, rng):
    made = result(tmp_path / "data", rng)
    _, html = report(tmp_path / "out", tmp_path / "data", inputs(made, rng))
    stats = made["stats"].set_index("metric")
    for metric, name in (("pairwise_accuracy", "Pairwise identification"), ("ssim", "Structural similarity")):
        row = html.partition(f'<th scope="row">{name}</th>')[2].partition("</tr>")[0]
        cells = dict(re.findall(r'data-label="([^"]+)">([^<]*)<', row))
        assert cells["mean ± s.e.m."] == f"{stats.loc[metric, 'mean']:.3f} ± {stats.loc[metric, 'sem']:.3f}"
        assert cells["n"] == "7"
        assert float(cells["p"]) == pytest.approx(stats.loc[metric, "p_value"], abs=0.006)


def test_the_same_results_give_the_same_bytes(tmp_path, rng):
    made = result(tmp_path / "data", rng)
    arguments = inputs(made, rng)
    first, second = (report(tmp_path / name, tmp_path / "data", arguments)[0] for name in ("a", "b"))
    assert len(set(first.files)) == len(first.files) > 8
    assert (first.folder.parent / "manifest.json").read_bytes() == (second.folder.parent / "manifest.json").read_bytes()


def test_text_from_outside_is_escaped(tmp_path, rng):
    made = result(tmp_path / "data", rng, n=3, names=["<img src=x>", "a&b", '"quoted"'])
    page = Page(report(tmp_path / "out", tmp_path / "data", inputs(made, rng))[1])
    check_self_contained(page)
    assert "<img src=x>" in page.text and "Toys <&>" in page.text


def test_warnings_come_first_and_runs_that_share_one_are_named_once(tmp_path, rng):
    made = result(tmp_path / "data", rng)
    text = Page(report(tmp_path / "out", tmp_path / "data", inputs(made, rng))[1]).text
    order = ("2 stimuli are in both sets.", "no confounds table.", "Latent correlation")
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert text.count("no confounds table.") == 1 and "(2 runs: run-01, run-02)" in text


def test_a_picture_that_cannot_be_read_is_said_and_does_not_stop_the_report(tmp_path, rng):
    made = result(tmp_path / "data", rng)
    broken = made["paths"]["face03"]
    with open(broken, "wb") as stream:
        stream.write(b"no picture")
    made["paths"].pop("face04")
    text = Page(report(tmp_path / "out", tmp_path / "data", inputs(made, rng))[1]).text
    assert f"Picture {broken} cannot be read" in text
    assert text.count("no picture file here") == 2


def test_36_large_pictures_stay_below_15_megabytes(tmp_path, rng):
    made = result(tmp_path / "data", rng, n=36, size=(32, 32))
    noise = rng.integers(0, 256, (1, 1024, 1024, 3), dtype=np.uint8)  # what compresses worst
    large = np.broadcast_to(noise, (36, 1024, 1024, 3))
    made["drawn"].update(recon=large, ceiling=large, zero=large[:1], random=large[:1])
    made["drawn"].update(nearest=large, mean=large[:1])
    _, html = report(tmp_path / "out", tmp_path / "data", inputs(made, rng))
    assert 1e6 < len(html) < 15e6


def group_table(dataset, rng, people=("01", "02")):
    made = {f"sub-{who}": result(dataset, rng, who, names=[f"face{k}" for k in range(5)]) for who in people}
    metrics = {who: part["metrics"] for who, part in made.items()}
    stats = group_stats({who: part["stats"] for who, part in made.items()}, metrics, n_bootstrap=50)
    named = {"task": TASK, "space": None, "resolution": None, "model": "ridge", "desc": SPACE}
    return {**named, "metrics": group_metrics(metrics), "stats": stats, "notices": ["sub-03 is missing."]}, made


def publish_reconstructions(dataset, who, drawn):
    import pandas as pd

    scope, rows = Scope(who, TASK), []
    for name, pixels in zip(drawn["stimuli"].tolist(), drawn["recon"], strict=True):
        file = scope.name("recon", ".png", model="ridge", stim=name, desc=SPACE)
        write_png(dataset / file, pixels)
        rows.append((name, file, f"{name}.png"))
    table = pd.DataFrame(rows, columns=["stimulus_id", "recon_file", "stim_file"])
    write_tsv(dataset / scope.name("recon", ".tsv", model="ridge", desc=SPACE), table)


def test_group_shows_every_participants_reconstruction_of_shared_stimuli(tmp_path, rng):
    table, made = group_table(tmp_path, rng)
    for who, part in made.items():
        publish_reconstructions(tmp_path, who.removeprefix("sub-"), part["drawn"])
    (tmp_path / "sub-01.html").write_text("a report")
    write_json(tmp_path / "dataset_description.json", {"Name": "hyper: Toys", "DatasetLinks": {"raw": "raw"}})
    html = write_group_report(tmp_path, [table]).read_text(encoding="utf-8")
    page = Page(html)
    check_self_contained(page)
    assert [link["href"] for link in page.all("a") if not link["href"].startswith("#")] == ["sub-01.html"]
    alts = Counter(re.sub(r"face\d", "face", picture["alt"]) for picture in page.all("img"))
    assert alts["reconstruction of face from sub-01"] == alts["reconstruction of face from sub-02"] == 5
    assert alts["stimulus face as it was shown"] == 5
    assert "sub-03 is missing." in page.text
    order = table["metrics"].groupby("stimulus_id")["latent_correlation"].mean().sort_values(ascending=False)
    assert re.findall(r"\d+\. <strong>(face\d)</strong>", html) == order.index.tolist()
    assert write_group_report(tmp_path, [table]).read_text(encoding="utf-8") == html


def test_group_of_undecidable_participants_is_undecidable(tmp_path, rng):
    table, _ = group_table(tmp_path, rng)
    own = table["stats"]["participant_id"] != "group"
    assert "not decidable" not in write_group_report(tmp_path, [table]).read_text(encoding="utf-8")
    tested = own & ~table["stats"]["metric"].str.startswith("attribute_") & table["stats"]["p_value"].notna()
    table["stats"].loc[tested, "p_method"] = "all 6 permutations of stimuli (exact)"
    html = write_group_report(tmp_path, [table]).read_text(encoding="utf-8")
    assert "the test cannot reach p &lt; 0.05 (smallest possible p = 0.086)" in html


def test_group_without_pictures_or_description_has_its_tables(tmp_path, rng):
    table, _ = group_table(tmp_path, rng, people=("01",))
    page = Page(write_group_report(tmp_path, [table]).read_text(encoding="utf-8"))
    check_self_contained(page)
    assert "There is one participant" in page.text and "Reconstructions" not in page.text
