"""What went on in the scanner while the trials of a test row were recorded: run, session, onset, motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RESPONSE = 8.0
"""Seconds after a trial's onset whose volumes its response is estimated from, roughly."""

RADIUS = 50.0
"""mm of the head, at which rotations become displacements (Power et al. 2012, NeuroImage 59(3))."""


def nuisances_of(
    rows: pd.DataFrame, trials: pd.DataFrame, recordings: Sequence[Mapping[str, Any]], cross_validated: bool
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the nuisances of every test row, means over its trials.

    Parameters
    ----------
    rows : ``stimulus_id  fold``, one a test row
    trials : all rows of events: ``recording  run  session  onset  duration  stimulus_id  split  role``
    recordings : the runs as dictionaries (`Recording.to_dict`); empty where response maps were given
    cross_validated : whether a row's trials are those of its fold

    Returns
    -------
    nuisances : name -> (n_rows, q): ``run`` and ``session`` as shares of trials, ``onset`` (s within the run),
        ``motion`` (mean framewise displacement, mm)
    missing : name -> why it is not there
    """
    samples = trials[(trials["role"] == "sample") & (trials["split"] != "train")].reset_index(drop=True)
    member = _membership(rows, samples, cross_validated)
    unknown = ~(member.sum(axis=1) > 0)
    if unknown.any():
        why = f"the trials of {int(unknown.sum())} test rows are not known"
        return {}, dict.fromkeys(("run", "session", "onset", "motion"), why)
    share = member / member.sum(axis=1, keepdims=True)
    found, missing = {}, {}
    for name in ("run", "session"):
        labels = samples[name].astype(str).to_numpy()
        names = np.unique(labels)
        if len(names) < 2:
            missing[name] = f"there is one {name}"
        else:
            found[name] = share @ (labels[:, None] == names).astype(float)
    onsets = pd.to_numeric(samples["onset"], errors="coerce").to_numpy(float)
    if np.isfinite(onsets).all():
        found["onset"] = (share @ onsets)[:, None]
    else:
        missing["onset"] = "onsets are not known"
    displacement, why = _displacements(samples, onsets, recordings)
    if displacement is None:
        missing["motion"] = why
    else:
        found["motion"] = (share @ displacement)[:, None]
    return found, missing


def _membership(rows: pd.DataFrame, samples: pd.DataFrame, cross_validated: bool) -> np.ndarray:
    """Which trials each test row is the mean of: (n_rows, n_trials) of 0 and 1."""
    member = rows["stimulus_id"].to_numpy(str)[:, None] == samples["stimulus_id"].to_numpy(str)
    if cross_validated:
        tested = set(zip(rows["stimulus_id"].astype(str), rows["fold"].astype(str), strict=True))
        for name in ("run", "session"):  # else folds are over stimuli, and a row is the mean of all its trials
            if tested == set(zip(samples["stimulus_id"].astype(str), samples[name].astype(str), strict=True)):
                return (member & (rows["fold"].to_numpy(str)[:, None] == samples[name].to_numpy(str))).astype(float)
    return member.astype(float)


def _displacements(
    samples: pd.DataFrame, onsets: np.ndarray, recordings: Sequence[Mapping[str, Any]]
) -> tuple[np.ndarray | None, str]:
    """Mean framewise displacement while each trial's response was recorded, mm, or None and why."""
    if not recordings:
        return None, "responses were given, not recorded here"
    found = np.full(len(samples), np.nan)
    for number, recording in enumerate(recordings):
        if not recording.get("confounds"):
            return None, "a run has no confounds table"
        series = framewise_displacement(Path(recording["confounds"]), int(recording["n_volumes"]))
        if series is None:
            return None, "a confounds table has neither framewise displacement nor motion"
        step = float(recording["repetition_time"])
        if step <= 0:
            return None, "the repetition time is not known"
        times = np.arange(len(series)) * step + float(recording.get("start_time") or 0.0)
        for row in np.flatnonzero(samples["recording"].to_numpy() == number):
            inside = (times >= onsets[row]) & (times <= onsets[row] + RESPONSE)
            found[row] = np.nanmean(series[inside]) if np.isfinite(series[inside]).any() else np.nan
    if not np.isfinite(found).all():
        return None, "trials lie outside the confounds tables"
    return found, ""


def framewise_displacement(path: Path, n_volumes: int) -> np.ndarray | None:
    """Framewise displacement of a run's volumes, mm, ``(n_volumes,)``; the first is NaN; None where there is none.

    fMRIPrep's column, else from its six motion parameters (mm and rad): the sum of absolute differences,
    rotations on a sphere of 50 mm (Power et al. 2012).
    """
    from hyper_bids.inputs.confound_table import read_table

    table = read_table(path, n_volumes)
    if "framewise_displacement" in table:
        return pd.to_numeric(table.cells["framewise_displacement"], errors="coerce").to_numpy(float)
    names = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    if not all(name in table for name in names):
        return None
    values = table.cells[names].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    steps = np.abs(np.diff(values, axis=0)) * ([1.0] * 3 + [RADIUS] * 3)
    return np.concatenate([[np.nan], steps.sum(axis=1)])
