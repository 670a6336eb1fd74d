"""Pictures from a folder: their order, how they are prepared once, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_runs import Toy, single_thread, write_folder

from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.generate.training import image_folder, latent_space
from hyper_bids.generate.training.image_folder import digest_of, full_size, image_files, read_pictures, split
from hyper_bids.generate.training.latent_space import features_of


@pytest.fixture(autouse=True)
def one_thread():
    with single_thread():
        yield


@pytest.fixture
def folder(tmp_path, rng) -> Path:
    return write_folder(tmp_path, rng)


def test_pictures_of_any_size_in_an_order_that_never_changes(folder, tmp_path):
    found = read_pictures(folder, 16, tmp_path / "cache")
    assert found.names == ("a.JPG", "b.png", "d.webp", "sub/c.png")
    assert found.pixels.shape == (4, 16, 16, 3) and isinstance(found.pixels, np.memmap)
    np.testing.assert_array_equal(found.pixels[3], np.asarray(Image.open(folder / "sub/c.png")))
    half = read_pictures(folder, 20, tmp_path / "half", crop=0.5)
    np.testing.assert_array_equal(half.pixels[1], np.asarray(Image.open(folder / "b.png"))[10:30, 20:40])
    sizes = [pixels.shape for pixels in full_size(found.paths, 1.0)]
    assert sizes == [(1, 20, 20, 3), (1, 40, 40, 3), (1, 64, 64, 3), (1, 16, 16, 3)]
    np.testing.assert_array_equal(next(full_size(found.paths[1:], 0.5))[0], half.pixels[1])


def test_pictures_are_prepared_once_unless_they_change(folder, tmp_path):
    lines: list[str] = []
    first = read_pictures(folder, 16, tmp_path / "cache", say=lines.append)
    again = read_pictures(folder, 16, tmp_path / "cache", say=lines.append)
    assert len(lines) == 1 and first.digest == again.digest == digest_of(image_files(folder))
    content = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes((folder / "sub/c.png").read_bytes())
    changed = read_pictures(folder, 16, tmp_path / "cache", say=lines.append)
    np.testing.assert_array_equal(changed.pixels[1], changed.pixels[3])
    assert len(lines) == 2 and changed.digest != first.digest
    (folder / "b.png").write_bytes(content)
    (tmp_path / "cache" / "pictures.u8").write_bytes(b"cut off")
    np.testing.assert_array_equal(read_pictures(folder, 16, tmp_path / "cache").pixels, np.array(again.pixels))


def test_a_job_killed_between_data_and_their_description_leaves_no_false_cache(folder, tmp_path, monkeypatch):
    pictures = read_pictures(folder, 16, tmp_path / "cache")
    expected = np.array(pictures.pixels)
    where = tmp_path / "features.f32"
    features = np.array(features_of(pictures.paths, pictures.digest, Toy(), where))

    def killed(value: object) -> str:
        raise KeyboardInterrupt

    for module in (image_folder, latent_space):
        monkeypatch.setattr(module.json, "dumps", killed)
    with pytest.raises(KeyboardInterrupt):
        read_pictures(folder, 16, tmp_path / "cache", crop=0.5)
    with pytest.raises(KeyboardInterrupt):
        features_of(pictures.paths, pictures.digest, Toy(), where, crop=0.5)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_pictures(folder, 16, tmp_path / "cache").pixels, expected)
    np.testing.assert_array_equal(features_of(pictures.paths, pictures.digest, Toy(), where), features)


def test_files_that_are_no_images_are_named_or_left_out(folder, tmp_path):
    (folder / "broken.png").write_bytes((folder / "b.png").read_bytes()[:100])
    (folder / "text.jpg").write_text("no picture")
    with pytest.raises(MissingFiles, match=r"2 of 6 files.*broken\.png, text\.jpg.*--skip-bad-images"):
        read_pictures(folder, 16, tmp_path / "cache")
    lines: list[str] = []
    found = read_pictures(folder, 16, tmp_path / "cache", skip_bad=True, say=lines.append)
    assert found.names == ("a.JPG", "b.png", "d.webp", "sub/c.png") and len(found.pixels) == 4
    assert lines == ["left out 2 files that are no images: broken.png, text.jpg"]
    np.testing.assert_array_equal(found.pixels[3], np.asarray(Image.open(folder / "sub/c.png")))


def test_folders_that_hold_too_little(tmp_path):
    with pytest.raises(MissingFiles, match="is no folder"):
        image_files(tmp_path / "nowhere")
    with pytest.raises(MissingFiles, match="No image"):
        image_files(tmp_path)
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(InconsistentInput, match="None of the 1 files"):
        read_pictures(tmp_path, 16, tmp_path / "cache", skip_bad=True)
    with pytest.raises(InconsistentInput, match="--held-out"):
        split(5, 4, 0)
