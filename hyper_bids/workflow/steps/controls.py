"""The same analysis on signals that must not hold the stimulus (Görgen et al. 2018, NeuroImage 180)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.audit.controls import ALPHA, FEWEST_DRAWS, FEWEST_ROWS, GLOBAL, N_PERMUTATIONS, OUTSIDE, ControlRidge
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
    *, values: Path, samples: Path, grid: Path, latents: Path, cross_validate: str | None, n_permutations: int,
    seed: int, out_dir: Path, outside: Path | None = None, outside_runs: Sequence[Path] = (),
) -> dict[str, Path]:  # fmt: skip
    """Ask once for all decoders what signals without the stimulus hold of the latents.

    Outputs: ``controls`` (JSON: what `control_scores` returns).
    """
    from hyper_bids.settings import parse_cross_validation

    responses, space = files.load_responses(values, samples, grid), files.load_latents(latents)
    unit = parse_cross_validation(cross_validate)[0] if cross_validate else None
    folds = folds_of(responses.trials, cross_validate, seed)
    found = control_scores(responses, space, folds, unit, n_permutations, seed, outside, outside_runs)
    return {"controls": write_json(out_dir / "controls.json", found)}


def control_scores(
    responses: Responses, space: Latents, folds: list[Any], unit: str | None, n_permutations: int, seed: int,
    outside: Path | None = None, runs: Sequence[Path] = (),
) -> dict[str, Any]:  # fmt: skip
    """Decode the latents from the global signal and from voxels outside the brain, in the folds of the decoders.

    Parameters
    ----------
    unit : of the cross-validation; None: one split
    n_permutations : that were asked for; `FEWEST_DRAWS` to `N_PERMUTATIONS` are drawn
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
        scores, why = _scores(control, space, folds, unit, min(N_PERMUTATIONS, max(FEWEST_DRAWS, n_permutations)), seed)
        if why:
            missing[name] = why
        else:
            found[name] = {**scores, "Voxels": n_voxels[name]}
    return {"found": found, "missing": missing}


def _scores(
    control: Responses, space: Latents, folds: list[Any], unit: str | None, n_permutations: int, seed: int
) -> tuple[dict[str, float], str]:
    """Identification from a control with its p, or why there is none."""
    from hyper_bids.decode.crossvalidate import refit
    from hyper_bids.evaluate.nulls import permutation_p
    from hyper_bids.evaluate.refits import refit_pairwise_accuracy

    every = np.ones((len(folds), control.grid.n_voxels), dtype=bool)
    candidates = space.of(tuple(dict.fromkeys(label for fold in folds for label in fold.test)))
    place = _places(space.stimuli, candidates.stimuli)
    shown = _places(control.trials["stimulus_id"], space.stimuli)

    def predicted(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        predictions, own = refit(control, space, folds, every, ControlRidge, rows)
        return predictions, place[own]

    predictions, own = predicted(shown[None])
    observed = refit_pairwise_accuracy(predictions, own, candidates)[0]
    if not np.isfinite(observed):
        return {}, f"identification is not defined with {space.n_latents} latents and {len(candidates.stimuli)} stimuli"
    if unit is None:
        draws, notice = _permuted(predictions[0], candidates, n_permutations, seed), ""
    else:
        rows, notice = null_rows(control, space, folds, unit, n_permutations, seed)
        step = max(1, int(REFIT_NUMBERS // predictions.size))
        parts = (predicted(rows[start : start + step]) for start in range(0, len(rows), step))
        draws = np.concatenate([np.empty(0), *(refit_pairwise_accuracy(*part, candidates) for part in parts)])
    if len(draws) < FEWEST_DRAWS:
        return {}, notice
    return {
        "PairwiseAccuracy": float(observed),
        "Chance": float(np.nanmean(draws)),
        "P": permutation_p(observed, draws),
        "Permutations": len(draws),
    }, ""


def _places(labels: Iterable[str], among: Sequence[str]) -> np.ndarray:
    """Where each label stands, -1 where it does not."""
    row_of = {label: row for row, label in enumerate(among)}
    return np.array([row_of.get(label, -1) for label in labels])


def _permuted(predicted: np.ndarray, candidates: Latents, n_permutations: int, seed: int) -> np.ndarray:
    """Identification in a fixed split with whole test stimuli exchanged."""
    from hyper_bids.evaluate.identification import pairwise_accuracy_matrix
    from hyper_bids.evaluate.nulls import permutation_draws, stimulus_permutations

    matrix = pairwise_accuracy_matrix(predicted.astype(np.float64), candidates.values.astype(np.float64))
    permutations, _ = stimulus_permutations(len(matrix), n_permutations, generator(seed, "audit", "controls"))
    return permutation_draws(matrix, permutations)


def null_rows(
    control: Responses, space: Latents, folds: list[Any], unit: str, n_permutations: int, seed: int
) -> tuple[np.ndarray, str]:
    """Exchanged stimuli to refit to, as rows of the latents; none, and why, where they could decide nothing.

    Where stimuli take each other's places in the same way in all runs, decoders learn the new labels as well as the
    old: with few stimuli in few runs such exchanges are too many for a p that is small enough.
    """
    from hyper_bids.decode.crossvalidate import null_stimuli

    rows, notice = null_stimuli(_counted(control.trials, folds), control, space, folds, unit, n_permutations, seed)
    if len(rows) < FEWEST_DRAWS:
        return rows[:0], f"{notice or f'{len(rows)} permutations'}; a control needs {FEWEST_DRAWS}"
    if unit != "stimulus":
        _, first, own = np.unique(control.trials["stimulus_id"], return_index=True, return_inverse=True)
        alike = (rows == rows[:, first[own]]).all(axis=1).sum()
        if (1 + alike) / (1 + len(rows)) > ALPHA / 2:
            why = f"{len(first)} stimuli can be exchanged within {unit}s in too few ways"
            return rows[:0], f"{why} for a p below {ALPHA / 2}"
    return rows, notice


def _counted(trials: pd.DataFrame, folds: list[Any]) -> partial[ControlRidge]:
    """The decoder, with the size of its products that makes their count over all folds exact."""
    shown = trials["stimulus_id"].to_numpy(str)
    products = sum(len(fold.test) * len(np.unique(shown[fold.train])) for fold in folds)
    return partial(ControlRidge, products / sum(len(fold.train) ** 2 for fold in folds))
