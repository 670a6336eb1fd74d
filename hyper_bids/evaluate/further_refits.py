"""The null of the further tests in a cross-validated design: the same numbers for every refit to permuted labels.

`refits` makes the null of the primary metrics; this makes those of k-way identification, of foils chosen by label
or likeness, of every latent and of every attribute, from the same refits, computed as the observed ones are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.attributes import attribute_scores
from hyper_bids.evaluate.foils import hard_foils, other_label, pairwise_among, same_label
from hyper_bids.evaluate.identification import candidate_correlations
from hyper_bids.evaluate.k_way import k_way_accuracy
from hyper_bids.evaluate.latent import unit_dimensions
from hyper_bids.evaluate.multiplicity import fdr, max_statistic_p
from hyper_bids.evaluate.refits import mean_per_stimulus, nan_mean
from hyper_bids.evaluate.result import TestResult, as_extreme, monte_carlo_p, untested

KS = (2, 5, 10, 20, 50)
MAX_COMPARISONS = 3e9
"""Comparisons of a prediction with a candidate that the null of the further tests may cost."""
SINGLE = 1e-6
"""Draws are kept in single precision: differences below it are ties."""
MAX_NUMBERS = 2e7
"""Correlations of single latents that are kept: 80 MB in float32."""


@dataclass(frozen=True, eq=False)
class FurtherDraws:
    """What the refits give: one row a refit.

    Attributes
    ----------
    tests : name of a test -> (n_refits,) mean over stimuli
    latents : (n_refits, n_latents) Pearson r over stimuli
    attributes : attribute -> (n_refits,) Pearson r over stimuli
    """

    tests: Mapping[str, np.ndarray]
    latents: np.ndarray
    attributes: Mapping[str, np.ndarray]

    def result(self, name: str, observed: float, n: int) -> TestResult:
        """Test one observed mean against its draws, one-sided."""
        draws = self.tests.get(name)
        if not np.isfinite(observed):
            return untested("undefined for these predictions", n)
        if draws is None or not len(draws):
            return untested("cross-validated, and no refits with permuted stimuli were made", n)
        p = monte_carlo_p(as_extreme(draws, observed), len(draws))
        return TestResult(said(len(draws)), observed, p, n, "stimulus", len(draws))


def said(n_refits: int) -> str:
    """Method of a p-value from refits, in words."""
    return f"{n_refits} refits of all folds with permuted stimuli"


def column_p(observed: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two-sided p of every column, its FDR and its family-wise p by the maximum statistic.

    Parameters
    ----------
    observed : (m,) correlations
    draws : (n_refits, m); an undefined one counts as extreme

    Returns
    -------
    p, p_fdr, p_max : (m,); NaN where ``observed`` is
    """
    observed = np.asarray(observed, dtype=np.float64)
    as_far = (~(np.abs(draws) < np.abs(observed) - SINGLE)).sum(axis=0)
    p = np.where(np.isfinite(observed), (1 + as_far) / (1 + len(draws)), np.nan)
    # an undefined draw counts as extreme in the column's own p, and so in the maximum
    p_max = max_statistic_p(np.maximum(np.abs(observed) - SINGLE, 0.0), draws)
    return p, fdr(p), np.fmax(p_max, p)


def foil_masks(
    candidates: np.ndarray, labels: Mapping[str, Sequence[object]], n_hard: int
) -> dict[str, np.ndarray]:
    """Name of a test among chosen foils -> (m, m) mask, row j the foils of candidate j.

    Parameters
    ----------
    candidates : (m, n_latents) true latents
    labels : column of stimuli.tsv -> m labels
    n_hard : most similar candidates that are hard foils; left out where there are not so many

    Raises
    ------
    InconsistentInput
        Labels that are not one a candidate.
    """
    everyone = np.arange(len(candidates))
    masks = {}
    if 1 <= n_hard < len(everyone) and candidates.shape[1] > 1:
        masks[f"pairwise accuracy among the {n_hard} most similar"] = hard_foils(candidates, everyone, n_hard)
    for column, values in labels.items():
        if len(values) != len(everyone):
            raise InconsistentInput(f"Labels {column!r}: {len(values)} for {len(everyone)} candidates.")
        masks[f"pairwise accuracy within {column}"] = same_label(values, everyone)
        masks[f"pairwise accuracy between {column}"] = other_label(values, everyone)
    return masks


def identification_values(
    similarity: np.ndarray, own: np.ndarray, masks: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Values of every prediction: k-way identification, and pairwise accuracy among chosen foils.

    Parameters
    ----------
    similarity : (n_rows, m) of each prediction with each candidate
    own : (n_rows,) int, the row's true candidate
    masks : as from `foil_masks`

    Returns
    -------
    name of the test -> (n_rows,)
    """
    n_candidates = similarity.shape[1]
    values = {f"{k}-way identification": k_way_accuracy(similarity, own, k) for k in KS if k <= n_candidates}
    return values | {name: pairwise_among(similarity, own, foils[own]) for name, foils in masks.items()}


class FurtherNull:
    """Collects the draws, refit by refit.

    Parameters
    ----------
    candidates : (m, n_latents) true latents of all stimuli tested in any fold
    labels : column of stimuli.tsv -> m labels, optional
    directions : attribute -> (n_latents,), optional
    n_hard : as `foil_masks`
    n_rows : test rows of one refit; with it the number of refits that are used is bounded
    """

    def __init__(
        self, candidates: np.ndarray, n_rows: int, labels: Mapping[str, Sequence[object]] | None = None,
        directions: Mapping[str, np.ndarray] | None = None, n_hard: int = 9,
    ) -> None:  # fmt: skip
        self.candidates = np.asarray(candidates, dtype=np.float64)
        self.masks = foil_masks(self.candidates, labels or {}, n_hard)
        self.directions = dict(directions or {})
        m, n_latents = self.candidates.shape
        work = n_rows * m * (len(KS) + len(self.masks))
        self.left = int(min(MAX_COMPARISONS // max(work, 1), MAX_NUMBERS // n_latents))
        self._tests: list[dict[str, float]] = []
        self._latents: list[np.ndarray] = []
        self._attributes: list[dict[str, float]] = []

    def add(self, predictions: np.ndarray, stimuli: np.ndarray) -> None:
        """Take refits, as many as the bound allows.

        Parameters
        ----------
        predictions : (n_refits, n_rows, n_latents)
        stimuli : (n_refits, n_rows) int, rows of the candidates
        """
        for predicted, own in zip(predictions[: self.left], stimuli[: self.left], strict=True):
            self._add_one(np.asarray(predicted, dtype=np.float64), own)
        self.left -= min(self.left, len(predictions))

    def _add_one(self, predicted: np.ndarray, own: np.ndarray) -> None:
        m = len(self.candidates)
        values = identification_values(candidate_correlations(predicted, self.candidates), own, self.masks)
        means = mean_per_stimulus(np.array(list(values.values())), np.tile(own, (len(values), 1)), m)
        self._tests.append(dict(zip(values, nan_mean(means), strict=True)))
        present, decoded = _mean_rows(predicted, own)
        x, y = unit_dimensions(self.candidates[present]), unit_dimensions(decoded)
        defined = x.any(axis=0) & y.any(axis=0)
        self._latents.append(np.where(defined, (x * y).sum(axis=0), np.nan).astype(np.float32))
        true = attribute_scores(self.candidates[present], self.directions)
        scores = attribute_scores(decoded, self.directions)
        self._attributes.append({name: _pearson(true[name], scores[name]) for name in self.directions})

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was collected as arrays for a file; `read_draws` is its inverse."""
        arrays = {"latents": np.array(self._latents, dtype=np.float32).reshape(-1, self.candidates.shape[1])}
        for name, lines in (("tests", self._tests), ("attributes", self._attributes)):
            keys = list(lines[0]) if lines else []
            arrays[f"{name}_names"] = np.array(keys, dtype=str)
            arrays[name] = np.array([[line[key] for key in keys] for line in lines]).reshape(len(lines), len(keys))
        return arrays


def read_draws(arrays: Mapping[str, np.ndarray]) -> FurtherDraws:
    """Return the draws that `FurtherNull.arrays` gave."""
    found = [
        {str(key): arrays[name][:, column] for column, key in enumerate(arrays[f"{name}_names"])}
        for name in ("tests", "attributes")
    ]
    return FurtherDraws(found[0], np.asarray(arrays["latents"], dtype=np.float64), found[1])


def _mean_rows(values: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the stimuli that rows belong to, and the mean of each one's rows ``(n_present, n_columns)``."""
    order = np.argsort(own, kind="stable")
    present, first, count = np.unique(own[order], return_index=True, return_counts=True)
    return present, np.add.reduceat(values[order], first, axis=0) / count[:, None]


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / size) if size > 0 else float("nan")
