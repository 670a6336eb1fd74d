"""Figures that need more than what is published: a run's time courses, all pairs of latents, the generator.

They go into the tree with their words beside them (`hyper_bids.report.gallery`), and the report lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.derivatives.names import model_label
from hyper_bids.derivatives.tree import Tree, tree_files
from hyper_bids.seeds import generator as seeded
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.nuisances import framewise_displacement
from hyper_bids.workflow.steps.outputs import scope_of
from hyper_bids.workflow.steps.pictures import mean_per_stimulus, picture_generator, shown_pictures, with_weights

if TYPE_CHECKING:
    import pandas as pd

    from hyper_bids.report.figures_null import Null
    from hyper_bids.report.gallery import FigureFolder
    from hyper_bids.report.read import Result

CARPET_VOXELS = 300
"""Voxels of a carpet from those that were decoded, and as many from the others."""

INTERPOLATED = 6
"""Stimuli between whose predicted and true latents pictures are drawn, evenly spaced from the best to the worst."""

BETWEEN = (0.25, 0.5, 0.75)
"""How much of the true latent is in the pictures between. Only these 18 are made for the figure, about 6 s at 1024
pixels on one core: the ends of a row are the reconstruction and the ceiling, which exist."""

SIDE = 192
"""Pixels to which these pictures are shrunk."""

MOST_CANDIDATES = 200
"""Stimuli up to which identification is permuted for every number of candidates."""

RANK_SCORES = {
    "PairwiseAccuracy": "pairwise accuracy\n(share of candidates)", "LatentCorrelation": "latent correlation (r)",
}  # fmt: skip
"""Scores of the audit's reduced-rank curve, with units."""

TWO_SIDED = "two-sided"
"""In p_method, of tests that values on both sides count against."""

def draw_carpet(
    *, grid: Path, voxels: Path, recording: Mapping[str, Any], n_recordings: int, scope: Mapping[str, Any],
    out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Draw one run as a carpet of a few hundred voxels with the head's motion above: one pass over the file.

    Output: ``tree``.
    """
    from hyper_bids.inputs.volumes import masked_blocks
    from hyper_bids.report.figures_carpet import carpet_figure
    from hyper_bids.report.gallery import FigureFolder

    whole, seen = files.load_grid(grid), np.asarray(files.load_array(voxels)).any(axis=0)
    chosen = np.sort(np.concatenate([spread(np.flatnonzero(part)) for part in (seen, ~seen)]))
    blocks = masked_blocks(Path(recording["bold"]), whole.within(_mask(chosen, whole.n_voxels)).mask)
    bold = np.concatenate(list(blocks))
    series = {}
    if recording.get("confounds"):
        displacement = framewise_displacement(Path(recording["confounds"]), len(bold))
        if displacement is not None:
            series["Framewise displacement"] = ("mm", displacement)
    level = bold.mean(axis=1, dtype=np.float64)
    series["Mean of these voxels"] = ("% change", 100 * (level / level.mean() - 1) if level.mean() else level)
    times = np.arange(len(bold)) * float(recording["repetition_time"])
    drawing = carpet_figure(bold, seen[chosen], times, series)
    which = f"{recording['label']}, the first of {n_recordings} runs" if n_recordings > 1 else recording["label"]
    without = "" if "Framewise displacement" in series else " The run has no table with the head's motion."
    caption = (
        f"{len(bold)} volumes of {which}: {len(chosen)} voxels, evenly spread over {_parts(seen)}, each without its "
        "linear trend and in robust standard "
        f"deviations. Sudden stripes across all voxels are often motion or the scanner.{without}"
    )
    tree, where = Tree(out_dir), scope_of(scope)
    FigureFolder(tree).save(where.figure("carpet"), drawing, f"voxels over time in {recording['label']}", caption)
    return {"tree": tree.manifest()}


def _parts(seen: np.ndarray) -> str:
    if seen.all():
        return "the brain mask, all of which was decoded"
    return "those that were decoded (above the line) and the other voxels of the brain mask"


def spread(places: np.ndarray, most: int = CARPET_VOXELS) -> np.ndarray:
    """Return at most ``most`` of some places, evenly spaced.

    >>> spread(np.arange(10), 3)
    array([0, 4, 9])
    """
    if len(places) <= most:
        return places
    return places[np.round(np.linspace(0, len(places) - 1, most)).astype(int)]


def _mask(places: np.ndarray, n: int) -> np.ndarray:
    mask = np.zeros(n, dtype=bool)
    mask[places] = True
    return mask


def draw_evidence(
    *, rows: Path, predicted: Path, guesses: Path, latents: Path, scores: Path, decoder: str, cross_validated: bool,
    picture: Mapping[str, Any] | None, declaration: Mapping[str, Any], stimulus_paths: Mapping[str, str],
    nulls: Path, n_permutations: int, seed: int, scope: Mapping[str, Any], out_dir: Path,
    pictures: Path | None = None, generator_weights: Path | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Draw what one decoder's predictions resemble, and what its tests compared them with.

    ``scores`` is the manifest of the tree of `evaluate`, ``nulls`` its null values: figures state the numbers that it
    wrote. ``pictures`` are those of `reconstruct`.

    Output: ``tree`` (similarity maps, identification over k, null distributions, scores over the rank, interpolation).
    """
    from hyper_bids.evaluate.identification import candidate_correlations
    from hyper_bids.report.gallery import FigureFolder
    from hyper_bids.report.read import Result, read_table

    where, space = scope_of(scope), files.load_latents(latents)
    tree, result = Tree(out_dir), Result(Path(scores).parent / "tree", where, model_label(decoder), space.space)
    folder, written = FigureFolder(tree), tree_files(scores)
    metrics, stats = (read_table(written[result.name(suffix, ".tsv")]) for suffix in ("metrics", "stats"))
    table, values = files.load_table(rows), np.asarray(files.load_array(predicted))
    labels, means = mean_per_stimulus(table, values)
    ranked = _ranked(metrics, labels)
    true = space.of([labels[k] for k in ranked]).values
    names, ordered = [labels[k] for k in ranked], means[ranked]
    trained = space.rows(files.load_arrays(guesses, ("trained",))["trained"].tolist())
    _draw_similarity(folder, result, names, ordered, true, declaration, trained, seed)
    own = np.array([names.index(label) for label in table["stimulus_id"].astype(str)])
    if len(names) > 1:
        similarity = candidate_correlations(values, true)
        _draw_curve(folder, result, similarity, own, cross_validated, n_permutations, seed)
    _draw_nulls(folder, result, stats, files.load_arrays(nulls))
    _draw_bottleneck(folder, result, len(names))
    if picture is not None and pictures is not None:
        generator = picture_generator(with_weights(picture, generator_weights), space)
        ends = files.load_arrays(pictures, ("stimuli", "recon", "ceiling"))
        _draw_interpolation(folder, result, generator, metrics, names, ordered, true, ends, stimulus_paths)
    return {"tree": tree.manifest()}


def _ranked(metrics: pd.DataFrame, labels: Sequence[str]) -> list[int]:
    """Places of the stimuli, best first, as the report sorts them."""
    from hyper_bids.report.pictures import per_stimulus

    place = {label: k for k, label in enumerate(labels)}
    return [place[str(stimulus)] for stimulus in per_stimulus(metrics)[0].index if str(stimulus) in place]


def _draw_similarity(
    folder: FigureFolder, result: Result, names: list[str], predicted: np.ndarray, true: np.ndarray,
    declaration: Mapping[str, Any], trained: np.ndarray, seed: int,
) -> None:  # fmt: skip
    from hyper_bids.evaluate.baselines import random_latents
    from hyper_bids.evaluate.latent import latent_correlation_matrix
    from hyper_bids.report.figures_similarity import similarity_figure

    if len(names) < 2 or true.shape[1] < 2:
        return
    rng = seeded(seed, "figures", "random latents")
    random = np.concatenate(
        list(random_latents(len(names), true.shape[1], rng, declaration.get("Distribution"), trained))
    )
    maps = [latent_correlation_matrix(predicted, against) for against in (true, random)]
    if not np.isfinite(maps[0]).any():
        return
    kind = "drawn from the space's prior" if declaration.get("Distribution") == "normal" else "of the training set"
    caption = (
        f"Pearson r over {true.shape[1]} latent dimensions between every prediction (rows) and the true latents of "
        f"every test stimulus (n = {len(names)}), and as many random latents {kind}. A diagonal that stands out means "
        "that predictions resemble their own target more than others."
    )
    alt = "similarity of predicted latents to all targets and to random latents"
    folder.save_result(result, "similaritymap", similarity_figure(names, *maps), alt, caption)


def numbers_of_candidates(n: int, most: int = 11) -> list[int]:
    """Return numbers of candidates from 2 to n, about evenly spaced on a logarithmic axis.

    >>> numbers_of_candidates(20), numbers_of_candidates(3)
    ([2, 3, 4, 5, 6, 8, 10, 13, 16, 20], [2, 3])
    """
    return sorted({int(k) for k in np.round(np.geomspace(2, n, most))})


def _draw_curve(
    folder: FigureFolder, result: Result, similarity: np.ndarray, own: np.ndarray, cross_validated: bool,
    n_permutations: int, seed: int,
) -> None:  # fmt: skip
    from hyper_bids.evaluate.k_way import k_way_curve, k_way_matrix
    from hyper_bids.evaluate.nulls import permutation_draws, stimulus_permutations
    from hyper_bids.report.figures_identification import curve_figure

    n = similarity.shape[1]
    ks = numbers_of_candidates(n)
    curve = k_way_curve(similarity, own, ks)
    by_stimulus = np.array([[np.nanmean(curve[k][own == j]) if np.isfinite(curve[k][own == j]).any() else np.nan
                             for j in range(n)] for k in ks])  # fmt: skip
    known = np.isfinite(by_stimulus).all(axis=0)
    if known.sum() < 2:
        return
    mean, sem = by_stimulus[:, known].mean(axis=1), by_stimulus[:, known].std(axis=1, ddof=1) / np.sqrt(known.sum())
    null, said = None, "Chance is 1 / k."
    if not cross_validated and n <= MOST_CANDIDATES:
        permutations, _ = stimulus_permutations(n, n_permutations, seeded(seed, "evaluate", "permutations"))
        nulls = [permutation_draws(k_way_matrix(similarity, k)[:, own], permutations) for k in ks]
        null = np.nanpercentile(np.array(nulls), [2.5, 97.5], axis=1)
        said = f"Band: the middle 95 % of {len(permutations)} permutations of stimuli."
    elif cross_validated:
        said = "Chance is 1 / k for predictions that know nothing of the folds; the tests refit them instead."
    caption = (
        "How often the true latents correlate more with the prediction than those of k - 1 others do, over all "
        f"choices of the others (exact; mean and s.e.m. over n = {int(known.sum())} stimuli). {said}"
    )
    drawing = curve_figure(ks, mean, sem, null, int(known.sum()))
    folder.save_result(result, "identificationcurve", drawing, "identification over the number of candidates", caption)


def _draw_nulls(
    folder: FigureFolder, result: Result, stats: pd.DataFrame, draws: Mapping[str, np.ndarray]
) -> None:
    """Draw the null of every metric that was tested by permutation, in the order of the report's table."""
    from hyper_bids.report.figures_null import null_distributions_figure
    from hyper_bids.report.scores import main_rows

    rows = [row for row in stats.to_dict("records") if _was_permuted(row, draws)]
    if not rows:
        return
    place = {row.metric: number for number, row in enumerate(main_rows(stats)[0])}
    rows.sort(key=lambda row: place.get(row["metric"], len(place)))
    said = "; ".join(dict.fromkeys(str(row["p_method"]) for row in rows))
    stimuli = sorted({int(row["n"]) for row in rows})
    n = f"{stimuli[0]}" if len(stimuli) == 1 else f"{stimuli[0]} to {stimuli[-1]}"
    sides = "one-sided p (attributes: two-sided)" if TWO_SIDED in said else "one-sided p"
    caption = (
        f"What each statistic is when labels mean nothing ({said}; over {n} stimuli), and the observed value with its "
        f"{sides}."
    )
    drawing = null_distributions_figure([_null(row, draws) for row in rows])
    folder.save_result(result, "nulldistributions", drawing, "null distributions with the observed values", caption)


def _was_permuted(row: Mapping[str, Any], draws: Mapping[str, np.ndarray]) -> bool:
    """Whether a row of stats.tsv has a p from draws that are there."""
    known = np.isfinite([row["mean"], row["p_value"]]).all()
    return bool(known and row["metric"] in draws and np.isfinite(draws[row["metric"]]).any())


def _null(row: Mapping[str, Any], draws: Mapping[str, np.ndarray]) -> Null:
    """The null of one metric with what stats.tsv says of it."""
    from hyper_bids.report.figures_null import Null
    from hyper_bids.report.words import long_name, p_text

    name, two_sided = row["metric"], TWO_SIDED in str(row["p_method"])
    return Null(long_name(name), draws[name], float(row["mean"]), p_text(float(row["p_value"])), two_sided)


def _draw_bottleneck(folder: FigureFolder, result: Result, n_stimuli: int) -> None:
    """Draw the scores over the rank of the predictions, as the audit found them; nothing where it could not."""
    from hyper_bids.report.figures_bottleneck import RankScores, bottleneck_figure

    found = result.sidecar("audit").get("Bottleneck") or {}
    if "Ranks" not in found:
        return
    scores = []
    for name, said in RANK_SCORES.items():
        values = np.array(found[name], dtype=float)
        if np.isfinite(values[-1]):
            chance = found["Chance"][name]
            scores.append(RankScores(said, values, np.nan if chance is None else chance, found["RankFor95"][name]))
    needed = found["RankFor95"]["PairwiseAccuracy"]
    caption = (
        "Scores of the test stimuli where predictions may use only so many dimensions: those along which the decoder's "
        "predictions of its own training trials vary most (reduced-rank regression). The fewest that give 95 % of the "
        f"way from chance to the pairwise accuracy of all: {needed}. Few dimensions mean that most of what pictures "
        "show is the generator's, not the brain's. Chance: permuted stimuli, all dimensions."
    )
    drawing = bottleneck_figure(found["Ranks"], scores, found["Latents"], n_stimuli)
    alt = "scores over the number of dimensions that predictions may use"
    folder.save_result(result, "bottleneck", drawing, alt, caption)


def _draw_interpolation(
    folder: FigureFolder, result: Result, generator: Any, metrics: pd.DataFrame, names: list[str],
    predicted: np.ndarray, true: np.ndarray, ends: Mapping[str, np.ndarray], stimulus_paths: Mapping[str, str],
) -> None:  # fmt: skip
    from hyper_bids.generate.images import render
    from hyper_bids.report.figures_interpolation import interpolation_figure
    from hyper_bids.report.thumbnails import shrunk

    ranks = spread(np.arange(len(names)), INTERPOLATED)
    labels, place = tuple(names[k] for k in ranks), {name: k for k, name in enumerate(ends["stimuli"].tolist())}
    shown = shown_pictures(stimulus_paths, labels)
    scores = metrics.groupby("stimulus_id")["latent_correlation"].mean()
    rows = []
    for k, label in zip(ranks, labels, strict=True):
        line = np.stack([(1 - share) * predicted[k] + share * true[k] for share in BETWEEN])
        steps = tuple(f"{label} {share:g}" for share in BETWEEN)
        pixels = render(generator, Latents(line, steps, result.latent_space)).pixels
        r = scores.get(label, np.nan)
        score = f"\nr = {r:.2f}" if np.isfinite(r) else ""
        whole = [ends["recon"][place[label]], *pixels, ends["ceiling"][place[label]]]
        along = np.stack([shrunk(image, SIDE) for image in whole])
        rows.append((f"{k + 1}. {label}{score}", along, shrunk(shown[label], SIDE) if label in shown else None))
    caption = (
        f"Pictures of latents on the straight line from the predicted to the true one, for {len(rows)} of {len(names)} "
        "test stimuli, evenly spaced from the best to the worst; none is picked. What changes along a row is what the "
        "prediction missed."
    )
    alt = "pictures between the predicted and the true latents"
    folder.save_result(result, "interpolation", interpolation_figure(rows, (0.0, *BETWEEN, 1.0)), alt, caption)
