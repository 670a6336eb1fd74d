"""Attribute hyperplanes from files: unit normals in latent space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.inputs.latents import load_array


def read_directions(paths: Sequence[Path], n_latents: int) -> dict[str, np.ndarray]:
    """Read one normal per .npy file; the attribute is called after the file.

    ``pggan_celebahq_age_boundary.npy`` is called ``age``, and ``..._age_c_gender_boundary.npy`` (age given gender)
    ``age_c_gender``, as InterFaceGAN's files are named.

    Parameters
    ----------
    paths : files with an array (1, n_latents), as InterFaceGAN's; one of (n_latents,) may be anything, and is refused
    n_latents : dimension of the latent space

    Returns
    -------
    name -> (n_latents,) of length 1

    Raises
    ------
    MissingFiles
        A file cannot be read, or would need pickle.
    InconsistentInput
        Another dimension than the latents', not finite, zero, or two files of one name.
    """
    found: dict[str, np.ndarray] = {}
    for path in paths:
        try:
            values = load_array(Path(path))
        except InconsistentInput as error:
            raise MissingFiles(f"--attributes {error}") from error
        if values.dtype.kind not in "iuf" or values.shape != (1, n_latents):
            raise InconsistentInput(
                f"--attributes {path} holds an array {values.shape} of {values.dtype}; a hyperplane of this latent "
                f"space is an array of shape (1, {n_latents})."
            )
        normal = values.reshape(-1).astype(np.float64)
        length = np.linalg.norm(normal)
        if not np.isfinite(length) or length == 0:
            raise InconsistentInput(f"--attributes {path}: the normal is zero or not finite.")
        name = attribute_name(Path(path))
        if name in found:
            raise InconsistentInput(f"--attributes names {name!r} twice; rename one of the files.")
        found[name] = normal / length
    return found


def attribute_name(path: Path) -> str:
    """Return the attribute that a file is named after.

    >>> attribute_name(Path("pggan_celebahq_age_boundary.npy")), attribute_name(Path("smile.npy"))
    ('age', 'smile')
    >>> attribute_name(Path("pggan_celebahq_age_c_gender_boundary.npy"))
    'age_c_gender'
    """
    words = path.stem.split("_")
    if len(words) < 2 or words[-1] != "boundary":
        return path.stem
    first = words.index("c") - 1 if "c" in words[1:-2] else -2
    return "_".join(words[first:-1])
