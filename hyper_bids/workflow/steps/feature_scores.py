"""Features of stimuli and reconstructions, and of what they are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.workflow.feature_networks import for_metrics, opened

if TYPE_CHECKING:
    from hyper_bids.evaluate.decoded import Compared
    from hyper_bids.features import Features

RESAMPLING = "bilinear"
"""Of pictures for metrics.tsv, whose pictures are all resized so (SPEC section 3); protocols have their own."""

COLUMNS = ("feature_similarity", "feature_similarity_mse")


def metric_features(networks: Sequence[Mapping[str, Any]]) -> Features | None:
    """Open the network that fills the columns of metrics.tsv, or None where none was given."""
    item = for_metrics(networks)
    return None if item is None else opened(item).resampled(RESAMPLING)


class FeaturesOfShown:
    """Features of the pictures that were shown, computed once, and compared with those of drawn ones."""

    def __init__(self, features: Features, shown: Mapping[str, np.ndarray]) -> None:
        self.features = features
        self.stimuli = tuple(shown)
        self.true = features.features(list(shown.values()))

    def compare(self, drawn: Mapping[str, np.ndarray]) -> Compared:
        """Compare with drawn pictures, one per label; labels that were not shown are left out."""
        from hyper_bids.evaluate.decoded import Compared

        here = [row for row, label in enumerate(self.stimuli) if label in drawn]
        labels = tuple(self.stimuli[row] for row in here)
        return Compared(self.true[here], self.features.features([drawn[label] for label in labels]), labels)


def described(entries: Mapping[str, Any], features: Features | None) -> dict[str, Any]:
    """Say which network, layer, size and file features are of: in their columns' entries, or in that of the metrics.

    Parameters
    ----------
    entries : of a data dictionary, metrics.tsv's or stats.tsv's
    """
    if features is None:
        return dict(entries)
    what = features.describe()
    told = {key: what[key] for key in ("Network", "Layer", "Features", "SHA256", "Layout")}
    told |= {"Notes": what["Notes"]} if what.get("Notes") else {}
    told["Size"], told["Resampling"] = what["Input"]["Size"], what["Input"]["Resampling"]
    own = {name: told for name in COLUMNS} | {"metric": {"FeatureNetwork": what}}
    return {name: {**entry, **own.get(name, {})} for name, entry in entries.items()}
