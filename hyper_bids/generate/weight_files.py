"""Which files on disk an option like ``--weights`` stands for, and which network a file is."""

from __future__ import annotations

import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from hyper_bids.errors import MissingFiles
from hyper_bids.generate.eigenface import FORMAT
from hyper_bids.weights import read_weights
from hyper_bids.weights.onnx_files import starts


def weight_files(path: Path) -> list[Path]:
    """Return the files that ``path`` stands for, sorted; none where nothing is there.

    A folder stands for all that is in it; a TensorFlow V2 checkpoint, named by its ``.index`` file or its prefix,
    for the index and its shards; an ONNX file for itself and its JSON sidecar.
    """
    path = Path(path)
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    prefix = path.with_name(path.name.removesuffix(".index"))
    index = prefix.with_name(f"{prefix.name}.index")
    if index.is_file() and (path == index or not path.exists()):
        shards = (file for file in prefix.parent.iterdir() if file.name.startswith(f"{prefix.name}.data-"))
        return sorted([index, *shards])
    if not path.is_file():
        return []
    sidecar = path.with_suffix(".json")
    return [path, sidecar] if path.suffix == ".onnx" and sidecar.is_file() else [path]


def architecture_of(path: Path) -> str:
    """Return which built-in generator the weights at ``path`` are for, by their content: ``pggan``, ``eigenface`` ...

    Raises
    ------
    MissingFiles, InconsistentInput
        As `hyper_bids.weights.read_weights`.
    """
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in weight_files(path))
    if not stamps:
        raise MissingFiles(f"Weights {path} are not there.")
    return _architecture(Path(path), stamps)


@lru_cache(maxsize=32)
def _architecture(path: Path, stamps: tuple) -> str:
    """Read the file once, however many participants are planned; ``stamps`` says whether it is still the same."""
    if path.is_dir() or is_eigenface(path):
        return "eigenface"
    return "onnx" if is_onnx(path) else read_weights(path, option="--generator").architecture


def is_eigenface(path: Path) -> bool:
    """Say whether a file is one of `Eigenface.save`."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return str(stored["format"]) == FORMAT
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error):
        return False


def is_onnx(path: Path) -> bool:
    """Say whether a file starts as an ONNX model."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return starts(file.read(8))
