"""Stimulus, reconstruction and ceiling of every test stimulus, in the order of their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyper_bids.errors import MissingFiles
from hyper_bids.report.scores import number
from hyper_bids.report.thumbnails import Quality, Thumbnail, read_picture

if TYPE_CHECKING:
    import pandas as pd

SORT = ("latent_correlation", "latent_similarity_mse", "latent_similarity")
"""The first of these that is known for any stimulus sorts the page."""

MOST_STIMULI = 500
"""With more test stimuli than this, every k-th in the order of scores is shown."""


MOST_ON_SHEET = 100
"""The same for the sheet of reconstructions, which is one picture."""


@dataclass(frozen=True)
class Shown:
    """One picture of a card: its heading, and the picture or why there is none."""

    kind: str
    picture: Thumbnail | None
    alt: str


@dataclass(frozen=True)
class Card:
    """A test stimulus with its pictures and scores."""

    stimulus: str
    rank: int
    shown: list[Shown]
    scores: list[tuple[str, str]]


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
    drawn : stimuli (n,), recon and ceiling (n, h, w, 3); None where there is no generator
    problems : sentences are added for files that cannot be read
    n_results : how many decoders (over all tasks) share the page
    """
    rows = {label: row for row, label in enumerate(drawn["stimuli"].tolist())} if drawn else {}
    ranks = spread(len(table))
    quality = Quality.for_count(n_results * len(ranks) * (4 if drawn else 1))
    made = []
    for rank in ranks:
        stimulus = str(table.index[rank])
        shown = [_card_picture("shown", stimulus_picture(stimulus, paths, problems), quality, stimulus)]
        if stimulus in rows:
            shown.append(_card_picture("decoded", drawn["recon"][rows[stimulus]], quality, stimulus))
            shown.append(_card_picture("ceiling", drawn["ceiling"][rows[stimulus]], quality, stimulus))
            random = drawn["random"][rows[stimulus] % len(drawn["random"])]
            shown.append(_card_picture("random", random, quality, stimulus))
        made.append(Card(stimulus, int(rank) + 1, shown, card_scores(table.iloc[rank])))
    return made


ALTS = {
    "shown": "stimulus {} as it was shown",
    "decoded": "reconstruction of {} from brain responses",
    "ceiling": "picture of {} from its true latents",
    "random": "picture of a random latent, beside {}, made without brain data",
}


def _card_picture(kind: str, pixels: np.ndarray | None, quality: Quality, stimulus: str) -> Shown:
    return Shown(kind, None if pixels is None else quality.thumbnail(pixels), ALTS[kind].format(stimulus))


def card_scores(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the scores under a card, those that are known."""
    names = (("latent_correlation", "latent r"), ("pairwise_accuracy", "pairwise"), ("ssim", "SSIM"))
    return [(title, number(row[name], 2)) for name, title in names if name in row and np.isfinite(row[name])]


def references(drawn: Mapping[str, np.ndarray], quality: Quality) -> list[Shown]:
    """Return the picture that needs no brain data and is the same for all stimuli: of the zero latent."""
    zero = quality.thumbnail(drawn["zero"][0])
    return [Shown("zero latent", zero, "picture of the zero latent, made without brain data")]


def sheet_note(n_stimuli: int) -> str:
    """Say that a sheet does not show all test stimuli; "" where it does.

    >>> sheet_note(100), sheet_note(250)
    ('', '100 of 250 test stimuli, evenly spaced from the best to the worst')
    """
    if n_stimuli <= MOST_ON_SHEET:
        return ""
    return f"{MOST_ON_SHEET} of {n_stimuli} test stimuli, evenly spaced from the best to the worst"


def sheet_rows(
    table: pd.DataFrame, paths: Mapping[str, str], drawn: Mapping[str, np.ndarray]
) -> tuple[dict[str, list[np.ndarray | None]], list[str]]:
    """Return the rows and captions of `figures_reconstructions.sheet_figure`."""
    position = {label: row for row, label in enumerate(drawn["stimuli"].tolist())}
    ranked = [str(table.index[rank]) for rank in spread(len(table), MOST_ON_SHEET)]
    stimuli = [stimulus for stimulus in ranked if stimulus in position]
    places = [position[stimulus] for stimulus in stimuli]
    rows: dict[str, list[np.ndarray | None]] = {
        "shown": [stimulus_picture(stimulus, paths, []) for stimulus in stimuli],
        "decoded": [drawn["recon"][place] for place in places],
        "true latents": [drawn["ceiling"][place] for place in places],
        "random": [drawn["random"][place % len(drawn["random"])] for place in places],
    }
    captions = [_short_caption(stimulus, table.loc[stimulus]) for stimulus in stimuli]
    return rows, captions


def _short_caption(stimulus: str, row: Mapping[str, Any]) -> str:
    name = stimulus if len(stimulus) <= 12 else f"…{stimulus[-11:]}"
    r = row.get("latent_correlation", np.nan)
    return f"{name} r {number(r, 2)}" if np.isfinite(r) else name
