"""The design of a run: what was modelled, and what can be told apart."""

from __future__ import annotations

import numpy as np

from hyper_bids.report.canvas import GREY, Drawing, draw, new_figure, style
from hyper_bids.report.nuisance import neighbours

MOST_NAMES = 20
"""Nuisance regressors that are named one by one; of more, those of a kind that stand together have one name."""

TRIALS = ("Trials", "trials", "{} trials, in order")
SHARED = ("Shared by all runs", "shared", "{} regressors: training, others, test stimuli, latents")
"""What the columns left of the nuisance are: heading, short name, label with their number."""


def design_figure(
    trials: np.ndarray, nuisance: np.ndarray, names: list[str], times: np.ndarray, words: tuple[str, str, str] = TRIALS
) -> Drawing:
    """Draw the design matrix, time downwards; every column is scaled to its largest absolute value.

    Parameters
    ----------
    trials : (n_volumes, n_trials)
    nuisance : (n_volumes, n_nuisance), named by ``names``
    times : (n_volumes,) s
    words : what ``trials`` are: single trials, or the regressors of a model over all runs
    """
    step = float(times[1] - times[0]) if len(times) > 1 else 1.0
    extent = (times[0] - step / 2, times[-1] + step / 2)
    with style():
        figure = new_figure(540, 470)
        share = float(np.clip(14 * nuisance.shape[1], 90, 270)) / 500
        left, right = figure.subplots(1, 2, width_ratios=[1 - share, share], sharey=True)
        for axes, part in ((left, trials), (right, nuisance)):
            scale = np.abs(part).max(axis=0, initial=0)
            shown = part / np.where(scale > 0, scale, 1)
            axes.imshow(
                shown, aspect="auto", interpolation="nearest", cmap="RdBu_r", vmin=-1, vmax=1,
                extent=(-0.5, max(1, part.shape[1]) - 0.5, extent[1], extent[0]),
            )  # fmt: skip
            for spine in axes.spines.values():
                spine.set_visible(True)
        left.set_xlabel(words[2].format(trials.shape[1]))
        left.set_ylabel("time (s)")
        left.set_title(words[0])
        right.set_title("Nuisance")
        ticks = list(enumerate(names)) if len(names) <= MOST_NAMES else neighbours(names)
        right.set_xticks([place for place, _ in ticks], [name for _, name in ticks], rotation=90, fontsize=7)
        right.tick_params(axis="y", length=0)
        return draw(figure, ".png")


def correlation_figure(
    trials: np.ndarray, nuisance: np.ndarray, words: tuple[str, str, str] = TRIALS
) -> Drawing:
    """Draw the correlations of all regressors that vary: trials first, then nuisance, parted by a line.

    Parameters
    ----------
    trials, nuisance : (n_volumes, n) regressors
    words : as for `design_figure`
    """
    matrix = np.hstack([trials, nuisance])
    varies = matrix.std(axis=0) > 1e-12
    n_trials = int(varies[: trials.shape[1]].sum())
    correlation = np.atleast_2d(np.corrcoef(matrix[:, varies], rowvar=False))
    n = len(correlation)
    with style():
        figure = new_figure(480, 470)
        axes = figure.subplots()
        image = axes.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        if 0 < n_trials < n:
            axes.axhline(n_trials - 0.5, color=GREY, linewidth=0.8)
            axes.axvline(n_trials - 0.5, color=GREY, linewidth=0.8)
            places = [(n_trials - 1) / 2, (n_trials + n - 1) / 2]
            axes.set_xticks(places, [words[1], "nuisance"])
            axes.set_yticks(places, [words[1], "nuisance"], rotation=90, va="center")
            axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(True)
        figure.colorbar(image, ax=axes, label="Pearson r", shrink=0.7)
        return draw(figure, ".png")


def neighbour_correlation(trials: np.ndarray) -> float:
    """Return the mean correlation of each trial's regressor with the next one's; NaN for fewer than two."""
    varying = trials[:, trials.std(axis=0) > 1e-12] if trials.size else trials
    if varying.shape[1] < 2:
        return float("nan")
    centred = varying - varying.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=0)
    return float((unit[:, :-1] * unit[:, 1:]).sum(axis=0).mean())
