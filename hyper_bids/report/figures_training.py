"""How a decoder learned: loss over epochs, and scores over the size of the training set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hyper_bids.report.canvas import BLUE, GREEN, GREY, ORANGE, Drawing, draw, new_figure, style

LOG_EPOCHS, LOG_LOSS = 100, 20
"""More epochs than this, and losses that differ by more than this factor, are drawn on a logarithmic axis."""

LINES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), ("#cc79a7", "D"), ("#56b4e9", "v"), ("#b8860b", "P"))
"""Colour and marker of each metric: told apart by either."""


def loss_figure(curves: Sequence[np.ndarray], best_epochs: Sequence[int | None]) -> Drawing:
    """Draw the loss of every fold over the epochs.

    Parameters
    ----------
    curves : per fold (n_epochs, 1 or 2): training loss and, where some trials were held out, theirs
    best_epochs : per fold the epoch (from 1) whose weights were kept; None: the last
    """
    thin = 1.6 if len(curves) == 1 else 0.8
    names = (("training", BLUE, "-"), ("held-out", ORANGE, "--"))
    with style():
        figure = new_figure(440, 310)
        axes = figure.subplots()
        for number, (curve, best) in enumerate(zip(curves, best_epochs, strict=True)):
            epochs = np.arange(1, len(curve) + 1)
            for column, (name, colour, line) in zip(curve.T, names, strict=False):
                label = f"{name} trials" if number == 0 else None
                axes.plot(epochs, column, color=colour, linestyle=line, linewidth=thin, label=label,
                          marker="o" if len(curve) == 1 else None)  # fmt: skip
            if best is not None and 1 <= best <= len(curve):
                label = "epoch whose weights were kept" if number == 0 else None
                axes.plot(best, curve[best - 1, -1], "o", color=ORANGE, markersize=7 if thin > 1 else 4,
                          markeredgecolor="white", zorder=4, label=label)  # fmt: skip
        values = np.concatenate([curve.ravel() for curve in curves])
        values = values[np.isfinite(values)]
        if values.size and values.min() > 0 and values.max() > LOG_LOSS * values.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        else:
            axes.set_ylim(bottom=0)
        if max(len(curve) for curve in curves) > LOG_EPOCHS:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss (in the units of the fit)")
        axes.grid(color="#eef0f3")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=2)
        return draw(figure)


def learning_figure(n_trials: Sequence[int], metrics: Mapping[str, np.ndarray]) -> Drawing:
    """Draw scores over the number of training trials, which doubles from tick to tick.

    Parameters
    ----------
    n_trials : k numbers, ascending
    metrics : long name -> (k,) values, NaN where there is none
    """
    with style():
        figure = new_figure(440, 300 + 17 * -(-len(metrics) // 2))
        axes = figure.subplots()
        for (name, values), (colour, marker) in zip(metrics.items(), LINES * len(metrics), strict=False):
            axes.plot(n_trials, values, color=colour, marker=marker, markersize=5.5, linewidth=1.4, label=name)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(n_trials), [str(n) for n in n_trials])
        axes.minorticks_off()
        axes.set_xlabel("training trials")
        axes.set_ylabel("mean over test stimuli")
        axes.grid(color="#eef0f3")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=2)
        return draw(figure)
