"""What is evaluated: the predictions of one test set, with their labels, and what was compared beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hyper_bids.data import Images, Latents
from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.evaluate.refits import mean_per_stimulus
from hyper_bids.evaluate.resize import PROTOCOL_SIZE, luminance_at


@dataclass(frozen=True, eq=False)
class Compared:
    """True and predicted pictures (or features of pictures) of some of the tested stimuli.

    Parameters
    ----------
    true, predicted : (n, ...) float
        Luminance ``(n, height, width)`` for pictures, ``(n, n_features)`` for features.
    stimuli : n unique labels
    """

    true: np.ndarray
    predicted: np.ndarray
    stimuli: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stimuli", tuple(str(label) for label in self.stimuli))
        if np.shape(self.true) != np.shape(self.predicted) or len(self.true) != len(self.stimuli):
            raise InconsistentInput(
                f"{len(self.stimuli)} stimuli, but what is compared has shapes {np.shape(self.true)} "
                f"and {np.shape(self.predicted)}."
            )
        if len(set(self.stimuli)) != len(self.stimuli):
            raise InconsistentInput("The pictures or features to compare name a stimulus twice; one each is needed.")

    def among(self, stimuli: Sequence[str]) -> Compared | None:
        """Return what is compared of these stimuli, in their order; None where there is nothing."""
        place = {label: row for row, label in enumerate(self.stimuli)}
        here = tuple(label for label in stimuli if label in place)
        rows = [place[label] for label in here]
        return Compared(np.asarray(self.true)[rows], np.asarray(self.predicted)[rows], here) if here else None


def _by_stimulus(images: Images | Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    return dict(zip(images.stimuli, images.pixels, strict=True)) if isinstance(images, Images) else images


def compare_images(
    true: Images | Mapping[str, np.ndarray],
    predicted: Images | Mapping[str, np.ndarray],
    size: tuple[int, int] = PROTOCOL_SIZE,
) -> Compared:
    """Bring the stimuli's pictures and their reconstructions to luminance at one size.

    Parameters
    ----------
    true, predicted : Images, or stimulus -> (height, width, 3) uint8 RGB
        Pictures may differ in size. Stimuli that are in both are compared, in the order of ``true``.
    size : height and width in pixels at which they are compared

    Returns
    -------
    Compared, with luminance (n, *size)
    """
    true, predicted = _by_stimulus(true), _by_stimulus(predicted)
    stimuli = tuple(label for label in true if label in predicted)
    return Compared(
        luminance_at([true[label] for label in stimuli], size),
        luminance_at([predicted[label] for label in stimuli], size),
        stimuli,
    )


@dataclass(frozen=True, eq=False)
class Decoded:
    """Decoded latents of a test set: one row a test stimulus, or a test stimulus and fold.

    Parameters
    ----------
    predicted : (n_rows, n_latents)
        In the units of ``latents``.
    stimuli : n_rows labels
    latents : Latents
        True latents, at least of the tested stimuli and the candidates.
    folds : n_rows labels, optional
        Given where the design is cross-validated; a stimulus may then have a row in several folds.
    n_repeats : (n_rows,) int, optional
        Trials that each row is the mean of.
    candidates : labels, optional
        Stimuli among which a prediction is identified: by default all that were tested in any fold.
        Further ones (distractors that were never tested) may be named; the tested are always among them.
    images, features : Compared, optional
        One picture per stimulus; those of stimuli that were not tested are left out. When cross-validated
        it is made from the mean prediction over folds, so that all rows of a stimulus carry the same value.
    directions : attribute name -> (n_latents,), optional
        Normals of attribute hyperplanes, of any length.

    Raises
    ------
    InconsistentInput
        Shapes or labels that do not fit; values that are not finite; a stimulus twice without folds.
    """

    predicted: np.ndarray
    stimuli: tuple[str, ...]
    latents: Latents
    folds: tuple[str, ...] | None = None
    n_repeats: np.ndarray | None = None
    candidates: Sequence[str] | None = None
    images: Compared | None = None
    features: Compared | None = None
    directions: Mapping[str, np.ndarray] = field(default_factory=dict)

    tested: tuple[str, ...] = field(init=False)
    """Distinct tested stimuli, in order of first appearance: the first rows of ``candidate_values``."""

    candidate_values: np.ndarray = field(init=False)
    """(n_candidates, n_latents) true latents of the candidates."""

    row_stimulus: np.ndarray = field(init=False)
    """(n_rows,) index into ``tested`` (and so into ``candidates``)."""

    def __post_init__(self) -> None:
        rows = tuple(str(label) for label in self.stimuli)
        object.__setattr__(self, "stimuli", rows)
        object.__setattr__(self, "predicted", np.asarray(self.predicted, dtype=np.float64))
        if self.folds is not None:
            object.__setattr__(self, "folds", tuple(str(label) for label in self.folds))
        self._check_rows()
        tested = tuple(dict.fromkeys(rows))
        further = [str(label) for label in self.candidates or () if str(label) not in set(tested)]
        object.__setattr__(self, "tested", tested)
        object.__setattr__(self, "candidates", tuple(dict.fromkeys([*tested, *further])))
        object.__setattr__(self, "candidate_values", self.latents.rows(self.candidates).astype(np.float64))
        for name in ("images", "features"):
            compared = getattr(self, name)
            object.__setattr__(self, name, None if compared is None else compared.among(tested))
        place = {label: row for row, label in enumerate(tested)}
        object.__setattr__(self, "row_stimulus", np.array([place[label] for label in rows], dtype=int))

    def _check_rows(self) -> None:
        rows, shape = self.stimuli, self.predicted.shape
        if not rows or shape != (len(rows), self.latents.n_latents):
            raise InconsistentInput(
                f"Predictions of shape {shape} for {len(rows)} test rows and {self.latents.n_latents} latents of "
                f"space {self.latents.space}; needed: one row each, at least one."
            )
        if not np.isfinite(self.predicted).all():
            bad = [rows[i] for i in np.flatnonzero(~np.isfinite(self.predicted).all(axis=1))]
            raise InconsistentInput(f"Predicted latents are not finite for {listing(bad)}.")
        for name, labels in (("folds", self.folds), ("n_repeats", self.n_repeats)):
            if labels is not None and len(labels) != len(rows):
                raise InconsistentInput(f"{len(labels)} {name} for {len(rows)} test rows.")
        if self.folds is None and len(set(rows)) < len(rows):
            raise InconsistentInput(
                "A stimulus has several test rows, but the design is not cross-validated: average its repeats first."
            )

    @property
    def cross_validated(self) -> bool:
        """Whether rows belong to folds."""
        return self.folds is not None

    @property
    def true(self) -> np.ndarray:
        """(n_rows, n_latents) true latents of the rows."""
        return self.candidate_values[self.row_stimulus]

    def per_stimulus(self, values: np.ndarray) -> np.ndarray:
        """Average ``(n_rows,)`` per stimulus, leaving NaN out: ``(n_tested,)``."""
        batch = np.asarray(values, dtype=np.float64)[None]
        return mean_per_stimulus(batch, self.row_stimulus[None], len(self.tested))[0]
