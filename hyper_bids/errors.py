"""Errors for people: where, what came, what is needed, what to do.

Every error that a user can cause is a `HyperError`; its class fixes the exit code
(SPEC section 1), its text is the whole message. Anything else that escapes is a
fault of ours and exits with 70.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HyperError(Exception):
    """Base of all errors that are explained to the user."""

    exit_code = 70


class ParticipantFailed(HyperError):
    """At least one participant failed; the others finished."""

    exit_code = 1


class InvalidDataset(HyperError):
    """The input is not valid BIDS."""

    exit_code = 16


class NothingSelected(HyperError):
    """The filters selected nothing."""

    exit_code = 18


class UsageError(HyperError):
    """The command line or the configuration file is wrong."""

    exit_code = 64


class InconsistentInput(HyperError):
    """Latents, events, split or recordings contradict each other."""

    exit_code = 65


class MissingFiles(HyperError):
    """Files are missing, unreadable, or annexed without content."""

    exit_code = 66


class OutputNotWritable(HyperError):
    """The output or work folder cannot be written."""

    exit_code = 73


class Locked(HyperError):
    """Another job holds the lock on this participant."""

    exit_code = 75


class WorkerKilled(HyperError):
    """A worker process died without a word: the out-of-memory killer, or somebody's kill -9."""

    exit_code = 1


ERRORS: dict[str, type[HyperError]] = {
    cls.__name__: cls
    for cls in (
        HyperError,
        ParticipantFailed,
        InvalidDataset,
        NothingSelected,
        UsageError,
        InconsistentInput,
        MissingFiles,
        OutputNotWritable,
        Locked,
        WorkerKilled,
    )
}
"""Class name -> class: how an error crosses from a worker process to the command line."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the closest known name, or an empty string.

    >>> did_you_mean("rigde", ["ridge", "ols"])
    " Did you mean 'ridge'?"
    >>> did_you_mean("zzz", ["ridge"])
    ''
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def count(n: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun.

    >>> count(1, "run"), count(3, "stimulus", "stimuli")
    ('1 run', '3 stimuli')
    """
    return f"{n} {one if n == 1 else many or one + 's'}"


def listing(items: Iterable[object], limit: int = 5) -> str:
    """Join the first items for a message and say how many more there are.

    >>> listing(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    >>> listing([])
    'none'
    """
    names = [str(item) for item in items]
    if not names:
        return "none"
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
