"""One job at a time per participant: a lock that names its holder and ends with its process."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import TextIO

from hyper_bids.errors import Locked, OutputNotWritable


class ParticipantLocks:
    """Locks of the participants that this job processes, in the work and the output folder.

    They are advisory file locks of the operating system: a killed job leaves none behind.
    """

    def __init__(self) -> None:
        self._held: list[TextIO] = []

    def take(self, participant: str, *folders: Path) -> None:
        """Take the participant's lock in every folder, or raise and say who holds it.

        Raises
        ------
        Locked
            Another job works on this participant.
        OutputNotWritable
        """
        for folder in folders:
            path = Path(folder) / f"sub-{participant}.lock"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stream = open(path, "a+", encoding="utf-8")  # noqa: SIM115  held until release()
            except OSError as error:
                raise OutputNotWritable(f"Cannot write {path}: {error.strerror}.") from error
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                stream.seek(0)
                holder = stream.read().strip() or "another job"
                stream.close()
                raise Locked(
                    f"sub-{participant} is being processed by {holder} (lock {path}). Wait for it, or use another "
                    "output and work folder."
                ) from error
            except OSError:
                stream.close()  # a file system without locks: go on without one, as before there were any
                continue
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            stream.flush()
            self._held.append(stream)

    def release(self) -> None:
        """Let all locks go."""
        for stream in self._held:
            stream.close()
        self._held.clear()
