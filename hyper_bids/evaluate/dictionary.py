"""Data dictionaries (BIDS JSON) of metrics.tsv, stats.tsv and their group twins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hyper_bids.evaluate.metrics import METRICS

Entry = dict[str, str]

_LABELS: dict[str, Entry] = {
    "participant_id": {"LongName": "Participant", "Description": "Participant; 'group' in rows over all participants."},
    "stimulus_id": {"LongName": "Stimulus", "Description": "Test stimulus that the row is about."},
    "n_repeats": {
        "LongName": "Number of repeats",
        "Description": "Trials whose responses were averaged before decoding.",
        "Units": "trials",
    },
    "fold": {"LongName": "Fold", "Description": "Cross-validation fold in which the row was predicted."},
}

_STATS: dict[str, Entry] = {
    "metric": {
        "LongName": "Metric",
        "Description": "Column of metrics.tsv; latent_dimension_correlation: mean over latent dimensions of Pearson r "
        "over all test rows (dimensions in which the truth is constant are left out, a constant prediction counts as "
        "0); <metric>_zero and <metric>_random: its value for a zero prediction and for a random one; attribute_<name> "
        "and attribute_<name>_partial: Pearson r of true and predicted attribute scores over stimuli, alone and given "
        "the true scores of the other attributes.",
    },
    "n": {
        "LongName": "Number of units",
        "Description": "Stimuli (rows of several folds are averaged per stimulus); participants in rows of the group.",
        "Units": "stimuli or participants",
    },
    "mean": {"LongName": "Mean", "Description": "Mean over units, or the statistic itself.", "Units": "arbitrary"},
    "sem": {
        "LongName": "Standard error",
        "Description": "Standard deviation over units / sqrt(n); where the statistic is no mean, by jackknife.",
        "Units": "arbitrary",
    },
    "ci_low": {
        "LongName": "Lower limit of the confidence interval",
        "Description": "95 % over stimuli (group: stimuli and participants); docs/statistics.md says how it is made.",
        "Units": "arbitrary",
    },
    "ci_high": {
        "LongName": "Upper limit of the confidence interval",
        "Description": "95 % over stimuli (group: stimuli and participants); docs/statistics.md says how it is made.",
        "Units": "arbitrary",
    },
    "chance": {
        "LongName": "Chance level",
        "Description": "Expected without information, by theory; n/a where theory has none (see null_mean).",
        "Units": "arbitrary",
    },
    "null_mean": {
        "LongName": "Mean of the null distribution",
        "Description": "Mean of the statistic with permuted labels.",
        "Units": "arbitrary",
    },
    "null_sd": {
        "LongName": "Standard deviation of the null distribution",
        "Description": "Standard deviation of the statistic with permuted labels.",
        "Units": "arbitrary",
    },
    "p_value": {
        "LongName": "p value",
        "Description": "One-sided, (1 + b) / (1 + n), b of n permutations at least as good; attributes: two-sided.",
        "Units": "probability",
    },
    "p_method": {"LongName": "Test", "Description": "How the p value was obtained, or why there is none."},
    "ceiling": {
        "LongName": "Ceiling",
        "Description": "The metric's value for reconstructions from the true latents; n/a where there are none.",
        "Units": "arbitrary",
    },
}


def _attribute(column: str) -> Entry:
    name, _, which = column.removeprefix("attribute_").rpartition("_")
    return {
        "LongName": f"Attribute {name}, {which}",
        "Description": f"Projection of the {which} latent on the unit normal of the attribute's hyperplane.",
        "Units": "units of the latents",
    }


def metrics_dictionary(columns: Iterable[str], reasons: Mapping[str, str] | None = None) -> dict[str, Entry]:
    """Describe columns of metrics.tsv or groupmetrics.tsv; a reason for ``n/a`` joins the description.

    >>> metrics_dictionary(["ssim"], {"ssim": "no pictures"})["ssim"]["Description"].endswith("n/a: no pictures.")
    True
    """
    entries = {}
    for column in columns:
        known = METRICS[column].dictionary if column in METRICS else _LABELS.get(column)
        entry = dict(known if known is not None else _attribute(column))
        if column in (reasons or {}):
            entry["Description"] += f" n/a: {reasons[column]}."
        entries[column] = entry
    return entries


def stats_dictionary(columns: Iterable[str]) -> dict[str, Entry]:
    """Describe columns of stats.tsv or groupstats.tsv.

    >>> list(stats_dictionary(["metric", "p_value"]))
    ['metric', 'p_value']
    """
    return {column: dict(_STATS[column] if column in _STATS else _LABELS[column]) for column in columns}
