"""Image files in and out, and the border where a generator's floats become `Images`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.data import Images, Latents
from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.whole_files import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

    from hyper_bids.protocols import Generator

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".ppm", ".pgm"})
"""What counts as an image file in a folder."""

MAX_PIXELS = 64_000_000
"""A file that claims more than this is refused before it is decoded (decompression bombs)."""

PIXELS_AT_ONCE = 4 << 20
"""Pixels of float images held at a time: 4 images of 1024 x 1024, 50 MB, and twice that while they are rounded."""


def read_image(path: Path) -> np.ndarray:
    """Return an image file as ``(height, width, 3)`` uint8 RGB.

    Grey, palette, 16-bit and CMYK images are converted, transparency is laid over white, and a photograph is turned
    as its EXIF orientation says. Of an animation, the first frame.

    Raises
    ------
    MissingFiles
        The file is not there, is no image, is broken, or is larger than `MAX_PIXELS`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    if not path.is_file():
        raise MissingFiles(f"Image {path} is not there (or its content is not: try `datalad get {path}`).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise MissingFiles(_too_large(path, f"{image.width} x {image.height} pixels"))
            return np.array(_rgb(ImageOps.exif_transpose(image)))
    except Image.DecompressionBombError as error:
        raise MissingFiles(_too_large(path, str(error))) from error
    except UnidentifiedImageError as error:
        words = "is no image that can be read. Copy it again, or take it out of the table."
        raise MissingFiles(f"{path} {words}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise MissingFiles(f"{path} is no image that can be read: {error}. Copy it again.") from error


def _too_large(path: Path, what: str) -> str:
    return f"{path} is no usable image: {what}, at most {MAX_PIXELS} pixels are read. Make it smaller."


def _rgb(image: Image) -> Image:
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it at 255
        values = np.asarray(image, dtype=np.float64).clip(0, 65535) / 257.0
        return Image.fromarray(np.floor(values + 0.5).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return image.convert("RGB")


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """Write ``(height, width, 3)`` uint8 RGB as PNG: same pixels, same bytes; whole or not at all.

    Raises
    ------
    InconsistentInput
        The pixels are not uint8 RGB.
    OutputNotWritable
        The file cannot be written.
    """
    from PIL import Image

    path, pixels = Path(path), np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InconsistentInput(
            f"A PNG is made from uint8 (height, width, 3), got {pixels.dtype} {pixels.shape} for {path.name}."
        )
    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format="PNG", compress_level=6)
    return path


def render(generator: Generator, latents: Latents, batch: int = 64) -> Images:
    """Generate the images of labelled latents and convert them to `Images`.

    They are made ``batch`` at a time, or as few as fit in `PIXELS_AT_ONCE`; the first is made alone to know its size.

    Raises
    ------
    InconsistentInput
        The dimensions differ, or the generator returned anything but finite images ``(n, height, width, 3)``.
    """
    if latents.n_latents != generator.n_latents:
        raise InconsistentInput(
            f"Generator of space {generator.space!r} takes {generator.n_latents} latents, "
            f"but latent space {latents.space!r} has {latents.n_latents}."
        )
    if not latents.stimuli:
        raise InconsistentInput(f"Latents {latents.space}: nothing to generate images from.")
    pixels: list[np.ndarray] = []
    start, step = 0, 1
    while start < len(latents.stimuli):
        stimuli = latents.stimuli[start : start + step]
        made = np.asarray(generator.generate(latents.values[start : start + step]))
        if made.ndim != 4 or made.shape[0] != len(stimuli) or made.shape[3] != 3:
            raise InconsistentInput(
                f"Generator of space {generator.space!r} returned shape {made.shape} "
                f"for {len(stimuli)} rows; it must return ({len(stimuli)}, height, width, 3)."
            )
        pixels.append(Images.from_float(made, generator.range, stimuli).pixels)
        start, step = start + len(stimuli), max(1, min(batch, PIXELS_AT_ONCE // (made.shape[1] * made.shape[2])))
    return Images(np.concatenate(pixels), latents.stimuli)
