"""Are attributes decoded? Correlations over test stimuli with their corrections, and classes by sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.evaluate.attributes import attribute_correlations, attribute_scores
from hyper_bids.evaluate.exchangeable import permutation_test
from hyper_bids.evaluate.further_refits import FurtherDraws, column_p, said
from hyper_bids.evaluate.multiplicity import bonferroni, fdr
from hyper_bids.evaluate.result import TestResult, untested

if TYPE_CHECKING:
    import pandas as pd


def rescaled(latents: np.ndarray) -> np.ndarray:
    """Bring latents ``(n, n_latents)`` to the length sqrt(n_latents) that N(0, I) has; zeros stay zeros."""
    latents = np.asarray(latents, dtype=np.float64)
    length = np.linalg.norm(latents, axis=1, keepdims=True)
    return latents * (np.sqrt(latents.shape[1]) / np.where(length > 0, length, 1.0))


def attribute_table(
    true: np.ndarray,
    predicted: np.ndarray,
    directions: Mapping[str, np.ndarray],
    unit_length: bool = False,
    partial: bool = True,
) -> pd.DataFrame:
    """Correlate true and predicted attribute scores over test stimuli, one row a direction.

    Parameters
    ----------
    true, predicted : (n_stimuli, n_latents)
        One row a stimulus. Not for cross-validated designs, whose t test is invalid (see `stats`).
    directions : name -> (n_latents,)
        Any number: hyperplanes, class-mean differences, all closed-form directions.
    unit_length : bool
        Project latents rescaled to length sqrt(n_latents) instead of as they are.
    partial : bool
        Also partial correlations, given the other directions.

    Returns
    -------
    DataFrame
        ``attribute  r  p_value  p_fdr  p_bonferroni  partial_r  partial_p  p_method  n  unit``; the partial r,
        given the other attributes' true scores, is NaN where they leave no degree of freedom.
    """
    import pandas as pd

    scores = [attribute_scores(rescaled(z) if unit_length else z, directions) for z in (true, predicted)]
    alone, given_others = attribute_correlations(*scores, partial=partial)
    n, nan = len(true), float("nan")
    p = np.array([found.p for found in alone.values()])
    table = pd.DataFrame(
        {
            "attribute": list(alone),
            "r": [found.r for found in alone.values()],
            "p_value": p,
            "p_fdr": fdr(p),
            "p_bonferroni": bonferroni(p),
            "partial_r": [given_others[name].r if name in given_others else nan for name in alone],
            "partial_p": [given_others[name].p if name in given_others else nan for name in alone],
            "p_method": f"two-sided t test, {n - 2} degrees of freedom, over {np.isfinite(p).sum()} directions"
            if n > 2
            else "not tested: fewer than three stimuli",
            "n": n,
            "unit": "stimulus",
        }
    )
    return table if partial else table.drop(columns=["partial_r", "partial_p"])


def refitted_attribute_table(
    true: np.ndarray, predicted: np.ndarray, directions: Mapping[str, np.ndarray], null: FurtherDraws
) -> pd.DataFrame:
    """`attribute_table` of a cross-validated design: p from refits, two-sided; no p of the partial r.

    Parameters
    ----------
    true, predicted : (n_stimuli, n_latents), each stimulus's mean over its rows
    null : of the same design
    """
    table = attribute_table(true, predicted, directions)
    table["partial_p"] = float("nan")
    draws = np.column_stack([null.attributes.get(name, np.empty(0)) for name in table["attribute"]])
    if len(draws):
        table["p_value"], table["p_fdr"], table["p_max"] = column_p(table["r"].to_numpy(), draws)
        table["p_bonferroni"] = bonferroni(table["p_value"].to_numpy())
        table["p_method"] = f"{said(len(draws))}, two-sided"
    else:
        table[["p_value", "p_fdr", "p_bonferroni"]] = float("nan")
        table["p_method"] = "not tested: cross-validated, and no refits with permuted stimuli were made"
    return table


def sign_classification(
    scores: np.ndarray,
    labels: Sequence[object],
    positive: object,
    n_permutations: int,
    rng: np.random.Generator,
    border: float = 0.0,
) -> tuple[np.ndarray, TestResult]:
    """Classify stimuli by the side of the border on which their score lies (VAE-GAN's gender).

    p permutes stimuli, so that it holds where classes are unequal or all predictions lie on one side; a
    binomial test against 1/2 would not.

    Parameters
    ----------
    scores : (n,) projections of the decoded latents onto the direction that points to ``positive``
    labels : n labels of two classes; a stimulus without one (n/a) is left out
    border : score between the classes; a score on it counts one half

    Returns
    -------
    correct : (n,) 1, 0 or one half; NaN without a label
    result : TestResult, its statistic the share of correct ones
    """
    names = np.array([str(label) for label in labels])
    known = ~np.isin(names, ("n/a", "nan", "", "None"))
    classes = sorted(set(names[known]))
    if len(names) != len(scores) or len(classes) > 2 or str(positive) not in classes:
        raise InconsistentInput(
            f"Classification by sign needs {len(scores)} labels of two classes, one of them {str(positive)!r}; "
            f"got {len(names)}: {listing(classes)}."
        )
    side = np.sign(np.asarray(scores, dtype=np.float64) - border)
    wanted = np.where(names == str(positive), 1.0, -1.0)
    matrix = 0.5 + 0.5 * side[known][:, None] * wanted[known]
    correct = np.full(len(names), np.nan)
    correct[known] = np.diag(matrix)
    if len(classes) < 2:
        share = float(np.diag(matrix).mean())
        result = untested("all stimuli are of one class", int(known.sum()))
        return correct, TestResult(result.method, share, result.p, result.n)
    return correct, permutation_test(matrix, n_permutations, rng)
