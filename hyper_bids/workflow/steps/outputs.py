"""What all stages write in the same way: names, provenance, masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hyper_bids.data import VoxelGrid
from hyper_bids.derivatives.names import Scope
from hyper_bids.derivatives.sidecars import Provenance
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_volume


def scope_of(scope: Mapping[str, Any]) -> Scope:
    """Return what all files of this participant, task and space share in their names."""
    return Scope(**scope)


def provenance_of(provenance: Mapping[str, Any]) -> Provenance:
    """Return what a sidecar says it was made from."""
    return Provenance(tuple(provenance["sources"]), provenance["inputs"], provenance["settings"], provenance["seed"])


def spatial_reference(where: Scope) -> str:
    """Return BIDS' SpatialReference: the space, or ``orig`` where images are used as they came."""
    return where.space or "orig"


def write_mask(tree: Tree, where: Scope, grid: VoxelGrid, desc: str, text: str, stamp: Provenance) -> None:
    """Write the voxels of a grid as a mask with its sidecar."""
    write_volume(tree.path(where.name("mask", ".nii.gz", desc=desc)), np.ones(grid.n_voxels, dtype=bool), grid)
    kind = "Brain" if desc == "brain" else "ROI"
    content = stamp.stamp(Description=text, Type=kind, SpatialReference=spatial_reference(where))
    write_json(tree.path(where.name("mask", ".json", desc=desc)), content)
