"""z with the same tail probability as t, exact in both tails and without saturation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

TABLE_END = 60.0
"""Beyond this |t| values are computed one by one instead of looked up."""

N_KNOTS = 1 << 16

CHUNK = 1 << 16
"""Values that are interpolated at a time, so that what is in between stays in cache."""


def log_tail(t: np.ndarray, dof: float) -> np.ndarray:
    """Log of the upper tail probability of Student's t for ``t >= 0``.

    ``P(T > t) = I_x(dof/2, 1/2) / 2`` with ``x = dof / (dof + t^2)`` (DLMF 8.17); where
    that underflows, ``log I_x(a, b) = a log x + b log(1-x) - log a - log B(a, b)
    + log 2F1(a + b, 1; a + 1; x)`` (DLMF 8.17.8).
    """
    from scipy.special import betainc, betaln, hyp2f1

    t = np.asarray(t, dtype=float)
    a, b = dof / 2.0, 0.5
    x = dof / (dof + t * t)
    with np.errstate(divide="ignore"):
        direct = np.log(0.5 * betainc(a, b, x))
    far = direct < -600.0
    if far.any():
        xf = x[far]
        direct[far] = (
            a * np.log(xf) + b * np.log1p(-xf) - np.log(a) - betaln(a, b) - np.log(2.0)
            + np.log(hyp2f1(a + b, 1.0, a + 1.0, xf))
        )
    return direct


def exact_z(t: np.ndarray, dof: float) -> np.ndarray:
    """Return z for each t, without a table (the reference for `z_from_t`)."""
    from scipy.special import ndtri_exp

    t = np.asarray(t, dtype=float)
    return np.sign(t) * -ndtri_exp(log_tail(np.abs(t), dof))


@lru_cache(maxsize=64)
def _table(dof: float) -> tuple[np.ndarray, np.ndarray]:
    """z at the knots, and the steps to the next knot."""
    knots = exact_z(np.linspace(0.0, TABLE_END, N_KNOTS), dof)
    knots[0] = 0.0
    steps = np.append(np.diff(knots), 0.0)
    return knots, steps


def z_from_t(t: np.ndarray, dof: float) -> np.ndarray:
    """Convert t to z by linear interpolation in a table per dof (error below 1e-6).

    Parameters
    ----------
    t : array of any shape; float32 is worked on in float32, whose own rounding is then the error
    dof : residual degrees of freedom of the model, positive

    Returns
    -------
    array of t's shape and dtype. NaN stays NaN.
    """
    t = np.asarray(t)
    dtype = t.dtype if t.dtype == np.float32 else np.dtype(np.float64)
    table = tuple(values.astype(dtype) for values in _table(float(dof)))
    flat = np.ascontiguousarray(t, dtype=dtype).reshape(-1)
    z = np.empty_like(flat)
    for start in range(0, len(flat), CHUNK):
        _interpolate(flat[start : start + CHUNK], *table, z[start : start + CHUNK])
    far = np.flatnonzero(~(np.abs(flat) < TABLE_END))
    if len(far):
        known = far[~np.isnan(flat[far])]
        z[far] = np.nan
        z[known] = exact_z(flat[known].astype(np.float64), dof)
    return z.reshape(t.shape)


def _interpolate(t: np.ndarray, knots: np.ndarray, steps: np.ndarray, out: np.ndarray) -> None:
    position = np.abs(t)
    position *= (N_KNOTS - 1) / TABLE_END
    with np.errstate(invalid="ignore"):  # NaN and what lies beyond the table are mended by the caller
        below = np.minimum(position, N_KNOTS - 1).astype(np.int32)
    np.clip(below, 0, N_KNOTS - 1, out=below)
    position -= below
    position *= steps[below]
    position += knots[below]
    np.copysign(position, t, out=out)
