"""Latents -> images: the generators that are built in, and how a name becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.generate.eigenface import Eigenface
from hyper_bids.generate.identity import Identity
from hyper_bids.generate.portrait import Portrait
from hyper_bids.protocols import Generator
from hyper_bids.registry import resolve

GENERATORS: dict[str, type] = {"portrait": Portrait, "identity": Identity, "eigenface": Eigenface}
"""Name -> class. None of them imports torch before it draws."""


def built_in(name: str) -> bool:
    """Say whether ``name`` needs no code of the user's.

    >>> built_in("portrait"), built_in("pggan-of-mine")
    (True, False)
    """
    return name in GENERATORS


def builtin_attributes(name: str) -> dict[str, np.ndarray] | None:
    """Return attribute -> unit normal ``(n_latents,)`` where a built-in generator knows them by construction."""
    return Portrait.attributes() if name == "portrait" else None


def make_generator(
    name: str,
    *,
    space: str,
    n_latents: int,
    declaration: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    device: str = "cpu",
) -> Generator:
    """Build the generator of a latent space and check that the two fit.

    Parameters
    ----------
    name : str
        A key of `GENERATORS`, or ``package.module:Class``, which is made without arguments.
    space : str
        Label of the latent space, for the messages.
    n_latents : int
        Dimension of the latent space.
    declaration : mapping or None
        The ``Generator`` object of the events sidecar, e.g. ``{"Name": "identity", "Shape": [10, 10]}``.
    weights : Path or None
        For eigenface: an .npz of `Eigenface.save`, or a folder of images whose first ``n_latents`` principal
        components are then computed.
    device : str
        PyTorch device, for those that draw with it.

    Raises
    ------
    UsageError
        Unknown name, a class that cannot be made, weights for a generator that has none.
    MissingFiles
        Weights are needed and were not given, or cannot be read.
    InconsistentInput
        The generator's dimension is not the latent space's, or the sidecar lacks what the generator needs.
    """
    cls = resolve(name, GENERATORS, "generator", ("generate",))
    if weights is not None and cls in (Portrait, Identity):
        raise UsageError(f"Generator {name!r} has no weights, but --weights {weights} was given. Leave it out.")
    if cls is Portrait:
        generator = Portrait(device=device)
    elif cls is Identity:
        generator = _identity(space, declaration or {})
    elif cls is Eigenface:
        generator = _eigenface(space, n_latents, weights)
    else:
        generator = _foreign(name, cls)
    if generator.n_latents != n_latents:
        raise InconsistentInput(
            f"Generator {name!r} takes {generator.n_latents} latents, but latent space {space!r} has {n_latents}. "
            f"Choose another --generator, or correct the declaration of {space!r} in the events sidecar."
        )
    return generator


def _identity(space: str, declaration: Mapping[str, Any]) -> Identity:
    if "Shape" not in declaration:
        raise InconsistentInput(
            f"Generator 'identity' needs the shape of the images: add "
            f'"Generator": {{"Name": "identity", "Shape": [height, width]}} to latent space {space!r} '
            f"in the events sidecar."
        )
    return Identity(declaration["Shape"])


def _eigenface(space: str, n_latents: int, weights: Path | None) -> Eigenface:
    if weights is None:
        raise MissingFiles(
            f"Generator 'eigenface' of latent space {space!r} needs --weights: an .npz written by "
            f"`hyper-tools train eigenface`, or a folder of images to compute {n_latents} principal components from."
        )
    weights = Path(weights)
    return Eigenface.from_folder(weights, n_latents) if weights.is_dir() else Eigenface.load(weights)


def _foreign(name: str, cls: type) -> Generator:
    try:
        generator = cls()
    except TypeError as error:
        raise UsageError(f"Generator {name!r} must be a class that can be made without arguments: {error}.") from error
    missing = [attribute for attribute in ("space", "n_latents", "range") if not hasattr(generator, attribute)]
    if missing:
        raise UsageError(f"Generator {name!r} has no {' and no '.join(missing)}; see docs/architecture.md.")
    return generator


__all__ = ["GENERATORS", "Eigenface", "Identity", "Portrait", "built_in", "builtin_attributes", "make_generator"]
