"""How far a run is: steps done and running, time left, memory in use. Knows no terminal and no engine."""

from __future__ import annotations

import heapq
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hyper_bids.workflow.plan import Step, descendants

_ENTITY = re.compile(r"\b[a-z]+-\S+")
WORDS_RUNNING = 3
"""Running steps that the line names."""

SPARING = 20.0
"""A forecast is kept for as many times as long as it took to make,"""

CHEAP = 0.02
"""unless it took less than so many seconds."""


@dataclass(frozen=True)
class TimeLeft:
    """A forecast.

    Parameters
    ----------
    seconds : until the steps of known kinds are done
    complete : whether every kind of step that remains was timed; else ``seconds`` is a lower limit
    """

    seconds: float
    complete: bool

    def __str__(self) -> str:
        return f"{'about' if self.complete else 'at least'} {duration(self.seconds)} left"


class Progress:
    """What is done of a plan, what runs, and how long the rest takes.

    Parameters
    ----------
    steps : the plan, each step after those it waits for
    n_procs, memory_gb : limits under which the steps are run
    clock : seconds, never going back

    Notes
    -----
    A step's time is predicted from finished steps of its kind (what its label says, participant
    and run left out), in proportion to the size of the BOLD that it reads. The rest of the plan is
    then scheduled as the engine does it: whatever is ready and fits starts. Before one step of a
    remaining kind has been timed nothing is known, and nothing is said; while some kinds
    are still untimed it is a lower limit, and says so. Steps taken over from an earlier run count as
    done and are not timed.
    """

    def __init__(
        self, steps: Sequence[Step], n_procs: int, memory_gb: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._steps = {step.name: step for step in steps}
        self._n_procs, self._memory_gb, self._clock = n_procs, memory_gb, clock
        self._begun = clock()
        self._started: dict[str, float] = {}
        self._timed: dict[str, tuple[float, float]] = {}  # kind -> seconds, work
        self._work = {step.name: work(step) for step in steps}
        self._left = set(self._steps)
        self._lock = threading.RLock()  # the line is drawn by another thread than the one that counts
        self.n_done = 0
        self._forecast: tuple[float, TimeLeft | None] | None = None  # made at, what
        self._cost = 0.0

    @property
    def n_steps(self) -> int:
        """Steps of the plan."""
        return len(self._steps)

    @property
    def elapsed(self) -> float:
        """Seconds since the plan was begun."""
        return self._clock() - self._begun

    def start(self, name: str) -> None:
        """A step begins."""
        with self._lock:
            self._started[name] = self._clock()

    def end(self, name: str) -> float | None:
        """A step is done; return its seconds, or None where an earlier run's outputs were taken over."""
        with self._lock:
            self.n_done += 1
            self._left.discard(name)
            started = self._started.pop(name, None)
            if started is None:
                return None
            seconds = self._clock() - started
            before, worked = self._timed.get(kind(self._steps[name]), (0.0, 0.0))
            self._timed[kind(self._steps[name])] = before + seconds, worked + self._work[name]
            return seconds

    def fail(self, name: str) -> None:
        """A step failed: those that wait for it will not run."""
        with self._lock:
            self.n_done += 1
            self._started.pop(name, None)
            self._left -= descendants(list(self._steps.values()), {name})

    def running(self) -> list[tuple[Step, float]]:
        """Return the steps that run and their seconds so far, the first begun first."""
        with self._lock:
            now = self._clock()
            begun = sorted(self._started.items(), key=lambda item: item[1])
        return [(self._steps[name], now - since) for name, since in begun]

    def time_left(self) -> TimeLeft | None:
        """Return the forecast, or None where nothing of what remains has been timed.

        A plan of thousands of steps takes a second to schedule: its forecast counts down for a while before it is
        made anew, so that at most one twentieth of a core goes into it.
        """
        with self._lock:
            now = self._clock()
            cheap = self._cost < CHEAP
            if cheap or self._forecast is None or now - self._forecast[0] >= SPARING * self._cost:
                began = time.perf_counter()
                self._forecast = now, self._schedule()
                self._cost = time.perf_counter() - began
            made, left = self._forecast
            return None if left is None else replace(left, seconds=max(0.0, left.seconds - (now - made)))

    def _schedule(self) -> TimeLeft | None:
        with self._lock:
            steps = [step for name, step in self._steps.items() if name in self._left]
            kinds, timed = {kind(step) for step in steps}, set(self._timed)
            seconds = {step.name: self._predicted(step.name) for step in steps}
            running = frozenset(self._started)
        if not kinds & timed:
            return None
        return TimeLeft(makespan(steps, seconds, self._n_procs, self._memory_gb, running), kinds <= timed)

    def _predicted(self, name: str) -> float:
        """Seconds that a step still takes; 0 where its kind was never timed."""
        known = self._timed.get(kind(self._steps[name]))
        if known is None:
            return 0.0
        so_far = self._clock() - self._started[name] if name in self._started else 0.0
        return max(0.0, known[0] * self._work[name] / known[1] - so_far)

    def describe(self, memory_in_use: float | None = None) -> tuple[str, str]:
        """Return the line in two parts: what is done and running; time and memory."""
        names = [step.label for step, _ in self.running()]
        more = f" and {len(names) - WORDS_RUNNING} more" if len(names) > WORDS_RUNNING else ""
        with self._lock:
            over = not self._left
        what = f"[{self.n_done}/{self.n_steps}] "
        what += ", ".join(names[:WORDS_RUNNING]) + more or ("writing the results" if over else "preparing")
        left = None if over else self.time_left()
        facts = [duration(self.elapsed)] + ([str(left)] if left is not None and round(left.seconds) > 0 else [])
        if memory_in_use is not None:
            facts.append(f"{memory_in_use:.1f} of {self._memory_gb:.1f} GB")
        return what, ", ".join(facts)


def kind(step: Step) -> str:
    """What a step does, whoever and whichever run it is for.

    >>> kind(Step("a", "m:f", label="sub-01 faces: GLM ses-02_run-03")) == kind(Step("b", "m:f", label="sub-02: GLM"))
    True
    """
    words = step.label.rpartition(": ")[2]
    return f"{step.target} {' '.join(_ENTITY.sub('', words).split())}"


def work(step: Step) -> float:
    """Relative amount of work among steps of a kind: bytes of the BOLD file that it reads, else 1."""
    recording = step.params.get("recording")
    path = Path(recording["bold"]) if isinstance(recording, Mapping) and recording.get("bold") else None
    return float(max(1, path.stat().st_size)) if path is not None and path.is_file() else 1.0


def makespan(
    steps: Sequence[Step],
    seconds: Mapping[str, float],
    n_procs: int,
    memory_gb: float,
    running: frozenset[str] = frozenset(),
) -> float:
    """Return the seconds until all steps are done, each begun once its parents are done and it fits.

    Parents outside ``steps`` count as done; steps that run already go first.
    """
    names = {step.name for step in steps}
    waiting = sorted(steps, key=lambda step: step.name not in running)
    done: set[str] = set()
    ends: list[tuple[float, str, float]] = []
    now, free, memory = 0.0, n_procs, memory_gb
    while waiting or ends:
        for step in list(waiting):
            ready = step.parents() & names <= done
            if ready and (not ends or (free > 0 and step.mem_gb <= memory)):
                heapq.heappush(ends, (now + seconds[step.name], step.name, step.mem_gb))
                free, memory = free - 1, memory - step.mem_gb
                waiting.remove(step)
        if not ends:  # parents that are not in the plan any more
            break
        now, name, released = heapq.heappop(ends)
        done.add(name)
        free, memory = free + 1, memory + released
    return now


def duration(seconds: float) -> str:
    """Return seconds as people say them.

    >>> duration(7.4), duration(83), duration(600), duration(4000)
    ('7 s', '1 min 23 s', '10 min', '1 h 7 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 600 and whole % 60:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory_in_use() -> float:
    """Return the memory (GB) of this process and its workers that is theirs alone, shared libraries counted once."""
    import psutil

    own = psutil.Process()
    total = own.memory_info().rss
    for child in own.children(recursive=True):
        try:
            info = child.memory_info()
        except psutil.Error:  # it ended between the two questions
            continue
        total += info.rss - getattr(info, "shared", 0)
    return total / 1024**3
