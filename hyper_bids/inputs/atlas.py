"""``--roi ATLAS:LABEL,...``: regions of a label image with its look-up table, as voxels of the BOLD.

The atlas is a 3-D NIfTI image of integers; its look-up table is the ``_dseg.tsv`` beside it, with the columns
``index`` and ``name`` (BIDS), found by the same stem or by the inheritance principle. A label is a name, an
index (``12``) or a range of indices (``12-15``). Without a table indices still work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyper_bids.data import VoxelGrid
from hyper_bids.errors import InconsistentInput, UsageError, did_you_mean, listing
from hyper_bids.inputs.names import parse_name
from hyper_bids.inputs.tables import read_table
from hyper_bids.inputs.volumes import read_volume, same_grid

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 40
"""Labels that a message lists."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """An atlas on the voxels of a grid.

    Parameters
    ----------
    path : of the label image
    labels : (n_voxels,) int64, index at each voxel of the grid; 0 where there is none
    names : index -> name, of the look-up table; empty without one
    known : indices that the look-up table or the image holds, anywhere
    notices : what the user should know
    """

    path: Path
    labels: np.ndarray
    names: dict[int, str]
    known: frozenset[int]
    notices: tuple[str, ...] = ()

    def indices(self, label: str) -> frozenset[int]:
        """Return the indices that a name, an index or a range stands for.

        Raises
        ------
        UsageError
            There is no such label; lists those that there are.
        """
        named = frozenset(index for index, name in self.names.items() if name == label)
        if named:
            return named
        bounds = re.fullmatch(r"(\d+)(?:-(\d+))?", label)
        if bounds:
            low, high = int(bounds[1]), int(bounds[2] or bounds[1])
            asked = frozenset(index for index in self.known if low <= index <= high)
            if asked:
                return asked
        if not self.names:
            raise UsageError(
                f"--roi: {self.path} has no label {label!r}. It has no look-up table ({_stem(self.path)}.tsv with the "
                f"columns index and name), so labels are indices; it holds {listing(sorted(self.known), SHOWN)}."
            )
        raise UsageError(
            f"--roi: {self.path} has no label {label!r}.{did_you_mean(label, self.names.values())} It has "
            f"{listing((f'{name} ({index})' for index, name in self.names.items()), SHOWN)}."
        )

    def mask(self, labels: Sequence[str]) -> np.ndarray:
        """Return the voxels of any of the labels, ``(n_voxels,)`` bool.

        Raises
        ------
        UsageError
            Unknown label.
        InconsistentInput
            A label has no voxel on the grid.
        """
        mask = np.zeros(len(self.labels), dtype=bool)
        for label in labels:
            region = np.isin(self.labels, list(self.indices(label)))
            if not region.any():
                raise InconsistentInput(
                    f"--roi: region {label} of {self.path} has no voxel inside the brain mask of the BOLD. Is the "
                    "atlas in the space of the BOLD (see --space), and the region covered by the recording?"
                )
            mask |= region
        return mask


def parse_roi(text: str) -> tuple[Path, tuple[str, ...]]:
    r"""Take ``ATLAS:LABEL,...`` apart, at the colon that follows the file's suffix.

    >>> path, labels = parse_roi(r"C:\atlas_dseg.nii.gz:V1,12-15")
    >>> labels
    ('V1', '12-15')

    Raises
    ------
    UsageError
        Not of that form.
    """
    found = re.fullmatch(r"(.*\.nii(?:\.gz)?):(.+)", text, flags=re.IGNORECASE | re.DOTALL)
    labels = tuple(label for part in found[2].split(",") if (label := part.strip())) if found else ()
    if not found or not labels:
        raise UsageError(
            f"--roi: {text!r} is not ATLAS:LABEL,... with a NIfTI label image, as in atlas_dseg.nii.gz:V1,V2."
        )
    return Path(found[1]), labels


def atlas_files(path: Path) -> list[Path]:
    """Return the files that an atlas is read from: the label image, and its look-up table where there is one."""
    table = _look_up_file(Path(path))
    return [Path(path)] if table is None else [Path(path), table]


def roi_mask(text: str, grid: VoxelGrid) -> tuple[np.ndarray, Atlas]:
    """Read ``ATLAS:LABEL,...`` for the voxels of a grid.

    Returns
    -------
    mask : (n_voxels,) bool, voxels of any of the labels
    atlas : for `roi_counts`, and with notices

    Raises
    ------
    UsageError, InconsistentInput, MissingFiles
        As `parse_roi`, `load_atlas` and `Atlas.mask`.
    """
    path, labels = parse_roi(text)
    atlas = load_atlas(path, grid)
    return atlas.mask(labels), atlas


def load_atlas(path: Path, grid: VoxelGrid) -> Atlas:
    """Read a label image and its look-up table, at the voxels of a grid.

    On another grid each voxel gets the label at its centre (nearest neighbour), and that is said.

    Raises
    ------
    MissingFiles
        The image or table is not there or not readable.
    InconsistentInput
        Not 3-D, not integers; the name says another space than the grid's; a faulty table.
    """
    path = Path(path)
    volume, affine = _label_image(path)
    notices = [*_check_space(path, grid)]
    if volume.shape == grid.mask.shape and same_grid(affine, grid.affine):
        labels = volume[grid.mask]
    else:
        labels = nearest(volume, affine, grid)
        notices.append(
            f"{path} has the grid {volume.shape}, the BOLD {grid.mask.shape}, or another affine; each voxel of the "
            "BOLD got the label at its centre (nearest neighbour)."
        )
    names, said = _names(path)
    known = frozenset({int(index) for index in np.unique(volume)} | set(names)) - {0}
    return Atlas(path, labels, names, known, (*notices, *said))


def _label_image(path: Path) -> tuple[np.ndarray, np.ndarray]:
    values, affine = read_volume(path)
    if values.ndim != 3:
        raise InconsistentInput(f"--roi: {path} has shape {values.shape}; an atlas is a 3-D label image.")
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and (values == np.round(values)).all()):
            raise InconsistentInput(
                f"--roi: {path} holds values that are no integers; an atlas is a label image (dseg), not a "
                "probability map (probseg) or one that was resampled by interpolation."
            )
    elif values.dtype.kind not in "iu":
        raise InconsistentInput(f"--roi: {path} holds {values.dtype} voxels; an atlas holds integers.")
    return values.astype(np.int64), affine


def _check_space(path: Path, grid: VoxelGrid) -> Iterator[str]:
    """Compare the space that the file's name states with the grid's."""
    name = parse_name(path)
    space = name.get("space") or name.get("tpl")
    if space is None:
        return
    if grid.space is None:
        yield f"{path} is in space {space}; the BOLD's name says none. Whether they are aligned was not checked."
    elif space != grid.space:
        raise InconsistentInput(
            f"--roi: {path} is in space {space}, the BOLD in {grid.space}. Use an atlas in {grid.space}, or --space."
        )


def nearest(volume: np.ndarray, affine: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """Value of the volume's voxel nearest to the centre of each voxel of the grid, 0 outside: ``(n_voxels,)``."""
    places = np.floor(voxel_coordinates(affine, grid) + 0.5).astype(int)
    inside = ((places >= 0) & (places < np.array(volume.shape)[:, None])).all(axis=0)
    values = np.zeros(places.shape[1], dtype=volume.dtype)
    values[inside] = volume[tuple(places[:, inside])]
    return values


def voxel_coordinates(affine: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """Where the voxels of a grid lie in an image with that affine: ``(3, n_voxels)``, in its voxels."""
    there = np.linalg.solve(affine, grid.affine)
    # Rounding in the matrices must not move a centre across the border between two voxels.
    return np.round(there[:3, :3] @ np.stack(np.nonzero(grid.mask)) + there[:3, 3:], 6)


def _stem(path: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", str(path), flags=re.IGNORECASE)


def _look_up_file(path: Path) -> Path | None:
    """The table of the same stem, else the most specific one beside it that applies to the image."""
    for same in (Path(_stem(path) + ".tsv"), Path(_stem(path) + "_dseg.tsv")):
        if same.exists():
            return same
    own = parse_name(path)
    names = [(candidate, parse_name(candidate)) for candidate in sorted(path.parent.glob("*.tsv"))]
    fitting = [(c, n) for c, n in names if n.suffix == own.suffix and n.entities and n.applies_to(own)]
    if not fitting:
        return None
    most = max(len(name.entities) for _, name in fitting)
    best = [candidate for candidate, name in fitting if len(name.entities) == most]
    if len(best) > 1:
        raise InconsistentInput(f"--roi: several look-up tables fit {path}: {listing(best)}. Keep one beside it.")
    return best[0]


def _names(path: Path) -> tuple[dict[int, str], tuple[str, ...]]:
    """Index -> name, and notices."""
    file = _look_up_file(path)
    if file is None:
        return {}, (f"{path} has no look-up table ({_stem(path)}.tsv); its labels are indices.",)
    table = read_table(file)
    missing = [column for column in ("index", "name") if column not in table]
    if missing:
        raise InconsistentInput(
            f"{file}: a look-up table needs the columns index and name; it has {listing(table.columns, SHOWN)}."
        )
    names: dict[int, str] = {}
    for line, (index, name) in enumerate(zip(table["index"], table["name"], strict=True), start=2):
        if index is None or not re.fullmatch(r"\d+(\.0*)?", index):
            raise InconsistentInput(f"{file}, row {line}: the index is {index!r}; needed: a whole number.")
        number = int(float(index))
        if number in names:
            raise InconsistentInput(f"{file}, row {line}: the index {number} is there twice.")
        names[number] = str(number) if name is None else name
    return names, ()


def roi_counts(mask: np.ndarray, atlas: Atlas) -> pd.DataFrame:
    """Count the selected voxels in every region that has voxels on the grid.

    Parameters
    ----------
    mask : (n_voxels,) bool, the selected voxels
    atlas : on the same grid

    Returns
    -------
    DataFrame
        ``label``, ``n_voxels``, ``n_selected``; in order of the index, voxels without a label last as ``n/a``
        so that the columns add up to the grid and the mask.

    Raises
    ------
    InconsistentInput
        The mask is of another grid.
    """
    import pandas as pd

    mask = np.asarray(mask, dtype=bool)
    if mask.shape != atlas.labels.shape:
        raise InconsistentInput(f"A mask of shape {mask.shape} for an atlas on {len(atlas.labels)} voxels.")
    indices, own = np.unique(atlas.labels, return_inverse=True)
    counted = zip(indices, np.bincount(own), np.bincount(own, weights=mask), strict=True)
    rows = [(int(index), int(n), int(chosen)) for index, n, chosen in counted]
    rows = [row for row in rows if row[0] != 0] + [row for row in rows if row[0] == 0]
    labelled = [(atlas.names.get(i, "n/a" if i == 0 else str(i)), n, chosen) for i, n, chosen in rows]
    return pd.DataFrame(labelled, columns=["label", "n_voxels", "n_selected"])
