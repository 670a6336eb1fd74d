"""The font of the figures: the files that come with matplotlib, whatever the system has."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager

sys.path.append(str(Path(__file__).parent))
from test_report_parts import drawings

from hyper_bids.report import canvas


def test_the_font_is_matplotlibs_own_whatever_the_system_has(monkeypatch):
    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    with canvas.style():
        for weight, file in (("normal", "DejaVuSans.ttf"), ("bold", "DejaVuSans-Bold.ttf")):
            assert font_manager.findfont(font_manager.FontProperties(weight=weight)) == str(own / file)
    before = [drawing.content for drawing in drawings(np.random.default_rng(1))]
    others = [entry for entry in font_manager.fontManager.ttflist if entry.name != canvas.FAMILY]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [
        *(replace(entry, name="DejaVu Sans") for entry in others if "Serif" in entry.name),
        *(entry for entry in font_manager.fontManager.ttflist if entry.name == canvas.FAMILY)])  # fmt: skip
    assert [drawing.content for drawing in drawings(np.random.default_rng(1))] == before
