"""Figures of the report's sections: the brain, recordings, decoders compared, training."""

from __future__ import annotations

import numpy as np
import pytest

from hyper_bids.report.figures_brain import BrainRow, brain_figure, colour_scale, slices_through
from hyper_bids.report.figures_comparison import comparison_figure
from hyper_bids.report.figures_reliability import ceilings_figure, recordings_figure
from hyper_bids.report.figures_training import learning_figure, loss_figure

NAN = float("nan")


def brain(shape):
    mask = np.zeros(shape, dtype=bool)
    mask[1:-1, 1:-1] = True
    return mask


def recording_rows(n=4):
    return [{"m": m, "accuracy": 1 - 1 / m, "sd": 0.1 if m < 6 else None, "chance": 0.05} for m in range(3, 3 + n)]


def compared(mean):
    return {"mean": mean, "ci_low": mean - 0.1, "ci_high": NAN if mean > 0.8 else mean + 0.1, "chance": 0.5}


FIGURES = {
    "brain": lambda rng: _brain(rng, (6, 7, 8), NAN),
    "brain, signed": lambda rng: _brain(rng, (9, 5, 6), -0.5),
    "brain, slab": lambda rng: _brain(rng, (9, 8, 2), 0.5),
    "ceilings": lambda rng: ceilings_figure(np.append(rng.random(30), NAN), np.arange(31) < 9),
    "ceilings, all decoded": lambda rng: ceilings_figure(rng.random(30), np.ones(30, dtype=bool)),
    "ceilings, none known": lambda rng: ceilings_figure(np.full(5, NAN), np.ones(5, dtype=bool)),
    "recordings": lambda rng: recordings_figure(recording_rows(), 20),
    "recordings, one number": lambda rng: recordings_figure(recording_rows(1), 20),
    "comparison": lambda rng: comparison_figure(["a" * 40, "b", "c"], [
        ("r", [compared(0.4), None, compared(0.9)]), ("s", [compared(0.1)] * 3), ("t", [None, None, compared(0.2)])]),
    "loss, one fold": lambda rng: loss_figure([np.geomspace(9, 0.1, 300)[:, None].repeat(2, 1)], [200]),
    "loss, folds": lambda rng: loss_figure([rng.random((n, 1)) + 1 for n in (4, 6)], [None, None]),
    "loss, one epoch": lambda rng: loss_figure([np.ones((1, 2))], [1]),
    "learning": lambda rng: learning_figure([5, 10, 20], {name: rng.random(3) for name in "abcdefg"}),
    "learning, gap": lambda rng: learning_figure([5, 10], {"r": np.array([NAN, 0.2])}),
}  # fmt: skip


def _brain(rng, shape, low):
    mask = brain(shape)
    values = np.where(mask, rng.random(shape) + np.nan_to_num(low), NAN)
    values[2, 2] = low
    rows = [BrainRow("score", values, "z"), BrainRow("seen", mask), BrainRow("through", values, "z", 1.0, True)]
    return brain_figure(mask, rows, np.diag([2.0, 3, 4, 1]), np.zeros(shape, dtype=bool))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_and_is_reproducible(name):
    first, second = (FIGURES[name](np.random.default_rng(1)) for _ in range(2))
    assert first.content == second.content
    assert first.content.startswith(b"\x89PNG" if first.extension == ".png" else b"<?xml")
    assert b"dc:date" not in first.content and 200 <= first.width <= 560


def test_values_change_the_picture_of_the_brain():
    mask = brain((6, 7, 8))
    low, high = (np.where(mask, value, NAN) for value in (0.1, 0.9))
    drawn = [brain_figure(mask, [BrainRow("r", values, "r", 1.0)], np.eye(4), mask).content for values in (low, high)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(("low", "limit", "high"), [(0.0, None, 9.95), (-1.0, None, 9.95), (0.0, 4.0, 4.0)])
def test_colours_are_those_of_the_values(low, limit, high):
    values = np.append(np.linspace(0, 10, 1001), low)
    scale = colour_scale(values, limit)
    assert scale.high == pytest.approx(high, abs=0.02)
    assert scale.low == (0.0 if low == 0 else -scale.high)
    assert scale.beyond == "max"


def test_slices_are_those_with_most_voxels():
    mask = np.random.default_rng(0).random((5, 6, 7)) < 0.3
    mask[:, :, 4] = mask[:, 1] = mask[3] = True
    naive = tuple(max(range(n), key=lambda k, axis=axis: np.take(mask, k, axis).sum())
                  for axis, n in enumerate(mask.shape))  # fmt: skip
    assert slices_through(mask) == naive == (3, 1, 4)
