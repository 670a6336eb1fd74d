"""Edits along attributes: conditional boundaries and moves in latent space (InterFaceGAN, Shen et al. 2020).

A boundary is the unit normal ``n`` of a hyperplane through 0; the score of a latent is ``z . n``. There is no
intercept, so a score of 0 is not the border between two classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from hyper_bids.errors import InconsistentInput, UsageError, did_you_mean, listing

LEAST_LEFT = 1e-6
"""Length of a unit normal after projection below which nothing of it is left."""


def conditional_boundary(primary: np.ndarray, conditions: Sequence[np.ndarray]) -> np.ndarray:
    """Return the unit normal of ``primary`` with the conditions projected out.

    A move along it leaves the scores of all conditions as they are. With one condition ``c`` it is
    ``p - (p . c) c`` over its length; with several, what their span leaves of ``p`` (Shen et al. 2020, section 3.2).

    Parameters
    ----------
    primary : (n_latents,)
    conditions : of (n_latents,)

    Raises
    ------
    InconsistentInput
        Another dimension, a normal that is zero or not finite, or a primary that lies in the conditions' span.
    """
    primary = _unit(primary, "the boundary", np.size(primary))
    if not len(conditions):
        return primary
    others = np.stack([_unit(condition, "a condition", len(primary)) for condition in conditions])
    left = primary - np.linalg.lstsq(others.T, primary, rcond=None)[0] @ others
    length = np.linalg.norm(left)
    if length < LEAST_LEFT:
        raise InconsistentInput("Nothing is left of the boundary once the conditions are projected out of it.")
    return left / length


def moved_to(latents: np.ndarray, boundary: np.ndarray, distance: float | np.ndarray) -> np.ndarray:
    """Return ``z + (d - z . n) n``: latents moved along the unit normal *to* a distance from its hyperplane.

    This is InterFaceGAN's ``linear_interpolate``.

    Parameters
    ----------
    latents : (n, n_latents)
    boundary : (n_latents,)
    distance : number, or (n,)

    Returns
    -------
    (n, n_latents) float64

    Raises
    ------
    InconsistentInput
        The dimensions differ, or the boundary is zero or not finite.
    """
    values, normal = _checked(latents, boundary)
    return values + (np.asarray(distance, dtype=np.float64) - values @ normal)[:, None] * normal


def moved_by(latents: np.ndarray, boundary: np.ndarray, step: float | np.ndarray) -> np.ndarray:
    """Return ``z + s n``: latents moved *by* a step along the unit normal; shapes and errors as `moved_to`."""
    values, normal = _checked(latents, boundary)
    return values + np.broadcast_to(np.asarray(step, dtype=np.float64), len(values))[:, None] * normal


def edited(
    latents: np.ndarray, edits: Sequence[str], boundaries: Mapping[str, np.ndarray], keep: Sequence[str] = ()
) -> np.ndarray:
    """Apply edits one after the other.

    Parameters
    ----------
    latents : (n, n_latents)
    edits : of ``NAME=VALUE`` (move to this distance) or ``NAME+=VALUE`` (move by this much)
    boundaries : name -> (n_latents,)
    keep : names of attributes whose scores the edits must not change: their boundaries are projected out

    Raises
    ------
    UsageError
        An edit that cannot be read, or a name without a boundary.
    InconsistentInput
        As `conditional_boundary` and `moved_to`.
    """
    conditions = [_known(name, boundaries) for name in keep]
    for edit in edits:
        name, relative, value = parse_edit(edit)
        if name in keep:
            raise UsageError(f"--edit {edit}: {name} is to be kept as it is (--keep).")
        try:
            normal = conditional_boundary(_known(name, boundaries), conditions)
        except InconsistentInput as error:
            raise InconsistentInput(f"--edit {edit}: {error}") from error
        latents = (moved_by if relative else moved_to)(latents, normal, value)
    return np.asarray(latents, dtype=np.float64)


def parse_edit(text: str) -> tuple[str, bool, float]:
    """Return name, whether the value is relative, and the value.

    >>> parse_edit("smile=2.5"), parse_edit("age+=-1")
    (('smile', False, 2.5), ('age', True, -1.0))

    Raises
    ------
    UsageError
    """
    found = re.fullmatch(r"([^=+]+)(\+?)=(.+)", text)
    try:
        value = float(found[3]) if found else float("nan")
    except ValueError:
        value = float("nan")
    if found is None or not np.isfinite(value):
        raise UsageError(f"--edit {text}: write NAME=VALUE (move to) or NAME+=VALUE (move by), as in smile=3.")
    return found[1], bool(found[2]), value


def _known(name: str, boundaries: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in boundaries:
        raise UsageError(
            f"No boundary of attribute {name!r}.{did_you_mean(name, boundaries)} There are: {listing(boundaries, 20)}. "
            f"Give its file with --attributes."
        )
    return boundaries[name]


def _checked(latents: np.ndarray, boundary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(latents, dtype=np.float64)
    if values.ndim != 2:
        raise InconsistentInput(f"Latents to be edited must be (n, n_latents), got {values.shape}.")
    return values, _unit(boundary, "the boundary", values.shape[1])


def _unit(normal: np.ndarray, what: str, n_latents: int) -> np.ndarray:
    values = np.asarray(normal, dtype=np.float64).reshape(-1)
    length = np.linalg.norm(values)
    if len(values) != n_latents or not np.isfinite(length) or length == 0:
        raise InconsistentInput(f"{what.capitalize()} needs {n_latents} finite numbers, not all 0; got {len(values)}.")
    return values / length
