"""HYPER's published responses: ``data_1.dat``, a pickle of ``X_tr, T_tr, X_te, T_te``, read as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.files import mapped
from hyper_bids.weights.mxnet_params import Cursor, array_record
from hyper_bids.weights.unpickle import Inert, Meaning, Name, unpickle

PARTS = ("X_tr", "T_tr", "X_te", "T_te")


@dataclass(frozen=True, eq=False)
class HyperData:
    """Responses and latents of one participant, one row a trial.

    Parameters
    ----------
    train_responses : (n_train, n_voxels) float32
    train_latents : (n_train, n_latents) float32
    test_responses : (n_test, n_voxels) float32
        Means over the presentations of each test stimulus.
    test_latents : (n_test, n_latents) float32
    """

    train_responses: np.ndarray
    train_latents: np.ndarray
    test_responses: np.ndarray
    test_latents: np.ndarray


def _mxnet_array(record: Inert) -> np.ndarray:
    """An MXNet array in a pickle: its state is the record of `mxnet_params`, without the head of a list."""
    handle = record.state.get("handle") if isinstance(record.state, dict) else None
    if not isinstance(handle, bytes):
        raise Damaged("an MXNet array has no content")
    cursor = Cursor(handle)
    array = array_record(cursor)
    if cursor.left:
        raise Damaged(f"{cursor.left} bytes follow an MXNet array")
    return array


ALLOWED: dict[Name, Meaning | None] = {
    ("mxnet.ndarray.ndarray", "NDArray"): _mxnet_array,
    ("mxnet.ndarray", "NDArray"): _mxnet_array,
    ("mxnet.numpy.multiarray", "ndarray"): _mxnet_array,
}
"""Besides NumPy's arrays and plain containers."""


def read_hyper_data(path: Path) -> HyperData:
    """Read one participant's file in any of its layouts: lists, NumPy or MXNet arrays, whole or row by row.

    Nothing that is in the file is run.

    Raises
    ------
    MissingFiles
        The file is not there, or cut off or altered.
    InconsistentInput
        It would run code, or holds something else than four tables of finite numbers that fit each other.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFiles(f"{path} is not there.")
    try:
        with mapped(path) as data:
            tree = unpickle(data, ALLOWED)
        if not isinstance(tree, list | tuple) or len(tree) != len(PARTS):
            raise Refused(f"it does not hold the four tables {', '.join(PARTS)}")
        tables = [_table(part, name) for part, name in zip(tree, PARTS, strict=True)]
    except OSError as error:
        raise MissingFiles(f"{path} cannot be read: {error}.") from error
    except Damaged as error:
        raise MissingFiles(f"{path} cannot be read as HYPER's data: {error}.") from error
    except Refused as error:
        raise InconsistentInput(f"{path} is refused: {error}.") from error
    x_train, t_train, x_test, t_test = tables
    fits = len(x_train) == len(t_train) and len(x_test) == len(t_test)
    fits = fits and x_train.shape[1] == x_test.shape[1] and t_train.shape[1] == t_test.shape[1]
    if not fits:
        shapes = ", ".join(f"{name} {table.shape}" for name, table in zip(PARTS, tables, strict=True))
        raise InconsistentInput(f"{path}: the tables do not fit each other: {shapes}.")
    return HyperData(x_train, t_train, x_test, t_test)


def _table(part: object, name: str) -> np.ndarray:
    """Return ``(n, width)`` float32 of an array ``(n, width)`` or ``(n, 1, width)``, or of a list of rows."""
    try:
        values = np.asarray(part if isinstance(part, np.ndarray) else [_row(row) for row in part])
        values = values.astype(np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused(f"{name} is no table of numbers") from error
    if values.ndim == 3 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 2 or 0 in values.shape:
        raise Refused(f"{name} has the shape {values.shape[:6]}; a table (rows, columns) is needed")
    if not np.isfinite(values).all():
        raise Refused(f"{name} holds numbers that are not finite")
    return values


def _row(row: object) -> np.ndarray:
    values = np.asarray(row)
    if values.dtype.kind not in "fiub":
        raise TypeError("a row that is no numbers")
    return values
