"""What makes a stimulus easy to decode: accuracy, averaged over participants, against what is known of stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.derivatives.sidecars import column
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    import pandas as pd

ACCURACIES = ("pairwise_accuracy", "latent_correlation", "ssim")
"""Metrics that are taken as accuracy."""

CATEGORIES = (2, 10)
"""Numbers of different texts that make a column a set of categories."""

COLUMNS = {
    "metric": column("Metric", "accuracy, averaged over participants for every stimulus"),
    "covariate": column("Covariate", "column of stimuli.tsv, or complexity: the size of the picture's compressed file"),
    "kind": column("Kind", "numeric: Pearson's r; categories: F of a one-way analysis of variance"),
    "statistic": column("Statistic", "r or F"),
    "p_value": column("p", "by permuting stimuli, two-sided", "probability"),
    "p_bonferroni": column("p, Bonferroni", "times the number of covariates of this kind", "probability"),
    "p_fdr": column("p, FDR", "Benjamini and Hochberg over the covariates of this kind", "probability"),
    "p_method": column("Method of p", "test, or why there is none"),
    "n": column("n", "stimuli that have both"),
    "unit": column("Unit", "what n counts"),
    "n_permutations": column("Number of permutations", "random ones; 0 where all are taken"),
}


def kinds_of(table: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, list[Any]]]:
    """Sort columns into numeric covariates and categories; others (names, remarks) are neither.

    Parameters
    ----------
    table : one row a stimulus, without ``stimulus_id``
    """
    import pandas as pd

    numeric, categories = {}, {}
    for name in table.columns:
        values = pd.to_numeric(table[name], errors="coerce")
        if values.notna().sum() == table[name].notna().sum() > 0:
            if values.nunique() > 1:
                numeric[name] = values.to_numpy(float)
        elif CATEGORIES[0] <= table[name].nunique() <= CATEGORIES[1]:
            categories[name] = table[name].tolist()
    return numeric, categories


def covariate_rows(
    scores: pd.DataFrame, known: pd.DataFrame, seed: int, n_permutations: int = 9999
) -> pd.DataFrame:
    """Test every accuracy against every covariate.

    Parameters
    ----------
    scores : ``participant_id``, ``stimulus_id`` and metrics, of all participants
    known : ``stimulus_id`` and covariates

    Returns
    -------
    DataFrame with the columns `COLUMNS`
    """
    import pandas as pd

    from hyper_bids.evaluate.covariates import category_anova, covariate_table
    from hyper_bids.evaluate.multiplicity import bonferroni, fdr

    known = known.set_index("stimulus_id")
    parts = []
    for metric in ACCURACIES:
        if metric not in scores:
            continue
        accuracy = _accuracy(scores, metric).reindex(known.index)
        if accuracy.notna().sum() < 3:
            continue
        numeric, categories = kinds_of(known)
        values = accuracy.to_numpy(float)
        if numeric:
            rng = generator(seed, "group", "covariates", metric)
            found = covariate_table(values, numeric, rng, n_permutations).rename(columns={"r": "statistic"})
            parts.append(found.assign(metric=metric, kind="numeric"))
        if categories:
            rows = []
            for name, labels in categories.items():
                rng = generator(seed, "group", "categories", metric, name)
                tested = category_anova(values, labels, rng, n_permutations)
                rows.append({"covariate": name, **tested.row()})
            found = pd.DataFrame(rows).assign(metric=metric, kind="categories")
            p = found["p_value"].to_numpy(float)
            parts.append(found.assign(p_bonferroni=bonferroni(p), p_fdr=fdr(p)))
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return whole.reindex(columns=list(COLUMNS))


def _accuracy(scores: pd.DataFrame, metric: str) -> pd.Series:
    """Mean over participants of every stimulus's score, each participant's folds averaged first."""
    own = scores.groupby(["stimulus_id", "participant_id"], observed=True, sort=False)[metric].mean()
    means = own.groupby(level=0, observed=True, sort=False).mean()
    return means.set_axis(means.index.astype(object))


def merged_covariates(tables: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame | None, list[str]]:
    """Put participants' covariates together: one row a stimulus, the first participant's where they differ.

    Returns
    -------
    table, or None where nobody has any; and columns in which participants differ
    """
    import pandas as pd

    if not tables:
        return None, []
    whole = pd.concat(list(tables.values()), ignore_index=True)
    counts = whole.groupby("stimulus_id").nunique()
    differing = [name for name in counts.columns if (counts[name] > 1).any()]
    return whole.groupby("stimulus_id", sort=True).first().reset_index(), differing
