"""Stimulus, reconstruction, ceiling and baselines of every test stimulus, in the order of their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.errors import MissingFiles
from hyper_bids.report.canvas import short_names
from hyper_bids.report.scores import number
from hyper_bids.report.thumbnails import Quality, Thumbnail, read_picture

if TYPE_CHECKING:
    import pandas as pd

SORT = ("latent_correlation", "latent_similarity_mse", "latent_similarity")
"""The first of these that is known for any stimulus sorts the page."""

MOST_STIMULI = 500
"""With more test stimuli than this, every k-th in the order of scores is shown."""

ON_SHEET = 36
"""Test stimuli on one sheet of reconstructions; more of them fill several sheets, so that all appear."""

FINE_SHEETS = 2
"""Sheets up to which pictures have two pixels per CSS pixel; of more sheets they have one."""

ON_CARD = 5
"""Pictures of a stimulus where there is a generator."""


@dataclass(frozen=True)
class Shown:
    """One picture of a card: its heading, and the picture or why there is none."""

    kind: str
    picture: Thumbnail | None
    alt: str


@dataclass(frozen=True, eq=False)
class Sheet:
    """Pictures of some stimuli for `figures_reconstructions.sheet_figure`.

    Parameters
    ----------
    rows : kind -> a picture (h, w, 3) uint8 per stimulus, or None where there is none
    captions : one per stimulus
    shared : kind -> picture that is the same for all stimuli
    note : which stimuli these are
    """

    rows: dict[str, list[np.ndarray | None]]
    captions: list[str]
    shared: dict[str, np.ndarray]
    note: str


@dataclass(frozen=True)
class Card:
    """A test stimulus with its pictures and scores."""

    stimulus: str
    rank: int
    shown: list[Shown]
    scores: list[tuple[str, str]]

    @property
    def pictured(self) -> bool:
        """Whether there is any picture: cards without one are listed by name."""
        return any(item.picture is not None for item in self.shown)


def per_stimulus(metrics: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return scores averaged over a stimulus's folds, best first, and the column that they are sorted by."""
    numeric = [name for name in metrics.columns if name not in ("stimulus_id", "fold")]
    table = metrics.groupby("stimulus_id", sort=True)[numeric].mean()
    column = next((name for name in SORT if name in table and table[name].notna().any()), SORT[0])
    order = np.argsort(-table[column].fillna(-np.inf).to_numpy(float), kind="stable")
    return table.iloc[order], column


def spread(n: int, most: int = MOST_STIMULI) -> np.ndarray:
    """Return which ranks are shown: all, or ``most`` evenly spaced ones from the best to the worst.

    >>> spread(10, 4)
    array([0, 3, 6, 9])
    """
    return np.arange(n) if n <= most else np.round(np.linspace(0, n - 1, most)).astype(int)


def stimulus_picture(stimulus: str, paths: Mapping[str, str], problems: list[str]) -> np.ndarray | None:
    """Return the picture that was shown, or None; an unreadable file is added to ``problems``."""
    if stimulus not in paths:
        return None
    try:
        return read_picture(Path(paths[stimulus]))
    except MissingFiles as error:
        problems.append(str(error))
        return None


def cards(
    table: pd.DataFrame, paths: Mapping[str, str], drawn: Mapping[str, np.ndarray] | None, problems: list[str],
    n_results: int = 1,
) -> list[Card]:  # fmt: skip
    """Return a card per test stimulus, in the order of ``table``.

    Parameters
    ----------
    table : of `per_stimulus`
    paths : stimulus -> file of the picture shown
    drawn : of `reconstruct`: stimuli (n,), recon, ceiling and nearest (n, h, w, 3), random (m, h, w, 3); None where
        there is no generator
    problems : sentences are added for files that cannot be read
    n_results : how many decoders (over all tasks) share the page
    """
    rows = {label: row for row, label in enumerate(drawn["stimuli"].tolist())} if drawn else {}
    ranks = spread(len(table))
    quality = Quality.for_count(n_results * len(ranks) * (ON_CARD if drawn else 1))
    made = []
    for rank in ranks:
        stimulus = str(table.index[rank])
        shown = [_card_picture("shown", stimulus_picture(stimulus, paths, problems), quality, stimulus)]
        if stimulus in rows:
            made_of = _made_of(drawn, rows[stimulus])
            shown += [_card_picture(kind, pixels, quality, stimulus) for kind, pixels in made_of.items()]
        made.append(Card(stimulus, int(rank) + 1, shown, card_scores(table.iloc[rank])))
    return made


def _made_of(drawn: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    """What the generator made for one stimulus: reconstruction, ceiling, and baselines that differ between stimuli."""
    of_this = {kind: drawn[name][row] for kind, name in OWN.items()}
    return {**of_this, "random": drawn["random"][row % len(drawn["random"])]}


OWN = {"decoded": "recon", "ceiling": "ceiling", "retrieved": "nearest"}
"""What a card calls a picture, and its array of `reconstruct`."""

SHARED = {"zero latent": "zero", "training mean": "mean"}
"""The same of pictures that are one for all stimuli."""

ALTS = {
    "shown": "stimulus {} as it was shown",
    "decoded": "reconstruction of {} from brain responses",
    "ceiling": "picture of {} from its true latents",
    "retrieved": "picture of the training stimulus nearest to the decoded latent of {}",
    "random": "picture of a random latent, beside {}, made without brain data",
}


def _card_picture(kind: str, pixels: np.ndarray | None, quality: Quality, stimulus: str) -> Shown:
    return Shown(kind, None if pixels is None else quality.thumbnail(pixels), ALTS[kind].format(stimulus))


def card_scores(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the scores under a card, those that are known."""
    names = (("latent_correlation", "latent r"), ("pairwise_accuracy", "pairwise"), ("ssim", "SSIM"))
    return [(title, number(row[name], 2)) for name, title in names if name in row and np.isfinite(row[name])]


def references(drawn: Mapping[str, np.ndarray], quality: Quality) -> list[Shown]:
    """Return the pictures that need no brain data and are the same for all stimuli: of the zero and the mean latent."""
    alts = ("picture of the zero latent", "picture of the mean latent of the training stimuli")
    return [
        Shown(kind, quality.thumbnail(drawn[name][0]), f"{alt}, made without brain data")
        for (kind, name), alt in zip(SHARED.items(), alts, strict=True)
    ]


def sheets(table: pd.DataFrame, paths: Mapping[str, str], drawn: Mapping[str, np.ndarray]) -> Iterator[Sheet]:
    """Yield what is on every sheet of reconstructions, best stimuli first: all test stimuli appear."""
    position = {label: row for row, label in enumerate(drawn["stimuli"].tolist())}
    stimuli = [str(stimulus) for stimulus in table.index if str(stimulus) in position]
    for start in range(0, len(stimuli), ON_SHEET):
        here = stimuli[start : start + ON_SHEET]
        made = [_made_of(drawn, position[stimulus]) for stimulus in here]
        rows: dict[str, list[np.ndarray | None]] = {"shown": [stimulus_picture(name, paths, []) for name in here]}
        rows |= {kind: [pictures[kind] for pictures in made] for kind in made[0]}
        last = start + len(here)
        which = f"Test stimuli {start + 1} to {last} of {len(stimuli)}" if len(here) < len(stimuli) else (
            f"All {len(stimuli)} test stimuli"
        )  # fmt: skip
        yield Sheet(
            rows, [_caption(name, table.loc[of]) for name, of in zip(short_names(here, 12), here, strict=True)],
            {kind: drawn[name][0] for kind, name in SHARED.items()}, f"{which}, best first",
        )  # fmt: skip


def _caption(name: str, row: Mapping[str, Any]) -> str:
    r = row.get("latent_correlation", np.nan)
    return f"{name}: r {number(r, 2)}" if np.isfinite(r) else name
