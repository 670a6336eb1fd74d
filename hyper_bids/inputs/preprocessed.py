"""Which preprocessed files belong to a run, and in which space: fMRIPrep's layout, 20.2 to 25."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError, listing
from hyper_bids.inputs.names import BIDSName, parse_name

AS_THEY_CAME = "orig"
"""How ``--space`` and messages call files without ``space-``."""


@dataclass(frozen=True, order=True)
class Grid:
    """Space and sampling of a preprocessed file, as its name says."""

    space: str = ""
    cohort: str = ""
    resolution: str = ""

    def __str__(self) -> str:
        parts = [self.space or AS_THEY_CAME]
        parts += [f"cohort-{self.cohort}"] if self.cohort else []
        parts += [f"res-{self.resolution}"] if self.resolution else []
        return ":".join(parts)


def grid_of(name: BIDSName) -> Grid:
    """Return the grid that a file name states."""
    return Grid(name.get("space") or "", name.get("cohort") or "", name.get("res") or "")


def parse_space(text: str) -> Grid:
    """Read ``--space LABEL[:cohort-X][:res-X]``.

    >>> print(parse_space("MNI152NLin2009cAsym:res-2"))
    MNI152NLin2009cAsym:res-2
    """
    label, *modifiers = text.removeprefix("space-").split(":")
    values = dict(part.partition("-")[::2] for part in modifiers)
    if not re.fullmatch(r"[0-9A-Za-z+]+", label) or set(values) - {"res", "cohort"} or "" in values.values():
        raise UsageError(f"--space: {text!r} is not LABEL or LABEL:res-X, as in T1w or MNI152NLin2009cAsym:res-2.")
    return Grid("" if label == AS_THEY_CAME else label, values.get("cohort", ""), values.get("res", ""))


def choose_grid(found: Iterable[Grid], wanted: str | None) -> Grid:
    """Return the grid to use: the wanted one, else T1w, else the only one.

    Raises
    ------
    UsageError
        No such space, or several to choose from; lists them.
    """
    grids = sorted(set(found))
    asked = Grid("T1w") if wanted is None else parse_space(wanted)
    candidates = _of_space(grids, asked) or (grids if wanted is None else [])
    if not candidates:
        shown = listing(map(str, grids), 20)
        raise UsageError(f"--space {wanted}: there is no preprocessed BOLD in that space; found: {shown}.")
    if len(candidates) > 1:
        choice = listing(map(str, candidates), 20)
        raise UsageError(f"The preprocessed BOLD is there in several spaces: {choice}. Choose one with --space.")
    return candidates[0]


def _of_space(grids: Iterable[Grid], wanted: Grid) -> list[Grid]:
    """The very grid, else those of the space that say more than was asked."""
    grids = list(grids)
    said = {"space": wanted.space, "cohort": wanted.cohort, "resolution": wanted.resolution}
    more = [g for g in grids if all(value in ("", getattr(g, name)) for name, value in said.items() if name != "space")]
    return [g for g in grids if g == wanted] or [g for g in more if g.space == wanted.space]


@dataclass(frozen=True)
class Preprocessed:
    """The files of one derivative dataset that may be used."""

    name: str
    root: Path
    bolds: tuple[Path, ...]
    masks: tuple[Path, ...]
    confounds: tuple[Path, ...]


@dataclass(frozen=True)
class Match:
    """The preprocessed files of one run."""

    bold: Path
    root: Path
    grid: Grid
    mask: Path | None
    confounds: Path | None


Identity = tuple[tuple[str, str], ...]


def match_runs(runs: Sequence[Identity], datasets: Sequence[Preprocessed], space: str | None) -> dict[Identity, Match]:
    """Find the preprocessed BOLD, mask and confounds of every run.

    Parameters
    ----------
    runs : identities of the selected runs (`BIDSName.run_identity`)
    datasets : derivative datasets, in the order given
    space : ``--space``, or None

    Raises
    ------
    MissingFiles
        A run has no preprocessed BOLD (in the chosen space); names the first three.
    UsageError
        The space is missing or ambiguous, or two datasets hold the same file.
    """
    found: dict[Identity, list[tuple[Grid, Preprocessed, Path]]] = {run: [] for run in runs}
    for dataset in datasets:
        for path in dataset.bolds:
            name = parse_name(path)
            if name.run_identity in found and name.get("echo") is None:
                found[name.run_identity].append((grid_of(name), dataset, path))
    roots = listing((str(dataset.root) for dataset in datasets), 10)
    _require(runs, [run for run in runs if not found[run]], f"under {roots}")
    grid = choose_grid((item[0] for items in found.values() for item in items), space)
    chosen = {run: [item for item in items if item[0] == grid] for run, items in found.items()}
    _require(runs, [run for run in runs if not chosen[run]], f"in space {grid} under {roots}")
    return {run: _match(run, grid, items, datasets) for run, items in chosen.items()}


def _require(runs: Sequence[Identity], missing: Sequence[Identity], where: str) -> None:
    if missing:
        stems = ["_".join(f"{key}-{label}" for key, label in run) for run in missing[:3]]
        names = "\n  ".join(f"{stem}[...]_desc-preproc_bold.nii.gz" for stem in stems)
        more = f"\n  and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise MissingFiles(
            f"{len(missing)} of {len(runs)} selected runs have no preprocessed BOLD {where}:\n  {names}{more}\n"
            "Preprocess them, select other runs, or name with --derivatives the folder that holds their sub- folders "
            "(--derivatives none: analyse the raw BOLD)."
        )


def _match(
    run: Identity, grid: Grid, items: Sequence[tuple[Grid, Preprocessed, Path]], datasets: Sequence[Preprocessed]
) -> Match:
    if len(items) > 1:
        paths = listing((str(path) for _, _, path in items), 3)
        raise UsageError(f"Several preprocessed BOLD files for one run: {paths}. Give one dataset with --derivatives.")
    _, dataset, bold = items[0]
    order = [dataset, *(other for other in datasets if other is not dataset)]
    mask = _first(order, lambda d: _mask(run, grid, d.masks))
    confounds = _first(order, lambda d: _confounds(run, d.confounds))
    return Match(bold, dataset.root, grid, mask, confounds)


def _first(datasets: Iterable[Preprocessed], find: Callable[[Preprocessed], Path | None]) -> Path | None:
    return next((path for path in map(find, datasets) if path is not None), None)


def _mask(run: Identity, grid: Grid, masks: Iterable[Path]) -> Path | None:
    """The mask of the run, else one that holds for several runs (same grid, fewer entities)."""
    fitting = []
    for path in masks:
        name = parse_name(path)
        if grid_of(name) == grid and set(name.run_identity) <= set(run) and name.get("echo") is None:
            fitting.append((-len(name.run_identity), path))
    return _only(fitting, run, "brain masks")


def _confounds(run: Identity, tables: Iterable[Path]) -> Path | None:
    """The confounds table of the run; ``_timeseries`` (20.2 on) before ``_regressors``."""
    fitting = []
    for path in tables:
        name = parse_name(path)
        if name.run_identity == run and name.get("echo") is None:
            fitting.append((int(name.suffix != "timeseries"), path))
    return _only(fitting, run, "confounds tables")


def _only(ranked: Sequence[tuple[int, Path]], run: Identity, what: str) -> Path | None:
    if not ranked:
        return None
    best = min(rank for rank, _ in ranked)
    paths = sorted(path for rank, path in ranked if rank == best)
    if len(paths) > 1:
        label = "_".join(f"{key}-{value}" for key, value in run)
        raise InconsistentInput(f"{label}: several {what} fit: {listing(paths, 3)}. Keep one of them.")
    return paths[0]


def parse_derivatives(words: Sequence[str], bids_dir: Path) -> dict[str, Path]:
    """Read ``--derivatives [NAME=]PATH ...``; without any, ``derivatives/fmriprep`` where it is there.

    The single word ``none`` asks for the raw BOLD although there are derivatives.

    Raises
    ------
    UsageError
        Two have the same name, or the same folder.
    MissingFiles
        A folder does not exist.
    """
    if not words:
        default = bids_dir / "derivatives" / "fmriprep"
        return {"fmriprep": default} if default.is_dir() else {}
    if tuple(words) == ("none",):
        return {}
    found: dict[str, Path] = {}
    for word in words:
        named = re.fullmatch(r"([0-9A-Za-z._+-]+)=(.+)", word, re.DOTALL)
        text = named[2] if named else word
        path = Path(os.path.abspath(os.path.expanduser(text)))
        name = named[1] if named else path.name
        if name in found or path in found.values():
            raise UsageError(f"--derivatives: {word!r} comes twice (name {name}); give each folder once, as NAME=PATH.")
        if not path.is_dir():
            raise MissingFiles(f"--derivatives {word}: no such folder: {path}.")
        found[name] = path
    return found
