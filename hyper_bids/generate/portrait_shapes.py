"""Soft shapes on a coordinate grid: distances, edges one pixel wide, and the sheet that they are painted on.

Every function takes and gives tensors that broadcast over ``(n, 1, height, width)``; all are differentiable.
Distances are in half picture widths, negative inside.
"""

from __future__ import annotations

import numpy as np
import torch

TINY = 1e-6


def ellipse(x: torch.Tensor, y: torch.Tensor, rx: torch.Tensor | float, ry: torch.Tensor | float) -> torch.Tensor:
    """Signed distance, along the ray from the centre, to an ellipse around the origin."""
    norm = ((x / rx).square() + (y / ry).square() + TINY).sqrt()
    return (x.square() + y.square() + TINY).sqrt() * (1.0 - 1.0 / norm)


def superellipse(
    x: torch.Tensor, y: torch.Tensor, rx: torch.Tensor, ry: torch.Tensor, power: torch.Tensor
) -> torch.Tensor:
    """Signed distance along the ray to ``|x/rx|^p + |y/ry|^p = 1`` (a rounded box for large p)."""
    norm = superellipse_norm(x, y, rx, ry, power)
    return (x.square() + y.square() + TINY).sqrt() * (1.0 - 1.0 / norm)


def superellipse_norm(
    x: torch.Tensor, y: torch.Tensor, rx: torch.Tensor, ry: torch.Tensor, power: torch.Tensor
) -> torch.Tensor:
    """``(|x/rx|^p + |y/ry|^p)^(1/p)``: 0 at the centre, 1 on the outline."""
    a = (x / rx).square() + TINY
    b = (y / ry).square() + TINY
    half = 0.5 * power
    return (a.pow(half) + b.pow(half)).pow(1.0 / power)


def blob(x: torch.Tensor, y: torch.Tensor, rx: torch.Tensor | float, ry: torch.Tensor | float) -> torch.Tensor:
    """Soft spot: a Gaussian with standard deviations ``rx``, ``ry``."""
    return (-0.5 * ((x / rx).square() + (y / ry).square())).exp()


def inside(distance: torch.Tensor, edge: float) -> torch.Tensor:
    """Coverage, 1 inside and 0 outside, through a sigmoid of scale ``edge``."""
    return (distance * (-1.0 / edge)).sigmoid()


def stroke(
    t: torch.Tensor, off: torch.Tensor, thickness: torch.Tensor | float, edge: float, taper: float = 1.0
) -> torch.Tensor:
    """A pen line that thins to both ends.

    ``t`` runs from -1 to 1 along the line, ``off`` is the distance from its middle, ``thickness`` half its width.
    """
    width = thickness * (1.0 - taper * t.square()).clamp(min=0.0)
    body = inside(off.abs() - width, edge)
    return body * (12.0 * (1.0 - t.abs())).sigmoid()


class Sheet:
    """A window of the picture: pixels, and maps (coordinates, distances) over the same window.

    Parameters
    ----------
    pixels : (n, 3, h, w)
    maps : name -> tensor that broadcasts over ``(n, 1, h, w)``
    rows, columns : (h,) and (w,) coordinates, as arrays: where to crop is known without asking the device
    edge : scale of the soft edges
    """

    def __init__(
        self, pixels: torch.Tensor, maps: dict[str, torch.Tensor], rows: np.ndarray, columns: np.ndarray, edge: float
    ) -> None:
        self.pixels = pixels
        self.maps = maps
        self.rows = rows
        self.columns = columns
        self.edge = edge

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.maps[name]

    def paint(self, colour: torch.Tensor, alpha: torch.Tensor) -> None:
        """Lay a colour over the pixels with opacity ``alpha`` (n, 1, h, w)."""
        self.pixels = self.pixels + alpha * (colour - self.pixels)

    def shade(self, factor: torch.Tensor) -> None:
        """Multiply the pixels by ``factor``."""
        self.pixels = self.pixels * factor

    def crop(self, left: float, top: float, right: float, bottom: float) -> tuple[Sheet, tuple[slice, ...]]:
        """Return the part between the given coordinates, and where it is, for `insert`."""
        rows = slice(*np.searchsorted(self.rows, (top, bottom)))
        columns = slice(*np.searchsorted(self.columns, (left, right)))
        maps = {name: _window(value, rows, columns) for name, value in self.maps.items()}
        place = (slice(None), slice(None), rows, columns)
        return Sheet(self.pixels[place], maps, self.rows[rows], self.columns[columns], self.edge), place

    def insert(self, part: Sheet, place: tuple[slice, ...]) -> None:
        """Put a cropped part back."""
        pixels = self.pixels.clone()
        pixels[place] = part.pixels
        self.pixels = pixels


def _window(value: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    """Crop a map; an axis of length 1 (a coordinate that is the same in every row) stays."""
    everything = slice(None)
    return value[:, :, everything if value.shape[2] == 1 else rows, everything if value.shape[3] == 1 else columns]
