"""In which regions of an atlas the decoded voxels lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyper_bids.report.canvas import BLUE, FOLD, WIDTH, Drawing, draw, new_figure, short_names, style

LONGEST = 34
"""Characters of a region's name; the table has all of it."""


def regions_figure(names: Sequence[str], n_voxels: np.ndarray, n_selected: np.ndarray) -> Drawing:
    """Draw a pair of bars per region: its voxels, and those of them that were decoded.

    Parameters
    ----------
    names : m regions
    n_voxels, n_selected : (m,) voxels inside the brain mask, and those that the decoder saw
    """
    y = np.arange(len(names))
    with style():
        figure = new_figure(WIDTH, 70 + 20 * len(names))
        axes = figure.subplots()
        axes.barh(y, n_voxels, height=0.8, color=FOLD, alpha=0.55, label="in the region")
        axes.barh(y, n_selected, height=0.45, color=BLUE, label="of these decoded")
        for k, (all_of_it, some) in enumerate(zip(n_voxels, n_selected, strict=True)):
            axes.annotate(f"{some} of {all_of_it}", (all_of_it, k), xytext=(4, 0), textcoords="offset points",
                          va="center", fontsize=7.5)  # fmt: skip
        axes.set_yticks(y, short_names(names, LONGEST))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.margins(x=0.14)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("voxels")
        figure.legend(loc="outside upper left", ncols=2)
        return draw(figure)
