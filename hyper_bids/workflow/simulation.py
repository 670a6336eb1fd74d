"""``hyper-tools simulate``: where the simulator meets the generators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hyper_bids.generate import GENERATORS, builtin_attributes
from hyper_bids.registry import resolve
from hyper_bids.simulate.dataset import simulate
from hyper_bids.simulate.settings import SimulateSettings


def run_simulation(out: Path, settings: SimulateSettings, progress: Callable[[str], None] | None = None) -> Path:
    """Simulate a dataset whose pictures come from the named generator; return its folder."""
    name = settings.generator
    if name in ("identity", "none"):
        return simulate(out, settings, None, None, progress)
    generator = resolve(name, GENERATORS, "generator", ("generate",))()
    return simulate(out, settings, generator, builtin_attributes(name), progress)
