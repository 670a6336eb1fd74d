"""Can run, session, onset or motion be read from the decoded latents?

A kernel ridge regression predicts the nuisance of every row from the decoded latents of the others (leave one
row out, in closed form); the statistic is the correlation of predicted and real nuisance, its p from permuting
rows (within folds). What the true latents explain of the decoded ones is taken out first, latent by latent:
where stimuli themselves differ between runs, by design, that is asked of the true latents and said apart.
"""

from __future__ import annotations

import numpy as np

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed
from hyper_bids.seeds import generator

N_PERMUTATIONS = 999
FEWEST_ROWS = 8
MOST_ROWS = 1000
"""Rows that are looked at; of more, as many are drawn."""

ALPHA = 0.05


def centred(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Subtract the mean of every group (fold) from its rows: ``(n, k)``."""
    values = np.array(values, dtype=np.float64)
    for group in np.unique(groups):
        values[groups == group] -= values[groups == group].mean(axis=0)
    return values


def leave_one_out_smoother(values: np.ndarray) -> np.ndarray:
    """Matrix ``(n, n)`` that turns a target into its leave-one-out prediction by ridge from ``(n, k)`` centred values.

    ``y - (y - H y) / (1 - h)``, H the hat matrix; the penalty is the mean eigenvalue of the Gram matrix.
    """
    gram = values @ values.T
    n = len(gram)
    penalty = max(float(np.trace(gram)) / n, 1e-12)
    hat = gram @ np.linalg.inv(gram + penalty * np.eye(n)) + 1 / n
    return np.eye(n) - (np.eye(n) - hat) / (1 - np.diag(hat))[:, None]


def _correlations(smoother: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Correlation of leave-one-out prediction and target, ``(m,)`` from ``(m, n, q)`` targets."""
    predicted = np.einsum("ij,mjq->miq", smoother, targets, optimize=True)
    top = (predicted * targets).sum(axis=(1, 2))
    lengths = np.sqrt((predicted**2).sum(axis=(1, 2)) * (targets**2).sum(axis=(1, 2)))
    return np.divide(top, lengths, out=np.zeros_like(top), where=lengths > 0)


def association(
    values: np.ndarray, nuisance: np.ndarray, groups: np.ndarray, rng: np.random.Generator,
    n_permutations: int = N_PERMUTATIONS,
) -> tuple[float, float]:  # fmt: skip
    """Return r of predicted and real nuisance, and its one-sided p.

    Parameters
    ----------
    values : (n, k), centred within groups
    nuisance : (n, q), centred within groups
    groups : (n,) labels within which rows are exchanged
    """
    smoother = leave_one_out_smoother(values)
    observed = float(_correlations(smoother, nuisance[None])[0])
    n, as_good = len(values), 0
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    step = max(1, 4_000_000 // nuisance.size)
    for start in range(0, n_permutations, step):
        size = min(step, n_permutations - start)
        order = np.tile(np.arange(n), (size, 1))
        for rows in members:
            order[:, rows] = rng.permuted(order[:, rows], axis=1)
        as_good += int((_correlations(smoother, nuisance[order]) >= observed - 1e-12).sum())
    return observed, (1 + as_good) / (1 + n_permutations)


def without_truth(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Take out of every decoded latent what the true one explains of it (both centred): ``(n, k)``."""
    spread = (true**2).sum(axis=0)
    slope = np.divide((predicted * true).sum(axis=0), spread, out=np.zeros_like(spread), where=spread > 0)
    return predicted - true * slope


def nuisance_decoding(evidence: Evidence) -> Light:
    """Ask every nuisance of the decoded latents, and of the true ones."""
    missing = {name: f"{name}: {why}" for name, why in evidence.nuisances_missing.items()}
    n = len(evidence.predicted)
    if n < FEWEST_ROWS:
        return not_assessed(f"{n} test rows are too few; {FEWEST_ROWS} are needed")
    rng = generator(evidence.seed, "audit", "nuisance")
    rows = np.sort(rng.choice(n, MOST_ROWS, replace=False)) if n > MOST_ROWS else np.arange(n)
    groups = np.asarray(evidence.folds, dtype=str)[rows] if evidence.cross_validated else np.zeros(len(rows), int)
    true, predicted = centred(evidence.true[rows], groups), centred(evidence.predicted[rows], groups)
    errors = without_truth(predicted, true)
    found = {}
    for name, values in evidence.nuisances.items():
        target = centred(np.asarray(values, np.float64).reshape(n, -1)[rows], groups)
        if np.abs(target).max(initial=0.0) <= 1e-9 * max(1.0, float(np.abs(values).max(initial=0.0))):
            missing[name] = f"{name}: the same in every test row" + (" of a fold" if evidence.cross_validated else "")
            continue
        spread = np.sqrt((target**2).mean(axis=0))
        target = target / np.where(spread > 0, spread, 1.0) if name == "motion" else target
        found[name] = (association(errors, target, groups, rng), association(true, target, groups, rng))
    if not found:
        return not_assessed("; ".join(missing.values()) or "nothing is known of runs, onsets and motion")
    return _said(found, list(missing.values()))


def _said(found: dict[str, tuple[tuple[float, float], tuple[float, float]]], missing: list[str]) -> Light:
    limit = ALPHA / len(found)
    carried = [name for name, (decoded, _) in found.items() if decoded[1] <= limit and decoded[0] > 0]
    designed = [name for name, (_, true) in found.items() if true[1] <= limit and true[0] > 0]
    text = "; ".join(f"{name} r = {r:z.2f}, p = {p:.3g}" for name, ((r, p), _) in found.items())
    text = f"predicted from the decoded latents, beyond what the true ones explain: {text}."
    if carried:
        text += f" The decoded latents carry {' and '.join(carried)}: part of what is decoded is not the stimulus."
    if designed:
        text += (
            f" By design the true latents go along with {' and '.join(designed)}: decoding the stimulus cannot be "
            "told apart from decoding that."
        )
    text += f" Not assessed: {'; '.join(missing)}." if missing else ""
    figures = {
        name: {"r": r, "p": p, "rTrueLatents": of_true[0], "pTrueLatents": of_true[1]}
        for name, ((r, p), of_true) in found.items()
    }
    return light("WARN" if carried else "NOTE" if designed else "PASS", text, Nuisances=figures)
