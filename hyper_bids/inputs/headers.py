"""What the header of a BOLD file says: its shape and repetition time, without reading a voxel."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from hyper_bids.errors import InconsistentInput, MissingFiles

_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


@dataclass(frozen=True)
class BoldHeader:
    """Number of volumes, and the repetition time in s (None where the header gives none with a unit)."""

    n_volumes: int
    repetition_time: float | None


def read_bold_header(path: Path) -> BoldHeader:
    """Read a NIfTI header.

    Raises
    ------
    MissingFiles
        The file cannot be opened.
    InconsistentInput
        It is no NIfTI file, its header is damaged, or it is not 4-D.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image = nibabel.load(path)
        shape = tuple(int(size) for size in image.shape)
        unit = image.header.get_xyzt_units()[1] if hasattr(image.header, "get_xyzt_units") else "unknown"
        zooms = image.header.get_zooms()
    except (FileNotFoundError, PermissionError) as error:
        raise MissingFiles(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise InconsistentInput(
            f"{path}: not a readable NIfTI file ({error}). It is truncated or damaged; copy or download it again."
        ) from error
    if len(shape) != 4 or min(shape) < 1:
        raise InconsistentInput(
            f"{path}: a BOLD file must be 4-D (x, y, z, time), this one has shape {shape}. "
            "A single volume (an sbref or a mean image) must not carry the suffix bold."
        )
    seconds = float(zooms[3]) * _SECONDS[unit] if unit in _SECONDS else None
    return BoldHeader(shape[3], seconds if seconds and seconds > 0 else None)
