"""How many dimensions of what was read from the brain do the scores need? The reduced-rank curve.

A generator makes a plausible picture of any latent, so that a good reconstruction says little about how much was
read from the brain. BrainBits (Mayo et al. 2024, NeurIPS, arXiv 2411.02783) therefore let a decoder pass only r
dimensions, and ask from which r on nothing is gained. Here the bottleneck is in closed form, for any decoder:
with F (n_train, K) its predictions of the rows that it was fitted to, centred, and V_r (K, r) the first r right
singular vectors of F, the prediction of a test row at rank r is

    m + (p - m) V_r V_r',    m the mean of the predictions of the training rows, p the whole prediction.

For least squares, ``B = X^+ Z``, that is reduced-rank regression (Izenman 1975, J Multivar Anal 5:248-264):
``B V_r V_r'`` minimises ``|Z - X B|^2`` over all B of rank r, since ``|Z - X B_r|^2 = |Z - F|^2 + |F - X B_r|^2`` and
F V_r V_r' is the best approximation of F of rank r. Ridge with one penalty a for all latents is least squares on
data with ``sqrt(a) I`` below X and zeros below Z, so that V_r are the singular vectors of F with ``sqrt(a) B`` below
it: ``B V_r V_r'`` then minimises ``|Z - X B|^2 + a |B|^2`` (Mukherjee & Zhu 2011, Stat Anal Data Min 4:612-622).
Where each latent has a penalty of its own there is no closed form; column k of those rows is then ``sqrt(a_k) b_k``,
less what lies outside the span of the predictions (with more latents than trials).
Of any other decoder, F V_r V_r' is the best approximation of rank r of what it says of its training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed

RESOLUTION = 1e-6
"""Singular values below this share of the largest are rounding: weights are stored as float32."""

BLOCK = 512
"""Rows of a penalty that are handled at a time; bounds the temporary arrays."""

SHARE = 0.95
"""Of the way from chance to the whole accuracy: what counts as nearly all."""

FEW, MANY = 2, 10
"""So few dimensions, of at least so many latents, for all that is decoded, are told."""

ALPHA = 0.05
"""p above which an accuracy cannot be told from chance, and has no share that a dimension could give."""

METRICS = {"PairwiseAccuracy": "pairwise_accuracy", "LatentCorrelation": "latent_correlation"}
"""Name in audit.json -> metric."""


def rank_grid(full: int) -> list[int]:
    """Return the ranks below ``full`` at which the curve is computed, and ``full``.

    >>> rank_grid(20)
    [1, 2, 3, 4, 6, 8, 12, 16, 20]
    """
    steps = {1, *(part << power for power in range(max(full, 1).bit_length()) for part in (2, 3))}
    return sorted(rank for rank in steps if rank < full) + [full] * (full > 0)


def prediction_axes(fitted: np.ndarray, penalty: np.ndarray | None = None) -> np.ndarray:
    """Right singular vectors of centred predictions, the largest singular value first.

    The smaller Gram matrix is decomposed: with m = min(n, K) in O(m^3), and ``8 (n K + 3 m^2 + 2 m K)`` bytes at
    most (n = 8000, K = 1024: 0.1 GB; n = 1050, K = 9216: 0.3 GB; n = 8000, K = 9216: 3.3 GB).

    Parameters
    ----------
    fitted : (n, K) predictions of the training rows, centred
    penalty : (q, K), optional
        Rows below, of ridge: weights times the square root of their latent's penalty, in the units in which it is
        counted. What lies outside the row space of ``fitted`` is left out; with one penalty for all latents nothing
        does.

    Returns
    -------
    (rank, K) float64 orthonormal rows; rank 0 where predictions do not vary
    """
    fitted = np.asarray(fitted, dtype=np.float64)
    wide = len(fitted) <= fitted.shape[1]
    squares, vectors = np.linalg.eigh(fitted @ fitted.T if wide else fitted.T @ fitted)
    keep = np.flatnonzero(squares > RESOLUTION**2 * max(squares[-1], 0.0))[::-1]
    squares, vectors = squares[keep], vectors[:, keep]
    axes = (vectors / np.sqrt(squares)).T @ fitted if wide else vectors.T
    if penalty is None or not len(axes):
        return axes
    gram = np.diag(squares)
    for start in range(0, len(penalty), BLOCK):
        along = np.asarray(penalty[start : start + BLOCK], dtype=np.float64) @ axes.T
        gram += along.T @ along
    return np.linalg.eigh(gram)[1][:, ::-1].T @ axes


def smallest_rank(ranks: Sequence[int], values: Sequence[float], chance: float) -> int | None:
    """Return the first of the ranks whose value is `SHARE` of the way from chance to the last one.

    None where the last value is not above chance, or either is not known.

    >>> smallest_rank([1, 2, 4], [0.6, 0.98, 1.0], 0.5), smallest_rank([1, 2], [0.5, 0.4], 0.5)
    (2, None)
    """
    if not values[-1] > chance:
        return None
    return next(
        rank for rank, value in zip(ranks, values, strict=True) if value >= chance + SHARE * (values[-1] - chance)
    )


def bottleneck(evidence: Evidence) -> Light:
    """Say how many dimensions of the predictions give nearly all of their accuracy."""
    curve = evidence.rank_curve
    if curve is None:
        why = "predictions are not of a decoder that was fitted here to responses of single trials"
        return not_assessed(why)
    if "Refusal" in curve:
        refusal = str(curve["Refusal"]).rstrip(".")
        return not_assessed(f"the decoder does not predict the trials that it was trained on: {refusal}")
    ranks, n_latents = list(curve["Ranks"]), np.shape(evidence.true)[1]
    if not ranks:
        return not_assessed("the decoder's predictions do not vary over the trials that it was trained on")
    values = {name: [float(value) for value in curve[name]] for name in METRICS}
    chance = {name: _chance(evidence, metric) for name, metric in METRICS.items()}
    why = _at_chance(evidence, values["PairwiseAccuracy"][-1], chance["PairwiseAccuracy"])
    if why:
        return not_assessed(why)
    needed = {name: smallest_rank(ranks, values[name], chance[name]) for name in METRICS}
    figures = {"Ranks": ranks, **values, "Chance": chance, "RankFor95": needed, "Latents": n_latents}
    text = f"{_dimensions(needed, ranks[-1], n_latents)} {_beside(evidence, values, curve)}"
    few = [rank is not None and rank <= FEW for rank in needed.values()]
    if n_latents >= MANY and all(few):
        text += (
            " What was read from the brain lies along one or two patterns over the latents; whatever else the pictures "
            "show is the generator's prior. Find out what the patterns stand for (attributes, categories, covariates "
            "of the stimuli), and claim no more than that."
        )
        return light("NOTE", text, **figures)
    if n_latents >= MANY and few[0]:
        text += (
            " So few tell these stimuli apart, without predicting their latents: identification among stimuli that "
            "are more alike asks for more."
        )
    return light("PASS", text, **figures)


def _chance(evidence: Evidence, metric: str) -> float:
    """The score with permuted stimuli; where there is none, that of theory, NaN where that says nothing."""
    row = evidence.statistics.get(metric, {})
    permuted, theory = (float(row.get(key, np.nan)) for key in ("null_mean", "chance"))
    known = [value for value in (permuted, theory, 0.5 if metric == "pairwise_accuracy" else np.nan)
             if np.isfinite(value)]  # fmt: skip
    return known[0] if known else float("nan")


def _at_chance(evidence: Evidence, accuracy: float, chance: float) -> str:
    """Why there is no accuracy of which dimensions could give a share; empty where there is."""
    if not np.isfinite(accuracy):
        return "pairwise accuracy is not defined: one test stimulus, or one latent"
    p = float(evidence.statistics.get("pairwise_accuracy", {}).get("p_value", np.nan))
    if accuracy > chance and p <= ALPHA:
        return ""
    tested = f", p = {p:.2g}" if np.isfinite(p) else ", not tested"
    return f"a pairwise accuracy of {accuracy:.2f} cannot be told from chance ({chance:.2f}{tested})"


def _dimensions(needed: Mapping[str, int | None], full: int, n_latents: int) -> str:
    first, second = needed["PairwiseAccuracy"], needed["LatentCorrelation"]
    of = f"{full} dimensions" if full == n_latents else f"{full} dimensions that predictions have ({n_latents} latents)"
    share = f"{100 * SHARE:.0f} %"
    more = f", {second} {_give(second)} {share} of the latent correlation" if second is not None else ""
    return f"{first} of the {of} {_give(first)} {share} of the pairwise accuracy above chance{more}."


def _give(n: int) -> str:
    return "gives" if n == 1 else "give"


def _beside(evidence: Evidence, values: Mapping[str, list[float]], curve: Mapping[str, object]) -> str:
    """The whole scores beside those of guesses without brain data, and the ceiling."""
    random = float(evidence.statistics.get("latent_correlation_random", {}).get("mean", np.nan))
    ceiling = curve.get("Ceiling")
    beside = [f"random latents {random:z.2f}"] if np.isfinite(random) else []
    beside += [f"ceiling by the noise of the test responses {float(ceiling):.2f}"] if ceiling is not None else []
    said = f" ({', '.join(beside)})" if beside else ""
    chance = _chance(evidence, "pairwise_accuracy")
    return (
        f"All together reach a pairwise accuracy of {values['PairwiseAccuracy'][-1]:.2f} (chance {chance:.2f}) and a "
        f"latent correlation of {values['LatentCorrelation'][-1]:z.2f}{said}."
    )
