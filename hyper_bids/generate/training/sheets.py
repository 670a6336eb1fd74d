"""What one looks at while a network is trained: pictures beside their reconstructions, and a table of losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hyper_bids.generate.images import write_png
from hyper_bids.generate.training.files import made_folder
from hyper_bids.whole_files import replacing

COLUMNS = 8
GAP = 2


def sample_sheet(originals: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Return one picture of pairs, the original above its reconstruction, eight pairs a row, on white.

    Parameters
    ----------
    originals, reconstructions : (n, size, size, 3) uint8

    Returns
    -------
    (height, width, 3) uint8
    """
    n, size = len(originals), originals.shape[1]
    columns, rows = min(n, COLUMNS), -(-n // COLUMNS)
    cell = size + GAP
    sheet = np.full((rows * (2 * cell + GAP) + GAP, columns * cell + GAP, 3), 255, np.uint8)
    for i in range(n):
        top, left = GAP + i // columns * (2 * cell + GAP), GAP + i % columns * cell
        sheet[top : top + size, left : left + size] = originals[i]
        sheet[top + size : top + 2 * size, left : left + size] = reconstructions[i]
    return sheet


def write_sheet(path: Path, originals: np.ndarray, reconstructions: np.ndarray) -> Path:
    """Write `sample_sheet` as PNG.

    Raises
    ------
    OutputNotWritable
    """
    made_folder(Path(path).parent)
    return write_png(path, sample_sheet(originals, reconstructions))


def write_table(path: Path, rows: Sequence[Mapping[str, float]]) -> Path:
    """Write rows of numbers with the same names as TSV, nine significant digits.

    Raises
    ------
    OutputNotWritable
    """
    names = list(rows[0])
    lines = ["\t".join(names)] + ["\t".join(f"{row[name]:.9g}" for name in names) for row in rows]
    with replacing(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path(path)


def pixel_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Pearson's r over the RGB pixels of each pair of images ``(n, h, w, 3)``; 0 where one is flat.

    As DAND's protocol (METHODS, section 6).
    """
    a, b = (np.asarray(x, dtype=np.float64).reshape(len(x), -1) for x in (one, other))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(1), length, out=np.zeros(len(a)), where=length > 0)
