"""`Eigenface`: principal components of a set of images."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.generate.centre_square import centre_square
from hyper_bids.generate.checks import checked_latents
from hyper_bids.generate.images import SUFFIXES, read_image
from hyper_bids.whole_files import replacing

FORMAT = "hyper-eigenface-1"


class Eigenface:
    """PCA of images (Turk and Pentland 1991; the baseline of Cowen et al. 2014).

    A latent is a principal component score over its standard deviation in the training images, so every latent has
    unit variance there: ``image = mean + sum_k latent_k * scale_k * component_k``.

    Parameters
    ----------
    mean : (height, width, 3)
        Mean training image, 0 to 1.
    components : (n_latents, height, width, 3)
        Orthonormal, by falling variance; the largest absolute entry of each is positive.
    scale : (n_latents,)
        Standard deviation of the training scores (n - 1 in the denominator).

    Raises
    ------
    InconsistentInput
        The shapes do not fit, a value is not finite, or a scale is not positive.
    """

    space = "eigenface"
    range = (0.0, 1.0)

    def __init__(self, mean: np.ndarray, components: np.ndarray, scale: np.ndarray) -> None:
        self.mean = np.asarray(mean, dtype=np.float32)
        self.components = np.asarray(components, dtype=np.float32)
        self.scale = np.asarray(scale, dtype=np.float32)
        fits = self.mean.ndim == 3 and self.mean.shape[2] == 3 and self.components.shape[1:] == self.mean.shape
        if not fits or self.scale.shape != self.components.shape[:1] or not len(self.scale):
            raise InconsistentInput(
                f"An eigenface model needs mean (h, w, 3), components (k, h, w, 3) and scale (k,), "
                f"got {self.mean.shape}, {self.components.shape} and {self.scale.shape}."
            )
        if not all(np.isfinite(part).all() for part in (self.mean, self.components, self.scale)):
            raise InconsistentInput("An eigenface model holds values that are not finite.")
        if (self.scale <= 0).any():
            raise InconsistentInput("An eigenface model holds a scale that is not positive.")
        self.n_latents = len(self.scale)

    @classmethod
    def fit(cls, images: np.ndarray, n_components: int, size: int = 64) -> Eigenface:
        """Learn the components of training images.

        Parameters
        ----------
        images : (n, height, width, 3)
            uint8, or float from 0 to 1. Their centre square is scaled to ``size``.
        n_components : int
            As many are kept as the images have: at most n - 1. `n_latents` says how many.
        size : int
            Height and width in pixels.

        Raises
        ------
        InconsistentInput
            Fewer than two different images, or not of this form.
        """
        if n_components < 1:
            raise InconsistentInput(f"Eigenface needs at least one component, not {n_components}.")
        scaled = square_pixels(images, size)
        pixels = scaled.reshape(len(scaled), -1)
        mean = pixels.mean(axis=0)
        components, variance = _principal_components(pixels - mean, n_components)
        shape = (size, size, 3)
        return cls(mean.reshape(shape), components.reshape(-1, *shape), np.sqrt(variance))

    @classmethod
    def from_folder(cls, folder: Path, n_components: int, size: int = 64) -> Eigenface:
        """Learn from every image file in a folder, sorted by name.

        Raises
        ------
        MissingFiles
            There is no image in the folder, or a file with an image's suffix is none.
        """
        paths = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise MissingFiles(f"Eigenface: no image ({', '.join(sorted(SUFFIXES))}) in {folder}.")
        images = np.concatenate([square_pixels(read_image(path)[None], size) for path in paths])
        return cls.fit(images, n_components, size)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return latents ``(n, n_latents)`` float32 of images ``(n, height, width, 3)``, uint8 or 0 to 1."""
        centred = square_pixels(images, self.mean.shape[0]) - self.mean
        scores = centred.reshape(len(centred), -1) @ self.components.reshape(self.n_latents, -1).T.astype(np.float64)
        return (scores / self.scale).astype(np.float32)

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return float32 images ``(n, size, size, 3)`` from latents ``(n, n_latents)``, limited to 0 to 1.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, n_latents)``, or not finite.
        """
        values = checked_latents(latents, self.n_latents, self.space)
        flat = self.components.reshape(self.n_latents, -1)
        # Row by row: a matrix product's rounding depends on the number of rows, an image must not.
        rows = [(row * self.scale) @ flat for row in values]
        pixels = np.array(rows, dtype=np.float32).reshape(len(values), *self.mean.shape) + self.mean
        return pixels.clip(*self.range)

    def save(self, path: Path) -> Path:
        """Write an .npz without any pickle; whole or not at all.

        Raises
        ------
        OutputNotWritable
        """
        path = Path(path)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, format=FORMAT, mean=self.mean, components=self.components, scale=self.scale)
        return path

    @classmethod
    def load(cls, path: Path) -> Eigenface:
        """Read what `save` wrote.

        Raises
        ------
        MissingFiles
            The file is not there, or is no intact eigenface file.
        InconsistentInput
            Its arrays do not fit each other.
        """
        path = Path(path)
        if not path.is_file():
            raise MissingFiles(f"Eigenface weights {path} are not there.")
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored["format"]) != FORMAT:
                    raise MissingFiles(f"{path} is of format {stored['format']}, this version reads {FORMAT}.")
                parts = {name: stored[name] for name in ("mean", "components", "scale")}
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise MissingFiles(f"{path} is no intact eigenface file: {error}. Train it again.") from error
        if any(array.dtype.kind != "f" for array in parts.values()):
            raise InconsistentInput(f"{path}: mean, components and scale must be floating-point arrays.")
        try:
            return cls(**parts)
        except InconsistentInput as error:
            raise InconsistentInput(f"{path}: {error}") from error


def _principal_components(centred: np.ndarray, n_components: int) -> tuple[np.ndarray, np.ndarray]:
    """Return components ``(k, n_pixels)`` and variances ``(k,)`` of centred ``(n, n_pixels)``.

    Through the smaller of the two Gram matrices: with ``X X' = U L U'``, the components are ``U' X / sqrt(L)``.
    """
    n, n_pixels = centred.shape
    if n < 2:
        raise InconsistentInput(f"Eigenface needs at least two images, got {n}.")
    wide = n < n_pixels
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    keep = np.argsort(values)[::-1][: min(n_components, n - 1)]
    keep = keep[values[keep] > 1e-10 * max(values.max(), 1e-12)]
    if not len(keep):
        raise InconsistentInput("Eigenface needs images that differ; these are all the same.")
    components = vectors[:, keep].T
    if wide:
        components = (components @ centred) / np.sqrt(values[keep])[:, None]
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(len(keep)), largest])[:, None]
    return components, values[keep] / (n - 1)


def square_pixels(images: np.ndarray, size: int) -> np.ndarray:
    """Return the centre squares of images ``(n, height, width, 3)`` as float64 ``(n, size, size, 3)`` from 0 to 1.

    Raises
    ------
    InconsistentInput
        Not uint8 or float from 0 to 1, or not of this form.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype.kind not in "uf" or not images.size:
        raise InconsistentInput(
            f"Eigenface takes images (n, height, width, 3), uint8 or float, got {images.dtype} {images.shape}."
        )
    if images.dtype.kind == "u" and images.dtype != np.uint8:
        raise InconsistentInput(f"Eigenface takes uint8 or float images, got {images.dtype}.")
    pixels = images / 255.0 if images.dtype == np.uint8 else images.astype(np.float64)
    if not np.isfinite(pixels).all() or pixels.min() < 0.0 or pixels.max() > 1.0:
        raise InconsistentInput("Eigenface takes float images from 0 to 1; these are not.")
    square = centre_square(pixels)
    return square if square.shape[1] == size else np.stack([_resized(image, size) for image in square])


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    """Scale a float ``(side, side, 3)`` image with an antialiased bilinear filter, channel by channel."""
    from PIL import Image

    channels = [Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(image, 2, 0)]
    small = [np.asarray(channel.resize((size, size), Image.Resampling.BILINEAR)) for channel in channels]
    return np.stack(small, axis=2).astype(np.float64).clip(0.0, 1.0)
