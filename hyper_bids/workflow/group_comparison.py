"""Decoders, and latent spaces, against each other over participants: the rows of groupcomparison.tsv."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hyper_bids.derivatives.sidecars import column
from hyper_bids.errors import count
from hyper_bids.seeds import generator
from hyper_bids.workflow.group_results import Results

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"
"""Takes the place of what is compared in the name of the file."""

ACROSS_SPACES = ("pairwise_accuracy", "top1", "pixel_correlation", "ssim", "feature_similarity",
                 "feature_similarity_mse")  # fmt: skip
"""Metrics that mean the same in different latent spaces: identification, and what is measured on pictures."""

COLUMNS = {
    "metric": column("Metric", "column of metrics.tsv that is compared"),
    "kind": column("Kind", "mean: of one model; omnibus: do the models differ at all; pair: one against another"),
    "model_a": column("Model", "decoder or latent space; of a pair the first; all in rows of the omnibus test"),
    "model_b": column("Second model", "of a pair"),
    "value": column("Value", "mean over participants; of a pair the mean difference, first minus second", "arbitrary"),
    "ci_low": column("Lower limit", "95 %, over participants and stimuli", "arbitrary"),
    "ci_high": column("Upper limit", "95 %, over participants and stimuli", "arbitrary"),
    "statistic": column("Statistic", "that was tested"),
    "p_value": column("p", "of the test that p_method names, two-sided", "probability"),
    "p_holm": column("p, Holm", "corrected for the number of pairs of this metric", "probability"),
    "p_method": column("Method of p", "Friedman's test, for two models the sign test; pairs: Wilcoxon's signed ranks"),
    "n": column("n", "participants that have all the models, or that differ between two"),
    "unit": column("Unit", "what n counts"),
}


@dataclass
class Comparison:
    """What is compared: decoders within a latent space, or latent spaces within a decoder.

    Parameters
    ----------
    key : (task, space, res, model, desc), with ``all`` in the place of what is compared
    what : "decoders" or "latent spaces"
    results : label -> results
    table : with the columns `COLUMNS`; empty where nobody has all the models
    words : what so many participants can show
    notices : who was left out
    """

    key: tuple[str | None, ...]
    what: str
    results: dict[str, Results]
    table: pd.DataFrame
    words: tuple[str, ...]
    notices: list[str]


def compare_all(results: list[Results], seed: int) -> list[Comparison]:
    """Compare whatever there is two or more of."""
    made = []
    for place, what in ((3, "decoders"), (4, "latent spaces")):
        groups: dict[tuple[str | None, ...], dict[str, Results]] = defaultdict(dict)
        for result in results:
            key = (*result.key[:place], ALL, *result.key[place + 1 :])
            groups[key][str(result.key[place])] = result
        made += [_compare(key, what, found, seed) for key, found in groups.items() if len(found) > 1]
    return made


def _compare(key: tuple[str | None, ...], what: str, found: dict[str, Results], seed: int) -> Comparison:
    import pandas as pd

    from hyper_bids.evaluate.compare_models import compare_models

    everyone = set.intersection(*(set(result.metrics) for result in found.values()))
    everybody = set.union(*(set(result.metrics) for result in found.values()))
    notices, rows, words = [], [], ()
    unlike = _decoded_from_other_responses(found, everyone) if what == "decoders" else []
    everyone -= set(unlike)
    if unlike:
        notices.append(
            f"The decoders of {count(len(unlike), 'participant')} were run with different settings of the input, the "
            f"GLM or the voxels, and are not compared: {', '.join(unlike[:20])}. Give all decoders to one command."
        )
    lost = sorted(everybody - everyone - set(unlike))
    if lost:
        notices.append(
            f"Not all {what} have results of {count(len(lost), 'participant')}, left out: {', '.join(lost[:20])}."
        )
    for metric in _shared_metrics(found, what) if everyone else []:
        scores = _scores(found, metric, everyone)
        if scores is None:
            continue
        rng = generator(seed, "group", "comparison", what, metric)
        compared = compare_models(scores, rng)
        rows += _rows(metric, compared)
        words = words or compared.words
    return Comparison(key, what, found, pd.DataFrame(rows, columns=list(COLUMNS)), words, notices)


def _shared_metrics(found: dict[str, Results], what: str) -> list[str]:
    from hyper_bids.evaluate.metrics import METRICS

    wanted = METRICS if what == "decoders" else ACROSS_SPACES
    return [name for name in METRICS if name in wanted]


def _decoded_from_other_responses(found: dict[str, Results], people: set[str]) -> list[str]:
    """Participants whose decoders did not have the same responses and voxels."""
    return [
        who
        for who in sorted(people)
        if len({result.sidecars[who].get("SettingsBeforeDecoder") for result in found.values()}) > 1
    ]


def _scores(found: dict[str, Results], metric: str, wanted: set[str]) -> pd.DataFrame | None:
    """Tidy scores of the wanted participants who have the metric from all models; None where there is nobody."""
    import pandas as pd

    known = {}
    for model, result in found.items():
        if metric not in result.stacked:
            return None
        table = result.stacked[["participant_id", "stimulus_id", metric]]
        known[model] = table[table[metric].notna()].rename(columns={metric: "value"})
    people = set.intersection(wanted, *(set(table["participant_id"].unique()) for table in known.values()))
    if not people:
        return None
    whole = pd.concat(list(known.values()), ignore_index=True)
    whole["model"] = pd.Categorical(list(known)).repeat([len(table) for table in known.values()])
    whole = whole[whole["participant_id"].isin(people)]
    return whole.astype(dict.fromkeys(("participant_id", "stimulus_id"), "category"))


def _rows(metric: str, compared: Any) -> list[dict[str, Any]]:
    from hyper_bids.evaluate.metrics import within_limits

    rows = []
    for row in compared.means.to_dict("records"):
        low, high = within_limits(metric, (row["ci_low"], row["ci_high"]))
        rows.append({"metric": metric, "kind": "mean", "model_a": row["model"], "value": row["mean"], "ci_low": low,
                     "ci_high": high, "n": row["n"], "unit": row["unit"]})  # fmt: skip
    test = {name: value for name, value in compared.omnibus.row().items() if name in COLUMNS}
    rows.append({"metric": metric, "kind": "omnibus", "model_a": ALL, **test})
    for row in compared.pairs.to_dict("records"):
        rows.append({"metric": metric, "kind": "pair", "value": row.pop("difference"), **row})
    return rows
