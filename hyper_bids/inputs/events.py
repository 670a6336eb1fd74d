"""Events tables: what was shown when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.inputs.key import StimulusKey
from hyper_bids.inputs.tables import read_table


def read_events(path: Path) -> pd.DataFrame:
    """Read an events.tsv: ``onset`` and ``duration`` as float (s), all else as text or None.

    Cells are text without padding (``'face  '`` is ``'face'``); only ``n/a`` and nothing are
    missing, so that ids such as ``NA`` or ``001`` survive. Row i is line i + 2 of the file.

    Raises
    ------
    MissingFiles
        The file cannot be opened.
    InconsistentInput
        Empty, no rows, not a table; no onset or duration; one that is missing, not a number or
        (duration) negative. Names file and line.
    """
    table = read_table(path)
    if not len(table):
        raise InconsistentInput(
            f"{path} has a header and no events. Add a row for each event, or leave the run out (--bids-filter-file)."
        )
    for column in ("onset", "duration"):
        if column not in table.columns:
            raise InconsistentInput(
                f"{path}: no column {column}, only {listing(table.columns, 20)}. Events need onset and duration in "
                "seconds."
            )
        table[column] = _seconds(path, column, table[column])
    return table


def _seconds(path: Path, column: str, cells: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    bad = ~np.isfinite(numbers.to_numpy())
    if column == "duration":
        bad |= (numbers < 0).to_numpy()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        cell = "n/a" if cells.iloc[row] is None else cells.iloc[row]
        raise InconsistentInput(
            f"{path}, line {row + 2}: {column} is {cell!r}; {int(bad.sum())} such row(s). "
            f"A number of seconds{' of at least 0' if column == 'duration' else ''} is needed."
        )
    return numbers


def name_stimuli(events: pd.DataFrame, key: StimulusKey, path: Path) -> pd.DataFrame:
    """Return what each row shows: a table of the same length with ``stimulus_id``, ``cell`` and ``line``.

    ``stimulus_id`` is "" where there is none, and None where the key's pattern does not match;
    ``cell`` and ``line`` say where it came from.
    """
    cells = events[key.column_of(events.columns, str(path))]
    known = {cell: key.identify(cell) for cell in cells.unique()}
    stimuli = pd.Series([known[cell] for cell in cells], dtype=object)
    return pd.DataFrame({"stimulus_id": stimuli, "cell": cells, "line": np.arange(2, len(cells) + 2)})
