"""The stimuli themselves: stimuli.tsv, picture files, and which of them hold the same content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.inputs.annex import annex_key, has_content, require_content
from hyper_bids.inputs.key import without_prefix
from hyper_bids.inputs.locate import locate, stimulus_path
from hyper_bids.inputs.tables import read_table


def read_stimuli(folders: Sequence[Path]) -> pd.DataFrame:
    """Read ``stimuli/stimuli.tsv``, sorted by ``stimulus_id`` (the first column); empty where there is none.

    Where overlay and dataset both have one, they are joined by id and a cell of the overlay wins.

    Parameters
    ----------
    folders : `locate.stimuli_folders`, the overlay's first

    Raises
    ------
    InconsistentInput
        No column ``stimulus_id``, an empty or a double id.
    MissingFiles
        The file cannot be read.
    """
    merged: pd.DataFrame | None = None
    for folder in folders:
        path = folder / "stimuli.tsv"
        if path.is_symlink():
            require_content([path], [folder.parent])
        if path.is_file():
            table = _indexed(path)
            merged = table if merged is None else merged.combine_first(table)
    if merged is None:
        return pd.DataFrame({"stimulus_id": pd.Series(dtype=object)})
    return merged.sort_index().rename_axis("stimulus_id").reset_index().astype(object)


def _indexed(path: Path) -> pd.DataFrame:
    table = read_table(path)
    if "stimulus_id" not in table.columns:
        raise InconsistentInput(f"{path}: no column stimulus_id, only {listing(table.columns, 20)}.")
    empty = int(table["stimulus_id"].isna().sum())
    if empty:
        raise InconsistentInput(f"{path}: stimulus_id is empty or n/a in {empty} row(s).")
    table["stimulus_id"] = table["stimulus_id"].map(without_prefix)
    double = table["stimulus_id"][table["stimulus_id"].duplicated()]
    if len(double):
        raise InconsistentInput(f"{path}: stimuli listed more than once: {listing(dict.fromkeys(double))}.")
    return table.set_index("stimulus_id")


def find_files(trials: pd.DataFrame, stimuli: pd.DataFrame, folders: Sequence[Path]) -> dict[str, Path]:
    """Return a file for every stimulus that has one, be it a link without content.

    Looked up by name, never by walking the folder (35 000 files in ds001761): the events'
    ``stim_file``, then ``filename`` of stimuli.tsv; the overlay's folder first. Of several
    paths of one stimulus the first with content is taken, in sorted order.

    Parameters
    ----------
    trials : the samples, with ``stimulus_id`` and maybe ``stim_file``
    stimuli : `read_stimuli`

    Raises
    ------
    InconsistentInput
        A path that leads out of the stimuli folder.
    """
    candidates: dict[str, list[str]] = {stimulus: [] for stimulus in sorted(set(trials["stimulus_id"]))}
    sources = [(trials, "stim_file", "events, column stim_file"), (stimuli, "filename", "stimuli.tsv, column filename")]
    found: dict[str, Path] = {}
    for table, column, where in sources:
        if column not in table.columns:
            continue
        pairs = table[["stimulus_id", column]].dropna().drop_duplicates().sort_values(["stimulus_id", column])
        for stimulus, text in pairs.itertuples(index=False):
            if stimulus in candidates:
                path = locate(stimulus_path(text, where), folders)
                if path is not None and (stimulus not in found or not has_content(found[stimulus])):
                    found[stimulus] = path
    return found


def same_content(first: Mapping[str, Path], second: Mapping[str, Path]) -> list[tuple[str, str]]:
    """Return the pairs of stimuli, one of each set, whose files hold the same bytes.

    Annexed files are compared by their key, so that their content need not be there; others by
    sha256, computed only where sizes agree. A stimulus is not paired with itself.
    """
    digests = {path: key for path in {*first.values(), *second.values()} if (key := annex_key(path)) is not None}
    plain = [path for path in {*first.values(), *second.values()} if path not in digests and path.is_file()]
    by_size: dict[int, list[Path]] = {}
    for path in plain:
        by_size.setdefault(path.stat().st_size, []).append(path)
    for path in (path for paths in by_size.values() if len(paths) > 1 for path in paths):
        digests[path] = _sha256(path)
    # A key's extension says nothing about the content.
    contents = {path: digest.partition(".")[0] for path, digest in digests.items()}
    owners: dict[str, list[str]] = {}
    for stimulus, path in sorted(first.items()):
        if path in contents:
            owners.setdefault(contents[path], []).append(stimulus)
    pairs = {
        (one, other)
        for other, path in second.items()
        for one in owners.get(contents.get(path, ""), [])
        if one != other
    }
    return sorted(pairs)


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
