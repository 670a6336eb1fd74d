"""Options of scores, tests and confidence, and the root of every random number."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hyper_bids.settings.declare import option


@dataclass(frozen=True)
class EvaluateSettings:
    """True and predicted -> scores, tests and confidence."""

    n_permutations: int = option(1000, "permutations of stimuli for the p-values", kind="int", metavar="N", least=1)
    attributes: tuple[str, ...] = option(
        (),
        "unit normals of attribute hyperplanes as .npy files named after the attribute (default: the generator's own)",
        kind="list",
        metavar="FILE",
        identity=False,
    )
    protocol: str | None = option(
        None,
        "also score by a paper's protocol (image size, smoothing, background, features); naturalimages: the standard "
        "set of natural-image papers, with the networks of --features",
        choices=("hyper2020", "hyper2022", "dand", "vaegan", "naturalimages"),
    )
    features: tuple[str, ...] = option(
        (),
        "networks whose features of pictures are compared: vggface2, vggface, vgg16, alexnet, inception, clip, "
        "efficientnet, swav; the first that recognises faces (else the first) fills feature_similarity",
        kind="list",
        metavar="NAME[:LAYER]",
    )
    feature_weights: tuple[str, ...] = option(
        (),
        "their weight files, in the same order, published ones (see hyper-tools models list); without --features a "
        "file says itself which network it is",
        kind="list",
        metavar="FILE",
        identity=False,
    )
    learning_curve: bool = option(False, "also train on 1/8, 1/4 and 1/2 of the training trials", kind="flag")
    reliability: bool = option(
        True, "reliability of the recordings and noise ceilings, where stimuli are repeated", kind="flag"
    )
    allow_mixed: bool = option(
        False,
        "group: take participants of different versions or settings together, and say so",
        kind="flag",
        identity=False,
    )
    random_seed: int = option(0, "root of every random number", kind="int", metavar="N", least=0)

    def __post_init__(self) -> None:
        """Make the paths of weights absolute, as those of single files are."""
        files = tuple(os.path.abspath(os.path.expanduser(path)) for path in self.feature_weights)
        object.__setattr__(self, "feature_weights", files)
