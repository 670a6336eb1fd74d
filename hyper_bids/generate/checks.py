"""The check that every generator makes of the latents that it is given."""

from __future__ import annotations

import numpy as np

from hyper_bids.errors import InconsistentInput


def checked_latents(latents: np.ndarray, n_latents: int, name: str) -> np.ndarray:
    """Return the latents as float32 ``(n, n_latents)``.

    Raises
    ------
    InconsistentInput
        Another shape, or a value that is not finite.
    """
    values = np.asarray(latents, dtype=np.float32)
    if values.ndim != 2 or values.shape[1] != n_latents:
        raise InconsistentInput(f"Generator {name} needs latents of shape (n, {n_latents}), got {values.shape}.")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise InconsistentInput(f"Generator {name}: the latents of row {row} are not finite.")
    return values
