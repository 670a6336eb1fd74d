"""Identification among more and more candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hyper_bids.report.canvas import BLUE, GREY, ORANGE, Drawing, draw, new_figure, style


def curve_figure(
    ks: Sequence[int], mean: np.ndarray, sem: np.ndarray, null: np.ndarray | None, n_stimuli: int
) -> Drawing:
    """Draw the share of right answers over the number of candidates, both axes logarithmic.

    Parameters
    ----------
    ks : numbers of candidates, the target among them
    mean, sem : (k,) over stimuli
    null : (2, k) 2.5th and 97.5th percentile of the mean with permuted labels, or None
    n_stimuli : over how many stimuli the mean is
    """
    ks = np.asarray(ks)
    floor = 0.4 / ks[-1]
    with style():
        figure = new_figure(440, 320)
        axes = figure.subplots()
        if null is not None:
            low, high = np.maximum(null, floor)
            said = "permuted labels, middle 95 %"
            axes.fill_between(ks, low, high, color=ORANGE, alpha=0.25, linewidth=0, label=said)
        axes.plot(ks, 1 / ks, color=GREY, linestyle=":", linewidth=1.4, label="chance 1 / k")
        bars = [mean - np.maximum(mean - sem, floor), np.minimum(mean + sem, 1) - mean]
        axes.errorbar(ks, mean, yerr=np.maximum(np.nan_to_num(bars), 0), fmt="o-", color=BLUE, markersize=5,
                      linewidth=1.4, capsize=2.5, label="observed, mean and s.e.m.")  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(floor, 1.25)
        axes.set_xticks(ks, [str(k) for k in ks])
        shares = [share for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if share >= floor]
        axes.set_yticks(shares, [f"{100 * share:g} %" for share in shares])
        axes.minorticks_off()
        axes.set_xlabel("candidates k, the target among them")
        axes.set_ylabel(f"identified (n = {n_stimuli} stimuli)")
        axes.grid(color="#eef0f3")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=1)
        return draw(figure)
