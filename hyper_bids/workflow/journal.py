"""What a run says: to the terminal as asked for, and everything to a log file per participant."""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path
from typing import TextIO

from hyper_bids.derivatives.write import writing
from hyper_bids.errors import OutputNotWritable


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
            print(text, flush=True)

    def warn(self, text: str, participant: str | None = None) -> None:
        """Report what the user should know; shown with ``-q`` too."""
        self._log("WARNING", text, participant)
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def fail(self, text: str, participant: str | None = None) -> None:
        """Report an error."""
        self._log("ERROR", text, participant)
        print(f"error: {text}", file=sys.stderr, flush=True)

    def note(self, text: str, participant: str | None = None) -> None:
        """Write to the log file, and with ``-v`` to the terminal."""
        self._log("DEBUG", text, participant)
        if self.verbose:
            print(text, flush=True)

    def _log(self, level: str, text: str, participant: str | None) -> None:
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {level} {text}\n"
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
