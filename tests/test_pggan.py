"""The PGGAN: what the original frameworks computed, a naive second writing of it, and the laws of its options."""

from __future__ import annotations

import math
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

sys.path.append(str(Path(__file__).parent))
import pggan_files as files

from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.generate.pggan import PGGANGenerator
from hyper_bids.protocols import Generator
from hyper_bids.weights import Weights
from hyper_bids.weights.pggan_canonical import pggan


@pytest.fixture(scope="module")
def published(shared_data) -> Path:
    folder = shared_data.parent / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"weight files of the real tools not found at {folder}")
    return folder


@pytest.fixture(scope="module")
def weights() -> Weights:
    return pggan(files.random_arrays(), {}, "random")


@pytest.fixture
def latents(rng) -> np.ndarray:
    return rng.standard_normal((3, files.LATENTS)).astype(np.float32)


# --- what the real tools computed -------------------------------------------------------------------------------------

MXNET = [(f"mxnet/generator_{size}{naming}.params", f"mxnet/generator_{size}_golden.npz", top, {}, 1e-4)
         for size, top in (("tiny", "layer4"), ("small", "layer6"))
         for naming in ("", "_save_params", "_collect_params")]  # fmt: skip
MXNET += [(f"mxnet/variants/generator_tiny_v{v}.params", "mxnet/generator_tiny_golden.npz", "layer4", {}, 1e-4)
          for v in (0, 1, 3)]  # fmt: skip
TENSORFLOW = [(f"tf_pggan/pggan_{name}.pkl", f"tf_pggan/pggan_{name}_golden.npz", "images", {}, 1e-4)
              for name in ("plain64", "fused64", "plain64_lod1.25")]  # fmt: skip
TORCH = [(f"torch_pggan/{name}{legacy}.pth", f"torch_pggan/{name}_golden.npz", "images", {}, 1e-4)
         for name in ("interfacegan_64", "interfacegan_64_fused", "genforce_64")
         for legacy in ("", "_legacy")]  # fmt: skip
TORCH += [(f"torch_pggan/{name}.pth", f"torch_pggan/{name}_golden.npz", f"images_lod{lod}", {"lod": float(lod)}, 1e-4)
          for name, lod in (("interfacegan_64", "2"), ("genforce_64", "1"), ("genforce_64", "1.25"),
                            ("genforce_64", "2"))]  # fmt: skip
TORCH += [(f"torch_pggan/ganzoo_64{kind}.pth", "torch_pggan/ganzoo_64_golden.npz", key, options, tolerance)
          for kind in ("", "_dictconfig", "_dictconfig_legacy", "_legacy", "_oldkeys")
          for key, options, tolerance in (("images_avgG", {}, 1e-4), ("images_netG", {"member": "netG"}, 5e-4),
                                          ("images_avgG_alpha0_3", {"lod": 0.3}, 1e-4))]  # fmt: skip


@pytest.mark.parametrize(("file", "golden", "key", "options", "tolerance"), MXNET + TENSORFLOW + TORCH)
def test_images_are_those_of_the_original_framework(published, file, golden, key, options, tolerance):
    expected = np.load(published / golden)
    generator = PGGANGenerator.load(published / file, **options)
    images = generator.generate(expected["latents"].astype(np.float32))
    np.testing.assert_allclose(images.transpose(0, 3, 1, 2), expected[key], atol=tolerance, rtol=0)
    if "u8" in expected and not options:
        levels = np.clip(np.rint(127.5 * images + 127.5), 0, 255)
        assert np.abs(levels - expected["u8"]).max() <= 1


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_every_layer_is_mxnets(published, size):
    expected = np.load(published / f"mxnet/generator_{size}_golden.npz")
    generator = PGGANGenerator.load(published / f"mxnet/generator_{size}.params")
    layers = [key.removeprefix("layer") for key in expected.files if key.startswith("layer")]
    for grad in (False, True):  # in place and not
        found = generator.activations(torch.tensor(expected["latents"], requires_grad=grad), layers)
        for layer in layers:
            np.testing.assert_allclose(found[layer].detach(), expected[f"layer{layer}"], atol=1e-4, rtol=0)


def test_source_code_in_a_pickle_is_left_alone(published):
    marker = Path("/tmp/PWNED_BY_BUILD_SRC")  # the path that the file itself would write
    existed = marker.exists()
    generator = PGGANGenerator.load(published / "tf_pggan/pggan_evil_src.pkl")
    assert generator.n_latents == 512 and marker.exists() == existed


# --- a second writing, in double precision ----------------------------------------------------------------------------


def naive(arrays, z: np.ndarray, lod: float = 0.0, dtype: torch.dtype = torch.float64) -> np.ndarray:
    """The paper's text, a step a line: returns (n, colours, size, size)."""
    a = {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}
    n = sum(name.endswith("conv0.weight") for name in arrays) + 1

    def norm(x):
        return x / torch.sqrt((x**2).mean(dim=1, keepdim=True) + 1e-8)

    def conv(x, name):
        x = functional.conv2d(x, a[f"{name}.weight"], a[f"{name}.bias"], padding="same")
        return norm(torch.where(x > 0, x, 0.2 * x))

    def up(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    x = (norm(torch.tensor(z, dtype=dtype)) @ a["dense.weight"].T + a["dense.bias"]).reshape(len(z), -1, 4, 4)
    x = conv(norm(torch.where(x > 0, x, 0.2 * x)), "conv")
    image = None
    for i in range(n):
        lod_i = n - 1 - i
        if lod >= lod_i + 1:
            image = up(image)
            continue
        x = x if i == 0 else conv(conv(up(x), f"block{i}.conv0"), f"block{i}.conv1")
        if f"torgb{i}.weight" not in a:
            continue
        rgb = functional.conv2d(x, a[f"torgb{i}.weight"], a[f"torgb{i}.bias"])
        image = rgb if lod <= lod_i else rgb + (up(image) - rgb) * (lod - lod_i)
    return image.numpy()


@pytest.mark.parametrize("lod", [0.0, 0.3, 1.0, 1.75, 3.0])
def test_every_level_of_detail_equals_the_naive_network(weights, latents, lod):
    images = PGGANGenerator(weights, lod=lod).generate(latents).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(images, naive(weights.arrays, latents, lod), atol=1e-4)


FULL = (512, 512, 512, 512, 256, 128, 64, 32, 16)


def test_full_size_hyper_file(tmp_path):
    """1024 pixels from a file of the published size: the image, and at most 1.3 GB in a fresh process."""
    arrays = files.random_arrays(1, FULL, 512)
    path = files.write_mxnet(tmp_path / "generator.params", files.mxnet_names(arrays, "child"))
    assert path.stat().st_size == 92_288_373
    code = (
        "import numpy as np\nfrom hyper_bids.generate.pggan import PGGANGenerator\n"
        f"g = PGGANGenerator.load({str(path)!r})\n"
        "z = np.random.default_rng(2).standard_normal((2, 512)).astype(np.float32)\n"
        f"np.save({str(tmp_path / 'images.npy')!r}, g.generate(z))\n"
        # not getrusage: its maximum is inherited from the process that started this one
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.3e9 / 1024
    images = np.load(tmp_path / "images.npy")
    assert images.shape == (2, 1024, 1024, 3) and images.dtype == np.float32
    z = np.random.default_rng(2).standard_normal((2, 512)).astype(np.float32)
    only_last = {name: array for name, array in arrays.items() if not name.startswith("torgb") or "torgb8" in name}
    np.testing.assert_allclose(images[0].transpose(2, 0, 1), naive(only_last, z[:1], dtype=torch.float32)[0], atol=1e-4)


# --- the laws of its options ------------------------------------------------------------------------------------------


def test_keeps_the_protocol(weights, latents):
    generator = PGGANGenerator(weights)
    assert isinstance(generator, Generator) and generator.n_latents == files.LATENTS
    before = latents.copy()
    images = generator.generate(latents)
    assert images.shape == (3, 32, 32, 3) and images.dtype == np.float32
    assert np.array_equal(before, latents) and np.array_equal(images, generator.generate(latents))
    assert generator.generate(latents[:0]).shape == (0, 32, 32, 3)


def test_an_image_depends_on_its_own_latent_only_and_not_on_its_length(weights, latents):
    generator = PGGANGenerator(weights)
    together = generator.generate(latents)
    assert np.array_equal(together[1:2], generator.generate(latents[1:2]))
    np.testing.assert_allclose(generator.generate(5 * latents), together, atol=1e-4)


def test_layers_are_numbered_as_in_the_papers():
    """HYPER 2020's layers 4, 9, 14, 19 of 19: second at 8 px, first at 64, second at 256, the RGB image."""
    arrays = files.random_arrays(0, (4, 4, 4, 4, 4, 3, 3, 2, 2), 5)
    generator = PGGANGenerator(pggan(arrays, {}, "random"))
    z = torch.zeros(1, 5) + torch.arange(5.0)
    found = generator.activations(z, ["L1", "L2", "L4", "L9", "L14", "L18", "L19", "1", "8", "9", "12"])
    sizes = {layer: (tensor.shape[1], tensor.shape[2]) for layer, tensor in found.items()}
    expected = {"L1": (4, 4), "L2": (4, 4), "L4": (4, 8), "L9": (4, 64), "L14": (3, 256), "L18": (2, 1024)}
    image = (3, 1024)
    assert sizes == expected | {"L19": image, "1": (4, 8), "8": (2, 1024), "9": image, "12": image}
    for one, other in (("L4", "1"), ("L18", "8"), ("L19", "9"), ("9", "12")):
        assert torch.equal(found[one], found[other])
    np.testing.assert_array_equal(found["L19"][0].permute(1, 2, 0), generator.generate(z.numpy())[0])


def test_layers_are_computed_no_deeper_than_asked(weights, latents, monkeypatch):
    generator = PGGANGenerator(weights)
    calls = []
    for i in (1, 2, 3):
        generator.network.get_submodule(f"block{i}.conv0").register_forward_hook(lambda *_, i=i: calls.append(i))
    generator.activations(torch.tensor(latents), ["L4", "L3"])
    assert calls == [1]
    generator.activations(torch.tensor(latents), ["L1"])
    assert calls == [1]


def test_gradient_equals_finite_differences(weights, latents):
    generator = PGGANGenerator(weights)
    generator.network.double()
    generator._type = torch.float64
    z = torch.tensor(latents[:2], dtype=torch.float64, requires_grad=True)
    for layer in ("L1", "L4", "L9", "2"):
        assert torch.autograd.gradcheck(
            lambda value, layer=layer: generator.activations(value, [layer])[layer][:, :1, ::3, ::3],
            z, eps=1e-6, atol=1e-4, fast_mode=True, nondet_tol=1e-9,
        )  # fmt: skip
    assert not any(parameter.requires_grad for parameter in generator.network.parameters())


@pytest.mark.parametrize("resolution", [4, 8, 16])
def test_a_lower_resolution_is_that_levels_own_image(weights, latents, resolution):
    """What a network at that level of detail shows, before it is enlarged."""
    small = PGGANGenerator(weights, resolution=resolution)
    grown = PGGANGenerator(weights, lod=math.log2(32 / resolution)).generate(latents)
    np.testing.assert_array_equal(small.generate(latents), grown[:, :: 32 // resolution, :: 32 // resolution])
    assert "stopped" in small.notes[-1]


def test_a_file_that_colours_only_its_last_level_is_averaged(weights, latents):
    arrays = {name: a for name, a in weights.arrays.items() if not name.startswith("torgb") or "torgb3" in name}
    last = pggan(arrays, {}, "random")
    full = PGGANGenerator(last).generate(latents)
    small = PGGANGenerator(last, resolution=8)
    np.testing.assert_allclose(small.generate(latents), full.reshape(3, 8, 4, 8, 4, 3).mean((2, 4)), atol=1e-6)
    assert "mean of 4 x 4" in small.notes[-1]
    with pytest.raises(UsageError, match="only its last"):
        PGGANGenerator(last, lod=1.0)


def test_bfloat16_is_close(weights, latents):
    images = PGGANGenerator(weights).generate(latents)
    rough = PGGANGenerator(weights, dtype="bfloat16").generate(latents)
    assert rough.dtype == np.float32 and np.corrcoef(images.ravel(), rough.ravel())[0, 1] > 0.98
    assert not np.array_equal(images, rough)


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_compiled_is_the_same_network(latents):
    small = pggan(files.random_arrays(3, (5,)), {}, "random")
    expected = PGGANGenerator(small).generate(latents)
    np.testing.assert_allclose(PGGANGenerator(small, compiled=True).generate(latents), expected, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_is_the_same_network(weights, latents):
    on_gpu = PGGANGenerator(weights, device="cuda")
    np.testing.assert_allclose(on_gpu.generate(latents), PGGANGenerator(weights).generate(latents), atol=1e-3)


def test_grey_networks_give_three_equal_colours(latents):
    grey = PGGANGenerator(pggan(files.random_arrays(2, colours=1), {}, "random")).generate(latents)
    assert grey.shape == (3, 32, 32, 3) and np.ptp(grey, axis=3).max() == 0


def test_labels_are_refused_unless_given(weights, latents):
    labelled = pggan(weights.arrays, {"n_labels": 2}, "random")
    with pytest.raises(UsageError, match="2 labels"):
        PGGANGenerator(labelled)
    generator = PGGANGenerator(labelled, label=[0.0, 1.0])
    assert generator.n_latents == files.LATENTS - 2
    joined = np.hstack([latents[:, :-2], np.tile(np.float32([0, 1]), (3, 1))])
    np.testing.assert_array_equal(generator.generate(latents[:, :-2]), PGGANGenerator(weights).generate(joined))


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({"tanh": True}, lambda image, plain: np.tanh(plain)),
        ({"leak": 0.0, "pixelnorm": False, "normalize_latents": False, "epsilon": 1e-4}, None),
    ],
)
def test_options_of_the_file_are_honoured(weights, latents, options, reference):
    images = PGGANGenerator(pggan(weights.arrays, options, "random")).generate(latents)
    if reference is not None:
        np.testing.assert_allclose(images, reference(images, PGGANGenerator(weights).generate(latents)), atol=1e-6)
        return
    a = {name: torch.tensor(array) for name, array in weights.arrays.items()}
    x = (torch.tensor(latents) @ a["dense.weight"].T + a["dense.bias"]).reshape(3, -1, 4, 4).relu()
    x = functional.conv2d(x, a["conv.weight"], a["conv.bias"], padding=1).relu()
    for i in (1, 2, 3):
        x = functional.interpolate(x, scale_factor=2)
        for k in (0, 1):
            name = f"block{i}.conv{k}"
            x = functional.conv2d(x, a[f"{name}.weight"], a[f"{name}.bias"], padding=1).relu()
    expected = functional.conv2d(x, a["torgb3.weight"], a["torgb3.bias"]).permute(0, 2, 3, 1)
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_building_draws_no_random_numbers_and_pickling_keeps_the_network(weights, latents):
    torch.manual_seed(4)
    state = torch.random.get_rng_state()
    generator = PGGANGenerator(weights)
    assert torch.equal(state, torch.random.get_rng_state())
    again = pickle.loads(pickle.dumps(generator))
    np.testing.assert_array_equal(again.generate(latents), generator.generate(latents))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"resolution": 20}, "4, 8, 16, 32 pixels, not 20"),
        ({"resolution": 64}, "not 64"),
        ({"lod": 3.5}, "from 0 to 3, not 3.5"),
        ({"lod": -1}, "not -1"),
        ({"dtype": "float16"}, "float32 or bfloat16"),
        ({"device": "abacus"}, "abacus"),
        ({"label": [1.0]}, "takes 0 finite label values"),
    ],
)
def test_options_that_do_not_fit(weights, options, says):
    with pytest.raises(UsageError, match=says):
        PGGANGenerator(weights, **options)


def test_faults_in_the_call(weights, latents):
    generator = PGGANGenerator(weights)
    with pytest.raises(InconsistentInput, match=r"\(n, 7\)"):
        generator.generate(latents[:, :5])
    with pytest.raises(InconsistentInput, match=r"\(n, 7\)"):
        generator.activations(torch.zeros(2, 8), ["L1"])
    for layer in ("L0", "L10", "-8", "conv", "", "L"):
        with pytest.raises(UsageError, match="L1 to L9"):
            generator.activations(torch.tensor(latents), [layer])
    with pytest.raises(InconsistentInput, match="are a vaegan"):
        PGGANGenerator(Weights("vaegan", weights.arrays))
