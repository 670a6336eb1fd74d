"""z with the same tail probability as t, exact in both tails and without saturation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

TABLE_END = 60.0
"""Beyond this |t| values are computed one by one instead of looked up."""

N_KNOTS = 1 << 16

DEGREE = 6
"""Of the polynomial that replaces the table where |t| is small."""

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


@lru_cache(maxsize=64)
def _series(dof: float) -> tuple[float, np.ndarray]:
    """Return the t up to which ``z / t`` is a polynomial in ``t^2``, and its coefficients, the highest first.

    z / t is smooth in ``t^2``, with its nearest singularity at ``-dof``: over ``t^2 <= 2 dof / 7`` its
    Chebyshev series loses a factor of 14 with each degree, so that degree 6 is exact to float32.
    """
    end = 2.0 * dof / 7.0
    nodes = 0.5 * end * (1.0 + np.cos(np.pi * (np.arange(32) + 0.5) / 32))
    ratio = exact_z(np.sqrt(nodes), dof) / np.sqrt(nodes)
    series = np.polynomial.Chebyshev.fit(nodes, ratio, DEGREE, domain=[0.0, end])
    power = series.convert(kind=np.polynomial.Polynomial)
    return float(np.sqrt(end)), power.coef[::-1].astype(np.float32)


def z_from_t(t: np.ndarray, dof: float, out: np.ndarray | None = None) -> np.ndarray:
    """Convert t to z: float64 by linear interpolation in a table per dof, float32 by a polynomial where |t| is small.

    The error is below 1e-6, and in float32 that of float32.

    Parameters
    ----------
    t : array of any shape; float32 is worked on in float32
    dof : residual degrees of freedom of the model, positive
    out : where to put z, of t's shape and dtype (may be t)

    Returns
    -------
    array of t's shape and dtype. NaN stays NaN.
    """
    t = np.asarray(t)
    dtype = t.dtype if t.dtype == np.float32 else np.dtype(np.float64)
    t = t.astype(dtype, copy=False)
    z = np.empty(t.shape, dtype) if out is None else out
    if dtype == np.float64:
        flat = np.ascontiguousarray(t).reshape(-1)
        z[...] = _looked_up(flat, dof).reshape(t.shape)
        return z
    end, (highest, *coefficients) = _series(float(dof))
    with np.errstate(invalid="ignore", over="ignore"):  # where the polynomial does not hold the table replaces it
        square = t * t
        ratio = square * highest
        for coefficient in coefficients[:-1]:
            ratio += coefficient
            ratio *= square
        ratio += coefficients[-1]
        far = square > np.float32(end * end)
        beyond = t[far] if far.any() else None
        np.multiply(ratio, t, out=z)
    if beyond is not None:
        z[far] = _looked_up(beyond, dof)
    return z


def _looked_up(t: np.ndarray, dof: float) -> np.ndarray:
    """z of a flat array by the table, and one by one beyond it."""
    table = tuple(values.astype(t.dtype) for values in _table(float(dof)))
    z = np.empty_like(t)
    for start in range(0, len(t), CHUNK):
        _interpolate(t[start : start + CHUNK], *table, z[start : start + CHUNK])
    far = np.flatnonzero(~(np.abs(t) < TABLE_END))
    if len(far):
        known = far[~np.isnan(t[far])]
        z[far] = np.nan
        z[known] = exact_z(t[known].astype(np.float64), dof)
    return z


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
