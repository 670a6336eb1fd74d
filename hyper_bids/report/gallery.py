"""Figures as files: what lies under ``figures/`` is listed by queries over the names, so a new one needs no new HTML.

A figure is an SVG or PNG under its BIDS name, with a JSON of the same stem beside it: ``Alternative`` (what a reader
who cannot see it is told), ``Caption`` (what it shows, with n and units) and ``Width`` (CSS pixels). Any step may
write one into its tree; the report shows it in the section whose query it fits, else among the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyper_bids.derivatives.names import entities_of
from hyper_bids.derivatives.write import write_bytes, write_json
from hyper_bids.errors import MissingFiles
from hyper_bids.report.canvas import Drawing
from hyper_bids.report.read import read_json
from hyper_bids.report.thumbnails import data_uri, embedded

PICTURES = (".svg", ".png")


@dataclass(frozen=True)
class Query:
    """Which figures a section shows: those of this suffix and, for suffix ``figure``, this ``desc-``."""

    section: str
    suffix: str
    desc: str | None = None

    def fits(self, entities: Mapping[str, str]) -> bool:
        """Whether a figure of these entities is asked for."""
        return entities["suffix"] == self.suffix and self.desc in (None, entities.get("desc"))


QUERIES = (
    Query("comparison", "comparison"),
    Query("pictures", "interpolation"),
    Query("scores", "scores"),
    Query("scores", "identification"),
    Query("scores", "identificationcurve"),
    Query("scores", "null"),
    Query("scores", "nulldistributions"),
    Query("scores", "similaritymap"),
    Query("scores", "singlelatents"),
    Query("attributes", "attributebars"),
    Query("attributes", "attributes"),
    Query("audit", "bottleneck"),
    Query("audit", "novelty"),
    Query("decoder", "loss"),
    Query("decoder", "learningcurve"),
    *(
        Query(section, "figure", desc)
        for section, descs in {
            "voxels": ("selection", "decodingmask", "decodingglass", "decodingsurface", "regions"),
            "reliability": ("reliability", "noiseceiling", "recordings", "reliabilityglass", "reliabilitysurface"),
            "design": ("design", "designcorrelation"),
            "runs": ("carpet",),
        }.items()
        for desc in descs
    ),
    Query("downloads", "reconstructions"),
    Query("participants", "participants"),
)
"""In the order in which a section shows them. A new figure is an entry here, or is shown among the others."""


@dataclass(frozen=True)
class PlacedFigure:
    """A figure on the page.

    Parameters
    ----------
    uri : the picture itself
    width : CSS pixels
    alt : what a reader who cannot see it is told
    caption : what it shows, with n and units
    file : its name in the output dataset
    """

    uri: str
    width: int
    alt: str
    caption: str
    file: str

    @property
    def key(self) -> str:
        """Its anchor on the page: the file's stem, which is unique."""
        return f"figure-{Path(self.file).stem}"


class FigureFolder:
    """Writes figures under their BIDS names, each with its JSON.

    Parameters
    ----------
    tree : anything whose ``path(name)`` says where the file of that final name goes
    """

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def save(self, name: str, drawing: Drawing, alt: str, caption: str) -> PlacedFigure:
        """Write one figure; ``name`` is that of its file in the output dataset."""
        write_bytes(self.tree.path(name), drawing.content)
        beside = str(Path(name).with_suffix(".json"))
        write_json(self.tree.path(beside), {"Alternative": alt, "Caption": caption, "Width": drawing.width})
        return PlacedFigure(data_uri(drawing.content, drawing.extension), drawing.width, alt, caption, name)

    def save_result(
        self, result: Any, what: str, drawing: Drawing, alt: str, caption: str, chunk: int | None = None
    ) -> PlacedFigure:
        """Write a figure about one decoder's result (`read.Result`), called ``what``; ``chunk``: which of several."""
        # the latent space goes into desc-, as in all files of a result: two spaces do not overwrite each other
        named = {"model": result.model, "chunk": None if chunk is None else str(chunk)}
        name = result.scope.figure(result.latent_space, drawing.extension, suffix=what, **named)
        return self.save(name, drawing, alt, caption)


class Gallery:
    """All figures under a ``figures`` folder of some places, to be asked for by section and entities.

    Parameters
    ----------
    roots : folders laid out like the output dataset; of two files of one name the first root's counts
    inside : the ``figures`` folder, relative to a root

    Raises
    ------
    MissingFiles
        A figure has no JSON, or one that does not describe it.
    """

    def __init__(self, roots: Iterable[Path], inside: str) -> None:
        self.found: dict[str, tuple[Path, dict[str, str], str]] = {}
        for root in roots:
            for path in sorted((Path(root) / inside).glob("*")):
                if path.suffix in PICTURES and path.name not in self.found:
                    self.found[path.name] = (path, entities_of(path.name), f"{inside}/{path.name}")

    def of(self, section: str, **entities: str | None) -> list[PlacedFigure]:
        """Return the figures of a section, in the order of `QUERIES`, whose entities are these; None: they lack it."""
        queries = [query for query in QUERIES if query.section == section]
        return [self._placed(name) for query in queries for name in self._named(entities) if query.fits(self._of(name))]

    def others(self, **entities: str | None) -> list[PlacedFigure]:
        """Return the figures with these entities that no section asks for."""
        return [
            self._placed(name)
            for name in self._named(entities)
            if not any(query.fits(self._of(name)) for query in QUERIES)
        ]

    def _of(self, name: str) -> dict[str, str]:
        return self.found[name][1]

    def _named(self, entities: Mapping[str, str | None]) -> list[str]:
        return [
            name for name in self.found if all(self._of(name).get(key) == value for key, value in entities.items())
        ]

    def _placed(self, name: str) -> PlacedFigure:
        path, _, file = self.found[name]
        about = read_json(path.with_suffix(".json"))
        if not {"Alternative", "Caption", "Width"} <= set(about):
            raise MissingFiles(
                f"{file} has no {path.with_suffix('.json').name} beside it with Alternative, Caption and Width. The "
                "report shows no figure without words; write one (hyper_bids.report.gallery.FigureFolder does)."
            )
        uri = embedded(path.read_bytes(), path.suffix)
        return PlacedFigure(uri, int(about["Width"]), str(about["Alternative"]), str(about["Caption"]), file)
