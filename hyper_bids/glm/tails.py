"""z with the same tail probability as t, exact in both tails and without saturation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

TABLE_END = 60.0
"""Beyond this |t| values are computed one by one instead of looked up."""

N_KNOTS = 1 << 16


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
def _table(dof: float) -> np.ndarray:
    knots = exact_z(np.linspace(0.0, TABLE_END, N_KNOTS), dof)
    knots[0] = 0.0
    knots.flags.writeable = False
    return knots


def z_from_t(t: np.ndarray, dof: float) -> np.ndarray:
    """Convert t to z by linear interpolation in a table per dof (error below 1e-6).

    Parameters
    ----------
    t : array of any shape
    dof : residual degrees of freedom of the model, positive

    Returns
    -------
    array of t's shape and dtype. NaN stays NaN.
    """
    t = np.asarray(t)
    table = _table(float(dof))
    position = np.abs(t).astype(np.float64, copy=False) * ((N_KNOTS - 1) / TABLE_END)
    far = position >= N_KNOTS - 1
    known = np.where(far | ~np.isfinite(position), 0.0, position)
    below = known.astype(np.int64)
    z = table[below] + (known - below) * (table[np.minimum(below + 1, N_KNOTS - 1)] - table[below])
    if far.any():
        z[far] = np.abs(exact_z(np.asarray(np.abs(t), dtype=float)[far], dof))
    return np.where(np.isnan(t), np.nan, np.copysign(z, t)).astype(t.dtype if t.dtype.kind == "f" else np.float64)
