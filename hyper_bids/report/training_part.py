"""How a decoder learned, and what could be expected of it: loss, training-set size, noise ceiling, notices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hyper_bids.report.figures_training import learning_figure, loss_figure
from hyper_bids.report.gallery import FigureFolder, PlacedFigure
from hyper_bids.report.read import Result
from hyper_bids.report.scores import number
from hyper_bids.report.tables import Table
from hyper_bids.report.words import long_name


@dataclass
class TrainingPart:
    """Figures of losses and of the learning curve, the curve's table, and a sentence about noise."""

    figures: list[PlacedFigure]
    curve: Table | None
    refused: list[str]
    ceiling: str


def training_part(
    result: Result, decoder: Mapping[str, Any], cross_validated: bool, folder: FigureFolder
) -> TrainingPart:
    """Describe how one decoder learned.

    Parameters
    ----------
    result : its files
    decoder : its sidecar, decoder.json
    cross_validated : whether the training trials of the learning curve are those of all folds together
    folder : where figures go
    """
    figures = _losses(result, decoder, folder)
    table, refused, figure = _learning_curve(result, cross_validated, folder)
    if figure is not None:
        figures.append(figure)
    return TrainingPart(figures, table, refused, ceiling_words(decoder.get("NoiseCeiling")))


def ceiling_words(found: Mapping[str, Any] | None) -> str:
    """Say in a sentence what correlation noise would allow; "" where that was not asked.

    >>> ceiling_words({"reason": "no stimulus is repeated."})
    'What correlation noise would allow is not known: no stimulus is repeated.'
    """
    if not found:
        return ""
    if found.get("reason"):
        return f"What correlation noise would allow is not known: {str(found['reason']).rstrip('.')}."
    parts = []
    if found.get("median_stimulus_ceiling") is not None:
        parts.append(
            f"r = {found['median_stimulus_ceiling']:.2f} between a stimulus's decoded and true latents (latent "
            "correlation, median over stimuli)"
        )
    if found.get("median_latent_ceiling") is not None:
        n = len(found.get("latent_ceiling") or [])
        over = f"median over {n} latents" if n else "median over latents"
        parts.append(f"r = {found['median_latent_ceiling']:.2f} over stimuli (latent dimension correlation, {over})")
    if not parts:
        return ""
    return (
        f"The noise in the test responses would allow this decoder {' and '.join(parts)}, judged by how alike its "
        "predictions from halves of the repeats are; what else keeps them from the truth is not in that."
    )


# --- loss


def _losses(result: Result, decoder: Mapping[str, Any], folder: FigureFolder) -> list[PlacedFigure]:
    curves = result.loss_curves()
    if not curves:
        return []
    folds = decoder.get("Folds") or []
    best = [_best_epoch(curve, folds[k] if k < len(folds) else {}) for k, curve in enumerate(curves)]
    drawing = loss_figure(curves, best)
    each = f" of {len(curves)} folds, a line each," if len(curves) > 1 else ""
    held = curves[0].shape[1] > 1
    parts = "training trials and of the trials held out of the fit" if held else "training trials"
    kept = " A dot marks the epoch whose weights were kept." if any(epoch is not None for epoch in best) else (
        " The weights are those of the last epoch."
    )  # fmt: skip
    caption = f"Loss{each} over the epochs of training, of {parts}.{kept}"
    return [folder.save_result(result, "loss", drawing, "loss over the epochs of training", caption)]


def _best_epoch(curve: np.ndarray, fold: Mapping[str, Any]) -> int | None:
    """The epoch (from 1) whose weights were kept: as the sidecar says, else that with the lowest held-out loss."""
    if fold.get("best_epoch") is not None:
        return int(fold["best_epoch"])
    return int(np.argmin(curve[:, 1])) + 1 if curve.shape[1] > 1 and np.isfinite(curve[:, 1]).all() else None


# --- size of the training set


def _learning_curve(
    result: Result, cross_validated: bool, folder: FigureFolder
) -> tuple[Table | None, list[str], PlacedFigure | None]:
    if not result.has("learningcurve", ".tsv"):
        return None, [], None
    rows = result.table("learningcurve")
    metrics = list(dict.fromkeys(rows["metric"]))
    sizes = rows.drop_duplicates("fraction").sort_values("fraction")
    values = rows.pivot_table(index="fraction", columns="metric", values="value", dropna=False)
    values = values.reindex(index=sizes["fraction"], columns=metrics)
    cells = [
        [str(int(n)), _share(fraction), *(number(values.loc[fraction, name]) for name in metrics)]
        for n, fraction in zip(sizes["n_trials"], sizes["fraction"], strict=True)
    ]
    columns = [("Training trials", True), ("Share", True), *((long_name(name), True) for name in metrics)]
    trials = "trials of all folds together, of which a fold trains on those outside it" if cross_validated else "trials"
    caption = f"Nested parts of the training {trials}, with the same share of every run; the test stimuli are the same."
    refused = [
        f"{_share(row['fraction'])} ({int(row['n_trials'])} trials): {row['reason']}"
        for _, row in rows[rows["reason"] != "n/a"].drop_duplicates("fraction").iterrows()
    ]
    shown = {long_name(name): values[name].to_numpy(float) for name in metrics}
    drawing = learning_figure(sizes["n_trials"].astype(int).tolist(), shown)
    n = result.metrics["stimulus_id"].nunique()
    about = f"Scores over the number of training trials: do more trials still help? Means over n = {n} test stimuli."
    alt = "scores over the number of training trials"
    figure = folder.save_result(result, "learningcurve", drawing, alt, about)
    return Table(caption, columns, cells), refused, figure


def _share(fraction: float) -> str:
    """Write a share of the training trials.

    >>> _share(0.125), _share(1.0), _share(0.3)
    ('1/8', 'all', '0.3')
    """
    if fraction == 1:
        return "all"
    return f"1/{round(1 / fraction)}" if abs(1 / fraction - round(1 / fraction)) < 1e-6 else f"{fraction:g}"
