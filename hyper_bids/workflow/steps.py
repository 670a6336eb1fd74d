"""The stages, as plain functions: where the science folders meet. Read this file first.

    build_designs -> find_voxels -> fit_run (each run) -> pool_runs
      -> decode_latents -> refit_null -> reconstruct -> evaluate    (each decoder)
      -> report

Each takes files and JSON-ready parameters, writes under ``out_dir`` and returns its
output files by name. What belongs in the output dataset lies in a tree (see
`hyper_bids.derivatives.tree`). Nothing here knows the engine that calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.data import Images, Latents, Responses, VoxelGrid
from hyper_bids.derivatives.names import Scope, model_label, unique_labels
from hyper_bids.derivatives.sidecars import Provenance, column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_npz, write_tsv, write_volume, write_volumes
from hyper_bids.errors import InconsistentInput
from hyper_bids.workflow import files

RESPONSE_NAMES = {"z": "z statistic", "t": "t statistic", "beta": "percent signal change"}


def _scope(scope: Mapping[str, Any]) -> Scope:
    return Scope(**scope)


def _provenance(provenance: Mapping[str, Any]) -> Provenance:
    return Provenance(tuple(provenance["sources"]), provenance["inputs"], provenance["settings"], provenance["seed"])


# --- responses ------------------------------------------------------------------------------------


def build_designs(
    *, trials: Path, recordings: list[dict[str, Any]], glm: Mapping[str, Any], out_dir: Path
) -> dict[str, Path]:
    """Build the design of every run and choose LSA or LSS from the designs alone.

    Outputs: ``designs`` (npz: per run trials, nuisance, rows, frame times) and ``summary``
    (JSON: mode, median variance inflation, a row of facts per run, notices).
    """
    from hyper_bids.glm.design import choose_mode, run_design, variance_inflation
    from hyper_bids.glm.fit import trial_models

    events = files.load_table(trials)
    designs, notices = [], []
    for index, recording in enumerate(recordings):
        label = f"sub-{recording['participant']} {recording['label']}"
        nuisance = _confounds(recording, glm)
        notices += [f"{label}: {notice}" for notice in nuisance.notices]
        design = run_design(
            events[events["recording"] == index],
            recording["n_volumes"],
            recording["repetition_time"],
            start_time=recording["start_time"],
            dummy_scans=nuisance.dummy_scans,
            hrf=glm["hrf"],
            drift="none" if nuisance.has_cosines else glm["drift"],
            high_pass=glm["high_pass"],
            drift_order=glm["drift_order"],
            confounds=nuisance.table,
            label=label,
        )
        notices += design.notices
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
        arrays.update(_design_arrays(index, design))
    if mode == "lsa" and median > 5:
        notices.append(f"LSA with a median variance inflation of {median:.1f} (above 5): --glm lss may do better.")
    summary = {"mode": mode, "median_vif": _finite(median), "runs": runs, "notices": notices}
    return {
        "designs": write_npz(out_dir / "designs.npz", arrays),
        "summary": write_json(out_dir / "summary.json", summary),
    }


@dataclass(frozen=True)
class _Nuisance:
    """What a run's confounds table asks of its design."""

    table: pd.DataFrame | None
    dummy_scans: int
    has_cosines: bool
    notices: tuple[str, ...]


def _confounds(recording: Mapping[str, Any], glm: Mapping[str, Any]) -> _Nuisance:
    """Read a run's confounds by strategy, and what to do with its first volumes."""
    from hyper_bids.inputs.confounds import non_steady_state_volumes, read_confounds, spike_regressors

    dummies, n_volumes = glm["dummy_scans"], recording["n_volumes"]
    if recording["confounds"] is None:
        said = () if glm["confounds"] == "none" else ("no confounds table, so no confounds are modelled.",)
        return _Nuisance(None, dummies, False, said)
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
        notices.append(f"{unsteady} volumes not in steady state are left out.")
        dummies = max(dummies, unsteady)
    elif unsteady and glm["non_steady_state"] == "regress":
        notices.append(f"{unsteady} volumes not in steady state have a regressor each.")
        spikes = spike_regressors(range(unsteady), n_volumes)
        table = spikes if found is None else found.with_non_steady_state_regressed().table
    return _Nuisance(table, dummies, found is not None and found.has_cosines, tuple(notices))


def _ranks(designs: list[Any], mode: str, labels: list[str]) -> list[int]:
    from hyper_bids.glm.design import check_rank

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


def _design_arrays(index: int, design: Any) -> dict[str, np.ndarray]:
    return {
        f"trials_{index:04d}": design.trials,
        f"nuisance_{index:04d}": design.nuisance,
        f"rows_{index:04d}": design.trial_rows,
        f"weights_{index:04d}": design.weights,
        f"times_{index:04d}": design.frame_times,
    }


def _load_design(designs: Path, summary: Mapping[str, Any], index: int) -> Any:
    from hyper_bids.glm.design import RunDesign

    arrays = files.load_arrays(designs)
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


def find_voxels(*, recordings: list[dict[str, Any]], space: str | None, out_dir: Path) -> dict[str, Path]:
    """Intersect the brain masks of all runs; where there are none, compute them.

    Outputs: ``grid`` (npz) and ``notices`` (JSON).
    """
    from hyper_bids.inputs.masks import brain_mask

    grid, notices = brain_mask(recordings, space)
    return {
        "grid": files.save_grid(out_dir / "grid.npz", grid),
        "notices": write_json(out_dir / "notices.json", {"notices": notices}),
    }


def fit_run(
    *, designs: Path, summary: Path, grid: Path, recording: dict[str, Any], index: int, glm: Mapping[str, Any],
    n_passes: int, out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Estimate the response to every trial of one run, in one pass over its volumes.

    Where memory is short the voxels are split into ``n_passes`` parts and the file is read
    once for each.

    Output: ``responses`` (npy, (n_trials, n_voxels) float32; NaN where a voxel is not usable).
    """
    from hyper_bids.glm.fit import accumulate, estimate_blocks, trial_models
    from hyper_bids.inputs.volumes import masked_blocks

    facts = files.load_json(summary)
    design = _load_design(designs, facts, index)
    mask = files.load_grid(grid).mask
    path = out_dir / "responses.npy"
    n_voxels = int(mask.sum())
    if design.n_trials == 0:
        return {"responses": files.save_array(path, np.zeros((0, n_voxels), dtype=np.float32))}
    label = f"sub-{recording['participant']} {recording['label']}"

    def estimates() -> Iterator[tuple[slice, np.ndarray]]:
        for start, part in _voxel_parts(mask, n_passes):
            blocks = masked_blocks(Path(recording["bold"]), part, skip=facts["runs"][index]["dummy_scans"])
            products = accumulate(blocks, design, label, glm["noise_model"])
            models = trial_models(design, facts["mode"], glm["lss_rest"], products.basis)
            found = estimate_blocks(products, models, response=glm["response"], noise_model=glm["noise_model"])
            for voxels, values in found:
                yield slice(start + voxels.start, start + voxels.stop), values

    return {"responses": files.save_columns(path, (design.n_trials, n_voxels), estimates())}


def _voxel_parts(mask: np.ndarray, n_parts: int) -> Iterator[tuple[int, np.ndarray]]:
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
    tree, where, stamp = Tree(out_dir), _scope(scope), _provenance(provenance)
    _write_mask(tree, where, kept, "brain", "voxels inside the brain in every run", stamp)
    found = Responses(files.load_array(values_path), samples, kept)
    model = {**glm, "mode": facts["mode"], "median_vif": facts["median_vif"]}
    if maps in ("stimulus", "both"):
        _write_stimulus_maps(tree, where, found, model, stamp)
    if maps in ("trial", "both"):
        _write_trial_maps(tree, where, found, model, stamp)
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


def _spatial_reference(where: Scope) -> str:
    return where.space or "orig"


def _write_mask(tree: Tree, where: Scope, grid: VoxelGrid, desc: str, text: str, stamp: Provenance) -> None:
    write_volume(tree.path(where.name("mask", ".nii.gz", desc=desc)), np.ones(grid.n_voxels, dtype=bool), grid)
    kind = "Brain" if desc == "brain" else "ROI"
    content = stamp.stamp(Description=text, Type=kind, SpatialReference=_spatial_reference(where))
    write_json(tree.path(where.name("mask", ".json", desc=desc)), content)


def _map_sidecar(
    where: Scope, glm: Mapping[str, Any], columns: dict[str, Any], text: str, stamp: Provenance
) -> dict[str, Any]:
    return stamp.stamp(
        Description=text,
        SpatialReference=_spatial_reference(where),
        SkullStripped=True,
        **_model_facts(glm),
        **columns,
    )


def _model_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a sidecar says about the GLM."""
    return {
        "Estimator": model["noise_model"],
        "TrialModel": model["mode"],
        "MedianVarianceInflation": model["median_vif"],
        "LSSRest": model["lss_rest"] if model["mode"] == "lss" else None,
        "HRF": model["hrf"],
        "Drift": model["drift"],
        "HighPassPeriod": model["high_pass"] if model["drift"] == "cosine" else None,
        "ConfoundStrategy": model["confounds"],
        "DummyScans": model["dummy_scans"],
    }


_VOLUME_COLUMNS = {
    "volume_index": column("Volume", "volume of the image that the row describes, from 0"),
    "stimulus_id": column("Stimulus", "stimulus that was shown"),
    "split": column("Split", "train, test, or cv where the design is cross-validated"),
}


def _write_stimulus_maps(tree: Tree, where: Scope, found: Responses, glm: Mapping[str, Any], stamp: Provenance) -> None:
    keys = ["split", "stimulus_id"]
    groups = found.trials.groupby(keys, sort=True).indices
    means = (found.values[rows].mean(axis=0, dtype=np.float64).astype(np.float32) for rows in groups.values())
    table = pd.DataFrame(
        [(k, label, split, len(rows)) for k, ((split, label), rows) in enumerate(groups.items())],
        columns=["volume_index", "stimulus_id", "split", "n_repeats"],
    )
    name = {"stat": glm["response"], "desc": "stimulus"}
    write_volumes(tree.path(where.name("statmap", ".nii.gz", **name)), _Rows(means, len(groups)), found.grid)
    write_tsv(tree.path(where.name("statmap", ".tsv", **name)), table)
    columns = {**_VOLUME_COLUMNS, "n_repeats": column("Number of repeats", "single-trial maps averaged", "trials")}
    text = f"{RESPONSE_NAMES[glm['response']]}: unweighted mean of a stimulus's single-trial maps over all runs"
    write_json(tree.path(where.name("statmap", ".json", **name)), _map_sidecar(where, glm, columns, text, stamp))


class _Rows:
    """Rows made one at a time: a map per stimulus of a whole experiment need not fit into memory."""

    def __init__(self, rows: Any, n: int) -> None:
        self._rows, self._n = rows, n
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Any:
        return iter(self._rows)


def _write_trial_maps(tree: Tree, where: Scope, found: Responses, glm: Mapping[str, Any], stamp: Provenance) -> None:
    for run in dict.fromkeys(found.trials["run"]):
        part = found.of(found.trials["run"].to_numpy(str) == run)
        entities = dict(pair.split("-", 1) for pair in run.split("_") if "-" in pair)
        name = {**entities, "stat": glm["response"], "desc": "trial"}
        table = part.trials[["stimulus_id", "split", "trial_type", "onset", "duration"]].copy()
        table.insert(0, "volume_index", range(len(table)))
        write_volumes(tree.path(where.name("statmap", ".nii.gz", **name)), part.values, part.grid)
        write_tsv(tree.path(where.name("statmap", ".tsv", **name)), table)
        columns = {
            **_VOLUME_COLUMNS,
            "trial_type": column("Trial type", "as in the events"),
            "onset": column("Onset", "of the trial in its run", "s"),
            "duration": column("Duration", "of the trial", "s"),
        }
        text = f"{RESPONSE_NAMES[glm['response']]} of every trial"
        write_json(tree.path(where.name("statmap", ".json", **name)), _map_sidecar(where, glm, columns, text, stamp))


# --- decoding -------------------------------------------------------------------------------------


def _selector(select: Mapping[str, Any], grid: VoxelGrid) -> Callable[[Responses, Latents | None], np.ndarray]:
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


def _decoder_factory(name: str, decode: Mapping[str, Any]) -> Callable[[], Any]:
    from hyper_bids.decode import DECODERS, Ridge
    from hyper_bids.registry import resolve

    cls = resolve(name, DECODERS, "decoder", ("fit", "predict"))
    if cls is Ridge:
        return lambda: Ridge(alphas=tuple(decode["alphas"]), shared=decode["shared_alpha"])
    return cls


def _folds(trials: pd.DataFrame, cross_validate: str | None, seed: int) -> list[Any]:
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
    folds = _folds(responses.trials, cross_validate, provenance["seed"])
    make = _decoder_factory(decoder, decode)
    decoded = decode_folds(responses, space, folds, _selector(select, responses.grid), make)
    tree, where, stamp = Tree(out_dir), _scope(scope), _provenance(provenance)
    seen = np.any([fit.voxels for fit in decoded.fits], axis=0)
    _write_mask(tree, where, responses.grid.within(seen), "decoding", "voxels that the decoder saw, in any fold", stamp)
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


# --- reconstruction -------------------------------------------------------------------------------

RANDOM_PICTURES = 100
"""Random latents that are drawn as pictures, for the picture metrics' random baseline."""

REFIT_PICTURES = 4000
"""Pictures that the null of cross-validated picture metrics may cost; at most 200 permutations."""


def _mean_per_stimulus(rows: pd.DataFrame, predicted: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Mean prediction over folds of every test stimulus: labels and (n_stimuli, n_latents)."""
    stimuli = rows["stimulus_id"].to_numpy(str)
    labels = tuple(dict.fromkeys(stimuli.tolist()))
    return labels, np.stack([predicted[stimuli == label].mean(axis=0, dtype=np.float64) for label in labels])


def _generator(picture: Mapping[str, Any], latents: Latents) -> Any:
    from hyper_bids.generate import make_generator

    return make_generator(
        picture["generator"],
        space=latents.space,
        n_latents=latents.n_latents,
        declaration=picture["declaration"].get("Generator") or {},
        weights=Path(picture["weights"]) if picture["weights"] else None,
        device=picture["device"],
    )


def reconstruct(
    *, rows: Path, predicted: Path, latents: Path, samples: Path, decoder: str, picture: Mapping[str, Any],
    stimulus_files: Mapping[str, str], scope: Mapping[str, Any], provenance: Mapping[str, Any], out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Turn decoded latents into pictures, one per test stimulus, and the pictures that they are held against.

    Outputs: ``pictures`` (npz: stimuli, recon, ceiling, zero, random) and ``tree`` (PNGs and recon.tsv).
    """
    from hyper_bids.generate.images import render, write_png
    from hyper_bids.seeds import generator as seeded

    space = files.load_latents(latents)
    generator = _generator(picture, space)
    labels, means = _mean_per_stimulus(files.load_table(rows), files.load_array(predicted))
    recon = render(generator, Latents(means, labels, space.space))
    ceiling = render(generator, space.of(labels))
    zero = render(generator, Latents(np.zeros((1, space.n_latents)), ("zero",), space.space))
    rng = seeded(provenance["seed"], "random pictures")
    random = render(generator, _random_latents(space, files.load_table(samples), picture["declaration"], rng))
    tree, where, stamp = Tree(out_dir), _scope(scope), _provenance(provenance)
    names = {"model": model_label(decoder), "desc": space.space}
    table = []
    for label, short, pixels in zip(labels, unique_labels(labels).values(), recon.pixels, strict=True):
        name = where.name("recon", ".png", **names, stim=short)
        write_png(tree.path(name), pixels)
        table.append((label, name, stimulus_files.get(label, "")))
    frame = pd.DataFrame(table, columns=["stimulus_id", "recon_file", "stim_file"]).replace("", "n/a")
    write_tsv(tree.path(where.name("recon", ".tsv", **names)), frame)
    described = {
        "stimulus_id": column("Stimulus", "test stimulus"),
        "recon_file": column("Reconstruction", "PNG, relative to the root of this dataset"),
        "stim_file": column("Picture shown", "relative to stimuli/ of the raw dataset"),
    }
    text = "the generator's picture of the decoded latents (where cross-validated: of their mean over folds)"
    content = stamp.stamp(Description=text, Generator=picture["generator"], **described)
    write_json(tree.path(where.name("recon", ".json", **names)), content)
    arrays = {
        "stimuli": np.array(labels), "recon": recon.pixels, "ceiling": ceiling.pixels,
        "zero": zero.pixels, "random": random.pixels,
    }  # fmt: skip
    return {"pictures": write_npz(out_dir / "pictures.npz", arrays), "tree": tree.manifest()}


def _random_latents(
    space: Latents, samples: pd.DataFrame, declaration: Mapping[str, Any], rng: np.random.Generator
) -> Latents:
    """Draw from the prior where the space declares one, else resample training latents."""
    if declaration.get("Distribution") == "normal":
        values = rng.standard_normal((RANDOM_PICTURES, space.n_latents))
    else:
        training = samples.loc[samples["split"] != "test", "stimulus_id"].to_numpy(str)
        values = space.rows(rng.choice(training, RANDOM_PICTURES))
    return Latents(values, tuple(f"random{k}" for k in range(RANDOM_PICTURES)), space.space)


def _shown(stimulus_paths: Mapping[str, str], labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    from hyper_bids.generate.images import read_image

    return {label: read_image(Path(stimulus_paths[label])) for label in labels if label in stimulus_paths}


# --- evaluation -----------------------------------------------------------------------------------


def refit_null(
    *, values: Path, samples: Path, grid: Path, latents: Path, decoder: str, decode: Mapping[str, Any],
    select: Mapping[str, Any], cross_validate: str, n_permutations: int, picture: Mapping[str, Any] | None,
    stimulus_paths: Mapping[str, str], attributes: list[str], seed: int, out_dir: Path,
) -> dict[str, Path]:  # fmt: skip
    """Refit every fold to permuted labels: the null distributions of a cross-validated design.

    Outputs: ``draws`` (npz: metric -> (n_permutations,)) and ``facts`` (JSON: a notice where fewer were drawn).
    """
    from hyper_bids.decode.crossvalidate import null_stimuli, refit
    from hyper_bids.evaluate.refits import refit_statistics
    from hyper_bids.settings import parse_cross_validation

    responses, space = files.load_responses(values, samples, grid), files.load_latents(latents)
    folds = _folds(responses.trials, cross_validate, seed)
    make, selector = _decoder_factory(decoder, decode), _selector(select, responses.grid)
    unit, _ = parse_cross_validation(cross_validate)
    rows, notice = null_stimuli(make, responses, space, folds, unit, n_permutations, seed)
    tested = tuple(dict.fromkeys(label for fold in folds for label in fold.test))
    candidates, n_rows = space.of(tested), sum(len(fold.test) for fold in folds)
    place = np.array([tested.index(label) if label in tested else -1 for label in space.stimuli])
    directions = _directions(picture, attributes, space.n_latents)
    pictures = _PictureNull(picture, space, stimulus_paths, tested) if picture else None
    step = max(1, int(REFIT_NUMBERS // (n_rows * space.n_latents)))
    parts: list[dict[str, np.ndarray]] = []
    for start in range(0, len(rows), step):
        predictions, own = refit(responses, space, folds, selector, make, rows[start : start + step])
        parts.append(refit_statistics(predictions, place[own], candidates, directions=directions))
        if pictures:
            pictures.add(predictions, place[own])
    draws = {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]} if parts else {}
    draws.update(pictures.draws() if pictures else {})
    return {
        "draws": write_npz(out_dir / "draws.npz", draws),
        "facts": write_json(out_dir / "facts.json", {"notices": [f"Null: {notice}."] if notice else []}),
    }


REFIT_NUMBERS = 2e8
"""Predicted latents of refits that are held at once (float32): beyond it the folds are decomposed again."""


class _PictureNull:
    """Picture metrics of refits: each needs pictures to be drawn, so only some permutations are."""

    def __init__(
        self, picture: Mapping[str, Any], space: Latents, stimulus_paths: Mapping[str, str], tested: tuple[str, ...]
    ) -> None:
        self.generator, self.space, self.tested = _generator(picture, space), space, np.array(tested)
        self.shown = _shown(stimulus_paths, tested)
        self.left = min(200, max(19, REFIT_PICTURES // len(tested))) if self.shown else 0
        self.scores: dict[str, list[float]] = {"pixel_correlation": [], "ssim": []}

    def add(self, predictions: np.ndarray, stimuli: np.ndarray) -> None:
        """Draw the pictures of some permutations and score them as the observed ones are."""
        from hyper_bids.evaluate import METRICS
        from hyper_bids.evaluate.decoded import compare_images
        from hyper_bids.generate.images import render

        for values, own in zip(predictions[: self.left], stimuli[: self.left], strict=True):
            known, means = _mean_per_stimulus(pd.DataFrame({"stimulus_id": self.tested[own]}), values)
            drawn = render(self.generator, Latents(means, known, self.space.space))
            compared = compare_images(self.shown, drawn)
            for metric, scores in self.scores.items():
                scores.append(float(np.nanmean(METRICS[metric](compared.true, compared.predicted))))
        self.left -= min(self.left, len(predictions))

    def draws(self) -> dict[str, np.ndarray]:
        """Metric -> (n,) for those that were drawn."""
        return {metric: np.array(scores) for metric, scores in self.scores.items() if scores}


def _directions(picture: Mapping[str, Any] | None, attributes: list[str], n_latents: int) -> dict[str, np.ndarray]:
    """Attribute hyperplanes: the user's files, else those that the generator knows by construction."""
    from hyper_bids.generate import builtin_attributes
    from hyper_bids.inputs.attributes import read_directions

    if attributes:
        return read_directions([Path(path) for path in attributes], n_latents)
    known = builtin_attributes(picture["generator"]) if picture else None
    return known or {}


def evaluate(
    *, rows: Path, predicted: Path, guesses: Path, decoder_facts: Path, samples: Path, latents: Path, decoder: str,
    cross_validated: bool, picture: Mapping[str, Any] | None, declaration: Mapping[str, Any],
    stimulus_paths: Mapping[str, str],
    attributes: list[str], n_permutations: int, scope: Mapping[str, Any], provenance: Mapping[str, Any],
    out_dir: Path, pictures: Path | None = None, draws: Path | None = None, null_facts: Path | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Score every test stimulus and test every metric.

    Output: ``tree`` (metrics.tsv, stats.tsv, audit.json).
    """
    from hyper_bids.audit.checks import audit
    from hyper_bids.evaluate.decoded import Decoded, compare_images
    from hyper_bids.evaluate.dictionary import metrics_dictionary, stats_dictionary
    from hyper_bids.evaluate.participant import participant_metrics
    from hyper_bids.evaluate.resize import luminance_at
    from hyper_bids.evaluate.stats import References, Refits, participant_stats

    space, table = files.load_latents(latents), files.load_table(rows)
    values = np.asarray(files.load_array(predicted))
    trials = files.load_table(samples)
    trained = trials.loc[trials["split"] != "test", "stimulus_id"].drop_duplicates()
    training = space.rows(trained)
    references = {"distribution": declaration.get("Distribution"), "training_latents": training}
    compared = None
    if pictures is not None:
        drawn = files.load_arrays(pictures)
        labels = tuple(drawn["stimuli"].tolist())
        shown = _shown(stimulus_paths, labels)
        if shown:
            compared = compare_images(shown, Images(drawn["recon"], labels))
            references["ceiling"] = {"image": compare_images(shown, Images(drawn["ceiling"], labels))}
            references["zero"] = {"image": luminance_at(drawn["zero"])}
            references["random"] = {"image": luminance_at(drawn["random"])}
    decoded = Decoded(
        predicted=values,
        stimuli=tuple(table["stimulus_id"]),
        latents=space,
        folds=tuple(table["fold"]) if cross_validated else None,
        n_repeats=table["n_repeats"].to_numpy(int),
        images=compared,
        directions=_directions(picture, attributes, space.n_latents),
    )
    refits = Refits(statistics=files.load_arrays(draws)) if draws is not None else None
    metrics, reasons = participant_metrics(decoded)
    stats = participant_stats(
        decoded,
        refits=refits,
        references=References(**references),
        seed=provenance["seed"],
        n_permutations=n_permutations,
    )
    tree, where, stamp = Tree(out_dir), _scope(scope), _provenance(provenance)
    names = {"model": model_label(decoder), "desc": space.space}
    write_tsv(tree.path(where.name("metrics", ".tsv", **names)), metrics)
    described = metrics_dictionary(metrics.columns, reasons)
    text = "scores of every test stimulus"
    content = stamp.stamp(Description=text, TrialModel=files.load_json(decoder_facts)["trial_model"], **described)
    write_json(tree.path(where.name("metrics", ".json", **names)), content)
    write_tsv(tree.path(where.name("stats", ".tsv", **names)), stats)
    content = stamp.stamp(Description="every metric with its test", **stats_dictionary(stats.columns))
    write_json(tree.path(where.name("stats", ".json", **names)), content)
    facts, held = files.load_json(decoder_facts), files.load_arrays(guesses)
    checks = audit(
        true=decoded.true,
        predicted=values,
        training_mean=held["training_mean"],
        nearest=held["nearest"],
        training=training,
        shared_stimuli=sorted(set(table["stimulus_id"]) & set(trained)),
        cross_validated=cross_validated,
        alone_difference=facts["alone_difference"],
        constant_latents=facts["constant_latents"],
        null_notices=files.load_json(null_facts)["notices"] if null_facts is not None else [],
    )
    content = stamp.stamp(Description="is the result what it seems?", **checks)
    write_json(tree.path(where.name("audit", ".json", **names)), content)
    return {"tree": tree.manifest()}


# --- report ---------------------------------------------------------------------------------------


def report_participant(
    *, trees: list[Path], facts: list[Path], designs: list[Path], participant: str, context: Mapping[str, Any],
    out_dir: Path, pictures: list[Path] | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Write the participant's report and its figures from what the other stages published.

    Output: ``tree`` (sub-<label>.html, figures, logs/CITATION.md is the run's own).
    """
    from hyper_bids.derivatives.tree import link_view
    from hyper_bids.report.participant import write_report

    view = link_view(trees, out_dir / "view")
    tree = Tree(out_dir)
    write_report(
        tree=tree,
        dataset=view,
        participant=participant,
        context=context,
        facts=[files.load_json(path) for path in facts],
        designs=[files.load_arrays(path) for path in designs],
        pictures=[files.load_arrays(path) for path in pictures or []],
    )
    return {"tree": tree.manifest()}

