"""Datasets for the coverage of every interval that hyper ships: each function gives the intervals of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from calibration_data import N_LATENTS, Row, predictions

from hyper_bids.evaluate.confidence import bootstrap_correlation, bootstrap_mean, percentiles
from hyper_bids.evaluate.group import group_interval
from hyper_bids.evaluate.identification import (
    candidate_correlations,
    pairwise_wins,
    recognition_matrices,
)
from hyper_bids.evaluate.intervals import (
    correlation_interval,
    identification_interval,
    mean_interval,
    two_way_interval,
)
from hyper_bids.evaluate.k_way import k_way_accuracy
from hyper_bids.evaluate.latent import latent_correlation_matrix


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
