"""Confound strategies: which columns of fMRIPrep's table a name stands for.

A strategy is a function of the table and the options that returns `Chosen` columns;
`STRATEGIES` holds those that exist. Names are joined by ``+``: ``motion24+acompcor``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np

from hyper_bids.errors import InconsistentInput, UsageError, did_you_mean, listing
from hyper_bids.inputs.confound_table import ConfoundTable

MOTION6 = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
"""Three translations (mm) and three rotations (rad)."""

COSINES = "cosine"


@dataclass(frozen=True)
class StrategyOptions:
    """What a strategy's name leaves open.

    Attributes
    ----------
    n_acompcor : aCompCor components to take, from the largest on
    fd_threshold : framewise displacement above which a volume is scrubbed (mm)
    columns : names of columns, shell wildcards allowed, for the strategy ``columns``
    """

    n_acompcor: int = 5
    fd_threshold: float = 0.5
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_acompcor < 1:
            raise UsageError(f"The number of aCompCor components must be at least 1, got {self.n_acompcor}.")
        if not (math.isfinite(self.fd_threshold) and self.fd_threshold >= 0):
            raise UsageError(f"The threshold of framewise displacement must be 0 mm or more, got {self.fd_threshold}.")


@dataclass(frozen=True)
class Chosen:
    """What a strategy takes from a table.

    Attributes
    ----------
    columns : name -> (n_volumes,) float64
    scrubbed : volumes that are scrubbed, from 0
    notices : what the user should know
    """

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    scrubbed: tuple[int, ...] = ()
    notices: tuple[str, ...] = ()


Strategy = Callable[[ConfoundTable, StrategyOptions], Chosen]


def none(table: ConfoundTable, options: StrategyOptions) -> Chosen:
    """No confounds."""
    return Chosen()


def motion6(table: ConfoundTable, options: StrategyOptions) -> Chosen:
    """Three translations and three rotations."""
    return Chosen(table.columns(MOTION6, "motion6"))


def motion24(table: ConfoundTable, options: StrategyOptions) -> Chosen:
    """The six, their backward differences, and the squares of both.

    As fMRIPrep expands them (Satterthwaite et al. 2013): ``x_t``, ``x_t - x_(t-1)`` (0 for the
    first volume), and both squared. Expansions that the table lacks are computed from the six.
    """
    six = table.columns(MOTION6, "motion24")
    steps = {f"{name}_derivative1": np.diff(values, prepend=values[:1]) for name, values in six.items()}
    steps = {name: table.column(name) if name in table else values for name, values in steps.items()}
    squares = {f"{name}_power2": values**2 for name, values in (six | steps).items()}
    squares = {name: table.column(name) if name in table else values for name, values in squares.items()}
    return Chosen(six | steps | squares)


def acompcor(table: ConfoundTable, options: StrategyOptions) -> Chosen:
    """The first aCompCor components, and the cosines that the BOLD was filtered with before CompCor.

    Components of the combined mask of white matter and CSF; where a table has none, as many of
    each of the two masks. Without the cosines the components would put slow drift back
    (Behzadi et al. 2007; fMRIPrep's documentation, "Confounds").
    """
    names, notices = _components(table)
    taken = tuple(name for series in names.values() for name in series[: options.n_acompcor])
    notices += [
        f"{len(series)} aCompCor components of the mask {mask} instead of {options.n_acompcor}: the table has no more."
        for mask, series in names.items()
        if len(series) < options.n_acompcor
    ]
    cosines = table.series(COSINES)
    if not cosines:
        notices.append("The table has aCompCor components but no cosines, so our own drift model stays.")
    return Chosen(table.columns((*taken, *cosines), "acompcor"), notices=tuple(notices))


def _components(table: ConfoundTable) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Mask -> all its components in the table, and notices."""
    first, masks = table.series("a_comp_cor"), table.masks()
    own = {"CSF": table.series("c_comp_cor"), "WM": table.series("w_comp_cor")}  # since fMRIPrep 21
    described = any(name in masks for name in first)
    by_mask = {
        mask: tuple(name for name in first if masks.get(name) == mask) or own.get(mask, ())
        for mask in ("combined", "CSF", "WM")
    }
    if combined := by_mask.pop("combined") if described else first:
        unknown = "No JSON tells the masks of the aCompCor components; the first are taken for the combined mask's."
        return {"combined": combined}, [] if described or any(own.values()) else [unknown]
    if separate := {mask: by_mask[mask] for mask in own if by_mask[mask]}:
        return separate, [f"No aCompCor components of the combined mask; taken: those of {listing(separate)}."]
    table.columns(("a_comp_cor_00",), "acompcor")
    raise InconsistentInput(
        f"{table.path}: its JSON gives the aCompCor components the masks "
        f"{listing(sorted({masks[name] for name in first if name in masks}))}; needed: combined, CSF or WM."
    )


def wmcsf(table: ConfoundTable, options: StrategyOptions) -> Chosen:
    """Mean signals of white matter and of CSF."""
    return Chosen(table.columns(("white_matter", "csf"), "wmcsf"))


def scrub(table: ConfoundTable, options: StrategyOptions) -> Chosen:
    """One spike per volume with a framewise displacement above the threshold (Power et al. 2012; Lemieux et al. 2007).

    A spike takes its volume out of the fit, and nothing else.
    """
    displacement = table.columns(("framewise_displacement",), "scrub")["framewise_displacement"]
    volumes = tuple(int(volume) for volume in np.flatnonzero(displacement > options.fd_threshold))
    limit = f"framewise displacement above {options.fd_threshold:g} mm"
    said = (f"{len(volumes)} of {len(table)} volumes scrubbed ({limit}).",) if volumes else ()
    return Chosen(spikes(volumes, len(table)), volumes, said)


def cosine(table: ConfoundTable, options: StrategyOptions) -> Chosen:
    """fMRIPrep's own cosines (periods above 128 s)."""
    return Chosen(table.columns(table.series(COSINES) or (f"{COSINES}00",), "cosine"))


def columns(table: ConfoundTable, options: StrategyOptions) -> Chosen:
    """The user's own list, with shell wildcards; a column answers to its name in the file and to the newer one."""
    taken: list[str] = []
    for pattern in options.columns:
        fitting = [n for n in table.names if fnmatchcase(n, pattern) or fnmatchcase(table.written[n], pattern)]
        if not fitting:
            near = _near(pattern, (*table.written.values(), *table.names))
            raise InconsistentInput(
                f"{table.path}: no column matches {pattern!r} of the list of confounds. "
                + (f"Close: {listing(near)}." if near else f"It has {listing(table.written.values(), 12)}.")
            )
        taken += fitting
    return Chosen({name: table.column(name) for name in dict.fromkeys(taken)})


def _near(pattern: str, names: Sequence[str]) -> list[str]:
    """Names like a pattern, whose wildcards and case do not count."""
    plain = "".join(letter for letter in pattern if letter not in "*?[]!").casefold()
    by_plain = {name.casefold(): name for name in names}
    return [by_plain[name] for name in difflib.get_close_matches(plain, by_plain, n=3, cutoff=0.5)]


STRATEGIES: dict[str, Strategy] = {
    "none": none,
    "motion6": motion6,
    "motion24": motion24,
    "acompcor": acompcor,
    "wmcsf": wmcsf,
    "scrub": scrub,
    "cosine": cosine,
    "columns": columns,
}
"""Single name -> function; ``+`` joins names."""


def parse_strategy(strategy: str, columns: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the single names of a strategy, each once.

    Parameters
    ----------
    strategy : names of `STRATEGIES` joined by ``+``
    columns : the list for ``columns``: needed with it, refused without

    Raises
    ------
    UsageError
        An unknown name, ``none`` beside another, or ``columns`` without a list and the reverse.

    >>> parse_strategy("motion6+scrub")
    ('motion6', 'scrub')
    """
    names = tuple(dict.fromkeys(name.strip() for name in strategy.split("+")))
    for name in names:
        if name not in STRATEGIES:
            raise UsageError(
                f"Unknown confound strategy {name!r} in --confounds {strategy}.{did_you_mean(name, STRATEGIES)} "
                f"There are {listing(STRATEGIES, len(STRATEGIES))}; '+' joins several, as in motion24+acompcor."
            )
    if "none" in names and len(names) > 1:
        raise UsageError(f"--confounds {strategy}: 'none' cannot be joined with others.")
    if ("columns" in names) != bool(columns):
        raise UsageError(
            f"--confounds {strategy}: "
            + ("'columns' needs a list of columns." if not columns else "a list of columns needs 'columns' among them.")
        )
    return names


def spikes(volumes: Sequence[int], n_volumes: int) -> dict[str, np.ndarray]:
    """One regressor per volume (counted from 0), 1 there and 0 elsewhere: name -> ``(n_volumes,)`` float64."""
    return {f"spike_{volume:04d}": (np.arange(n_volumes) == volume).astype(float) for volume in volumes}
