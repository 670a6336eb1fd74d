"""Generators: the contract, from names to checked objects, and the border to `Images`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
import pggan_files as files

from hyper_bids.data import Latents
from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles, UsageError
from hyper_bids.generate import (
    GENERATORS,
    NETWORKS,
    Eigenface,
    Identity,
    architecture_of,
    built_in,
    builtin_attributes,
    make_generator,
    needs_weights,
    weight_files,
)
from hyper_bids.generate.images import render
from hyper_bids.protocols import Generator

PUBLISHED = {
    "vaegan": "vaegan/vaegan_small.ckpt",
    "stylegan2": "stylegan/rosinality_converted_32.pt",
    "onnx": "plugins/hyper_small.onnx",
}
"""Files of the real tools for the networks of which no test here writes one."""


def pggan_file(folder: Path, seed: int = 5) -> Path:
    """HYPER's layout of a random PGGAN: 7 latents, 32 pixels."""
    return files.write_mxnet(folder / "w.params", files.mxnet_names(files.random_arrays(seed), "child"))


def dand_file(folder: Path) -> Path:
    """A random DAND: 5 latents, 7 features, 16 pixels."""
    rng = np.random.default_rng(5)
    shapes = {"pca.mean": (7,), "pca.components": (5, 7), "pca.scale": (5,)}
    for i, (before, width) in enumerate([(7, 6), (6, 4), (4, 3)], start=1):
        shapes |= {f"generator.layer{i}.weight": (before, width, 4, 4), f"generator.layer{i}.bias": (width,)}
    arrays = {name: 0.3 * rng.standard_normal(shape) for name, shape in shapes.items()}
    np.savez(folder / "w.npz", **arrays | {"pca.scale": np.ones(5)})
    return folder / "w.npz"


def network_file(name: str, folder: Path, request) -> Path:
    if name in ("pggan", "dand"):
        return {"pggan": pggan_file, "dand": dand_file}[name](folder)
    published = request.getfixturevalue("shared_data").parent / "fixtures" / PUBLISHED[name]
    if not published.is_file():
        pytest.skip(f"weight files of the real tools not found: {published}")
    return published


def make(name: str, folder: Path, request) -> Generator:
    """Each built-in in a small size, through the same door as the app."""
    if name in NETWORKS:
        return make_generator(name, space="made", n_latents=None, weights=network_file(name, folder, request))
    if name == "eigenface":
        faces = np.random.default_rng(3).integers(0, 256, (9, 13, 13, 3), dtype=np.uint8)
        weights = Eigenface.fit(faces, 5, size=13).save(folder / "weights.npz")
        return make_generator(name, space="pcs", n_latents=5, declaration={"Name": name}, weights=weights)
    n_latents, declaration = {"portrait": (64, {}), "identity": (7 * 11, {"Shape": [7, 11]})}[name]
    return make_generator(name, space="made", n_latents=n_latents, declaration={"Name": name, **declaration})


@pytest.fixture(params=GENERATORS)
def generator(request, tmp_path) -> Generator:
    return make(request.param, tmp_path, request)


@pytest.fixture
def is_network(generator) -> bool:
    """Their declared range is nominal: single pixels may lie outside, and are clipped at the border."""
    return isinstance(generator, tuple(network.cls for network in NETWORKS.values()))


@pytest.fixture
def latents(generator, rng) -> np.ndarray:
    return rng.standard_normal((3, generator.n_latents)).astype(np.float32)


def test_keeps_the_protocol(generator):
    assert isinstance(generator, Generator)
    assert generator.range[0] < generator.range[1]


def test_images_are_finite_float32_in_range(generator, latents, is_network):
    before = latents.copy()
    images = generator.generate(latents)
    assert images.dtype == np.float32
    assert images.ndim == 4 and images.shape[0] == 3 and images.shape[3] == 3
    assert np.isfinite(images).all()
    assert is_network or (images.min() >= generator.range[0] and images.max() <= generator.range[1])
    assert np.array_equal(latents, before)


def test_extreme_latents_stay_finite_and_in_range(generator, is_network):
    extremes = np.stack([np.full(generator.n_latents, value, np.float32) for value in (-30.0, 0.0, 30.0)])
    images = generator.generate(extremes)
    assert np.isfinite(images).all()
    assert is_network or (images.min() >= generator.range[0] and images.max() <= generator.range[1])


def test_each_latent_alone_gives_what_it_gives_in_a_batch(generator, latents, is_network):
    together = generator.generate(latents)
    alone = np.concatenate([generator.generate(row[None]) for row in latents])
    np.testing.assert_allclose(alone, together, atol=1e-4 if is_network else 2e-6)


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
    drawn = np.clip(generator.generate(latents), low, high)
    np.testing.assert_allclose(images.pixels, (drawn - low) / (high - low) * 255, atol=0.51)


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
        ("pggan", {}, MissingFiles, "--weights.*models list"),
        ("pggan", {"weights": Path("nowhere.pkl")}, MissingFiles, "nowhere.pkl"),
        ("file", {}, MissingFiles, "--weights"),
        ("file", {"weights": Path("nowhere.pkl")}, MissingFiles, "nowhere.pkl"),
        ("portrait", {"resolution": 32}, UsageError, "no --resolution.*pggan"),
        ("identity", {"precision": "bfloat16"}, UsageError, "no --precision"),
        ("portrait", {"truncation": 0.5}, UsageError, "no --truncation"),
    ],
)
def test_errors_say_what_is_needed(name, changed, error, says):
    with pytest.raises(error, match=says):
        ask(name, **changed)


class Plugin:
    space, n_latents, range = "mine", 64, (-1.0, 1.0)

    def generate(self, latents):
        return np.zeros((len(latents), 4, 5, 3), np.float32)


class Loadable(Plugin):
    def __init__(self, path=None):
        self.path = path

    @classmethod
    def load(cls, path):
        return cls(path)


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
    assert ask("own:Loadable", weights=Path("w")).path == Path("w")
    with pytest.raises(UsageError, match=r"no load\(path\)"):
        ask("own:Plugin", weights=Path("w"))
    with pytest.raises(UsageError, match="without arguments"):
        ask("own:NeedsArguments")
    with pytest.raises(UsageError, match="space and no n_latents and no range"):
        ask("own:Undeclared")
    with pytest.raises(InconsistentInput, match=r"returned shape \(1, 3, 4, 5\)"):
        render(ask("own:Misshapen"), zeros)


def test_a_weight_file_says_by_its_content_which_generator_it_is(tmp_path, rng):
    path = pggan_file(tmp_path)
    z = rng.standard_normal((2, 7))
    named, by_content, by_name = (
        make_generator(name, space="z", n_latents=7, weights=weights).generate(z)
        for name, weights in (("pggan", path), ("file", path), (str(path), None))
    )
    assert np.array_equal(named, by_content) and np.array_equal(named, by_name)
    faces = np.random.default_rng(3).integers(0, 256, (9, 13, 13, 3), dtype=np.uint8)
    assert architecture_of(Eigenface.fit(faces, 5, size=13).save(tmp_path / "pca")) == "eigenface"
    with pytest.raises(UsageError, match="leave out"):
        make_generator(str(path), space="z", n_latents=7, weights=path)
    with pytest.raises(InconsistentInput, match=r"takes 7 latents.*'z' has 8"):
        make_generator("file", space="z", n_latents=8, weights=path)


def test_a_file_that_changes_is_recognised_anew(tmp_path):
    path = pggan_file(tmp_path)
    assert architecture_of(path) == "pggan"
    path.write_bytes(b"another thing altogether")
    with pytest.raises(InconsistentInput, match="no format known"):
        architecture_of(path)


def test_options_reach_the_network(tmp_path, rng):
    path, z = pggan_file(tmp_path), rng.standard_normal((1, 7))
    whole = make_generator("pggan", space="z", n_latents=7, weights=path).generate(z)
    halved = make_generator("pggan", space="z", n_latents=7, weights=path, resolution=16).generate(z)
    np.testing.assert_allclose(halved, whole.reshape(1, 16, 2, 16, 2, 3).mean(axis=(2, 4)), atol=1e-5)
    rough = make_generator("pggan", space="z", n_latents=7, weights=path, precision="bfloat16").generate(z)
    assert 1e-5 < np.median(np.abs(rough - whole)) < 0.1  # the mean could not say: pixel norm of 3 channels amplifies


def test_what_a_path_of_weights_stands_for(tmp_path):
    for name in ("m.ckpt.index", "m.ckpt.data-00000-of-00002", "m.ckpt.data-00001-of-00002", "other.data-0", "a.onnx"):
        (tmp_path / name).write_bytes(b"x")
    shards = sorted(tmp_path.glob("m.ckpt.*"))
    assert weight_files(tmp_path / "m.ckpt") == shards == weight_files(tmp_path / "m.ckpt.index")
    assert weight_files(tmp_path / "a.onnx") == [tmp_path / "a.onnx"] and weight_files(tmp_path / "none") == []
    assert len(weight_files(tmp_path)) == 5


def test_built_in_names_and_attributes():
    assert all(built_in(name) for name in GENERATORS) and not built_in("own:Plugin")
    assert set(builtin_attributes("portrait")) == {"gender", "age", "eyeglasses", "smile", "pose"}
    assert builtin_attributes("identity") is None
    assert [name for name in GENERATORS if not needs_weights(name)] == ["portrait", "identity"]


def test_every_error_is_for_people():
    for name in ("identity", "eigenface", "pggan", "file", "none-such"):
        with pytest.raises(HyperError):
            ask(name)


def test_import_is_light():
    code = "import sys, hyper_bids.generate as g; g.Portrait(); print({'torch', 'PIL', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
