"""NIfTI files, read as a stream: a masked block of volumes at a time, never a whole 4-D array."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles

BLOCK = 64
"""Volumes per block: 59 MB at 230 000 voxels; fewer would add to the sums more often."""

DEFLATE_LIMIT = 1032
"""No gzip stream grows by more than this when it is unpacked (zlib's documentation, "Maximum Compression Factor")."""

_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


@dataclass(frozen=True, eq=False)
class Header:
    """What is needed of a NIfTI header.

    Parameters
    ----------
    shape : (X, Y, Z, n_volumes)
    affine : (4, 4)
    dtype : on disk, with byte order
    offset : bytes before the first voxel
    slope, inter : stored value * slope + inter = signal
    repetition_time : s, None where the header gives none with a unit
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    dtype: np.dtype
    offset: int
    slope: float
    inter: float
    repetition_time: float | None


def read_header(path: Path) -> Header:
    """Read a NIfTI-1 or NIfTI-2 header, plain or gzipped.

    Raises
    ------
    MissingFiles
        The file does not exist, is no readable NIfTI file, or is too short for the voxels that its header announces
        (so that nobody asks for memory in vain).
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    if not Path(path).exists():
        raise MissingFiles(f"{path} does not exist (a broken link? then: datalad get {path}).")
    damage = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, AttributeError, KeyError, zlib.error,
              OverflowError)  # fmt: skip
    try:
        image = nib.load(path)
        header = image.header
        zooms = header.get_zooms()
        unit = _SECONDS.get(header.get_xyzt_units()[1], 0.0)
        found = Header(
            shape=tuple(int(n) for n in image.shape),
            affine=np.asarray(image.affine, dtype=float),
            dtype=header.get_data_dtype(),
            offset=int(image.dataobj.offset),
            slope=float(image.dataobj.slope),
            inter=float(image.dataobj.inter),
            repetition_time=float(zooms[3]) * unit or None if len(zooms) > 3 else None,
        )
        _check_size(Path(path), found)
        return found
    except damage as error:
        raise MissingFiles(
            f"{path} is no readable NIfTI file ({error}). It is truncated or damaged; copy or download it again."
        ) from error


def _check_size(path: Path, header: Header) -> None:
    """Compare the size that a header announces with the file's, as far as that can be known without unpacking it."""
    if min(header.shape, default=0) < 1:
        raise ValueError(f"its header announces the shape {header.shape}")
    announced = header.offset + math.prod(header.shape) * header.dtype.itemsize
    with open(path, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    there = path.stat().st_size * (DEFLATE_LIMIT if packed else 1)
    if there < announced:
        raise ValueError(
            f"its header announces {header.shape} voxels, {announced} bytes; the file holds "
            f"{f'at most {there}' if packed else there}"
        )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    from isal import igzip, isal_zlib

    with open(path, "rb") as raw:
        if raw.read(2) != b"\x1f\x8b":
            raw.seek(0)
            yield raw
            return
    try:
        with igzip.open(path, "rb") as stream:
            yield stream
    except isal_zlib.error as error:  # what the standard library calls zlib.error
        raise zlib.error(str(error)) from error


def _fill(stream: BinaryIO, buffer: memoryview) -> int:
    """Read until the buffer is full or the file ends."""
    filled = 0
    while filled < len(buffer):
        n = stream.readinto(buffer[filled:])
        if not n:
            break
        filled += n
    return filled


def _gather(volume: np.ndarray, where: np.ndarray, header: Header, row: np.ndarray) -> None:
    """Put a volume's masked voxels, scaled, into a float32 row."""
    if volume.dtype == row.dtype:
        np.take(volume, where, out=row, mode="clip")
    else:
        row[...] = volume[where]
    if (header.slope, header.inter) != (1.0, 0.0):
        row *= np.float32(header.slope)
        row += np.float32(header.inter)


def _room(rows: np.ndarray, n: int, n_voxels: int, reuse: bool) -> np.ndarray:
    """Return memory for the next ``n`` volumes, that of the last block if it may be used again."""
    return rows[:n] if reuse and len(rows) >= n else np.empty((n, n_voxels), dtype=np.float32)


def masked_blocks(
    path: Path, mask: np.ndarray, *, skip: int = 0, block: int = BLOCK, reuse: bool = False
) -> Iterator[np.ndarray]:
    """Yield ``(n, n_voxels)`` float32 blocks of consecutive volumes, masked as they are read.

    Parameters
    ----------
    path : a 4-D NIfTI file (.nii or .nii.gz)
    mask : (X, Y, Z) bool; the columns are its true voxels in C order
    skip : volumes left out at the start (dummy scans)
    block : volumes per block
    reuse : give out the same memory again and again: a block holds only until the next is asked for

    Raises
    ------
    InconsistentInput
        Not 4-D, complex, or another grid than the mask's.
    MissingFiles
        The file ends before its last volume, or its compression is damaged.
    """
    header = read_header(path)
    if len(header.shape) != 4:
        raise InconsistentInput(f"{path} has {len(header.shape)} dimensions; a BOLD run has 4 (x, y, z, time).")
    if header.dtype.kind not in "iuf":
        raise InconsistentInput(f"{path} holds {header.dtype} voxels; a BOLD run holds real numbers.")
    spatial, n_volumes = header.shape[:3], header.shape[3]
    if tuple(mask.shape) != spatial:
        raise InconsistentInput(f"{path} has the grid {spatial}, the mask {tuple(mask.shape)}; they must be the same.")
    # Voxels lie in Fortran order on disk and in C order in a row of responses.
    where = np.ravel_multi_index(np.nonzero(mask), spatial, order="F")
    volume = np.empty(int(np.prod(spatial)), dtype=header.dtype)
    view = memoryview(volume).cast("B")
    try:
        with _opened(path) as stream:
            stream.seek(header.offset) if stream.seekable() else stream.read(header.offset)
            rows, filled = np.empty((0, len(where)), dtype=np.float32), 0
            for index in range(n_volumes):
                if _fill(stream, view) < len(view):
                    raise EOFError(f"it ends in volume {index + 1} of {n_volumes}")
                if index < skip:
                    continue
                if filled == len(rows):
                    rows, filled = _room(rows, min(block, n_volumes - index), len(where), reuse), 0
                _gather(volume, where, header, rows[filled])
                filled += 1
                if filled == len(rows):
                    yield rows
            while stream.read(1 << 20):  # the checksum stands at the very end
                pass
    except (EOFError, OSError, zlib.error, gzip.BadGzipFile) as error:
        raise MissingFiles(f"{path} is damaged or incomplete: {error}. Copy or download it again.") from error


def read_volume(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return all values of an image, scaled, and its affine; a fourth axis of length 1 is dropped.

    Raises
    ------
    MissingFiles
        Not readable.
    """
    import nibabel as nib

    header = read_header(path)
    try:
        values = np.asanyarray(nib.load(path).dataobj)
    except (OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise MissingFiles(f"{path} is damaged or incomplete: {error}. Copy or download it again.") from error
    return values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values, header.affine


def read_mask(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(X, Y, Z)`` bool and the affine of a mask file (a trailing axis of length 1 is dropped).

    Raises
    ------
    MissingFiles, InconsistentInput
        Not readable; not 3-D; empty; not finite.
    """
    values, affine = read_volume(path)
    if values.ndim != 3:
        raise InconsistentInput(f"{path} has shape {values.shape}; a mask has 3 dimensions.")
    if values.dtype.kind not in "iufb":
        raise InconsistentInput(f"{path} holds {values.dtype} voxels; a mask holds real numbers.")
    mask = np.nan_to_num(values) > 0
    if not mask.any():
        raise InconsistentInput(f"{path} holds no voxel above 0; a mask must hold some.")
    return mask, affine


def same_grid(affine: np.ndarray, other: np.ndarray, tolerance: float = 1e-3) -> bool:
    """Whether two affines (mm) agree to ``tolerance`` mm."""
    return bool(np.allclose(affine, other, atol=tolerance, rtol=0))
