"""What the page says about voxels: which were usable, which the decoder saw, and by what they were chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.derivatives.names import Scope
from hyper_bids.report.figures_brain import BrainRow, brain_figure
from hyper_bids.report.figures_regions import regions_figure
from hyper_bids.report.figures_template import APPROXIMATE, glass_figure, in_template, surface_figure
from hyper_bids.report.figures_voxels import voxels_figure
from hyper_bids.report.gallery import FigureFolder, PlacedFigure
from hyper_bids.report.methods_responses import GIVEN, PARAMETRIC
from hyper_bids.report.read import read_maps, read_volume
from hyper_bids.report.tables import Table

UNITS = {"z": "z", "t": "t", "beta": "% signal change"}


@dataclass
class VoxelPart:
    """Sentences and figures about voxels, and what should be known of their selection."""

    sentences: list[str]
    figures: list[PlacedFigure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    regions: Table | None = None


def voxel_part(
    dataset: Path, scope: Scope, facts: Mapping[str, Any], selection: Mapping[str, Any] | None, response: str,
    folder: FigureFolder,
) -> VoxelPart:  # fmt: skip
    """Describe the voxels of one task.

    Parameters
    ----------
    dataset : folder laid out like the output dataset
    scope : participant, task, space
    facts : of the pooling step
    selection : facts of `select_voxels`, or None
    response : what single-trial responses are: z, t or beta
    folder : where figures go
    """
    where = "have a response in every map" if facts["mode"] == GIVEN else "are usable in every run"
    part = VoxelPart([f"{facts['n_voxels']} of {facts['n_voxels_mask']} voxels of the brain mask {where}."])
    if selection is not None:
        part.sentences += selection_words(selection, facts["n_voxels"])
        part.notices += selection.get("notices", [])
    brain, seen = (read_volume(dataset / scope.name("mask", ".nii.gz", desc=desc)) for desc in ("brain", "decoding"))
    if brain is None or seen is None:
        return part
    scores = read_maps(dataset / scope.name("statmap", ".nii.gz", stat="score", desc="selection"))
    if scores is not None and scores[0].shape[1:] == brain[0].shape:
        units = score_units(selection or {}, facts, response)
        part.figures.append(_scores(scope, brain, seen[0], scores[0], selection or {}, units, folder))
    part.figures.append(_mask(scope, brain, seen[0], folder))
    part.figures += _template(scope, seen, folder)
    if (selection or {}).get("regions"):
        part.regions, figure = _regions(scope, selection["regions"], folder)
        part.figures += [figure] if figure else []
    return part


def selection_words(selection: Mapping[str, Any], n_usable: int) -> list[str]:
    """Say how many voxels were chosen, and by what.

    >>> selection_words({"rule": "all", "n_inside": 20, "n_voxels": [20]}, 20)
    ['The decoder saw all of them (rule all).']
    >>> found = {"rule": "gain", "score": "F", "n_inside": 18, "n_voxels": [4, 6], "n_any": 7, "n_all": 3}
    >>> selection_words(found, 20)[1]
    'From training data alone, 4 to 6 of them were selected in each fold by gain (score: F); 7 in any fold, 3 in all.'
    """
    said, counts, rule = [], selection["n_voxels"], selection["rule"]
    if selection["n_inside"] < n_usable:
        said.append(f"{selection['n_inside']} of these lie inside the mask or regions to choose from.")
    if rule == "all" or min(counts) == selection["n_inside"]:
        why = "rule all" if rule == "all" else f"rule {rule}: there are no more than it keeps"
        return [*said, f"The decoder saw all of them ({why})."]
    few, many = min(counts), max(counts)
    score = f" (score: {selection['score']})" if selection.get("score") else ""
    if len(counts) == 1:
        return [*said, f"From training data alone, {few} of them were selected by {rule}{score}."]
    between = f"{few}" if few == many else f"{few} to {many}"
    overlap = f"; {selection['n_any']} in any fold, {selection['n_all']} in all" if "n_any" in selection else ""
    return [
        *said,
        f"From training data alone, {between} of them were selected in each fold by {rule}{score}{overlap}.",
    ]


def score_units(selection: Mapping[str, Any], facts: Mapping[str, Any], response: str) -> str:
    """Return the units of the score, those of the responses by name.

    >>> score_units({"units": "units of the response (z, t or %)"}, {"mode": "lsa"}, "beta")
    '% signal change'
    >>> score_units({"units": "F"}, {"mode": "lsa"}, "z")
    'F'
    """
    units = str(selection.get("units") or "score")
    if not units.startswith("units of the response"):
        return units
    if facts["mode"] == GIVEN:
        return str(facts.get("stat", units))
    return UNITS["beta" if facts["mode"] == PARAMETRIC else response]


def _scores(
    scope: Scope, brain: tuple[np.ndarray, np.ndarray], seen: np.ndarray, maps: np.ndarray,
    selection: Mapping[str, Any], units: str, folder: FigureFolder,
) -> PlacedFigure:  # fmt: skip
    """Draw the score of every voxel, mean over folds, with the voxels that were decoded."""
    absent = (maps == 0).all(axis=0) | ~brain[0]
    values = np.where(absent, np.nan, maps.mean(axis=0, dtype=np.float64))
    rows = [
        BrainRow("Score, and slices with most decoded voxels", values, units),
        BrainRow("Voxels that the decoder saw", seen),
        BrainRow("Largest score along the line of sight", values, units, projected=True),
    ]
    drawing = brain_figure(brain[0], rows, brain[1], seen)
    folds = f", mean over {len(maps)} folds" if len(maps) > 1 else ""
    what = selection.get("score") or "score"
    caption = (
        f"What voxels were chosen by: {what} ({units}){folds}, in {int((~absent).sum())} voxels; grey voxels have "
        "none. Below, the voxels that were decoded, in the same slices, and the score seen through the brain. L is the "
        "participant's left, P posterior."
    )
    return folder.save(scope.figure("selection"), drawing, "score of the voxels on the brain", caption)


def _mask(
    scope: Scope, brain: tuple[np.ndarray, np.ndarray], seen: np.ndarray, folder: FigureFolder
) -> PlacedFigure:
    n_brain, n_seen = int(brain[0].sum()), int(seen.sum())
    share = f"all {n_brain} voxels" if n_seen == n_brain else f"{n_seen} of the {n_brain} voxels"
    caption = (
        f"Blue: voxels that the decoder saw in any fold, {share} of the brain mask (grey), in "
        "slices that hold some. L is the participant's left, P posterior."
    )
    alt = f"slices of the brain mask with {n_seen} decoded voxels marked"
    return folder.save(scope.figure("decodingmask"), voxels_figure(brain[0], seen, brain[1]), alt, caption)


def _template(scope: Scope, seen: tuple[np.ndarray, np.ndarray], folder: FigureFolder) -> list[PlacedFigure]:
    """Draw the decoded voxels through the glass brain and on the surface, where the space is a template's."""
    if not in_template(scope.space) or not seen[0].any():
        return []
    n, values = int(seen[0].sum()), seen[0].astype(np.float32)
    glass = glass_figure([("Voxels that the decoder saw", values, "", 1.0)], seen[1])
    said = f"The {n} decoded voxels seen through the brain, in {scope.space}. L is the participant's left."
    surface = surface_figure("Voxels that the decoder saw", values, seen[1], "share of the depth of cortex", 1.0)
    about = (
        f"The {n} decoded voxels on the inflated cortex (fsaverage5), sampled between white matter and pial surface: "
        f"{APPROXIMATE} Dark grey: sulci."
    )
    return [
        folder.save(scope.figure("decodingglass"), glass, "decoded voxels seen through the brain", said),
        folder.save(scope.figure("decodingsurface"), surface, "decoded voxels on the cortical surface", about),
    ]


NOWHERE = "n/a"
"""Label of the voxels that lie in no region: often so many that the regions' bars could not be read beside them."""

MOST_REGIONS = 30
"""Regions that are drawn, those with most decoded voxels; the table has all."""


def _regions(
    scope: Scope, counts: Sequence[Mapping[str, Any]], folder: FigureFolder
) -> tuple[Table, PlacedFigure | None]:
    """Tell how many voxels of every region of the atlas were decoded, in a table and as bars."""
    rows = [[str(row["label"]), str(row["n_voxels"]), str(row["n_selected"]),
             f"{100 * row['n_selected'] / max(1, row['n_voxels']):.0f} %"] for row in counts]  # fmt: skip
    table = Table(
        "Voxels of the brain mask by region of the atlas; n/a: in no region.",
        [("Region", False), ("Voxels", True), ("Decoded", True), ("Share", True)], rows,
    )  # fmt: skip
    named = [row for row in counts if row["label"] != NOWHERE]
    if not named:
        return table, None
    most = sorted(named, key=lambda row: -row["n_selected"])[:MOST_REGIONS]
    numbers = [np.array([row[name] for row in most], dtype=int) for name in ("n_voxels", "n_selected")]
    drawing = regions_figure([str(row["label"]) for row in most], *numbers)
    shown = f"The {len(most)} of {len(named)} regions with most of them" if len(named) > len(most) else "All regions"
    n, inside = (sum(row["n_selected"] for row in rows) for rows in (counts, named))
    caption = f"Decoded voxels by region of the atlas: {inside} of {n} lie in one. {shown}."
    return table, folder.save(scope.figure("regions", ".svg"), drawing, "decoded voxels by region", caption)
