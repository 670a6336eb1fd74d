"""Results read back from the output dataset, by their BIDS names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyper_bids.derivatives.names import Scope
from hyper_bids.errors import MissingFiles

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TEXT = ("stimulus_id", "participant_id", "split", "fold", "metric", "p_method", "recon_file", "stim_file",
        "reason")  # fmt: skip
"""Columns that stay text: a stimulus may be called 007."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a TSV of the output; ``n/a`` is NaN, or stays as it is in columns of text.

    Raises
    ------
    MissingFiles
        It is not there.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise MissingFiles(f"{path} is needed for the report and is not there; run the participant level again.")
    header = path.read_text(encoding="utf-8").partition("\n")[0].split("\t")
    return pd.read_csv(
        path,
        sep="\t",
        keep_default_na=False,
        na_values={name: ["n/a"] for name in header if name not in TEXT},
        dtype={name: str for name in header if name in TEXT},
    ).astype({name: object for name in header if name in TEXT})


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of the output; {} where it is not there.

    Raises
    ------
    MissingFiles
        It is damaged.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MissingFiles(f"{path} is damaged ({error}); run that participant again.") from error
    if not isinstance(found, dict):
        raise MissingFiles(f"{path} is damaged (no JSON object); run that participant again.")
    return found


@dataclass(frozen=True)
class Result:
    """Files of one participant, task, decoder and latent space.

    Parameters
    ----------
    dataset : folder laid out like the output dataset
    scope : participant, task and space
    model : ``model-`` label of the decoder
    latent_space : its label
    """

    dataset: Path
    scope: Scope
    model: str
    latent_space: str

    def name(self, suffix: str, extension: str) -> str:
        """Return the name relative to the dataset."""
        return self.scope.name(suffix, extension, model=self.model, desc=self.latent_space)

    def table(self, suffix: str) -> pd.DataFrame:
        """Read ``<suffix>.tsv``."""
        return read_table(self.dataset / self.name(suffix, ".tsv"))

    def sidecar(self, suffix: str) -> dict[str, Any]:
        """Read ``<suffix>.json``; {} where it is not there."""
        return read_json(self.dataset / self.name(suffix, ".json"))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Scores of every test row."""
        return self.table("metrics")

    @cached_property
    def stats(self) -> pd.DataFrame:
        """Metrics with their tests."""
        return self.table("stats")

    def has(self, suffix: str, extension: str) -> bool:
        """Whether the file is there: not every decoder and option writes all of them."""
        return (self.dataset / self.name(suffix, extension)).is_file()

    def alphas(self) -> list[np.ndarray]:
        """Ridge penalties of every fold, ``(n_latents,)`` each; empty for decoders that have none."""
        return self._of_folds("alpha_", 1)

    def loss_curves(self) -> list[np.ndarray]:
        """Losses of every fold, ``(n_epochs, 1 or 2)``: training, held-out; empty for decoders that have none."""
        return [curve for curve in self._of_folds("loss_curve_", 2) if len(curve)]

    def _of_folds(self, prefix: str, n_dimensions: int) -> list[np.ndarray]:
        import numpy as np

        path = self.dataset / self.name("decoder", ".npz")
        if not path.is_file():
            return []
        with np.load(path, allow_pickle=False) as arrays:
            found = [arrays[name] for name in sorted(arrays.files) if name.startswith(prefix)]
        return [array.reshape(array.shape + (1,) * (n_dimensions - array.ndim)) for array in found]


def read_volume(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Read a mask with its axes turned towards right, anterior, superior: bool and affine; None where it is absent."""
    import nibabel as nib
    import numpy as np

    if not Path(path).is_file():
        return None
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj) > 0, image.affine


def read_maps(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Read maps with their axes turned towards right, anterior, superior.

    Returns
    -------
    maps : (n, X, Y, Z) float32; 0 where a voxel has no value
    affine : (4, 4)
    or None where the file is absent
    """
    import nibabel as nib
    import numpy as np

    if not Path(path).is_file():
        return None
    image = nib.as_closest_canonical(nib.load(path))
    values = np.asarray(image.dataobj, dtype=np.float32)  # of a hundred folds of a whole brain: 0.4 GB
    values = np.moveaxis(values, 3, 0) if values.ndim == 4 else values[None]
    return values, image.affine
