"""Decoded latents to pictures, and the pictures that they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyper_bids.data import Latents
from hyper_bids.derivatives.names import model_label, unique_labels
from hyper_bids.derivatives.sidecars import column
from hyper_bids.derivatives.tree import Tree
from hyper_bids.derivatives.write import write_json, write_npz, write_tsv
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.outputs import provenance_of, scope_of

RANDOM_PICTURES = 100
"""Random latents that are drawn as pictures, for the picture metrics' random baseline."""

RETRIEVED_SIDE = 384
"""Pixels to which pictures of retrieved training stimuli are shrunk: they are looked at, not scored."""


def mean_per_stimulus(rows: pd.DataFrame, predicted: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Mean prediction over folds of every test stimulus: labels and (n_stimuli, n_latents)."""
    stimuli = rows["stimulus_id"].to_numpy(str)
    labels = tuple(dict.fromkeys(stimuli.tolist()))
    return labels, np.stack([predicted[stimuli == label].mean(axis=0, dtype=np.float64) for label in labels])


def picture_generator(picture: Mapping[str, Any], latents: Latents) -> Any:
    """Return the generator that the plan chose for this latent space."""
    from hyper_bids.generate import make_generator

    return make_generator(
        picture["generator"],
        space=latents.space,
        n_latents=latents.n_latents,
        declaration=picture["declaration"].get("Generator") or {},
        weights=Path(picture["weights"]) if picture["weights"] else None,
        device=picture["device"],
        **picture["options"],
    )


def with_weights(picture: Mapping[str, Any] | None, weights: Path | None) -> dict[str, Any] | None:
    """Return the description of the generator with weights that an earlier step made."""
    if picture is None or weights is None:
        return None if picture is None else dict(picture)
    return {**picture, "weights": str(weights)}


def reconstruct(
    *, rows: Path, predicted: Path, guesses: Path, latents: Path, decoder: str, picture: Mapping[str, Any],
    stimulus_files: Mapping[str, str], scope: Mapping[str, Any], provenance: Mapping[str, Any], out_dir: Path,
    generator_weights: Path | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Turn decoded latents into pictures, one per test stimulus, and the pictures that they are held against.

    Outputs: ``pictures`` (npz: stimuli; recon, ceiling and nearest, one of each per stimulus; zero, mean, random; and
    the generator's closed-form directions with their eigenvalues where it has a first dense layer) and ``tree`` (PNGs
    and recon.tsv).
    """
    from hyper_bids.evaluate.directions import closed_form_directions
    from hyper_bids.generate.images import render, write_png
    from hyper_bids.seeds import generator as seeded

    space = files.load_latents(latents)
    generator = picture_generator(with_weights(picture, generator_weights), space)
    labels, means = mean_per_stimulus(files.load_table(rows), files.load_array(predicted))
    recon = render(generator, Latents(means, labels, space.space))
    ceiling = render(generator, space.of(labels))
    guessed = files.load_arrays(guesses, ("trained", "training_mean", "nearest"))
    mean = guessed["training_mean"].mean(axis=0, dtype=np.float64)
    fixed = render(generator, Latents(np.stack([np.zeros(space.n_latents), mean]), ("zero", "mean"), space.space))
    nearest = _retrieved(generator, space, files.load_table(rows), guessed["nearest"], labels, means)
    rng = seeded(provenance["seed"], "random pictures")
    random = render(generator, _random_latents(space, guessed["trained"], picture["declaration"], rng))
    tree, where, stamp = Tree(out_dir), scope_of(scope), provenance_of(provenance)
    names = {"model": model_label(decoder), "desc": space.space}
    table = []
    for label, short, pixels in zip(labels, unique_labels(labels).values(), recon.pixels, strict=True):
        name = where.name("recon", ".png", **names, stim=short)
        write_png(tree.path(name), pixels)
        table.append((label, name, stimulus_files.get(label, "")))
    frame = pd.DataFrame(table, columns=["stimulus_id", "recon_file", "stim_file"]).replace("", "n/a")
    write_tsv(tree.path(where.name("recon", ".tsv", **names)), frame)
    described = {
        "stimulus_id": column("Stimulus", "test stimulus"),
        "recon_file": column("Reconstruction", "PNG, relative to the root of this dataset"),
        "stim_file": column("Picture shown", "relative to stimuli/ of the raw dataset"),
    }
    text = "the generator's picture of the decoded latents (where cross-validated: of their mean over folds)"
    content = stamp.stamp(
        Description=text, Generator=picture["generator"], GeneratorWeights=picture["weights_digest"],
        GeneratorOptions=picture["options"], GeneratorNotes=list(getattr(generator, "notes", ())), **described,
    )  # fmt: skip
    write_json(tree.path(where.name("recon", ".json", **names)), content)
    arrays = {
        "stimuli": np.array(labels), "recon": recon.pixels, "ceiling": ceiling.pixels, "nearest": nearest,
        "zero": fixed.pixels[:1], "mean": fixed.pixels[1:], "random": random.pixels,
    }  # fmt: skip
    if hasattr(generator, "first_layer"):
        arrays["directions"], arrays["eigenvalues"] = closed_form_directions(generator.first_layer)
    return {"pictures": write_npz(out_dir / "pictures.npz", arrays), "tree": tree.manifest()}


def _retrieved(
    generator: Any, space: Latents, rows: pd.DataFrame, nearest: np.ndarray, labels: tuple[str, ...], means: np.ndarray
) -> np.ndarray:
    """Draw the training stimulus that each prediction lies nearest to, by the generator as the reconstructions are.

    Parameters
    ----------
    nearest : (n_rows, n_latents) for every row the training latent nearest to its prediction
    labels, means : of `mean_per_stimulus`; of several folds' training stimuli the one nearest to the mean counts

    Returns
    -------
    (n_stimuli, height, width, 3) uint8, at most `RETRIEVED_SIDE` pixels high or wide
    """
    from hyper_bids.generate.images import render
    from hyper_bids.report.thumbnails import shrunk

    stimuli, chosen = rows["stimulus_id"].to_numpy(str), []
    for label, mean in zip(labels, means, strict=True):
        own = nearest[stimuli == label]
        chosen.append(own[np.argmin(np.linalg.norm(own - mean, axis=1))])
    different, which = np.unique(np.stack(chosen), axis=0, return_inverse=True)
    named = tuple(f"trained{k}" for k in range(len(different)))
    pixels = render(generator, Latents(different, named, space.space)).pixels
    return np.stack([shrunk(image, RETRIEVED_SIDE) for image in pixels])[which.ravel()]


def _random_latents(
    space: Latents, trained: np.ndarray, declaration: Mapping[str, Any], rng: np.random.Generator
) -> Latents:
    """Draw from the prior where the space declares one, else resample training latents."""
    if declaration.get("Distribution") == "normal":
        values = rng.standard_normal((RANDOM_PICTURES, space.n_latents))
    else:
        values = space.rows(rng.choice(trained, RANDOM_PICTURES).tolist())
    return Latents(values, tuple(f"random{k}" for k in range(RANDOM_PICTURES)), space.space)


def shown_pictures(stimulus_paths: Mapping[str, str], labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the pictures that were shown, ``(height, width, 3)`` uint8 each, of the stimuli that have one."""
    from hyper_bids.generate.images import read_image

    return {label: read_image(Path(stimulus_paths[label])) for label in labels if label in stimulus_paths}
