"""``hyper-tools train``: a folder of pictures to a weight file that ``--generator`` reads."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from hyper_bids.errors import Locked, OutputNotWritable, UsageError
from hyper_bids.generate.training.files import made_folder, removed
from hyper_bids.generate.training.image_folder import Pictures, read_pictures, split
from hyper_bids.generate.training.interruption import Interrupted, Interruption
from hyper_bids.generate.training.latent_space import Extractor, FeaturePCA, features_of, fit_pca
from hyper_bids.generate.training.settings import TrainingSettings, settings_of
from hyper_bids.weights import write_safetensors

if TYPE_CHECKING:
    from hyper_bids.generate.training.loop import Model

Say = Callable[[str], None]

LATENT_LAYER, LOSS_LAYER = "fc6", "relu3_3"
"""Of DAND's two networks, where neither ``NAME:LAYER`` nor an option names one."""


@dataclass(frozen=True)
class TrainingRequest:
    """What ``hyper-tools train dand`` or ``vaegan`` is asked for; None leaves the paper's value.

    Parameters
    ----------
    model : ``dand`` or ``vaegan``
    images : folder of pictures
    out : ``.safetensors`` file to write; what belongs to the training goes into a folder beside it
    space_images : folder of the pictures that DAND's PCA is fitted on; None is ``images``
    features, feature_layer, feature_weights : the network whose features DAND's latents are of, and its file
    loss_features, loss_layer, loss_weights_file : the network of DAND's feature loss, and its file; a layer may be
        in the name, ``NAME:LAYER``, and is ``fc6`` and ``relu3_3`` where none is named
    loss : term -> weight
    resume : an error where there is no checkpoint
    restart : throw a checkpoint away
    skip_bad_images : leave out files that are no images, instead of stopping
    device : ``cpu``, ``cuda`` or ``auto``
    """

    model: str
    images: Path
    out: Path
    space_images: Path | None = None
    features: str = "vggface"
    feature_layer: str | None = None
    feature_weights: Path | None = None
    loss_features: str = "vgg16"
    loss_layer: str | None = None
    loss_weights_file: Path | None = None
    loss: Mapping[str, float] = field(default_factory=dict)
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    n_latents: int | None = None
    size: int | None = None
    width: int | None = None
    crop: float | None = None
    held_out: int | None = None
    seed: int | None = None
    precision: str | None = None
    resume: bool = False
    restart: bool = False
    skip_bad_images: bool = False
    device: str = "cpu"

    def settings(self) -> TrainingSettings:
        """Return the paper's settings with what was asked for."""
        names = ("epochs", "batch_size", "learning_rate", "n_latents", "size", "width", "crop", "held_out", "seed",
                 "precision")  # fmt: skip
        return settings_of(self.model, loss_weights=self.loss, **{name: getattr(self, name) for name in names})

    @property
    def folder(self) -> Path:
        """Folder of checkpoint, losses, sheets and prepared pictures."""
        return self.out.with_name(f"{self.out.stem}.training")


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Parameters
    ----------
    path : the weights, or None where it was interrupted
    message : for the user
    signal : which signal interrupted it, or 0
    """

    path: Path | None
    message: str
    signal: int = 0


@dataclass(frozen=True)
class FeatureNetworks:
    """The two networks that DAND needs: of its latents, and of its feature loss (None where that has no weight)."""

    latents: Extractor
    loss: Any


def train(request: TrainingRequest, *, networks: FeatureNetworks | None = None, say: Say = print) -> Outcome:
    """Train a network and write it; a training that was interrupted goes on where it was.

    Parameters
    ----------
    networks : FeatureNetworks or None
        None makes them from the request's weight files.

    Raises
    ------
    UsageError, MissingFiles, InconsistentInput, OutputNotWritable
        Options, pictures, weights or a checkpoint that do not fit; a loss that is not finite.
    Locked
        Another job trains into the same file.
    """
    from hyper_bids.devices import checked_device
    from hyper_bids.generate.training.precision import Precision

    settings, device = request.settings(), checked_device(request.device)
    Precision(settings.precision, device)
    if request.out.suffix != ".safetensors":
        raise UsageError(f"--out {request.out}: the file is safetensors: {request.out.with_suffix('.safetensors')}.")
    if request.resume and request.restart:
        raise UsageError("--resume goes on with a checkpoint, --restart throws it away: give one of them.")
    if request.model == "dand" and networks is None:
        networks = feature_networks(request, settings, device)
    with _locked(made_folder(request.folder)), Interruption().listening() as interruption:
        try:
            return _train(request, settings, networks, device, say, interruption)
        except Interrupted as stopped:
            return Outcome(None, f"stopped by a signal; {_what_is_kept(request)}", stopped.signal)


def _what_is_kept(request: TrainingRequest) -> str:
    if not (request.folder / "checkpoint.pt").is_file():
        return "there was no checkpoint yet: the same command starts again, with the features that are on disk"
    if request.restart:
        return "the command without --restart goes on from its checkpoint"
    return "the same command goes on from its checkpoint"


def _train(
    request: TrainingRequest,
    settings: TrainingSettings,
    networks: FeatureNetworks | None,
    device: str,
    say: Say,
    stop: Callable[[], None],
) -> Outcome:
    from hyper_bids.generate.training.loop import Training

    pictures = read_pictures(
        request.images, settings.size, request.folder, crop=settings.crop, skip_bad=request.skip_bad_images, say=say,
        stop=stop,
    )  # fmt: skip
    if request.restart:  # only now: a slip in --images costs no checkpoint
        for old in ("checkpoint.pt", "losses.tsv", *(f"sheets/{sheet.name}" for sheet in _sheets(request.folder))):
            removed(request.folder / old)
    identity: dict[str, Any] = settings.identity() | {"pictures": pictures.digest, "n_pictures": len(pictures)}
    if networks is None:
        from hyper_bids.generate.training.vaegan_training import VAEGANTraining

        model: Model = VAEGANTraining(settings, device)
    else:
        model, more = _dand(request, settings, networks, pictures, device, say, stop)
        identity |= more
    training = Training(model, pictures, settings, request.folder, identity, say=say, stop=stop)
    shares = f"{len(training.rows)} pictures of {settings.size} pixels, {len(training.held_out)} held out"
    say(f"training {request.model} on {shares}: {settings.epochs} epochs, batches of {settings.batch_size}, {device}")
    if not request.restart:
        training.resume(required=request.resume)
    training.run()
    notes = (
        f"Trained for {training.progress.epoch} epochs on {len(training.rows)} pictures (SHA-256 of names and contents "
        f"{pictures.digest}), seed {settings.seed}, batches of {settings.batch_size}, Adam {settings.learning_rate:g}, "
        f"{settings.precision}.",
        "Weights of the losses: " + ", ".join(f"{name} {weight:g}" for name, weight in settings.loss_weights.items())
        + ".",
    )  # fmt: skip
    path = write_safetensors(model.weights(notes), request.out)
    return Outcome(path, f"{path}: use it with --generator {request.model} --weights {path}")


def _sheets(folder: Path) -> list[Path]:
    return sorted((folder / "sheets").glob("epoch-*.png"))


def _dand(
    request: TrainingRequest,
    settings: TrainingSettings,
    networks: FeatureNetworks,
    pictures: Pictures,
    device: str,
    say: Say,
    stop: Callable[[], None],
) -> tuple[Model, dict[str, Any]]:
    """Return DAND and what its checkpoint must agree in besides the settings."""
    from hyper_bids.generate.training.dand_training import DANDTraining

    extractor, how = networks.latents, {"crop": settings.crop, "say": say, "stop": stop}
    features = features_of(pictures.paths, pictures.digest, extractor, request.folder / "features.f32", **how)
    pca, space = _space(request, settings, extractor, features, how)
    if pca.n_latents < settings.n_latents:
        say(f"the pictures have {pca.n_latents} principal components, not {settings.n_latents}: these are used")
    described = {"features": extractor.name, "features_layer": extractor.layer, "features_sha256": extractor.sha256}
    loss = networks.loss
    model = DANDTraining(settings, pca, features, None if loss is None else _maps_of(loss), described, device)
    of_loss = {} if loss is None else {"loss_network": [loss.name, loss.layer, loss.sha256]}
    return model, {"feature_network": [extractor.name, extractor.layer, extractor.sha256], "space": space} | of_loss


def _space(
    request: TrainingRequest,
    settings: TrainingSettings,
    extractor: Extractor,
    features: np.ndarray,
    how: Mapping[str, Any],
) -> tuple[FeaturePCA, str]:
    """Return the PCA, and the digest of the pictures that it was fitted on (empty: those that are trained on)."""
    if request.space_images is None:
        rows, _ = split(len(features), settings.held_out, settings.seed)
        return fit_pca(features, settings.n_latents, rows), ""
    pictures = read_pictures(
        request.space_images, settings.size, request.folder / "space", skip_bad=request.skip_bad_images,
        option="--space-images", **how,
    )  # fmt: skip
    found = features_of(pictures.paths, pictures.digest, extractor, request.folder / "space.f32", **how)
    return fit_pca(found, settings.n_latents), pictures.digest


def _maps_of(network: Any) -> Callable[[Any], Any]:
    """Return what the feature loss compares: the maps of the network's layer, as a function of images 0 to 255."""
    return lambda images: network.activations(images, [network.layer])[network.layer]


def feature_networks(request: TrainingRequest, settings: TrainingSettings, device: str) -> FeatureNetworks:
    """Make DAND's networks from their weight files.

    Raises
    ------
    UsageError
        A file is needed and was not given.
    MissingFiles, InconsistentInput
        As `make_features`.
    """
    from hyper_bids.features import make_features, parse_features

    def layer_of(name: str, layer: str | None, usual: str) -> str:
        return layer or parse_features(name)[1] or usual

    if request.feature_weights is None:
        raise UsageError(
            "DAND's latents are features: give --feature-weights, the file of VGG-Face (`hyper-tools models list` says "
            "where it is), and with --features another network."
        )
    layer = layer_of(request.features, request.feature_layer, LATENT_LAYER)
    latents = make_features(request.features, request.feature_weights, layer, device)
    if settings.loss_weights["feature"] == 0:
        return FeatureNetworks(latents, None)
    if request.loss_weights_file is None:
        raise UsageError(
            "DAND's loss compares features of ImageNet's VGG-16: give --loss-weights, its file (`hyper-tools models "
            "list` says where it is), or train without that term: --loss feature=0."
        )
    layer = layer_of(request.loss_features, request.loss_layer, LOSS_LAYER)
    return FeatureNetworks(latents, make_features(request.loss_features, request.loss_weights_file, layer, device))


def _opened(path: Path) -> TextIO:
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise OutputNotWritable(f"Cannot write {path}: {error.strerror}. Choose another --out.") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one job at a time train into a folder; the lock ends with its process."""
    with _opened(folder / "lock") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(f"Another job trains into {folder}. Wait for it, or choose another --out.") from error
        except OSError:
            pass  # a file system without locks
        yield
