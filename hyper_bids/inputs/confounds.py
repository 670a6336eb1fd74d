"""Confounds by strategy from fMRIPrep's table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles, listing

if TYPE_CHECKING:
    import pandas as pd

MOTION6 = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
"""Three translations (mm) and three rotations (rad)."""

STRATEGIES: dict[str, tuple[str, ...]] = {"motion6": MOTION6, "none": ()}


def read_confounds(path: Path, strategy: str, n_volumes: int) -> pd.DataFrame | None:
    """Read the columns of a strategy.

    Parameters
    ----------
    path : TSV with one row a volume
    strategy : a key of `STRATEGIES`
    n_volumes : rows that the table must have

    Returns
    -------
    DataFrame (n_volumes, n_confounds) float64, or None for ``none``. A missing value
    in the first row (a derivative has none there) is taken as 0.

    Raises
    ------
    MissingFiles
        The table cannot be read.
    InconsistentInput
        Wrong number of rows, missing columns, or values that are no numbers.
    """
    columns = STRATEGIES[strategy]
    if not columns:
        return None
    table = _read(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InconsistentInput(
            f"{path} has no column {listing(missing)}, which --confounds {strategy} needs; "
            f"it has {listing(table.columns, 8)}. Use --confounds none, or the table of another preprocessing."
        )
    if len(table) != n_volumes:
        raise InconsistentInput(
            f"{path} has {len(table)} rows but the BOLD has {n_volumes} volumes; "
            "are both from the same preprocessing run?"
        )
    return _numbers(table[list(columns)], path)


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, na_values=["n/a", "NaN", "nan"])
    except (OSError, UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise MissingFiles(f"Cannot read the confounds table {path}: {error}.") from error


def _numbers(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    try:
        numbers = table.astype(float)
    except ValueError as error:
        raise InconsistentInput(f"{path}: a confound is no number: {error}.") from error
    numbers.iloc[0] = numbers.iloc[0].fillna(0.0)
    bad = [name for name in numbers.columns if not np.isfinite(numbers[name].to_numpy()).all()]
    if bad:
        raise InconsistentInput(f"{path}: missing or infinite values after the first row in {listing(bad)}.")
    return numbers
