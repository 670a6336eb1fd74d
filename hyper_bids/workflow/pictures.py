"""``hyper-tools generate``: latents from a file to pictures in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.data import Images, Latents
from hyper_bids.derivatives.names import unique_labels
from hyper_bids.derivatives.tree import checksum
from hyper_bids.derivatives.write import write_json
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.generate import builtin_attributes, make_generator, weight_files
from hyper_bids.generate.attributes_edit import edited
from hyper_bids.generate.images import write_png
from hyper_bids.inputs.attributes import read_directions
from hyper_bids.inputs.latents import load_array
from hyper_bids.inputs.tables import read_table
from hyper_bids.protocols import Generator
from hyper_bids.whole_files import writing
from hyper_bids.workflow.files import save_rows

PIXELS_AT_ONCE = 4 << 20
"""Pixels (or units of a layer) held at a time, over pictures: 4 pictures of 1024 x 1024, 50 MB of float32."""

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class PictureRequest:
    """What ``hyper-tools generate`` is asked for.

    Parameters
    ----------
    generator : a name, a weight file, or ``package.module:Class``
    weights, device, resolution, precision, truncation, compiled : see `make_generator`
    shape : of identity's pictures
    latent : ``z`` or ``w``, which of StyleGAN2's the latents are
    layer : name of a layer whose activations are wanted too
    attributes : boundary files; empty: the generator's own
    edits, keep : see `hyper_bids.generate.attributes_edit.edited`
    """

    generator: str
    weights: Path | None = None
    shape: tuple[int, ...] = ()
    device: str = "cpu"
    resolution: int | None = None
    precision: str = "float32"
    truncation: float | None = None
    compiled: bool = False
    latent: str | None = None
    layer: str | None = None
    attributes: tuple[Path, ...] = ()
    edits: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


def read_latents(path: Path) -> Latents:
    """Read latents from .npy ``(n, k)`` or a .tsv with a header whose first column may be ``stimulus_id``."""
    if path.suffix == ".npy":
        values = np.atleast_2d(load_array(path))
        return Latents(values, tuple(f"{row:04d}" for row in range(len(values))), path.stem)
    table = read_table(path)
    named = table.columns[0] == "stimulus_id"
    labels = tuple(table.iloc[:, 0]) if named else tuple(f"{row:04d}" for row in range(len(table)))
    numeric = table[[name for name in table.columns if name not in ("stimulus_id", "split", "fold")]]
    try:
        return Latents(numeric.to_numpy().astype(np.float64), labels, path.stem)
    except (TypeError, ValueError) as error:
        raise InconsistentInput(f"{path}: a latent is no number: {error}.") from error


def generate_pictures(request: PictureRequest, latents_file: Path, out: Path) -> int:
    """Write one PNG per row, ``images.npy`` and ``images.json``, and with a layer ``activations.npy``.

    ``images.npy`` is float32 (n, h, w, 3): the generator's own output, not clipped and not rescaled.
    ``activations.npy`` is float32 (n, C, H, W). ``images.json`` says what they were made with.

    Returns the number of pictures.

    Raises
    ------
    HyperError
        As `make_generator`; UsageError where the generator has no layers; InconsistentInput without any latents.
    """
    latents = read_latents(latents_file)
    if not latents.stimuli:
        raise InconsistentInput(f"{latents_file} holds no latents.")
    generator = make_generator(
        request.generator, space=latents.space, n_latents=latents.n_latents,
        declaration=_declaration(request), weights=request.weights,
        device=request.device, resolution=request.resolution, precision=request.precision,
        truncation=request.truncation, compiled=request.compiled,
    )  # fmt: skip
    latents = _with_edits(latents, request)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    if request.layer is not None:  # a layer that is not there is found out before anything is drawn
        parts = _in_parts(lambda rows: _activations(generator, rows, str(request.layer)), latents.values)
        _save(out / "activations.npy", len(latents.values), parts)
    shorts = list(unique_labels(latents.stimuli).values())
    parts = _with_pngs(_in_parts(generator.generate, latents.values), generator, out, shorts)
    raw = getattr(generator, "network_output", None)
    if callable(raw):  # what `generate` shows is converted already: a VAE-GAN's pictures are divided by their maximum
        for _ in parts:
            pass
        parts = _in_parts(raw, latents.values)
    _save(out / "images.npy", len(shorts), parts)
    write_json(out / "images.json", _described(request, generator, latents_file))
    return len(shorts)


def _declaration(request: PictureRequest) -> dict[str, Any]:
    """What an events sidecar would say of the generator."""
    declared = {"Shape": list(request.shape) or None, "Latent": request.latent}
    return {key: value for key, value in declared.items() if value is not None}


def _with_edits(latents: Latents, request: PictureRequest) -> Latents:
    if not request.edits:
        if request.keep:
            raise UsageError("--keep says what an --edit leaves alone; there is no --edit.")
        return latents
    if request.attributes:
        boundaries = read_directions(request.attributes, latents.n_latents)
    else:
        boundaries = builtin_attributes(request.generator) or {}
    return Latents(edited(latents.values, request.edits, boundaries, request.keep), latents.stimuli, latents.space)


def _activations(generator: Generator, latents: np.ndarray, layer: str) -> np.ndarray:
    import torch

    if not callable(getattr(generator, "activations", None)):
        raise UsageError(f"Generator {generator.space} has no layers to ask for; leave out --layer.")
    with torch.no_grad():
        found = generator.activations(torch.from_numpy(np.array(latents, dtype=np.float32)), [layer])
    return found[layer].float().cpu().numpy()


def _in_parts(draw: Any, latents: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what ``draw`` makes of the rows: one row, then as many at a time as `PIXELS_AT_ONCE` allows."""
    first = np.asarray(draw(latents[:1]), dtype=np.float32)
    yield first
    step = max(1, min(ROWS_AT_ONCE, 3 * PIXELS_AT_ONCE // first.size))
    for start in range(1, len(latents), step):
        yield np.asarray(draw(latents[start : start + step]), dtype=np.float32)


def _save(path: Path, n_rows: int, parts: Iterator[np.ndarray]) -> None:
    """Write the parts one after the other as one array, without holding the whole."""
    first = next(parts)

    def everything() -> Iterator[np.ndarray]:
        yield first
        yield from parts

    save_rows(path, (n_rows, *first.shape[1:]), everything())


def _with_pngs(
    parts: Iterator[np.ndarray], generator: Generator, out: Path, shorts: Sequence[str]
) -> Iterator[np.ndarray]:
    """Pass the float images on, having written each as a PNG: the border where they are clipped and rounded."""
    start = 0
    for part in parts:
        if part.ndim != 4 or part.shape[3] != 3:
            raise InconsistentInput(f"Generator {generator.space} returned shape {part.shape}, not (n, h, w, 3).")
        names = shorts[start : start + len(part)]
        for name, pixels in zip(names, Images.from_float(part, generator.range, names).pixels, strict=True):
            write_png(out / f"{name}.png", pixels)
        start += len(part)
        yield part


def _described(request: PictureRequest, generator: Generator, latents_file: Path) -> dict[str, Any]:
    named = Path(request.generator)
    weights = request.weights or (named if ":" not in request.generator and weight_files(named) else None)
    files = [] if weights is None else weight_files(weights)
    return {
        "Description": "images.npy: the network's own output, not clipped; the PNGs: clipped to Range and rounded",
        "Generator": type(generator).__name__,
        "Range": list(generator.range),
        "Weights": {file.name: checksum(file) for file in files},
        "Latents": {latents_file.name: checksum(latents_file)},
        "Notes": list(getattr(generator, "notes", ())),
        "Resolution": request.resolution,
        "Precision": request.precision,
        "Truncation": request.truncation,
        "Latent": request.latent,
        "Layer": request.layer,
        "Edits": list(request.edits),
        "Keep": list(request.keep),
    }
