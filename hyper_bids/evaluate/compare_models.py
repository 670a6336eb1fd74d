"""Participants x stimuli x models: which decoder or latent space is better, over participants.

The unit is the participant: stimuli are averaged first. Only participants with a score from every model are
compared; the others are left out and named. All pairs are tested after the omnibus test, with Holm's
correction; beside p stands the interval of the paired difference, in which stimuli are a sample as well where
participants saw the same ones.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.evaluate.few_participants import few_participants_words
from hyper_bids.evaluate.friedman import friedman_test
from hyper_bids.evaluate.intervals import participants_interval
from hyper_bids.evaluate.multiplicity import holm
from hyper_bids.evaluate.paired_tests import sign_test, wilcoxon_test
from hyper_bids.evaluate.result import TestResult

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("participant_id", "stimulus_id", "model", "value")


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """Result of comparing models over participants.

    Attributes
    ----------
    models : names, in order of first appearance
    participants : those compared
    left_out : participant -> models of which it has no score
    means : DataFrame ``model  mean  sem  ci_low  ci_high  n  unit``
    omnibus : Friedman's test; for two models the sign test
    pairs : DataFrame ``model_a  model_b  difference  ci_low  ci_high  statistic  p_value  p_holm  p_method  n  unit``
    words : what so many participants can show
    """

    models: tuple[str, ...]
    participants: tuple[str, ...]
    left_out: dict[str, tuple[str, ...]]
    means: pd.DataFrame
    omnibus: TestResult
    pairs: pd.DataFrame
    words: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Cube:
    """Scores of complete participants: ``(n_participants, n_models, n_stimuli)``, NaN where not tested."""

    values: np.ndarray
    participants: tuple[str, ...]
    models: tuple[str, ...]
    left_out: dict[str, tuple[str, ...]]

    @property
    def per_participant(self) -> np.ndarray:
        """(n_participants, n_models) means over stimuli."""
        known = np.isfinite(self.values)
        return np.where(known, self.values, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)


def _cube(scores: pd.DataFrame) -> _Cube:
    import pandas as pd

    missing = [column for column in COLUMNS if column not in scores.columns]
    if missing:
        raise InconsistentInput(f"A comparison of models needs the columns {', '.join(COLUMNS)}; "
                                f"{', '.join(missing)} missing.")  # fmt: skip
    codes, names = {}, {}
    for column in COLUMNS[:3]:
        codes[column], found = pd.factorize(scores[column])
        names[column] = tuple(str(name) for name in found)
    shape = tuple(len(names[column]) for column in ("participant_id", "model", "stimulus_id"))
    cell = np.ravel_multi_index((codes["participant_id"], codes["model"], codes["stimulus_id"]), shape)
    values = scores["value"].to_numpy(float)
    known = np.isfinite(values)
    total = np.bincount(cell[known], weights=values[known], minlength=int(np.prod(shape)))
    count = np.bincount(cell[known], minlength=int(np.prod(shape)))
    cube = np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(shape)
    present = np.isfinite(cube).any(axis=2)
    complete = present.all(axis=1)
    models, people = names["model"], names["participant_id"]
    left_out = {
        people[row]: tuple(model for model, there in zip(models, present[row], strict=True) if not there)
        for row in np.flatnonzero(~complete)
    }
    kept = tuple(people[row] for row in np.flatnonzero(complete))
    return _Cube(cube[complete], kept, models, left_out)


def _interval(values: np.ndarray, n_bootstrap: int, rng: np.random.Generator) -> tuple[float, float]:
    """Interval of the mean of ``(n_participants, n_stimuli)`` with NaN where a participant did not see a stimulus."""
    known = np.isfinite(values)
    seen = known.any(axis=0)
    if known[:, seen].all():
        return participants_interval(list(values[:, seen]), True, n_bootstrap, rng)
    return participants_interval([row[here] for row, here in zip(values, known, strict=True)], False, n_bootstrap, rng)


def _means(cube: _Cube, n_bootstrap: int, rng: np.random.Generator) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for column, model in enumerate(cube.models):
        own = cube.per_participant[:, column]
        low, high = _interval(cube.values[:, column], n_bootstrap, rng)
        sem = float(own.std(ddof=1) / np.sqrt(len(own))) if len(own) > 1 else float("nan")
        rows.append({"model": model, "mean": float(own.mean()), "sem": sem, "ci_low": low, "ci_high": high,
                     "n": len(own), "unit": "participant"})  # fmt: skip
    return pd.DataFrame(rows)


def _pairs(cube: _Cube, post_hoc: str, n_bootstrap: int, rng: np.random.Generator) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for a, b in itertools.combinations(range(len(cube.models)), 2):
        differences = cube.per_participant[:, a] - cube.per_participant[:, b]
        test = sign_test(differences) if post_hoc == "sign" else wilcoxon_test(differences)
        low, high = _interval(cube.values[:, a] - cube.values[:, b], n_bootstrap, rng)
        rows.append({"model_a": cube.models[a], "model_b": cube.models[b], "difference": float(differences.mean()),
                     "ci_low": low, "ci_high": high, **test.row()})  # fmt: skip
    table = pd.DataFrame(rows).drop(columns="n_permutations")
    table.insert(table.columns.get_loc("p_value") + 1, "p_holm", holm(table["p_value"].to_numpy(float)))
    return table


def compare_models(
    scores: pd.DataFrame, rng: np.random.Generator, post_hoc: str = "wilcoxon", n_bootstrap: int = 2000
) -> ModelComparison:
    """Compare decoders, or latent spaces, over participants.

    Parameters
    ----------
    scores : DataFrame
        Tidy: ``participant_id  stimulus_id  model  value``, of one metric; several rows of a stimulus
        (folds) are averaged.
    rng : for random orders in Friedman's test and the bootstrap where there is one participant
    post_hoc : "wilcoxon" or "sign"

    Raises
    ------
    InconsistentInput
        Columns missing, another ``post_hoc``, fewer than two models, or no participant with all of them.
    """
    if post_hoc not in ("wilcoxon", "sign"):
        raise InconsistentInput(f"The test of pairs is 'wilcoxon' or 'sign', got {post_hoc!r}.")
    cube = _cube(scores)
    if len(cube.models) < 2 or not cube.participants:
        raise InconsistentInput(
            f"Comparing models needs two models at least and one participant with scores of all; got "
            f"{len(cube.models)} models and {len(cube.participants)} complete participants "
            f"({len(cube.left_out)} incomplete)."
        )
    table = cube.per_participant
    omnibus = sign_test(table[:, 0] - table[:, 1]) if len(cube.models) == 2 else friedman_test(table, rng)
    return ModelComparison(
        cube.models,
        cube.participants,
        cube.left_out,
        _means(cube, n_bootstrap, rng),
        omnibus,
        _pairs(cube, post_hoc, n_bootstrap, rng),
        few_participants_words(len(cube.participants), len(cube.models)),
    )
