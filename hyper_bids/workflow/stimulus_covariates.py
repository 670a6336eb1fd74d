"""What is known of stimuli besides their latents: columns of stimuli.tsv, and the complexity of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.data import Images

if TYPE_CHECKING:
    import pandas as pd

CODEC = "jpeg"
"""Complexity is the size of the compressed file: of JPEG, as DAND's."""

NOT_COVARIATES = ("filename", "mask_file", "split")
"""Columns of stimuli.tsv that say nothing about what is seen."""


def stimulus_covariates(
    tested: Sequence[str], stimuli: pd.DataFrame, paths: Mapping[str, str]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return one row a tested stimulus, and how complexity was measured ({} where there are no pictures).

    Parameters
    ----------
    tested : labels
    stimuli : stimuli.tsv, with ``stimulus_id``
    paths : stimulus -> picture file
    """
    import pandas as pd

    from hyper_bids.evaluate.covariates import complexity
    from hyper_bids.generate.images import read_image

    table = stimuli.set_index("stimulus_id").reindex(list(tested)).rename_axis("stimulus_id").reset_index()
    table = table.drop(columns=[name for name in NOT_COVARIATES if name in table.columns])
    sizes, protocol = {}, {}
    for label in tested:
        if label in paths:
            found = complexity(Images(read_image(Path(paths[label]))[None], (label,)), CODEC)
            sizes[label], protocol = int(found.n_bytes[0]), dict(found.protocol)
    if sizes:
        table["complexity"] = pd.Series([sizes.get(label) for label in tested], dtype=float)
        protocol.pop("Size")  # pictures may differ in it: they are taken as they are
    return table, protocol
