"""``hyper-tools generate``: latents from a file to pictures in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.derivatives.names import unique_labels
from hyper_bids.errors import InconsistentInput
from hyper_bids.generate import make_generator
from hyper_bids.generate.images import render, write_png
from hyper_bids.inputs.latents import load_array
from hyper_bids.inputs.tables import read_table
from hyper_bids.workflow.files import save_array


def read_latents(path: Path) -> Latents:
    """Read latents from .npy ``(n, k)`` or a .tsv with a header whose first column may be ``stimulus_id``."""
    if path.suffix == ".npy":
        values = np.atleast_2d(load_array(path))
        return Latents(values, tuple(f"{row:04d}" for row in range(len(values))), path.stem)
    table = read_table(path)
    named = table.columns[0] == "stimulus_id"
    labels = tuple(table.iloc[:, 0]) if named else tuple(f"{row:04d}" for row in range(len(table)))
    numeric = table[[name for name in table.columns if name not in ("stimulus_id", "split", "fold")]]
    try:
        return Latents(numeric.to_numpy().astype(np.float64), labels, path.stem)
    except (TypeError, ValueError) as error:
        raise InconsistentInput(f"{path}: a latent is no number: {error}.") from error


def generate_pictures(
    name: str, latents_file: Path, out: Path, *, weights: Path | None, shape: list[int] | None, device: str
) -> int:
    """Write one PNG per row, and ``images.npy``: float32 (n, h, w, 3), the generator's own output.

    Returns the number of pictures.
    """
    latents = read_latents(latents_file)
    declaration = {"Shape": shape} if shape else {}
    generator = make_generator(
        name, space=latents.space, n_latents=latents.n_latents, declaration=declaration, weights=weights, device=device
    )
    raw = np.concatenate([generator.generate(latents.values[k : k + 64]) for k in range(0, len(latents.values), 64)])
    save_array(out / "images.npy", raw.astype(np.float32))
    pictures = render(generator, latents)
    for short, pixels in zip(unique_labels(latents.stimuli).values(), pictures.pixels, strict=True):
        write_png(out / f"{short}.png", pixels)
    return len(pictures.pixels)
