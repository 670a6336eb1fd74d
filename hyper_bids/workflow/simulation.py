"""``hyper-tools simulate``: where the simulator meets the generators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hyper_bids.errors import UsageError
from hyper_bids.generate import (
    BY_CONTENT,
    architecture_of,
    built_in,
    builtin_attributes,
    make_generator,
    weight_files,
)
from hyper_bids.settings import replace
from hyper_bids.simulate.dataset import simulate
from hyper_bids.simulate.settings import SimulateSettings


def run_simulation(
    out: Path,
    settings: SimulateSettings,
    progress: Callable[[str], None] | None = None,
    *,
    weights: Path | None = None,
    drawing: Mapping[str, Any] | None = None,
) -> Path:
    """Simulate a dataset whose pictures come from the named generator; return its folder.

    Parameters
    ----------
    weights : of a generator that needs some; ``settings.generator`` may also be the weight file itself
    drawing : ``resolution``, ``precision``, ``truncation`` and ``device`` of `make_generator`

    Raises
    ------
    HyperError
        As `make_generator` and `simulate`.
    """
    name = settings.generator
    if name in ("identity", "none"):
        if weights is not None:
            raise UsageError(f"--generator {name} has no weights. Leave out --weights {weights}.")
        return simulate(out, settings, None, None, progress)
    if name == BY_CONTENT or (not built_in(name) and ":" not in name and weight_files(Path(name))):
        if name != BY_CONTENT and weights is not None:
            raise UsageError(f"--generator {name} is a weight file; leave out --weights {weights}.")
        weights = weights if name == BY_CONTENT else Path(name)
        name = architecture_of(weights) if weights is not None else name
        settings = replace(settings, generator=name)  # the dataset names the network, and no path of this machine
    space = settings.latent_space or "to be simulated"
    n_latents = settings.n_latents if weights is not None and weights.is_dir() else None
    generator = make_generator(name, space=space, n_latents=n_latents, weights=weights, **(drawing or {}))
    return simulate(out, settings, generator, builtin_attributes(name), progress)
