"""Responses to decoded latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.derivatives.names import Scope, model_label
from hyper_bids.derivatives.sidecars import Provenance, column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_npz, write_tsv
from hyper_bids.errors import InconsistentInput
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of, write_mask


def selector(select: Mapping[str, Any], grid: VoxelGrid) -> Callable[[Responses, Latents | None], np.ndarray]:
    """Return the selection rule, restricted to the user's mask where one is given."""
    from hyper_bids.decode import SELECTORS
    from hyper_bids.inputs.masks import check_user_mask

    rule = SELECTORS[select["select"]](select["n_voxels"])
    if not select["mask"]:
        return rule
    inside = check_user_mask(Path(select["mask"]), grid.mask.shape, grid.affine)[grid.mask]
    if not inside.any():
        raise InconsistentInput(f"--mask {select['mask']} holds no voxel of the brain mask.")

    def within(responses: Responses, latents: Latents | None) -> np.ndarray:
        part = Responses(responses.values[:, inside], responses.trials, responses.grid.within(inside))
        chosen = np.zeros(len(inside), dtype=bool)
        chosen[inside] = rule(part, latents)
        return chosen

    return within


def decoder_factory(name: str, decode: Mapping[str, Any]) -> Callable[[], Any]:
    """Return what makes a new decoder of that name with these settings."""
    from hyper_bids.decode import DECODERS, Ridge
    from hyper_bids.registry import resolve

    cls = resolve(name, DECODERS, "decoder", ("fit", "predict"))
    if cls is Ridge:
        return lambda: Ridge(alphas=tuple(decode["alphas"]), shared=decode["shared_alpha"])
    return cls


def folds_of(trials: pd.DataFrame, cross_validate: str | None, seed: int) -> list[Any]:
    """Return the folds that ``--cross-validate`` asks for, or the one train/test split."""
    from hyper_bids.decode.folds import make_folds
    from hyper_bids.settings import parse_cross_validation

    unit, n_folds = parse_cross_validation(cross_validate) if cross_validate else (None, None)
    return make_folds(trials, unit, n_folds, seed)


def decode_latents(
    *, values: Path, samples: Path, grid: Path, responses_facts: Path, latents: Path, decoder: str,
    decode: Mapping[str, Any], select: Mapping[str, Any], cross_validate: str | None, scope: Mapping[str, Any],
    provenance: Mapping[str, Any], out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Select voxels, fit the decoder and predict the test stimuli, in every fold.

    Outputs: ``rows`` (tsv), ``predicted`` (npy), ``guesses`` (npz: what the decoder has to
    beat), ``facts`` (JSON), ``tree`` (decoding mask, decoder weights, decoded latents).
    """
    from hyper_bids.decode.crossvalidate import decode as decode_folds

    responses, space = files.load_responses(values, samples, grid), files.load_latents(latents)
    folds = folds_of(responses.trials, cross_validate, provenance["seed"])
    make = decoder_factory(decoder, decode)
    decoded = decode_folds(responses, space, folds, selector(select, responses.grid), make)
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    seen = np.any([fit.voxels for fit in decoded.fits], axis=0)
    write_mask(tree, where, responses.grid.within(seen), "decoding", "voxels that the decoder saw, in any fold", stamp)
    names = {"model": model_label(decoder), "desc": space.space}
    facts = _decoder_facts(decoder, decoded, responses, space)
    facts["trial_model"] = files.load_json(responses_facts)["mode"]
    _write_decoder(tree, where, names, decoded, responses.grid, facts, stamp)
    _write_latents(tree, where, names, decoded, bool(cross_validate), stamp)
    return {
        "rows": files.save_table(out_dir / "rows.tsv", decoded.rows),
        "predicted": files.save_array(out_dir / "predicted.npy", decoded.values),
        "guesses": write_npz(
            out_dir / "guesses.npz", {"training_mean": decoded.training_mean, "nearest": decoded.nearest}
        ),
        "facts": write_json(out_dir / "facts.json", facts),
        "tree": tree.manifest(),
    }


def _decoder_facts(name: str, decoded: Any, responses: Responses, latents: Latents) -> dict[str, Any]:
    folds = []
    for fit in decoded.fits:
        alpha = getattr(fit.decoder, "alpha_", None)
        folds.append(
            {
                "fold": fit.fold.name,
                "n_train": len(fit.fold.train),
                "n_test": len(fit.fold.test),
                "n_voxels": int(fit.voxels.sum()),
                "median_alpha": None if alpha is None else float(np.median(alpha)),
                "inner_folds": _inner_folds(fit),
            }
        )
    return {
        "decoder": name,
        "alone_difference": max(fit.alone_difference for fit in decoded.fits),
        "n_latents": latents.n_latents,
        "n_trials": len(responses.trials),
        "n_stimuli": len(set(responses.trials["stimulus_id"])),
        "constant_latents": list(decoded.constant),
        "folds": folds,
    }


def _inner_folds(fit: Any) -> str | None:
    """How the penalties were chosen, with the groups by their name (runs or stimuli)."""
    text = getattr(fit.decoder, "inner_folds_", None)
    return None if text is None else text.replace("groups", fit.inner)


def _write_decoder(
    tree: Tree, where: Scope, names: dict[str, str], decoded: Any, grid: VoxelGrid, facts: dict[str, Any],
    stamp: Provenance,
) -> None:  # fmt: skip
    arrays: dict[str, np.ndarray] = {"mask": grid.mask, "affine": grid.affine}
    for number, fit in enumerate(decoded.fits):
        arrays[f"voxels_{number:03d}"] = fit.voxels
        for attribute in ("coef_", "intercept_", "alpha_"):
            if (learned := getattr(fit.decoder, attribute, None)) is not None:
                arrays[f"{attribute.rstrip('_')}_{number:03d}"] = np.asarray(learned, dtype=np.float32)
    write_npz(tree.path(where.name("decoder", ".npz", **names)), arrays)
    content = stamp.stamp(
        Description="fitted decoder, one set of arrays per fold; numpy .npz without pickle",
        Arrays={
            "mask": "(X, Y, Z) voxels with responses",
            "affine": "(4, 4) voxel indices to mm",
            "voxels_<fold>": "(n_voxels,) which of them the decoder saw",
            "coef_<fold>": "(n_latents, n_selected) weights on responses",
            "intercept_<fold>": "(n_latents,) in the units of the latents",
            "alpha_<fold>": "(n_latents,) ridge penalties",
        },
        **{"".join(word.capitalize() for word in key.split("_")): value for key, value in facts.items()},
    )
    write_json(tree.path(where.name("decoder", ".json", **names)), content)


def _write_latents(
    tree: Tree, where: Scope, names: dict[str, str], decoded: Any, cross_validated: bool, stamp: Provenance
) -> None:
    table = decoded.rows[["stimulus_id"]].copy()
    table["split"] = "cv" if cross_validated else "test"
    table["fold"] = decoded.rows["fold"].replace("", "n/a")
    width = max(4, len(str(decoded.values.shape[1] - 1)))
    latent_names = [f"z{k:0{width}d}" for k in range(decoded.values.shape[1])]
    table = pd.concat([table, pd.DataFrame(decoded.values, columns=latent_names)], axis=1)
    write_tsv(tree.path(where.name("latents", ".tsv", **names)), table)
    described = {
        "stimulus_id": column("Stimulus", "test stimulus that the row is decoded for"),
        "split": column("Split", "test, or cv where the design is cross-validated"),
        "fold": column("Fold", "fold of the cross-validation that the row was tested in"),
        **{name: column(f"Latent {k}", f"decoded value of dimension {k}") for k, name in enumerate(latent_names)},
    }
    text = "latents decoded from the mean response over a stimulus's repeats, in the units of the latent file"
    write_json(tree.path(where.name("latents", ".json", **names)), stamp.stamp(Description=text, **described))
