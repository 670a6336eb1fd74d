"""True and predicted items of ``hyper-tools evaluate``: two folders of pictures, or latents in two files or folders."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError, listing

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
VECTORS = (".npy", ".tsv")


@dataclass(frozen=True, eq=False)
class Pairs:
    """What is compared, aligned by stimulus.

    Parameters
    ----------
    stimuli : n labels
    pictures : (true, predicted), each stimulus -> (height, width, 3) uint8; None where latents were given
    latents : (true, predicted), each (n, n_latents); None where pictures were given
    files : what was read
    notices : what the user should know
    """

    stimuli: tuple[str, ...]
    pictures: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] | None = None
    latents: tuple[np.ndarray, np.ndarray] | None = None
    files: tuple[Path, ...] = ()
    notices: list[str] = field(default_factory=list)


def read_pairs(true: Path, predicted: Path) -> Pairs:
    """Read both sides and match them.

    Raises
    ------
    UsageError
        Pictures on one side and latents on the other.
    MissingFiles
        A side is not there, or holds neither.
    InconsistentInput
        Names or dimensions that do not fit, values that are not finite.
    """
    sides = {name: _side(name, Path(path)) for name, path in (("--true", true), ("--predicted", predicted))}
    kinds = {name: isinstance(side, dict) for name, side in sides.items()}
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{name} holds {'pictures' if kind else 'latents'}" for name, kind in kinds.items())
        raise UsageError(f"Pictures are compared with pictures and latents with latents, but {told}.")
    if kinds["--true"]:
        return _picture_pairs(sides["--true"], sides["--predicted"])
    return _latent_pairs(sides["--true"], sides["--predicted"], Path(true), Path(predicted))


def _side(option: str, path: Path) -> dict[str, Path] | Latents:
    if not path.exists():
        raise MissingFiles(f"{option} {path}: no such file or folder.")
    if path.is_file():
        return _matrix(option, path)
    pictures = _by_stem(option, path, PICTURES)
    if pictures:
        return pictures
    vectors = _by_stem(option, path, VECTORS)
    if not vectors:
        raise MissingFiles(f"{option} {path} holds neither pictures ({', '.join(PICTURES)}) nor latents (.npy, .tsv).")
    return _one_file_each(vectors)


def _by_stem(option: str, folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in endings or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InconsistentInput(
                f"{option} {folder}: {found[path.stem].name} and {path.name} have the same name but for the ending; "
                "which of them is meant?"
            )
        found[path.stem] = path
    return found


def _one_file_each(files: dict[str, Path]) -> Latents:
    from hyper_bids.inputs.latents import read_vector

    vectors = {label: read_vector(path) for label, path in files.items()}
    lengths = {len(vector) for vector in vectors.values()}
    if len(lengths) > 1:
        raise InconsistentInput(f"{next(iter(files.values())).parent}: vectors of different lengths: {lengths}.")
    return Latents(np.stack(list(vectors.values())), tuple(vectors), "given")


def _matrix(option: str, path: Path) -> Latents:
    """Read a latent file in one of SPEC's forms; an .npy without index has its rows counted."""
    from hyper_bids.inputs.declaration import LatentSpace
    from hyper_bids.inputs.latents import READERS, load_array

    reader = next((READERS[ending] for ending in READERS if path.name.lower().endswith(ending)), None)
    if reader is None:
        raise UsageError(f"{option} {path}: latents are read from {', '.join(READERS)}, pictures from a folder.")
    if path.suffix == ".npy" and not path.with_suffix(".tsv").is_file():
        values = np.asarray(load_array(path))
        if values.ndim != 2 or not values.size:
            raise InconsistentInput(f"{path}: the array must be 2-D (stimuli x latents), got shape {values.shape}.")
        return Latents(values, tuple(_row(number) for number in range(len(values))), "rows")
    rows = reader(LatentSpace("given", {"File": str(path)}, given=path), path, ())
    return Latents(rows.take(np.arange(len(rows.stimuli))), tuple(rows.stimuli), "given")


def _row(number: int) -> str:
    return f"row{number + 1:05d}"


def _matched(true: tuple[str, ...], predicted: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    strangers = [label for label in predicted if label not in set(true)]
    if strangers:
        raise InconsistentInput(
            f"{len(strangers)} of {len(predicted)} predictions have no true item of that name: {listing(strangers)}. "
            f"True ones are named {listing(true, 3)}."
        )
    both = tuple(label for label in true if label in set(predicted))
    lost = [label for label in true if label not in set(predicted)]
    notices = [f"{len(lost)} of {len(true)} true items have no prediction and are left out: {listing(lost)}."]
    return both, notices if lost else []


def _picture_pairs(true: dict[str, Path], predicted: dict[str, Path]) -> Pairs:
    from hyper_bids.generate.images import read_image

    stimuli, notices = _matched(tuple(true), tuple(predicted))
    sides = tuple({label: read_image(side[label]) for label in stimuli} for side in (true, predicted))
    files = tuple(side[label] for side in (true, predicted) for label in stimuli)
    return Pairs(stimuli, pictures=(sides[0], sides[1]), files=files, notices=notices)


def _latent_pairs(true: Latents, predicted: Latents, first: Path, second: Path) -> Pairs:
    if (true.space == "rows") != (predicted.space == "rows"):
        bare = first if true.space == "rows" else second
        raise InconsistentInput(
            f"{bare} has no index, and the other side names its stimuli. Put {bare.with_suffix('.tsv').name} (column "
            "stimulus_id) beside it, or give neither an index where rows are in the same order."
        )
    notices = []
    if true.space == "rows":
        if len(true.stimuli) != len(predicted.stimuli):
            raise InconsistentInput(
                f"{first} has {len(true.stimuli)} rows, {second} has {len(predicted.stimuli)}, and neither has an "
                "index (a .tsv of the same name with a column stimulus_id) to match them by."
            )
        notices.append("Neither file has an index: row i of the one is taken for row i of the other.")
    if true.n_latents != predicted.n_latents:
        raise InconsistentInput(f"{first} has {true.n_latents} latents, {second} has {predicted.n_latents}.")
    stimuli, lost = _matched(true.stimuli, predicted.stimuli)
    values = true.rows(stimuli), predicted.rows(stimuli)
    for path, side in zip((first, second), values, strict=True):
        bad = [label for label, row in zip(stimuli, side, strict=True) if not np.isfinite(row).all()]
        if bad:
            raise InconsistentInput(f"{path}: latents of {len(bad)} stimuli are not finite: {listing(bad)}.")
    files = tuple(path for path in (first, second) if path.is_file())
    return Pairs(stimuli, latents=values, files=files, notices=notices + lost)
