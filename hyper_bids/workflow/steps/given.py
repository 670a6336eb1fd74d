"""``--responses``: response maps that exist already, in place of a GLM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.data import VoxelGrid
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_npz
from hyper_bids.errors import InconsistentInput
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of, write_mask


def read_responses(
    *, trials: Path, maps: list[dict[str, Any]], scope: Mapping[str, Any], provenance: Mapping[str, Any], out_dir: Path
) -> dict[str, Path]:
    """Read the sample volumes of all maps over the voxels that are usable in each.

    Outputs: as `pool_runs`; ``designs`` holds nothing.
    """
    events = files.load_table(trials)
    samples = events[events["role"] == "sample"].reset_index(drop=True)
    if samples.empty:
        raise InconsistentInput("No volume of the response maps is a sample; see the split in their tables.")
    whole, notices = _grid(maps, scope["space"])
    usable = np.ones(whole.n_voxels, dtype=bool)
    varies = np.zeros(whole.n_voxels, dtype=bool)
    first: np.ndarray | None = None
    for block in _rows(maps, samples, whole.mask):
        usable &= np.isfinite(block).all(axis=0)
        first = block[0].copy() if first is None else first
        varies |= (block != first).any(axis=0)
    usable &= varies
    if not usable.any():
        raise InconsistentInput("No voxel of the response maps is finite and varies; is there a mask beside them?")
    if not usable.all():
        lost = int((~usable).sum())
        notices.append(f"{lost} of {len(usable)} voxels are constant or not finite in the maps and are left out.")
    kept = whole.within(usable)
    rows = (block[:, usable] for block in _rows(maps, samples, whole.mask))
    values = files.save_rows(out_dir / "values.npy", (len(samples), kept.n_voxels), rows)
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    write_mask(tree, where, kept, "brain", "voxels with a response in every map", stamp)
    facts = {
        "mode": "given", "median_vif": None, "runs": [], "notices": notices, "n_voxels": kept.n_voxels,
        "n_voxels_mask": whole.n_voxels, "n_maps": len(maps), "n_trials": len(samples),
        "stat": maps[0]["stat"], "level": maps[0]["level"],
    }  # fmt: skip
    return {
        "values": values,
        "samples": files.save_table(out_dir / "samples.tsv", samples),
        "grid": files.save_grid(out_dir / "grid.npz", kept),
        "designs": write_npz(out_dir / "designs.npz", {}),
        "facts": write_json(out_dir / "facts.json", facts),
        "tree": tree.manifest(),
    }


def _grid(maps: list[dict[str, Any]], space: str | None) -> tuple[VoxelGrid, list[str]]:
    from hyper_bids.inputs.masks import shared_grid
    from hyper_bids.inputs.volumes import read_mask, same_grid

    header = shared_grid({Path(item["image"]).name: Path(item["image"]) for item in maps})
    masks = list(dict.fromkeys(item["mask"] for item in maps if item["mask"]))
    if not masks:
        return VoxelGrid(np.ones(header.shape[:3], dtype=bool), header.affine, space), [
            "There is no brain mask beside the response maps: every voxel that is finite and varies was used."
        ]
    found = []
    for path in masks:
        mask, affine = read_mask(Path(path))
        if mask.shape != header.shape[:3] or not same_grid(affine, header.affine):
            raise InconsistentInput(f"{path} does not lie on the grid of the response maps; they must be the same.")
        found.append(mask)
    return VoxelGrid(np.logical_and.reduce(found), header.affine, space), []


def _rows(maps: list[dict[str, Any]], samples: Any, mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the samples' volumes, ``(n, n_voxels)`` float32, in the order of the samples."""
    from hyper_bids.inputs.volumes import masked_blocks

    for number, item in enumerate(maps):
        wanted = set(samples.loc[samples["recording"] == number, "volume"].astype(int))
        start = 0
        for block in masked_blocks(Path(item["image"]), mask):
            keep = [row for row in range(len(block)) if start + row in wanted]
            start += len(block)
            if keep:
                yield block[keep]
