"""fMRIPrep's confounds table as a file: its names, old and new, its numbers, and the masks in its sidecar."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles, listing

if TYPE_CHECKING:
    import pandas as pd

OLD_NAMES = {
    "X": "trans_x", "Y": "trans_y", "Z": "trans_z", "RotX": "rot_x", "RotY": "rot_y", "RotZ": "rot_z",
    "CSF": "csf", "WhiteMatter": "white_matter", "GlobalSignal": "global_signal",
    "FramewiseDisplacement": "framewise_displacement",
    "stdDVARS": "std_dvars", "non-stdDVARS": "dvars", "vx-wisestdDVARS": "vx_wisestd_dvars",
}  # fmt: skip
"""Name in fMRIPrep up to 1.1 -> name since 1.2."""

OLD_SERIES = {
    "aCompCor": "a_comp_cor_", "tCompCor": "t_comp_cor_", "Cosine": "cosine",
    "NonSteadyStateOutlier": "non_steady_state_outlier", "AROMAAggrComp": "aroma_motion_",
}  # fmt: skip
"""The same for numbered columns, without their number."""

MISSING = ("n/a", "N/A", "NaN", "nan", "")

DIFFERENCES = re.compile(r".+_derivative\d+(_power\d+)?|framewise_displacement|rmsd|(.+_)?dvars")
"""Columns that compare a volume with the one before: the first volume has no value."""


@dataclass(frozen=True)
class ConfoundTable:
    """A confounds table under the names that fMRIPrep uses since 1.2.

    Attributes
    ----------
    path : the TSV
    cells : DataFrame (n_volumes, n_columns) of text; None or NaN where a value is missing
    written : name -> name in the file
    """

    path: Path
    cells: pd.DataFrame
    written: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.cells.columns)

    def __contains__(self, name: str) -> bool:
        return name in self.cells.columns

    def __len__(self) -> int:
        return len(self.cells)

    def series(self, prefix: str) -> tuple[str, ...]:
        """Names of the numbered columns ``<prefix>00, 01, ...`` in the order of their numbers."""
        numbers = {name: re.fullmatch(rf"{re.escape(prefix)}_?(\d+)", name) for name in self.names}
        return tuple(sorted((n for n, found in numbers.items() if found), key=lambda n: int(numbers[n].group(1))))

    def column(self, name: str) -> np.ndarray:
        """Return a column as numbers, ``(n_volumes,)`` float64.

        A missing value of the first volume is 0 where the column compares volumes
        (derivatives, framewise displacement, DVARS).

        Raises
        ------
        InconsistentInput
            A value is missing elsewhere, infinite or no number; names column and row.
        """
        cells = self.cells[name]
        missing = cells.isna().to_numpy(copy=True)
        values = np.array([_number(cell) for cell in cells.where(~missing, "0")])
        if DIFFERENCES.fullmatch(name):
            missing[:1] = False
        for row in np.flatnonzero(missing | ~np.isfinite(values))[:1]:
            found = "no value" if missing[row] else f"{cells.iloc[row]!r}, which is no finite number,"
            raise InconsistentInput(
                f"{self.path}: column {self.written[name]} has {found} in row {row + 1} of {len(self)}. "
                "Only derivatives, framewise displacement and DVARS may be n/a, and only in row 1. "
                "Repair the table, or choose confounds without this column."
            )
        return values

    def columns(self, names: tuple[str, ...], strategy: str) -> dict[str, np.ndarray]:
        """Return columns by name, or raise `InconsistentInput` naming those that a strategy misses."""
        if absent := [name for name in names if name not in self]:
            raise InconsistentInput(
                f"{self.path} has no column {listing(absent)}, which --confounds {strategy} needs; "
                f"it has {listing(self.written.values(), 8)}. Choose other confounds (--confounds none: no confounds), "
                "or the table of another preprocessing."
            )
        return {name: self.column(name) for name in names}

    def masks(self) -> dict[str, str]:
        """CompCor component -> its mask (combined, CSF or WM), from the JSON beside the table; empty without one."""
        path = sidecar(self.path)
        if not path.exists():
            return {}
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise MissingFiles(f"Cannot read {path}, which describes the confounds: {error}.") from error
        if not isinstance(described, dict):
            raise InconsistentInput(f"{path} must hold a JSON object with an entry per column of {self.path.name}.")
        return {
            modern(name): str(entry["Mask"])
            for name, entry in described.items()
            if isinstance(entry, dict) and "Mask" in entry
        }


def sidecar(path: Path) -> Path:
    """The JSON that describes a confounds table; fMRIPrep writes it beside the TSV."""
    return path.with_suffix(".json")


def modern(name: str) -> str:
    """Return the name that fMRIPrep uses since 1.2.

    >>> [modern(name) for name in ("RotX", "aCompCor03", "trans_x")]
    ['rot_x', 'a_comp_cor_03', 'trans_x']
    """
    numbered = re.fullmatch(r"([A-Za-z]+)(\d+)", name)
    if numbered and numbered.group(1) in OLD_SERIES:
        return OLD_SERIES[numbered.group(1)] + numbered.group(2)
    return OLD_NAMES.get(name, name)


def read_table(path: Path, n_volumes: int) -> ConfoundTable:
    """Read a confounds table.

    Raises
    ------
    MissingFiles
        It cannot be read.
    InconsistentInput
        It is no table, or has another number of rows than the BOLD has volumes.
    """
    import pandas as pd

    path = Path(path)
    try:
        cells = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, na_values=MISSING)
    except (OSError, UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise MissingFiles(f"Cannot read the confounds table {path}: {error}.") from error
    if not isinstance(cells.index, pd.RangeIndex):  # pandas makes the surplus an index, and shifts the names
        raise InconsistentInput(f"{path}: its rows have more columns than its first line has names.")
    if len(cells) != n_volumes:
        raise InconsistentInput(
            f"{path} has {len(cells)} rows but the BOLD has {n_volumes} volumes; "
            "are both from the same preprocessing run? Give the table of this BOLD, or leave it out with "
            "--confounds none."
        )
    written = {name if modern(name) in cells.columns else modern(name): name for name in cells.columns}
    return ConfoundTable(path, cells.set_axis(list(written), axis=1), written)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan
