"""Attributes: true against predicted scores (as Fig. 9 of Dado et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hyper_bids.report.canvas import BESIDE, BLUE, GREY, Drawing, draw, new_figure, short_headings, style

COLUMNS = 2
LONGEST, LONGEST_WIDE = 20, 36
"""Characters of an attribute's name, at most: its title is bold. Above the bars there is more room."""


def attributes_figure(scores: dict[str, tuple[np.ndarray, np.ndarray]], titles: dict[str, str]) -> Drawing:
    """Draw one scatter per attribute, a dot a test stimulus, with the least-squares line.

    Parameters
    ----------
    scores : attribute -> true (n,), predicted (n,)
    titles : attribute -> title, with r and p
    """
    n_rows = -(-len(scores) // COLUMNS)
    headings = short_headings([titles[name] for name in scores], LONGEST)
    with style():
        figure = new_figure(BESIDE, 40 + 225 * n_rows)
        every = figure.subplots(n_rows, COLUMNS, squeeze=False).ravel()
        for axes, heading, (true, predicted) in zip(every, headings, scores.values(), strict=False):
            axes.axhline(0, color="#eef0f3", zorder=0)
            axes.axvline(0, color="#eef0f3", zorder=0)
            axes.scatter(true, predicted, s=22, color=BLUE, alpha=0.85, linewidth=0)
            if len(true) > 2 and np.ptp(true) > 0:
                slope, intercept = np.polyfit(true, predicted, 1)
                ends = np.array([true.min(), true.max()])
                axes.plot(ends, intercept + slope * ends, color=GREY, linewidth=1.2)
            axes.set_title(heading)
            axes.set_xlabel("true")
            axes.set_ylabel("predicted")
        for axes in every[len(scores) :]:
            axes.set_visible(False)
        return draw(figure)


MOST_BARS = 40
"""Stimuli with bars; of more, these many evenly spaced in the order of their true scores."""


def attribute_bars_figure(scores: Mapping[str, tuple[np.ndarray, np.ndarray]], titles: Mapping[str, str]) -> Drawing:
    """Draw true and predicted scores of every stimulus as bars, a panel per attribute (HYPER, Fig. 8).

    Parameters
    ----------
    scores : attribute -> true (n,), predicted (n,)
    titles : attribute -> title
    """
    headings = short_headings([titles[name] for name in scores], LONGEST_WIDE)
    with style():
        figure = new_figure(BESIDE, 56 + 118 * len(scores))
        every = figure.subplots(len(scores), 1, squeeze=False)[:, 0]
        for axes, heading, (true, predicted) in zip(every, headings, scores.values(), strict=True):
            order = np.argsort(true, kind="stable")
            if len(order) > MOST_BARS:
                order = order[np.round(np.linspace(0, len(order) - 1, MOST_BARS)).astype(int)]
            x = np.arange(len(order))
            said = ("true", "predicted") if axes is every[0] else (None, None)
            axes.bar(x - 0.2, true[order], width=0.4, color=GREY, label=said[0])
            axes.bar(x + 0.2, predicted[order], width=0.4, color=BLUE, label=said[1])
            axes.axhline(0, color="#9aa3af", linewidth=0.8)
            axes.set_title(heading.replace("\n", ": "), fontsize=8.5)
            axes.set_ylabel("score")
            axes.set_xticks([])
            axes.margins(x=0.01)
        every[-1].set_xlabel(f"test stimuli in the order of their true scores (n = {len(order)} shown)")
        figure.legend(loc="outside upper left", ncols=2)
        return draw(figure)
