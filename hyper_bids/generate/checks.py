"""The check that every generator makes of the latents that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput

if TYPE_CHECKING:
    import torch


def checked_shape(latents: np.ndarray | torch.Tensor, n_latents: int, name: str) -> None:
    """Refuse latents that are not ``(n, n_latents)``.

    Raises
    ------
    InconsistentInput
    """
    if latents.ndim != 2 or latents.shape[1] != n_latents:
        raise InconsistentInput(
            f"Generator {name} needs latents of shape (n, {n_latents}), got {tuple(latents.shape)}."
        )


def checked_latents(latents: np.ndarray, n_latents: int, name: str) -> np.ndarray:
    """Return the latents as float32 ``(n, n_latents)``.

    Raises
    ------
    InconsistentInput
        Another shape, or a value that is not finite.
    """
    values = np.asarray(latents, dtype=np.float32)
    checked_shape(values, n_latents, name)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise InconsistentInput(f"Generator {name}: the latents of row {row} are not finite.")
    return values
