"""Tables of the participant's report: runs, test stimuli, penalties, settings and input files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.report import pictures
from hyper_bids.report.read import Result
from hyper_bids.report.scores import number

if TYPE_CHECKING:
    import pandas as pd


def run_row(run: Mapping[str, Any], recording: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table says about one run: its design facts, and names of files and regressors."""
    modelled = ("drift_", "constant", "cosine")
    others = [name for name in run["nuisance"] if not name.startswith(modelled)]
    return {
        **run,
        "vif": "n/a" if run["median_vif"] is None else number(run["median_vif"], 1),
        "condition": "n/a" if run["condition_number"] is None else f"{run['condition_number']:.3g}",
        "others": _listed(others),
        "n_drift": len(run["nuisance"]) - len(others),
        "bold": Path(str(recording.get("bold", ""))).name,
        "confounds": bool(recording.get("confounds")),
    }


MOTION = {f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"}


def _listed(nuisance: list[str]) -> str:
    """Name nuisance regressors, the six of motion as one.

    >>> _listed(["fixation", "trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"])
    'fixation, 6 motion'
    """
    if set(nuisance) >= MOTION:
        nuisance = [name for name in nuisance if name not in MOTION] + ["6 motion"]
    return ", ".join(nuisance) or "none"


STIMULUS_COLUMNS = (
    "n_repeats", "latent_correlation", "pairwise_accuracy", "top1", "pixel_correlation", "ssim",
    "feature_similarity", "latent_cosine", "latent_similarity_mse",
)  # fmt: skip


def stimulus_table(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells of the table of all test stimuli; columns that are n/a throughout are left out."""
    columns = [name for name in STIMULUS_COLUMNS if name in table and table[name].notna().any()]
    cells = [
        [str(table.index[rank]), *(number(table.iloc[rank][name], 0 if name == "n_repeats" else 3) for name in columns)]
        for rank in pictures.spread(len(table))
    ]
    return ["stimulus", *(name.replace("_", " ") for name in columns)], cells


def penalty(value: float | None) -> str:
    """Write a ridge penalty.

    >>> penalty(1000.0), penalty(0.0316227), penalty(1e7), penalty(None)
    ('1000', '0.032', '1e+07', 'n/a')
    """
    if value is None:
        return "n/a"
    return f"{value:.0f}" if 10 <= value < 1e6 else f"{value:.2g}"


def chosen_penalties(result: Result) -> str:
    """Say which ridge penalties were chosen, over all latents and folds; "" for decoders that have none."""
    folds = result.alphas()
    if not folds:
        return ""
    values = np.concatenate(folds)
    low, middle, high = np.percentile(values, [5, 50, 95])
    return (
        f"median {penalty(middle)}, 5th to 95th percentile {penalty(low)} to {penalty(high)}, "
        f"over {len(values)} latents and folds"
    )


def settings_rows(settings: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (stage, option, value) of every setting."""
    rows = []
    for section, values in settings.items():
        for name, value in values.items():
            if isinstance(value, (list, tuple)):
                text = ", ".join(f"{item:.3g}" if isinstance(item, float) else str(item) for item in value) or "none"
            else:
                text = "not given" if value is None else str(value)
            rows.append((section, "--" + name.replace("_", "-"), text))
    return rows


def input_files(context: Mapping[str, Any]) -> list[str]:
    """Return every input file once: BOLD, events, masks and confounds, relative to the dataset where they lie in it."""
    found = []
    for task in context["tasks"]:
        for recording in task["recordings"]:
            for name in ("bold", "events", "mask", "confounds"):
                if recording.get(name):
                    found.append(str(recording[name]).removeprefix(str(context["bids_dir"]) + "/"))
    return list(dict.fromkeys(found))
