"""Tables of the participant's report: a table's cells, runs, test stimuli, folds, settings and input files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.errors import count
from hyper_bids.report import pictures
from hyper_bids.report.nuisance import listed
from hyper_bids.report.read import Result
from hyper_bids.report.scores import number

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table of the page; the first cell of a row is its heading.

    Parameters
    ----------
    caption : what the numbers are
    columns : heading, and whether its cells are numbers
    rows : cells as text
    """

    caption: str
    columns: list[tuple[str, bool]]
    rows: list[list[str]]


def nuisance_cells(run: Mapping[str, Any], recording: Mapping[str, Any]) -> list[str]:
    """Return how many nuisance regressors of a run are drift or constant, and which there are besides."""
    modelled = ("drift_", "constant", "cosine")
    others = [name for name in run["nuisance"] if not name.startswith(modelled)]
    without = "" if recording.get("confounds") else " (no confounds table)"
    return [str(len(run["nuisance"]) - len(others)), listed(others) + without]


def cell(value: Any, how: str = "") -> str:
    """Write a number for a table, ``n/a`` where there is none.

    >>> cell(None), cell(5.503, ".3g"), cell(360)
    ('n/a', '5.5', '360')
    """
    return "n/a" if value is None else format(value, how)


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
    over = count(len(folds[0]), "latent") + (f" in {len(folds)} folds" if len(folds) > 1 else "")
    if (values == values[0]).all():
        return f"{penalty(values[0])}, for all of {over}"
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"median {penalty(middle)}, 5th to 95th percentile {penalty(low)} to {penalty(high)}, over {over}"


FOLD_COLUMNS = {
    "n_train": "Training trials", "n_test": "Test stimuli", "n_voxels": "Voxels", "median_alpha": "Median penalty",
    "n_epochs": "Epochs", "best_epoch": "Best epoch",
}  # fmt: skip
"""Numbers of a fold and their headings; left out where no fold has any."""


def fold_table(folds: list[Mapping[str, Any]], cross_validated: bool) -> Table | None:
    """Return the table of a decoder's folds; None where there are none."""
    if not folds:
        return None
    shown = [name for name in FOLD_COLUMNS if any(fold.get(name) is not None for fold in folds)]
    inner = any(fold.get("inner_folds") for fold in folds)
    rows = [
        [
            str(fold.get("fold") or "train to test"),
            *(penalty(fold.get(name)) if name == "median_alpha" else cell(fold.get(name)) for name in shown),
            *([str(fold.get("inner_folds") or "n/a")] if inner else []),
        ]
        for fold in folds
    ]
    what = "Folds of the cross-validation." if cross_validated else "One fit: training set to test set."
    return Table(
        f"{what} Voxels and penalties are chosen in the training data of the fold.",
        [("Fold", False), *((FOLD_COLUMNS[name], True) for name in shown), *([("Inner folds", False)] * inner)],
        rows,
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
    """Return every input file once, relative to the dataset where it lies in it."""
    found = []
    for task in context["tasks"]:
        for recording in [*task["recordings"], *task.get("maps", [])]:
            for name in ("bold", "events", "image", "table", "mask", "confounds"):
                if recording.get(name):
                    found.append(str(recording[name]).removeprefix(str(context["bids_dir"]) + "/"))
    return list(dict.fromkeys(found))
