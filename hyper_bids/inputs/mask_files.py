"""Background masks of stimuli: column ``mask_file`` of stimuli.tsv, relative to ``stimuli/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.inputs.annex import require_content
from hyper_bids.inputs.locate import locate, stimulus_path

COLUMN = "mask_file"


def find_masks(stimuli: pd.DataFrame, tested: Sequence[str], folders: Sequence[Path]) -> dict[str, Path]:
    """Return the mask of every tested stimulus; none at all where stimuli.tsv names none.

    Parameters
    ----------
    stimuli : one row a stimulus, with ``stimulus_id``
    tested : labels
    folders : `locate.stimuli_folders`

    Raises
    ------
    InconsistentInput
        Some of the stimuli have a mask and others have none, or a path leads out of the folder.
    MissingFiles
        A mask is not there, or is a link without content.
    """
    if COLUMN not in stimuli.columns:
        return {}
    cells = stimuli.set_index("stimulus_id")[COLUMN].reindex(list(tested)).dropna()
    if cells.empty:
        return {}
    without = sorted(set(tested) - set(cells.index))
    if without:
        raise InconsistentInput(
            f"stimuli.tsv names a {COLUMN} for {len(cells)} test stimuli and none for {len(without)}: "
            f"{listing(without)}. Give every test stimulus one, or none (the protocol then keeps the background)."
        )
    found = {}
    for label, text in cells.items():
        relative = stimulus_path(text, f"stimuli.tsv, column {COLUMN}")
        found[str(label)] = locate(relative, folders) or folders[-1] / relative
    require_content(list(found.values()), [folder.parent for folder in folders])
    return found
