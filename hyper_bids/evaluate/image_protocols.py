"""The published protocols for comparing a reconstruction with its stimulus, by name.

A protocol fixes everything on which a picture metric depends: size, resampling, smoothing, background,
colour, the metrics themselves and the size of the network's input. Two results under one name are
comparable; `ImageProtocol.sidecar` says in a file what the name stands for. The papers: METHODS.md,
section 6; what they leave open is our choice and is marked so in ``ours``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hyper_bids.data import Images
from hyper_bids.errors import InconsistentInput, listing
from hyper_bids.evaluate.image import pixel_correlation, ssim
from hyper_bids.evaluate.latent import latent_correlation, latent_similarity, latent_similarity_mse
from hyper_bids.evaluate.resample import resample, smooth
from hyper_bids.evaluate.resize import REC601
from hyper_bids.protocols import FeatureExtractor

SSIM_PROTOCOL = {
    "Window": "11 x 11 Gaussian, sigma 1.5",
    "DataRange": 255,
    "K1": 0.01,
    "K2": 0.03,
    "Covariance": "population",
    "Border": "5 px cropped",
    "Colour": "luminance, Rec. 601",
}


def network_sidecar(features: FeatureExtractor) -> dict[str, object]:
    """What an extractor says of itself (``describe``), at least its name and the checksum of its weights."""
    told = {"Name": features.name, "Checksum": getattr(features, "checksum", "not stated by the extractor")}
    describe = getattr(features, "describe", None)
    return {**told, **describe()} if callable(describe) else told


@dataclass(frozen=True)
class ImageProtocol:
    """What a protocol's name stands for.

    Attributes
    ----------
    name : as it is written in sidecars
    source : the paper
    size : height and width at which pictures are compared
    image_metrics : names of `IMAGE_METRICS`
    feature_network : which network the paper used ("" where it used none)
    network, layer : the same as names for ``--features`` ("" where it used none)
    latent_metrics : further metrics of the paper that compare latents (`metrics.METRICS`), not computed here
    resampling : key of `hyper_bids.resampling.RESAMPLING`
    blur : (taps, sigma) of the Gaussian applied to both pictures, or None
    masked : whether the stimulus's background mask is applied to both
    ours : what the paper leaves open
    """

    name: str
    source: str
    size: tuple[int, int]
    image_metrics: tuple[str, ...]
    feature_network: str = ""
    latent_metrics: tuple[str, ...] = ()
    resampling: str = "area-bicubic"
    blur: tuple[int, float] | None = None
    masked: bool = False
    ours: tuple[str, ...] = ("resampling: area when shrinking, bicubic (a = -0.5) when enlarging",)
    network: str = ""
    layer: str = ""

    def sidecar(self, masked: bool = False, features: FeatureExtractor | None = None) -> dict[str, object]:
        """Everything that was fixed, for the JSON beside the scores."""
        network, blur = None, self.blur
        if features is not None:
            network = network_sidecar(features)
        return {
            "Protocol": self.name if masked or not self.masked else f"{self.name}-unmasked",
            "Source": self.source,
            "Size": list(self.size),
            "Resampling": self.resampling,
            "Smoothing": f"{blur[0]} x {blur[0]} Gaussian, sigma {blur[1]:g} px" if blur else "none",
            "Background": "black outside the stimulus's mask, in both" if masked and self.masked else "as it is",
            "SSIM": SSIM_PROTOCOL if "ssim" in self.image_metrics else "not part of this protocol",
            "Network": network,
            "NetworkOfThePaper": self.feature_network or "none",
            "OurChoices": list(self.ours),
        }


@dataclass(frozen=True, eq=False)
class ProtocolScores:
    """One value per stimulus and metric, with what was done.

    Attributes
    ----------
    scores : metric -> (n,), NaN where undefined
    stimuli : n labels
    protocol : for the sidecar
    missing : metric of the protocol that was not computed -> why
    """

    scores: Mapping[str, np.ndarray]
    stimuli: tuple[str, ...]
    protocol: Mapping[str, object]
    missing: Mapping[str, str] = field(default_factory=dict)


def rgb_correlation(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pearson r over all pixels and channels of ``(n, height, width, 3)``: ``(n,)``; NaN for a uniform picture."""
    return latent_correlation(true.reshape(len(true), -1), predicted.reshape(len(predicted), -1))


def _luminance_correlation(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return pixel_correlation(true @ REC601, predicted @ REC601)


def _luminance_ssim(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return ssim(true @ REC601, predicted @ REC601)


IMAGE_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "pixel_correlation": _luminance_correlation,
    "pixel_correlation_rgb": rgb_correlation,
    "ssim": _luminance_ssim,
}
"""Name -> metric of two float RGB stacks ``(n, height, width, 3)``, 0 to 255, at the protocol's size."""

HYPER = "Dado et al., Brain2face / HYPER"
LATENT = ("latent_similarity", "latent_similarity_mse", "latent_correlation", "latent_cosine")
PROTOCOLS: dict[str, ImageProtocol] = {
    protocol.name: protocol
    for protocol in (
        ImageProtocol(
            "hyper2020",
            f"{HYPER}, preprint 2020",
            (224, 224),
            ("ssim",),
            "face-recognition ResNet50, 2048 features, 224 x 224",
            LATENT,
            blur=(3, 0.8),
            network="vggface2",
            layer="avgpool",
        ),
        ImageProtocol(
            "hyper2022",
            f"{HYPER}, Sci Rep 2022",
            (224, 224),
            ("pixel_correlation",),
            "face-recognition ResNet50, 2048 features, 224 x 224",
            LATENT,
            masked=True,
            network="vggface2",
            layer="avgpool",
            ours=(
                "resampling: area when shrinking, bicubic (a = -0.5) when enlarging",
                "background black, and pixel_correlation over the whole picture, as the mask applied to both gives it; "
                "the shared black raises it, so pixel_correlation_foreground is over the pixels within the mask alone",
            ),
        ),
        ImageProtocol(
            "dand",
            "Gucluturk et al., NeurIPS 2017",
            (64, 64),
            ("pixel_correlation_rgb", "ssim"),
            "VGG-Face, relu7, 4096 features",
            (),
            network="vggface",
            layer="relu7",
            ours=(
                "resampling: area when shrinking, bicubic (a = -0.5) when enlarging",
                "Pearson r over RGB pixels; SSIM on luminance",
            ),
        ),
        ImageProtocol(
            "vaegan",
            "VanRullen & Reddy, Commun Biol 2019",
            (128, 128),
            ("ssim",),
            latent_metrics=("pairwise_accuracy", "top1"),
        ),
    )
}


def _resized_masks(masks: Mapping[str, np.ndarray], stimuli: tuple[str, ...], size: tuple[int, int]) -> np.ndarray:
    missing = [label for label in stimuli if label not in masks]
    if missing:
        raise InconsistentInput(
            f"Background masks are missing for {len(missing)} of {len(stimuli)} stimuli: {listing(missing)}. Give one "
            f"mask (height, width) per stimulus, or none at all for the unmasked form of the protocol."
        )
    resized = np.empty((len(stimuli), *size), dtype=bool)
    for row, label in enumerate(stimuli):
        mask = np.asarray(masks[label])
        if mask.ndim != 2:
            raise InconsistentInput(f"The background mask of {label} must be (height, width), got {mask.shape}.")
        inside = resample((mask != 0)[None, ..., None] * 255.0, size)[0, ..., 0] >= 127.5
        if not inside.any():
            raise InconsistentInput(f"The background mask of {label} keeps no pixel; non-zero marks what to keep.")
        resized[row] = inside
    return resized


def prepare(protocol: ImageProtocol, pixels: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
    """Bring uint8 RGB ``(n, h, w, 3)`` to what the protocol compares: float ``(n, *size, 3)``, 0 to 255.

    ``masks`` (n, *size) bool: what lies outside becomes black.
    """
    prepared = resample(pixels, protocol.size, protocol.resampling)
    if masks is not None:
        prepared *= masks[..., None]
    return smooth(prepared, *protocol.blur) if protocol.blur else prepared


def foreground_correlation(true: np.ndarray, predicted: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Pearson r of luminance over the pixels within each stimulus's mask: ``(n,)``."""
    pairs = zip(true @ REC601, predicted @ REC601, masks, strict=True)
    return np.array([latent_correlation(x[m][None], y[m][None])[0] for x, y, m in pairs])


def as_uint8(pixels: np.ndarray) -> np.ndarray:
    """Round float pixels in 0 to 255 to uint8, as a network's input."""
    return np.floor(np.clip(pixels, 0.0, 255.0) + 0.5).astype(np.uint8)


def apply_protocol(
    protocol: ImageProtocol,
    true: Images,
    predicted: Images,
    features: FeatureExtractor | None = None,
    masks: Mapping[str, np.ndarray] | None = None,
) -> ProtocolScores:
    """Score reconstructions as a published protocol does.

    Parameters
    ----------
    protocol : one of `PROTOCOLS`
    true, predicted : Images
        Of any size; aligned by stimulus, every stimulus of ``true`` needs a reconstruction.
    features : FeatureExtractor, optional
        Network of the feature similarities; it is given the prepared pictures as uint8. Without it they
        are missing, and the reason is said.
    masks : stimulus -> (height, width), optional
        Non-zero where the stimulus is, for a protocol that removes the background. Without it the
        protocol is named ``<name>-unmasked``.

    Raises
    ------
    InconsistentInput
        A stimulus without reconstruction or mask, or masks for a protocol that keeps the background.
    """
    predicted = predicted.of(true.stimuli)
    if masks is not None and not protocol.masked:
        raise InconsistentInput(
            f"Protocol {protocol.name} keeps the background, but masks were given; leave them out, or take hyper2022."
        )
    inside = None if masks is None else _resized_masks(masks, true.stimuli, protocol.size)
    x, y = (prepare(protocol, images.pixels, inside) for images in (true, predicted))
    scores = {name: IMAGE_METRICS[name](x, y) for name in protocol.image_metrics}
    missing = {}
    if inside is not None:
        scores["pixel_correlation_foreground"] = foreground_correlation(x, y, inside)
    if features is not None:
        seen, made = (np.asarray(features.features(as_uint8(stack))) for stack in (x, y))
        seen, made = seen.reshape(len(seen), -1), made.reshape(len(made), -1)
        scores["feature_similarity"] = latent_similarity(seen, made)
        scores["feature_similarity_mse"] = latent_similarity_mse(seen, made)
    elif protocol.feature_network:
        why = f"no feature network was given (the paper's: {protocol.feature_network})"
        missing = dict.fromkeys(("feature_similarity", "feature_similarity_mse"), why)
    return ProtocolScores(scores, true.stimuli, protocol.sidecar(inside is not None, features), missing)
