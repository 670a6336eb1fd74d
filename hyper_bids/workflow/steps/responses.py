"""BOLD and designs to responses: voxels, one fit a run, the runs together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.data import Responses
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json
from hyper_bids.errors import InconsistentInput
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.designs import load_design
from hyper_bids.workflow.steps.maps import write_stimulus_maps, write_trial_maps
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of, write_mask
from hyper_bids.workflow.steps.outside import save_outside, voxels_outside


def find_voxels(*, recordings: list[dict[str, Any]], space: str | None, out_dir: Path) -> dict[str, Path]:
    """Intersect the brain masks of all runs; where there are none, compute them. Draw voxels outside the brain.

    Outputs: ``grid`` (npz), ``outside`` (npz, of `save_outside`) and ``notices`` (JSON).
    """
    from hyper_bids.inputs.masks import brain_mask

    grid, union, notices = brain_mask(recordings, space)
    masked = any(recording["mask"] is not None for recording in recordings)
    return {
        "grid": files.save_grid(out_dir / "grid.npz", grid),
        "outside": save_outside(out_dir / "outside.npz", *voxels_outside(union, grid, masked)),
        "notices": write_json(out_dir / "notices.json", {"notices": notices}),
    }


def fit_run(
    *, designs: Path, summary: Path, grid: Path, recording: dict[str, Any], index: int, glm: Mapping[str, Any],
    n_passes: int, out_dir: Path, outside: Path | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Estimate the response to every trial of one run, in one pass over its volumes.

    Where memory is short the voxels are split into ``n_passes`` parts and the file is read
    once for each. Voxels ``outside`` the brain come along in the first pass.

    Outputs: ``responses`` (npy, (n_trials, n_voxels) float32; NaN where a voxel is not usable), and ``outside``,
    where such voxels are given, likewise.
    """
    from hyper_bids.glm.fit import accumulate_apart, estimate_blocks, trial_models
    from hyper_bids.inputs.volumes import masked_blocks

    facts = files.load_json(summary)
    design = load_design(designs, facts, index)
    mask = files.load_grid(grid).mask
    beyond = np.zeros_like(mask) if outside is None else files.load_grid(outside).mask
    around = np.zeros((design.n_trials, int(beyond.sum())), dtype=np.float32)
    label = f"sub-{recording['participant']} {recording['label']}"
    how = {"response": glm["response"], "noise_model": glm["noise_model"]}

    def estimates() -> Iterator[tuple[slice, np.ndarray]]:
        for start, part in voxel_parts(mask, n_passes):
            sets = [part, beyond] if start == 0 and beyond.any() else [part]
            read = np.logical_or.reduce(sets)
            skip = facts["runs"][index]["dummy_scans"]
            blocks = masked_blocks(Path(recording["bold"]), read, skip=skip, reuse=True)
            columns = [np.flatnonzero(each[read]) for each in sets]
            products = accumulate_apart(blocks, columns, design, label, glm["noise_model"], np.float32)
            models = trial_models(design, facts["mode"], glm["lss_rest"], products[0].basis)
            for voxels, values in estimate_blocks(products[0], models, **how):
                yield slice(start + voxels.start, start + voxels.stop), values
            for extra in products[1:]:
                for voxels, values in estimate_blocks(extra, models, **how):
                    around[:, voxels] = values

    shape = (design.n_trials, int(mask.sum()))
    made = {"responses": files.save_columns(out_dir / "responses.npy", shape, estimates() if design.n_trials else ())}
    if outside is not None:
        made["outside"] = files.save_array(out_dir / "outside.npy", around)
    return made


def voxel_parts(mask: np.ndarray, n_parts: int) -> Iterator[tuple[int, np.ndarray]]:
    """Split a mask into parts of consecutive voxels: the first voxel's number, and the part's mask."""
    start = 0
    for places in np.array_split(np.flatnonzero(mask), n_parts):
        part = np.zeros(mask.shape, dtype=bool)
        part.flat[places] = True
        yield start, part
        start += len(places)


def pool_runs(
    *, trials: Path, designs: Path, summary: Path, grid: Path, voxel_notices: Path, responses: list[Path],
    scope: Mapping[str, Any], glm: Mapping[str, Any], maps: str, provenance: Mapping[str, Any], out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Put the runs' trials together over the voxels that are usable in every run, and write the maps.

    Outputs: ``values`` (npy), ``samples`` (tsv), ``grid`` (npz), ``facts`` (JSON), ``tree``.
    """
    facts = files.load_json(summary)
    whole = files.load_grid(grid)
    parts = [files.load_array(path) for path in responses]
    usable = np.ones(whole.n_voxels, dtype=bool)
    for part in parts:
        usable &= np.isfinite(part).all(axis=0)
    notices = facts["notices"] + files.load_json(voxel_notices)["notices"]
    if not usable.any():
        raise InconsistentInput("No voxel varies and is finite in every run; are the BOLD files empty or masked away?")
    if not usable.all():
        lost = int((~usable).sum())
        notices.append(f"{lost} of {len(usable)} voxels are constant or not finite in some run and are left out.")
    kept = whole.within(usable)
    shape = (sum(len(part) for part in parts), kept.n_voxels)
    values_path = files.save_rows(out_dir / "values.npy", shape, (part[:, usable] for part in parts))
    samples = _samples(files.load_table(trials), designs, len(parts))
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    write_mask(tree, where, kept, "brain", "voxels inside the brain in every run", stamp)
    found = Responses(files.load_array(values_path), samples, kept)
    model = {**glm, "mode": facts["mode"], "median_vif": facts["median_vif"]}
    if maps in ("stimulus", "both"):
        write_stimulus_maps(tree, where, found, model, stamp)
    if maps in ("trial", "both"):
        write_trial_maps(tree, where, found, model, stamp)
    facts = {**facts, "notices": notices, "n_voxels": kept.n_voxels, "n_voxels_mask": whole.n_voxels}
    return {
        "values": values_path,
        "samples": files.save_table(out_dir / "samples.tsv", samples),
        "grid": files.save_grid(out_dir / "grid.npz", kept),
        "facts": write_json(out_dir / "facts.json", facts),
        "tree": tree.manifest(),
    }


def _samples(events: pd.DataFrame, designs: Path, n_runs: int) -> pd.DataFrame:
    arrays = files.load_arrays(designs)
    rows = [
        events[events["recording"] == index].reset_index(drop=True).iloc[arrays[f"rows_{index:04d}"]]
        for index in range(n_runs)
    ]
    return pd.concat(rows, ignore_index=True)
