"""A folder of pictures as one array on disk: any sizes in, the training size out, in an order that never changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles, listing
from hyper_bids.generate.centre_square import centre_square
from hyper_bids.generate.images import SUFFIXES, read_image
from hyper_bids.generate.training.files import removed
from hyper_bids.generate.vaegan import prepared
from hyper_bids.whole_files import replacing

AT_ONCE = 64
"""Pictures that are decoded between two writes: memory does not grow with the folder."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures at the training size.

    Parameters
    ----------
    names : paths relative to the folder, sorted
    paths : of the files
    pixels : (n, size, size, 3) uint8, mapped from disk
    digest : SHA-256 of all names and contents
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    pixels: np.ndarray
    digest: str

    def __len__(self) -> int:
        return len(self.names)


def image_files(folder: Path, option: str = "--images") -> dict[str, Path]:
    """Return relative name -> path of every image file in a folder and its subfolders, sorted by name.

    Parameters
    ----------
    option : which one gave the folder, for errors

    Raises
    ------
    MissingFiles
        There is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFiles(f"{option} {folder} is no folder.")
    found = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    }
    if not found:
        raise MissingFiles(f"No image ({', '.join(sorted(SUFFIXES))}) in {folder}.")
    return dict(sorted(found.items()))


def digest_of(files: dict[str, Path], stop: Callable[[], None] = lambda: None) -> str:
    """Return the SHA-256 of all names and contents.

    Raises
    ------
    MissingFiles
        A file cannot be read (a link to content that is not there, say).
    """
    whole = hashlib.sha256()
    for name, path in files.items():
        stop()
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise MissingFiles(f"{path} cannot be read: {error.strerror} (annexed? `datalad get {path}`).") from error
        whole.update(f"{name}\0{content}\n".encode())
    return whole.hexdigest()


def read_pictures(
    folder: Path,
    size: int,
    cache: Path,
    *,
    crop: float = 1.0,
    skip_bad: bool = False,
    option: str = "--images",
    say: Callable[[str], None] = lambda line: None,
    stop: Callable[[], None] = lambda: None,
) -> Pictures:
    """Prepare a folder's pictures once and map them: centre square, its middle ``crop``, ``size`` pixels, uint8 RGB.

    A second call finds them in ``cache``, if the files, the size and the crop are still the same.

    Parameters
    ----------
    cache : folder for ``pictures.u8`` and ``pictures.json``
    skip_bad : go on without the files that are no images, naming them; else they are an error
    option : which one gave the folder, for errors

    Raises
    ------
    MissingFiles
        No image, or files that are none.
    InconsistentInput
        All files are bad.
    OutputNotWritable
    """
    files = image_files(folder, option)
    digest = digest_of(files, stop)
    wanted = {"digest": digest, "size": size, "crop": crop}
    described = _described(cache)
    if {name: described.get(name) for name in wanted} != wanted:
        say(f"reading {len(files)} pictures at {size} pixels")
        removed(cache / "pictures.json")  # it would describe the new pictures, were the job killed between the two
        described = wanted | _prepare(files, size, crop, cache / "pictures.u8", stop)
        with replacing(cache / "pictures.json", durable=True) as part:
            part.write_text(json.dumps(described), encoding="utf-8")
    bad = described["bad"]
    if bad and not skip_bad:
        raise MissingFiles(
            f"{len(bad)} of {len(files)} files in {folder} are no images that can be read: {listing(bad)}. Remove "
            "them, or leave them out with --skip-bad-images."
        )
    if bad:
        say(f"left out {len(bad)} files that are no images: {listing(bad)}")
    names = tuple(name for name in files if name not in set(bad))
    if not names:
        raise InconsistentInput(f"None of the {len(files)} files in {folder} is an image that can be read.")
    pixels = np.memmap(cache / "pictures.u8", np.uint8, "r", shape=(len(names), size, size, 3))
    return Pictures(names, tuple(files[name] for name in names), pixels, digest)


def _described(cache: Path) -> dict:
    """Return what the cache holds; nothing where it is not whole."""
    try:
        described = json.loads((cache / "pictures.json").read_text(encoding="utf-8"))
        n_bytes = (cache / "pictures.u8").stat().st_size
        return described if n_bytes == described["n"] * described["size"] ** 2 * 3 else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _prepare(files: dict[str, Path], size: int, crop: float, out: Path, stop: Callable[[], None]) -> dict:
    """Write the pictures one after the other; return how many there are and which files are none."""
    bad: list[str] = []
    names = list(files)

    def made(name: str) -> np.ndarray | None:
        try:
            image = read_image(files[name])
        except MissingFiles:  # gathered: all of them are named at once
            return None
        return to_uint8(prepared(image, size, crop))

    with replacing(out, durable=True) as part, part.open("wb") as file, ThreadPoolExecutor(_n_workers()) as pool:
        for start in range(0, len(names), AT_ONCE):
            stop()
            some = names[start : start + AT_ONCE]
            for name, pixels in zip(some, pool.map(made, some), strict=True):
                if pixels is None:
                    bad.append(name)
                else:
                    file.write(pixels.tobytes())
    return {"n": len(names) - len(bad), "bad": bad}


def _n_workers() -> int:
    return min(8, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 2


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Round floats in 0 to 1 to uint8."""
    return np.floor(np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def full_size(paths: Sequence[Path], crop: float, max_pixels: int = 1 << 22) -> Iterator[np.ndarray]:
    """Yield the pictures at their own sizes, in order, as arrays ``(n, side, side, 3)`` uint8 of equal sizes.

    An array has at most ``max_pixels`` pixels, or one picture.
    """
    gathered: list[np.ndarray] = []
    for path in paths:
        image = centre_square(read_image(path), crop)
        if gathered and (
            image.shape != gathered[0].shape or (len(gathered) + 1) * image.shape[0] * image.shape[1] > max_pixels
        ):
            yield np.stack(gathered)
            gathered = []
        gathered.append(image)
    if gathered:
        yield np.stack(gathered)


def split(n: int, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those held out, each sorted; drawn without replacement from the seed.

    Raises
    ------
    InconsistentInput
        Fewer than two pictures would be left.
    """
    from hyper_bids.seeds import generator

    if n - held_out < 2:
        raise InconsistentInput(f"{n} pictures, {held_out} of them held out: too few. Lower --held-out.")
    order = generator(seed, "held-out").permutation(n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
