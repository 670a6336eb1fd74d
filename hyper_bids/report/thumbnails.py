"""Pictures small enough for a page that is sent by e-mail, as data URIs with reproducible bytes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.errors import MissingFiles

TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
TINY = 64
"""Pictures up to this size are shown with hard pixels and never shrunk."""

BUDGET = 9e6
"""Bytes that all thumbnails of a report may take together (before base64, which adds a third)."""


def data_uri(content: bytes, extension: str) -> str:
    """Return ``data:image/...;base64,...``."""
    return f"data:{TYPES[extension]};base64,{base64.b64encode(content).decode('ascii')}"


LARGE = 250_000
"""Bytes of a PNG from which on a JPEG of it is tried."""


def embedded(content: bytes, extension: str) -> str:
    """Return the data URI of a figure: a large PNG of photographs as JPEG, where that takes less than half.

    The file in ``figures/`` stays as it is; the page is to fit into an e-mail, also with several decoders.
    """
    from PIL import Image

    if extension == ".png" and len(content) > LARGE:
        with Image.open(io.BytesIO(content)) as image:
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, format="JPEG", quality=90, subsampling=0)
        if 2 * buffer.tell() < len(content):
            return data_uri(buffer.getvalue(), ".jpg")
    return data_uri(content, extension)


@dataclass(frozen=True)
class Thumbnail:
    """A picture on the page: where its bytes are, and whether its pixels are to be seen."""

    uri: str
    pixelated: bool


TIERS = ((384, 45e3), (320, 32e3), (256, 21e3), (208, 14e3), (160, 9e3), (112, 5e3))
"""Longest side in pixels, and the bytes that a picture of it may be expected to take as JPEG."""

SMALLEST = 64
"""Pixels below which a picture that does not fit its share of the budget is not shrunk further."""


SQUEEZED = 4
"""To what part of its pixels' bytes a PNG of a photograph can be squeezed: where that is too much, none is tried.
Pixels that repeat a neighbour, as most in a drawing do, take nearly nothing and are not counted."""


@dataclass(frozen=True)
class Quality:
    """How pictures are shrunk: to ``side`` pixels, or fewer, until ``most`` bytes hold one.

    A picture that need not be shrunk is a PNG where it fits; all others are JPEG. The page shows them small, and
    enlarges the same bytes on request.
    """

    side: int
    most: float = BUDGET

    @classmethod
    def for_count(cls, n_pictures: int) -> Quality:
        """Choose by how many pictures share the page.

        >>> Quality.for_count(60).side, Quality.for_count(600).side, Quality.for_count(9000).side
        (384, 208, 80)
        """
        share = BUDGET / max(1, n_pictures)
        return cls(next((side for side, each in TIERS if each <= share), 80), share)

    def thumbnail(self, pixels: np.ndarray) -> Thumbnail:
        """Shrink and encode ``(height, width, 3)`` uint8."""
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(pixels))
        tiny = max(image.size) <= TINY
        if tiny:
            return Thumbnail(data_uri(_encoded(image, "PNG"), ".png"), True)
        side = min(self.side, max(image.size))
        whole = side == max(image.size) and 3 * _n_new(pixels) <= SQUEEZED * self.most
        if whole and len(content := _encoded(image, "PNG")) <= self.most:
            return Thumbnail(data_uri(content, ".png"), False)
        while True:
            content = _encoded(_shrunk(image, side), "JPEG")
            if len(content) <= self.most or side <= SMALLEST:
                return Thumbnail(data_uri(content, ".jpg"), False)
            side = max(SMALLEST, side * 3 // 4)


def _n_new(pixels: np.ndarray) -> int:
    """How many pixels of ``(height, width, 3)`` differ both from the one on their left and from the one above."""
    new = np.ones(pixels.shape[:2], dtype=bool)
    new[:, 1:] &= (pixels[:, 1:] != pixels[:, :-1]).any(axis=2)
    new[1:] &= (pixels[1:] != pixels[:-1]).any(axis=2)
    return int(new.sum())


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """Shrink ``(height, width, 3)`` uint8 so that neither side is longer than ``side``; smaller ones stay."""
    from PIL import Image

    if max(pixels.shape[:2]) <= side:
        return pixels
    return np.asarray(_shrunk(Image.fromarray(np.ascontiguousarray(pixels)), side))


def _shrunk(image: Any, side: int) -> Any:
    from PIL import Image

    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _encoded(image: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **({"compress_level": 6} if kind == "PNG" else {"quality": 85}))
    return buffer.getvalue()


def read_picture(path: Path) -> np.ndarray:
    """Return a picture as ``(height, width, 3)`` uint8, transparency laid over white.

    Raises
    ------
    MissingFiles
        It is not there or is no image.
    """
    from PIL import Image, ImageOps

    path = Path(path)
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):
                values = np.asarray(image, dtype=np.float64).clip(0, 65535) / 257.0
                image = Image.fromarray(np.floor(values + 0.5).astype(np.uint8))
            if image.has_transparency_data:
                clear = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MissingFiles(f"Picture {path} cannot be read for the report: {error}.") from error
