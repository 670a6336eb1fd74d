"""Size, coverage and power of every statistic that hyper ships, on simulated data: the tables of docs/statistics.md.

    python benchmarks/calibration.py                           print the tables, 2000 datasets each (about ten minutes)
    python benchmarks/calibration.py --write docs/statistics.md    put them into the page
    python benchmarks/calibration.py --datasets 200 --jobs 1   a quick look

It fails (exit 1) where a shipped test exceeds 6.5 % false positives at 5 %, where one of a continuous statistic
lies below 3.5 %, or where an interval covers less than 93 % or, of a continuous statistic, more than 97 %. Every
dataset has a seed of its own, so that the numbers do not depend on the number of processes.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.evaluate.attribute_tests import attribute_table, sign_classification
from hyper_bids.evaluate.baselines import random_latents
from hyper_bids.evaluate.confidence import bootstrap_correlation, bootstrap_mean, percentiles
from hyper_bids.evaluate.covariates import category_anova, covariate_table
from hyper_bids.evaluate.direction_tests import closed_form_table
from hyper_bids.evaluate.directions import closed_form_directions
from hyper_bids.evaluate.exchangeable import permutation_test
from hyper_bids.evaluate.foils import hard_foils, pairwise_among_matrix, same_label
from hyper_bids.evaluate.friedman import friedman_test
from hyper_bids.evaluate.further_refits import FurtherNull, column_p, read_draws
from hyper_bids.evaluate.group import group_interval, stouffer
from hyper_bids.evaluate.identification import (
    candidate_correlations,
    pairwise_accuracy,
    pairwise_wins,
    recognition_matrices,
)
from hyper_bids.evaluate.intervals import (
    correlation_interval,
    identification_interval,
    mean_interval,
    two_way_interval,
)
from hyper_bids.evaluate.k_way import k_way_accuracy, k_way_matrix
from hyper_bids.evaluate.latent import latent_correlation_matrix, latent_dimension_matrix, latent_similarity_mse_matrix
from hyper_bids.evaluate.mantel import mantel_test
from hyper_bids.evaluate.many_correlations import correlations_of_columns
from hyper_bids.evaluate.multiplicity import holm
from hyper_bids.evaluate.paired_tests import sign_test, wilcoxon_test
from hyper_bids.evaluate.random_latent import random_latent_test
from hyper_bids.evaluate.rank_null import full_recognition_test, rank_sum_test
from hyper_bids.evaluate.refits import refit_statistics
from hyper_bids.seeds import generator

ALPHA, N_PERMUTATIONS, N_LATENTS = 0.05, 999, 64
BEGIN, END = "<!-- calibration: begin -->", "<!-- calibration: end -->"


@dataclass(frozen=True)
class Row:
    """One line of a table: what was tested on what, and how it is judged.

    ``kind``: "continuous" (held to both limits), "discrete" or "conservative" (to the upper one), "peer" (not ours).
    """

    name: str
    data: str
    kind: str = "continuous"


def predictions(
    rng: np.random.Generator, n: int, collapsed: bool, effect: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """True latents N(0, I) and predictions of a given effect; collapsed ones share most of what they are."""
    true = rng.standard_normal((n, N_LATENTS))
    predicted = rng.standard_normal((n, N_LATENTS)) + effect * true
    return true, predicted + (2.0 * rng.standard_normal(N_LATENTS) if collapsed else 0.0)


def over_pairs(pairwise: np.ndarray) -> float:
    """The peers' test: binomial over all n (n - 1) pairs, as if they were independent."""
    from scipy.stats import binom

    n_pairs = len(pairwise) * (len(pairwise) - 1)
    return float(binom.sf(round(float(pairwise.mean()) * n_pairs) - 1, n_pairs, 0.5))


def identification(rng: np.random.Generator, n: int, collapsed: bool, effect: float = 0.0) -> dict[Row, float]:
    """p-values of the identification tests of one dataset."""
    true, predicted = predictions(rng, n, collapsed, effect)
    data = f"n = {n}, {'collapsed' if collapsed else 'independent'}"
    pairwise, full = recognition_matrices(predicted, true)
    own = pairwise_accuracy(true, predicted)
    known = "conservative" if collapsed else "continuous"

    def permuted(matrix: np.ndarray, blocks: np.ndarray | None = None) -> float:
        return permutation_test(matrix, N_PERMUTATIONS, rng, blocks).p

    return {
        Row("permutation, latent correlation", data): permuted(latent_correlation_matrix(predicted, true)),
        Row("permutation, latent dimension correlation", data): permuted(latent_dimension_matrix(predicted, true)),
        Row("permutation, pairwise accuracy", data): permuted(pairwise),
        Row("permutation within 4 blocks, pairwise accuracy", data): permuted(pairwise, np.arange(n) % 4),
        Row("permutation, full recognition", data, "discrete"): permuted(full),
        Row("exact rank sum", data, known): rank_sum_test((n - 1) * own, [n] * n).p,
        Row("binomial, full recognition", data, "discrete"): full_recognition_test(np.diag(full), [n] * n).p,
        Row("binomial over n (n - 1) pairs", data, "peer"): over_pairs(own),
    }


def foils(rng: np.random.Generator) -> dict[Row, float]:
    """k-way, hard foils and groups."""
    true, predicted = predictions(rng, 36, collapsed=False)
    similarity, own, data = candidate_correlations(predicted, true), np.arange(36), "n = 36, independent"
    matrices = {
        "permutation, 10-way": k_way_matrix(similarity, 10),
        "permutation, pairwise among 9 hard foils": pairwise_among_matrix(similarity, hard_foils(true, own, 9)),
        "permutation, pairwise within groups": pairwise_among_matrix(similarity, same_label(own % 2, own)),
    }
    return {Row(name, data): permutation_test(m, N_PERMUTATIONS, rng).p for name, m in matrices.items()}


def many_columns(rng: np.random.Generator) -> dict[Row, float]:
    """Latents one by one: is any of them significant after correction?"""
    true, predicted = predictions(rng, 36, collapsed=True)
    found = correlations_of_columns(true, predicted, 40 * N_LATENTS, rng)
    data = "n = 36, 64 latents"
    return {
        Row("permutation, r of one latent", data): found.p[0],
        Row("maximum over latents (any)", data): float(found.p_max.min()),
        Row("FDR over latents (any)", data): float(found.p_fdr.min()),
    }


def attributes(rng: np.random.Generator, n: int) -> dict[Row, float]:
    """Attribute tests, classes by sign, similarity of spaces, covariates."""
    true, predicted = predictions(rng, n, collapsed=True)
    directions = {f"a{i}": d for i, d in enumerate(rng.standard_normal((5, N_LATENTS)))}
    table = attribute_table(true, predicted, directions)
    labels = np.where(np.arange(n) < 0.4 * n, "m", "f")
    _, by_sign = sign_classification(rng.standard_normal(n), labels, "m", N_PERMUTATIONS, rng)
    accuracy = pairwise_accuracy(true, predicted + 0.5 * true)
    covariates = covariate_table(accuracy, {f"c{i}": rng.gamma(2.0, size=n) for i in range(20)}, rng, 1999)
    data, categories = f"n = {n}", rng.permutation(np.arange(n) % 4)
    first_layer = np.random.default_rng(1).standard_normal((N_LATENTS, 4 * N_LATENTS))  # one network for all datasets
    closed_form = closed_form_table(true, predicted, *closed_form_directions(first_layer))
    return {
        Row("t test, attribute r", data): table["p_value"][0],
        Row("t test, attribute partial r, 4 others", data): table["partial_p"][0],
        Row("FDR over 5 attributes (any)", data): table["p_fdr"].min(),
        Row("permutation, class by sign", data, "discrete"): by_sign.p,
        Row("permutation, covariate r", data): covariates["p_value"][0],
        Row("Bonferroni over 20 covariates (any)", data): covariates["p_bonferroni"].min(),
        Row("permutation, ANOVA over 4 categories", data): category_anova(accuracy, categories, rng, 999).p,
        Row("Mantel test", data): mantel_test(true, rng.standard_normal((n, 20)), N_PERMUTATIONS, rng).p,
        Row(f"FDR over {N_LATENTS} closed-form directions (any)", data): closed_form["p_fdr"].min(),
    }


def hat_matrices(X: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(n, n) matrix that takes training latents to held-out predictions of a ridge with an intercept: label-free."""
    hat = np.zeros((len(X), len(X)))
    for fold in np.unique(folds):
        test, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        centred, new = X[train] - X[train].mean(axis=0), X[test] - X[train].mean(axis=0)
        weights = new @ centred.T @ np.linalg.inv(centred @ centred.T + 30.0 * np.eye(len(train)))
        mean = np.full((1, len(train)), 1 / len(train))
        hat[np.ix_(test, train)] = mean + weights @ (np.eye(len(train)) - mean)
    return hat


def cross_validated(rng: np.random.Generator, by_run: bool) -> dict[Row, float]:
    """A cross-validated ridge that sees noise: refitted null against permuting after the fit."""
    n_stimuli, n_permutations = (12, 199) if by_run else (36, 199)
    stimulus = np.tile(np.arange(n_stimuli), 4) if by_run else np.arange(n_stimuli)
    folds = np.repeat(np.arange(4), 12) if by_run else np.arange(n_stimuli) % 6
    latents = rng.standard_normal((n_stimuli, 16)).astype(np.float32)
    candidates = Latents(latents, tuple(f"s{i}" for i in range(n_stimuli)), "simulated")
    hat = hat_matrices(rng.standard_normal((len(stimulus), 40)), folds)
    runs = folds if by_run else np.zeros(len(stimulus), dtype=int)
    labels = np.stack([stimulus] + [permuted_within(stimulus, runs, rng) for _ in range(n_permutations)])
    fitted = np.einsum("ij,pjk->pik", hat, latents[labels], optimize=True)
    refitted = refit_statistics(fitted, labels, candidates)["pairwise_accuracy"]
    after = refit_statistics(np.repeat(fitted[:1], len(labels), axis=0), labels, candidates)["pairwise_accuracy"]
    data = "leave one run out" if by_run else "folds of stimuli"

    def p(draws: np.ndarray) -> float:
        return (1 + np.count_nonzero(draws[1:] >= draws[0] - 1e-9)) / len(draws)

    null = FurtherNull(latents, len(stimulus))
    null.add(fitted, labels)
    draws = read_draws(null.arrays())
    own, fdr_p, max_p = column_p(draws.latents[0], draws.latents[1:])
    return {
        Row("refits with permuted stimuli", data): p(refitted),
        Row("refits, 5-way", data): p(draws.tests["5-way identification"]),
        Row("refits, r of one latent", data): own[0],
        Row("refits, FDR over 16 latents (any)", data, "discrete"): fdr_p.min(),
        Row("refits, maximum over 16 latents (any)", data): max_p.min(),
        Row("permutation after the fit", data, "peer"): p(after),
    }


def permuted_within(stimulus: np.ndarray, runs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exchange stimuli within runs."""
    permuted = stimulus.copy()
    for run in np.unique(runs):
        permuted[runs == run] = rng.permutation(stimulus[runs == run])
    return permuted


def over_participants(rng: np.random.Generator) -> dict[Row, float]:
    """Tests whose unit is the participant."""
    found = {}
    for n in (2, 3, 4, 8, 11, 12, 30):
        kind = "discrete" if n < 20 else "continuous"
        found[Row("Friedman, 3 models", f"{n} participants", kind)] = friedman_test(rng.standard_normal((n, 3)), rng).p
    found[Row("Friedman, 5 models", "8 participants")] = friedman_test(rng.standard_normal((8, 5)), rng).p
    for n in (4, 8, 20, 50):
        found[Row("sign test", f"{n} participants", "discrete")] = sign_test(rng.standard_normal(n)).p
    for n in (5, 8, 20, 50, 250):
        kind = "discrete" if n < 20 else "continuous"
        found[Row("Wilcoxon", f"{n} participants", kind)] = wilcoxon_test(rng.standard_normal(n)).p
    table = rng.standard_normal((20, 5))
    pairs = [wilcoxon_test(table[:, a] - table[:, b]).p for a in range(5) for b in range(a)]
    found[Row("Wilcoxon, Holm over 10 pairs (any)", "20 participants", "conservative")] = holm(np.array(pairs)).min()
    own = []
    for _ in range(4):
        pairwise, _ = recognition_matrices(*predictions(rng, 20, collapsed=False)[::-1])
        own.append(permutation_test(pairwise, N_PERMUTATIONS, rng).p)
    found[Row("Stouffer over permutation p", "4 participants")] = stouffer(np.array(own))
    return found


def hypers_test(rng: np.random.Generator) -> dict[Row, float]:
    """HYPER's random-latent test of predictions that know no brain."""
    true, shrunken = predictions(rng, 36, collapsed=False)
    found = random_latent_test(
        latent_similarity_mse_matrix, true, 0.3 * shrunken, random_latents(199, N_LATENTS, rng, "normal")
    )
    return {
        Row("HYPER's random-latent test", "n = 36, noise, shrunken", "peer"): found.decoded.p,
        Row("HYPER's random-latent test", "n = 36, zeros", "peer"): found.zero.p,
    }


@dataclass(frozen=True)
class Interval:
    """An estimate, its interval, and the truth where it is known (else: the mean over datasets)."""

    estimate: float
    low: float
    high: float
    truth: float | None = None


def mean_intervals(rng: np.random.Generator, n: int) -> dict[Row, Interval]:
    """Intervals of means over stimuli; stimuli are each other's candidates, as in a test set."""
    true, predicted = predictions(rng, n, collapsed=False, effect=0.25)
    pairwise, full = (np.diag(m) for m in recognition_matrices(predicted, true))
    latent = np.diag(latent_correlation_matrix(predicted, true))
    data, found = f"n = {n}", {}
    wins = pairwise_wins(candidate_correlations(predicted, true), np.arange(n))
    found[Row("mean of pairwise accuracy", data)] = Interval(pairwise.mean(), *identification_interval(wins)[1:])
    for name, values, kind in (("latent correlation", latent, "continuous"),
                               ("full recognition", full, "discrete")):  # fmt: skip
        found[Row(f"mean of {name}", data, kind)] = Interval(values.mean(), *mean_interval(values, 1000, rng))
    for name, values in (("latent correlation", latent), ("pairwise accuracy", pairwise)):
        interval = Interval(values.mean(), *bootstrap_mean(values, 1000, rng))
        found[Row(f"percentile bootstrap, {name}", data, "peer")] = interval
    return found


def correlation_intervals(rng: np.random.Generator, n: int, rho: float) -> dict[Row, Interval]:
    """Intervals of correlations over stimuli, of one attribute and averaged over latents."""
    true = rng.standard_normal((n, N_LATENTS))
    predicted = rho * true + np.sqrt(1 - rho**2) * rng.standard_normal(true.shape)
    data, rows = f"n = {n}, r = {rho:g}", np.arange(n)
    found = {}
    for name, k in (("attribute r", 1), ("latent dimension correlation", N_LATENTS)):
        x, y = true[:, :k], predicted[:, :k]
        found[Row(name, data)] = Interval(np.nan, *correlation_interval(x, y)[1:], rho)
    draws = bootstrap_correlation(true, predicted, rows, 300, rng)
    found[Row("percentile bootstrap, latent dimension correlation", data, "peer")] = Interval(
        np.nan, *percentiles(draws), rho
    )
    return found


def group_intervals(rng: np.random.Generator, n_people: int, people: float, stimuli: float) -> dict[Row, Interval]:
    """Intervals of a mean over participants and stimuli, both of them samples."""
    table = people * rng.standard_normal((n_people, 1)) + stimuli * rng.standard_normal(36)
    table = table + rng.standard_normal((n_people, 36))
    data = f"{n_people} participants x 36 stimuli, sd {people:g}, {stimuli:g}, 1"
    kind = "conservative" if people == 0 else "continuous"
    return {
        Row("two-way variance components", data, kind): Interval(np.nan, *two_way_interval(table), 0.0),
        Row("crossed percentile bootstrap", data, "peer"): Interval(
            np.nan, *group_interval(list(table), True, 300, rng), 0.0
        ),
    }


def retrieval(rng: np.random.Generator) -> dict[Row, Interval]:
    """k-way retrieval: the closed form over stimuli against the peers' 30 random draws of candidates."""
    n, k = 200, 60
    true, predicted = predictions(rng, n, collapsed=False, effect=0.25)
    similarity = candidate_correlations(predicted, true)
    values = k_way_accuracy(similarity, np.arange(n), k)
    drawn = []
    for _ in range(30):
        some = rng.choice(n, k, replace=False)
        part = similarity[np.ix_(some, some)]
        drawn.append(np.mean(part.argmax(axis=1) == np.arange(k)))
    half = 1.96 * np.std(drawn) / np.sqrt(30)
    data = f"n = {n}, k = {k}"
    return {
        Row("mean of k-way, closed form", data): Interval(values.mean(), *mean_interval(values, 1000, rng)),
        Row("30 random draws, SD / sqrt(30)", data, "peer"): Interval(
            float(np.mean(drawn)), np.mean(drawn) - half, np.mean(drawn) + half
        ),
    }


Scenario = Callable[[np.random.Generator], dict]
SIZE: dict[str, tuple[Callable, tuple]] = {
    **{f"identification {n} {c}": (identification, (n, c)) for n in (20, 36, 100) for c in (False, True)},
    "foils": (foils, ()),
    "many columns": (many_columns, ()),
    **{f"attributes {n}": (attributes, (n,)) for n in (20, 36)},
    **{f"cross-validated {by_run}": (cross_validated, (by_run,)) for by_run in (True, False)},
    "participants": (over_participants, ()),
    "random latents": (hypers_test, ()),
}
COVERAGE: dict[str, tuple[Callable, tuple]] = {
    **{f"means {n}": (mean_intervals, (n,)) for n in (20, 36, 100)},
    **{f"correlations {n} {r}": (correlation_intervals, (n, r)) for n in (20, 36, 100) for r in (0.0, 0.4, 0.8)},
    **{
        f"group {n} {p} {s}": (group_intervals, (n, p, s))
        for n in (3, 10)
        for p, s in ((0.5, 0.5), (1.0, 0.3), (0, 0.5))
    },
    "retrieval": (retrieval, ()),
}
POWER: dict[str, tuple[Callable, tuple]] = {
    f"power {effect} {c}": (identification, (36, c, effect)) for effect in (0.02, 0.04, 0.08) for c in (False, True)
}


def simulate(job: tuple[str, str, int, int]) -> list[dict]:
    """Run datasets first .. last of one scenario."""
    table, name, first, last = job
    function, arguments = {"size": SIZE, "coverage": COVERAGE, "power": POWER}[table][name]
    return [function(generator(6, "calibration", name, number), *arguments) for number in range(first, last)]


def collect(table: str, names: list[str], n_datasets: int, jobs: int) -> dict[str, dict[Row, list]]:
    """All datasets of all scenarios: scenario -> row -> values in order."""
    step = max(1, n_datasets // 8)
    work = [(table, name, i, min(i + step, n_datasets)) for name in names for i in range(0, n_datasets, step)]
    found: dict[str, dict[Row, list]] = {name: defaultdict(list) for name in names}
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        for (_, name, *_), results in zip(work, pool.map(simulate, work), strict=True):
            for result in results:
                for row, value in result.items():
                    found[name][row].append(value)
    return found


def rejected(p_values: list[float]) -> float:
    """Share of p at most 5 %; a p that could not be had rejects nothing."""
    return float(np.mean(np.asarray(p_values, dtype=float) <= ALPHA + 1e-12))


def covered(intervals: list[Interval]) -> float:
    """Share of intervals that hold the truth."""
    truth = np.mean([i.estimate for i in intervals]) if intervals[0].truth is None else intervals[0].truth
    return float(np.mean([i.low - 1e-12 <= truth <= i.high + 1e-12 for i in intervals]))


JUDGED = {"continuous": "", "discrete": "discrete", "conservative": "conservative", "peer": "**not shipped as a test**"}


def size_table(found: dict[str, dict[Row, list]]) -> tuple[list[str], list[str]]:
    """Lines of the table of false positives, and what is out of bounds."""
    lines = ["| test | data without effect | p <= 0.05 | |", "|---|---|---|---|"]
    wrong = []
    for rows in found.values():
        for row, values in rows.items():
            share = rejected(values)
            lines.append(f"| {row.name} | {row.data} | {100 * share:.1f} % | {JUDGED[row.kind]} |")
            too_few = row.kind == "continuous" and share < 0.035
            if row.kind != "peer" and (share > 0.065 or too_few):
                wrong.append(f"{row.name}, {row.data}: {100 * share:.1f} % false positives")
    return lines, wrong


def coverage_table(found: dict[str, dict[Row, list]]) -> tuple[list[str], list[str]]:
    """Lines of the table of coverage, and what is out of bounds."""
    lines = ["| interval of | data | covers | |", "|---|---|---|---|"]
    wrong = []
    for rows in found.values():
        for row, values in rows.items():
            share = covered(values)
            note = "**not used**" if row.kind == "peer" else JUDGED[row.kind]
            lines.append(f"| {row.name} | {row.data} | {100 * share:.1f} % | {note} |")
            too_much = row.kind == "continuous" and share > 0.97
            if row.kind != "peer" and (share < 0.93 or too_much):
                wrong.append(f"{row.name}, {row.data}: covers {100 * share:.1f} %")
    return lines, wrong


def power_table(found: dict[str, dict[Row, list]], null: dict[str, dict[Row, list]]) -> list[str]:
    """Power, beside the size of the same test on the same data without an effect."""
    effects = (0.02, 0.04, 0.08)
    heads = " | ".join(f"effect {effect:g}" for effect in effects)
    lines = [f"| test, n = 36 | predictions | size | {heads} |", "|---|---|---|" + "---|" * len(effects)]
    for collapsed in (False, True):
        for row in found[f"power {effects[0]} {collapsed}"]:
            size = rejected(null[f"identification 36 {collapsed}"][row])
            values = " | ".join(f"{100 * rejected(found[f'power {e} {collapsed}'][row]):.0f} %" for e in effects)
            shared = "collapsed" if collapsed else "independent"
            note = " (invalid: its size)" if row.kind == "peer" else ""
            lines.append(f"| {row.name}{note} | {shared} | {100 * size:.1f} % | {values} |")
    return lines


def replace(page: Path, text: str) -> None:
    """Put the tables between the page's two markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page} lacks the lines {BEGIN} and {END}.")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Make the tables; exit 1 where something is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    options = parser.parse_args()
    began = time.perf_counter()
    null = collect("size", list(SIZE), options.datasets, options.jobs)
    sizes, wrong = size_table(null)
    coverages, wrong_too = coverage_table(collect("coverage", list(COVERAGE), options.datasets, options.jobs))
    powers = power_table(collect("power", list(POWER), options.datasets, options.jobs), null)
    error = 100 * np.sqrt(0.05 * 0.95 / options.datasets)
    note = f"{options.datasets} datasets for every line; standard error of a 5 % share: {error:.1f} %."
    parts = ["### False positives at 5 %", note, "\n".join(sizes), "### Intervals at 95 %", "\n".join(coverages),
             "### Power", "\n".join(powers)]  # fmt: skip
    text = "\n\n".join(parts)
    if options.write:
        replace(options.write, text)
    else:
        print(text)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    for line in wrong + wrong_too:
        print(f"OUT OF BOUNDS: {line}", file=sys.stderr)
    return 1 if wrong or wrong_too else 0


if __name__ == "__main__":
    raise SystemExit(main())
