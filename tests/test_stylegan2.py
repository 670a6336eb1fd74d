"""StyleGAN2: what the original tools computed, a naive second writing, every published layout, and hostile files."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import pggan_files
import stylegan_files as files

from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles, UsageError
from hyper_bids.generate.stylegan2 import StyleGAN2Generator
from hyper_bids.protocols import Generator
from hyper_bids.weights import read_weights, write_safetensors
from hyper_bids.weights.stylegan2_canonical import stylegan2

ARRAYS = files.random_arrays()
OTHER = files.random_arrays(seed=99)


@pytest.fixture(scope="module")
def published(shared_data) -> Path:
    folder = shared_data.parent / "fixtures" / "stylegan"
    if not folder.is_dir():
        pytest.skip(f"weight files of the real tools not found at {folder}")
    return folder


@pytest.fixture(scope="module")
def generator() -> StyleGAN2Generator:
    return StyleGAN2Generator(stylegan2(ARRAYS, {}, "random"))


@pytest.fixture
def latents(rng) -> np.ndarray:
    return rng.standard_normal((3, files.LATENTS)).astype(np.float32)


# --- what the real tools computed -------------------------------------------------------------------------------------

ADA = "stylegan2ada_32_golden.npz"
ROSINALITY = "rosinality_32_golden.npz"
GOLDEN = [
    ("stylegan2ada_32.pkl", ADA, "image_psi1", {}),
    ("stylegan2ada_32.pkl", ADA, "image_psi0.7", {"truncation": 0.7}),
    ("stylegan2ada_32_state.npz", ADA, "image_psi0.7", {"truncation": 0.7}),
    ("stylegan2ada_32.pkl", ADA, "image_psi1", {"latent": "w"}),
    ("rosinality_converted_32.pt", ROSINALITY, "image", {}),
    ("rosinality_converted_32.pt", ROSINALITY, "image_trunc07", {"truncation": 0.7}),
    ("rosinality_converted_32.pt", ROSINALITY, "image", {"latent": "w"}),
    ("rosinality_train_32.pt", ROSINALITY, "image", {}),
    ("rosinality_old_nonoise_32_legacy.pt", ROSINALITY, "image_nonoise", {}),
]


@pytest.mark.parametrize(("name", "golden", "key", "options"), GOLDEN)
def test_golden_images(published, name, golden, key, options):
    expected = np.load(published / golden)
    generator = StyleGAN2Generator.load(published / name, **options)
    inputs = expected["w"][:, 0] if options.get("latent") == "w" else expected["z"]
    made = generator.generate(inputs)
    np.testing.assert_allclose(made.transpose(0, 3, 1, 2), expected[key], atol=1e-4)
    if not options:
        np.testing.assert_allclose(generator.styles(inputs), expected["w"][:, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("stylegan3_32.pkl", "StyleGAN3: export it to ONNX"),
        ("stylegan3_32_state.npz", "StyleGAN3: export it to ONNX"),
        ("stylegan1_tf_16.pkl", "StyleGAN1: export it to ONNX"),
    ],
)
def test_other_styles_are_named(published, name, says):
    with pytest.raises(InconsistentInput, match=says):
        StyleGAN2Generator.load(published / name)
    with pytest.raises(InconsistentInput, match="discriminator"):
        read_weights(published / "stylegan2ada_32.pkl", member="D")


# --- a naive second writing -------------------------------------------------------------------------------------------


def lrelu(x):
    return np.where(x > 0, x, 0.2 * x) * np.sqrt(2)


def convolved(x, kernel):
    out, padded = 0, np.pad(x, ((0, 0), (1, 1), (1, 1)))
    for i, j in np.ndindex(3, 3):
        window = padded[:, i : i + x.shape[1], j : j + x.shape[2]]
        out = out + np.einsum("oi,ihw->ohw", kernel[:, :, i, j], window)
    return out


def strewn(x, kernel):
    """Every pixel strews its kernel, two apart."""
    r = 2 * x.shape[1]
    out = np.zeros((len(kernel), r + 1, r + 1))
    for i, j in np.ndindex(3, 3):
        out[:, i : i + r : 2, j : j + r : 2] += np.einsum("oi,ihw->ohw", kernel[:, :, i, j], x)
    return out


def filtered(x, before, after):
    padded = np.pad(x, ((0, 0), (before, after), (before, after)))
    n = padded.shape[1] - 3
    return sum(4 * files.BLUR[i, j] * padded[:, i : i + n, j : j + n] for i, j in np.ndindex(4, 4))


def spread(x):
    out = np.zeros((len(x), 2 * x.shape[1], 2 * x.shape[2]))
    out[:, ::2, ::2] = x
    return out


def naive(z: np.ndarray, a, size: int, clamp: float = np.inf) -> np.ndarray:
    """One image with one set of modulated weights, convolutions and filters as sums over taps, in float64."""
    w = z / np.sqrt((z**2).mean() + 1e-8)
    for i in range(3):
        w = lrelu(a[f"mapping.fc{i}.weight"] @ w + a[f"mapping.fc{i}.bias"])

    def modulated(name):
        style = a[f"{name}.affine.weight"] @ w + a[f"{name}.affine.bias"]
        return a[f"{name}.weight"] * style[None, :, None, None]

    x, image = a["const"].astype(float), 0
    for r in [s for s in files.sizes(a) if s <= size]:
        for layer in ("conv0", "conv1"):
            name = f"b{r}.{layer}"
            if f"{name}.weight" not in a:
                continue
            kernel = modulated(name)
            kernel = kernel / np.sqrt((kernel**2).sum((1, 2, 3), keepdims=True) + 1e-8)
            x = filtered(strewn(x, kernel), 1, 1) if layer == "conv0" else convolved(x, kernel)
            x = np.clip(lrelu(x + a[f"{name}.noise"] + a[f"{name}.bias"][:, None, None]), -clamp, clamp)
        colours = np.einsum("oi,ihw->ohw", modulated(f"b{r}.torgb")[:, :, 0, 0], x)
        colours = np.clip(colours + a[f"b{r}.torgb.bias"][:, None, None], -clamp, clamp)
        image = colours if r == 4 else filtered(spread(image), 2, 1) + colours
    return image.transpose(1, 2, 0)


@pytest.mark.parametrize("clamp", [0.0, 0.7])
def test_images_equal_a_naive_writing(latents, clamp):
    weights = stylegan2(ARRAYS, {"conv_clamp": clamp}, "random")
    for size in (4, 8, 16):
        generator = StyleGAN2Generator(weights, resolution=size)
        assert isinstance(generator, Generator) and generator.generate(latents).shape == (3, size, size, 3)
        for z, image in zip(latents, generator.generate(latents), strict=True):
            np.testing.assert_allclose(image, naive(z.astype(float), ARRAYS, size, clamp or np.inf), atol=1e-4)


# --- layouts ----------------------------------------------------------------------------------------------------------


def trio(make):
    return tuple(make(arrays) for arrays in (OTHER, OTHER, ARRAYS))


def tf(arrays):
    return files.tensorflow_network(files.tensorflow(arrays), resolution=16, mapping_lrmul=0.01)


def ada(arrays):
    return files.snapshot(files.ada(arrays))


ROSINALITY_STATE, ROSINALITY_OTHER = (pggan_files.tensors(files.rosinality(a)) for a in (ARRAYS, OTHER))
LAYOUTS = {
    "snapshot": lambda path: files.write_pickle(path, {"G": ada(OTHER), "D": None, "G_ema": ada(ARRAYS)}),
    "snapshot, protocol 2": lambda path: files.write_pickle(path, {"G_ema": ada(ARRAYS)}, 2),
    "one network": lambda path: files.write_pickle(path, ada(ARRAYS)),
    "TensorFlow": lambda path: files.write_pickle(path, trio(tf)),
    "TensorFlow, protocol 2": lambda path: files.write_pickle(path, trio(tf), 2),
    "ADA state": lambda path: pggan_files.write_torch(path, {"G_ema": pggan_files.tensors(files.ada(ARRAYS))}),
    "rosinality": lambda path: pggan_files.write_torch(
        path, {"g": ROSINALITY_OTHER, "g_ema": ROSINALITY_STATE,
               "latent_avg": torch.from_numpy(ARRAYS["mapping.average"])}
    ),
    "rosinality, legacy, DataParallel": lambda path: pggan_files.write_torch(
        path, {"g_ema": {f"module.{n}": t for n, t in ROSINALITY_STATE.items()},
               "latent_avg": torch.from_numpy(ARRAYS["mapping.average"])[None]}, legacy=True
    ),
    "own": lambda path: write_safetensors(stylegan2(ARRAYS, {}, "random"), path),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_arrays(tmp_path, layout):
    weights = read_weights(LAYOUTS[layout](tmp_path / "w"))
    assert weights.architecture == "stylegan2" and set(weights.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_allclose(weights.arrays[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_members_clamps_labels_and_sizes(tmp_path, rng):
    tree = {"G": ada(ARRAYS), "G_ema": ada(OTHER)}
    weights = read_weights(files.write_pickle(tmp_path / "a", tree), member="G")
    np.testing.assert_allclose(weights.arrays["const"], ARRAYS["const"])
    clamped = files.snapshot(files.ada(ARRAYS), conv_clamp=256)
    assert read_weights(files.write_pickle(tmp_path / "b", {"G_ema": clamped})).options["conv_clamp"] == 256
    labelled = files.random_arrays(4, (6, 5, 4, 3), labels=2, mapping=1)
    for number, tree in enumerate(({"G_ema": ada(labelled)}, trio(lambda _: tf(labelled)))):
        path = files.write_pickle(tmp_path / f"c{number}", tree)
        with pytest.raises(UsageError, match="2 labels"):
            StyleGAN2Generator.load(path)
        generator = StyleGAN2Generator.load(path, label=[0, 1])
        z = rng.standard_normal((2, files.LATENTS))
        other = StyleGAN2Generator.load(path, label=[1, 0]).generate(z)
        assert generator.n_latents == files.LATENTS and generator.generate(z).shape == (2, 32, 32, 3)
        assert not np.allclose(generator.generate(z), other)


def test_only_the_last_colours_and_a_missing_average(latents):
    arrays = {n: a for n, a in ARRAYS.items() if "torgb" not in n or n.startswith("b16")}
    del arrays["mapping.average"]
    weights = stylegan2(arrays, {}, "random")
    full = StyleGAN2Generator(weights).generate(latents)
    small = StyleGAN2Generator(weights, resolution=4, truncation=1)
    np.testing.assert_allclose(small.generate(latents), full.reshape(3, 4, 4, 4, 4, 3).mean((2, 4)), atol=1e-5)
    one, two = (StyleGAN2Generator(weights, truncation=0.0) for _ in range(2))
    images = one.generate(latents)
    np.testing.assert_allclose(images[0], images[2], atol=1e-6)
    np.testing.assert_array_equal(images, two.generate(latents))
    assert "10000 random latents" in one.notes[-1]


# --- laws of the generator --------------------------------------------------------------------------------------------


def test_z_and_w_and_truncation(generator, latents):
    styles = generator.styles(latents)
    from_w = StyleGAN2Generator(stylegan2(ARRAYS, {}, "random"), latent="w")
    assert (from_w.n_latents, from_w.space, generator.space) == (files.STYLES, "stylegan2w", "stylegan2")
    np.testing.assert_allclose(from_w.generate(styles), generator.generate(latents), atol=1e-5)
    np.testing.assert_allclose(generator.generate(3 * latents), generator.generate(latents), atol=1e-4)
    half = StyleGAN2Generator(stylegan2(ARRAYS, {}, "random"), truncation=0.5)
    np.testing.assert_allclose(half.styles(latents), (styles + ARRAYS["mapping.average"]) / 2, atol=1e-5)


def test_activations_and_gradient(generator, latents):
    z = torch.tensor(latents, requires_grad=True)
    found = generator.activations(z, ["image", "b8.conv0", "w", "b8.rgb"])
    shapes = [tuple(x.shape[1:]) for x in found.values()]
    assert shapes == [(3, 16, 16), (6, 8, 8), (files.STYLES,), (3, 8, 8)]
    image = found["image"].detach().permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(image, generator.generate(latents), atol=1e-5)
    (gradient,) = torch.autograd.grad(found["image"].square().mean(), z)
    step = 1e-2 * gradient / gradient.norm()
    up, down = (generator.activations((z + s).detach(), ["image"])["image"].square().mean() for s in (step, -step))
    assert float((up - down) / 2e-2) == pytest.approx(float(gradient.norm()), rel=5e-2)
    with pytest.raises(UsageError, match=r"b4\.conv1"):
        generator.activations(z, ["b4.conv0"])


def test_pickling_bfloat16_and_company(generator, latents):
    again = pickle.loads(pickle.dumps(generator))
    images = generator.generate(latents)
    np.testing.assert_array_equal(again.generate(latents), images)
    np.testing.assert_array_equal(generator.generate(latents[1:2])[0], images[1])
    rough = StyleGAN2Generator(stylegan2(ARRAYS, {}, "random"), dtype="bfloat16").generate(latents)
    assert np.corrcoef(rough.ravel(), images.ravel())[0, 1] > 0.98 and not np.array_equal(rough, images)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"latent": "s"}, "z or w"), ({"truncation": -1}, "truncation"), ({"resolution": 32}, "4, 8, 16 pixels"),
        ({"dtype": "int8"}, "float32 or"), ({"label": [1]}, "takes 0"), ({"device": "x"}, "'x'"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(options, says):
    with pytest.raises(UsageError, match=says):
        StyleGAN2Generator(stylegan2(ARRAYS, {}, "random"), **options)


# --- hostile and damaged files ----------------------------------------------------------------------------------------


def test_source_code_and_nested_files_are_never_run(tmp_path):
    marker = tmp_path / "marker"
    source = f"open({str(marker)!r}, 'w')"
    path = files.write_pickle(tmp_path / "a", {"G_ema": files.snapshot(files.ada(ARRAYS), source=source)})
    assert read_weights(path).architecture == "stylegan2"
    hostile = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    hostile += pickle.dumps(files.Call(os.mkdir, str(marker)), 2)
    tensor = torch.zeros(2).__reduce_ex__(4)
    load = torch.storage._load_from_bytes

    class Nested:
        def __reduce__(self):
            return tensor[0], (files.Call(load, hostile), 0, (2,), (1,), False, {})

    meta = {"class_name": "Generator", "module_src": "", "state": {"_parameters": {"const": Nested()}, "_modules": {}}}
    path = files.write_pickle(tmp_path / "b", {"G_ema": files.Call(files.reconstruct(), meta)})
    with pytest.raises(InconsistentInput, match=r"asks for posix\.mkdir"):
        read_weights(path)
    assert not marker.exists()


def test_tensors_larger_than_their_storage_and_modules_within_themselves(tmp_path):
    tensor = torch.zeros(1).expand(1 << 20, 1 << 20)

    def network(state):
        return files.Call(files.reconstruct(), {"class_name": "Generator", "module_src": "", "state": state})

    inner = network({"_parameters": {"weight": tensor}})
    path = files.write_pickle(tmp_path / "a", {"G_ema": network({"_modules": {"synthesis": inner}})})
    with pytest.raises(MissingFiles, match="larger than its storage"):
        read_weights(path)
    module = network({"_parameters": {}})
    for _ in range(8):
        module = network({"_modules": {"a": module, "b": module}})
    with pytest.raises(HyperError):
        read_weights(files.write_pickle(tmp_path / "b", {"G_ema": module}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"synthesis.b8.conv0.weight": np.zeros((6, 7, 5, 5), np.float32)}, "shape"),
        ({"synthesis.b8.skip.weight": np.zeros((6, 7, 1, 1), np.float32)}, "skip.weight"),
        ({"synthesis.b8.resample_filter": np.eye(4, dtype=np.float32)}, "filter"),
        ({"mapping.fc1.bias": np.full(9, np.nan, np.float32)}, "finite"),
        ({"synthesis.b4.conv1.noise_const": np.zeros((4, 5), np.float32)}, "noise"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, says):
    np.savez(tmp_path / "w.npz", **(files.ada(ARRAYS) | change))
    with pytest.raises(InconsistentInput, match=says):
        read_weights(tmp_path / "w.npz")


def test_altered_files_give_weights_or_an_error(tmp_path):
    small = files.random_arrays(1, (3, 2), mapping=1)
    sources = [
        files.write_pickle(tmp_path / "ada.pkl", {"G_ema": ada(small)}),
        files.write_pickle(tmp_path / "tf.pkl", (tf(small),) * 3),
        pggan_files.write_torch(tmp_path / "r.pt", {"g_ema": pggan_files.tensors(files.rosinality(small))}),
    ]
    script = Path(__file__).with_name("fuzz_generators.py")
    command = [sys.executable, str(script), str(tmp_path), "7", "100", *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 3 and all(int(refused) >= 100 for _, _, refused in lines), done.stdout
