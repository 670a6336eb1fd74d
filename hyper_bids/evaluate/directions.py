"""Attribute directions of a latent space: from two classes, and in closed form from a generator's weights.

Hyperplanes of a trained SVM (InterFaceGAN) come as files; `attributes` projects onto any of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyper_bids.errors import InconsistentInput, listing


def class_mean_direction(latents: np.ndarray, labels: Sequence[object], positive: object) -> np.ndarray:
    """Mean latent of one class minus that of the others, to unit length (VAE-GAN: male minus female).

    Parameters
    ----------
    latents : (n, n_latents)
    labels : n labels, of two classes
    positive : the label whose mean the direction points to

    Returns
    -------
    (n_latents,)

    Raises
    ------
    InconsistentInput
        Not two classes, or equal means.
    """
    latents, labels = np.asarray(latents, dtype=np.float64), np.array([str(label) for label in labels])
    classes = sorted(set(labels))
    if len(labels) != len(latents) or len(classes) != 2 or str(positive) not in classes:
        raise InconsistentInput(
            f"A class-mean direction needs {len(latents)} labels of two classes, one of them {str(positive)!r}; "
            f"got {len(labels)} labels: {listing(classes)}."
        )
    of_class = labels == str(positive)
    difference = latents[of_class].mean(axis=0) - latents[~of_class].mean(axis=0)
    length = np.linalg.norm(difference)
    if not length > 0.0:
        raise InconsistentInput(f"The classes {listing(classes)} have the same mean latent: no direction.")
    return difference / length


def closed_form_directions(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions that change a generator's first layer most (SeFa: Shen & Zhou 2021, CVPR).

    Eigenvectors of A A', A the weight of the first dense layer with its columns scaled to unit length.

    Parameters
    ----------
    weight : (n_latents, n_outputs)

    Returns
    -------
    directions : (n_latents, n_latents)
        Row i the i-th direction, of unit length, its largest component positive (the sign is arbitrary).
    eigenvalues : (n_latents,), descending

    Raises
    ------
    InconsistentInput
        Not a finite matrix. Columns of zeros stay zero.
    """
    weight = np.asarray(weight, dtype=np.float64)
    if weight.ndim != 2 or not np.isfinite(weight).all():
        raise InconsistentInput(f"Closed-form directions need a finite weight (latents x outputs), got {weight.shape}.")
    length = np.linalg.norm(weight, axis=0)
    unit = weight / np.where(length > 0, length, 1.0)
    values, vectors = np.linalg.eigh(unit @ unit.T)
    directions = vectors.T[::-1]
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    return directions * np.sign(largest)[:, None], values[::-1]
