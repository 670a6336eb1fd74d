"""What is shown: latents of every stimulus, and the pictures made from them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hyper_bids.data import Images, Latents
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.protocols import Generator
from hyper_bids.seeds import generator as seeded
from hyper_bids.simulate.settings import SimulateSettings

BATCH = 16
"""Pictures drawn at a time: 16 of 1024 x 1024 are 200 MB of float32."""


@dataclass(frozen=True, eq=False)
class Stimuli:
    """All stimuli, training before test.

    Parameters
    ----------
    train, test : labels
    latents : Latents of train, then test
    declaration : the Generator entry of the events sidecar, or None where there are no pictures
    pngs : label -> bytes of its picture; empty where there are none
    attributes : name -> unit normal (n_latents,)
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    latents: Latents
    declaration: dict[str, object] | None
    pngs: dict[str, bytes]
    attributes: dict[str, np.ndarray]

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, training before test."""
        return self.train + self.test

    def file_of(self, label: str) -> str | None:
        """Return the picture's path relative to ``stimuli/``, or None where there are no pictures."""
        return f"pictures/{label}.png" if self.pngs else None


def make_stimuli(
    settings: SimulateSettings,
    generator: Generator | None,
    attributes: Mapping[str, np.ndarray] | None,
    progress: Callable[[str], None],
) -> Stimuli:
    """Draw latents and render their pictures.

    Latents are N(0, I), but for ``identity``, where they are the pixels of smooth grey patterns.
    Training and test latents come from streams of their own: more training faces leave the test faces as they are.

    Raises
    ------
    UsageError
        The generator's object is missing, or has another number of latents than asked for.
    InconsistentInput
        The generator returned something else than RGB images, or a normal does not fit the latents.
    """
    n_latents = _n_latents(settings, generator)
    train = tuple(f"train{i + 1:0{len(str(settings.n_train_faces))}d}" for i in range(settings.n_train_faces))
    test = tuple(f"test{i + 1:0{len(str(settings.n_test_faces))}d}" for i in range(settings.n_test_faces))
    values = np.concatenate(
        [_draw(settings, len(labels), n_latents, split) for split, labels in (("train", train), ("test", test))]
    )
    latents = Latents(values, train + test, _space(settings, generator))
    declaration: dict[str, object] | None = {"Name": settings.generator}
    if settings.generator == "identity":
        declaration["Shape"] = list(_shape(n_latents))
    elif settings.generator == "none":
        declaration = None
    pngs = {} if declaration is None else _pictures(latents, settings, generator, progress)
    return Stimuli(train, test, latents, declaration, pngs, _normals(attributes, n_latents))


def _n_latents(settings: SimulateSettings, generator: Generator | None) -> int:
    if settings.generator in ("identity", "none"):
        n_latents = 64 if settings.n_latents is None else settings.n_latents
        if generator is not None and generator.n_latents != n_latents:
            raise UsageError(f"--n-latents is {n_latents}, but the generator takes {generator.n_latents} latents.")
        return n_latents
    if generator is None:
        raise UsageError(
            f"--generator {settings.generator}: simulate was called without the generator's object; "
            f"pass it, or take --generator none or identity."
        )
    if settings.n_latents not in (None, generator.n_latents):
        raise UsageError(
            f"--n-latents is {settings.n_latents}, but generator {settings.generator} takes {generator.n_latents}; "
            f"leave --n-latents out."
        )
    return generator.n_latents


def _space(settings: SimulateSettings, generator: Generator | None) -> str:
    if settings.latent_space is not None:
        return settings.latent_space
    fallback = {"identity": "pixels", "none": "simZ"}.get(settings.generator)
    return fallback or generator.space


def _shape(n_latents: int) -> tuple[int, int]:
    side = math.isqrt(n_latents)
    return side, side


BOUNDED = ("vaegan",)
"""Generators whose latents are means of a posterior, between -1 and 1, not standard normal (METHODS.md section 5)."""


def has_normal_latents(settings: SimulateSettings) -> bool:
    """Whether the simulated latents are drawn from N(0, I)."""
    return settings.generator not in ("identity", *BOUNDED)


def _draw(settings: SimulateSettings, n: int, n_latents: int, split: str) -> np.ndarray:
    rng = seeded(settings.random_seed, "latents", split)
    if has_normal_latents(settings):
        return rng.standard_normal((n, n_latents)).astype(np.float32)
    if settings.generator in BOUNDED:
        return np.tanh(0.5 * rng.standard_normal((n, n_latents))).astype(np.float32)
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal((n, *_shape(n_latents))), sigma=(0, 1, 1), mode="wrap")
    grey = 0.5 + 0.5 * np.tanh(2 * field / field.std())
    # Rounded to the 256 greys of a PNG, so that the picture *is* the latents
    return (np.round(grey.reshape(n, -1) * 255) / 255).astype(np.float32)


def _normals(attributes: Mapping[str, np.ndarray] | None, n_latents: int) -> dict[str, np.ndarray]:
    normals = {}
    for name, normal in (attributes or {}).items():
        direction = np.asarray(normal, dtype=float)
        length = np.linalg.norm(direction)
        if direction.shape != (n_latents,) or not np.isfinite(length) or length == 0:
            raise InconsistentInput(
                f"Attribute {name}: a finite normal of shape ({n_latents},) that is not 0 is needed, "
                f"got shape {direction.shape}."
            )
        normals[name] = direction / length
    return normals


def _pictures(
    latents: Latents, settings: SimulateSettings, generator: Generator | None, progress: Callable[[str], None]
) -> dict[str, bytes]:
    pngs: dict[str, bytes] = {}
    for start in range(0, len(latents.stimuli), BATCH):
        labels = latents.stimuli[start : start + BATCH]
        values = latents.values[start : start + BATCH]
        if generator is None:  # identity
            grey = values.reshape(-1, *_shape(latents.n_latents), 1)
            images = Images.from_float(np.repeat(grey, 3, axis=3), (0.0, 1.0), labels)
        else:
            drawn = np.asarray(generator.generate(values))
            if drawn.ndim != 4 or len(drawn) != len(labels) or drawn.shape[3] != 3:
                raise InconsistentInput(
                    f"Generator {settings.generator} must return images ({len(labels)}, height, width, 3), "
                    f"got shape {drawn.shape}."
                )
            images = Images.from_float(drawn, generator.range, labels)
        pngs.update(zip(labels, map(_png, images.pixels), strict=True))
        progress(f"stimuli: {start + len(labels)} of {len(latents.stimuli)} pictures")
    return pngs


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
