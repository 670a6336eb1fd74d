"""One line at the bottom of a terminal, redrawn in place; and a clock that calls in between."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

CLEAR = "\r\x1b[K"
DIM, PLAIN = "\x1b[2m", "\x1b[0m"


def is_terminal(stream: TextIO) -> bool:
    """Whether a line can be redrawn there: a terminal that knows how, and no job's log."""
    return bool(getattr(stream, "isatty", lambda: False)()) and os.environ.get("TERM", "dumb") != "dumb"


class Ticker:
    """Calls a function every ``seconds`` until it is stopped."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._seconds, self._call = seconds, call
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self._call()

    def __enter__(self) -> Ticker:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        self._thread.join()


class LiveLine:
    """A line that says what goes on now. Whatever else is printed goes above it.

    Parameters
    ----------
    stream : a terminal (`is_terminal`)
    describe : returns the two parts of the line, the second shown dimmed unless NO_COLOR is set
    """

    def __init__(self, stream: TextIO, describe: Callable[[], tuple[str, str]]) -> None:
        self._stream, self._describe = stream, describe
        self._lock = threading.RLock()
        self._open = True

    def draw(self) -> None:
        """Draw the line anew."""
        what, facts = self._describe()
        with self._lock:
            if self._open:
                self._stream.write(CLEAR + fitted(what, facts, shutil.get_terminal_size().columns - 1))
                self._stream.flush()

    @contextmanager
    def above(self) -> Iterator[None]:
        """Take the line away while something is printed, and draw it again below that."""
        with self._lock:
            self._stream.write(CLEAR)
            self._stream.flush()
            yield
            if self._open:
                self.draw()

    def close(self) -> None:
        """Take the line away for good."""
        with self._lock:
            self._open = False
            self._stream.write(CLEAR)
            self._stream.flush()


def fitted(what: str, facts: str, width: int) -> str:
    """Return both parts in at most ``width`` columns; the first is cut where they do not fit.

    >>> fitted("[1/9] sub-01 faces: GLM run-01", "3 s", 20).replace(DIM, "").replace(PLAIN, "")
    '[1/9] sub-01... 3 s'
    """
    room = max(0, width - len(facts) - 1)
    if len(what) > room:
        what = what[: max(0, room - 3)].rstrip() + "..."
    text = f"{what} {facts}"[: max(0, width)]
    if os.environ.get("NO_COLOR") or not text.endswith(facts):
        return text
    return f"{text[: len(text) - len(facts)]}{DIM}{facts}{PLAIN}"
