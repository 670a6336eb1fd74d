"""Products over many voxels, in float64, a block of voxels at a time.

Weights and responses of a whole brain are kept in the precision they came in (float32 in
the app); what is made from them is summed in float64 without a float64 copy of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hyper_bids.errors import InconsistentInput

BLOCK_VALUES = 2_000_000
"""Values of a float64 block of a product of matrices (16 MB)."""

ROW_VALUES = 2**16
"""Values of a float64 block (0.5 MB) that stays in the core's own cache while rows pass, one by one."""


def voxel_blocks(n_voxels: int, n_rows: int, n_values: int = BLOCK_VALUES) -> Iterator[slice]:
    """Yield slices of consecutive voxels, so many that a block of ``n_rows`` rows has ``n_values`` values."""
    step = max(64, n_values // max(n_rows, 1))
    for start in range(0, n_voxels, step):
        yield slice(start, min(start + step, n_voxels))


def gram(weights: np.ndarray, keep: np.ndarray | None = None, scale: np.ndarray | None = None) -> np.ndarray:
    """Return ``W W'`` (n_rows, n_rows) float64 of ``W`` (n_rows, n_voxels).

    Parameters
    ----------
    keep : (n_voxels,) bool, the voxels that count; None: all
    scale : (n_voxels,) factors of the columns; None: ones
    """
    total = np.zeros((len(weights), len(weights)))
    for block in voxel_blocks(weights.shape[1], len(weights)):
        part = weights[:, block].astype(np.float64, copy=False)
        part = part if scale is None else part * scale[block]
        part = part if keep is None or keep[block].all() else part[:, keep[block]]
        total += part @ part.T
    return total


def project(weights: np.ndarray, X: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
    """Return ``X W'`` (n, n_rows) float64, over the voxels where ``keep`` is true.

    Every row on its own: a matrix product of many rows rounds differently from one of few, and
    a prediction must not change with the trials beside it.
    """
    out = np.zeros((len(X), len(weights)))
    for block in voxel_blocks(weights.shape[1], len(weights), ROW_VALUES):
        part, here = weights[:, block].astype(np.float64, copy=False), X[:, block].astype(np.float64, copy=False)
        if keep is not None and not keep[block].all():
            part, here = part[:, keep[block]], here[:, keep[block]]
        for row, response in enumerate(here):
            out[row] += part @ response
    return out


def training_arrays(X: np.ndarray, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return responses (float32 stays float32, else float64) and latents (float64) after a check of their shapes.

    Raises
    ------
    InconsistentInput
        Not two tables of as many rows, fewer than two rows, or latents that are not finite.
    """
    X, Z = real(X), np.asarray(Z, dtype=np.float64)
    if X.ndim != 2 or Z.ndim != 2 or len(X) != len(Z):
        raise InconsistentInput(f"A decoder needs as many responses as latents, got arrays {X.shape} and {Z.shape}.")
    if len(X) < 2:
        raise InconsistentInput(f"A decoder needs at least 2 training trials, got {len(X)}.")
    if not np.isfinite(Z).all():
        raise InconsistentInput(f"{int((~np.isfinite(Z)).any(axis=1).sum())} training trials have latents that are "
                                "not finite; leave these stimuli out or repair the latent file.")  # fmt: skip
    return X, Z


def responses_array(X: np.ndarray, n_voxels: int) -> np.ndarray:
    """Return responses (n, n_voxels) after a check.

    Raises
    ------
    InconsistentInput
        Another number of voxels than the decoder was fitted on.
    """
    X = real(X)
    if X.ndim != 2 or X.shape[1] != n_voxels:
        raise InconsistentInput(f"The decoder was fitted on {n_voxels} voxels, got an array {X.shape}.")
    return X


def real(values: np.ndarray) -> np.ndarray:
    """Return float32 as it is, and every other type as float64."""
    values = np.asarray(values)
    return values if values.dtype == np.float32 else values.astype(np.float64, copy=False)
