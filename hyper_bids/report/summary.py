"""What was found, in a few plain sentences; a negative result is said as plainly as a positive one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hyper_bids.errors import count
from hyper_bids.report.methods_responses import GIVEN, PARAMETRIC, given_kind
from hyper_bids.report.scores import ABOVE, AT, TESTED, UNDECIDABLE, UNTESTED, ScoreRow, headline, number
from hyper_bids.report.words import unreachable

TOLD = ("latent_correlation", "pairwise_accuracy", "top1", "ssim")
"""Metrics whose tests the summary spells out."""


def recorded(participant: str, task: str, facts: Mapping[str, Any]) -> str:
    """Say who did what, for how long; or what was given."""
    if facts["mode"] == GIVEN:
        return (
            f"Of sub-{participant} in task {task}, {count(facts['n_trials'], 'response')} that existed already were "
            f"decoded, from {count(facts['n_maps'], 'file')} of response maps ({given_kind(facts)})."
        )
    runs = facts["runs"]
    volumes = sum(run["n_volumes"] for run in runs)
    seconds = sum(run["n_volumes"] * run["repetition_time"] for run in runs)
    times = sorted({f"{run['repetition_time']:g}" for run in runs}, key=float)
    trials = sum(run["n_trials"] for run in runs)
    what = "to model" if facts["mode"] == PARAMETRIC else "to decode"
    return (
        f"sub-{participant} did task {task} in {count(len(runs), 'run')}: {count(volumes, 'volume')} of "
        f"{' and '.join(times)} s, {seconds / 60:.0f} min in all, with {count(trials, 'trial')} {what}."
    )


def encoded(encoding: Mapping[str, Any] | None) -> str:
    """Say how the latents were computed from the pictures; "" where they were read."""
    if encoding is None:
        return ""
    n, size = encoding["n_latents"], encoding["image_size"]
    if encoding["encoder"] == "identity":
        return f"The latents are pixels: {n} numbers, of the stimuli at {size} x {size}."
    of = f"{count(n, 'principal component')} of the stimuli at {size} x {size} pixels"
    if encoding["encoder"] == "eigenface":
        return f"The latents were computed from the pictures: {of}."
    return f"The latents were computed from the pictures by the encoder {encoding['encoder']}: {n} numbers."


def decoded(
    task: Mapping[str, Any], metrics: pd.DataFrame, decoder: Mapping[str, Any], name: str, mode: str
) -> str:
    """Say what was predicted from what, and what it was tested on.

    Parameters
    ----------
    task : of the report's context
    metrics : a row per test stimulus (and fold)
    decoder : its sidecar
    name : of the decoder
    mode : how responses came about, from the facts of the pooling step
    """
    folds = decoder.get("Folds", [])
    voxels = sorted({fold["n_voxels"] for fold in folds})
    several = f"{voxels[0]} to {voxels[-1]}" if len(voxels) > 1 else "".join(str(n) for n in voxels)
    n_tested = metrics["stimulus_id"].nunique()
    latents = decoder.get("NLatents")
    what = f"the {f'{latents} ' if latents else ''}latents of {task['latent_space']}"
    learned = f"From {several or 'the'} voxels, the decoder {name} predicted {what}"
    repeats = metrics["n_repeats"].dropna()
    if task.get("cross_validate"):
        each = f" in {count(len(metrics), 'prediction')}"
        if len(metrics) == n_tested:
            each = ", predicted once" if n_tested == 1 else ", each predicted once"
        return (
            f"{learned} in {count(len(folds), 'fold')} ({_left_out(task['cross_validate'])}), tested on "
            f"{count(n_tested, 'stimulus', 'stimuli')}{each}."
        )
    n_train = folds[0]["n_train"] if folds else None
    unit = "training response" if mode == GIVEN else "training trial"
    trained = f"{unit}s" if n_train is None else count(n_train, unit)
    each = ""
    if len(repeats):
        low, high = int(repeats.min()), int(repeats.max())
        over = "each with one coefficient over" if mode == PARAMETRIC else "each averaged over"
        each = f", {over} {count(high, 'repeat') if low == high else f'{low} to {high} repeats'}"
    return (
        f"{learned}; it learned from {trained} and was tested on {count(n_tested, 'stimulus', 'stimuli')} that it was "
        f"not trained on{each}."
    )


def _left_out(cross_validate: str) -> str:
    unit = cross_validate.partition(":")[0]
    return "stimuli are split into folds" if unit == "stimulus" else f"one {unit} left out at a time"


def verdict_line(rows: list[ScoreRow]) -> tuple[str, str]:
    """Return the overall finding and the sentence that says it."""
    decisive = headline(rows)
    tested = [row for row in rows if row.finding in TESTED]
    if decisive is None:
        why = rows[0].sentence if rows else "No metric could be computed."
        return UNTESTED, f"The result was not tested. {why}"
    if decisive.finding == UNDECIDABLE:
        return UNDECIDABLE, (
            f"Whether what was seen could be decoded is not decidable: by {decisive.name.lower()}, "
            f"{unreachable(decisive.floor)}, however good the predictions are."
        )
    above = sum(row.finding == ABOVE for row in tested)
    tally = f"{above} of {count(len(tested), 'tested metric')} above chance at p < 0.05, not corrected for their number"
    if decisive.finding == ABOVE:
        return ABOVE, f"What was seen could be decoded above chance, judged by {decisive.name.lower()} ({tally})."
    rest = " The other metrics do not change that: of several tests some fall below 0.05 by chance." if above else ""
    return AT, (
        f"The result is at chance: by {decisive.name.lower()} these data give no evidence that what was seen could be "
        f"decoded ({tally}).{rest}"
    )


def against_zero(rows: list[ScoreRow], stats: pd.DataFrame) -> str:
    """Say what picture similarity is worth: the score of a picture made without any brain data."""
    means = stats.set_index("metric")["mean"]
    shown = next((row for row in rows if row.metric == "ssim"), None)
    if shown is None or pd.isna(means.get("ssim_zero", float("nan"))):
        return ""
    gap = float(means["ssim"] - means["ssim_zero"])
    zero = number(means["ssim_zero"], 2)
    if gap <= 0:
        return (
            f"Mind the baseline: the picture of the zero latent, made without brain data, has a structural similarity "
            f"of {zero}, no less than the reconstructions."
        )
    return f"The picture of the zero latent, made without brain data, has a structural similarity of {zero}."


def attributes(rows: list[tuple[ScoreRow, ScoreRow | None]], stats: pd.DataFrame) -> str:
    """Say which attributes were predicted; "" where there are none."""
    if not rows:
        return ""
    means = stats.set_index("metric")["mean"]
    tested = [row for row, _ in rows if row.finding in TESTED]
    found = [row for row in tested if row.finding == ABOVE]
    parts = []
    if tested:
        listed = ", ".join(f"{_attribute(row)} (r = {number(means[row.metric], 2)})" for row in found)
        others = ", ".join(_attribute(row) for row in tested if row.finding != ABOVE)
        text = f"{len(found)} of {len(tested)} {'tested ' if len(tested) < len(rows) else ''}predicted above chance"
        parts.append(text + (f": {listed}" if found else "") + (f"; not {others}" if others and found else ""))
    whys: dict[str, list[str]] = {}
    for row, _ in rows:
        if row.finding not in TESTED:
            said = f"not tested, because {row.reason}"
            if row.finding == UNDECIDABLE:
                said = f"{UNDECIDABLE}: {unreachable(row.floor)}"
            whys.setdefault(said, []).append(_attribute(row))
    alone = not parts and len(whys) == 1
    parts += [why if alone else f"{', '.join(names)} {why}" for why, names in whys.items()]
    return f"Attributes: {'; '.join(parts)}."


def _attribute(row: ScoreRow) -> str:
    return row.metric.removeprefix("attribute_")


def told(rows: list[ScoreRow]) -> list[str]:
    """Return the sentences of the metrics that a reader asks for first."""
    known = {row.metric: row.sentence for row in rows}
    return [known[name] for name in TOLD if name in known]
