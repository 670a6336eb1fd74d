"""The same analysis on signals that must not hold the stimulus (Görgen et al. 2018, NeuroImage 180)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.audit.controls import FEWEST_DRAWS, FEWEST_ROWS, GLOBAL, N_PERMUTATIONS, OUTSIDE, ControlRidge
from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.derivatives.write import write_json
from hyper_bids.seeds import generator
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.decoding import folds_of
from hyper_bids.workflow.steps.outside import responses_outside

REFIT_NUMBERS = 2e7
"""Predicted latents of refits that are held at once."""

GIVEN = "the responses were given, and nothing is known of the signal outside the brain"


def decode_controls(
    *, values: Path, samples: Path, grid: Path, latents: Path, cross_validate: str | None, seed: int, out_dir: Path,
    outside: Path | None = None, outside_runs: Sequence[Path] = (),
) -> dict[str, Path]:  # fmt: skip
    """Ask once for all decoders what signals without the stimulus hold of the latents.

    Outputs: ``controls`` (JSON: what `control_scores` returns).
    """
    from hyper_bids.settings import parse_cross_validation

    responses, space = files.load_responses(values, samples, grid), files.load_latents(latents)
    unit = parse_cross_validation(cross_validate)[0] if cross_validate else None
    folds = folds_of(responses.trials, cross_validate, seed)
    found = control_scores(responses, space, folds, unit, seed, outside, outside_runs)
    return {"controls": write_json(out_dir / "controls.json", found)}


def control_scores(
    responses: Responses, space: Latents, folds: list[Any], unit: str | None, seed: int,
    outside: Path | None = None, runs: Sequence[Path] = (),
) -> dict[str, Any]:  # fmt: skip
    """Decode the latents from the global signal and from voxels outside the brain, in the folds of the decoders.

    Parameters
    ----------
    unit : of the cross-validation; None: one split
    outside, runs : as for `responses_outside`; None where responses were given

    Returns
    -------
    ``found``: control -> its identification, the permutations' mean, p, and how many voxels and permutations;
    ``missing``: control -> why it is not there
    """
    n_rows = sum(len(fold.test) for fold in folds)
    if n_rows < FEWEST_ROWS:
        why = f"{n_rows} test rows are too few; {FEWEST_ROWS} are needed"
        return {"found": {}, "missing": dict.fromkeys((GLOBAL, OUTSIDE), why)}
    mean = responses.values.mean(axis=1, dtype=np.float64)[:, None]
    nowhere = VoxelGrid(np.ones((1, 1, 1), dtype=bool), np.eye(4))
    controls = {GLOBAL: Responses(mean, responses.trials, nowhere)}
    n_voxels, missing = {GLOBAL: responses.grid.n_voxels}, {}
    values, where, why = (None, None, GIVEN) if outside is None else responses_outside(outside, runs, seed)
    if values is None:
        missing[OUTSIDE] = why
    else:
        controls[OUTSIDE] = Responses(values, responses.trials, where)
        n_voxels[OUTSIDE] = where.n_voxels
    found = {}
    for name, control in controls.items():
        scores, why = _scores(control, space, folds, unit, seed)
        if why:
            missing[name] = why
        else:
            found[name] = {**scores, "Voxels": n_voxels[name]}
    return {"found": found, "missing": missing}


def _scores(
    control: Responses, space: Latents, folds: list[Any], unit: str | None, seed: int
) -> tuple[dict[str, float], str]:
    """Identification from a control with its p, or why there is none."""
    from hyper_bids.decode.crossvalidate import decode
    from hyper_bids.evaluate.nulls import permutation_p
    from hyper_bids.evaluate.refits import refit_pairwise_accuracy

    every = np.ones((len(folds), control.grid.n_voxels), dtype=bool)
    decoded = decode(control, space, folds, every, ControlRidge)
    candidates = space.of(tuple(dict.fromkeys(decoded.rows["stimulus_id"])))
    if unit is None:
        (observed, draws), notice = _permuted(decoded.values, candidates, seed), ""
    else:
        own = decoded.rows["stimulus_id"].to_numpy(str)[None]
        observed = refit_pairwise_accuracy(decoded.values[None], own, candidates)[0]
        draws, notice = _refitted(control, space, folds, every, unit, seed, candidates)
    if not np.isfinite(observed):
        return {}, f"identification is not defined with {space.n_latents} latents and {len(candidates.stimuli)} stimuli"
    if len(draws) < FEWEST_DRAWS:
        return {}, f"{notice or f'{len(draws)} permutations'}; a control needs {FEWEST_DRAWS}"
    return {
        "PairwiseAccuracy": float(observed),
        "Chance": float(np.nanmean(draws)),
        "P": permutation_p(observed, draws),
        "Permutations": len(draws),
    }, ""


def _permuted(predicted: np.ndarray, candidates: Latents, seed: int) -> tuple[float, np.ndarray]:
    """Identification in a fixed split, and with whole test stimuli exchanged."""
    from hyper_bids.evaluate.identification import pairwise_accuracy_matrix
    from hyper_bids.evaluate.nulls import permutation_draws, stimulus_permutations

    matrix = pairwise_accuracy_matrix(predicted.astype(np.float64), candidates.values.astype(np.float64))
    permutations, _ = stimulus_permutations(len(matrix), N_PERMUTATIONS, generator(seed, "audit", "controls"))
    return float(permutation_draws(matrix, np.arange(len(matrix))[None])[0]), permutation_draws(matrix, permutations)


def _refitted(
    control: Responses, space: Latents, folds: list[Any], every: np.ndarray, unit: str, seed: int, candidates: Latents
) -> tuple[np.ndarray, str]:
    """Identification of refits to exchanged stimuli, and why there are fewer than asked for: none if too few."""
    from hyper_bids.decode.crossvalidate import null_stimuli, refit
    from hyper_bids.evaluate.refits import refit_pairwise_accuracy

    rows, notice = null_stimuli(_counted(control.trials, folds), control, space, folds, unit, N_PERMUTATIONS, seed)
    if len(rows) < FEWEST_DRAWS:
        return np.empty(0), notice
    row_of = {label: row for row, label in enumerate(candidates.stimuli)}
    place = np.array([row_of.get(label, -1) for label in space.stimuli])
    step = max(1, int(REFIT_NUMBERS // (sum(len(fold.test) for fold in folds) * space.n_latents)))
    parts = [np.empty(0)]
    for start in range(0, len(rows), step):
        predictions, own = refit(control, space, folds, every, ControlRidge, rows[start : start + step])
        parts.append(refit_pairwise_accuracy(predictions, place[own], candidates))
    return np.concatenate(parts), notice


def _counted(trials: pd.DataFrame, folds: list[Any]) -> partial[ControlRidge]:
    """The decoder, with the size of its products that makes their count over all folds exact."""
    shown = trials["stimulus_id"].to_numpy(str)
    products = sum(len(fold.test) * len(np.unique(shown[fold.train])) for fold in folds)
    return partial(ControlRidge, products / sum(len(fold.train) ** 2 for fold in folds))
