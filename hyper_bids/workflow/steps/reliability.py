"""How reliable are the recordings themselves? From repeats of stimuli, before any decoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.data import Responses
from hyper_bids.derivatives.sidecars import column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_tsv, write_volumes
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of, spatial_reference

VOLUMES = {
    "split_half": "Pearson r between halves of the repeats over stimuli, mean over random halves",
    "reliability": "the same, stepped up to all repeats (Spearman-Brown)",
    "ceiling": "noise ceiling: share of the variance of the mean responses that stimuli can explain",
}
"""Volumes of the reliability map."""


def measure_reliability(
    *, values: Path, samples: Path, grid: Path, voxels: Path, scope: Mapping[str, Any], seed: int,
    provenance: Mapping[str, Any], out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Split halves and noise ceilings of every voxel, and identification from single repetitions (HYPER).

    Measured on the test stimuli's single trials; in cross-validated designs on all samples.

    Outputs: ``facts`` (JSON: summary numbers, or why there are none) and ``tree``.
    """
    from hyper_bids.decode.split_half import split_half
    from hyper_bids.evaluate.ceiling import noise_ceiling
    from hyper_bids.evaluate.reliability import recording_reliability

    responses = files.load_responses(values, samples, grid)
    tested = responses.of((responses.trials["split"] != "train").to_numpy(bool))
    seen = np.asarray(files.load_array(voxels)).any(axis=0)
    stimuli = tested.trials["stimulus_id"].to_numpy(str)
    halves = split_half(tested.values, stimuli, seed=seed)
    ceiling = noise_ceiling(tested.values, stimuli)
    inside = Responses(tested.values[:, seen], tested.trials, tested.grid.within(seen))
    recordings = recording_reliability(inside, seed=seed)
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    facts: dict[str, Any] = {
        "n_stimuli": len(set(stimuli)),
        "n_trials": len(stimuli),
        "voxels": {},
        "reason": halves.reason or ceiling.reason,
        "recordings": [],
        "recordings_reason": recordings.reason,
        "notices": list(dict.fromkeys([*halves.notices, *ceiling.notices, *recordings.notices])),
    }
    if not facts["reason"]:
        maps = dict(zip(VOLUMES, (halves.r, halves.reliability, ceiling.r2), strict=True))
        _write_maps(tree, where, maps, tested.grid, stamp)
        facts["voxels"] = {
            name: {"median_seen": _median(found[seen]), "median_brain": _median(found)} for name, found in maps.items()
        }
        facts["n_repeats"] = round(ceiling.n_repeats, 2)
    if not recordings.skipped:
        _write_recordings(tree, where, recordings.table, recordings.n_repeats, recordings.n_stimuli, stamp)
        facts["recordings"] = recordings.table.to_dict("records")
    return {"facts": write_json(out_dir / "facts.json", facts), "tree": tree.manifest()}


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(np.median(known)), 6) if len(known) else None


def _write_maps(tree: Tree, where: Any, maps: Mapping[str, np.ndarray], grid: Any, stamp: Any) -> None:
    name = {"stat": "r", "desc": "reliability"}
    values = np.stack([np.nan_to_num(found).astype(np.float32) for found in maps.values()])
    write_volumes(tree.path(where.name("statmap", ".nii.gz", **name)), values, grid)
    table = pd.DataFrame(
        [(k, key, text) for k, (key, text) in enumerate(VOLUMES.items())],
        columns=["volume_index", "statistic", "description"],
    )
    write_tsv(tree.path(where.name("statmap", ".tsv", **name)), table)
    content = stamp.stamp(
        Description="reliability of every voxel's responses over the repeats of stimuli; 0 where it is not defined",
        SpatialReference=spatial_reference(where),
        SkullStripped=True,
        volume_index=column("Volume", "volume of the image that the row describes, from 0"),
        statistic=column("Statistic", "name"),
        description=column("Description", "what it is"),
    )
    write_json(tree.path(where.name("statmap", ".json", **name)), content)


def _write_recordings(
    tree: Tree, where: Any, table: pd.DataFrame, n_repeats: int, n_stimuli: int, stamp: Any
) -> None:
    names = {"model": "logistic", "desc": "recordings"}
    write_tsv(tree.path(where.name("reliability", ".tsv", **names)), table)
    content = stamp.stamp(
        Description=f"which of {n_stimuli} stimuli was seen, named from single responses by multinomial logistic "
        f"regression trained on m of {n_repeats - 1} repetitions and tested on the one left out",
        m=column("Training repetitions", "repetitions of every stimulus that were trained on"),
        accuracy=column("Accuracy", "share named rightly, mean over the repetitions left out", "proportion"),
        sd=column("Standard deviation", "of the accuracy over the repetitions left out", "proportion"),
        chance=column("Chance", "1 / number of stimuli", "proportion"),
    )
    write_json(tree.path(where.name("reliability", ".json", **names)), content)
