"""One BOLD file with everything that belongs to it, and the dataset that holds them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.errors import NothingSelected, listing

if TYPE_CHECKING:
    from hyper_bids.inputs.response_maps import ResponseMap

_PATHS = ("bold", "events", "raw", "mask", "confounds")


@dataclass(frozen=True)
class Recording:
    """One run: a BOLD file, its events, and what is known about its sampling.

    Parameters
    ----------
    participant, session, task, run : BIDS labels as in the file name ("01"); None where there is none
    bold : the BOLD file to analyse: preprocessed where derivatives are given, else the raw one
    events : events.tsv
    raw : the run's BOLD file in the dataset itself (its content may be absent where ``bold`` is another file)
    mask : brain mask, or None
    confounds : confounds table, or None
    space, resolution : ``space-`` and ``res-`` labels of ``bold``; None for images as they came
    repetition_time : s (0 where the content was not read)
    start_time : s, when the first volume was acquired on the events' clock (sidecar ``StartTime``, else 0)
    n_volumes : from the header (0 where the content was not read)
    further : other entities that tell apart runs of this participant and task, as "acq-hi_dir-AP"
    """

    participant: str
    session: str | None
    task: str
    run: str | None
    bold: Path
    events: Path
    raw: Path
    mask: Path | None
    confounds: Path | None
    space: str | None
    resolution: str | None
    repetition_time: float
    start_time: float
    n_volumes: int
    further: str = ""

    @property
    def label(self) -> str:
        """Name of the run within its participant and task: ``ses-03_run-01``; ``bold`` if it needs none."""
        session = "" if self.session is None else f"ses-{self.session}"
        run = "" if self.run is None else f"run-{self.run}"
        return "_".join(part for part in (session, self.further, run) if part) or "bold"

    @property
    def duration(self) -> float:
        """Seconds from the first volume to the end of the last."""
        return self.n_volumes * self.repetition_time

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recording:
        """Rebuild from `to_dict`'s values."""
        paths = {name: None if values[name] is None else Path(values[name]) for name in _PATHS}
        return cls(**{**values, **paths})


@dataclass(frozen=True)
class Dataset:
    """The selected part of a BIDS dataset.

    Parameters
    ----------
    root : dataset root (absolute)
    description : content of dataset_description.json
    participants : labels without "sub-", sorted
    recordings : sorted by participant, task, session, further entities and run
    notices : what a reader of the report should know
    derivatives : name -> folder of the preprocessed data in use
    maps : response maps that take the place of recordings (``--responses``)
    """

    root: Path
    description: dict[str, Any]
    participants: tuple[str, ...]
    recordings: tuple[Recording, ...]
    notices: tuple[str, ...] = ()
    derivatives: dict[str, Path] | None = None
    maps: tuple[ResponseMap, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "derivatives", dict(self.derivatives or {}))

    def tasks(self, participant: str | None = None) -> tuple[str, ...]:
        """Return the tasks of one participant, or of all, sorted."""
        return tuple(sorted({r.task for r in (*self.recordings, *self.maps) if participant in (None, r.participant)}))

    def of(self, participant: str, task: str) -> tuple[Recording, ...]:
        """Return the runs of one participant and task.

        Raises
        ------
        NothingSelected
            There are none; names the tasks that this participant has.
        """
        found = tuple(r for r in self.recordings if (r.participant, r.task) == (participant, task))
        if not found:
            raise NothingSelected(
                f"sub-{participant} has no run of task-{task}; tasks found: {listing(self.tasks(participant))}."
            )
        return found
