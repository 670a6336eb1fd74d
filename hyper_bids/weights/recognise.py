"""From any file to `Weights`: the container by its bytes, the network by its arrays; never by the file's name.

A new container is one line of `CONTAINERS`, a new network one of `NETWORKS`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError, did_you_mean, listing
from hyper_bids.weights import (
    alexnet_canonical,
    clip_canonical,
    dand_canonical,
    efficientnet_canonical,
    inception_canonical,
    keras_h5,
    mxnet_params,
    npz,
    onnx_files,
    pggan_hyper,
    pggan_tensorflow,
    pggan_torch,
    pickles,
    resnet_canonical,
    safetensors_files,
    stylegan2_canonical,
    stylegan_pickles,
    tensorflow_checkpoint,
    torch_files,
    torchscript_files,
    vaegan_canonical,
    vgg_canonical,
)
from hyper_bids.weights.candidates import DISCRIMINATORS, Candidate, candidates
from hyper_bids.weights.canonical import Damaged, Refused, Weights
from hyper_bids.weights.feature_canonical import TITLES
from hyper_bids.weights.files import ZIP_FAULTS
from hyper_bids.weights.other_networks import described
from hyper_bids.weights.pggan_canonical import pggan

HEAD_BYTES = 512
GENERATOR, FEATURES = "--generator", "--features"
GENERATOR_TITLES = {"pggan": "a PGGAN", "stylegan2": "a StyleGAN2", "vaegan": "a VAE-GAN", "dand": "a DAND generator"}
MAX_COPIES, ALWAYS_FINE = 16, 1 << 26
"""Bytes of a network's arrays: as a multiple of the file's size, and what is let pass in any case."""


@dataclass(frozen=True)
class Container:
    """A file format: how to tell it by the file's first bytes, and how to read it into a tree of arrays.

    `read` may also return `Weights`, where the format itself says which network it is.
    """

    name: str
    recognised: Callable[[Path, bytes], bool]
    read: Callable[[Path], object]


@dataclass(frozen=True)
class Network:
    """A network: how its layouts become canonical, and how canonical arrays are checked.

    A layout is a function of one `Candidate`, or of the whole tree, that returns None for what it does not know.
    """

    architecture: str
    layouts: tuple[Callable[[Candidate], Weights | None], ...] = ()
    tree_layouts: tuple[Callable[[object], Weights | None], ...] = ()
    check: Callable[..., Weights] | None = None

    @property
    def option(self) -> str:
        """What a user names such a file with: ``--generator`` or ``--features``."""
        return FEATURES if self.architecture in TITLES else GENERATOR


def _zip_names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except ZIP_FAULTS as error:
        raise Damaged(f"its zip is cut off or altered ({error})") from error


def _is_torch(path: Path, head: bytes) -> bool:
    if torch_files.is_legacy(head):
        return True
    return head.startswith(b"PK\x03\x04") and torch_files.is_zip_checkpoint(_zip_names(path))


def _is_npz(path: Path, head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04") and any(name.endswith(".npy") for name in _zip_names(path))


def _is_torchscript(path: Path, head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04") and torchscript_files.recognised(_zip_names(path))


CONTAINERS: list[Container] = [
    Container("MXNet parameter list", lambda path, head: mxnet_params.starts(head), mxnet_params.read),
    Container("safetensors", lambda path, head: safetensors_files.starts(head), safetensors_files.read),
    Container("TorchScript archive", _is_torchscript, torchscript_files.read),
    Container("PyTorch checkpoint", _is_torch, torch_files.read),
    Container("NumPy archive", _is_npz, npz.read),
    Container("pickle", lambda path, head: pickles.starts(head), pickles.read),
    Container("ONNX network", lambda path, head: onnx_files.starts(head), onnx_files.read),
    Container("Keras HDF5", lambda path, head: keras_h5.starts(head), keras_h5.read),
    Container("TensorFlow checkpoint", tensorflow_checkpoint.recognised, tensorflow_checkpoint.read),
]
"""Tried in this order. Legacy PyTorch files are pickles too; safetensors start with a length, whose first byte may be
the one that pickles start with: both come before pickles."""

NETWORKS: list[Network] = [
    Network(
        "pggan",
        layouts=(
            pggan_hyper.from_hyper,
            pggan_tensorflow.from_tensorflow,
            pggan_torch.from_interfacegan,
            pggan_torch.from_genforce,
            pggan_torch.from_ganzoo,
            pggan_torch.from_canonical,
        ),
        check=pggan,
    ),
    Network(
        "stylegan2",
        layouts=(
            stylegan2_canonical.from_ada,
            stylegan2_canonical.from_tensorflow,
            stylegan2_canonical.from_rosinality,
            stylegan2_canonical.from_canonical,
        ),
        check=stylegan2_canonical.stylegan2,
    ),
    # As a tree: the parts of a VAE-GAN are called generator and encoder, and would be taken for two networks.
    Network(
        "vaegan",
        tree_layouts=(vaegan_canonical.from_tensorflow, vaegan_canonical.from_canonical),
        check=vaegan_canonical.vaegan,
    ),
    Network("dand", tree_layouts=(dand_canonical.from_canonical,), check=dand_canonical.dand),
    Network("vggface2", layouts=(resnet_canonical.from_keras,), check=resnet_canonical.vggface2),
    Network("resnet50", layouts=(resnet_canonical.from_torch,), check=resnet_canonical.resnet50),
    Network("vggface", layouts=(vgg_canonical.from_keras,), check=vgg_canonical.vggface),
    Network("vgg16", layouts=(vgg_canonical.from_torch,), check=vgg_canonical.vgg16),
    Network("alexnet", layouts=(alexnet_canonical.from_torch,), check=alexnet_canonical.alexnet),
    Network("inception", layouts=(inception_canonical.from_torch,), check=inception_canonical.inception),
    Network("clip", layouts=(clip_canonical.from_openai,), check=clip_canonical.clip),
    Network("efficientnet", layouts=(efficientnet_canonical.from_torch,), check=efficientnet_canonical.efficientnet),
]

NOT_THERE: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"/annex/objects/", "it is a git-annex pointer, not the file itself: run `datalad get`"),
    (b"<!doctype html", "it is a web page, not the file itself: download it again"),
    (b"<html", "it is a web page, not the file itself: download it again"),
)
NOT_WEIGHTS: tuple[tuple[bytes, str], ...] = (
    (b"model_checkpoint_path:", "it is TensorFlow's list of checkpoints: name the one it names, by its .index file"),
    (b"\x1f\x8b", "it is compressed with gzip: unpack it"),
    (b"Rar!", "it is a RAR archive: unpack it"),
    (b"7z\xbc\xaf", "it is a 7-Zip archive: unpack it"),
    (b"\x93NUMPY", "it is a single NumPy array"),
)


def read_weights(
    path: Path, *, member: str | None = None, architecture: str | None = None, option: str | None = None
) -> Weights:
    """Read a weight file of any known format, running nothing that is in it.

    Parameters
    ----------
    path : Path
    member : str or None
        Which network of a checkpoint: ``netG``, ``generator``, ``G``, ...; None takes the moving average where there
        is one, and `Weights.notes` names what was taken.
    architecture : str or None
        What is wanted; another network is then an error. It also decides between VGGFace2's and torchvision's
        ResNet-50, whose arrays have the same names.
    option : str or None
        ``--generator`` or ``--features``: which of the two the file must be for.

    Raises
    ------
    MissingFiles
        The file is not there, cannot be read, or is cut off or altered.
    InconsistentInput
        It would run code, or it is no weights of a network known here; the message says what it is.
    UsageError
        There is no such member.
    """
    path = tensorflow_checkpoint.index_of(Path(path))
    if not path.is_file():
        raise MissingFiles(f"Weights {path} are not there.")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        container, tree = _opened(path, head)
        asked = architecture if architecture in TITLES else ""
        weights = _recognised(tree, member, max(ALWAYS_FINE, MAX_COPIES * path.stat().st_size), container, asked)
    except OSError as error:
        raise MissingFiles(f"Weights {path} cannot be read: {error}.") from error
    except Damaged as error:
        raise MissingFiles(f"Weights {path} cannot be read: {error}.") from error
    except Refused as error:
        raise InconsistentInput(f"Weights {path} are refused: {error}.") from error
    _check_wanted(path, weights.architecture, architecture, option)
    origin = weights.origin if isinstance(tree, Weights) else f"{weights.origin}, {container}"
    return Weights(weights.architecture, weights.arrays, weights.options, origin, weights.notes)


def described_as(architecture: str) -> str:
    """Return a network in words, with the option that its file is for.

    >>> described_as("alexnet"), described_as("pggan")
    ("ImageNet's AlexNet, a network for --features", 'a PGGAN, a network for --generator')
    """
    network = next((network for network in NETWORKS if network.architecture == architecture), None)
    if network is None:
        return f"a {architecture}"
    title = TITLES.get(architecture) or GENERATOR_TITLES.get(architecture, f"a {architecture}")
    return f"{title}, a network for {network.option}"


def _check_wanted(path: Path, found: str, architecture: str | None, option: str | None) -> None:
    of = {network.architecture: network.option for network in NETWORKS}
    if architecture is not None and found != architecture:
        raise InconsistentInput(f"Weights {path} are {described_as(found)}; {described_as(architecture)} is needed.")
    if option is not None and of.get(found) != option:
        raise InconsistentInput(f"Weights {path} are {described_as(found)}; one for {option} is needed.")


def _opened(path: Path, head: bytes) -> tuple[str, object]:
    if not head:
        raise Damaged("it is empty: get it again")
    for table, fault in ((NOT_THERE, Damaged), (NOT_WEIGHTS, Refused)):
        for start, what in table:
            if head.lower().lstrip().startswith(start.lower()):
                raise fault(what)
    for container in CONTAINERS:
        if container.recognised(path, head):
            return container.name, _read(container, path)
    known = listing((container.name for container in CONTAINERS), 20)
    raise Refused(f"its first bytes are those of no format known here ({known})")


def _read(container: Container, path: Path) -> object:
    try:
        return container.read(path)
    except Damaged as error:
        raise Damaged(
            f"{error}; as a {container.name} it is incomplete. Get it again and check its checksum"
        ) from error


def _recognised(tree: object, member: str | None, max_bytes: int, container: str, asked: str) -> Weights:
    if isinstance(tree, Weights):
        return _checked(tree)
    for network in NETWORKS:
        for layout in network.tree_layouts:
            if (weights := layout(tree)) is not None:
                return weights
    wanted = _wanted(candidates(stylegan_pickles.flattened(tree, member)), member)
    for candidate in (replace(candidate, container=container, wanted=asked) for candidate in wanted):
        if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in candidate.arrays.values()):
            raise Refused("some of its numbers are not finite")
        if sum(array.nbytes for array in candidate.arrays.values()) > max_bytes:
            raise Refused("one block of numbers goes by many names in it, which would fill the memory")
        for layout in (layout for network in NETWORKS for layout in network.layouts):
            if (weights := layout(candidate)) is not None:
                return weights
    asked = {candidate.member: dict(candidate.arrays) for candidate in wanted}
    raise Refused(described(tree if member is None else asked))


def _checked(weights: Weights) -> Weights:
    """Hold hyper's own file to the same rules as everybody's."""
    known = {network.architecture: network.check for network in NETWORKS}
    check = known.get(weights.architecture)
    if check is None:
        raise Refused(f"it says that it is a {weights.architecture[:40]}, of which this version knows nothing")
    return check(weights.arrays, weights.options, weights.origin, weights.notes)


def _wanted(found: list[Candidate], member: str | None) -> list[Candidate]:
    if member is None:
        return [candidate for candidate in found if not set(candidate.member.split("/")) & set(DISCRIMINATORS)]
    chosen = [candidate for candidate in found if member in (candidate.member, *candidate.member.split("/"))]
    if not chosen:
        names = [candidate.member or "(the whole file)" for candidate in found]
        raise UsageError(f"The file has no network {member!r}.{did_you_mean(member, names)} It has: {listing(names)}.")
    return chosen
