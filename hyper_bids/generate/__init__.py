"""Latents -> images: the generators that are built in, and how a name becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError, listing
from hyper_bids.generate.dand import DANDGenerator
from hyper_bids.generate.eigenface import Eigenface
from hyper_bids.generate.identity import Identity
from hyper_bids.generate.onnx_file import ONNXGenerator
from hyper_bids.generate.pggan import PGGANGenerator
from hyper_bids.generate.portrait import Portrait
from hyper_bids.generate.stylegan2 import StyleGAN2Generator
from hyper_bids.generate.vaegan import VAEGANGenerator
from hyper_bids.generate.weight_files import architecture_of, weight_files
from hyper_bids.protocols import Generator
from hyper_bids.registry import resolve


@dataclass(frozen=True)
class Network:
    """A generator that is nothing without its weights.

    Parameters
    ----------
    cls : class with ``load(path, *, device, **options)``
    options : keywords of `load` besides the device: ``resolution``, ``dtype``, ``truncation``, ``latent``, ``compiled``
    """

    cls: type
    options: tuple[str, ...] = ()


NETWORKS: dict[str, Network] = {
    "pggan": Network(PGGANGenerator, ("resolution", "dtype", "compiled")),
    "vaegan": Network(VAEGANGenerator, ("resolution", "dtype")),
    "dand": Network(DANDGenerator, ("resolution", "dtype")),
    "stylegan2": Network(StyleGAN2Generator, ("resolution", "dtype", "truncation", "latent")),
    "onnx": Network(ONNXGenerator, ("resolution",)),
}
"""Architecture, as `read_weights` calls it (``onnx`` for ONNX files) -> what loads it. A new one is one line."""

GENERATORS: dict[str, type] = {"portrait": Portrait, "identity": Identity, "eigenface": Eigenface} | {
    name: network.cls for name, network in NETWORKS.items()
}
"""Name -> class. None of them imports torch before it is made."""

BY_CONTENT = "file"
"""The generator's name where ``--generator`` or ``--weights`` gave a file: the file says which network it is."""

FLAGS = {"resolution": "--resolution", "dtype": "--precision", "truncation": "--truncation", "compiled": "--compile"}


def built_in(name: str) -> bool:
    """Say whether ``name`` needs no code of the user's.

    >>> built_in("portrait"), built_in("pggan-of-mine")
    (True, False)
    """
    return name in GENERATORS


def needs_weights(name: str) -> bool:
    """Say whether a built-in generator is nothing without a weight file.

    >>> needs_weights("pggan"), needs_weights("portrait")
    (True, False)
    """
    return name in NETWORKS or name in ("eigenface", BY_CONTENT)


def builtin_attributes(name: str) -> dict[str, np.ndarray] | None:
    """Return attribute -> unit normal ``(n_latents,)`` where a built-in generator knows them by construction."""
    return Portrait.attributes() if name == "portrait" else None


def make_generator(
    name: str,
    *,
    space: str,
    n_latents: int | None,
    declaration: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    resolution: int | None = None,
    precision: str = "float32",
    truncation: float | None = None,
    compiled: bool = False,
) -> Generator:
    """Build the generator of a latent space and check that the two fit.

    Parameters
    ----------
    name : str
        A key of `GENERATORS`; ``file``, for what the weights turn out to be; a weight file; or
        ``package.module:Class``, which is made without arguments (with weights, by its ``load(path)``).
    space : str
        Label of the latent space, for the messages.
    n_latents : int or None
        Dimension of the latent space; None takes the generator's, where it has one of its own.
    declaration : mapping or None
        The ``Generator`` object of the events sidecar, e.g. ``{"Name": "identity", "Shape": [10, 10]}``, or
        ``{"Name": "stylegan2", "Latent": "w"}`` where the latents are not z.
    weights : Path or None
        A published weight file, or for eigenface an .npz of `Eigenface.save`, or a folder of images whose first
        ``n_latents`` principal components are then computed.
    device : str
        PyTorch device, for those that draw with it.
    resolution : int or None
        Height and width in pixels, of networks that can stop early.
    precision : str
        ``float32``, or ``bfloat16`` for networks that can: faster, and off by some per cent.
    truncation : float or None
        StyleGAN2's psi, from 0 (the mean face) to 1.
    compiled : bool
        Compile the network: the first images take long, the others are faster.

    Raises
    ------
    UsageError
        Unknown name, a class that cannot be made, weights or an option for a generator that has none.
    MissingFiles
        Weights are needed and were not given, or cannot be read.
    InconsistentInput
        The generator's dimension is not the latent space's, or the sidecar lacks what the generator needs, or the
        weights are those of another network.
    """
    if name not in GENERATORS and name != BY_CONTENT and ":" not in name and weight_files(Path(name)):
        if weights is not None:
            raise UsageError(f"--generator {name} is a weight file; leave out --weights {weights}.")
        name, weights = BY_CONTENT, Path(name)
    if name == BY_CONTENT:
        if weights is None:
            raise MissingFiles("Generator 'file' needs --weights: the file that says which network it is.")
        name = architecture_of(weights)
    cls = resolve(name, GENERATORS, "generator", ("generate",))
    if weights is not None and cls in (Portrait, Identity):
        raise UsageError(f"Generator {name!r} has no weights, but --weights {weights} was given. Leave it out.")
    options = _options(name, resolution, precision, truncation, compiled)
    if name in NETWORKS:
        declared = (declaration or {}).get("Latent")
        if declared is not None and "latent" in NETWORKS[name].options:
            options["latent"] = declared
        generator = _network(name, space, weights, device, options)
    elif cls is Portrait:
        generator = Portrait(device=device)
    elif cls is Identity:
        generator = _identity(space, declaration or {})
    elif cls is Eigenface:
        generator = _eigenface(space, n_latents, weights)
    else:
        generator = _foreign(name, cls, weights)
    if n_latents is not None and generator.n_latents != n_latents:
        raise InconsistentInput(
            f"Generator {name!r} takes {generator.n_latents} latents, but latent space {space!r} has {n_latents}. "
            f"Choose another --generator, or correct the declaration of {space!r} in the events sidecar."
        )
    return generator


def _options(
    name: str, resolution: int | None, precision: str, truncation: float | None, compiled: bool
) -> dict[str, Any]:
    """Return the options that were given, as keywords of the network's `load`; refuse those that it has not."""
    given: dict[str, Any] = {
        "resolution": resolution, "dtype": None if precision == "float32" else precision, "truncation": truncation,
        "compiled": compiled or None,
    }  # fmt: skip
    given = {option: value for option, value in given.items() if value is not None}
    known = NETWORKS[name].options if name in NETWORKS else ()
    for option in given:
        if option not in known:
            able = listing((other for other, network in NETWORKS.items() if option in network.options), 20)
            raise UsageError(
                f"Generator {name!r} has no {FLAGS[option]} (generators that have: {able}). Leave it out."
            )
    return given


def _network(name: str, space: str, weights: Path | None, device: str, options: Mapping[str, Any]) -> Generator:
    if weights is None:
        raise MissingFiles(
            f"Generator {name!r} of latent space {space!r} needs --weights: a weight file. "
            f"`hyper-tools models list` says which were published, and docs/generators.md how to get them."
        )
    return NETWORKS[name].cls.load(Path(weights), device=device, **options)


def _identity(space: str, declaration: Mapping[str, Any]) -> Identity:
    if "Shape" not in declaration:
        raise InconsistentInput(
            f"Generator 'identity' needs the shape of the images: add "
            f'"Generator": {{"Name": "identity", "Shape": [height, width]}} to latent space {space!r} '
            f"in the events sidecar."
        )
    return Identity(declaration["Shape"])


def _eigenface(space: str, n_latents: int | None, weights: Path | None) -> Eigenface:
    if weights is None:
        raise MissingFiles(
            f"Generator 'eigenface' of latent space {space!r} needs --weights: an .npz written by `hyper-tools train "
            f"eigenface`, or a folder of images to compute {n_latents or 'the'} principal components from."
        )
    weights = Path(weights)
    if not weights.is_dir():
        return Eigenface.load(weights)
    if n_latents is None:
        raise UsageError(f"{weights} is a folder: how many principal components? Make a file with `hyper-tools train`.")
    return Eigenface.from_folder(weights, n_latents)


def _foreign(name: str, cls: type, weights: Path | None) -> Generator:
    if weights is not None and not callable(getattr(cls, "load", None)):
        raise UsageError(f"Generator {name!r} has no load(path), so --weights {weights} cannot be used. Leave it out.")
    try:
        generator = cls() if weights is None else cls.load(Path(weights))
    except TypeError as error:
        raise UsageError(f"Generator {name!r} must be a class that can be made without arguments: {error}.") from error
    missing = [attribute for attribute in ("space", "n_latents", "range") if not hasattr(generator, attribute)]
    if missing:
        raise UsageError(f"Generator {name!r} has no {' and no '.join(missing)}; see docs/architecture.md.")
    return generator


__all__ = [
    "BY_CONTENT",
    "GENERATORS",
    "NETWORKS",
    "DANDGenerator",
    "Eigenface",
    "Identity",
    "ONNXGenerator",
    "PGGANGenerator",
    "Portrait",
    "StyleGAN2Generator",
    "VAEGANGenerator",
    "architecture_of",
    "built_in",
    "builtin_attributes",
    "make_generator",
    "needs_weights",
    "weight_files",
]
