"""The nouns as files: how one stage hands its result to the next. No pickle anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.derivatives.write import write_npz, write_text
from hyper_bids.whole_files import replacing

TEXT_COLUMNS = (
    "run", "session", "trial_type", "stimulus_id", "split", "role", "fold", "participant_id", "metric", "p_method",
)  # fmt: skip
"""Columns that stay text whatever they look like: a stimulus may be called 007 or NA."""


def save_table(path: Path, table: pd.DataFrame) -> Path:
    """Write a table so that floats come back bit for bit."""
    text = table.to_csv(None, sep="\t", index=False, na_rep="n/a", lineterminator="\n", float_format="%.17g")
    return write_text(path, text)


def load_table(path: Path) -> pd.DataFrame:
    """Read a table written by `save_table` or as BIDS output: only ``n/a`` is missing, labels stay text."""
    header = Path(path).read_text(encoding="utf-8").partition("\n")[0].split("\t")
    table = pd.read_csv(
        path,
        sep="\t",
        keep_default_na=False,
        na_values={name: ["n/a"] for name in header if name not in TEXT_COLUMNS},
        dtype={name: str for name in header if name in TEXT_COLUMNS},
    )
    return table.astype({name: object for name in header if name in TEXT_COLUMNS})


def load_json(path: Path) -> dict[str, Any]:
    """Read facts."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def load_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Read an .npz without pickle; ``names``: only these of its arrays."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays) if names is None else {name: arrays[name] for name in names}


def save_grid(path: Path, grid: VoxelGrid) -> Path:
    """Write a voxel grid."""
    return write_npz(path, {"mask": grid.mask, "affine": grid.affine, "space": np.array(grid.space or "")})


def load_grid(path: Path) -> VoxelGrid:
    """Read a voxel grid."""
    arrays = load_arrays(path)
    return VoxelGrid(arrays["mask"], arrays["affine"], str(arrays["space"]) or None)


def save_latents(path: Path, latents: Latents) -> Path:
    """Write latents with their labels."""
    arrays = {"values": latents.values, "stimuli": np.array(latents.stimuli), "space": np.array(latents.space)}
    return write_npz(path, arrays)


def load_latents(path: Path) -> Latents:
    """Read latents with their labels."""
    arrays = load_arrays(path)
    return Latents(arrays["values"], tuple(arrays["stimuli"].tolist()), str(arrays["space"]))


def save_array(path: Path, values: np.ndarray) -> Path:
    """Write one array as .npy."""
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, values, allow_pickle=False)
    return Path(path)


def save_rows(path: Path, shape: tuple[int, int], parts: Iterable[np.ndarray]) -> Path:
    """Write a float32 .npy whose rows come part by part, without holding the whole."""
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        _write_header(stream, shape)
        for part in parts:
            stream.write(np.ascontiguousarray(part, dtype="<f4").data)
    return Path(path)


def _write_header(stream: BinaryIO, shape: tuple[int, int]) -> None:
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})


def save_columns(path: Path, shape: tuple[int, int], parts: Iterable[tuple[slice, np.ndarray]]) -> Path:
    """Write a float32 .npy whose columns come slice by slice, without holding the whole.

    Parameters
    ----------
    parts : (columns, (shape[0], n) float32), together all columns
    """
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        _write_header(stream, shape)
        start = stream.tell()
        stream.truncate(start + 4 * shape[0] * shape[1])
        for columns, values in parts:
            rows = np.ascontiguousarray(values, dtype="<f4")
            for row, cells in enumerate(rows):
                stream.seek(start + 4 * (row * shape[1] + columns.start))
                stream.write(cells.data)
    return Path(path)


def load_array(path: Path) -> np.ndarray:
    """Map an .npy file into memory, read-only."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def load_responses(values: Path, samples: Path, grid: Path) -> Responses:
    """Put responses together from their three files."""
    return Responses(load_array(values), load_table(samples), load_grid(grid))
