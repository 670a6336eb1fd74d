"""Which dimensions of the latent space are decoded."""

from __future__ import annotations

import numpy as np

from hyper_bids.report.canvas import BLUE, FOLD, Drawing, draw, new_figure, style

ALPHA = 0.05


def latents_figure(r: np.ndarray, p_fdr: np.ndarray, n_stimuli: int) -> Drawing:
    """Draw the correlation of every latent, the largest first; those that pass the false discovery rate in blue.

    Parameters
    ----------
    r : (n_latents,) over test stimuli
    p_fdr : (n_latents,) corrected p; NaN where it was not tested
    n_stimuli : over how many the correlations are
    """
    order = np.argsort(-np.nan_to_num(r, nan=-np.inf), kind="stable")
    r, passing = r[order], (p_fdr[order] <= ALPHA)
    ranks = np.arange(1, len(r) + 1)
    with style():
        figure = new_figure(440, 290)
        axes = figure.subplots()
        axes.axhline(0, color="#9aa3af", linewidth=0.8)
        size = 16 if len(r) <= 200 else 5
        for chosen, colour, marker, name in (
            (passing, BLUE, "o", f"p < {ALPHA} after FDR ({int(passing.sum())})"),
            (~passing, FOLD, "s", f"p ≥ {ALPHA} after FDR ({int((~passing).sum())})"),
        ):
            if chosen.any():
                axes.scatter(ranks[chosen], r[chosen], s=size, color=colour, marker=marker, linewidth=0, label=name)
        axes.set_xlabel(f"latents, sorted (n = {len(r)})")
        axes.set_ylabel(f"Pearson r over {n_stimuli} stimuli")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color="#eef0f3")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=2)
        return draw(figure)
