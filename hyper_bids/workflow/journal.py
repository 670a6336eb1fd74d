"""What a run says: to the terminal as asked for, and everything to a log file per participant."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO

from hyper_bids.errors import HyperError, OutputNotWritable
from hyper_bids.whole_files import writing
from hyper_bids.workflow.live import LiveLine, Ticker, is_terminal

REDRAW_SECONDS = 1.0
HEARTBEAT_SECONDS = 300.0
"""How often a job's log is told what still runs."""


class Journal:
    """Messages of one invocation.

    Parameters
    ----------
    output : the output folder, or None where nothing may be written (``--dry-run``)
    quiet : print warnings and errors only
    verbose : print what otherwise goes to the log files only
    """

    def __init__(self, output: Path | None, *, quiet: bool = False, verbose: bool = False) -> None:
        self.run = f"{time.strftime('%Y%m%d-%H%M%S')}_{uuid.uuid4()}"
        self.output, self.quiet, self.verbose = output, quiet, verbose
        self._logs: dict[str, TextIO] = {}
        self._lock = threading.RLock()
        self._live: LiveLine | None = None
        self._warned: set[str] = set()

    def folder(self, participant: str) -> Path:
        """Where this participant's logs lie."""
        return Path(self.output or ".") / "logs" / f"sub-{participant}"

    def open(self, participant: str) -> None:
        """Start a participant's log."""
        if self.output is None or participant in self._logs:
            return
        try:
            self.folder(participant).mkdir(parents=True, exist_ok=True)
            path = self.folder(participant) / f"{self.run}.log"
            self._logs[participant] = open(path, "a", encoding="utf-8")  # noqa: SIM115  closed by close()
        except OSError as error:
            raise OutputNotWritable(
                f"Cannot write {self.folder(participant)}: {error.strerror}. Choose another output folder."
            ) from error

    def say(self, text: str, participant: str | None = None) -> None:
        """Report progress."""
        self._log("INFO", text, participant)
        if not self.quiet:
            self._print(text)

    def step(self, text: str, participant: str | None = None) -> None:
        """Report a finished step: a line of its own, unless the live line shows how far things are."""
        self._log("INFO", text, participant)
        if self.verbose or not (self.quiet or self._live):
            self._print(text)

    def warn(self, text: str, participant: str | None = None) -> None:
        """Report what the user should know, once; shown with ``-q`` too."""
        self._log("WARNING", text, participant)
        if text not in self._warned:  # a second round, without a decoder that failed, finds the same again
            self._warned.add(text)
            self._print(f"warning: {text}", sys.stderr)

    def fail(self, text: str, participant: str | None = None) -> None:
        """Report an error."""
        self._log("ERROR", text, participant)
        self._print(f"error: {text}", sys.stderr)

    def note(self, text: str, participant: str | None = None) -> None:
        """Write to the log file, and with ``-v`` to the terminal."""
        self._log("DEBUG", text, participant)
        if self.verbose:
            self._print(text)

    @contextmanager
    def following(self, describe: Callable[[], tuple[str, str]]) -> Iterator[None]:
        """Show what goes on until the end of the block: in place on a terminal, now and then elsewhere.

        Parameters
        ----------
        describe : returns what is done and running, and time and memory. Log files, and a standard output
            that is no terminal, get it as a plain line every `HEARTBEAT_SECONDS`.
        """
        live = LiveLine(sys.stdout, describe) if is_terminal(sys.stdout) and not self.quiet else None

        def beat() -> None:
            with suppress(HyperError):  # a log that cannot be written: the next message of the main thread says so
                self.step("still at work: " + "; ".join(part for part in describe() if part))

        with Ticker(HEARTBEAT_SECONDS, beat):
            if live is None:
                yield
                return
            self._live = live
            try:
                with Ticker(REDRAW_SECONDS, live.draw):
                    live.draw()
                    yield
            finally:
                self._live = None
                live.close()

    def _print(self, text: str, stream: TextIO | None = None) -> None:
        stream = stream or sys.stdout
        with self._live.above() if self._live else nullcontext():
            try:
                print(text, file=stream, flush=True)
            except BrokenPipeError:  # nobody reads it any more (head, a tee that ended): no reason to lose the run
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)

    def _log(self, level: str, text: str, participant: str | None) -> None:
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {level} {text}\n"
        with self._lock:
            for name, stream in self._logs.items():
                if participant in (None, name):
                    with writing(Path(stream.name)):
                        stream.write(line)
                        stream.flush()

    def close(self) -> None:
        """Close the log files."""
        for stream in self._logs.values():
            stream.close()
        self._logs.clear()
