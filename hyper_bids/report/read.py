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

TEXT = ("stimulus_id", "participant_id", "split", "fold", "metric", "p_method", "recon_file", "stim_file")
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
    """Read a JSON object of the output; {} where it is not there."""
    path = Path(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


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

    def alphas(self) -> list[np.ndarray]:
        """Ridge penalties of every fold, ``(n_latents,)`` each; empty for decoders that have none."""
        import numpy as np

        path = self.dataset / self.name("decoder", ".npz")
        if not path.is_file():
            return []
        with np.load(path, allow_pickle=False) as arrays:
            return [np.atleast_1d(arrays[name]) for name in sorted(arrays.files) if name.startswith("alpha_")]


def read_volume(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Read a mask with its axes turned towards right, anterior, superior: bool and affine; None where it is absent."""
    import nibabel as nib
    import numpy as np

    if not Path(path).is_file():
        return None
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj) > 0, image.affine
