"""Options of the voxels that the decoder sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyper_bids.settings.declare import option


@dataclass(frozen=True)
class SelectSettings:
    """Which voxels the decoder sees, chosen in the fold from training data alone."""

    select: str = option(
        "top-z",
        "top-z: the voxels with the largest mean response over training trials; gain: those that respond to training "
        "stimuli and whose response the latents explain (F test); reliability: the largest split-half reliability over "
        "repeated training stimuli; all: the brain mask",
        choices=("top-z", "gain", "reliability", "all"),
    )
    n_voxels: int | None = option(
        None,
        "how many voxels are kept, all where there are fewer (default: 4096; gain: all that pass both tests)",
        kind="int",
        metavar="N",
        least=1,
    )
    mask: Path | None = option(None, "NIfTI mask on the grid of the BOLD; only voxels inside it are used", kind="path")
    roi: str | None = option(
        None,
        "regions of an atlas, a label image with its look-up TSV; only voxels inside them are used",
        metavar="ATLAS:LABEL,...",
    )
