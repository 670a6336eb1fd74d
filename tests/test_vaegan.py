"""The VAE-GAN and TensorFlow's checkpoints: what TensorFlow computed, a naive second writing, variants and damage."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import tensorflow_files as files

from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.generate.vaegan import VAEGANGenerator, prepared
from hyper_bids.protocols import Generator
from hyper_bids.weights import Weights, read_weights, sstable, tensorflow_checkpoint, write_safetensors
from hyper_bids.weights.canonical import Damaged
from hyper_bids.weights.crc32c import crc32c

VARIABLES = files.vaegan_variables()
SLOTS = {f"{name}/{slot}": array * 0 + 9 for name, array in VARIABLES.items() for slot in ("Adam", "Adam_1")}
REST = {"global_step": np.int64(7), "beta1_power": np.float32(0.9), "discriminator/W": np.ones((2, 5), np.float32)}


@pytest.fixture(scope="module")
def published(shared_data) -> Path:
    folder = shared_data.parent / "fixtures" / "vaegan"
    if not folder.is_dir():
        pytest.skip(f"weight files of the real tools not found at {folder}")
    return folder


@pytest.fixture(scope="module")
def generator(tmp_path_factory) -> VAEGANGenerator:
    path = tmp_path_factory.mktemp("vaegan") / "w.ckpt"
    files.write_v1(path, VARIABLES)
    return VAEGANGenerator.load(path)


@pytest.fixture
def latents(rng) -> np.ndarray:
    return np.tanh(rng.standard_normal((3, files.LATENTS))).astype(np.float32)


# --- what TensorFlow computed -----------------------------------------------------------------------------------------


def test_golden_outputs(published):
    golden = np.load(published / "vaegan_small_golden.npz")
    generator = VAEGANGenerator.load(published / "vaegan_small.ckpt")
    np.testing.assert_allclose(generator.network_output(golden["z"]), golden["g"], atol=1e-5)
    np.testing.assert_allclose(generator.encode(golden["x"], crop=1), golden["z_mu"], atol=1e-5)


def test_variables_are_those_of_tensorflow(published):
    expected = np.load(published / "vaegan_small_vars.npz")
    found = tensorflow_checkpoint.read(published / "vaegan_small.ckpt")
    assert set(found) == set(expected.files)
    assert all(np.array_equal(found[name], expected[name]) for name in expected.files)
    again = read_weights(published / "vaegan_small_vars.npz")
    weights = read_weights(published / "vaegan_small.ckpt")
    assert all(np.array_equal(again.arrays[name], array) for name, array in weights.arrays.items())


def test_the_full_network_has_the_published_shapes(published):
    lines = (line.rsplit("[", 1) for line in (published / "vaegan_full_vars.txt").read_text().splitlines())
    shapes = {p[0].strip(): tuple(map(int, p[1][:-1].split(","))) for p in lines if len(p) == 2 and ":" not in p[0]}
    full = {name: np.broadcast_to(np.float32(0.5), shape) for name, shape in shapes.items()}
    from hyper_bids.weights.vaegan_canonical import from_tensorflow

    weights = from_tensorflow(full)
    assert weights.arrays["generator.layer1.weight"].shape == (1024, 512, 3, 3)
    assert weights.arrays["encoder.mu.weight"].shape == (1024, 1024)
    assert weights.arrays["generator.fc.bias"].size == 16384


# --- a naive second writing -------------------------------------------------------------------------------------------


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def normed(x, variables, scope):
    ema = f"{scope}/bn/{scope}/bn/moments/Squeeze{{}}/ExponentialMovingAverage"
    mean, variance = variables[ema.format("")], variables[ema.format("_1")]
    return (x - mean) / np.sqrt(variance + 1e-6) * variables[f"{scope}/bn/gamma"] + variables[f"{scope}/bn/beta"]


def naive_decoder(z, v):
    """Pixel by pixel in TensorFlow's own order of axes: the gradient of a SAME convolution of stride 2."""
    x = elu(z @ v["generator/fc/W"] + v["generator/fc/b"]).reshape(2, 2, -1)
    for i in (1, 2, 3):
        scope = f"generator/layer{i}"
        kernel = v[f"{scope}/deconv2d/W"]
        out = np.zeros((2 * len(x) + 1, 2 * len(x) + 1, kernel.shape[2]))
        for row in range(len(x)):
            for column in range(len(x)):
                out[2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += kernel @ x[row, column]
        x = elu(normed(out[:-1, :-1] + v[f"{scope}/deconv2d/b"], v, scope))
    return x


def naive_encoder(image, v):
    x = image
    for i in (1, 2, 3):
        scope = f"encoder/layer{i}"
        padded = np.pad(x, ((0, 1), (0, 1), (0, 0)))
        half = range(len(x) // 2)
        kernel = v[f"{scope}/conv2d/W"]
        out = [[np.tensordot(padded[2 * r : 2 * r + 3, 2 * c : 2 * c + 3], kernel, 3) for c in half] for r in half]
        x = elu(normed(np.array(out) + v[f"{scope}/conv2d/b"], v, scope))
    hidden = x.reshape(-1) @ v["encoder/fc/W"] + v["encoder/fc/b"]
    return np.tanh(hidden @ v["encoder/variational/mu/W"] + v["encoder/variational/mu/b"])


def test_decoder_and_encoder_equal_a_naive_writing(generator, latents, rng):
    made = generator.network_output(latents)
    assert isinstance(generator, Generator) and made.shape == (3, 16, 16, 3)
    for z, image in zip(latents, made, strict=True):
        np.testing.assert_allclose(image, naive_decoder(z.astype(float), VARIABLES), atol=1e-5)
    pixels = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    expected = [naive_encoder(p / 255, VARIABLES) for p in pixels]
    np.testing.assert_allclose(generator.encode(pixels, crop=1), expected, atol=1e-5)


# --- containers -------------------------------------------------------------------------------------------------------

WAYS = {
    "V1": (files.write_v1, {}),
    "V1, two shards": (files.write_v1, {"shards": 2}),
    "V1, slices over three shards": (files.write_v1, {"shards": 3, "parts": 2}),
    "V1, snappy": (files.write_v1, {"snappy": True}),
    "V1, one block": (files.write_v1, {"per_block": 1000}),
    "V2": (files.write_v2, {}),
    "V2, three shards": (files.write_v2, {"shards": 3, "per_block": 2}),
    "V2, slices": (files.write_v2, {"shards": 2, "parts": 3, "snappy": True}),
    "V2, of an object": (files.write_v2, {"suffix": "/.ATTRIBUTES/VARIABLE_VALUE"}),
}


@pytest.mark.parametrize("prefix", ["", "model/vaegan/"])
@pytest.mark.parametrize("way", WAYS)
def test_every_checkpoint_gives_the_same_weights(tmp_path, generator, latents, way, prefix):
    write, options = WAYS[way]
    variables = {prefix + name: array for name, array in (VARIABLES | SLOTS | REST).items()}
    written = write(tmp_path / "model.ckpt-10", variables, **options)
    found = tensorflow_checkpoint.read(written[0])
    kept = {prefix + name for name in [*VARIABLES, "discriminator/W"]}
    assert set(found) == kept and all(np.array_equal(found[name], variables[name]) for name in kept)
    named = [written[0], *([tmp_path / "model.ckpt-10"] if way.startswith("V2") else written[1:])]
    for path in named:
        again = VAEGANGenerator.load(path)
        np.testing.assert_array_equal(again.network_output(latents), generator.network_output(latents))


def test_double_precision_and_a_network_of_another_size(tmp_path):
    variables = files.vaegan_variables(1, (3, 4), (5, 3), 6, 11, size=3, first=7)
    files.write_v1(tmp_path / "a", {name: array.astype(np.float64) for name, array in variables.items()})
    files.write_v2(tmp_path / "b", variables)
    one, two = VAEGANGenerator.load(tmp_path / "a"), VAEGANGenerator.load(tmp_path / "b")
    z = np.full((2, 11), 0.3, np.float32)
    assert one.resolution == 12 and one.network_output(z).shape == (2, 12, 12, 3)
    np.testing.assert_array_equal(one.network_output(z), two.network_output(z))
    files.write_v2(tmp_path / "c", {name: array.astype(np.float16) for name, array in variables.items()})
    np.testing.assert_allclose(VAEGANGenerator.load(tmp_path / "c").network_output(z), one.network_output(z), atol=0.05)


def test_decoder_alone_and_other_names_of_the_statistics(tmp_path, generator, latents):
    alone = {n.replace("Squeeze_1", "normalize/variance").replace("Squeeze", "normalize/mean"): a
             for n, a in VARIABLES.items() if n.startswith("generator")}  # fmt: skip
    files.write_v1(tmp_path / "w", alone)
    decoder = VAEGANGenerator.load(tmp_path / "w")
    np.testing.assert_array_equal(decoder.network_output(latents), generator.network_output(latents))
    with pytest.raises(InconsistentInput, match="no encoder"):
        decoder.encode(np.zeros((1, 16, 16, 3), np.uint8))


def test_own_file_gives_the_same_network(tmp_path, generator, latents):
    files.write_v1(tmp_path / "w", VARIABLES)
    path = write_safetensors(read_weights(tmp_path / "w"), tmp_path / "w.safetensors")
    np.testing.assert_array_equal(VAEGANGenerator.load(path).generate(latents), generator.generate(latents))
    again = pickle.loads(pickle.dumps(generator))
    np.testing.assert_array_equal(again.generate(latents), generator.generate(latents))


@pytest.mark.parametrize("length", [0, 1, 9, 4095, 70_003, (1 << 20) + 7])
def test_crc32c(length, rng):
    data = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    assert crc32c(data) == files.slow_crc32c(data)


def test_snappy():
    literal = bytes([2 << 2]) + b"abc"
    far = bytes([60 << 2, 99]) + bytes(100)
    for packed, expected in [
        (b"\x09" + literal + bytes([2 << 2 | 1, 3]), b"abcabcabc"),  # a copy that overlaps itself
        (b"\x08" + literal + bytes([4 << 2 | 2]) + struct.pack("<H", 1), b"abcccccc"),
        (b"\x05" + literal + bytes([1 << 2 | 3]) + struct.pack("<I", 3), b"abcab"),
        (b"\x64" + far, bytes(100)),
    ]:
        assert sstable.unsnapped(packed) == expected
    for broken in (b"\x09" + literal, b"\x02" + literal, b"\x08" + literal + b"\x12\x09\x00", b"\xff\xff\xff\x7fabc"):
        with pytest.raises(Damaged):
            sstable.unsnapped(broken)


# --- laws of the generator --------------------------------------------------------------------------------------------


def test_shown_images_are_divided_by_their_largest_value(generator, latents):
    shown, raw = generator.generate(latents), generator.network_output(latents)
    assert raw.min() < 0 and generator.range == (0.0, 1.0)
    for image, g in zip(shown, raw, strict=True):
        np.testing.assert_allclose(image, np.clip(g / g.max(), 0, 1), atol=1e-6)
    alone = generator.generate(latents[1:2])
    np.testing.assert_array_equal(alone[0], shown[1])


def test_activations_gradient_and_lower_resolution(generator, latents):
    z = torch.tensor(latents, requires_grad=True)
    found = generator.activations(z, ["3", "0", "1"])
    assert [tuple(x.shape[1:]) for x in found.values()] == [(3, 16, 16), (8, 2, 2), (6, 4, 4)]
    np.testing.assert_allclose(
        found["3"].detach().permute(0, 2, 3, 1).numpy(), generator.network_output(latents), atol=1e-6
    )
    (gradient,) = torch.autograd.grad(found["3"].square().sum(), z)
    step = 1e-2 * gradient / gradient.norm()
    up, down = (generator.activations((z + s).detach(), ["3"])["3"].square().sum() for s in (step, -step))
    assert float((up - down) / 2e-2) == pytest.approx(float(gradient.norm()), rel=5e-2)
    small = VAEGANGenerator(read_back(generator), resolution=4).network_output(latents)
    full = generator.network_output(latents).reshape(3, 4, 4, 4, 4, 3).mean((2, 4))
    np.testing.assert_allclose(small, full, atol=1e-6)


def read_back(generator):
    from hyper_bids.weights.vaegan_canonical import vaegan

    parts = {"generator": generator.network, "encoder": generator.encoder}
    return vaegan({f"{p}.{n}": t.numpy() for p, net in parts.items() for n, t in net.state_dict().items()}, {}, "test")


def test_the_crop_of_the_training_is_in_the_file_and_is_the_encoders(generator, tmp_path, rng):
    image = rng.integers(0, 256, (1, 40, 60, 3), dtype=np.uint8)
    arrays = read_back(generator).arrays
    assert generator.crop == 0.8
    np.testing.assert_array_equal(generator.encode(image), generator.encode(image, crop=0.8))
    path = write_safetensors(Weights("vaegan", arrays, {"crop": 0.5}), tmp_path / "w.safetensors")
    half = VAEGANGenerator.load(path)
    assert half.crop == 0.5
    np.testing.assert_array_equal(half.encode(image), generator.encode(image, crop=0.5))
    for options, says in (({"crop": 2.0}, "crop of this VAE-GAN"), ({"epsilon": 1.0}, "epsilon is no description")):
        write_safetensors(Weights("vaegan", arrays, options), path)
        with pytest.raises(InconsistentInput, match=says):
            read_weights(path)


def test_preparation_takes_the_middle_of_the_centre_square(rng):
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    same = prepared(image, 20, crop=0.5)
    np.testing.assert_allclose(same, image[10:30, 20:40] / np.float32(255), atol=1e-7)
    np.testing.assert_array_equal(prepared(image / np.float32(255), 16), prepared(image, 16))
    grey = prepared(np.full((218, 178, 3), 51, np.uint8), 128)
    assert grey.shape == (128, 128, 3) and grey.dtype == np.float32
    np.testing.assert_allclose(grey, 0.2, atol=1e-6)
    for bad, error in ((image.astype(int), InconsistentInput), (image * 1.0, InconsistentInput)):
        with pytest.raises(error):
            prepared(bad, 16)
    with pytest.raises(UsageError):
        prepared(image, 16, crop=0)


@pytest.mark.parametrize(
    ("options", "says"), [({"resolution": 5}, "divisor"), ({"dtype": "int8"}, "float32 or"), ({"device": "x"}, "'x'")]
)
def test_options_that_do_not_fit(generator, options, says):
    with pytest.raises(UsageError, match=says):
        VAEGANGenerator(read_back(generator), **options)


# --- damage -----------------------------------------------------------------------------------------------------------


def test_damage_is_named(tmp_path):
    (path,) = files.write_v1(tmp_path / "w", VARIABLES)
    content = path.read_bytes()
    for cut in (content[:-1], content[:5000], content[: len(content) // 2], content[:-100]):
        path.write_bytes(cut)
        with pytest.raises(MissingFiles, match="incomplete"):
            read_weights(path)
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 4
    path.write_bytes(flipped)
    with pytest.raises(MissingFiles, match="checksum"):
        read_weights(path)


def test_missing_and_altered_data_files(tmp_path):
    index, data = files.write_v2(tmp_path / "w", VARIABLES)
    content = bytearray(data.read_bytes())
    content[77] ^= 1
    data.write_bytes(content)
    with pytest.raises(MissingFiles, match="checksum of"):
        read_weights(index)
    content[77] ^= 1
    data.write_bytes(content[:-40])
    with pytest.raises(MissingFiles, match="cut off"):
        read_weights(index)
    data.unlink()
    with pytest.raises(MissingFiles, match=r"w\.data-00000-of-00001 is not beside it"):
        read_weights(tmp_path / "w")
    shards = files.write_v1(tmp_path / "s", VARIABLES, shards=3)
    shards[1].unlink()
    with pytest.raises(MissingFiles, match="shard s-00001-of-00003"):
        read_weights(shards[2])


def test_what_does_not_fit_is_named(tmp_path):
    for number, (change, says) in enumerate([
        ({"generator/layer2/deconv2d/W": np.zeros((3, 3, 5, 4), np.float32)}, "needs? "),
        ({"encoder/layer1/bn/gamma": np.zeros(9, np.float32)}, "width"),
        ({"generator/fc/b": np.full(32, np.inf, np.float32)}, "finite"),
        ({"generator/layer3/deconv2d/b": np.zeros((3, 1), np.float32)}, "dimensions"),
    ]):  # fmt: skip
        files.write_v1(tmp_path / str(number), VARIABLES | change)
        with pytest.raises(InconsistentInput, match=says):
            read_weights(tmp_path / str(number))
    files.write_v1(tmp_path / "d", {name: a for name, a in VARIABLES.items() if name != "generator/fc/W"})
    with pytest.raises(InconsistentInput, match="lacks generator/fc/W"):
        read_weights(tmp_path / "d")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "w"\n')
    with pytest.raises(InconsistentInput, match=r"\.index"):
        read_weights(tmp_path / "checkpoint")


def test_altered_checkpoints_give_weights_or_an_error(tmp_path):
    files.write_v1(tmp_path / "v1.ckpt", VARIABLES | SLOTS)
    files.write_v1(tmp_path / "packed.ckpt", VARIABLES, parts=2, snappy=True)
    files.write_v2(tmp_path / "v2", VARIABLES, parts=2)
    names = ["v1.ckpt", "packed.ckpt", "v2.index"]
    script = Path(__file__).with_name("fuzz_generators.py")
    command = [sys.executable, str(script), str(tmp_path), "5", "80", *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    for line in done.stdout.splitlines():
        assert int(line.split()[2]) >= 80, line
    assert len(done.stdout.splitlines()) == 3
