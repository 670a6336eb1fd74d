"""Response maps: one volume per stimulus, or per trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.data import Responses
from hyper_bids.derivatives.names import Scope
from hyper_bids.derivatives.sidecars import Provenance, column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_tsv, write_volumes
from hyper_bids.workflow.steps.outputs import spatial_reference

RESPONSE_NAMES = {"z": "z statistic", "t": "t statistic", "beta": "percent signal change"}


def map_sidecar(
    where: Scope, glm: Mapping[str, Any], columns: dict[str, Any], text: str, stamp: Provenance
) -> dict[str, Any]:
    """Return the sidecar of a map: what it holds, on which space, and the model it is from."""
    return stamp.stamp(
        Description=text,
        SpatialReference=spatial_reference(where),
        SkullStripped=True,
        **_model_facts(glm),
        **columns,
    )


def _model_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a sidecar says about the GLM."""
    return {
        "Estimator": model["noise_model"],
        "TrialModel": model["mode"],
        "MedianVarianceInflation": model["median_vif"],
        "LSSRest": model["lss_rest"] if model["mode"] == "lss" else None,
        "HRF": model["hrf"],
        "Drift": model["drift"],
        "HighPassPeriod": model["high_pass"] if model["drift"] == "cosine" else None,
        "ConfoundStrategy": model["confounds"],
        "DummyScans": model["dummy_scans"],
    }


_VOLUME_COLUMNS = {
    "volume_index": column("Volume", "volume of the image that the row describes, from 0"),
    "stimulus_id": column("Stimulus", "stimulus that was shown"),
    "split": column("Split", "train, test, or cv where the design is cross-validated"),
}


def write_stimulus_maps(
    tree: Tree, where: Scope, found: Responses, glm: Mapping[str, Any], stamp: Provenance, *, text: str = ""
) -> None:
    """Write the mean single-trial map of every stimulus (and split), a volume at a time.

    Where ``found.trials`` has ``n_repeats`` its rows are stimuli already, and ``text`` says what they are.
    """
    keys = ["split", "stimulus_id"]
    groups = found.trials.groupby(keys, sort=True).indices
    means = (found.values[rows].mean(axis=0, dtype=np.float64).astype(np.float32) for rows in groups.values())
    table = pd.DataFrame(
        [(k, label, split, found.n_repeats(rows)) for k, ((split, label), rows) in enumerate(groups.items())],
        columns=["volume_index", "stimulus_id", "split", "n_repeats"],
    )
    name = {"stat": glm["response"], "desc": "stimulus"}
    write_volumes(tree.path(where.name("statmap", ".nii.gz", **name)), _Rows(means, len(groups)), found.grid)
    write_tsv(tree.path(where.name("statmap", ".tsv", **name)), table)
    columns = {**_VOLUME_COLUMNS, "n_repeats": column("Number of repeats", "single-trial maps averaged", "trials")}
    text = text or f"{RESPONSE_NAMES[glm['response']]}: unweighted mean of a stimulus's single-trial maps over all runs"
    write_json(tree.path(where.name("statmap", ".json", **name)), map_sidecar(where, glm, columns, text, stamp))


class _Rows:
    """Rows made one at a time: a map per stimulus of a whole experiment need not fit into memory."""

    def __init__(self, rows: Any, n: int) -> None:
        self._rows, self._n = rows, n
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Any:
        return iter(self._rows)


def write_trial_maps(tree: Tree, where: Scope, found: Responses, glm: Mapping[str, Any], stamp: Provenance) -> None:
    """Write one file per run with a volume per trial."""
    for run in dict.fromkeys(found.trials["run"]):
        part = found.of(found.trials["run"].to_numpy(str) == run)
        entities = dict(pair.split("-", 1) for pair in run.split("_") if "-" in pair)
        name = {**entities, "stat": glm["response"], "desc": "trial"}
        table = part.trials[["stimulus_id", "split", "trial_type", "onset", "duration"]].copy()
        table.insert(0, "volume_index", range(len(table)))
        write_volumes(tree.path(where.name("statmap", ".nii.gz", **name)), part.values, part.grid)
        write_tsv(tree.path(where.name("statmap", ".tsv", **name)), table)
        columns = {
            **_VOLUME_COLUMNS,
            "trial_type": column("Trial type", "as in the events"),
            "onset": column("Onset", "of the trial in its run", "s"),
            "duration": column("Duration", "of the trial", "s"),
        }
        text = f"{RESPONSE_NAMES[glm['response']]} of every trial"
        write_json(tree.path(where.name("statmap", ".json", **name)), map_sidecar(where, glm, columns, text, stamp))
