"""95 % intervals that cover 93 to 97 % from 20 stimuli up (docs/statistics.md): which one for which statistic.

* A mean over stimuli: percentile bootstrap with *expanded* levels (Hesterberg 2015, Am Stat 69(4)):
  ``Phi(-sqrt(n / (n - 1)) t_{0.025, n-1})`` instead of 0.025. The plain percentile interval is too short by
  that factor and covers 92 % at n = 20.
* Pairwise accuracy: jackknife over stimuli on the logit scale, a stimulus left out as target *and* as candidate,
  since stimuli are each other's foils (by targets alone it covers 91 % at n = 20).
* A proportion (each stimulus 0 or 1): Agresti & Coull 1998; a bootstrap of all ones has no width at all.
* A correlation over stimuli, or its mean over latent dimensions: jackknife over stimuli with t (for one
  correlation on Fisher's z scale). Bootstrap samples repeat stimuli, which biases r: at n = 20 and r = 0.8 the
  percentile interval of a mean over 64 dimensions covers 69 %.
* A mean over participants and the same stimuli: variance components of the two-way table, with Satterthwaite's
  degrees of freedom (Cornfield & Tukey 1956): neither participants nor stimuli are taken as fixed. The crossed
  bootstrap covers 77 % with 3 participants and nearly 100 % where there is nothing but noise.
* A mean over participants with stimuli of their own: t over the participants' means.
"""

from __future__ import annotations

import numpy as np

from hyper_bids.evaluate.confidence import LEVEL, resample_counts
from hyper_bids.evaluate.latent import FLOAT32_RESOLUTION, latent_dimension_correlation

UNDEFINED = (float("nan"), float("nan"))
ALPHA = 1 - LEVEL


def _t(dof: float) -> float:
    from scipy.stats import t

    return float(t.isf(ALPHA / 2, dof))


def expanded_level(n: int) -> float:
    """Lower percentile level for n units: 0.0159 for n = 20, towards 0.025 for many.

    >>> round(expanded_level(20), 4)
    0.0159
    """
    from scipy.stats import norm

    return float(norm.cdf(-np.sqrt(n / (n - 1)) * _t(n - 1)))


def proportion_interval(n_won: float, n: int) -> tuple[float, float]:
    """Agresti-Coull interval of a proportion, clipped to [0, 1]; NaN, NaN for n = 0."""
    from scipy.stats import norm

    if n < 1:
        return UNDEFINED
    z = float(norm.isf(ALPHA / 2))
    centre = (n_won + z * z / 2) / (n + z * z)
    half = z * np.sqrt(centre * (1 - centre) / (n + z * z))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def mean_interval(values: np.ndarray, n_draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Interval of the mean over stimuli ``(n,)``, NaN left out; of a proportion where all values are 0 or 1.

    NaN, NaN with fewer than two values.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return UNDEFINED
    if np.isin(values, (0.0, 1.0)).all():
        return proportion_interval(values.sum(), n)
    draws = resample_counts(n, n_draws, rng) @ values / n
    level = expanded_level(n)
    low, high = np.quantile(draws, [level, 1 - level])
    return float(low), float(high)


def identification_interval(wins: np.ndarray) -> tuple[float, float, float]:
    """Jackknife standard error and interval of mean pairwise accuracy.

    Parameters
    ----------
    wins : (n_stimuli, n_candidates)
        1 where target i beats candidate j, one half for a tie, NaN for the own candidate
        (`identification.pairwise_wins`). The first n_stimuli candidates are the stimuli.

    Returns
    -------
    sem, low, high : float
        `proportion_interval` of n stimuli where accuracy is 0 or 1; NaN with fewer than four stimuli.
    """
    wins = np.asarray(wins, dtype=np.float64)
    known = np.isfinite(wins)
    usable = known.any(axis=1)
    n = int(usable.sum())
    if n < 4:
        return (float("nan"), *UNDEFINED)
    won, counts = np.where(known, wins, 0.0), known.sum(axis=1)[:, None]
    rows = won.sum(axis=1)[:, None]
    mean = float((rows[usable] / counts[usable]).mean())
    tested = slice(0, len(wins))
    left = counts - known[:, tested]
    # entry [j, i]: accuracy of target j with stimulus i no longer a candidate
    reduced = np.where(left > 0, (rows - won[:, tested]) / np.maximum(left, 1), np.nan)
    np.fill_diagonal(reduced, np.nan)
    defined = np.isfinite(reduced)
    without = np.where(defined, reduced, 0.0).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)
    pseudo = (n * mean - (n - 1) * without)[usable]
    sem = float(pseudo.std(ddof=1) / np.sqrt(n))
    if not 0.0 < mean < 1.0:
        return (sem, *proportion_interval(mean * n, n))
    logit, half = np.log(mean / (1 - mean)), _t(n - 1) * sem / (mean * (1 - mean))
    return sem, float(1 / (1 + np.exp(half - logit))), float(1 / (1 + np.exp(-half - logit)))


def correlations_without(true: np.ndarray, predicted: np.ndarray, stimulus: np.ndarray) -> np.ndarray:
    """`latent.latent_dimension_correlation` with each stimulus's rows left out in turn: ``(n_stimuli,)``.

    From sums over rows less the stimulus's own, so that it costs what one correlation costs.
    """
    n = int(stimulus.max()) + 1
    x, y = true - true.mean(axis=0), predicted - predicted.mean(axis=0)
    member = (stimulus == np.arange(n)[:, None]).astype(np.float64)

    def without(values: np.ndarray) -> np.ndarray:
        return values.sum(axis=0) - member @ values

    count = without(np.ones((len(x), 1)))
    mean_x, mean_y = without(x) / count, without(y) / count
    variance_x, variance_y = without(x**2) / count - mean_x**2, without(y**2) / count - mean_y**2
    x_varies = variance_x > (FLOAT32_RESOLUTION * np.abs(true).max(axis=0)) ** 2
    both = x_varies & (variance_y > (FLOAT32_RESOLUTION * np.abs(predicted).max(axis=0)) ** 2)
    covariance = without(x * y) / count - mean_x * mean_y
    r = np.where(both, covariance / np.sqrt(np.where(both, variance_x * variance_y, 1.0)), 0.0)
    n_varying = x_varies.sum(axis=1)
    return np.where(n_varying > 0, r.sum(axis=1) / np.maximum(n_varying, 1), np.nan)


def correlation_interval(
    true: np.ndarray, predicted: np.ndarray, stimulus: np.ndarray | None = None
) -> tuple[float, float, float]:
    """Jackknife standard error and interval of the mean over columns of Pearson r over rows.

    Parameters
    ----------
    true, predicted : (n_rows, n_columns)
        Columns are treated as in `latent.latent_dimension_correlation`.
    stimulus : (n_rows,) int from 0, optional
        Rows of one stimulus are left out together; every row its own stimulus by default.

    Returns
    -------
    sem, low, high : float
        NaN with fewer than four stimuli, or where a correlation is undefined.
    """
    true, predicted = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    stimulus = np.arange(len(true)) if stimulus is None else np.asarray(stimulus)
    n = int(stimulus.max()) + 1
    if n < 4:
        return (float("nan"), *UNDEFINED)
    whole = float(latent_dimension_correlation(true, predicted))
    without = correlations_without(true, predicted, stimulus)
    pseudo = n * whole - (n - 1) * without
    sem = float(pseudo.std(ddof=1) / np.sqrt(n))
    if not np.isfinite(sem):
        return (float("nan"), *UNDEFINED)
    if true.shape[1] > 1:
        centre, half = float(pseudo.mean()), _t(n - 1) * sem
        return sem, max(-1.0, centre - half), min(1.0, centre + half)
    if abs(whole) >= 1.0 - 1e-12:
        return sem, whole, whole
    z, half = np.arctanh(whole), _t(n - 1) * sem / (1 - whole**2)
    return sem, float(np.tanh(z - half)), float(np.tanh(z + half))


def two_way_interval(table: np.ndarray) -> tuple[float, float]:
    """Interval of the grand mean of ``(n_participants, n_stimuli)``, both of them samples of what might have been.

    Variance of the mean from the mean squares of participants, stimuli and residual, a negative component
    taken as zero; never shorter than the t interval over participants' means, since Satterthwaite's degrees of
    freedom are too many for two or three participants. NaN, NaN unless there are two of each.
    """
    table = np.asarray(table, dtype=np.float64)
    n_people, n_stimuli = table.shape
    if min(table.shape) < 2 or not np.isfinite(table).all():
        return UNDEFINED
    mean, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
    residual = table - rows[:, None] - columns + mean
    dofs = np.array([n_people - 1, n_stimuli - 1, (n_people - 1) * (n_stimuli - 1)])
    squares = np.array(
        [n_stimuli * ((rows - mean) ** 2).sum(), n_people * ((columns - mean) ** 2).sum(), (residual**2).sum()]
    ) / dofs  # fmt: skip
    present = np.array([squares[0] > squares[2], squares[1] > squares[2], True])
    signs = np.array([1.0, 1.0, 1.0 - present[:2].sum()])
    total = float((signs * squares)[present].sum())
    if total <= 0.0:
        return float(mean), float(mean)
    dof = total**2 / float((squares**2 / dofs)[present].sum())
    half = max(_t(dof) * np.sqrt(total), _t(n_people - 1) * np.sqrt(squares[0])) / np.sqrt(table.size)
    return float(mean - half), float(mean + half)


def participants_interval(
    values: list[np.ndarray], shared: bool, n_draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Interval of the mean over participants of the mean over stimuli.

    Parameters
    ----------
    values : one (n_stimuli,) array per participant, finite
    shared : whether they are the same stimuli in the same order

    Returns
    -------
    `two_way_interval` where stimuli are shared; else t over the participants' means, which takes each one's
    stimuli as his own; with one participant `mean_interval` over his stimuli
    """
    if len(values) == 1:
        return mean_interval(values[0], n_draws, rng)
    if shared and values and len(values[0]) > 1:
        return two_way_interval(np.stack(values))
    means = np.array([v.mean() for v in values])
    if len(means) < 2:
        return UNDEFINED
    half = _t(len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return float(means.mean() - half), float(means.mean() + half)
