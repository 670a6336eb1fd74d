"""SIGTERM and Ctrl-C while a network is trained: noted, and acted on where nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """Somebody asked for an end. ``signal`` is the number of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.signal = number


class Interruption:
    """Remembers a signal until the work asks for it."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self) -> None:
        """Raise `Interrupted` where a signal came since; ask between two steps."""
        if self.number is not None:
            raise Interrupted(self.number)

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Note SIGTERM and SIGINT in this block; a second one of either acts as it always did."""
        if threading.current_thread() is not threading.main_thread():
            yield self  # only the main thread may handle signals
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def note(number: int, frame: object) -> None:
            self.number = number
            signal.signal(number, before[number])

        for number in before:
            signal.signal(number, note)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
