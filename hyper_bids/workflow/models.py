"""``hyper-tools models``: what weight files there are, and what a file is."""

from __future__ import annotations

import math
import posixpath
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hyper_bids.derivatives.tree import checksum
from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError, did_you_mean
from hyper_bids.features import FEATURES, make_features
from hyper_bids.generate import BY_CONTENT, make_generator, weight_files
from hyper_bids.generate.download import WAIT, Expected, download
from hyper_bids.generate.weight_files import is_eigenface, is_onnx
from hyper_bids.weights import Weights, read_weights, write_safetensors
from hyper_bids.weights.published import PUBLISHED, Published, published_as
from hyper_bids.whole_files import writing


def list_published() -> list[str]:
    """Return the table of published files, some lines each."""
    lines = []
    for item in PUBLISHED:
        lines += [
            f"{item.key}  ({item.option} {item.network if item.option != '--attributes' else item.file})",
            f"    file      {item.file}, {item.size}",
            f"    what      {item.of}",
            f"    for       {item.paper}",
            f"    licence   {item.licence}",
            f"    page      {item.page}",
            f"    SHA-256   {item.checksum}",
            *([f"    note      {item.note}"] if item.note else []),
        ]
    return lines


def published_named(key: str) -> Published:
    """Return a published file by its key or file name.

    Raises
    ------
    UsageError
    """
    known = {name: item for item in PUBLISHED for name in (item.key, item.file)}
    if key not in known:
        raise UsageError(f"No published file is called {key!r}.{did_you_mean(key, known)} See hyper-tools models list.")
    return known[key]


def inspect_file(path: Path) -> dict[str, Any]:
    """Say what a weight file is: network, layout and container, sizes, type, checksum and notes.

    Raises
    ------
    MissingFiles, InconsistentInput
        As `read_weights`: the message says what the file is instead.
    """
    files = weight_files(path)
    if not files or Path(path).is_dir():
        raise MissingFiles(f"{path} is no file.")
    sums = {file.name: checksum(file) for file in files}
    own = _own_format(path)
    weights = None if own else read_weights(path)
    architecture = own or weights.architecture
    names = [name for name, network in FEATURES.items() if network.architecture == architecture]
    found: dict[str, Any] = {
        "File": str(path),
        "Bytes": sum(file.stat().st_size for file in files),
        "SHA256": next(iter(sums.values())) if len(sums) == 1 else sums,
        "Network": names[0] if names else architecture,
        "Option": "--features" if names else "--generator",
        **(_features_of(names[0], weights) if names else _generator_of(path)),
    }
    if weights is not None:
        found |= {
            "Layout": weights.origin,
            "Arrays": len(weights.arrays),
            "Parameters": weights.n_parameters,
            "Types": sorted({str(array.dtype) for array in weights.arrays.values()}),
            "Options": dict(weights.options),
            "Notes": list(dict.fromkeys((*found["Notes"], *weights.notes))),
        }
    return found | _publication(files[0], sums[files[0].name])


def _own_format(path: Path) -> str | None:
    """Name the formats that are no weights of a network known here: an eigenface file of hyper's, or ONNX."""
    return "eigenface" if is_eigenface(path) else "onnx" if is_onnx(path) else None


def _features_of(name: str, weights: Weights) -> dict[str, Any]:
    """What the feature network made of a file says of itself."""
    network = FEATURES[name]
    try:
        features = make_features(name, weights)
    except UsageError as error:  # without the layer that the papers use
        return {"Notes": [str(error)]}
    return {
        "Layer": network.layer,
        "Features": features.n_features,
        "Input": features.preparation.describe(),
        "Layers": list(features.layers),
        "Notes": [],
    }


def _publication(path: Path, sha256: str) -> dict[str, Any]:
    """Which published file this is, as far as its name, size and checksum tell."""
    known = published_as(path, sha256)
    if known is None:
        return {}
    if known.fits(sha256) is False:
        return {"Published": f"no: it has the name of {known.key}, but not its checksum"}
    if known.fits(sha256) is None and known.bytes not in (None, path.stat().st_size):
        return {"Published": f"no: it has the name of {known.key}, but not its size of {known.bytes} bytes"}
    return {"Published": known.key, "Licence": known.licence, "Page": known.page}


def _generator_of(path: Path) -> dict[str, Any]:
    """What the generator made of a file says of itself; a network that cannot be run as it is says why."""
    try:
        generator = make_generator(BY_CONTENT, space="inspected", n_latents=None, weights=path)
    except UsageError as error:
        return {"Notes": [str(error)]}
    resolution = getattr(generator, "resolution", None)
    return {
        "Latents": generator.n_latents,
        **({} if resolution is None else {"Resolution": resolution}),
        "Range": list(generator.range),
        "Notes": list(getattr(generator, "notes", ())),
    }


def verify_file(path: Path, sha256: str | None = None, key: str | None = None) -> str:
    """Compare a file with a checksum, or with what is known of a published one, and say how it came out.

    Parameters
    ----------
    sha256 : what it should be; None: that of the published file ``key``, or of the one of the same name

    Raises
    ------
    InconsistentInput
        It is another file.
    MissingFiles
        It is not there.
    UsageError
        There is nothing to compare with.
    """
    if not Path(path).is_file():
        raise MissingFiles(f"{path} is no file.")
    found = checksum(path)
    if sha256 is not None:
        if found != _checked_sum(sha256):
            raise InconsistentInput(f"{path} is another file: its SHA-256 is {found}, not {sha256}.")
        return f"{path}: SHA-256 {found}, as given"
    item = published_named(key) if key else published_as(path, found)
    if item is None:
        raise UsageError(
            f"{path} has the SHA-256 {found} and no published file's name. Say what it should be: --sha256 HEX or "
            f"--as NAME (see hyper-tools models list)."
        )
    fits = item.fits(found)
    if fits is False:
        raise InconsistentInput(f"{path} is not {item.key}: its SHA-256 is {found}, not {item.checksum}.")
    if fits:
        return f"{path}: SHA-256 {found}, that of {item.key} ({item.checksum})"
    size = Path(path).stat().st_size
    if item.bytes is not None and size != item.bytes:
        raise InconsistentInput(
            f"{path} has {size} bytes, {item.key} has {item.bytes}{f' ({item.note})' if item.note else ''}."
        )
    same = "it has the right size" if item.bytes is not None else "its size is not known either"
    return f"{path}: SHA-256 {found}; the authors of {item.key} state no checksum, {same}"


def convert_file(path: Path, out: Path, member: str | None = None) -> str:
    """Write a weight file as safetensors in canonical form: no code, quick to read, any framework.

    Raises
    ------
    UsageError
        The output would be the input, or is not called ``.safetensors``.
    MissingFiles, InconsistentInput, OutputNotWritable
        As `read_weights` and `write_safetensors`.
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out}: the file is safetensors, call it {out.with_suffix('.safetensors').name}.")
    if out.exists() and out.resolve() == Path(path).resolve():
        raise UsageError(f"--out {out} is the input itself.")
    if weight_files(path) and _own_format(path):
        raise UsageError(f"{path} is of hyper's own or a neutral format already; there is nothing to convert.")
    weights = read_weights(path, member=member)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(weights, out)
    return f"{out}: {weights.architecture}, {weights.n_parameters} numbers, from {weights.origin}"


def fetch_file(
    what: str, out: Path, *, url: str | None = None, sha256: str | None = None, wait: float = WAIT,
    say: Callable[[str], None] | None = None,
) -> Path:  # fmt: skip
    """Download a published file, or any address, and return where it is.

    Parameters
    ----------
    what : a key of `hyper_bids.weights.published.PUBLISHED`, or an address
    out : folder, or name of the file
    url : the address of a published file, from its authors' page
    sha256 : what it should be; None: what is known of the published file

    Raises
    ------
    UsageError
        An unknown key, or no address.
    MissingFiles, InconsistentInput, OutputNotWritable
        As `download`.
    """
    is_address = "://" in what
    if is_address and url is not None:
        raise UsageError(f"Two addresses were given: {what} and --url {url}.")
    item = None if is_address else published_named(what)
    url = what if is_address else url
    if url is None:
        raise UsageError(
            f"{what}: its authors say where it is on {item.page}. Licence: {item.licence}. Give the address that "
            f"stands there: hyper-tools models fetch {item.key} --url ADDRESS."
        )
    name = item.file if item else posixpath.basename(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    if out.is_dir() or not out.suffix:
        if not name or name in (".", ".."):
            raise UsageError(f"{url} names no file: say where to with --out FILE.")
        out = out / name
    wanted = _checked_sum(sha256) if sha256 else (item.sha256 if item else "")
    if out.is_file():
        return _already(out, wanted, item)
    if item is not None and say is not None:
        say(f"{item.key}: {item.licence}")
    found = download(url, out, Expected(wanted), wait=wait, say=say)
    if not wanted and item is not None and item.fits(found) is False:
        out.unlink()
        raise InconsistentInput(f"{url}: its SHA-256 is {found}, not {item.checksum} of {item.key}. Nothing was kept.")
    if say is not None:
        unverified = "" if wanted or (item and item.fits(found)) else " (nothing to compare it with)"
        say(f"{out}: {_in_words(out.stat().st_size)}, SHA-256 {found}{unverified}")
    return out


def _already(out: Path, wanted: str, item: Published | None) -> Path:
    """A file that is there already is right, or is left alone with an error."""
    found = checksum(out)
    agrees = found == wanted if wanted else item is not None and item.fits(found)
    if not agrees:
        raise UsageError(f"{out} exists, with SHA-256 {found}. Remove it, or choose another --out.")
    return out


def _checked_sum(sha256: str) -> str:
    text = sha256.strip().lower().removeprefix("sha256:")
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise UsageError(f"--sha256 {sha256}: a SHA-256 is 64 hexadecimal digits.")
    return text


def _in_words(n_bytes: int) -> str:
    """Return a size for people.

    >>> _in_words(92288373), _in_words(12)
    ('92.3 MB', '12 bytes')
    """
    power = min(int(math.log10(max(n_bytes, 1)) // 3), 3)
    return f"{n_bytes} bytes" if power == 0 else f"{n_bytes / 1000**power:.1f} {' kMG'[power]}B"
