"""How reliable the recordings are: noise ceilings of the voxels, and stimuli told apart from single responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hyper_bids.report.canvas import BLUE, FOLD, GREY, Drawing, draw, new_figure, style


def ceilings_figure(brain: np.ndarray, seen: np.ndarray) -> Drawing:
    """Draw how noise ceilings are distributed over voxels: all of the brain, and those that were decoded.

    Parameters
    ----------
    brain : (n_voxels,) share of variance, 0 to 1; NaN where undefined
    seen : (n_voxels,) bool
    """
    edges = np.linspace(0, 1, 41)
    known = np.isfinite(brain)
    with style():
        figure = new_figure(440, 300)
        axes = figure.subplots()
        parts = [(brain[known], FOLD, "brain mask", {"alpha": 0.6})]
        if (known & seen).sum() < known.sum():
            parts.append((brain[known & seen], BLUE, "decoded", {"histtype": "step", "linewidth": 1.6}))
        for values, colour, name, drawn in parts:
            if not values.size:
                continue
            label = f"{name}: median {np.median(values):.2f} (n = {len(values)} voxels)"
            weights = np.full(len(values), 100 / len(values))
            axes.hist(values, edges, weights=weights, color=colour, label=label, **drawn)
            axes.axvline(np.median(values), color=GREY if colour == FOLD else colour, linestyle="--", linewidth=1.2)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("noise ceiling: share of variance that stimuli can explain")
        axes.set_ylabel("voxels (%)")
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left")
        return draw(figure)


def recordings_figure(rows: Sequence[Mapping[str, float]], n_stimuli: int) -> Drawing:
    """Draw how many stimuli are named rightly after training on m repetitions; mean and sd over repetitions left out.

    Parameters
    ----------
    rows : m, accuracy, sd (NaN or None where there is none), chance
    n_stimuli : among how many
    """
    m, accuracy, chance = (np.array([row[name] for row in rows], dtype=float) for name in ("m", "accuracy", "chance"))
    spread = np.nan_to_num(np.array([row["sd"] for row in rows], dtype=float))
    with style():
        figure = new_figure(440, 300)
        axes = figure.subplots()
        low, high = np.maximum(accuracy - spread, 0), np.minimum(accuracy + spread, 1)
        bars = np.stack([accuracy - low, high - accuracy])
        axes.errorbar(m, accuracy, yerr=bars, fmt="o-", color=BLUE, markersize=6, linewidth=1.4, capsize=3,
                      label="single responses, mean and sd")  # fmt: skip
        axes.axhline(chance[0], color=GREY, linestyle=":", linewidth=1.4, label=f"chance {chance[0]:.3g}")
        axes.set_ylim(0, 1.04)
        axes.set_xticks(m, [f"{value:g}" for value in m])
        axes.set_xlabel("repetitions of every stimulus trained on")
        axes.set_ylabel(f"share named rightly (n = {n_stimuli} stimuli)")
        axes.grid(axis="y", color="#eef0f3")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=2)
        return draw(figure)
