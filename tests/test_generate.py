"""Generators: the contract, from names to checked objects, and the border to `Images`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hyper_bids.data import Latents
from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles, UsageError
from hyper_bids.generate import GENERATORS, Eigenface, Identity, built_in, builtin_attributes, make_generator
from hyper_bids.generate.images import render
from hyper_bids.protocols import Generator


def make(name: str, folder: Path) -> Generator:
    """Each built-in in a small size, through the same door as the app."""
    if name == "eigenface":
        faces = np.random.default_rng(3).integers(0, 256, (9, 13, 13, 3), dtype=np.uint8)
        weights = Eigenface.fit(faces, 5, size=13).save(folder / "weights.npz")
        return make_generator(name, space="pcs", n_latents=5, declaration={"Name": name}, weights=weights)
    n_latents, declaration = {"portrait": (64, {}), "identity": (7 * 11, {"Shape": [7, 11]})}[name]
    return make_generator(name, space="made", n_latents=n_latents, declaration={"Name": name, **declaration})


@pytest.fixture(params=GENERATORS)
def generator(request, tmp_path) -> Generator:
    return make(request.param, tmp_path)


@pytest.fixture
def latents(generator, rng) -> np.ndarray:
    return rng.standard_normal((3, generator.n_latents)).astype(np.float32)


def test_keeps_the_protocol(generator):
    assert isinstance(generator, Generator)
    assert generator.range[0] < generator.range[1]


def test_images_are_finite_float32_in_range(generator, latents):
    before = latents.copy()
    images = generator.generate(latents)
    assert images.dtype == np.float32
    assert images.ndim == 4 and images.shape[0] == 3 and images.shape[3] == 3
    assert np.isfinite(images).all()
    assert images.min() >= generator.range[0] and images.max() <= generator.range[1]
    assert np.array_equal(latents, before)


def test_extreme_latents_stay_finite_and_in_range(generator):
    extremes = np.stack([np.full(generator.n_latents, value, np.float32) for value in (-30.0, 0.0, 30.0)])
    images = generator.generate(extremes)
    assert np.isfinite(images).all()
    assert images.min() >= generator.range[0] and images.max() <= generator.range[1]


def test_each_latent_alone_gives_what_it_gives_in_a_batch(generator, latents):
    together = generator.generate(latents)
    alone = np.concatenate([generator.generate(row[None]) for row in latents])
    np.testing.assert_allclose(alone, together, atol=2e-6)


def test_is_deterministic(generator, latents):
    assert np.array_equal(generator.generate(latents), generator.generate(latents))


def test_different_latents_give_different_images(generator, latents):
    images = generator.generate(latents)
    assert np.abs(images[0] - images[1]).max() > 0.05


def test_no_latents_give_no_images(generator, latents):
    assert generator.generate(latents[:0]).shape == (0, *generator.generate(latents).shape[1:])


def test_wrong_width_names_both_dimensions(generator):
    with pytest.raises(InconsistentInput, match=rf"\(n, {generator.n_latents}\).*\(2, {generator.n_latents + 1}\)"):
        generator.generate(np.zeros((2, generator.n_latents + 1), np.float32))


def test_latents_that_are_not_finite_name_the_row(generator, latents):
    latents[1, 2] = np.nan
    with pytest.raises(InconsistentInput, match="row 1"):
        generator.generate(latents)


def test_render_labels_and_rounds_in_batches(generator, latents):
    labelled = Latents(latents, ("c", "a", "b"), "made")
    images = render(generator, labelled, batch=2)
    assert images.stimuli == ("c", "a", "b")
    low, high = generator.range
    np.testing.assert_allclose(images.pixels, (generator.generate(latents) - low) / (high - low) * 255, atol=0.51)


def test_render_refuses_another_dimension():
    with pytest.raises(InconsistentInput, match=r"takes 6 latents.*'pixels' has 5"):
        render(Identity([2, 3]), Latents(np.zeros((1, 5)), ("a",), "pixels"))


def test_identity_round_trip_is_exact(rng):
    grey, colour = rng.random((2, 5, 7), dtype=np.float32), rng.random((4, 5, 7, 3), dtype=np.float32)
    assert np.array_equal(Identity([5, 7, 3]).generate(colour.reshape(4, -1)), colour)
    made = Identity([5, 7]).generate(grey.reshape(2, -1))
    assert all(np.array_equal(made[..., channel], grey) for channel in range(3))


@pytest.mark.parametrize("shape", [[5], [5, 7, 2], [0, 4], [5, -1], [5.5, 2], "57", 35, None, [True, 2], []])
def test_identity_refuses_a_shape_that_is_none(shape):
    with pytest.raises(InconsistentInput, match="Shape"):
        Identity(shape)


def ask(name: str, **changed) -> Generator:
    return make_generator(name, **{"space": "faces", "n_latents": 64, "declaration": {}, **changed})


@pytest.mark.parametrize(
    ("name", "changed", "error", "says"),
    [
        ("portrat", {}, UsageError, "Did you mean 'portrait'"),
        ("no_such_module:Cls", {}, UsageError, "no_such_module"),
        ("fractions:Fraction", {}, UsageError, "generate"),
        ("portrait", {"n_latents": 512}, InconsistentInput, "64 latents.*'faces' has 512"),
        ("portrait", {"weights": Path("w.npz")}, UsageError, "no weights"),
        ("portrait", {"device": "nonsense"}, UsageError, "nonsense"),
        ("identity", {}, InconsistentInput, "Shape"),
        ("identity", {"declaration": {"Shape": [5, 5]}}, InconsistentInput, "25 latents.*has 64"),
        ("eigenface", {}, MissingFiles, "--weights"),
        ("eigenface", {"weights": Path("nowhere.npz")}, MissingFiles, "nowhere.npz"),
    ],
)
def test_errors_say_what_is_needed(name, changed, error, says):
    with pytest.raises(error, match=says):
        ask(name, **changed)


class Plugin:
    space, n_latents, range = "mine", 64, (-1.0, 1.0)

    def generate(self, latents):
        return np.zeros((len(latents), 4, 5, 3), np.float32)


class NeedsArguments(Plugin):
    def __init__(self, size):
        self.size = size


class Undeclared:
    def generate(self, latents):
        return latents


class Misshapen(Plugin):
    def generate(self, latents):
        return np.zeros((len(latents), 3, 4, 5), np.float32)


def test_a_class_of_ones_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "own", sys.modules[__name__])
    made = ask("own:Plugin")
    assert isinstance(made, Plugin)
    zeros = Latents(np.zeros((2, 64)), ("a", "b"), "mine")
    assert render(made, zeros).pixels.tolist() == np.full((2, 4, 5, 3), 128).tolist()
    with pytest.raises(UsageError, match="without arguments"):
        ask("own:NeedsArguments")
    with pytest.raises(UsageError, match="space and no n_latents and no range"):
        ask("own:Undeclared")
    with pytest.raises(InconsistentInput, match=r"returned shape \(2, 3, 4, 5\)"):
        render(ask("own:Misshapen"), zeros)


def test_built_in_names_and_attributes():
    assert all(built_in(name) for name in GENERATORS) and not built_in("own:Plugin")
    assert set(builtin_attributes("portrait")) == {"gender", "age", "eyeglasses", "smile", "pose"}
    assert builtin_attributes("identity") is None


def test_every_error_is_for_people():
    for name in ("identity", "eigenface", "none-such"):
        with pytest.raises(HyperError):
            ask(name)


def test_import_is_light():
    code = "import sys, hyper_bids.generate as g; g.Portrait(); print({'torch', 'PIL', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
