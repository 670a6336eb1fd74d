"""Templates to HTML. Everything from outside is escaped; nothing is loaded from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyper_bids.report.canvas import Drawing
from hyper_bids.report.thumbnails import drawing_uri


@dataclass(frozen=True)
class PlacedFigure:
    """A figure on the page.

    Parameters
    ----------
    uri : the picture itself
    width : CSS pixels
    alt : what a reader who cannot see it is told
    caption : what it shows, with n and units
    file : where it lies beside the report, or ""
    """

    uri: str
    width: int
    alt: str
    caption: str
    file: str = ""


def place(drawing: Drawing, alt: str, caption: str, file: str = "") -> PlacedFigure:
    """Put a drawing on the page."""
    return PlacedFigure(drawing_uri(drawing), drawing.width, alt, caption, file)


def render(template: str, **content: Any) -> str:
    """Fill ``participant.html`` or ``group.html``; an unknown name in a template is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**content)
