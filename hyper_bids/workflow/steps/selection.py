"""Which voxels every fold's decoder sees, chosen once for all decoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.data import VoxelGrid
from hyper_bids.derivatives.sidecars import column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_tsv, write_volumes
from hyper_bids.errors import InconsistentInput
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of, spatial_reference, write_mask

DEFAULT_N_VOXELS = 4096


def region(select: Mapping[str, Any], grid: VoxelGrid) -> tuple[np.ndarray, list[str]]:
    """Return the voxels ``(n_voxels,)`` that mask, regions and grey matter leave to choose from, and notices.

    Raises
    ------
    InconsistentInput
        None of the brain mask's voxels is inside.
    """
    from hyper_bids.inputs.masks import check_user_mask

    inside, notices, said = np.ones(grid.n_voxels, dtype=bool), [], []
    if select["mask"]:
        inside &= check_user_mask(Path(select["mask"]), grid.mask.shape, grid.affine)[grid.mask]
        said.append(f"--mask {select['mask']}")
    if select["roi"]:
        from hyper_bids.inputs.atlas import roi_mask

        mask, atlas = roi_mask(select["roi"], grid)
        inside &= mask
        notices += atlas.notices
        said.append(f"--roi {select['roi']}")
    if select.get("grey_matter"):
        from hyper_bids.inputs.grey_matter import grey_matter

        mask, told = grey_matter(Path(select["grey_matter"]), grid)
        inside &= mask
        notices += told
        said.append(f"grey matter of {Path(select['grey_matter']).name}")
    if select["select"] == "gain":
        notices += select["grey_matter_said"]
        if not select["grey_matter"]:
            notices.append("Voxels were selected from the whole brain mask.")
    if not inside.any():
        raise InconsistentInput(f"{' and '.join(said)}: no voxel of the brain mask is inside.")
    return inside, notices


def selection_rule(select: Mapping[str, Any], grid: VoxelGrid, seed: int) -> Any:
    """Return the rule of ``--select``, restricted to the region that is left to choose from."""
    from hyper_bids.decode import make_selector
    from hyper_bids.decode.select import Within

    n_voxels = select["n_voxels"]
    if n_voxels is None and select["select"] != "gain":
        n_voxels = DEFAULT_N_VOXELS
    rule = make_selector(select["select"], n_voxels, seed)
    inside, _ = region(select, grid)
    return rule if inside.all() else Within(rule, inside)


def select_voxels(
    *, values: Path, samples: Path, grid: Path, select: Mapping[str, Any], cross_validate: str | None, seed: int,
    scope: Mapping[str, Any], provenance: Mapping[str, Any], out_dir: Path, latents: Path | None = None,
    statistics: Path | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Select voxels in every fold from its training trials, or from the maps of the parametric model.

    Outputs: ``voxels`` (npy, (n_folds, n_voxels) bool), ``facts`` (JSON: the score and what should
    be known), ``tree`` (the decoding mask, and the score of every voxel).
    """
    from hyper_bids.workflow.steps.decoding import folds_of

    responses = files.load_responses(values, samples, grid)
    inside, notices = region(select, responses.grid)
    if statistics is not None:
        found = [_from_maps(files.load_arrays(statistics), select, inside)]
    else:
        rule = selection_rule(select, responses.grid, seed)
        space = None if latents is None else files.load_latents(latents)
        folds = folds_of(responses.trials, cross_validate, seed)
        found = [rule.select(responses.of(fold.train), space) for fold in folds]
    masks = np.stack([item.mask for item in found])
    empty = [number for number, mask in enumerate(masks) if not mask.any()]
    if empty:
        raise InconsistentInput(
            f"--select {select['select']} keeps no voxel in {len(empty)} of {len(masks)} folds. "
            "Give --n-voxels to keep the best ones, or choose another rule."
        )
    notices += list(dict.fromkeys(notice for item in found for notice in item.notices))
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    seen = masks.any(axis=0)
    kept = responses.grid.within(seen)
    write_mask(tree, where, kept, "decoding", "voxels that the decoder saw, in any fold", stamp)
    name, units = (found[0].name, found[0].units) if statistics is not None else (rule.name, rule.units)
    _write_scores(tree, where, found, responses.grid, f"{name} ({units})", stamp)
    facts = {
        "rule": select["select"], "score": name, "units": units, "n_inside": int(inside.sum()),
        "n_voxels": [int(mask.sum()) for mask in masks], "n_any": int(seen.sum()),
        "n_all": int(masks.all(axis=0).sum()), "regions": counted(select, responses.grid, seen), "notices": notices,
    }  # fmt: skip
    return {
        "voxels": files.save_array(out_dir / "voxels.npy", masks),
        "facts": write_json(out_dir / "facts.json", facts),
        "tree": tree.manifest(),
    }


def counted(select: Mapping[str, Any], grid: VoxelGrid, seen: np.ndarray) -> list[dict[str, Any]] | None:
    """Count the selected voxels in every region of the atlas of ``--roi``; None where there is none."""
    if not select["roi"]:
        return None
    from hyper_bids.inputs.atlas import load_atlas, parse_roi, roi_counts

    return roi_counts(seen, load_atlas(parse_roi(select["roi"])[0], grid)).to_dict("records")


def _from_maps(maps: Mapping[str, np.ndarray], select: Mapping[str, Any], inside: np.ndarray) -> Any:
    """The selection from the parametric model's statistics, where there are no single trials."""
    from hyper_bids.decode.select import Selection, best, gain_from_maps

    face_t, n_voxels = maps["face_t"].astype(float), select["n_voxels"]
    if select["select"] == "gain":
        n_latents = len(maps["mu"])
        mask, scores = gain_from_maps(
            face_t, maps["f"].astype(float), int(maps["dof"]), (n_latents, int(maps["dof"])), n_voxels, within=inside
        )
        return NamedSelection(mask, scores, (), "F of the latents beyond the training regressor", "F")
    scores = np.where(inside, face_t, np.nan)
    mask = inside.copy() if select["select"] == "all" else best(scores, n_voxels or DEFAULT_N_VOXELS)
    found = Selection(mask, scores)
    return NamedSelection(found.mask, found.scores, (), "training stimuli against baseline", "t")


class NamedSelection:
    """A selection that says itself what its score is."""

    def __init__(self, mask: np.ndarray, scores: np.ndarray, notices: tuple[str, ...], name: str, units: str) -> None:
        self.mask, self.scores, self.notices, self.name, self.units = mask, scores, notices, name, units


def _write_scores(tree: Tree, where: Any, found: list[Any], grid: VoxelGrid, text: str, stamp: Any) -> None:
    """Write the score of every voxel, one volume a fold (0 where a voxel has none)."""
    import pandas as pd

    name = {"stat": "score", "desc": "selection"}
    scores = np.stack([np.nan_to_num(item.scores).astype(np.float32) for item in found])
    write_volumes(tree.path(where.name("statmap", ".nii.gz", **name)), scores, grid)
    table = pd.DataFrame({"volume_index": range(len(found)), "n_selected": [int(item.mask.sum()) for item in found]})
    write_tsv(tree.path(where.name("statmap", ".tsv", **name)), table)
    content = stamp.stamp(
        Description=f"what voxels were selected by, from training data alone, a volume a fold: {text}",
        SpatialReference=spatial_reference(where),
        SkullStripped=True,
        volume_index=column("Volume", "volume of the image, from 0: the fold"),
        n_selected=column("Selected voxels", "how many the fold's decoder saw", "voxels"),
    )
    write_json(tree.path(where.name("statmap", ".json", **name)), content)
