"""Are stimuli that lie far from all that was trained on decoded worse? Score over distance."""

from __future__ import annotations

import numpy as np

from hyper_bids.report.canvas import BLUE, GREY, Drawing, draw, new_figure, style

POINTS = 60
"""Of the drawn line and its interval."""


def fitted_line(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares line of y on x with the half width of its pointwise 95 % confidence interval.

    ``t(0.975, n - 2) s sqrt(1 / n + (at - mean x)^2 / sum (x - mean x)^2)``, s^2 the residual sum of squares over
    n - 2 (Draper & Smith 1998, Applied Regression Analysis, 3rd ed., section 1.4).

    Parameters
    ----------
    x, y : (n,), n > 2, x not constant
    at : (m,) where

    Returns
    -------
    line, half : (m,)
    """
    from scipy.stats import t

    along = x - x.mean()
    squares = float((along**2).sum())
    slope = float((along * y).sum()) / squares
    residual = float(((y - y.mean() - slope * along) ** 2).sum()) / (len(x) - 2)
    half = t.ppf(0.975, len(x) - 2) * np.sqrt(residual * (1 / len(x) + (at - x.mean()) ** 2 / squares))
    return y.mean() + slope * (at - x.mean()), half


def novelty_figure(distance: np.ndarray, score: np.ndarray, words: str, nearest: str = "training stimulus") -> Drawing:
    """Draw every test row's score over its distance to the nearest stimulus, with the line and its interval.

    Parameters
    ----------
    distance : (n,) Euclidean, in units of the latents
    score : (n,) latent correlation
    words : r, p and n, for the title
    nearest : what the distance is to
    """
    at = np.linspace(distance.min(), distance.max(), POINTS)
    line, half = fitted_line(distance, score, at)
    with style():
        figure = new_figure(440, 300)
        axes = figure.subplots()
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.fill_between(at, line - half, line + half, color=BLUE, alpha=0.18, linewidth=0, label="95 % interval")
        axes.plot(at, line, color=BLUE, linewidth=1.6, label="least-squares line")
        axes.scatter(distance, score, s=22 if len(score) <= 100 else 8, color=BLUE, alpha=0.85, linewidth=0,
                     label="test stimuli")  # fmt: skip
        axes.set_title(words, fontsize=8.5)
        axes.set_xlabel(f"distance to the nearest {nearest}\n(Euclidean, units of the latents)")
        axes.set_ylabel("latent correlation (r)")
        axes.grid(color="#eef0f3")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=3)
        return draw(figure)
