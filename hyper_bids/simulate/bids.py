"""Bytes of files: JSON, TSV, NIfTI and npz that are the same for the same content, whenever they are written."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hyper_bids.data import VoxelGrid

GREY_STEP = 0.125
"""Scanner units per integer of a BOLD file: rounding adds noise of 0.004 % of the mean, and the file stays small."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, making its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with one newline at its end."""
    write_bytes(path, (text.rstrip("\n") + "\n").encode())


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write indented JSON."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False))


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; None becomes ``n/a``, numbers keep six significant digits."""
    lines = ["\t".join(columns), *("\t".join(_cell(value) for value in row) for row in rows)]
    write_text(path, "\n".join(lines))


def _cell(value: object) -> str:
    if value is None:
        return "n/a"
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write one array."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays, compressed; NumPy dates the members 1980, and nothing is pickled."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def bold_bytes(values: np.ndarray, grid: VoxelGrid, tr: float) -> bytes:
    """Return a gzipped 4-D NIfTI of ``(n_volumes, n_voxels)`` values as scaled int16, 0 outside the grid."""
    step = max(GREY_STEP, float(np.abs(values).max()) / 32000)
    return _nifti(grid.unmask(np.round(values / step).astype(np.int16)), grid.affine, step, tr)


def mask_bytes(grid: VoxelGrid) -> bytes:
    """Return a gzipped 3-D NIfTI that is 1 in the grid's voxels."""
    return _nifti(grid.mask.astype(np.uint8), grid.affine, 1.0, None)


def _nifti(array: np.ndarray, affine: np.ndarray, step: float, tr: float | None) -> bytes:
    import nibabel

    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    if tr is not None:
        image.header.set_zooms((*image.header.get_zooms()[:3], tr))
    image.header.set_slope_inter(step, 0.0)  # nibabel then writes the integers as they are
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)  # no time stamp: the same bytes every time
