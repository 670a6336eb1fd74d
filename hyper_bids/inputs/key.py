"""How a row of events names its stimulus: ``StimulusKey``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hyper_bids.errors import InconsistentInput, UsageError, listing

if TYPE_CHECKING:
    from hyper_bids.settings import InputSettings

DEFAULT_COLUMNS = ("stim_id", "stim_file")
KEY_FIELDS = ("Column", "Regex")
"""Of ``StimulusKey``."""


def without_prefix(label: str) -> str:
    """Strip the optional ``stim-`` of a stimulus id.

    >>> without_prefix("stim-face01"), without_prefix("face01")
    ('face01', 'face01')
    """
    return label.removeprefix("stim-")


@dataclass(frozen=True)
class StimulusKey:
    """The events column that names the stimulus, and the part of it that counts.

    Parameters
    ----------
    column : None for ``stim_id`` where there is one, else ``stim_file``
    pattern : regular expression with one group, or None for the whole cell
    """

    column: str | None = None
    pattern: str | None = None

    def column_of(self, columns: Iterable[str], where: str) -> str:
        """Return the column to read.

        Raises
        ------
        InconsistentInput
            It is not there; ``where`` names the events file.
        """
        names = list(columns)
        wanted = DEFAULT_COLUMNS if self.column is None else (self.column,)
        for name in wanted:
            if name in names:
                return name
        raise InconsistentInput(
            f"{where}: no column {' or '.join(wanted)} that names the stimulus; columns: {listing(names, 20)}. "
            'Name it with --stim-key COLUMN[:REGEX] or "StimulusKey": {"Column": ...} in the events sidecar.'
        )

    def identify(self, cell: str | None) -> str | None:
        """Return the stimulus id of a cell, "" for a missing one, None where the pattern does not match.

        >>> StimulusKey("stim_file", r"([FM]\\d+)\\.jpg$").identify("sub01/run02/F0012.jpg")
        'F0012'
        """
        if not cell:
            return ""
        if self.pattern is None:
            return without_prefix(cell)
        found = re.search(self.pattern, cell)
        return without_prefix(found[1]) if found and found[1] else None


def stimulus_key(metadata: Mapping[str, Any], inputs: InputSettings) -> StimulusKey:
    """Return the key: ``--stim-key``, else ``StimulusKey`` of the sidecar, else the default.

    Raises
    ------
    UsageError, InconsistentInput
        No column, or a pattern that is no regular expression with exactly one group; from the
        command line and from the sidecar respectively.
    """
    if inputs.stim_key is not None:
        column, _, pattern = inputs.stim_key.partition(":")
        return _checked(column, pattern or None, "--stim-key", UsageError)
    declared = metadata.get("StimulusKey")
    if declared is None:
        return StimulusKey()
    if not isinstance(declared, dict):
        raise InconsistentInput(f'StimulusKey must be an object such as {{"Column": "stim_id"}}, got {declared!r}.')
    return _checked(declared.get("Column"), declared.get("Regex"), "StimulusKey", InconsistentInput)


def _checked(
    column: Any, pattern: Any, where: str, error: type[UsageError] | type[InconsistentInput]
) -> StimulusKey:
    if column is not None and (not isinstance(column, str) or not column):
        raise error(f"{where}: the name of an events column is needed, got {column!r}.")
    if pattern is not None:
        try:
            groups = re.compile(pattern).groups
        except (re.error, TypeError) as problem:
            raise error(f"{where}: {pattern!r} is not a regular expression: {problem}.") from problem
        if groups != 1:
            raise error(f"{where}: {pattern!r} must have exactly one group in parentheses, it has {groups}.")
    return StimulusKey(column, pattern)
