"""Writing the output: whole files, with bytes that depend on the content alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.whole_files import mode_of_new_files, replacing, temporary_beside, writing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from hyper_bids.data import VoxelGrid


ABANDONED_SECONDS = 3600.0
"""Age at which a temporary file belongs to nobody any more."""

_OURS = "sub-|dataset_description|README|.bidsignore|descriptions|layout_config|task-|group|files|CITATION|[0-9]{8}-"
_TEMPORARY = re.compile(rf"\.({_OURS}).*\.[a-z0-9_]{{8}}")
"""Names that `temporary_beside` gives to files of the output folder."""


def stage(target: Path, source: Path) -> Path:
    """Copy ``source`` to a temporary file beside ``target``, ready to be renamed, and return it.

    Raises
    ------
    OutputNotWritable
    """
    with writing(target):
        temporary = temporary_beside(Path(target))
        try:
            shutil.copyfile(source, temporary)
            os.chmod(temporary, mode_of_new_files())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return temporary


def remove_unfinished(output: Path, participant: str) -> int:
    """Remove temporary files that a killed run left beside a participant's outputs, and return how many.

    Call it with the participant locked. Files at the root are shared with other jobs: of those only what has been
    there for `ABANDONED_SECONDS` goes.

    Parameters
    ----------
    output : the output folder
    participant : with ``sub-``
    """
    output = Path(output)
    folders = [output / participant, output / "logs" / participant]
    left = [path for folder in folders for path in folder.rglob(".*") if _TEMPORARY.fullmatch(path.name)]
    for folder in (output, output / "logs"):
        for path in folder.glob(".*"):
            if _TEMPORARY.fullmatch(path.name) and (path.name.startswith(f".{participant}.") or _abandoned(path)):
                left.append(path)
    left = [path for path in left if path.is_file()]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_SECONDS
    except OSError:
        return False


def write_bytes(path: Path, content: bytes) -> Path:
    """Write bytes; a file that already holds them is left alone."""
    path = Path(path)
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return path
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON object; NaN and infinity, which JSON lacks, are refused."""
    return write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_tsv(path: Path, table: pd.DataFrame) -> Path:
    """Write a BIDS TSV: ``n/a`` for what is missing, ``\\n``, nine significant digits."""
    text = table.to_csv(None, sep="\t", index=False, na_rep="n/a", lineterminator="\n", float_format="%.9g")
    return write_text(path, text)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write arrays without pickle, one after the other; equal arrays give equal bytes."""
    import numpy as np

    with replacing(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **{name: np.asarray(value) for name, value in arrays.items()})
    return Path(path)


def write_volume(path: Path, values: np.ndarray, grid: VoxelGrid) -> Path:
    """Write one volume of in-mask values ``(n_voxels,)`` as NIfTI."""
    return write_volumes(path, values[None], grid, squeeze=True)


def write_volumes(path: Path, values: np.ndarray, grid: VoxelGrid, *, squeeze: bool = False) -> Path:
    """Write in-mask rows ``(n, n_voxels)`` as a 4-D NIfTI, a volume at a time; outside the mask 0.

    ``values`` needs a length, a dtype and iteration only: rows may be made one at a time.

    The gzip header holds no name and no time, so that equal data give equal bytes.
    """
    import nibabel as nib
    import numpy as np
    from isal import igzip

    dtype = np.dtype(np.uint8) if values.dtype == bool else np.dtype(np.float32)
    shape = grid.mask.shape if squeeze else (*grid.mask.shape, len(values))
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_sform(grid.affine, code=2)
    header.set_qform(grid.affine, code=2)
    header.set_zooms([*nib.affines.voxel_sizes(grid.affine), *([1.0] * (len(shape) - 3))])
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    with (
        replacing(path) as temporary,
        open(temporary, "wb") as raw,
        igzip.IGzipFile(filename="", fileobj=raw, mode="wb", compresslevel=2, mtime=0) as stream,
    ):
        stream.write(header.binaryblock + b"\0" * 4)
        volume = np.zeros(grid.mask.shape, dtype=dtype)
        for row in values:
            volume[grid.mask] = row
            stream.write(volume.tobytes(order="F"))
    return Path(path)
