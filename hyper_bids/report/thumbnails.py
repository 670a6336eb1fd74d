"""Pictures small enough for a page that is sent by e-mail, as data URIs with reproducible bytes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyper_bids.errors import MissingFiles
from hyper_bids.report.canvas import Drawing

TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
TINY = 64
"""Pictures up to this size are shown with hard pixels and never shrunk."""

BUDGET = 9e6
"""Bytes that all thumbnails of a report may take together (before base64, which adds a third)."""


def data_uri(content: bytes, extension: str) -> str:
    """Return ``data:image/...;base64,...``."""
    return f"data:{TYPES[extension]};base64,{base64.b64encode(content).decode('ascii')}"


def drawing_uri(drawing: Drawing) -> str:
    """Return a figure as a data URI."""
    return data_uri(drawing.content, drawing.extension)


@dataclass(frozen=True)
class Thumbnail:
    """A picture on the page: where its bytes are, and whether its pixels are to be seen."""

    uri: str
    pixelated: bool


@dataclass(frozen=True)
class Quality:
    """How pictures are shrunk: to ``side`` pixels, as PNG, or as JPEG where that takes more than ``most`` bytes."""

    side: int
    extension: str
    most: float = BUDGET

    @classmethod
    def for_count(cls, n_pictures: int) -> Quality:
        """Choose by how many pictures share the page.

        >>> Quality.for_count(60).side, Quality.for_count(2000).extension
        (208, '.jpg')
        """
        for side, extension, each in ((208, ".png", 60e3), (160, ".png", 36e3), (160, ".jpg", 9e3), (112, ".jpg", 5e3)):
            if n_pictures * each <= BUDGET:
                return cls(side, extension, BUDGET / max(1, n_pictures))
        return cls(80, ".jpg")

    def thumbnail(self, pixels: np.ndarray) -> Thumbnail:
        """Shrink and encode ``(height, width, 3)`` uint8."""
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(pixels))
        largest = max(image.size)
        tiny = largest <= TINY
        if largest > self.side and not tiny:
            scale = self.side / largest
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        if tiny or self.extension == ".png":
            image.save(buffer, format="PNG", optimize=True)
        if tiny or 0 < buffer.tell() <= self.most:
            return Thumbnail(data_uri(buffer.getvalue(), ".png"), tiny)
        compressed = io.BytesIO()
        image.save(compressed, format="JPEG", quality=85)
        return Thumbnail(data_uri(compressed.getvalue(), ".jpg"), False)


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
