"""The nouns: what every stage takes and gives. Frozen, labelled, locked arrays.

Labels travel with the rows, so that no stage ever has to trust the order of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput, listing

if TYPE_CHECKING:
    import pandas as pd


def _locked(array: np.ndarray, dtype: type | None = None) -> np.ndarray:
    """Return a read-only view (a converted copy where the dtype differs)."""
    view = np.asarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def _rows(labels: Sequence[str], wanted: Sequence[str], what: str) -> np.ndarray:
    position = {label: row for row, label in enumerate(labels)}
    missing = [label for label in wanted if label not in position]
    if missing:
        raise InconsistentInput(f"{what} have no row for {len(missing)} stimuli: {listing(missing)}.")
    return np.array([position[label] for label in wanted], dtype=int)


def _check_labels(labels: Sequence[str], n_rows: int, what: str) -> tuple[str, ...]:
    labels = tuple(str(label) for label in labels)
    if len(labels) != n_rows:
        raise InconsistentInput(f"{what}: {n_rows} rows but {len(labels)} stimulus labels.")
    if len(set(labels)) != len(labels):
        seen: set[str] = set()
        double = [label for label in labels if label in seen or seen.add(label)]
        raise InconsistentInput(f"{what}: duplicate stimulus labels: {listing(double)}.")
    return labels


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """The way back from a row of voxels to a volume.

    Parameters
    ----------
    mask : (X, Y, Z) bool
        The voxels, in C order, that the columns of a `Responses` stand for.
    affine : (4, 4) float
        Voxel indices to mm.
    space : str or None
        BIDS ``space-`` label; None where the images are used as they came.
    """

    mask: np.ndarray
    affine: np.ndarray
    space: str | None = None

    def __post_init__(self) -> None:
        if np.ndim(self.mask) != 3 or np.shape(self.affine) != (4, 4):
            raise InconsistentInput(
                f"A voxel grid needs a 3-D mask and a 4 x 4 affine, got {np.shape(self.mask)} "
                f"and {np.shape(self.affine)}."
            )
        object.__setattr__(self, "mask", _locked(self.mask, bool))
        object.__setattr__(self, "affine", _locked(self.affine, float))

    @property
    def n_voxels(self) -> int:
        return int(self.mask.sum())

    def unmask(self, values: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Put ``(n_voxels,)`` or ``(n, n_voxels)`` values back: ``(X, Y, Z)`` or ``(X, Y, Z, n)``."""
        values = np.asarray(values)
        if values.shape[-1] != self.n_voxels:
            raise InconsistentInput(f"{values.shape[-1]} values for a grid of {self.n_voxels} voxels.")
        volume = np.full(self.mask.shape + values.shape[:-1], fill, dtype=values.dtype)
        volume[self.mask] = values.T
        return volume

    def within(self, keep: np.ndarray) -> VoxelGrid:
        """Return the grid of the voxels where ``keep`` (n_voxels, bool) is true."""
        mask = np.zeros_like(self.mask)
        mask[self.mask] = keep
        return VoxelGrid(mask, self.affine, self.space)


@dataclass(frozen=True, eq=False)
class Responses:
    """Brain responses, one row a trial (or a stimulus).

    Parameters
    ----------
    values : (n_trials, n_voxels) float32
    trials : DataFrame of n_trials rows
        At least ``stimulus_id``; usually ``run``, ``session``, ``onset``, ``split``; ``n_repeats`` where a row is
        an average over several presentations.
    grid : VoxelGrid with n_voxels
    """

    values: np.ndarray
    trials: pd.DataFrame
    grid: VoxelGrid

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _locked(self.values, np.float32))
        if self.values.ndim != 2 or self.values.shape != (len(self.trials), self.grid.n_voxels):
            raise InconsistentInput(
                f"Responses of shape {self.values.shape} do not fit {len(self.trials)} trials "
                f"and a grid of {self.grid.n_voxels} voxels."
            )

    def of(self, rows: np.ndarray) -> Responses:
        """Return the trials selected by a boolean or integer index, in that order."""
        trials = self.trials[rows] if np.asarray(rows).dtype == bool else self.trials.iloc[rows]
        return Responses(self.values[rows], trials.reset_index(drop=True), self.grid)

    def n_repeats(self, rows: np.ndarray) -> int:
        """Return how many presentations some rows stand for."""
        if "n_repeats" not in self.trials.columns:
            return len(rows)
        return int(self.trials["n_repeats"].to_numpy()[rows].sum())


@dataclass(frozen=True, eq=False)
class Latents:
    """Points of a generative model's latent space, one row a stimulus.

    Parameters
    ----------
    values : (n_stimuli, n_latents) float32
    stimuli : n_stimuli unique labels
    space : str
        Label of the latent space; becomes ``desc-<space>`` in file names.
    """

    values: np.ndarray
    stimuli: tuple[str, ...]
    space: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _locked(self.values, np.float32))
        if self.values.ndim != 2:
            raise InconsistentInput(
                f"Latents {self.space} must be 2-D (stimuli x latents), got shape {self.values.shape}."
            )
        labels = _check_labels(self.stimuli, len(self.values), f"Latents {self.space}")
        object.__setattr__(self, "stimuli", labels)

    @property
    def n_latents(self) -> int:
        return self.values.shape[1]

    def of(self, stimuli: Sequence[str]) -> Latents:
        """Align to ``stimuli`` (no repeats), or raise and name those that are missing."""
        return Latents(self.rows(stimuli), tuple(stimuli), self.space)

    def rows(self, stimuli: Sequence[str]) -> np.ndarray:
        """Return ``(len(stimuli), n_latents)`` values; a stimulus may come several times."""
        return self.values[_rows(self.stimuli, list(stimuli), f"Latents {self.space}")]


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures, the only image format inside: ``(n, height, width, 3)`` uint8 RGB.

    Floats are refused here; a generator's output is converted once, by `from_float`.
    """

    pixels: np.ndarray
    stimuli: tuple[str, ...]

    def __post_init__(self) -> None:
        pixels = np.asarray(self.pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
            raise InconsistentInput(
                f"Images must be uint8 of shape (n, height, width, 3), got {pixels.dtype} {pixels.shape}."
            )
        object.__setattr__(self, "pixels", _locked(pixels))
        object.__setattr__(self, "stimuli", _check_labels(self.stimuli, len(pixels), "Images"))

    @classmethod
    def from_float(cls, pixels: np.ndarray, value_range: tuple[float, float], stimuli: Sequence[str]) -> Images:
        """Convert float images in a generator's declared range, clipping what lies outside.

        >>> Images.from_float(np.full((1, 2, 2, 3), 0.5), (0.0, 1.0), ["a"]).pixels.max()
        np.uint8(128)
        """
        low, high = value_range
        scaled = (np.asarray(pixels, dtype=np.float64) - low) * (255.0 / (high - low))
        if not np.isfinite(scaled).all():
            raise InconsistentInput("A generator returned pixels that are not finite.")
        return cls(np.floor(np.clip(scaled, 0.0, 255.0) + 0.5).astype(np.uint8), tuple(stimuli))

    def of(self, stimuli: Sequence[str]) -> Images:
        """Align to ``stimuli``, or raise and name those that are missing."""
        return Images(self.pixels[_rows(self.stimuli, list(stimuli), "Images")], tuple(stimuli))


@dataclass(frozen=True, eq=False)
class Scores:
    """Per-stimulus values first: a tidy table, one row a test stimulus (and fold), one column a metric."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        if "stimulus_id" not in self.table.columns:
            raise InconsistentInput("Scores need a column stimulus_id.")
