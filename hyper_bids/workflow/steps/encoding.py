"""``--encoder``: latents from the pictures themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hyper_bids.data import Latents
from hyper_bids.derivatives.write import write_json, write_npz
from hyper_bids.errors import InconsistentInput
from hyper_bids.workflow import files


@dataclass
class Encoded:
    """What an encoder gives.

    Parameters
    ----------
    values : (n_stimuli, n_latents)
    arrays : the model, for the generator that inverts it
    notices, facts : what a reader should know
    """

    values: np.ndarray
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def encode_stimuli(
    *, trials: Path, encoder: str, n_components: int, image_size: int, images: Mapping[str, str], out_dir: Path,
    features: Mapping[str, Any] | None = None, weights: str | None = None, device: str = "cpu",
) -> dict[str, Path]:  # fmt: skip
    """Compute the latents of all sample stimuli.

    Principal components are those of the *training* pictures (or of their features). Where the design is
    cross-validated every stimulus is trained on in some fold: then they are those of all
    pictures (of pictures only: no response enters), which the facts say. Components that come with the weights of a
    generator (``dand``) are taken as they are.

    Outputs: ``latents`` (npz), ``weights`` (npz: the generator's, empty for identity and vaegan), ``facts`` (JSON).
    """
    events = files.load_table(trials)
    samples = events[events["role"] == "sample"]
    stimuli = tuple(sorted(set(samples["stimulus_id"])))
    trained = set(samples.loc[samples["split"] != "test", "stimulus_id"])
    learned = np.array([label in trained for label in stimuli])
    pictures = Pictures([images[label] for label in stimuli])
    if encoder == "dand":
        done = _dand(pictures, learned, n_components, features or {}, weights)
    elif encoder == "vaegan":
        done = _vaegan(pictures, str(weights), device)
    else:
        done = _pixels(pictures, learned, n_components if encoder == "eigenface" else None, image_size)
    if done.arrays and not done.facts.get("given") and (samples["split"] == "cv").any():
        done.notices.append("The principal components are those of all pictures: every one is trained on in some fold.")
    n_latents = int(done.values.shape[1])
    facts = {"encoder": encoder, "image_size": image_size, "n_latents": n_latents, "notices": done.notices}
    return {
        "latents": files.save_latents(out_dir / "latents.npz", Latents(done.values, stimuli, encoder)),
        "weights": write_npz(out_dir / "weights.npz", done.arrays),
        "facts": write_json(out_dir / "facts.json", {**facts, **done.facts}),
    }


class Pictures:
    """Picture files, read one at a time: a thousand of 1024 pixels do not fit into memory."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[np.ndarray]:
        from hyper_bids.generate.images import read_image

        return (read_image(Path(path)) for path in self.paths)


def _pixels(pictures: Pictures, learned: np.ndarray, n_components: int | None, size: int) -> Encoded:
    """Pixels, or their principal components where their number is given."""
    from hyper_bids.generate import Eigenface
    from hyper_bids.generate.eigenface import FORMAT, square_pixels

    pixels = np.concatenate([square_pixels(picture[None], size) for picture in pictures]).astype(np.float32)
    if n_components is None:
        return Encoded(pixels.reshape(len(pixels), -1))
    model = Eigenface.fit(pixels[learned], n_components, size)
    arrays = {
        "format": np.array(FORMAT), "mean": model.mean, "components": model.components, "scale": model.scale,
    }  # fmt: skip
    return Encoded(model.encode(pixels), arrays, _fewer(model.n_latents, n_components, learned))


def _fewer(n_latents: int, n_components: int, learned: np.ndarray) -> list[str]:
    if n_latents >= n_components:
        return []
    return [f"{learned.sum()} training pictures have {n_latents} principal components, not more."]


def _vaegan(pictures: Pictures, weights: str, device: str) -> Encoded:
    """The latents mu of the VAE-GAN's own encoder."""
    from hyper_bids.generate import VAEGANGenerator

    generator = VAEGANGenerator.load(Path(weights), device=device)
    values = np.concatenate([generator.encode(picture[None]) for picture in pictures])
    return Encoded(values, facts={"crop": generator.crop})


def _dand(
    pictures: Pictures, learned: np.ndarray, n_components: int, network: Mapping[str, Any], weights: str | None
) -> Encoded:
    """Scores of the features' principal components, each of unit variance over the training pictures.

    ``features = mean + (z * scale) @ components``; `hyper_bids.generate.dand` inverts it so. Features are those of the
    centre square, or of its part that the generator was trained on: `full_size` cuts them so in training.
    """
    from hyper_bids.generate.centre_square import centre_square
    from hyper_bids.generate.training.latent_space import FeaturePCA, fit_pca
    from hyper_bids.workflow.feature_networks import opened
    from hyper_bids.workflow.latent_encoders import dand_weights, wanted_features

    model = dand_weights(None if weights is None else Path(weights))
    layer = wanted_features(model)[1]
    extractor = opened(network, layer)
    crop = 1.0 if model is None else float(model.options.get("crop", 1.0))
    values = np.concatenate([extractor.features([centre_square(picture, crop)]) for picture in pictures])
    parts = ("mean", "components", "scale")
    if model is None:
        pca = fit_pca(values[learned], n_components)
        notices = _fewer(pca.n_latents, n_components, learned)
    else:
        pca = FeaturePCA(*(np.asarray(model.arrays[f"pca.{part}"]) for part in parts))
        notices = ["The principal components are those of the generator's weights."]
        if "features_sha256" not in model.options:
            notices.append("The weights do not say which feature network's file they were made with.")
    if pca.mean.shape != values.shape[1:]:
        raise InconsistentInput(
            f"--weights {weights} have components of {len(pca.mean)} features, but layer {layer} of "
            f"{extractor.file} has {values.shape[1]}."
        )
    saved = {f"pca.{part}": getattr(pca, part) for part in parts} | {
        "features": np.array(extractor.name), "features_layer": np.array(layer),
        "features_sha256": np.array(extractor.sha256),
    }  # fmt: skip
    told = {"features": extractor.describe(), "given": model is not None, "crop": crop}
    return Encoded(pca.latents(values), saved, notices, told)
