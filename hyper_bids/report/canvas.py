"""The style of all figures, and drawing to bytes that depend on the data alone.

Colours are Okabe and Ito's (2008), which readers with any colour vision tell apart. Dark text on
white; sizes are in the pixels at which the report shows the figure, so that 9 pt is 9 pt there.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, FOLD, INK = "#0072b2", "#d55e00", "#009e73", "#6b7280", "#a9b1bc", "#1f2933"
DPI = 100
WIDTH = 560
"""Of the widest figures, in CSS pixels: on a phone, at two thirds of that, 9 pt can still be read."""

BESIDE = 512
"""Of figures of which two stand beside each other on a large screen, in CSS pixels."""

STYLE = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same glyphs on every machine
    "font.size": 9.0,
    "text.parse_math": False,  # names of stimuli are text, whatever signs they have
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa3af",
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.hashsalt": "hyper",
    "svg.fonttype": "path",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Drawing:
    """A figure as a file's content.

    Parameters
    ----------
    content : bytes of an SVG or PNG
    extension : ".svg" or ".png"
    width : at which the report shows it, in CSS pixels
    """

    content: bytes
    extension: str
    width: int


@contextmanager
def style() -> Iterator[None]:
    """Apply the style, and nothing that the user has set for matplotlib."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` x ``height`` CSS pixels; no window, no pyplot, no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw(figure: Figure, extension: str = ".svg", scale: float = 2.0) -> Drawing:
    """Save a figure without date or software version: equal figures give equal bytes.

    Parameters
    ----------
    scale : pixels of a PNG per CSS pixel
    """
    buffer = io.BytesIO()
    options: dict[str, Any] = {"metadata": {"Date": None, "Creator": None}}
    if extension == ".png":
        # level 4: pictures take as many bytes as with 6, in a third of the time
        options = {"metadata": {"Software": None}, "dpi": DPI * scale, "pil_kwargs": {"compress_level": 4}}
    with warnings.catch_warnings():
        # identifiers may be in any script: a glyph that the font lacks is drawn as a box, the tables have the name
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        figure.savefig(buffer, format=extension[1:], **options)
    return Drawing(buffer.getvalue(), extension, round(figure.get_figwidth() * DPI))
