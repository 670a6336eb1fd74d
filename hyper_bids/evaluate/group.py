"""Several participants: groupmetrics.tsv and groupstats.tsv.

* p: Stouffer's method, ``z = sum(z_i) / sqrt(m)``, over the participants' one-sided permutation p (two-sided
  t p of attributes are first made one-sided by the sign of r, and doubled at the end). Each p_i is at least
  1 / (1 + permutations), so the group's p has a floor as well; a p_i of exactly 1 enters as 0.999, since
  its normal score is minus infinity and would silence every other participant.
* Interval: where all participants saw the same test stimuli, both are samples and their variance components
  make the interval; else t over participants, each with his own stimuli. With one participant: stimuli only.
* It says whether *these* participants' predictions carry information. What a handful of participants says
  about the population is another question, which m of 2 to 4 cannot answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput, count
from hyper_bids.evaluate.confidence import percentiles, resample_counts
from hyper_bids.evaluate.intervals import participants_interval, proportion_interval
from hyper_bids.evaluate.metrics import METRICS, within_limits
from hyper_bids.evaluate.refits import nan_mean
from hyper_bids.evaluate.stats import NAN, NOT_TESTED, STATS_COLUMNS
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    import pandas as pd

GROUP = "group"
LARGEST_P = 0.999
ALPHA = 0.05


def _check(tables: Mapping[str, object], what: str) -> None:
    if not tables:
        raise InconsistentInput(f"The group needs the {what} of at least one participant, got none.")


def group_metrics(metrics: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stack participants' metrics tables: ``participant_id`` first, then their columns.

    Columns that some participants lack are NaN there.

    Parameters
    ----------
    metrics : participant -> table of `participant.participant_metrics`
    """
    import pandas as pd

    _check(metrics, "metrics")
    parts = []
    for participant, table in metrics.items():
        part = table.copy()
        part.insert(0, "participant_id", participant)
        parts.append(part)
    columns = list(dict.fromkeys(column for part in parts for column in part.columns))
    return pd.concat([part.reindex(columns=columns) for part in parts], ignore_index=True)


def stouffer(p_values: np.ndarray) -> float:
    """Combine independent one-sided p: ``sf(sum(isf(p)) / sqrt(m))`` (Stouffer et al. 1949)."""
    from scipy.stats import norm

    scores = norm.isf(np.minimum(np.asarray(p_values, dtype=np.float64), LARGEST_P))
    return float(norm.sf(scores.sum() / np.sqrt(len(scores))))


def stouffer_two_sided(p_values: np.ndarray, signs: np.ndarray) -> float:
    """Combine two-sided p of effects with a sign; opposite effects cancel."""
    p_values = np.asarray(p_values, dtype=np.float64)
    one_sided = np.where(np.asarray(signs) > 0, p_values / 2, 1 - p_values / 2)
    smallest = np.finfo(float).tiny
    upper = stouffer(np.maximum(one_sided, smallest))
    lower = stouffer(np.maximum(1 - one_sided, smallest))
    return min(1.0, 2 * min(upper, lower))


def _per_stimulus(table: pd.DataFrame) -> pd.DataFrame:
    """Means over folds of every number in a table of scores, one row a stimulus, sorted."""
    return table.groupby("stimulus_id", sort=True).mean(numeric_only=True)


def _stimulus_means(means: Mapping[str, pd.DataFrame], metric: str) -> list[pd.Series]:
    """Per-stimulus means of one metric, one series per participant that has any."""
    found = [table[metric].dropna() for table in means.values() if metric in table.columns]
    return [series for series in found if len(series)]


def group_interval(
    values: list[np.ndarray], shared: bool, n_bootstrap: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of the mean over participants of the mean over stimuli, both resampled.

    Kept for comparison: it covers too little with few participants (docs/statistics.md); `group_stats` takes
    `intervals.participants_interval`.

    Parameters
    ----------
    values : one (n_stimuli,) array per participant
    shared : whether they are the same stimuli in the same order
    """
    if not values or max(len(v) for v in values) < 2:
        return NAN, NAN
    m = len(values)
    who = resample_counts(m, n_bootstrap, rng) / m if m > 1 else np.ones((n_bootstrap, 1))
    if shared:
        stimuli = resample_counts(len(values[0]), n_bootstrap, rng) / len(values[0])
        return percentiles(np.einsum("bs,sn,bn->b", who, np.stack(values), stimuli, optimize=True))
    # a participant drawn twice gets two samples of stimuli, not one sample twice
    drawn = np.rint(who * m).astype(int)
    total = np.zeros(n_bootstrap)
    for column, own in enumerate(values):
        for copy in range(drawn[:, column].max(initial=0)):
            takes_part = drawn[:, column] > copy
            sampled = resample_counts(len(own), int(takes_part.sum()), rng) @ own / len(own)
            total[takes_part] += sampled
    return percentiles(total / m)


def _combined_p(rows: pd.DataFrame, metric: str) -> tuple[float, str]:
    tested = rows[rows["p_value"].notna()]
    if not len(tested):
        if rows["p_method"].nunique() == 1:
            return NAN, str(rows["p_method"].iloc[0])
        return NAN, NOT_TESTED + "no participant was tested"
    p_values = tested["p_value"].to_numpy(float)
    if len(tested) == 1 and len(rows) == 1:
        return float(p_values[0]), f"{tested['p_method'].iloc[0]} in the one participant"
    if metric.startswith("attribute_"):
        # an r is above or below what chance gives: 0, or the mean of refits where cross-validated
        effects = tested["mean"].to_numpy(float) - tested["null_mean"].fillna(0.0).to_numpy(float)
        p, sides = stouffer_two_sided(p_values, np.sign(effects)), "two-sided, signed "
    else:
        p, sides = stouffer(p_values), ""
    few = "" if len(tested) == len(rows) else f" ({len(rows) - len(tested)} not tested)"
    below = int((p_values < ALPHA).sum())
    return p, f"{sides}Stouffer's method over {count(len(tested), 'participant')}{few}, {below} of them with p < 0.05"


def _interval(means: Mapping[str, pd.DataFrame], metric: str, n_bootstrap: int, seed: int) -> tuple[float, float]:
    series = _stimulus_means(means, metric)
    shared = bool(series) and all(s.index.equals(series[0].index) for s in series)
    rng = generator(seed, "evaluate", "group bootstrap", metric)
    values = [s.to_numpy(float) for s in series]
    if not values:
        return NAN, NAN
    if len(values) > 1 and _always_at_a_limit(metric, values):
        # no spread to make an interval of: as if every participant had brought the same stimuli and nothing else
        n = min(len(v) for v in values)
        return proportion_interval(n * float(values[0][0]), n)
    return within_limits(metric, participants_interval(values, shared, n_bootstrap, rng))


def _always_at_a_limit(metric: str, values: list[np.ndarray]) -> bool:
    """Whether every stimulus of every participant has the same score, the largest or the smallest that there is."""
    if metric not in METRICS or METRICS[metric].units != "proportion":
        return False
    found = np.unique(np.concatenate(values))
    return len(found) == 1 and float(found[0]) in METRICS[metric].limits


def _group_row(
    metric: str, rows: pd.DataFrame, per_stimulus: Mapping[str, pd.DataFrame], n_bootstrap: int, seed: int
) -> dict[str, object]:
    known = rows[rows["mean"].notna()]
    means = known["mean"].to_numpy(float)
    m = len(means)
    low, high = _interval(per_stimulus, metric, n_bootstrap, seed)
    p, method = _combined_p(rows, metric)
    spread = rows["null_sd"].dropna().to_numpy(float)
    return {
        "participant_id": GROUP,
        "metric": metric,
        "n": m,
        "mean": nan_mean(means),
        "sem": float(means.std(ddof=1) / np.sqrt(m)) if m > 1 else NAN,
        "ci_low": low,
        "ci_high": high,
        "chance": nan_mean(known["chance"].to_numpy(float)),
        "null_mean": nan_mean(known["null_mean"].to_numpy(float)),
        # of the mean over participants, whose nulls are independent
        "null_sd": float(np.sqrt((spread**2).sum()) / len(spread)) if len(spread) else NAN,
        "p_value": p,
        "p_method": method,
        "ceiling": nan_mean(known["ceiling"].to_numpy(float)),
    }


def group_stats(
    stats: Mapping[str, pd.DataFrame], metrics: Mapping[str, pd.DataFrame], seed: int = 0, n_bootstrap: int = 2000
) -> pd.DataFrame:
    """Stack participants' statistics and add the group's row of each metric.

    Parameters
    ----------
    stats : participant -> table of `stats.participant_stats`
    metrics : participant -> table of `participant.participant_metrics`, of the same participants
    seed : root seed of the bootstrap

    Returns
    -------
    DataFrame with ``participant_id``, then `STATS_COLUMNS`
        In rows with participant_id ``group``, ``n`` counts participants, ``sem`` is over participants
        (NaN for one), and the interval is NaN for statistics that are no mean over stimuli.

    Raises
    ------
    InconsistentInput
        No participant, or statistics and metrics of different participants.
    """
    import pandas as pd

    _check(stats, "statistics")
    if set(stats) != set(metrics):
        only = sorted(set(stats) ^ set(metrics))
        raise InconsistentInput(f"Participants with either statistics or metrics, but not both: {', '.join(only)}.")
    parts = []
    for participant, table in stats.items():
        part = table[list(STATS_COLUMNS)].copy()
        part.insert(0, "participant_id", participant)
        parts.append(part)
    everyone = pd.concat(parts, ignore_index=True)
    means = {participant: _per_stimulus(table) for participant, table in metrics.items()}
    rows = [
        _group_row(metric, found, means, n_bootstrap, seed)
        for metric, found in everyone.groupby("metric", sort=False)
    ]
    group = pd.DataFrame(rows, columns=list(everyone.columns))
    return pd.concat([everyone, group], ignore_index=True)
