"""Names of stimuli are text in every figure, whatever signs they have."""

from __future__ import annotations

import numpy as np
import pytest

from hyper_bids.report import figures_training
from hyper_bids.report.canvas import draw, new_figure, style

NAMES = [r"a$\frac$", "$x^2$_%", r"\alpha{", "$"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_read_as_mathematics(name):
    with style():
        figure = new_figure(200, 100)
        axes = figure.subplots()
        title = axes.set_title(name)
        axes.set_yticks([0.5], [name])
        assert b"<svg" in draw(figure).content
        (label,) = axes.get_yticklabels()
        for text in (title, label):
            assert text.get_text() == name and not text.get_parse_math()


def test_logarithmic_axes_have_plain_numbers(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures_training, "draw", drawn.append)
    figures_training.loss_figure([np.geomspace(3000.0, 2.0, 400)[:, None]], [None])
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    drawn[0].canvas.draw()
    for axis in (axes.xaxis, axes.yaxis):
        labels = [label.get_text() for label in [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]]
        assert any(labels) and not any("$" in label for label in labels)
