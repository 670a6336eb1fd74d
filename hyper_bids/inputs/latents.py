"""Latents of the stimuli, from every form that SPEC 2.2 allows; only the rows that are needed."""

from __future__ import annotations

import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.errors import InconsistentInput, MissingFiles, listing
from hyper_bids.inputs.annex import require_content
from hyper_bids.inputs.declaration import LatentSpace
from hyper_bids.inputs.key import without_prefix
from hyper_bids.inputs.locate import locate, stimulus_path
from hyper_bids.inputs.tables import read_numbers, read_rows, read_table

PLACEHOLDER = "{stimulus_id}"

UNREADABLE = (ValueError, EOFError, OSError, TypeError, SyntaxError, OverflowError, MemoryError, tokenize.TokenError)
"""What numpy raises over a damaged header, which is a line of Python, or over a shape that no file has."""


@dataclass(frozen=True)
class _Rows:
    """A matrix on disk: labels of its rows, their length, and a way to read some of them."""

    path: Path
    stimuli: Sequence[str]
    n_latents: int
    take: Callable[[np.ndarray], np.ndarray]


def load_latents(space: LatentSpace, needed: Sequence[str], folders: Sequence[Path]) -> tuple[Latents, dict[str, Any]]:
    """Read the latents of the needed stimuli.

    Parameters
    ----------
    space : the declaration (`declaration.choose_space`)
    needed : stimulus ids; the result is in their sorted order, each once
    folders : where ``/stimuli`` is looked up, the overlay's folder first (`locate.stimuli_folders`)

    Returns
    -------
    latents : Latents of (n_stimuli, n_latents) float32
    declaration : the entry of ``StimulusLatents``, with ``Dimension`` filled in

    Raises
    ------
    MissingFiles
        A file does not exist or is a link without content.
    InconsistentInput
        Unreadable or pickled file, ``..`` in a path, another dimension than declared, duplicate or
        missing stimuli, values that are not finite; names file and stimuli.
    """
    wanted = sorted(set(needed))
    if PLACEHOLDER in space.content["File"]:
        values, where = _one_file_each(space, wanted, folders)
    else:
        values, where = _one_matrix(space, wanted, folders)
    with np.errstate(over="ignore"):
        values = np.asarray(values, dtype=np.float32)
    bad = [stimulus for stimulus, row in zip(wanted, values, strict=True) if not np.isfinite(row).all()]
    if bad:
        raise InconsistentInput(
            f"{where}: the latents of {len(bad)} stimuli are not finite (NaN, n/a or infinite): {listing(bad)}. "
            "Every latent must be a number; correct the file."
        )
    return Latents(values, tuple(wanted), space.label), {**space.content, "Dimension": values.shape[1]}


def _check_dimension(space: LatentSpace, n_latents: int, where: Path | str) -> None:
    if n_latents < 1 or space.dimension not in (None, n_latents):
        raise InconsistentInput(
            f"{where}: {n_latents} latents per stimulus, but the sidecar declares Dimension {space.dimension} "
            f"for the space {space.label}. Correct the one that is wrong."
        )


# ------------------------------------------------------------------ one matrix for all stimuli


def _one_matrix(space: LatentSpace, wanted: Sequence[str], folders: Sequence[Path]) -> tuple[np.ndarray, Path]:
    path = _file(space, space.content["File"], "File", folders)
    rows = _reader(path)(space, path, folders)
    _check_dimension(space, rows.n_latents, path)
    seen: dict[str, int] = {}
    double = [stimulus for row, stimulus in enumerate(rows.stimuli) if seen.setdefault(stimulus, row) != row]
    if double:
        raise InconsistentInput(
            f"{path}: {len(double)} stimuli are there more than once (stim- prefixes apart): "
            f"{listing(dict.fromkeys(double))}. Each stimulus needs exactly one row."
        )
    missing = [stimulus for stimulus in wanted if stimulus not in seen]
    if missing:
        raise InconsistentInput(
            f"{path}: no latents for {len(missing)} of {len(wanted)} stimuli: {listing(missing)}. "
            f"Its rows are named {listing(rows.stimuli, 3)}; compare with StimulusKey of the events sidecar."
        )
    return rows.take(np.array([seen[stimulus] for stimulus in wanted], dtype=int)), path


def _reader(path: Path) -> Callable[[LatentSpace, Path, Sequence[Path]], _Rows]:
    for ending, reader in READERS.items():
        if path.name.lower().endswith(ending):
            return reader
    raise InconsistentInput(f"{path}: latents are read from {', '.join(READERS)}, not from this kind of file.")


def _file(space: LatentSpace, text: str, key: str, folders: Sequence[Path]) -> Path:
    """Return the file that a declaration names, with its content there."""
    where = f"StimulusLatents, space {space.label}, {key}"
    if space.given is not None and key == "File":
        path: Path | None = Path(text)
        if not path.is_file():
            raise MissingFiles(f"--latents {space.label}={text}: no such file.")
    else:
        relative = stimulus_path(text, where)
        path = locate(relative, folders)
        if path is None:
            places = " or ".join(str(folder / relative) for folder in folders)
            raise MissingFiles(f"{where}: {text!r} is not there; looked for {places}.")
    require_content([path], [folder.parent for folder in folders])
    return path


def _npy_rows(space: LatentSpace, path: Path, folders: Sequence[Path]) -> _Rows:
    matrix = load_array(path)
    if matrix.ndim != 2:
        raise InconsistentInput(f"{path}: the array must be 2-D (stimuli x latents), got shape {matrix.shape}.")
    stimuli = _index(space, path, folders)
    if len(stimuli) != len(matrix):
        raise InconsistentInput(
            f"{path}: {len(matrix)} rows, but its index names {len(stimuli)} stimuli. Row i of the index names row i."
        )
    return _Rows(path, stimuli, matrix.shape[1], lambda rows: matrix[rows])


def load_array(path: Path) -> np.ndarray:
    """Map a ``.npy`` file of real numbers into memory; pickled objects are refused.

    Raises
    ------
    InconsistentInput
        Not an array file, pickled content, or not real numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise InconsistentInput(
            f"{path}: not a plain .npy array ({error}). Save real numbers with "
            "numpy.save(path, array.astype('float32')); pickled objects are never loaded."
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        kind = array.dtype if isinstance(array, np.ndarray) else "an archive"
        raise InconsistentInput(f"{path}: real numbers are needed, got {kind}.")
    return array


def _index(space: LatentSpace, path: Path, folders: Sequence[Path]) -> list[str]:
    """Return the stimulus ids that name the rows of ``path``: the Index, default the same stem."""
    declared = space.content.get("Index")
    if declared is not None:
        index = _file(space, declared, "Index", folders)
    elif space.given is not None:
        index = path.with_suffix(".tsv")
    else:
        index = _file(space, space.content["File"][: -len(path.suffix)] + ".tsv", "Index (default: same stem)", folders)
    table = read_table(index)
    if "stimulus_id" not in table.columns:
        raise InconsistentInput(f"{index}: no column stimulus_id, only {listing(table.columns)}.")
    return _labels(table["stimulus_id"].tolist(), index)


def _labels(cells: Sequence[Any], where: Path) -> list[str]:
    empty = [row + 1 for row, cell in enumerate(cells) if not isinstance(cell, str) or not cell]
    if empty:
        raise InconsistentInput(f"{where}: stimulus_id is empty or n/a in row(s) {listing(empty)}.")
    return [without_prefix(cell) for cell in cells]


def _tsv_rows(space: LatentSpace, path: Path, folders: Sequence[Path]) -> _Rows:
    table = read_numbers(path, "stimulus_id")
    values = table.iloc[:, 1:].to_numpy(dtype=np.float64)
    return _Rows(path, _labels(table["stimulus_id"].tolist(), path), values.shape[1], lambda rows: values[rows])


def _h5_rows(space: LatentSpace, path: Path, folders: Sequence[Path]) -> _Rows:
    matrix, index = space.content.get("Dataset", "latents"), space.content.get("IndexDataset", "stimulus_id")
    shape, dtype = _in_h5(path, matrix, lambda data: (data.shape, data.dtype))
    if len(shape) != 2 or dtype.kind not in "fiub":
        raise InconsistentInput(f"{path}: {matrix} must be 2-D real numbers, got {dtype} of shape {shape}.")
    cells = _in_h5(path, index, lambda data: list(np.ravel(data[()])))
    texts = [cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell) for cell in cells]
    if len(texts) != shape[0]:
        raise InconsistentInput(
            f"{path}: {matrix} has {shape[0]} rows, but {index} names {len(texts)} stimuli."
        )

    def take(rows: np.ndarray) -> np.ndarray:
        order = np.argsort(rows)  # h5py reads increasing rows only
        return _in_h5(path, matrix, lambda data: data[rows[order]])[np.argsort(order)]

    return _Rows(path, _labels([text.strip() for text in texts], path), shape[1], take)


def _in_h5(path: Path, name: str, read: Callable[[Any], Any]) -> Any:
    """Apply ``read`` to a dataset that lies in this very file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            data = file.get(name)
            if not isinstance(data, h5py.Dataset):
                raise InconsistentInput(
                    f"{path}: no dataset {name!r}; it holds {listing(file, 10)}. "
                    "Name them with Dataset and IndexDataset."
                )
            if data.is_virtual or data.external or Path(data.file.filename) != path:
                raise InconsistentInput(f"{path}: {name!r} points to another file; that is refused.")
            return read(data)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InconsistentInput(f"{path}: cannot read {name!r} from it as HDF5 ({error}).") from error


READERS: dict[str, Callable[[LatentSpace, Path, Sequence[Path]], _Rows]] = {
    ".npy": _npy_rows,
    ".tsv": _tsv_rows,
    ".tsv.gz": _tsv_rows,
    ".h5": _h5_rows,
    ".hdf5": _h5_rows,
}
"""Ending of the file -> how it is read."""


# ------------------------------------------------------------------ one file per stimulus


def _one_file_each(space: LatentSpace, wanted: Sequence[str], folders: Sequence[Path]) -> tuple[np.ndarray, str]:
    template = space.content["File"]
    where = f"StimulusLatents, space {space.label}, File"
    relatives = {stimulus: template.replace(PLACEHOLDER, stimulus) for stimulus in wanted}
    if space.given is None:
        paths = {stimulus: locate(stimulus_path(text, where), folders) for stimulus, text in relatives.items()}
    else:
        for stimulus in wanted:  # the template is the user's own, the stimulus id is not
            stimulus_path(stimulus, where)
        paths = {stimulus: Path(text) if Path(text).is_file() else None for stimulus, text in relatives.items()}
    missing = [stimulus for stimulus, path in paths.items() if path is None]
    if missing:
        raise InconsistentInput(
            f"{template}: no latents for {len(missing)} of {len(wanted)} stimuli: {listing(missing)} "
            f"(looked for {relatives[missing[0]]})."
        )
    require_content([path for path in paths.values() if path], [folder.parent for folder in folders])
    vectors = {stimulus: read_vector(path) for stimulus, path in paths.items() if path}
    for stimulus, vector in vectors.items():
        _check_dimension(space, len(vector), paths[stimulus] or template)
        if len(vector) != len(vectors[wanted[0]]):
            raise InconsistentInput(
                f"{paths[stimulus]}: {len(vector)} latents, but {len(vectors[wanted[0]])} in {paths[wanted[0]]}."
            )
    return np.stack([vectors[stimulus] for stimulus in wanted]), template


def read_vector(path: Path) -> np.ndarray:
    """Read the latents of one stimulus, ``(n_latents,)``, from a ``.npy`` or a ``.tsv``.

    A TSV holds one row or one column of numbers, with or without a header; a column
    ``stimulus_id`` is skipped.

    Raises
    ------
    InconsistentInput
        The file holds something else.
    """
    if path.name.lower().endswith(".npy"):
        array = load_array(path)
    elif path.name.lower().endswith((".tsv", ".tsv.gz")):
        array = _numbers(path)
    else:
        raise InconsistentInput(f"{path}: one file per stimulus may be .npy or .tsv.")
    if array.size == 0 or array.size != max(array.shape, default=0):
        raise InconsistentInput(f"{path}: one vector is needed, got shape {array.shape}.")
    return np.array(array, dtype=np.float64).ravel()


def _numbers(path: Path) -> np.ndarray:
    rows = read_rows(path)
    keep = [column for column, name in enumerate(rows[0]) if name != "stimulus_id"]
    cells = [[row[column] for column in keep] for row in rows]
    header = int(any(not _is_number(cell) for cell in cells[0]))
    texts = [cell for row in cells[header:] for cell in row if not _is_number(cell)]
    if texts:
        raise InconsistentInput(f"{path}: holds text where latents should be: {listing(texts, 3)}.")
    return np.array([[float("nan" if cell == "n/a" else cell) for cell in row] for row in cells[header:]])


def _is_number(cell: str) -> bool:
    try:
        float("nan" if cell == "n/a" else cell)
    except ValueError:
        return False
    return True
