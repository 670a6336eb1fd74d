"""What ``hyper-tools check`` found, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles

_FIRST = (InconsistentInput.exit_code, MissingFiles.exit_code)


@dataclass
class TaskCheck:
    """What was found of one task.

    Parameters
    ----------
    task : label
    lines : for people
    problems : what hyper would stop at
    keys : a sidecar of the three keys, as declared or as guessed; None where no events could be read
    stimuli : samples that need latents
    declared : whether the sidecars (or options) name latents
    """

    task: str
    lines: list[str] = field(default_factory=list)
    problems: list[HyperError] = field(default_factory=list)
    keys: dict[str, Any] | None = None
    stimuli: list[str] = field(default_factory=list)
    declared: bool = False

    def say(self, head: str, text: str) -> None:
        """Add a line with its heading."""
        self.lines.append(f"  {head:<16}{text}")

    def met(self, error: HyperError) -> None:
        """Add a problem, once: also where a participant's name has been put before it."""
        if not any(str(error).endswith(str(known)) for known in self.problems):
            self.problems.append(error)


@dataclass
class Check:
    """What was found of a dataset."""

    root: Path
    lines: list[str]
    tasks: list[TaskCheck]
    problems: list[HyperError]

    @property
    def counted(self) -> list[HyperError]:
        """The problems that would stop hyper: those of undeclared tasks only where no task is declared."""
        declared = [task for task in self.tasks if task.declared]
        return [*self.problems, *(problem for task in declared or self.tasks for problem in task.problems)]

    @property
    def exit_code(self) -> int:
        """0; 65 where something is inconsistent, else 66 where files are missing, else the first problem's own."""
        codes = [problem.exit_code for problem in self.counted]
        return next((code for code in (*_FIRST, *codes) if code in codes), 0)

    def text(self) -> str:
        """Return everything for people."""
        lines = list(self.lines)
        for task in self.tasks:
            lines += ["", f"task-{task.task}", *task.lines]
            lines += [_problem(error, counted=error in self.counted) for error in task.problems]
        lines += [_problem(error) for error in self.problems]
        n = len(self.counted)
        lines += ["", f"{n} problem(s), exit code {self.exit_code}." if n else "Nothing is missing."]
        return "\n".join(lines)


def _problem(error: HyperError, *, counted: bool = True) -> str:
    head = f"  PROBLEM ({error.exit_code})    " if counted else "  not decoded     "
    return head + str(error).replace("\n", "\n" + " " * 18)
