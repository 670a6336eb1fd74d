"""Events to designs: what is modelled in every run, and which trial model that asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.derivatives.write import write_json, write_npz
from hyper_bids.errors import InconsistentInput, count
from hyper_bids.workflow import files


def build_designs(
    *, trials: Path, recordings: list[dict[str, Any]], glm: Mapping[str, Any], out_dir: Path
) -> dict[str, Path]:
    """Build the design of every run and choose LSA or LSS from the designs alone.

    Outputs: ``designs`` (npz: per run trials, nuisance, rows, frame times) and ``summary``
    (JSON: mode, median variance inflation, a row of facts per run, notices).
    """
    from hyper_bids.glm.design import run_design
    from hyper_bids.glm.diagnosis import choose_mode, variance_inflation
    from hyper_bids.glm.fit import trial_models

    events = files.load_table(trials)
    designs, notices = [], []
    for index, recording in enumerate(recordings):
        design, said = design_of(partial(run_design, events[events["recording"] == index]), recording, glm)
        notices += said
        designs.append(design)
    if not any(design.n_trials for design in designs):
        raise InconsistentInput("No run has a trial to decode.")
    labels = [f"sub-{recording['participant']} {recording['label']}" for recording in recordings]
    mode, median = choose_mode(glm["glm"], designs)
    if mode == "lsa" and glm["glm"] == "auto":
        try:
            _ranks(designs, mode, labels)
        except InconsistentInput as error:
            mode = "lss"
            notices.append(f"auto took LSS, since LSA cannot be fitted. {error}")
    ranks = _ranks(designs, mode, labels)
    arrays, runs = {}, []
    for index, (recording, design) in enumerate(zip(recordings, designs, strict=True)):
        dof = trial_models(design, mode, glm["lss_rest"]).dof
        runs.append(_run_facts(recording, design, ranks[index], dof, variance_inflation(design)))
        arrays.update(design_arrays(index, design))
    if mode == "lsa" and median > 5:
        notices.append(f"LSA with a median variance inflation of {median:.1f} (above 5): --glm lss may do better.")
    summary = {"mode": mode, "median_vif": _finite(median), "runs": runs, "notices": notices}
    return {
        "designs": write_npz(out_dir / "designs.npz", arrays),
        "summary": write_json(out_dir / "summary.json", summary),
    }


def design_of(
    build: Callable[..., Any], recording: Mapping[str, Any], glm: Mapping[str, Any]
) -> tuple[Any, list[str]]:
    """Build a run's design from its recording, its confounds and the GLM's options; return it and all notices.

    Parameters
    ----------
    build : `hyper_bids.glm.design.run_design` of the run's events, or `parametric_design` of them and the model
    """
    label = f"sub-{recording['participant']} {recording['label']}"
    nuisance = _nuisance_of(recording, glm)
    design = build(
        n_volumes=recording["n_volumes"],
        repetition_time=recording["repetition_time"],
        start_time=recording["start_time"],
        dummy_scans=nuisance.dummy_scans,
        hrf=glm["hrf"],
        drift="none" if nuisance.has_cosines else glm["drift"],
        high_pass=glm["high_pass"],
        drift_order=glm["drift_order"],
        confounds=nuisance.table,
        label=label,
    )
    return design, [*(f"{label}: {notice}" for notice in nuisance.notices), *design.notices]


@dataclass(frozen=True)
class Nuisance:
    """What a run's confounds table asks of its design."""

    table: pd.DataFrame | None
    dummy_scans: int
    has_cosines: bool
    notices: tuple[str, ...]


def _nuisance_of(recording: Mapping[str, Any], glm: Mapping[str, Any]) -> Nuisance:
    """Read a run's confounds by strategy, and what to do with its first volumes."""
    from hyper_bids.inputs.confounds import non_steady_state_volumes, read_confounds, spike_regressors

    dummies, n_volumes = glm["dummy_scans"], recording["n_volumes"]
    if recording["confounds"] is None:
        said = () if glm["confounds"] == "none" else ("no confounds table, so no confounds are modelled.",)
        return Nuisance(None, dummies, False, said)
    path = Path(recording["confounds"])
    found = read_confounds(
        path,
        glm["confounds"],
        n_volumes,
        n_acompcor=glm["n_acompcor"],
        fd_threshold=glm["fd_threshold"],
        columns=glm["confound_columns"],
    )
    unsteady = non_steady_state_volumes(path, n_volumes) if found is None else found.non_steady_state
    table, notices = (None, []) if found is None else (found.table, list(found.notices))
    if found is not None and found.has_cosines:
        notices.append("the confounds hold cosines, so the app's own drift model is off.")
    if unsteady and glm["non_steady_state"] == "drop":
        notices.append(f"{count(unsteady, 'volume')} not in steady state left out.")
        dummies = max(dummies, unsteady)
    elif unsteady and glm["non_steady_state"] == "regress":
        notices.append(f"{count(unsteady, 'volume')} not in steady state: a regressor each.")
        spikes = spike_regressors(range(unsteady), n_volumes)
        table = spikes if found is None else found.with_non_steady_state_regressed().table
    return Nuisance(table, dummies, found is not None and found.has_cosines, tuple(notices))


def _ranks(designs: list[Any], mode: str, labels: list[str]) -> list[int]:
    from hyper_bids.glm.diagnosis import check_rank

    return [check_rank(design, mode, label) for design, label in zip(designs, labels, strict=True)]


def _run_facts(
    recording: Mapping[str, Any], design: Any, rank: int, dof: np.ndarray, inflation: np.ndarray
) -> dict[str, Any]:
    norms = np.linalg.norm(design.matrix, axis=0)
    values = np.linalg.svd(design.matrix / norms, compute_uv=False)
    n_volumes = len(design.matrix)
    return {
        "run": recording["label"],
        "n_volumes": n_volumes,
        "dummy_scans": recording["n_volumes"] - n_volumes,
        "repetition_time": recording["repetition_time"],
        "n_trials": design.n_trials,
        "n_regressors": design.matrix.shape[1],
        "rank": rank,
        "dof": int(dof.min()) if len(dof) else None,
        "median_vif": _finite(float(np.median(inflation))) if len(inflation) else None,
        "condition_number": _finite(float(values[0] / values[-1])) if values[-1] > 0 else None,
        "nuisance": list(design.nuisance_names),
        "conditions": list(design.conditions),
    }


def _finite(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def design_arrays(index: int, design: Any) -> dict[str, np.ndarray]:
    """Return run ``index``'s design as arrays for an .npz."""
    return {
        f"trials_{index:04d}": design.trials,
        f"nuisance_{index:04d}": design.nuisance,
        f"rows_{index:04d}": design.trial_rows,
        f"weights_{index:04d}": design.weights,
        f"times_{index:04d}": design.frame_times,
    }


def load_design(designs: Path, summary: Mapping[str, Any], index: int) -> Any:
    """Read run ``index``'s design back from `design_arrays` and the summary."""
    from hyper_bids.glm.design import RunDesign

    own = ("trials", "nuisance", "rows", "weights", "times")
    arrays = files.load_arrays(designs, [f"{name}_{index:04d}" for name in own])
    run = summary["runs"][index]
    return RunDesign(
        trials=arrays[f"trials_{index:04d}"],
        nuisance=arrays[f"nuisance_{index:04d}"],
        trial_rows=arrays[f"rows_{index:04d}"],
        weights=arrays[f"weights_{index:04d}"],
        conditions=tuple(run["conditions"]),
        nuisance_names=tuple(run["nuisance"]),
        frame_times=arrays[f"times_{index:04d}"],
    )
