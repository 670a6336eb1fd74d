"""Templates to HTML. Everything from outside is escaped; nothing is loaded from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.derivatives.write import write_bytes
from hyper_bids.report.canvas import Drawing
from hyper_bids.report.thumbnails import drawing_uri

if TYPE_CHECKING:
    from hyper_bids.derivatives.tree import Tree
    from hyper_bids.report.read import Result


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


class FigureFolder:
    """Writes figures under their BIDS names and puts them on the page.

    Parameters
    ----------
    tree : where the files go
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def save(self, name: str, drawing: Drawing, alt: str, caption: str) -> PlacedFigure:
        """Write one figure; ``name`` is that of its file in the output dataset."""
        write_bytes(self.tree.path(name), drawing.content)
        return place(drawing, alt, caption, name)

    def save_result(self, result: Result, what: str, drawing: Drawing, alt: str, caption: str) -> PlacedFigure:
        """Write a figure about one decoder's result, called ``what``."""
        # the latent space goes into desc-, as in all files of a result: two spaces do not overwrite each other
        name = result.scope.figure(result.latent_space, drawing.extension, suffix=what, model=result.model)
        return self.save(name, drawing, alt, caption)


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
