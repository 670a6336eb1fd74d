"""One participant's metrics.tsv: one row a test stimulus, or a test stimulus and fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.evaluate.attributes import attribute_scores
from hyper_bids.evaluate.decoded import Compared, Decoded
from hyper_bids.evaluate.metrics import METRICS
from hyper_bids.evaluate.refits import row_scores

if TYPE_CHECKING:
    import pandas as pd


def _compared_scores(decoded: Decoded, domain: str, compared: Compared | None) -> dict[str, np.ndarray]:
    """Picture or feature metrics per tested stimulus ``(n_tested,)``; NaN where there is nothing to compare."""
    scores = {}  # `Decoded` keeps what is compared in the order of the tested stimuli
    for name, metric in METRICS.items():
        if metric.domain == domain:
            scores[name] = np.full(len(decoded.tested), np.nan)
            if compared is not None:
                scores[name][np.isin(decoded.tested, compared.stimuli)] = metric(compared.true, compared.predicted)
    return scores


def scores_by_row(decoded: Decoded) -> dict[str, np.ndarray]:
    """Every metric of every test row, in the order of `METRICS`: name -> ``(n_rows,)``.

    Pictures and features are one per stimulus: all rows (folds) of a stimulus carry the same value.
    """
    scores = row_scores(decoded.predicted, decoded.row_stimulus, decoded.candidate_values)
    for domain, compared in (("image", decoded.images), ("feature", decoded.features)):
        for name, values in _compared_scores(decoded, domain, compared).items():
            scores[name] = values[decoded.row_stimulus]
    return {name: scores[name] for name in METRICS}


def missing_reasons(decoded: Decoded) -> dict[str, str]:
    """Why a column is ``n/a``, wholly or in part: column -> sentence."""
    reasons = {}
    if decoded.latents.n_latents == 1:
        correlational = ("latent_correlation", "pairwise_accuracy", "top1")
        reasons.update(dict.fromkeys(correlational, "a correlation over one latent dimension is undefined"))
    elif len(decoded.candidates) == 1:
        reasons.update(dict.fromkeys(("pairwise_accuracy", "top1"), "there is one candidate only"))
    absent = {
        "image": "no pictures to compare: reconstructions or the stimuli's image files are missing",
        "feature": "no feature network was given",
    }
    for domain, compared in (("image", decoded.images), ("feature", decoded.features)):
        here = () if compared is None else compared.stimuli
        n_missing = len(set(decoded.tested) - set(here))
        if n_missing:
            some = f"nothing to compare for {n_missing} of {len(decoded.tested)} stimuli"
            why = some if n_missing < len(decoded.tested) else absent[domain]
            reasons.update({name: why for name, metric in METRICS.items() if metric.domain == domain})
    if decoded.n_repeats is None:
        reasons["n_repeats"] = "numbers of repeats were not given"
    return reasons


def participant_metrics(decoded: Decoded) -> tuple[pd.DataFrame, dict[str, str]]:
    """Score every test row.

    Returns
    -------
    table : DataFrame
        The columns of metrics.tsv in their order: ``stimulus_id``, ``n_repeats``, the metrics,
        ``attribute_<name>_true`` and ``attribute_<name>_predicted`` of each attribute, and ``fold``
        where the design is cross-validated. NaN (``n/a`` in the file) where undefined or not computed.
    reasons : column -> why it holds NaN, for the JSON sidecar
    """
    import pandas as pd

    repeats = np.full(len(decoded.stimuli), np.nan) if decoded.n_repeats is None else np.asarray(decoded.n_repeats)
    columns: dict[str, object] = {"stimulus_id": list(decoded.stimuli), "n_repeats": repeats, **scores_by_row(decoded)}
    true = attribute_scores(decoded.true, decoded.directions)
    predicted = attribute_scores(decoded.predicted, decoded.directions)
    for name in decoded.directions:
        columns[f"attribute_{name}_true"] = true[name]
        columns[f"attribute_{name}_predicted"] = predicted[name]
    if decoded.folds is not None:
        columns["fold"] = list(decoded.folds)
    table = pd.DataFrame(columns)
    reasons = missing_reasons(decoded)
    for name in METRICS:
        if name not in reasons and table[name].isna().any():
            reasons[name] = "undefined where a latent or a picture is constant"
    return table, reasons
