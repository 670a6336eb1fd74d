"""The parametric model over all runs: designs, sums of runs, and what the model estimates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hyper_bids.data import Responses
from hyper_bids.derivatives.sidecars import column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_npz, write_tsv, write_volumes
from hyper_bids.errors import InconsistentInput
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.designs import design_arrays, design_of, load_design
from hyper_bids.workflow.steps.maps import map_sidecar, write_stimulus_maps
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of, write_mask
from hyper_bids.workflow.steps.responses import voxel_parts

if TYPE_CHECKING:
    from hyper_bids.glm.parametric import ParametricEstimates
    from hyper_bids.glm.parametric_sums import Accumulator

SOLVED_AT_ONCE = 16384
"""Voxels whose sums are held while the model is solved; fixed, so that the result does not depend on memory."""

STATISTICS = {
    "face_t": "t of training stimuli against baseline",
    "f": "F of all latents beyond the training regressor",
    "r2_full": "R2 of the model, of data without nuisance",
    "r2_face": "R2 of the model without the latents",
}
"""Per-voxel statistics that are kept of the model, and their descriptions."""


def build_parametric_designs(
    *, trials: Path, latents: Path, recordings: list[dict[str, Any]], glm: Mapping[str, Any], out_dir: Path
) -> dict[str, Path]:
    """Build the parametric design of every run.

    Outputs: ``designs`` (npz: per run events, mixing, nuisance, rows, frame times) and ``summary``
    (JSON: mode, a row of facts per run, notices).
    """
    from hyper_bids.glm.parametric_design import parametric_design, shared_model

    events = files.load_table(trials)
    tables = [events[events["recording"] == index].reset_index(drop=True) for index in range(len(recordings))]
    model = shared_model(tables, files.load_latents(latents))
    arrays: dict[str, np.ndarray] = {"names": np.array(model.names), "mu": model.mu}
    runs, notices = [], []
    for index, (recording, table) in enumerate(zip(recordings, tables, strict=True)):
        run, said = design_of(partial(parametric_design, table, model), recording, glm)
        notices += said
        arrays.update(design_arrays(index, run.design))
        arrays[f"mixing_{index:04d}"] = run.mixing
        runs.append(_run_facts(recording, run, table))
    summary = {"mode": "parametric", "median_vif": None, "runs": runs, "notices": notices}
    return {
        "designs": write_npz(out_dir / "designs.npz", arrays),
        "summary": write_json(out_dir / "summary.json", summary),
    }


def _run_facts(recording: Mapping[str, Any], run: Any, events: pd.DataFrame) -> dict[str, Any]:
    matrix = run.design.matrix
    return {
        "run": recording["label"],
        "n_volumes": len(matrix),
        "dummy_scans": recording["n_volumes"] - len(matrix),
        "repetition_time": recording["repetition_time"],
        "n_trials": int((events.iloc[run.design.trial_rows]["role"] == "sample").sum()),
        "n_train": run.n_train,
        "n_regressors": matrix.shape[1],
        "rank": int(np.linalg.matrix_rank(matrix)),
        "dof": len(matrix) - int(np.linalg.matrix_rank(run.nuisance)),
        "median_vif": None,
        "condition_number": None,
        "nuisance": list(run.design.nuisance_names),
        "conditions": list(run.design.conditions),
    }


def _load_run(designs: Path, summary: Mapping[str, Any], index: int) -> Any:
    from hyper_bids.glm.parametric_design import RunParametric

    arrays = files.load_arrays(designs, (f"mixing_{index:04d}", "names", "mu"))
    return RunParametric(
        design=load_design(designs, summary, index),
        mixing=arrays[f"mixing_{index:04d}"],
        names=tuple(arrays["names"].tolist()),
        mu=arrays["mu"],
        n_train=summary["runs"][index]["n_train"],
    )


def add_runs(
    *, designs: Path, summary: Path, grid: Path, recordings: list[dict[str, Any]], indices: list[int],
    n_passes: int, out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Add some runs' sums, each run read once (or ``n_passes`` times, for parts of the voxels, where memory is short).

    Outputs: ``products`` (npy, (n_shared, n_voxels) float32: X'Y) and ``sums`` (npz: the rest).
    """
    from hyper_bids.glm.parametric_sums import Accumulator
    from hyper_bids.inputs.volumes import masked_blocks

    facts, mask = files.load_json(summary), files.load_grid(grid).mask
    states: list[dict[str, np.ndarray]] = []
    shape = (len(files.load_arrays(designs, ("names",))["names"]), int(mask.sum()))

    def parts() -> Any:
        for start, part in voxel_parts(mask, n_passes):
            n_voxels = int(part.sum())
            sums: Accumulator | None = None
            for index, recording in zip(indices, recordings, strict=True):
                run = _load_run(designs, facts, index)
                if sums is None:
                    sums = Accumulator(run.names, run.mu, n_voxels, percent=True)
                blocks = masked_blocks(Path(recording["bold"]), part, skip=facts["runs"][index]["dummy_scans"])
                sums.add(blocks, run, f"sub-{recording['participant']} {recording['label']}")
            state = sums.state()
            yield slice(start, start + n_voxels), state.pop("products")
            states.append(state)

    path = files.save_columns(out_dir / "products.npy", shape, parts())
    whole = {name: np.concatenate([state[name] for state in states]) for name in ("squares", "valid")}
    return {"products": path, "sums": write_npz(out_dir / "sums.npz", {**states[0], **whole})}


def solve_parametric(
    *, trials: Path, designs: Path, summary: Path, grid: Path, voxel_notices: Path, products: list[Path],
    sums: list[Path], scope: Mapping[str, Any], glm: Mapping[str, Any], maps: str, space: str,
    provenance: Mapping[str, Any], out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Estimate the model from the sums of all runs, and write its maps.

    Outputs: ``values`` (npy: a pattern per test stimulus, against baseline), ``samples`` (tsv),
    ``grid`` (npz), ``weights`` (npy, W: (n_latents + 1, n_voxels)), ``statistics`` (npz: per voxel, and
    ``mu``), ``facts`` (JSON), ``tree``.
    """
    facts, whole = files.load_json(summary), files.load_grid(grid)
    states = [files.load_arrays(path) for path in sums]
    valid = np.logical_and.reduce([state["valid"] for state in states])
    notices = facts["notices"] + files.load_json(voxel_notices)["notices"]
    if not valid.any():
        raise InconsistentInput("No voxel varies and is finite in every run; are the BOLD files empty or masked away?")
    if not valid.all():
        lost = int((~valid).sum())
        notices.append(f"{lost} of {len(valid)} voxels are constant or not finite in some run and are left out.")
    solved = _Solved(valid, states, [files.load_array(path) for path in products])
    weights = files.save_columns(out_dir / "weights.npy", solved.shape, solved.weights())
    kept, first = whole.within(valid), solved.first
    samples = _tested(files.load_table(trials), first.test_stimuli)
    values = files.save_array(out_dir / "values.npy", np.hstack(solved.patterns))
    statistics = {name: np.concatenate(parts) for name, parts in solved.statistics.items()}
    facts |= {
        "notices": [*notices, *first.notices],
        "n_voxels": kept.n_voxels,
        "n_voxels_mask": whole.n_voxels,
        "dof": first.dof,
        "condition_number": first.condition,
        "n_latents": len(first.mu),
        "n_train": int(sum(int(state["n_train"]) for state in states)),
    }
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    write_mask(tree, where, kept, "brain", "voxels inside the brain in every run", stamp)
    model = {**glm, "response": "beta", "mode": "parametric", "median_vif": None}
    if maps in ("stimulus", "both"):
        found = Responses(files.load_array(values), samples, kept)
        text = "percent signal change: coefficient of a test stimulus over all runs, minus the baseline's"
        write_stimulus_maps(tree, where, found, model, stamp, text=text)
    if maps != "none":
        _write_statistics(tree, where, statistics, kept, model, stamp)
    if maps in ("trial", "both"):
        _write_weights(tree, where, files.load_array(weights), statistics, first, kept, model, stamp, space)
    return {
        "values": values,
        "samples": files.save_table(out_dir / "samples.tsv", samples),
        "grid": files.save_grid(out_dir / "grid.npz", kept),
        "weights": weights,
        "statistics": write_npz(
            out_dir / "statistics.npz",
            {**statistics, "mu": first.mu, "variances": first.variances, "dof": np.array(first.dof)},
        ),
        "facts": write_json(out_dir / "facts.json", facts),
        "tree": tree.manifest(),
    }


class _Solved:
    """Solves the model for some voxels at a time, and keeps what is small.

    Parameters
    ----------
    valid : (n_voxels,) voxels that every run can use
    states : of each part of the runs, without X'Y
    products : of each part of the runs, X'Y on disk
    """

    def __init__(self, valid: np.ndarray, states: list[dict[str, np.ndarray]], products: list[np.ndarray]) -> None:
        self.valid, self.states, self.products = valid, states, products
        self.patterns: list[np.ndarray] = []
        self.statistics: dict[str, list[np.ndarray]] = {name: [] for name in (*STATISTICS, "noise")}
        self.shape = (len(states[0]["mu"]) + 1, int(valid.sum()))
        self._first: ParametricEstimates | None = None

    @property
    def first(self) -> ParametricEstimates:
        """The estimates of the first voxels: what holds for all voxels is read from them."""
        if self._first is None:
            raise ValueError("nothing is solved yet")
        return self._first

    def weights(self) -> Any:
        """Yield ``(columns, W)`` part by part."""
        from hyper_bids.glm.parametric import solve

        places, start = np.flatnonzero(self.valid), 0
        for part in np.array_split(places, max(1, -(-len(places) // SOLVED_AT_ONCE))):
            found = solve(self._sums(part))
            self._first = self._first or found
            for name in STATISTICS:
                self.statistics[name].append(np.asarray(getattr(found, name), dtype=np.float32))
            self.statistics["noise"].append(np.sqrt(found.residual_full / found.dof).astype(np.float32))
            self.patterns.append(found.patterns)
            yield slice(start, start + len(part)), found.weights
            start += len(part)

    def _sums(self, voxels: np.ndarray) -> Accumulator:
        from hyper_bids.glm.parametric_sums import Accumulator, merge

        inside = slice(int(voxels[0]), int(voxels[-1]) + 1)
        merged: Accumulator | None = None
        for state, products in zip(self.states, self.products, strict=True):
            here = {
                **state,
                "products": np.array(products[:, inside])[:, voxels - inside.start],
                "squares": state["squares"][voxels],
                "valid": state["valid"][voxels],
            }
            part = Accumulator.from_state({name: np.array(value) for name, value in here.items()})
            merged = part if merged is None else merge(merged, part)
        return merged


def _tested(events: pd.DataFrame, stimuli: tuple[str, ...]) -> pd.DataFrame:
    """One row a test stimulus: its pattern is over all runs, so run and onset are those of no trial."""
    tests = events[(events["role"] == "sample") & (events["split"] == "test")]
    counts = tests["stimulus_id"].value_counts()
    return pd.DataFrame(
        {
            "stimulus_id": list(stimuli),
            "split": "test",
            "role": "sample",
            "run": "all",
            "session": "",
            "n_repeats": [int(counts[label]) for label in stimuli],
        }
    )


def _write_statistics(
    tree: Tree, where: Any, statistics: Mapping[str, np.ndarray], grid: Any, model: Mapping[str, Any], stamp: Any
) -> None:
    name = {"stat": "effect", "desc": "parametric"}
    table = pd.DataFrame(
        [(k, name_, text) for k, (name_, text) in enumerate(STATISTICS.items())],
        columns=["volume_index", "statistic", "description"],
    )
    values = np.stack([np.nan_to_num(statistics[item]) for item in STATISTICS])
    write_volumes(tree.path(where.name("statmap", ".nii.gz", **name)), values, grid)
    write_tsv(tree.path(where.name("statmap", ".tsv", **name)), table)
    columns = {
        "volume_index": column("Volume", "volume of the image that the row describes, from 0"),
        "statistic": column("Statistic", "name of the statistic"),
        "description": column("Description", "what it is"),
    }
    text = "the parametric model over all runs: how well it explains each voxel"
    write_json(tree.path(where.name("statmap", ".json", **name)), map_sidecar(where, model, columns, text, stamp))


def _write_weights(
    tree: Tree, where: Any, weights: np.ndarray, statistics: Mapping[str, np.ndarray], first: ParametricEstimates,
    grid: Any, model: Mapping[str, Any], stamp: Any, space: str,
) -> None:  # fmt: skip
    """Write W and its t, one volume a latent and the bias last."""
    table = pd.DataFrame({"volume_index": range(len(weights))})
    table["regressor"] = [*(f"latent_{k:04d}" for k in range(len(weights) - 1)), "bias"]
    scale = np.sqrt(first.variances).astype(np.float32)
    rows = {
        "beta": ("percent signal change per unit of the latent", weights),
        "t": ("t of the coefficient", _TRows(weights, statistics["noise"], scale)),
    }
    for stat, (text, values) in rows.items():
        name = {"stat": stat, "desc": space}
        write_volumes(tree.path(where.name("statmap", ".nii.gz", **name)), values, grid)
        write_tsv(tree.path(where.name("statmap", ".tsv", **name)), table)
        columns = {
            "volume_index": column("Volume", "volume of the image that the row describes, from 0"),
            "regressor": column("Regressor", "latent, or bias: training stimuli against baseline"),
        }
        sidecar = map_sidecar(where, model, columns, f"weights W of the parametric model: {text}", stamp)
        write_json(tree.path(where.name("statmap", ".json", **name)), sidecar)


class _TRows:
    """Rows of t values, made one at a time."""

    def __init__(self, weights: np.ndarray, noise: np.ndarray, scale: np.ndarray) -> None:
        self._weights, self._noise, self._scale = weights, noise, scale
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self._weights)

    def __iter__(self) -> Any:
        for row, scale in zip(self._weights, self._scale, strict=True):
            yield row / (self._noise * scale)
