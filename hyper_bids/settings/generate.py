"""Options of the generators, from latents to images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hyper_bids.errors import UsageError
from hyper_bids.settings.declare import option


@dataclass(frozen=True)
class GenerateSettings:
    """Latents -> images."""

    generator: str | None = option(
        None,
        "pggan, vaegan, dand, stylegan2, onnx, eigenface, identity, portrait, a weight FILE, package.module:Class or "
        "none (default: the latent space's own, where that is built in or its weights are given)",
    )
    weights: Path | None = option(
        None,
        "weights of the generator, a published file (see hyper-tools models list); for eigenface a file made by "
        "hyper-tools train, or a folder",
        kind="path",
    )
    resolution: int | None = option(
        None, "stop at pictures of this many pixels, e.g. 256 (default: the network's own)", kind="int", metavar="N"
    )
    precision: str = option(
        "float32", "numbers that the network computes with; bfloat16 is faster", choices=("float32", "bfloat16")
    )
    truncation: float | None = option(
        None, "StyleGAN2's psi, 0 (the mean face) to 1 (default: 1, nothing truncated)", kind="float", metavar="PSI"
    )

    def __post_init__(self) -> None:
        """Take ``--generator FILE`` as ``--generator file --weights FILE``: paths are no part of the digest."""
        name = self.generator
        if name is None or ":" in name or not (os.sep in name or Path(name).suffix):
            return
        if self.weights is not None:
            raise UsageError(f"--generator {name} is a weight file; leave out --weights {self.weights}.")
        object.__setattr__(self, "generator", "file")
        object.__setattr__(self, "weights", Path(os.path.abspath(name)))
