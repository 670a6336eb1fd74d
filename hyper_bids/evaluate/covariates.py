"""What makes a stimulus easy to decode? Accuracy against ratings, complexity and categories (DAND's analysis).

The unit is the stimulus: accuracy is averaged over participants first. Complexity is the size of the
picture's compressed file; it depends on codec, quality and size, so all three are stated.

p-values permute stimuli. Accuracies are bounded and ratings skewed: with t tests Bonferroni over 20 covariates
had 8 to 10 % false positives instead of 5 %, and F over categories 3.3 %.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.data import Images
from hyper_bids.errors import InconsistentInput, UsageError, did_you_mean, listing
from hyper_bids.evaluate.many_correlations import correlations_of_columns
from hyper_bids.evaluate.multiplicity import bonferroni, fdr
from hyper_bids.evaluate.nulls import stimulus_permutations
from hyper_bids.evaluate.result import TestResult, as_extreme, monte_carlo_p, untested

if TYPE_CHECKING:
    import pandas as pd

CODECS: dict[str, dict[str, object]] = {
    "png": {"format": "PNG", "compress_level": 9},
    "jpeg": {"format": "JPEG", "quality": 75, "subsampling": "4:2:0", "optimize": False},
}
"""Name -> options of Pillow's encoder."""


@dataclass(frozen=True, eq=False)
class Complexity:
    """Bytes of each stimulus's compressed file, and how they were made."""

    n_bytes: np.ndarray
    stimuli: tuple[str, ...]
    protocol: Mapping[str, object]


def complexity(images: Images, codec: str = "png") -> Complexity:
    """Size in bytes of each picture's compressed file, ``(n,)``.

    Parameters
    ----------
    images : Images
        Stimuli as they are; the pictures' size is recorded with the codec.
    codec : "png" (lossless, level 9) or "jpeg" (quality 75, chroma halved)

    Raises
    ------
    UsageError
        Another codec.
    """
    from PIL import Image, __version__

    if codec not in CODECS:
        raise UsageError(f"Unknown codec {codec!r}.{did_you_mean(codec, CODECS)} Known: {listing(CODECS)}.")
    sizes = []
    for picture in images.pixels:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, **CODECS[codec])
        sizes.append(file.tell())
    protocol = {"Codec": codec, **CODECS[codec], "Encoder": f"Pillow {__version__}", "Units": "bytes",
                "Size": list(images.pixels.shape[1:3])}  # fmt: skip
    return Complexity(np.array(sizes, dtype=np.int64), images.stimuli, protocol)


def covariate_table(
    accuracy: np.ndarray, covariates: Mapping[str, np.ndarray], rng: np.random.Generator, n_permutations: int = 9999
) -> pd.DataFrame:
    """Correlate accuracy with each covariate over stimuli.

    Parameters
    ----------
    accuracy : (n,), averaged over participants
    covariates : name -> (n,) ratings, complexity ...; a stimulus without a value (NaN) is left out of that row
    n_permutations : many, since corrections over covariates need small p; all n! where they are not more

    Returns
    -------
    DataFrame
        ``covariate  r  p_value  p_bonferroni  p_fdr  p_method  n  unit  n_permutations``, two-sided.

    Raises
    ------
    InconsistentInput
        A covariate of another length.
    """
    import pandas as pd

    accuracy = np.asarray(accuracy, dtype=np.float64)
    rows = [_covariate(name, np.asarray(values, dtype=np.float64), accuracy, rng, n_permutations)
            for name, values in covariates.items()]  # fmt: skip
    table = pd.DataFrame(rows, columns=["covariate", "r", "p_value", "p_method", "n", "unit", "n_permutations"])
    p = table["p_value"].to_numpy(float)
    table.insert(3, "p_bonferroni", bonferroni(p))
    table.insert(4, "p_fdr", fdr(p))
    return table


def _covariate(
    name: str, values: np.ndarray, accuracy: np.ndarray, rng: np.random.Generator, n_permutations: int
) -> dict[str, object]:
    if values.shape != accuracy.shape:
        raise InconsistentInput(f"Covariate {name!r} has shape {values.shape}, accuracy {accuracy.shape}.")
    known = np.isfinite(values) & np.isfinite(accuracy)
    row = {"covariate": name, "r": float("nan"), "p_value": float("nan"), "n": int(known.sum()), "unit": "stimulus",
           "p_method": "not tested: too few stimuli, or nothing varies", "n_permutations": 0}  # fmt: skip
    if known.sum() < 3:
        return row
    found = correlations_of_columns(values[known, None], accuracy[known, None], n_permutations, rng)
    if not np.isfinite(found.r[0]):
        return row
    return {**row, "r": float(found.r[0]), "p_value": float(found.p[0]), "p_method": found.method,
            "n_permutations": found.n_permutations}  # fmt: skip


def category_anova(
    accuracy: np.ndarray, categories: Sequence[object], rng: np.random.Generator, n_permutations: int = 9999
) -> TestResult:
    """One-way analysis of variance of accuracy over categories of stimuli, p by permuting stimuli.

    Parameters
    ----------
    accuracy : (n,)
    categories : n labels; stimuli without one (n/a) and categories of a single stimulus are left out

    Returns
    -------
    TestResult, its statistic F

    Raises
    ------
    InconsistentInput
        Another number of categories than of stimuli.
    """
    accuracy = np.asarray(accuracy, dtype=np.float64)
    names = np.array([str(label) for label in categories])
    if names.shape != accuracy.shape:
        raise InconsistentInput(f"{len(names)} categories for {len(accuracy)} stimuli.")
    known = np.isfinite(accuracy) & ~np.isin(names, ("n/a", "nan", "", "None"))
    labels, counts = np.unique(names[known], return_counts=True)
    several = labels[counts > 1]
    known &= np.isin(names, several)
    n, k = int(known.sum()), len(several)
    if k < 2 or n <= k:
        return untested("fewer than two categories of two stimuli or more", n)
    values = accuracy[known] - accuracy[known].mean()
    member = (names[known] == several[:, None]).astype(np.float64)  # (k, n)
    total = float((values**2).sum())
    between = _between(values[None], member)[0]
    if total - between <= 1e-12 * max(total, 1e-20):
        return untested("accuracy does not vary within categories", n)
    # F rises with the sum of squares between categories, since the total stays
    permutations, exact = stimulus_permutations(n, n_permutations, rng)
    as_good, count = as_extreme(_between(values[permutations], member) / total, between / total), len(permutations)
    p = as_good / count if exact else monte_carlo_p(as_good, count)
    statistic = (between / (k - 1)) / ((total - between) / (n - k))
    method = f"one-way ANOVA, F({k - 1}, {n - k}), {'all ' if exact else ''}{count} permutations of stimuli"
    return TestResult(method, float(statistic), p, n, "stimulus", 0 if exact else count)


def _between(values: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Sum of squares between categories, ``(m,)`` from centred ``(m, n)`` values and membership ``(k, n)``."""
    return ((values @ member.T) ** 2 / member.sum(axis=1)).sum(axis=1)
