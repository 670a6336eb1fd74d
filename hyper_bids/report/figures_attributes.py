"""Attributes: true against predicted scores (as Fig. 9 of Dado et al. 2022)."""

from __future__ import annotations

import numpy as np

from hyper_bids.report.canvas import BLUE, GREY, WIDTH, Drawing, draw, new_figure, style

COLUMNS = 2


def attributes_figure(scores: dict[str, tuple[np.ndarray, np.ndarray]], titles: dict[str, str]) -> Drawing:
    """Draw one scatter per attribute, a dot a test stimulus, with the least-squares line.

    Parameters
    ----------
    scores : attribute -> true (n,), predicted (n,)
    titles : attribute -> title, with r and p
    """
    names = list(scores)
    n_rows = -(-len(names) // COLUMNS)
    with style():
        figure = new_figure(WIDTH, 40 + 225 * n_rows)
        every = figure.subplots(n_rows, COLUMNS, squeeze=False).ravel()
        for axes, name in zip(every, names, strict=False):
            true, predicted = scores[name]
            axes.axhline(0, color="#eef0f3", zorder=0)
            axes.axvline(0, color="#eef0f3", zorder=0)
            axes.scatter(true, predicted, s=22, color=BLUE, alpha=0.85, linewidth=0)
            if len(true) > 2 and np.ptp(true) > 0:
                slope, intercept = np.polyfit(true, predicted, 1)
                ends = np.array([true.min(), true.max()])
                axes.plot(ends, intercept + slope * ends, color=GREY, linewidth=1.2)
            axes.set_title(titles[name])
            axes.set_xlabel("true")
            axes.set_ylabel("predicted")
        for axes in every[len(names) :]:
            axes.set_visible(False)
        return draw(figure)
