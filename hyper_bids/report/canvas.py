"""The style of all figures, and drawing to bytes that depend on the data alone.

Colours are Okabe and Ito's (2008), which readers with any colour vision tell apart. Dark text on
white; sizes are in the pixels at which the report shows the figure, so that 9 pt is 9 pt there.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, FOLD, INK = "#0072b2", "#d55e00", "#009e73", "#6b7280", "#a9b1bc", "#1f2933"
DPI = 100
WIDTH = 560
"""Of the widest figures, in CSS pixels: on a phone, at two thirds of that, 9 pt can still be read."""

BESIDE = 512
"""Of figures of which two stand beside each other on a large screen, in CSS pixels."""

LONGEST = 22
"""Characters of a name beside an axis, at most: about 150 CSS pixels. The tables have all of it."""

USUAL = 65.0
"""Width of a usual character, in percent of the font's size: wider ones, as W, count as more."""

FAMILY = "DejaVu Sans of matplotlib"
"""What the files that come with matplotlib are called here: a system's DejaVu Sans may be of another edition."""

FACES = {"normal": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}

STYLE = {
    "font.family": [FAMILY],  # the same glyphs on every machine
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

    _font_files()
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


@cache
def _font_files() -> tuple[Path, ...]:
    """Return the files of `FACES`, and make matplotlib know them as `FAMILY`."""
    import matplotlib
    from matplotlib.font_manager import FontEntry, fontManager

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for weight, file in FACES.items():
        entry = FontEntry(fname=str(folder / file), name=FAMILY, weight=weight, size="scalable")
        fontManager.ttflist.append(entry)
    return tuple(folder / file for file in FACES.values())


@cache
def _glyphs() -> frozenset[int]:
    """Return the code points that the font has, plain and bold."""
    from matplotlib.ft2font import FT2Font

    return frozenset.intersection(*(frozenset(FT2Font(str(file)).get_charmap()) for file in _font_files()))


@cache
def _width(sign: str) -> float:
    """Return how many characters of usual width fill the room of what is written, at least as many as it has."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(fname=_font_files()[0], size=100)
    return sum(max(1.0, text_to_path.get_text_width_height_descent(one, font, False)[0] / USUAL) for one in sign)


def _written(text: str) -> list[str]:
    """Return how each character is written: itself, or its escape where the font has no glyph for it."""
    glyphs = _glyphs()
    return [sign if ord(sign) in glyphs else sign.encode("unicode_escape").decode("ascii") for sign in text]


def drawable(text: str) -> str:
    r"""Return a text with the escapes of characters that the font lacks; lines stay lines.

    >>> print(drawable("café 日"))
    café \u65e5
    """
    return "\n".join("".join(_written(line)) for line in text.split("\n"))


def short_names(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Return names as a figure can write them, `drawable` and cut in the middle; different ones stay different.

    Those that would be cut to the same text get their place in ``names`` behind them.

    Parameters
    ----------
    longest : characters of a name, at most; those of more than `USUAL` width count as more

    >>> short_names(["face", "stimulus_0001_upright", "stimulus_0002_upright"], 12)
    ['face', 'sti…ight #2', 'sti…ight #3']
    """
    written = {name: _written(name) for name in names}
    short = {name: _cut(signs, longest) for name, signs in written.items()}
    count = Counter(short.values())
    alike = {name for name in short if count[short[name]] > 1}
    numbered = _numbered(written, alike, longest)
    if len({*(short | numbered).values()}) < len(short):  # a name that looks like a numbered one
        numbered = _numbered(written, set(written), longest)
    return [(short | numbered)[name] for name in names]


def short_headings(texts: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Return texts with `short_names` as their first lines, and further lines as they are."""
    parts = [text.partition("\n") for text in texts]
    names = short_names([name for name, _, _ in parts], longest)
    return [name + end + rest for name, (_, end, rest) in zip(names, parts, strict=True)]


def _numbered(written: dict[str, list[str]], which: set[str], longest: int) -> dict[str, str]:
    marks = {name: f" #{place}" for place, name in enumerate(written, 1) if name in which}
    return {name: _cut(written[name], longest - len(mark)) + mark for name, mark in marks.items()}


def _cut(signs: list[str], longest: int) -> str:
    """Join what the characters are written as; where that is too long, its middle becomes an ellipsis."""
    if sum(map(_width, signs)) <= longest:
        return "".join(signs)
    room = longest - _width("…")
    head = _fitting(signs, room / 2)
    tail = _fitting(signs[::-1], room - sum(map(_width, head)))
    return "".join([*head, "…", *tail[::-1]])


def _fitting(signs: list[str], longest: float) -> list[str]:
    """Return the first of them that fit: an escape is never cut in two."""
    kept, length = [], 0.0
    for sign in signs:
        length += _width(sign)
        if length > longest:
            break
        kept.append(sign)
    return kept


def _escape_what_has_no_glyph(figure: Figure) -> None:
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    for axes in figure.findobj(lambda artist: hasattr(artist, "get_xaxis")):
        for axis in (axes.xaxis, axes.yaxis):
            named = axis.get_major_formatter()
            if isinstance(named, FixedFormatter | FuncFormatter):  # labels of ticks are written when they are drawn
                axis.set_major_formatter(FuncFormatter(lambda x, place, named=named: drawable(named(x, place))))
    for text in figure.findobj(Text):
        text.set_text(drawable(text.get_text()))


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
    _escape_what_has_no_glyph(figure)  # identifiers may be in any script
    figure.savefig(buffer, format=extension[1:], **options)
    return Drawing(buffer.getvalue(), extension, round(figure.get_figwidth() * DPI))
