"""Directions that no file brings: a generator's closed-form ones, and those between two classes of stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.evaluate.attribute_tests import attribute_table, sign_classification
from hyper_bids.evaluate.directions import class_mean_direction
from hyper_bids.evaluate.mantel import mantel_test
from hyper_bids.seeds import generator

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("n/a", "nan", "", "None")


def closed_form_table(
    true: np.ndarray, predicted: np.ndarray, directions: np.ndarray, eigenvalues: np.ndarray
) -> pd.DataFrame:
    """Correlate true and predicted scores along all closed-form directions (SeFa), FDR over them.

    Parameters
    ----------
    true, predicted : (n_stimuli, n_latents), one row a stimulus
    directions, eigenvalues : (n_latents, n_latents) and (n_latents,), from `closed_form_directions`

    Returns
    -------
    DataFrame
        ``direction`` (d0001 ..., strongest first), ``eigenvalue  r  p_value  p_fdr  p_bonferroni  p_method  n  unit``.
    """
    names = [f"d{number + 1:04d}" for number in range(len(directions))]
    # partial correlations given hundreds of directions leave no degrees of freedom
    found = attribute_table(true, predicted, dict(zip(names, directions, strict=True)), partial=False)
    found.insert(1, "eigenvalue", eigenvalues)
    return found.rename(columns={"attribute": "direction"})


def two_classes(labels: Sequence[object]) -> list[str]:
    """Return the two classes among labels, sorted; empty where there are more or fewer."""
    found = sorted({str(label) for label in labels} - set(MISSING))
    return found if len(found) == 2 else []


def class_table(
    true: np.ndarray,
    predicted: np.ndarray,
    labels: Mapping[str, Sequence[object]],
    training: np.ndarray,
    training_labels: Mapping[str, Sequence[object]],
    *,
    n_permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Classify test stimuli by the side of a border that their decoded latent lies on (VAE-GAN's gender).

    The direction is the difference of the class means of the *training* latents. Two borders: 0, as the paper has it,
    and the middle between the two means, which also fits spaces whose origin lies in one class.

    Parameters
    ----------
    true, predicted : (n_stimuli, n_latents), one row a test stimulus
    labels : column of stimuli.tsv -> n_stimuli labels
    training : (n_training, n_latents)
    training_labels : column of stimuli.tsv -> n_training labels

    Returns
    -------
    DataFrame
        ``label  positive  border  accuracy  accuracy_true  p_value  p_method  n  unit  n_permutations``; a row for
        every column with two classes among the training stimuli, and border. ``accuracy_true`` is the ceiling: the
        same classification of the true latents.
    """
    import pandas as pd

    rows = []
    for name, given in training_labels.items():
        classes = two_classes(given)
        here = {str(label) for label in labels[name]} - set(MISSING)
        if not classes or not here or not here <= set(classes):
            continue
        text = np.array([str(label) for label in given])
        known = np.isin(text, classes)
        positive = classes[1] if classes[1] in here else classes[0]
        means = [training[text == label].mean(axis=0) for label in classes]
        if not np.any(means[0] != means[1]):  # no direction leads from one class to the other
            continue
        direction = class_mean_direction(training[known], text[known], positive)
        sides = [mean @ direction for mean in means]
        for border, at in (("0", 0.0), ("midpoint", float(np.mean(sides)))):
            rng = generator(seed, "evaluate", "classes", name, border)
            _, result = sign_classification(predicted @ direction, labels[name], positive, n_permutations, rng, at)
            _, ceiling = sign_classification(true @ direction, labels[name], positive, 1, rng, at)
            found = result.row()
            rows.append({"label": name, "positive": positive, "border": border, "accuracy": found.pop("statistic"),
                         "accuracy_true": ceiling.statistic, **found})  # fmt: skip
    return pd.DataFrame(rows)


def space_table(
    true: np.ndarray, predicted: np.ndarray, others: Mapping[str, np.ndarray], *, n_permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Compare which stimuli lie near each other: decoded against true latents, and the true ones in other spaces.

    Parameters
    ----------
    true, predicted : (n_stimuli, n_latents), one row a test stimulus
    others : label of another latent space -> (n_stimuli, k) of the same stimuli

    Returns
    -------
    DataFrame
        ``first  second  r  p_value  p_method  n  unit  n_permutations``, a row for every pair.
    """
    import pandas as pd

    pairs = [("decoded latents", "true latents", predicted, true)]
    pairs += [("true latents", f"latent space {name}", true, values) for name, values in others.items()]
    pairs += [("decoded latents", f"latent space {name}", predicted, values) for name, values in others.items()]
    rows = []
    for first, second, a, b in pairs:
        found = mantel_test(a, b, n_permutations, generator(seed, "evaluate", "mantel", first, second)).row()
        rows.append({"first": first, "second": second, "r": found.pop("statistic"), **found})
    return pd.DataFrame(rows)
