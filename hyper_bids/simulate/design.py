"""Who is shown what and when: the trials of every run, in the designs of METHODS.md section 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyper_bids.errors import UsageError
from hyper_bids.seeds import generator as seeded
from hyper_bids.simulate.settings import SimulateSettings


@dataclass(frozen=True)
class Timing:
    """A paper's numbers; times in s, shares of trials."""

    tr: float
    on: float
    off: float
    lead_in: float
    lead_out: float
    train_repeats: int
    null_events: float
    one_backs: float


TIMINGS: dict[str, Timing] = {
    "hyper": Timing(tr=1.5, on=1.5, off=3.0, lead_in=6, lead_out=12, train_repeats=1, null_events=0, one_backs=0),
    # 30 Fix trials, 88 faces and 8 one-backs in a run: 30 / 126 and 8 / 88, rounded
    "vaegan": Timing(tr=2.0, on=1.0, off=2.0, lead_in=6, lead_out=6, train_repeats=1, null_events=0.24, one_backs=0.1),
    "dand": Timing(tr=1.4, on=1.4, off=2.8, lead_in=6, lead_out=12, train_repeats=2, null_events=0, one_backs=0),
}


@dataclass(frozen=True)
class Trial:
    """One row of events.tsv; ``stimulus`` is None for fixation."""

    onset: float
    duration: float
    trial_type: str
    stimulus: str | None
    oneback: bool


@dataclass(frozen=True)
class Run:
    """The trials of one BOLD file."""

    trials: tuple[Trial, ...]
    n_volumes: int
    tr: float

    @property
    def shown(self) -> tuple[Trial, ...]:
        """The trials with a stimulus, one-backs among them: those that a brain answers to."""
        return tuple(trial for trial in self.trials if trial.stimulus is not None)


def timing_of(settings: SimulateSettings) -> Timing:
    """Return the design's timing, with the options that the user set."""
    base = TIMINGS[settings.design]
    chosen = {
        name: getattr(settings, name)
        for name in ("tr", "train_repeats", "null_events", "one_backs")
        if getattr(settings, name) is not None
    }
    return Timing(**{**base.__dict__, **chosen})


def spread(stimuli: Sequence[str], repeats: int, n_runs: int, rng: np.random.Generator) -> list[list[str]]:
    """Deal ``repeats`` showings of each stimulus out to runs, as evenly as they go.

    A stimulus comes equally often in every run, or once more in some; run lengths differ by at most one.

    >>> [len(run) for run in spread(["a", "b", "c"], 5, 2, np.random.default_rng(0))]
    [8, 7]
    """
    runs: list[list[str]] = [[] for _ in range(n_runs)]
    turn = 0
    for row in rng.permutation(len(stimuli)):
        for _ in range(repeats):
            runs[turn % n_runs].append(stimuli[row])
            turn += 1
    return runs


def shuffle_apart(labels: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Order labels at random such that no label follows itself.

    At each place a remaining label is drawn in proportion to its number, but for the one just placed;
    a label that fills more than half of the remaining places must come now, or it would have to follow itself later.

    >>> shuffle_apart(["a", "a", "b"], np.random.default_rng(0))
    ['a', 'b', 'a']

    Raises
    ------
    UsageError
        One label is more than half of all, so that it must follow itself.
    """
    left = Counter(labels)
    order: list[str] = []
    for n_left in range(len(labels), 0, -1):
        most, number = left.most_common(1)[0]
        options = {label: n for label, n in left.items() if n and (not order or label != order[-1])}
        if not options or (2 * number > n_left + 1):
            raise UsageError(
                f"Stimulus {most} is shown too often in one run of {len(labels)} trials to never follow itself; "
                f"raise --n-test-faces or --test-runs, or lower --repeats."
            )
        if 2 * number > n_left and most in options:
            choice = most
        else:
            names = list(options)
            weights = np.array([options[name] for name in names], dtype=float)
            choice = names[rng.choice(len(names), p=weights / weights.sum())]
        order.append(choice)
        left[choice] -= 1
    return order


def _contents(
    settings: SimulateSettings, train: Sequence[str], test: Sequence[str], rng: np.random.Generator
) -> list[list[str]]:
    """Return the stimuli of every run, unordered."""
    timing = timing_of(settings)
    if settings.design != "vaegan":  # HYPER: the first runs are the test runs; DAND does not say
        return [
            *spread(test, settings.repeats, settings.test_runs, rng),
            *spread(train, timing.train_repeats, settings.train_runs, rng),
        ]
    n_runs = settings.train_runs + settings.test_runs
    runs = spread(train, timing.train_repeats, n_runs, rng)
    half = (len(test) + 1) // 2
    for first, faces in ((0, test[:half]), (1, test[half:])):  # one half in a run, the other half in the next
        for run, extra in zip(runs[first::2], spread(faces, settings.repeats, len(runs[first::2]), rng), strict=True):
            run.extend(extra)
    return runs


def _with_extras(order: list[str], timing: Timing, rng: np.random.Generator) -> list[tuple[str | None, bool]]:
    """Add one-backs right after what they repeat, and null events anywhere but between those two."""
    followed = set(rng.permutation(len(order))[: round(timing.one_backs * len(order))].tolist())
    groups = [
        [(label, False), (label, True)] if row in followed else [(label, False)] for row, label in enumerate(order)
    ]
    n_shown = len(order) + len(followed)
    n_null = round(timing.null_events / (1 - timing.null_events) * n_shown)
    slots: list[list[tuple[str | None, bool]]] = [[(None, False)] for _ in range(n_null)]
    places = np.zeros(len(groups) + n_null, dtype=bool)
    places[rng.permutation(len(places))[:n_null]] = True
    shown, null = iter(groups), iter(slots)
    return [item for is_null in places for item in (next(null) if is_null else next(shown))]


def _timed(
    sequence: list[tuple[str | None, bool]], test: set[str], settings: SimulateSettings, rng: np.random.Generator
) -> Run:
    timing = timing_of(settings)
    slot = timing.on + timing.off
    jitter = settings.onset_jitter
    shifts = rng.uniform(-jitter, jitter, len(sequence))
    trials = []
    for row, (label, oneback) in enumerate(sequence):
        onset = round(timing.lead_in + row * slot + shifts[row], 4)
        kind = "fixation" if label is None else "test" if label in test else "train"
        trials.append(Trial(onset, timing.on, kind, label, oneback))
    seconds = timing.lead_in + len(sequence) * slot + timing.lead_out
    return Run(tuple(trials), int(np.ceil(seconds / timing.tr)), timing.tr)


def make_runs(settings: SimulateSettings, train: Sequence[str], test: Sequence[str], participant: str) -> list[Run]:
    """Return the runs of a participant, in the order of the session.

    Parameters
    ----------
    settings : SimulateSettings
    train, test : stimulus labels
    participant : names the random stream: every participant has an order of their own

    Raises
    ------
    UsageError
        A stimulus would have to follow itself, or a run would be empty.
    """
    rng = seeded(settings.random_seed, participant, "design")
    timing = timing_of(settings)
    contents = _contents(settings, train, test, rng)
    if not all(contents):
        raise UsageError("A run would have no trial; lower --train-runs or --test-runs.")
    return [_timed(_with_extras(shuffle_apart(run, rng), timing, rng), set(test), settings, rng) for run in contents]
