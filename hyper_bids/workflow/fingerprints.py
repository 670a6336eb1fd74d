"""Digests of the files that a plan reads: a step runs again where the content behind a path is another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hyper_bids.derivatives.tree import checksum
from hyper_bids.generate import weight_files
from hyper_bids.inputs.confounds import sidecar
from hyper_bids.inputs.recording import Recording
from hyper_bids.inputs.response_maps import ResponseMap


def fingerprints(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files' content, several at once: ``{path: digest}``."""
    wanted = sorted({str(path) for path in paths})
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(wanted, pool.map(lambda path: checksum(Path(path)), wanted), strict=True))


def files_of(run: Recording | ResponseMap) -> list[Path]:
    """What is read of a run, the two that results are said to come from first."""
    if isinstance(run, ResponseMap):
        found = [run.image, run.table, run.mask]
    else:
        found = [run.bold, run.events, run.mask, run.confounds, confounds_sidecar(run)]
    return [path for path in found if path is not None]


def confounds_sidecar(run: Recording | ResponseMap) -> Path | None:
    """The JSON beside a confounds table, which says what its components were computed from."""
    table = getattr(run, "confounds", None)
    beside = None if table is None else sidecar(table)
    return beside if beside is not None and beside.is_file() else None


def weights_digest(weights: Path | None) -> str | None:
    """SHA-256 of the weights: of the one file, or of the names and digests of several."""
    found = [] if weights is None else weight_files(weights)
    if len(found) == 1 and weights is not None and weights.is_file():
        return checksum(found[0])
    listing = [(path.name, checksum(path)) for path in found]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest() if listing else None
