"""``--learning-curve``: what fewer training trials would have given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.derivatives.names import model_label
from hyper_bids.derivatives.sidecars import column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_tsv
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.decoding import decoder_factory, folds_of
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of
from hyper_bids.workflow.steps.selection import selection_rule


def draw_learning_curve(
    *, values: Path, samples: Path, grid: Path, latents: Path, decoder: str, decode: Mapping[str, Any],
    select: Mapping[str, Any], cross_validate: str | None, seed: int, picture: Mapping[str, Any] | None, device: str,
    scope: Mapping[str, Any], provenance: Mapping[str, Any], out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Select voxels, fit and test again on 1/8, 1/4, 1/2 and all of the training trials.

    Output: ``tree`` (a row per fraction and metric).
    """
    from hyper_bids.decode.crossvalidate import decode as decode_folds
    from hyper_bids.decode.learning_curve import learning_curve
    from hyper_bids.evaluate.decoded import Decoded
    from hyper_bids.evaluate.latent import latent_dimension_correlation
    from hyper_bids.evaluate.participant import participant_metrics

    responses, space = files.load_responses(values, samples, grid), files.load_latents(latents)
    folds = folds_of(responses.trials, cross_validate, seed)
    rule = selection_rule(select, responses.grid, seed)
    make = decoder_factory(decoder, decode, seed=seed, device=device, space=space, picture=picture)
    trainable = np.flatnonzero((responses.trials["split"] != "test").to_numpy(bool))

    def fit_and_score(rows: np.ndarray) -> dict[str, float]:
        kept = set(trainable[rows].tolist())
        smaller = [replace(fold, train=np.array([row for row in fold.train if row in kept])) for fold in folds]
        found = decode_folds(responses, space, smaller, rule, make)
        decoded = Decoded(
            predicted=found.values,
            stimuli=tuple(found.rows["stimulus_id"]),
            latents=space,
            folds=tuple(found.rows["fold"]) if cross_validate else None,
            n_repeats=found.rows["n_repeats"].to_numpy(int),
        )
        metrics, _ = participant_metrics(decoded)
        names = ("latent_correlation", "pairwise_accuracy", "top1")
        scores = {name: float(metrics.groupby("stimulus_id")[name].mean().mean()) for name in names}
        over_stimuli = float(latent_dimension_correlation(decoded.true, found.values))
        return {**scores, "latent_dimension_correlation": over_stimuli}

    table = learning_curve(responses.trials.iloc[trainable], fit_and_score, seed=seed)
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    names = {"model": model_label(decoder), "desc": space.space}
    write_tsv(tree.path(where.name("learningcurve", ".tsv", **names)), table.replace("", "n/a"))
    content = stamp.stamp(
        Description="accuracy on the same test stimuli for growing, nested parts of the training trials, stratified by "
        "run; voxels and penalties are chosen anew from each part",
        fraction=column("Fraction", "of the training trials", "proportion"),
        n_trials=column("Number of trials", "training trials (in cross-validated designs: over all folds)", "trials"),
        metric=column("Metric", "as in stats.tsv; the mean over stimuli"),
        value=column("Value", "of the metric"),
        reason=column("Reason", "why there is no value"),
    )
    write_json(tree.path(where.name("learningcurve", ".json", **names)), content)
    return {"tree": tree.manifest()}
