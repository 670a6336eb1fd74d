"""Which rows are samples, and of which set: ``StimulusSplit`` and its precedence (SPEC 2.4, 2.8).

Role of a row: ``sample`` (decoded), ``drop`` (a sample type left out by DropWhere: modelled, not
decoded), ``ignore`` (modelled, not decoded), ``baseline`` (not modelled in LSA and LSS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hyper_bids.errors import InconsistentInput, listing

if TYPE_CHECKING:
    from hyper_bids.settings import InputSettings

SETS = ("train", "test")
CROSS_VALIDATED = "cv"
_LISTS = {"Train": "train", "Test": "test", "Ignore": "ignore", "Baseline": "baseline"}
SPLIT_FIELDS = ("Column", *_LISTS, "DropWhere")
"""Of ``StimulusSplit``."""


@dataclass(frozen=True)
class SplitRule:
    """Values of one events column, by what they mean.

    Parameters
    ----------
    column : events column that the lists speak of
    train, test, ignore, baseline : its values
    drop_where : column -> values that take a sample row out
    """

    column: str = "trial_type"
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    drop_where: dict[str, tuple[str, ...]] = field(default_factory=dict)


def split_rule(metadata: Mapping[str, Any], inputs: InputSettings) -> SplitRule:
    """Return the rule of a sidecar, with the command line's trial types in front.

    ``--train-trial-types`` and ``--test-trial-types`` are values of the sidecar's column and
    take a value out of every other list of the sidecar.

    Raises
    ------
    InconsistentInput
        Wrong form, or a value in two lists that exclude each other.
    """
    declared = metadata.get("StimulusSplit", {})
    if not isinstance(declared, dict):
        raise InconsistentInput(f'StimulusSplit must be an object such as {{"Train": ["train"]}}, got {declared!r}.')
    column = declared.get("Column", "trial_type")
    if not isinstance(column, str) or not column:
        raise InconsistentInput(f"StimulusSplit: Column must be the name of an events column, got {column!r}.")
    lists = {name: _values(declared.get(key, []), key) for key, name in _LISTS.items()}
    for name, given in (("train", inputs.train_trial_types), ("test", inputs.test_trial_types)):
        if given:
            words = tuple(word.strip() for word in given)
            lists = {other: tuple(v for v in values if v not in words) for other, values in lists.items()}
            lists[name] = words
    drop = declared.get("DropWhere", {})
    if not isinstance(drop, dict):
        raise InconsistentInput(f'StimulusSplit: DropWhere must be an object such as {{"oneback": [1]}}, got {drop!r}.')
    drop_where = {key: _values(values, f"DropWhere.{key}") for key, values in drop.items()}
    lists["ignore"] = tuple(dict.fromkeys([*lists["ignore"], *lists["baseline"]]))
    for one, other in (("train", "test"), ("train", "ignore"), ("test", "ignore")):
        both = sorted(set(lists[one]) & set(lists[other]))
        if both:
            raise InconsistentInput(f"StimulusSplit: {listing(both)} is named as {one} and as {other} (or Baseline).")
    return SplitRule(column, drop_where=drop_where, **lists)


def _values(values: Any, where: str) -> tuple[str, ...]:
    items = values if isinstance(values, list) else [values]
    if any(isinstance(item, (dict, list)) for item in items):
        raise InconsistentInput(f"StimulusSplit, {where}: a list of values is needed, got {values!r}.")
    return tuple("n/a" if item is None else str(item).strip() for item in items)


def table_of_types(values: pd.Series) -> str:
    """Return the trial types and their counts, one a line, the most frequent first."""
    counts = values.value_counts()
    lines = [f"  {name}: {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))]
    return "\n".join(lines)


def assign_roles(
    events: pd.DataFrame,
    shown: pd.DataFrame,
    rule: SplitRule,
    *,
    cross_validate: bool,
    split_of_stimulus: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return ``split`` and ``role`` of every row, and notices.

    Parameters
    ----------
    events : rows of all runs as `events.read_events` gives them
    shown : what each row shows, by `events.name_stimuli`, with ``run``; the same index
    rule : `split_rule`
    cross_validate : every row with a stimulus but the ignored ones is a sample, split ``cv``
    split_of_stimulus : stimulus id -> train or test, from stimuli.tsv; None where it has no such column

    Raises
    ------
    InconsistentInput
        A trial type named nowhere, no rule at all, no such column, a sample without stimulus.
    """
    values = _column(events, rule.column)
    ignored, baseline = values.isin(rule.ignore), values.isin(rule.baseline)
    notices: list[str] = []
    if cross_validate:
        has_key = shown["stimulus_id"].map(lambda stimulus: stimulus != "")
        split = pd.Series(np.where(has_key & ~ignored, CROSS_VALIDATED, ""), index=events.index)
    else:
        split = _split(events, shown, values, ignored, rule, split_of_stimulus)
    unasked = values[(split == "") & ~ignored]
    if len(unasked):
        reason = "no stimulus" if cross_validate else "neither in the training nor in the test set"
        counts = ", ".join(f"{name} ({count})" for name, count in sorted(unasked.value_counts().items()))
        notices.append(f"Rows with {reason} are modelled and not decoded: {counts}.")
    role = pd.Series(np.where(split != "", "sample", "ignore"), index=events.index)
    role[baseline] = "baseline"
    role[(role == "sample") & _dropped(events, rule)] = "drop"
    _require_stimulus(shown, values, role)
    return pd.DataFrame({"split": split.where(role == "sample", ""), "role": role}), notices


def _column(events: pd.DataFrame, name: str) -> pd.Series:
    if name not in events.columns:
        if name == "trial_type":
            return pd.Series("n/a", index=events.index)
        raise InconsistentInput(
            f"StimulusSplit: the events have no column {name!r}; columns: {listing(events.columns, 20)}."
        )
    return events[name].map(lambda cell: "n/a" if cell is None or cell != cell else str(cell))


def _split(
    events: pd.DataFrame,
    shown: pd.DataFrame,
    values: pd.Series,
    ignored: pd.Series,
    rule: SplitRule,
    split_of_stimulus: Mapping[str, str] | None,
) -> pd.Series:
    """The first that speaks: lists, column split, stimuli.tsv, trial types that start with train or test."""
    if rule.train or rule.test:
        split = values.map({**dict.fromkeys(rule.train, "train"), **dict.fromkeys(rule.test, "test")}).fillna("")
        _require_named(values, ignored | (split != ""), rule)
    elif "split" in events.columns and events["split"].notna().any():
        split = _sets(events["split"], "column split of the events")
    elif split_of_stimulus is not None:
        split = _by_stimulus(shown, ignored, split_of_stimulus)
    else:
        folded = values.str.casefold()
        split = pd.Series("", index=values.index)
        for name in SETS:
            split[folded.str.startswith(name)] = name
        _require_named(values, ignored | (split != ""), rule)
    return split.where(~ignored, "")


def _require_named(values: pd.Series, named: pd.Series, rule: SplitRule) -> None:
    if not named.all():
        unnamed = sorted(set(values[~named]))
        raise InconsistentInput(
            f"{listing(unnamed, 10)} ({rule.column}) is neither a training nor a test nor an ignored type. "
            f"Rows by {rule.column}:\n{table_of_types(values)}\n"
            'Name every one in the events sidecar: "StimulusSplit": '
            f'{{"Column": "{rule.column}", "Train": [...], "Test": [...], "Ignore": [...]}}, with --train-trial-types '
            "and --test-trial-types, or decode without a split: --cross-validate run."
        )


def _sets(cells: pd.Series, where: str) -> pd.Series:
    """Train, test or nothing, from cells of a ``split`` column."""
    folded = cells.map(lambda cell: "" if cell is None or cell != cell else str(cell).strip().casefold())
    wrong = sorted(set(cells[~folded.isin([*SETS, ""])]))
    if wrong:
        raise InconsistentInput(f"The {where} must hold train, test or n/a, not {listing(wrong)}.")
    return folded


def stimulus_sets(stimuli: pd.DataFrame) -> dict[str, str] | None:
    """Return stimulus id -> train, test or "" from the column ``split`` of stimuli.tsv, or None without one."""
    if "split" not in stimuli.columns or not stimuli["split"].notna().any():
        return None
    return dict(zip(stimuli["stimulus_id"], _sets(stimuli["split"], "column split of stimuli.tsv"), strict=True))


def _by_stimulus(shown: pd.DataFrame, ignored: pd.Series, split_of_stimulus: Mapping[str, str]) -> pd.Series:
    unknown = sorted(set(shown["stimulus_id"][~ignored].dropna()) - set(split_of_stimulus) - {""})
    if unknown:
        raise InconsistentInput(
            f"stimuli.tsv decides the split, but does not list {len(unknown)} stimuli: {listing(unknown)}. "
            'Add them (split n/a: not decoded), or name their trial types in StimulusSplit "Ignore".'
        )
    return shown["stimulus_id"].map(lambda stimulus: split_of_stimulus.get(stimulus, ""))


def _dropped(events: pd.DataFrame, rule: SplitRule) -> pd.Series:
    dropped = pd.Series(False, index=events.index)
    for column, wanted in rule.drop_where.items():
        if column not in events.columns:
            raise InconsistentInput(
                f"StimulusSplit, DropWhere: the events have no column {column!r}; "
                f"columns: {listing(events.columns, 20)}."
            )
        numbers = {number for number in map(_number, wanted) if number is not None}
        dropped |= _column(events, column).map(
            lambda cell, wanted=wanted, numbers=numbers: cell in wanted or _number(cell) in numbers
        )
    return dropped


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _require_stimulus(shown: pd.DataFrame, values: pd.Series, role: pd.Series) -> None:
    samples = shown[role == "sample"]
    unmatched = samples[samples["stimulus_id"].isna()]
    if len(unmatched):
        cells = listing(dict.fromkeys(unmatched["cell"]))
        types = listing(dict.fromkeys(values[unmatched.index]))
        raise InconsistentInput(
            f"The pattern of StimulusKey matches nothing in {len(unmatched)} sample rows ({types}): {cells}. "
            'Correct the pattern, or name these trial types in StimulusSplit "Ignore".'
        )
    empty = samples[samples["stimulus_id"] == ""]
    if len(empty):
        first = empty.iloc[0]
        raise InconsistentInput(
            f"{len(empty)} sample rows name no stimulus (n/a), the first is line {first['line']} of run {first['run']} "
            f'({values[empty.index[0]]}). Fill the column in, or name the trial type in StimulusSplit "Ignore".'
        )
