"""DAND's latents: standardised principal component scores of a recognition network's features."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hyper_bids.errors import InconsistentInput, OutputNotWritable
from hyper_bids.generate.training.files import made_folder, removed
from hyper_bids.generate.training.image_folder import full_size
from hyper_bids.generate.training.interruption import Interrupted
from hyper_bids.whole_files import replacing

ROWS = 1024
SAVE_EVERY = 60.0
"""Seconds of features that a job which is killed may lose."""


class Extractor(Protocol):
    """A network's features, as the latents are made of: `hyper_bids.features.make_features` gives one."""

    name: str
    layer: str
    sha256: str

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return ``(n, F)`` features of uint8 RGB ``(n, height, width, 3)``."""
        ...


@dataclass(frozen=True, eq=False)
class FeaturePCA:
    """Principal components of features: ``features = mean + (z * scale) @ components``.

    Parameters
    ----------
    mean : (F,) float32
    components : (K, F) float32
        Orthonormal, by falling variance; the largest absolute entry of each is positive.
    scale : (K,) float32
        Standard deviation of the scores that it was fitted on (n - 1 in the denominator).
    """

    mean: np.ndarray
    components: np.ndarray
    scale: np.ndarray

    @property
    def n_latents(self) -> int:
        return len(self.scale)

    def latents(self, features: np.ndarray) -> np.ndarray:
        """Return latents ``(n, K)`` float32, of unit variance where the PCA was fitted, of features ``(n, F)``."""
        return ((features - self.mean) @ self.components.T / self.scale).astype(np.float32)


def fit_pca(features: np.ndarray, n_components: int, rows: np.ndarray | None = None) -> FeaturePCA:
    """Return the principal components of features ``(n, F)``, which may be mapped from disk.

    As many as were asked for, or as many as there are: at most n - 1. Of the two Gram matrices the smaller is
    decomposed, in float64: memory is bounded by F x F, however many rows there are.

    Parameters
    ----------
    rows : which of them to take; None takes all

    Raises
    ------
    InconsistentInput
        Fewer than two rows, rows that are all the same, or values that are not finite.
    """
    rows = np.arange(len(features)) if rows is None else rows
    n, n_features = len(rows), features.shape[1]
    if n < 2:
        raise InconsistentInput(f"Principal components need at least two pictures, got {n}.")
    mean = sum(block.sum(axis=0) for block in _blocks(features, rows)) / n
    if not np.isfinite(mean).all():
        raise InconsistentInput("The feature network gave values that are not finite: are its weights whole?")
    if n <= n_features:
        centred = np.asarray(features[rows], dtype=np.float64) - mean
        gram = centred @ centred.T
    else:
        gram = np.zeros((n_features, n_features))
        for block in _blocks(features, rows):
            gram += (block - mean).T @ (block - mean)
    values, vectors = np.linalg.eigh(gram)
    keep = np.argsort(values)[::-1][: min(n_components, n - 1)]
    keep = keep[values[keep] > 1e-10 * max(values.max(), 1e-30)]
    if not len(keep):
        raise InconsistentInput("Principal components need features that differ; these are all the same.")
    components = vectors[:, keep].T
    if n <= n_features:
        components = (components @ centred) / np.sqrt(values[keep])[:, None]
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(len(keep)), largest])[:, None]
    scale = np.sqrt(values[keep] / (n - 1))
    return FeaturePCA(*(part.astype(np.float32) for part in (mean, components, scale)))


def _blocks(features: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), ROWS):
        yield np.asarray(features[rows[start : start + ROWS]], dtype=np.float64)


def features_of(
    paths: Sequence[Path],
    digest: str,
    extractor: Extractor,
    cache: Path,
    *,
    crop: float = 1.0,
    say: Callable[[str], None] = lambda line: None,
    stop: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Return the features ``(n, F)`` float32 of pictures at their own sizes, mapped from disk.

    A second call finds them in the file ``cache``, if pictures (their ``digest``), crop and network are the same; after
    an interruption it goes on with the rows that are there.

    Raises
    ------
    InconsistentInput
        The network gave anything but finite features, one row a picture.
    MissingFiles, OutputNotWritable
    """
    network = {"name": extractor.name, "layer": extractor.layer, "sha256": extractor.sha256}
    wanted = {"digest": digest, "n": len(paths), "crop": crop, **network}
    sidecar = cache.with_suffix(".json")
    n_features = _known(sidecar, wanted)
    if not n_features or not cache.is_file() or cache.stat().st_size != 4 * n_features * len(paths):
        say(f"features of {len(paths)} pictures: {extractor.name} {extractor.layer}")
        removed(sidecar)  # it would describe the new features, were the job killed between the two
        n_features = _write_features(paths, wanted, extractor, cache, say, stop)
        with replacing(sidecar, durable=True) as part:
            part.write_text(json.dumps(wanted | {"n_features": n_features}), encoding="utf-8")
    return np.memmap(cache, np.float32, "r", shape=(len(paths), n_features))


def _known(sidecar: Path, wanted: dict) -> int:
    try:
        found = json.loads(sidecar.read_text(encoding="utf-8"))
        return int(found["n_features"]) if {name: found.get(name) for name in wanted} == wanted else 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def _write_features(
    paths: Sequence[Path],
    wanted: dict,
    extractor: Extractor,
    out: Path,
    say: Callable[[str], None],
    stop: Callable[[], None],
) -> int:
    """Write the features beside ``out``, noting from time to time how many rows are safe; put them in place at the end.

    Rows are noted between two arrays of `full_size` only, so that what follows is cut as it would have been.
    """
    part, note = out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.part.json")
    made_folder(out.parent)
    n_features = _known(note, wanted)
    n_rows = _rows_in(part, note, n_features)
    if n_rows:
        say(f"{n_rows} of them are there already")
    else:
        removed(note)
        n_features = 0
    try:
        with part.open("rb+" if n_rows else "wb") as file:
            file.truncate(4 * n_features * n_rows)
            file.seek(0, os.SEEK_END)

            def keep() -> None:
                file.flush()
                os.fsync(file.fileno())
                with replacing(note, durable=True) as temporary:
                    temporary.write_text(json.dumps(wanted | {"n_features": n_features, "n_rows": n_rows}), "utf-8")

            kept = time.monotonic()
            for pixels in full_size(paths[n_rows:], wanted["crop"]):
                try:
                    stop()
                except Interrupted:
                    keep()
                    raise
                found = _checked(extractor, pixels, n_features)
                n_features = found.shape[1]
                file.write(found.tobytes())
                n_rows += len(found)
                if time.monotonic() - kept > SAVE_EVERY:
                    keep()
                    kept = time.monotonic()
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, out)
    except OSError as error:
        raise OutputNotWritable(f"Cannot write {out}: {error.strerror or error}.") from error
    removed(note)
    return n_features


def _rows_in(part: Path, note: Path, n_features: int) -> int:
    """Return how many rows of an interrupted job are safe."""
    try:
        n_rows = int(json.loads(note.read_text(encoding="utf-8"))["n_rows"]) if n_features else 0
        return n_rows if 0 < 4 * n_rows * n_features <= part.stat().st_size else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _checked(extractor: Extractor, pixels: np.ndarray, n_features: int) -> np.ndarray:
    """Return the features ``(n, F)`` of pictures; ``n_features`` is what those before had, or 0."""
    found = np.asarray(extractor.features(pixels), dtype=np.float32)
    found = found.reshape(len(found), -1)
    n_features = n_features or found.shape[1]
    if found.shape != (len(pixels), n_features) or not np.isfinite(found).all():
        raise InconsistentInput(
            f"{extractor.name} {extractor.layer} gave features of shape {found.shape} for {len(pixels)} "
            f"pictures, or some that are not finite; {n_features} finite ones a picture are needed."
        )
    return found
