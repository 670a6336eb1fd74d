"""What an encoder of pictures needs besides the pictures, found out before any computation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.workflow.feature_networks import Chosen, check_layer, identity

if TYPE_CHECKING:
    from hyper_bids.weights import Weights

DAND_FEATURES, DAND_LAYER = "vggface", "fc6"
"""VGG-Face after 14 of its 16 weight layers, before ReLU (METHODS section 5)."""


def check_encoder(encoder: str | None, networks: Sequence[Chosen], weights: Path | None) -> None:
    """Refuse an encoder whose network or weights are missing, or do not belong together.

    Raises
    ------
    MissingFiles
        ``dand`` without its feature network, ``vaegan`` without weights.
    InconsistentInput
        Weights of another network; weights that were made with another feature network's file; no encoder in them;
        a feature network without the layer that the latents are components of.
    """
    if encoder == "vaegan":
        given_latents(encoder, weights)
    if encoder != "dand":
        return
    model = dand_weights(weights)
    name, layer = wanted_features(model)
    network = feature_network(networks, name)
    if network is None:
        raise MissingFiles(
            f"--encoder dand needs --features {name} --feature-weights FILE: the latents are principal components of "
            f"its layer {layer}. `hyper-tools models list` says which files were published."
        )
    said, here = str(model.options.get("features_sha256", "")) if model else "", identity([network]).popitem()[1]
    if said and said != here:
        raise InconsistentInput(
            f"--weights {weights} were made with features of another file: its SHA-256 is {said}, that of "
            f"--feature-weights {network.file} is {here}. Give the file that they were made with."
        )
    check_layer(network, layer, "--encoder dand")


def dand_weights(weights: Path | None) -> Weights | None:
    """Return the DAND generator in a file, whose principal components define the latents; None without a file.

    Raises
    ------
    InconsistentInput
        It is another network.
    """
    from hyper_bids.weights import read_weights

    return None if weights is None else read_weights(weights, architecture="dand")


def wanted_features(model: Weights | None) -> tuple[str, str]:
    """Return name and layer of the network whose components the latents are."""
    options = model.options if model is not None else {}
    return str(options.get("features", DAND_FEATURES)), str(options.get("features_layer", DAND_LAYER))


def feature_network(networks: Sequence[Chosen], name: str) -> Chosen | None:
    """Return the network of that name among those that were given."""
    return next((item for item in networks if item.name == name), None)


def given_latents(encoder: str | None, weights: Path | None) -> int | None:
    """Return the number of latents that a weight file fixes; None where the encoder learns or has its own.

    Raises
    ------
    MissingFiles
        ``vaegan`` without weights.
    InconsistentInput
        Weights of another network, or without an encoder.
    """
    if encoder == "dand" and weights is not None:
        return len(dand_weights(weights).arrays["pca.scale"])
    if encoder != "vaegan":
        return None
    if weights is None:
        raise MissingFiles(
            "--encoder vaegan needs --weights: the VAE-GAN's file, which holds encoder and generator. "
            "`hyper-tools models list` says where it was published."
        )
    from hyper_bids.weights import read_weights

    arrays = read_weights(weights, architecture="vaegan").arrays
    if "encoder.mu.weight" not in arrays:
        raise InconsistentInput(f"--weights {weights} hold no encoder, only a generator; use the published file.")
    return len(arrays["encoder.mu.weight"])
