"""Eigenfaces: the same numbers as scikit-learn's PCA and as a plain SVD; files that survive, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from hyper_bids.errors import InconsistentInput, MissingFiles, OutputNotWritable
from hyper_bids.generate import make_generator
from hyper_bids.generate.eigenface import Eigenface


def soft_images(n: int, size: int, seed: int = 0) -> np.ndarray:
    """Float images well inside 0 to 1, so that nothing is clipped."""
    return 0.5 + 0.04 * np.random.default_rng(seed).standard_normal((n, size, size, 3)).clip(-4, 4)


@pytest.mark.parametrize(("n", "size"), [(9, 7), (60, 4)], ids=["fewer images than pixels", "more"])
def test_is_the_pca_of_scikit_learn(n, size):
    images = soft_images(n, size)
    flat = images.reshape(n, -1)
    ours, theirs = Eigenface.fit(images, 5, size=size), PCA(5, svd_solver="full").fit(flat)
    components = ours.components.reshape(5, -1)
    signs = np.sign((components * theirs.components_).sum(axis=1))
    np.testing.assert_allclose(components, signs[:, None] * theirs.components_, atol=1e-5)
    np.testing.assert_allclose(ours.scale**2, theirs.explained_variance_, rtol=1e-5)
    scores = theirs.transform(flat)
    np.testing.assert_allclose(ours.encode(images) * ours.scale, signs * scores, atol=1e-5)
    expected = theirs.inverse_transform(scores).reshape(images.shape)
    np.testing.assert_allclose(ours.generate(ours.encode(images)), expected, atol=1e-5)


def test_is_the_plain_svd():
    images = soft_images(8, 5)
    flat = images.reshape(8, -1) - images.reshape(8, -1).mean(axis=0)
    left, values, _ = np.linalg.svd(flat, full_matrices=False)
    ours = Eigenface.fit(images, 4, size=5)
    np.testing.assert_allclose(ours.scale, values[:4] / np.sqrt(7), rtol=1e-5)
    np.testing.assert_allclose(np.abs(ours.encode(images)), np.abs(left[:, :4]) * np.sqrt(7), atol=1e-4)


def test_training_latents_have_unit_variance_and_all_components_give_the_images_back():
    images = soft_images(10, 6)
    model = Eigenface.fit(images, 99, size=6)
    assert model.n_latents == 9  # at most n - 1
    latents = model.encode(images)
    np.testing.assert_allclose(latents.var(axis=0, ddof=1), 1.0, rtol=1e-4)
    np.testing.assert_allclose(model.generate(latents), images, atol=1e-5)


def test_signs_are_fixed_and_the_order_of_images_does_not_matter():
    images = soft_images(10, 6)
    one, other = Eigenface.fit(images, 4, size=6), Eigenface.fit(images[::-1], 4, size=6)
    np.testing.assert_allclose(one.components, other.components, atol=1e-5)
    flat = one.components.reshape(4, -1)
    assert (flat[np.arange(4), np.abs(flat).argmax(axis=1)] > 0).all()


def test_uint8_and_float_are_the_same_images():
    images = np.random.default_rng(1).integers(0, 256, (6, 5, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        Eigenface.fit(images, 3, size=5).components, Eigenface.fit(images / 255.0, 3, size=5).components
    )


def test_the_centre_square_is_scaled():
    images = soft_images(5, 12)
    wide = np.concatenate([np.ones((5, 12, 3, 3)), images, np.zeros((5, 12, 3, 3))], axis=2)
    np.testing.assert_allclose(Eigenface.fit(wide, 3, size=6).mean, Eigenface.fit(images, 3, size=6).mean, atol=1e-7)


def test_images_that_are_all_the_same_twice_count_once():
    images = np.repeat(soft_images(4, 5), 2, axis=0)
    assert Eigenface.fit(images, 7, size=5).n_latents == 3
    with pytest.raises(InconsistentInput, match="differ"):
        Eigenface.fit(np.full((3, 5, 5, 3), 0.5), 2, size=5)


@pytest.mark.parametrize(
    "images",
    [np.zeros((3, 4, 4)), np.zeros((3, 4, 4, 4)), np.full((3, 4, 4, 3), 2.0), np.zeros((1, 4, 4, 3)),
     np.zeros((3, 4, 4, 3), np.int64), np.full((3, 4, 4, 3), np.nan)],
)  # fmt: skip
def test_what_is_no_set_of_images_is_refused(images):
    with pytest.raises(InconsistentInput, match="Eigenface"):
        Eigenface.fit(images, 2, size=4)


def test_save_and_load_round_trip_with_the_same_bytes(tmp_path, rng):
    model = Eigenface.fit(soft_images(9, 7), 5, size=7)
    path = model.save(tmp_path / "model.npz")
    again = Eigenface.load(path)
    latents = rng.standard_normal((3, 5))
    np.testing.assert_array_equal(again.generate(latents), model.generate(latents))
    assert again.save(tmp_path / "again.npz").read_bytes() == path.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again.npz", "model.npz"]


def stored(**changed) -> dict:
    parts = {"format": "hyper-eigenface-1", "mean": np.zeros((4, 4, 3)), "components": np.ones((2, 4, 4, 3)),
             "scale": np.ones(2)}  # fmt: skip
    return {**parts, **changed}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"format": "another"}, MissingFiles),
        ({"components": np.ones((2, 4, 5, 3))}, InconsistentInput),
        ({"scale": np.ones(3)}, InconsistentInput),
        ({"scale": np.array([1.0, np.nan])}, InconsistentInput),
        ({"scale": np.array([1.0, 0.0])}, InconsistentInput),
        ({"mean": np.full((4, 4, 3), np.inf)}, InconsistentInput),
        ({"mean": np.array(["a"])}, InconsistentInput),
        ({"mean": np.array([{"code": "object"}], dtype=object)}, MissingFiles),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changed, error):
    path = tmp_path / "bad.npz"
    np.savez(path, **stored(**changed))
    with pytest.raises(error, match=r"bad\.npz"):
        Eigenface.load(path)


def test_a_broken_file_is_refused(tmp_path):
    whole = Eigenface.fit(soft_images(9, 7), 5, size=7).save(tmp_path / "model.npz").read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for name, content in {"cut": whole[:middle], "empty": b"", "text": b"no archive", "flipped": flipped}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MissingFiles, match=name):
            Eigenface.load(tmp_path / name)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(MissingFiles, match=r"array\.npy"):
        Eigenface.load(tmp_path / "array.npy")


def test_a_folder_is_made_and_a_file_is_no_folder(tmp_path):
    model = Eigenface.fit(soft_images(4, 5), 2, size=5)
    saved = model.save(tmp_path / "new" / "model.npz")
    assert Eigenface.load(saved).n_latents == 2
    with pytest.raises(OutputNotWritable, match=r"another\.npz"):
        model.save(saved / "another.npz")


def test_a_folder_of_images_becomes_a_generator(tmp_path):
    images = np.random.default_rng(4).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"face-{i}.png")
    (tmp_path / "stimuli.tsv").write_text("no image")
    made = make_generator("eigenface", space="pcs", n_latents=4, declaration={}, weights=tmp_path)
    np.testing.assert_array_equal(made.components, Eigenface.fit(images, 4).components)
    with pytest.raises(InconsistentInput, match=r"takes 5 latents.*'pcs' has 50"):
        make_generator("eigenface", space="pcs", n_latents=50, declaration={}, weights=tmp_path)
    (tmp_path / "face-9.jpg").write_text("no image")
    with pytest.raises(MissingFiles, match=r"face-9\.jpg"):
        Eigenface.from_folder(tmp_path, 4)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(MissingFiles, match="no image"):
        Eigenface.from_folder(tmp_path, 4)
