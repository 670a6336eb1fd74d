"""Small trainings for the tests: settings, pictures, a stand-in for a recognition network."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from hyper_bids.generate.training import loop
from hyper_bids.generate.training.dand_training import DANDTraining
from hyper_bids.generate.training.image_folder import Pictures, split
from hyper_bids.generate.training.latent_space import fit_pca
from hyper_bids.generate.training.settings import settings_of
from hyper_bids.generate.training.vaegan_training import VAEGANTraining

SIZE, K, F = 16, 6, 29
DAND = settings_of("dand", size=SIZE, width=3, n_latents=K, epochs=3, batch_size=5, held_out=4)
VAEGAN = settings_of("vaegan", size=SIZE, width=6, n_latents=K, epochs=3, batch_size=5, held_out=4)


class Toy:
    """A stand-in for a recognition network: fixed random projections of small grey pictures."""

    name, layer, sha256 = "toy", "fc6", "cd" * 32

    def __init__(self, n_features: int = F) -> None:
        self.projection = np.random.default_rng(8).standard_normal((64, n_features)).astype(np.float32)

    def features(self, pixels: np.ndarray) -> np.ndarray:
        step = pixels.shape[1] // 8
        grey = pixels[:, : 8 * step, : 8 * step].mean(3).reshape(len(pixels), 8, step, 8, step).mean((2, 4))
        return np.tanh(grey.reshape(len(pixels), -1) / 128 - 1) @ self.projection

    def activations(self, images, layers):
        kernel = torch.from_numpy(self.projection[:27, :4].T.reshape(4, 3, 3, 3).copy()) / 60
        return {self.layer: functional.conv2d(images - 128, kernel, stride=2).relu()}

    def maps(self, images):
        return self.activations(images, [self.layer])[self.layer]


def pictures_of(n: int = 24, size: int = SIZE) -> Pictures:
    pixels = np.random.default_rng(5).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    names = tuple(f"{i}.png" for i in range(n))
    return Pictures(names, tuple(map(Path, names)), pixels, "digest")


def model_of(settings, pictures: Pictures, loss_features=None):
    if settings.model == "vaegan":
        return VAEGANTraining(settings)
    features = Toy().features(np.asarray(pictures.pixels))
    pca = fit_pca(features[split(len(features), settings.held_out, settings.seed)[0]], settings.n_latents)
    described = {"features": "toy", "features_layer": "fc6", "features_sha256": Toy.sha256}
    return DANDTraining(settings, pca, features, loss_features or Toy().maps, described)


def training(settings, folder, **options) -> loop.Training:
    pictures = options.pop("pictures", pictures_of())
    model = options.pop("model", None) or model_of(settings, pictures)
    return loop.Training(model, pictures, settings, folder, settings.identity(), **options)


def canonical(one: loop.Training) -> dict[str, np.ndarray]:
    return dict(one.model.weights(()).arrays)


@contextmanager
def single_thread():
    """Torch on one thread, so that sums do not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_folder(tmp_path: Path, rng) -> Path:
    """Four pictures of several sizes and kinds, and a file that is none."""
    shapes = {"b.png": (40, 60), "a.JPG": (33, 20), "sub/c.png": (16, 16), "d.webp": (64, 64)}
    for name, shape in shapes.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)
    (tmp_path / "images" / "notes.txt").write_text("no picture")
    return tmp_path / "images"
