"""The null distribution of a cross-validated design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hyper_bids.data import Latents
from hyper_bids.derivatives.write import write_json, write_npz
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.decoding import decoder_factory, folds_of
from hyper_bids.workflow.steps.evaluation import attribute_directions
from hyper_bids.workflow.steps.feature_scores import COLUMNS, FeaturesOfShown, metric_features
from hyper_bids.workflow.steps.further import groups_of
from hyper_bids.workflow.steps.pictures import mean_per_stimulus, picture_generator, shown_pictures, with_weights
from hyper_bids.workflow.steps.selection import selection_rule

if TYPE_CHECKING:
    from hyper_bids.evaluate.decoded import Compared

REFIT_PICTURES = 4000
"""Pictures that the null of cross-validated picture metrics may cost; at most 200 permutations."""

FEATURE_PICTURES, FEWEST = 1000, 19
"""Pictures that the null of feature metrics may send through the network; with fewer permutations there is no p."""

IGNORED = "the decoder predicts the same whatever labels it is trained on, so stimuli are exchanged alike in all runs"

REFIT_NUMBERS = 2e8
"""Predicted latents of refits that are held at once (float32): beyond it the folds are decomposed again."""


def refit_null(
    *, values: Path, samples: Path, grid: Path, voxels: Path, latents: Path, decoder: str, decode: Mapping[str, Any],
    select: Mapping[str, Any], cross_validate: str, n_permutations: int, picture: Mapping[str, Any] | None,
    stimulus_paths: Mapping[str, str], attributes: list[str], device: str, seed: int, stimuli: Path, out_dir: Path,
    generator_weights: Path | None = None, features: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Path]:  # fmt: skip
    """Refit every fold to permuted labels: the null distributions of a cross-validated design.

    Outputs: ``draws`` (npz: metric -> (n_permutations,)), ``further`` (npz, of `FurtherNull`) and ``facts`` (JSON: a
    notice where fewer were drawn, and why a metric has no null).
    """
    from hyper_bids.decode.crossvalidate import ignores_labels, null_stimuli, refit, uses_labels
    from hyper_bids.evaluate.further_refits import FurtherNull
    from hyper_bids.evaluate.refits import refit_statistics
    from hyper_bids.settings import parse_cross_validation

    responses, space = files.load_responses(values, samples, grid), files.load_latents(latents)
    folds = folds_of(responses.trials, cross_validate, seed)
    picture = with_weights(picture, generator_weights)
    make = decoder_factory(decoder, decode, seed=seed, device=device, space=space, picture=picture)
    rule = selection_rule(select, responses.grid, seed)
    anew = uses_labels(rule)
    masks = np.asarray(files.load_array(voxels))
    choose = rule if anew else masks
    unit, _ = parse_cross_validation(cross_validate)
    exchanged = partial(
        null_stimuli, make, responses, space, folds, unit, n_permutations, seed,
        selected_anew=anew, n_voxels=int(masks.sum(axis=1).max()),
    )  # fmt: skip
    rows, notice = exchanged()
    tested = tuple(dict.fromkeys(label for fold in folds for label in fold.test))
    candidates, n_rows = space.of(tested), sum(len(fold.test) for fold in folds)
    row_of = {label: row for row, label in enumerate(tested)}
    place = np.array([row_of.get(label, -1) for label in space.stimuli])
    directions = attribute_directions(picture, attributes, space.n_latents)
    groups = groups_of(files.load_table(stimuli), tested)
    further = FurtherNull(candidates.values, n_rows, labels=groups, directions=directions)
    pictures = PictureNull(picture, space, stimulus_paths, tested, features) if picture else None
    step = max(2, int(REFIT_NUMBERS // (n_rows * space.n_latents)))
    parts, remark = [], ""
    for start in range(0, len(rows), step):
        predictions, own = refit(responses, space, folds, choose, make, rows[start : start + step])
        if start == 0 and unit != "stimulus" and ignores_labels(predictions, rows[:step]):
            remark, rows = IGNORED, exchanged(alike=True)[0]
            if not (rows != rows[0]).any():
                notice = "no permutations: no two stimuli were shown in the same runs, and the decoder ignores labels"
                remark = ""
                break
            predictions, own = refit(responses, space, folds, choose, make, rows[:step])
        parts.append(refit_statistics(predictions, place[own], candidates, directions=directions))
        further.add(predictions, place[own])
        if pictures:
            pictures.add(predictions, place[own])
    draws = {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]} if parts else {}
    draws.update(pictures.draws() if pictures else {})
    return {
        "draws": write_npz(out_dir / "draws.npz", draws),
        "further": write_npz(out_dir / "further.npz", further.arrays()),
        "facts": write_json(
            out_dir / "facts.json",
            {
                "notices": [f"Null: {notice}."] if notice else [],
                "remarks": [f"Null: {remark}."] if remark else [],
                "untested": pictures.untested if pictures else {},
            },
        ),
    }


class PictureNull:
    """Picture metrics of refits: each needs pictures to be drawn, so only some permutations are."""

    def __init__(
        self, picture: Mapping[str, Any], space: Latents, stimulus_paths: Mapping[str, str], tested: tuple[str, ...],
        features: Sequence[Mapping[str, Any]] = (),
    ) -> None:  # fmt: skip
        self.generator, self.space, self.tested = picture_generator(picture, space), space, np.array(tested)
        self.shown = shown_pictures(stimulus_paths, tested)
        self.left = min(200, max(19, REFIT_PICTURES // len(tested))) if self.shown else 0
        self.scores: dict[str, list[float]] = {"pixel_correlation": [], "ssim": []}
        self.untested: dict[str, str] = {}
        self.features_left, self.of_features = 0, None
        if self.shown and features:
            self._prepare_features(features)

    def _prepare_features(self, features: Sequence[Mapping[str, Any]]) -> None:
        """Open the network, if as many refits as a p needs can be afforded: by their number, whatever the machine."""
        n = min(self.left, FEATURE_PICTURES // len(self.tested))
        if n < FEWEST:
            why = f"cross-validated: {FEWEST} refits would be {FEWEST * len(self.tested)} pictures for the network"
            self.untested = dict.fromkeys(COLUMNS, f"{why}, more than {FEATURE_PICTURES}")
            return
        self.features_left = n
        self.of_features = FeaturesOfShown(metric_features(features), self.shown)
        self.scores |= {metric: [] for metric in COLUMNS}

    def add(self, predictions: np.ndarray, stimuli: np.ndarray) -> None:
        """Draw the pictures of some permutations and score them as the observed ones are."""
        from hyper_bids.evaluate.decoded import compare_images
        from hyper_bids.generate.images import render

        for values, own in zip(predictions[: self.left], stimuli[: self.left], strict=True):
            known, means = mean_per_stimulus(pd.DataFrame({"stimulus_id": self.tested[own]}), values)
            drawn = render(self.generator, Latents(means, known, self.space.space))
            self._score(compare_images(self.shown, drawn), ("pixel_correlation", "ssim"))
            if self.features_left:
                made = dict(zip(drawn.stimuli, drawn.pixels, strict=True))
                self._score(self.of_features.compare(made), COLUMNS)
                self.features_left -= 1
        self.left -= min(self.left, len(predictions))

    def _score(self, compared: Compared, metrics: Sequence[str]) -> None:
        from hyper_bids.evaluate import METRICS

        for metric in metrics:
            values = METRICS[metric](compared.true, compared.predicted)
            self.scores[metric].append(float(np.nanmean(values)))

    def draws(self) -> dict[str, np.ndarray]:
        """Metric -> (n,) for those that were drawn."""
        return {metric: np.array(scores) for metric, scores in self.scores.items() if scores}
