"""Image files: every kind becomes uint8 RGB, what is no image says so, and a PNG is its pixels alone."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hyper_bids.errors import InconsistentInput, MissingFiles, OutputNotWritable
from hyper_bids.generate.images import read_image, write_png


@pytest.fixture
def pixels(rng) -> np.ndarray:
    return rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_png_round_trip_with_the_same_bytes(tmp_path, pixels):
    one, other = write_png(tmp_path / "a.png", pixels), write_png(tmp_path / "b.png", pixels)
    np.testing.assert_array_equal(read_image(one), pixels)
    assert one.read_bytes() == other.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_png_can_be_written_over(tmp_path, pixels):
    write_png(tmp_path / "a.png", pixels)
    write_png(tmp_path / "a.png", 255 - pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), 255 - pixels)


@pytest.mark.parametrize("wrong", [np.zeros((5, 7, 3)), np.zeros((5, 7), np.uint8), np.zeros((5, 7, 4), np.uint8)])
def test_only_uint8_rgb_is_written(tmp_path, wrong):
    with pytest.raises(InconsistentInput, match="uint8"):
        write_png(tmp_path / "a.png", wrong)


def test_a_file_in_the_place_of_a_folder_says_so(tmp_path, pixels):
    (tmp_path / "nowhere").write_text("")
    with pytest.raises(OutputNotWritable, match="nowhere"):
        write_png(tmp_path / "nowhere" / "a.png", pixels)


def test_grey_palette_bilevel_and_cmyk_become_rgb(tmp_path, pixels):
    for mode in ("L", "P", "1", "CMYK"):
        source = Image.fromarray(pixels).convert(mode)
        path = tmp_path / f"{mode}.tif"
        source.save(path)
        np.testing.assert_array_equal(read_image(path), np.asarray(source.convert("RGB")))


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path):
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png")[0, :, 1].tolist() == [0, 1, 128, 255]


def test_transparency_is_laid_over_white(tmp_path):
    clear = np.zeros((1, 3, 4), np.uint8)
    clear[0, :, 3] = [0, 255, 51]
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png")[0, :, 0].tolist() == [255, 0, 204]


def test_a_photograph_is_turned_as_its_orientation_says(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.png"), np.rot90(pixels, -1))


def bomb(width: int) -> bytes:
    """A PNG of a few bytes that claims ``width`` x ``width`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("width", [8_100, 10_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, width):
    (tmp_path / "bomb.png").write_bytes(bomb(width))
    with pytest.raises(MissingFiles, match=r"bomb\.png.*pixels"):
        read_image(tmp_path / "bomb.png")


def test_what_is_no_image_is_named(tmp_path, pixels):
    whole = write_png(tmp_path / "whole.png", pixels).read_bytes()
    for name, content in {"text.png": b"no image", "empty.png": b"", "cut.png": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MissingFiles, match=rf"{name} is no image"):
            read_image(tmp_path / name)
    with pytest.raises(MissingFiles, match="datalad get"):
        read_image(tmp_path / "absent.png")
