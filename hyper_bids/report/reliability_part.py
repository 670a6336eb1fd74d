"""What the page says about the reliability of the recordings, from repeats and before any decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.derivatives.names import Scope
from hyper_bids.errors import count
from hyper_bids.report.figures_brain import BrainRow, brain_figure
from hyper_bids.report.figures_reliability import ceilings_figure, recordings_figure
from hyper_bids.report.figures_template import APPROXIMATE, glass_figure, in_template, surface_figure
from hyper_bids.report.gallery import FigureFolder, PlacedFigure
from hyper_bids.report.read import read_maps, read_volume

VOXELS = {
    "split_half": "correlation r between halves of the repeats",
    "reliability": "reliability of the mean over all repeats (Spearman-Brown)",
    "ceiling": "noise ceiling, the share of the variance of mean responses that stimuli can explain,",
}


@dataclass
class ReliabilityPart:
    """Sentences and figures, and what should be known of the measurement."""

    sentences: list[str]
    figures: list[PlacedFigure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def reliability_part(
    dataset: Path, scope: Scope, found: Mapping[str, Any] | None, folder: FigureFolder
) -> ReliabilityPart | None:
    """Describe how reliable one task's recordings are; None where that was not measured.

    Parameters
    ----------
    dataset : folder laid out like the output dataset
    scope : participant, task, space
    found : facts of `measure_reliability`
    folder : where figures go
    """
    if found is None:
        return None
    part = ReliabilityPart([*reliability_words(found)], notices=list(found.get("notices", [])))
    part.figures += _maps(dataset, scope, folder)
    if found.get("recordings"):
        n = int(found.get("n_stimuli") or round(1 / found["recordings"][0]["chance"]))
        caption = (
            "Stimuli named from single responses by logistic regression, which was trained on m repetitions of every "
            f"stimulus and tested on one that was left out; mean and standard deviation over the repetitions left out "
            f"(n = {n} stimuli)."
        )
        drawing = recordings_figure(found["recordings"], n)
        alt = "accuracy over the number of training repetitions"
        part.figures.append(folder.save(scope.figure("recordings", ".svg"), drawing, alt, caption))
    return part


def reliability_words(found: Mapping[str, Any]) -> list[str]:
    """Return what was found, or why nothing was, in plain sentences."""
    repeats = f"; those that are repeated have {found['n_repeats']:g} repeats" if found.get("n_repeats") else ""
    measured = (
        f"Before any decoder: how alike are the responses to the repeats of a stimulus? "
        f"Measured on {count(found['n_trials'], 'single trial')} of "
        f"{count(found['n_stimuli'], 'stimulus', 'stimuli')}{repeats}."
    )
    return [measured, *_voxel_words(found), _recording_words(found)]


def _voxel_words(found: Mapping[str, Any]) -> list[str]:
    if found.get("reason"):
        return [f"Voxels: not measured, because {_clause(found['reason'])}."]
    said = []
    for name, what in VOXELS.items():
        medians = (found.get("voxels") or {}).get(name)
        if medians and medians.get("median_seen") is not None:
            whole = f" ({medians['median_brain']:.2f} in the whole brain mask)" if medians.get("median_brain") else ""
            said.append(f"{what} {medians['median_seen']:.2f}{whole}")
    return [f"Median over the voxels that were decoded: {'; '.join(said)}."] if said else []


def _recording_words(found: Mapping[str, Any]) -> str:
    if found.get("recordings_reason"):
        return f"Identification from single responses: not measured, because {_clause(found['recordings_reason'])}."
    rows = found.get("recordings")
    if not rows:
        return ""
    first, last = rows[0], rows[-1]
    further = "" if first is last else f", after {last['m']:g} in {_percent(last['accuracy'])}"
    return (
        f"Identification from single responses: after training on {first['m']:g} repetitions the stimulus was named "
        f"rightly in {_percent(first['accuracy'])}{further} of cases (chance {_percent(first['chance'])}); "
        "no test was made of it."
    )


def _percent(share: float) -> str:
    """Write a share.

    >>> _percent(0.98333), _percent(1 / 36)
    ('98 %', '2.8 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.2g} %"


def _clause(reason: str) -> str:
    return str(reason).strip().rstrip(".")


def _maps(dataset: Path, scope: Scope, folder: FigureFolder) -> list[PlacedFigure]:
    """Draw reliability and noise ceiling on the brain, and how the ceilings are distributed."""
    maps = read_maps(dataset / scope.name("statmap", ".nii.gz", stat="r", desc="reliability"))
    brain, seen = (read_volume(dataset / scope.name("mask", ".nii.gz", desc=desc)) for desc in ("brain", "decoding"))
    if maps is None or brain is None or seen is None or maps[0].shape[1:] != brain[0].shape or len(maps[0]) < 3:
        return []
    # a ceiling of 0 is a result, no r at all is not: then the voxel does not vary
    absent = (maps[0][0] == 0) | ~brain[0]
    _, reliability, ceiling = (np.where(absent, np.nan, values) for values in maps[0][:3])
    rows = [
        BrainRow("Reliability of the mean over repeats", reliability, "Spearman-Brown r", 1.0),
        BrainRow("Noise ceiling", ceiling, "share of variance", 1.0),
        BrainRow("Largest noise ceiling along the line of sight", ceiling, "share of variance", 1.0, projected=True),
    ]
    n = int((~absent).sum())
    caption = (
        f"Reliability of {n} voxels over the repeats of stimuli, in the slices with most decoded voxels, and the noise "
        "ceiling seen through the brain. Grey voxels do not vary. L is the participant's left, P posterior."
    )
    drawing = brain_figure(brain[0], rows, brain[1], seen[0])
    placed = [folder.save(scope.figure("reliability"), drawing, "reliability of the voxels on the brain", caption)]
    distribution = ceilings_figure(ceiling[brain[0]], seen[0][brain[0]])
    about = "How noise ceilings are distributed over voxels; broken lines: medians. 1: no noise in the mean responses."
    alt = "histogram of noise ceilings"
    placed.append(folder.save(scope.figure("noiseceiling", ".svg"), distribution, alt, about))
    return [*placed, *_template(scope, np.nan_to_num(reliability), np.nan_to_num(ceiling), maps[1], folder)]


def _template(
    scope: Scope, reliability: np.ndarray, ceiling: np.ndarray, affine: np.ndarray, folder: FigureFolder
) -> list[PlacedFigure]:
    """Draw reliability and ceiling through the glass brain and on the surface, where the space is a template's."""
    if not in_template(scope.space) or not ceiling.any():
        return []
    reliability = np.maximum(reliability, 0)
    maps = [
        ("Reliability of the mean over repeats", reliability, "Spearman-Brown r", 1.0),
        ("Noise ceiling", ceiling, "share of variance", 1.0),
    ]
    n = int((ceiling > 0).sum())
    said = f"Largest value along the line of sight, in {scope.space}; {n} voxels have a noise ceiling above 0."
    surface = surface_figure("Noise ceiling", ceiling, affine, "share of variance", 1.0)
    about = f"The noise ceiling of {n} voxels on the inflated cortex (fsaverage5): {APPROXIMATE} Dark grey: sulci."
    alts = ("reliability seen through the brain", "noise ceiling on the cortical surface")
    return [
        folder.save(scope.figure("reliabilityglass"), glass_figure(maps, affine), alts[0], said),
        folder.save(scope.figure("reliabilitysurface"), surface, alts[1], about),
    ]
