"""One participant's stats.tsv: one row a metric, with its test, its interval and its baselines.

The unit is the stimulus: rows of several folds are averaged per stimulus first, and ``n`` counts stimuli.

* ``sem``: sd over stimuli / sqrt(n). For statistics that are no mean over stimuli (correlations over
  rows or stimuli) it is their jackknife standard error.
* ``ci_low``, ``ci_high``: 95 %, over stimuli; `intervals` says which for which statistic.
* ``chance``: what theory says: 0.5 for pairwise accuracy, 1 / candidates for top1, 0 for correlations over
  stimuli. Elsewhere NaN: theory says nothing, ``null_mean`` does.
* ``p_value``: one-sided label permutation (see `nulls`, `refits`); two-sided t for attributes.
  ``p_method`` says which, or why there is none: it then starts with "not tested".
* ``ceiling``: for pictures (features) the score of the reconstructions from the *true* latents, where they
  are given. NaN for latents: their ceiling is set by the noise in the responses, which is not measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.errors import UsageError
from hyper_bids.evaluate.attributes import attribute_correlations, attribute_scores
from hyper_bids.evaluate.baselines import N_DRAWS, baseline_scores, random_latents
from hyper_bids.evaluate.decoded import Compared, Decoded
from hyper_bids.evaluate.identification import candidate_correlations, pairwise_wins, recognition_matrices
from hyper_bids.evaluate.intervals import correlation_interval, identification_interval, mean_interval
from hyper_bids.evaluate.latent import latent_dimension_correlation, latent_dimension_matrix
from hyper_bids.evaluate.metrics import METRICS
from hyper_bids.evaluate.nulls import permutation_draws, permutation_p, stimulus_permutations
from hyper_bids.evaluate.participant import missing_reasons, scores_by_row
from hyper_bids.evaluate.refits import nan_mean, refit_statistics
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    import pandas as pd

STATS_COLUMNS = (
    "metric", "n", "mean", "sem", "ci_low", "ci_high",
    "chance", "null_mean", "null_sd", "p_value", "p_method", "ceiling",
)  # fmt: skip
DIMENSIONS = "latent_dimension_correlation"
NOT_TESTED = "not tested: "
BASELINE = "a baseline"
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class References:
    """What scores are held against, where the caller can make it.

    Parameters
    ----------
    distribution : "normal" where the latent space is declared N(0, I)
    training_latents : (n_train, n_latents), resampled as random latents where it is not
    zero, random : domain ("image" or "feature") -> (m, ...)
        Luminance at the size of the pictures compared (or features), made from the zero latent (m = 1)
        and from random latents.
    ceiling : domain -> Compared
        Stimuli against the reconstructions of their true latents.
    n_draws : random latents to draw
    """

    distribution: str | None = None
    training_latents: np.ndarray | None = None
    zero: Mapping[str, np.ndarray] = field(default_factory=dict)
    random: Mapping[str, np.ndarray] = field(default_factory=dict)
    ceiling: Mapping[str, Compared] = field(default_factory=dict)
    n_draws: int = N_DRAWS


@dataclass(frozen=True, eq=False)
class Refits:
    """Predictions of decoders refitted on permuted stimuli, for cross-validated designs.

    Parameters
    ----------
    predictions : (n_permutations, n_rows, n_latents), optional
    true_stimuli : (n_permutations, n_rows) labels, optional
        The stimulus of each row under each permutation.
    statistics : metric -> (n_permutations,), optional
        Null statistics that exist already: from `refits.refit_statistics` on chunks, or of pictures made
        from refits. They go before what ``predictions`` give.
    untested : metric -> why, optional
        For metrics that have no null although others have one.
    """

    predictions: np.ndarray | None = None
    true_stimuli: np.ndarray | None = None
    statistics: Mapping[str, np.ndarray] = field(default_factory=dict)
    untested: Mapping[str, str] = field(default_factory=dict)

    def draws(self, decoded: Decoded) -> dict[str, np.ndarray]:
        """Null statistics, metric -> ``(n_permutations,)``."""
        made = {}
        if self.predictions is not None:
            candidates = Latents(decoded.candidate_values, decoded.candidates, decoded.latents.space)
            made = refit_statistics(
                self.predictions, self.true_stimuli, candidates, directions=decoded.directions
            )
        return {**made, **self.statistics}


@dataclass(frozen=True, eq=False)
class Null:
    """Null draws of one metric ``(n_permutations,)`` and how they were made; or none, and why."""

    draws: np.ndarray
    method: str
    exact: bool = False


def _untested(why: str) -> Null:
    return Null(np.empty(0), NOT_TESTED + why)


def _permuted(matrix: np.ndarray, n_permutations: int, seed: int) -> Null:
    n = len(matrix)
    if n < 2:
        return _untested("one test stimulus, nothing to permute")
    # one stream for all metrics: they see the same permutations
    permutations, exact = stimulus_permutations(n, n_permutations, generator(seed, "evaluate", "permutations"))
    count = len(permutations)
    method = f"all {count} permutations of stimuli (exact)" if exact else f"{count} permutations of stimuli"
    return Null(permutation_draws(matrix, permutations), method, exact)


def _fixed_split_nulls(decoded: Decoded, n_permutations: int, seed: int) -> dict[str, Null]:
    n_tested = len(decoded.tested)
    pairwise, top = recognition_matrices(decoded.predicted, decoded.candidate_values)
    matrices = {
        "pairwise_accuracy": pairwise[:, :n_tested],
        "top1": top[:, :n_tested],
        DIMENSIONS: latent_dimension_matrix(decoded.predicted, decoded.true),
    }
    latent = Compared(decoded.true, decoded.predicted, decoded.tested)
    for name, metric in METRICS.items():
        compared = {"latent": latent, "image": decoded.images, "feature": decoded.features}[metric.domain]
        if compared is not None and name not in matrices:
            matrices[name] = metric.matrix(compared.predicted, compared.true)
    return {name: _permuted(matrix, n_permutations, seed) for name, matrix in matrices.items()}


def _refit_nulls(decoded: Decoded, refits: Refits | None) -> dict[str, Null]:
    draws = {} if refits is None else refits.draws(decoded)
    why = {} if refits is None else refits.untested
    nulls = {name: Null(np.asarray(d), f"{len(d)} refits with permuted stimuli") for name, d in draws.items()}
    return {**{name: _untested(reason) for name, reason in why.items()}, **nulls}


def null_distributions(
    decoded: Decoded, *, refits: Refits | None = None, seed: int = 0, n_permutations: int = 1000
) -> dict[str, Null]:
    """Return metric -> what it is with permuted labels, for `participant_stats`, whose arguments these are."""
    if decoded.cross_validated:
        return _refit_nulls(decoded, refits)
    return _fixed_split_nulls(decoded, n_permutations, seed)


def _row(metric: str, mean: float, n: int, **values: object) -> dict[str, object]:
    return {**dict.fromkeys(STATS_COLUMNS, NAN), "metric": metric, "n": n, "mean": mean, **values}


def _tested(name: str, mean: float, null: Null, why_undefined: str) -> dict[str, object]:
    """Return the columns null_mean, null_sd, p_value and p_method."""
    if not np.isfinite(mean):
        return {"p_method": NOT_TESTED + why_undefined}
    if not len(null.draws):
        return {"p_method": null.method}
    higher = METRICS[name].higher_is_better if name in METRICS else True
    known = null.draws[np.isfinite(null.draws)]
    spread = float(known.std(ddof=1)) if len(known) > 1 else NAN
    p = permutation_p(mean, null.draws, higher, null.exact)
    return {"null_mean": nan_mean(null.draws), "null_sd": spread, "p_value": p, "p_method": null.method}


def _over_stimuli(name: str, values: np.ndarray, n_bootstrap: int, seed: int, **further: object) -> dict[str, object]:
    """Row of a statistic that is a mean over stimuli ``(n,)``, NaN left out."""
    values = values[np.isfinite(values)]
    sem = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else NAN
    low, high = mean_interval(values, n_bootstrap, generator(seed, "evaluate", "bootstrap"))
    return _row(name, nan_mean(values), len(values), sem=sem, ci_low=low, ci_high=high, **further)


def _chance(name: str, decoded: Decoded) -> float:
    """Theory's chance level; there is none where test stimuli are left out of training by design.

    A decoder that never saw a stimulus predicts towards the mean of the others, which is
    farther from it than chance: the refits' null mean says how far.
    """
    if decoded.cross_validated and len(decoded.stimuli) == len(decoded.tested):
        return NAN
    return {"pairwise_accuracy": 0.5, "top1": 1.0 / len(decoded.candidates)}.get(name, NAN)


def _ceiling(name: str, references: References) -> float:
    metric = METRICS[name]
    compared = references.ceiling.get(metric.domain)
    return NAN if compared is None else float(nan_mean(metric(compared.true, compared.predicted)))


def _jackknifed(true: np.ndarray, predicted: np.ndarray, stimulus: np.ndarray) -> dict[str, float]:
    return dict(zip(("sem", "ci_low", "ci_high"), correlation_interval(true, predicted, stimulus), strict=True))


def _pairwise_interval(decoded: Decoded) -> dict[str, float]:
    """Standard error and interval of pairwise accuracy, in which a stimulus is target and candidate."""
    correlations = candidate_correlations(decoded.predicted, decoded.candidate_values)
    by_row = pairwise_wins(correlations, decoded.row_stimulus)
    wins = np.column_stack([decoded.per_stimulus(column) for column in by_row.T])
    return dict(zip(("sem", "ci_low", "ci_high"), identification_interval(wins), strict=True))


def _dimension_row(decoded: Decoded, null: Null) -> dict[str, object]:
    mean = float(latent_dimension_correlation(decoded.true, decoded.predicted))
    interval = _jackknifed(decoded.true, decoded.predicted, decoded.row_stimulus)
    why = "one test row, or no latent dimension varies over test rows"
    tested = _tested(DIMENSIONS, mean, null, why)
    n = len(decoded.tested) if np.isfinite(mean) else 0
    chance = NAN if decoded.cross_validated else 0.0
    return _row(DIMENSIONS, mean, n, chance=chance, **interval, **tested)


def _random_scores(decoded: Decoded, references: References, seed: int) -> dict[str, np.ndarray]:
    """Mean score of random latents per tested stimulus, for every latent similarity: metric -> ``(n_tested,)``."""
    if references.distribution != "normal" and references.training_latents is None:
        return {}
    names = [name for name, metric in METRICS.items() if metric.domain == "latent" and metric.is_similarity]
    true = decoded.candidate_values[: len(decoded.tested)]
    blocks = random_latents(
        references.n_draws,
        true.shape[1],
        generator(seed, "evaluate", "random latents"),
        references.distribution,
        references.training_latents,
    )
    drawn = {name: [] for name in names}
    weights = []
    for block in blocks:
        weights.append(len(block))
        for name in names:
            drawn[name].append(baseline_scores(METRICS[name].matrix, block, true))
    return {name: np.average(parts, axis=0, weights=weights) for name, parts in drawn.items()}


def _no_baseline(domain: str, kind: str, given: Mapping, true: Mapping) -> str:
    """Say why a baseline has no value."""
    if domain not in true:
        return "no feature network was given" if domain == "feature" else "there are no pictures to compare"
    if domain in given:
        return f"undefined for a {kind} prediction"
    if domain == "latent":
        return "the space is not declared normal and no training latents were given"
    return f"no {'picture' if domain == 'image' else 'features'} of a {kind} latent"


def _baseline_rows(decoded: Decoded, references: References, n_bootstrap: int, seed: int) -> list[dict[str, object]]:
    n_tested = len(decoded.tested)
    true = {"latent": decoded.candidate_values[:n_tested]}
    for domain, compared in (("image", decoded.images), ("feature", decoded.features)):
        if compared is not None:
            true[domain] = compared.true
    zero = {"latent": np.zeros((1, decoded.latents.n_latents)), **references.zero}
    random = _random_scores(decoded, references, seed)
    rows = []
    for name, metric in METRICS.items():
        if not metric.is_similarity:
            continue
        for kind, given in (("zero", zero), ("random", references.random)):
            values = np.full(n_tested, np.nan)
            if kind == "random" and name in random:
                values = random[name]
            elif metric.domain in given and metric.domain in true:
                values = baseline_scores(metric.matrix, given[metric.domain], true[metric.domain])
            why = BASELINE if np.isfinite(values).any() else _no_baseline(metric.domain, kind, given, true)
            rows.append(_over_stimuli(f"{name}_{kind}", values, n_bootstrap, seed, p_method=NOT_TESTED + why))
    return rows


def _attribute_rows(decoded: Decoded, nulls: Mapping[str, Null]) -> list[dict[str, object]]:
    scores = [
        {name: decoded.per_stimulus(values) for name, values in attribute_scores(latents, decoded.directions).items()}
        for latents in (decoded.true, decoded.predicted)
    ]
    true, predicted = scores
    alone, partial = attribute_correlations(true, predicted)
    n = len(decoded.tested)
    rows = []
    for name, found in alone.items():
        interval = _jackknifed(true[name][:, None], predicted[name][:, None], np.arange(n))
        null = nulls.get(f"attribute_{name}") if decoded.cross_validated else None
        row = _correlation_row(f"attribute_{name}", found, n, **interval)
        rows.append(_refitted(row, null) if decoded.cross_validated else row)
        if name in partial:
            row = _correlation_row(f"attribute_{name}_partial", partial[name], n)
            rows.append(_refitted(row, None) if decoded.cross_validated else row)
    return rows


def _refitted(row: dict[str, object], null: Null | None) -> dict[str, object]:
    """Test a correlation against refits, two-sided about their mean.

    In cross-validated designs the t test is not valid: folds make predictions of what is
    left out lean away from it, and r below 0 is what chance gives (METHODS.md section 6).
    """
    if not np.isfinite(row["mean"]):
        return row
    draws = np.empty(0) if null is None else null.draws[np.isfinite(null.draws)]
    if not len(draws):
        why = "cross-validated, which needs refits with permuted stimuli"
        return {**row, "chance": NAN, "p_value": NAN, "p_method": NOT_TESTED + why}
    centre = float(draws.mean())
    beyond = int((np.abs(draws - centre) >= abs(row["mean"] - centre) - 1e-12).sum())
    return {
        **row,
        "chance": NAN,
        "null_mean": centre,
        "null_sd": float(draws.std(ddof=1)) if len(draws) > 1 else NAN,
        "p_value": (1 + beyond) / (1 + len(draws)),
        "p_method": f"{null.method}, two-sided",
    }


def _correlation_row(name: str, found: object, n: int, **interval: float) -> dict[str, object]:
    if not np.isfinite(found.r):
        why = "too few stimuli" if found.dof < 1 else "the scores do not vary, or follow from the other attributes"
        return _row(name, NAN, 0, p_method=NOT_TESTED + why)
    method = f"two-sided t test, {found.dof} degrees of freedom"
    return _row(name, found.r, n, chance=0.0, p_value=found.p, p_method=method, **interval)


def participant_stats(
    decoded: Decoded,
    *,
    refits: Refits | None = None,
    references: References | None = None,
    seed: int = 0,
    n_permutations: int = 1000,
    n_bootstrap: int = 2000,
    nulls: Mapping[str, Null] | None = None,
) -> pd.DataFrame:
    """Test every metric over stimuli.

    Parameters
    ----------
    decoded : Decoded
    refits : Refits, optional
        Needed for p-values where ``decoded`` is cross-validated; a metric without is "not tested".
        Not used for a fixed split, whose null needs no refit.
    references : References, optional
    seed : int
        Root seed of permutations, bootstrap and random latents.
    n_permutations : for a fixed split; all n! are enumerated where they are not more
    n_bootstrap : bootstrap samples of stimuli
    nulls : of `null_distributions`, where the caller keeps them; then no ``refits``, and ``n_permutations`` is not used

    Raises
    ------
    UsageError
        Both ``nulls`` and ``refits`` are given.

    Returns
    -------
    DataFrame with the columns `STATS_COLUMNS`
        One row per metric (n = 0 and mean NaN where it was not computed), then
        ``latent_dimension_correlation``, ``<similarity>_zero`` and ``<similarity>_random``, and
        ``attribute_<name>`` (mean = Pearson r) with ``attribute_<name>_partial``.
    """
    import pandas as pd

    references = references or References()
    reasons = missing_reasons(decoded)
    if nulls is not None and refits is not None:
        raise UsageError("participant_stats takes nulls, or the refits to make them of, not both.")
    if nulls is None:
        nulls = null_distributions(decoded, refits=refits, seed=seed, n_permutations=n_permutations)
    refitted = "cross-validated, which needs refits with permuted stimuli"
    absent = _untested(refitted if decoded.cross_validated else "not computed")
    rows = []
    for name, by_row in scores_by_row(decoded).items():
        values = decoded.per_stimulus(by_row)
        tested = _tested(name, nan_mean(values), nulls.get(name, absent), reasons.get(name, "undefined"))
        further = {"chance": _chance(name, decoded), "ceiling": _ceiling(name, references), **tested}
        row = _over_stimuli(name, values, n_bootstrap, seed, **further)
        rows.append({**row, **_pairwise_interval(decoded)} if name == "pairwise_accuracy" else row)
    rows.append(_dimension_row(decoded, nulls.get(DIMENSIONS, absent)))
    rows += _baseline_rows(decoded, references, n_bootstrap, seed)
    rows += _attribute_rows(decoded, nulls)
    return pd.DataFrame(rows, columns=list(STATS_COLUMNS))
