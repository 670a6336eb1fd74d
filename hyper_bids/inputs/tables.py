"""TSV files as BIDS writes them: ``n/a`` is missing, everything else stays text, padding is stripped."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import pandas as pd

from hyper_bids.errors import InconsistentInput, MissingFiles, listing


def read_rows(path: Path, first: int | None = None) -> list[list[str]]:
    """Return the cells of a TSV (or ``.tsv.gz``) file, stripped; blank lines are left out.

    ``first`` limits how many lines are read.

    Raises
    ------
    MissingFiles
        The file cannot be opened.
    InconsistentInput
        It is empty, no text, or rows differ in length; names the line.
    """
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline=None) as stream:
            lines = stream.read().split("\n") if first is None else [stream.readline() for _ in range(first)]
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InconsistentInput(
            f"{path} is no readable tab-separated text: {error}. Save it as UTF-8 text, or copy it again."
        ) from error
    except OSError as error:
        raise MissingFiles(f"Cannot read {path}: {error.strerror or error}.") from error
    numbered = [(number, line.rstrip("\n")) for number, line in enumerate(lines, start=1) if line.strip()]
    rows = [(number, [cell.strip() for cell in line.split("\t")]) for number, line in numbered]
    if not rows:
        raise InconsistentInput(f"{path} is empty. A line with the names of the columns, and rows, are needed.")
    ragged = [(number, len(cells)) for number, cells in rows if len(cells) != len(rows[0][1])]
    if ragged:
        number, length = ragged[0]
        raise InconsistentInput(
            f"{path}, line {number}: {length} cells, but {len(rows[0][1])} in the first line. "
            "Cells are separated by tabs."
        )
    return [cells for _, cells in rows]


def read_table(path: Path) -> pd.DataFrame:
    """Read a TSV file with a header: every cell is text, or None for ``n/a`` and for nothing.

    Raises
    ------
    MissingFiles, InconsistentInput
        As `read_rows`; also where a column is there twice, or other signs than tabs separate them.
    """
    header, *rows = read_rows(path)
    _check_header(path, header)
    cells = [[None if cell in ("", "n/a") else cell for cell in row] for row in rows]
    return pd.DataFrame(cells, columns=header, dtype=object)


def read_numbers(path: Path, first: str) -> pd.DataFrame:
    """Read a TSV file whose first column, of that name, is text and whose others are numbers (``n/a``: NaN).

    Raises
    ------
    MissingFiles, InconsistentInput
        As `read_table`; also for another first column, and for text among the numbers, naming the columns.
    """
    header = read_rows(path, first=1)[0]
    _check_header(path, header)
    if header[0] != first:
        raise InconsistentInput(f"{path}: the first column must be {first}, all others numbers; it is {header[0]!r}.")
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            header=None,
            skiprows=1,
            dtype={0: str},
            keep_default_na=False,
            na_values=["n/a", "NaN", "nan"],
            encoding="utf-8-sig",
            quoting=3,
        )
    except pd.errors.EmptyDataError as error:
        raise InconsistentInput(f"{path} has a header and no rows.") from error
    except (pd.errors.ParserError, UnicodeDecodeError, EOFError, zlib.error, OSError) as error:
        raise InconsistentInput(f"{path} is no readable table: {' '.join(str(error).split())}.") from error
    if len(table.columns) != len(header):
        raise InconsistentInput(f"{path}: {len(header)} columns in the header, {len(table.columns)} below it.")
    table.columns = header
    texts = [column for column in header[1:] if table[column].dtype.kind not in "fiu"]
    if texts:
        raise InconsistentInput(f"{path}: the columns {listing(texts)} must hold numbers or n/a, nothing else.")
    table[header[0]] = [cell.strip() or None if isinstance(cell, str) else None for cell in table[header[0]]]
    return table


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) == 1 and len(re.split(r"[\s,;]+", header[0])) > 1:
        raise InconsistentInput(
            f"{path}: no tab in its first line, {header[0][:60]!r}. Columns of a TSV are separated by tabs, not by "
            "spaces or commas: save it as tab-separated text."
        )
    double = [column for column in header if header.count(column) > 1]
    if double:
        raise InconsistentInput(f"{path}: the column {double[0]!r} is there twice.")
