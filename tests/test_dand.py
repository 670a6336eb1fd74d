"""DAND's networks: naive second writings, foreign libraries, the file, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from sklearn.decomposition import PCA
from torch.nn import functional

from bids_app.tools import main as tools
from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.generate import DANDGenerator, VAEGANGenerator, make_generator
from hyper_bids.generate.dand_network import Discriminator, TrainableGenerator
from hyper_bids.generate.training.dand_training import widths_of
from hyper_bids.protocols import Generator
from hyper_bids.weights import Weights, read_weights, write_safetensors
from hyper_bids.weights.dand_canonical import dand

K, F, WIDTHS = 5, 7, (6, 4)
OF = {"features": "vggface", "features_layer": "fc6", "features_sha256": "ab" * 32}


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trainable(widths=WIDTHS, n_features=F, n_latents=K) -> TrainableGenerator:
    """A generator whose batch norms have seen something."""
    draw = drawn(1)
    parts = (torch.randn(n_features, generator=draw), torch.randn(n_latents, n_features, generator=draw),
             torch.rand(n_latents, generator=draw) + 0.5)  # fmt: skip
    network = TrainableGenerator(*parts, widths, draw)
    for layer in network.layers:
        layer.weight.data *= 20  # at their initial size of 0.01 the images would be grey
        layer.bias.data.normal_(0, 0.1, generator=draw)
    for norm in network.norms:
        norm.running_mean.normal_(generator=draw)
        norm.running_var.uniform_(0.5, 2, generator=draw)
        norm.bias.data.normal_(generator=draw)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> TrainableGenerator:
    return trainable()


@pytest.fixture(scope="module")
def path(tmp_path_factory, network):
    weights = Weights("dand", network.canonical(), OF, "test", ("a note",))
    return write_safetensors(weights, tmp_path_factory.mktemp("dand") / "w.safetensors")


@pytest.fixture
def latents(rng) -> np.ndarray:
    return rng.standard_normal((3, K)).astype(np.float32)


def naive_transposed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Every pixel lays its kernel onto the output, ``(in, h, w)`` -> ``(out, h', w')``; then the rim is cut off."""
    size = (x.shape[1] - 1) * stride + 4
    out = np.zeros((weight.shape[1], size, size))
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            kernel = np.tensordot(x[:, row, column], weight, 1)
            out[:, row * stride : row * stride + 4, column * stride : column * stride + 4] += kernel
    return out[:, padding : size - padding, padding : size - padding] + bias[:, None, None]


def naive_image(z: np.ndarray, network: TrainableGenerator) -> np.ndarray:
    state = {name: value.double().numpy() for name, value in network.state_dict().items()}
    x = (state["pca.mean"] + (z * state["pca.scale"]) @ state["pca.components"])[:, None, None]
    for i in range(3):
        step = (1, 0) if i == 0 else (2, 1)
        x = naive_transposed(x, state[f"layers.{i}.weight"], state[f"layers.{i}.bias"], *step)
        if i < 2:
            mean, variance, gain, shift = (
                state[f"norms.{i}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
            )
            x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * gain + shift, 0)
    return np.tanh(x).transpose(1, 2, 0)


def test_generator_equals_a_naive_writing_with_its_own_batch_norm(path, network, latents):
    generator = DANDGenerator.load(path)
    made = generator.generate(latents)
    assert isinstance(generator, Generator) and made.shape == (3, 16, 16, 3) and made.dtype == np.float32
    assert made.std() > 0.1 and generator.range == (-1.0, 1.0)
    for z, image in zip(latents, made, strict=True):
        np.testing.assert_allclose(image, naive_image(z.astype(float), network), atol=1e-5)
    with torch.no_grad():
        trained = network(torch.from_numpy(latents)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(made, trained, atol=1e-5)


def test_the_first_layer_is_scikit_learns_inverse_pca(rng, network):
    features = rng.standard_normal((20, F))
    theirs = PCA(K).fit(features)
    scale = np.sqrt(theirs.explained_variance_)
    arrays = network.canonical() | {"pca.mean": theirs.mean_, "pca.components": theirs.components_, "pca.scale": scale}
    generator = DANDGenerator(dand(arrays, {}, "test"))
    scores = theirs.transform(features)
    found = generator.activations(torch.from_numpy((scores / scale).astype(np.float32)), ["0"])["0"]
    np.testing.assert_allclose(found[:, :, 0, 0].numpy(), theirs.inverse_transform(scores), atol=1e-4)


def test_discriminator_equals_a_naive_writing():
    network = Discriminator((4, 6), drawn(2)).double()
    for layer in network.layers:
        layer.weight.data *= 20
        layer.bias.data.normal_(generator=drawn(4))
    images = torch.randn(5, 3, 16, 16, generator=drawn(3), dtype=torch.float64)
    state = {name: value.numpy() for name, value in network.state_dict().items()}

    def convolved(x, name, step):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        pad = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))) if step == 2 else x
        full = [[sum(convolve2d(c, k[::-1, ::-1], "valid") for c, k in zip(image, kernels, strict=True))
                 for kernels in weight] for image in pad]  # fmt: skip
        return np.array(full)[:, :, ::step, ::step] + bias[:, None, None]

    x = convolved(images.numpy(), "layers.0", 2)
    x = convolved(np.where(x > 0, x, 0.2 * x), "layers.1", 2)
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)  # in training: the batch's own
    x = (x - mean) / np.sqrt(variance + 1e-5) * state["norms.0.weight"][:, None, None]
    expected = convolved(np.where(x > 0, x, 0.2 * x), "layers.2", 1).ravel()
    np.testing.assert_allclose(network(images).detach().numpy(), expected, rtol=1e-8)


def test_the_papers_networks_have_the_papers_shapes():
    assert widths_of(64, 64) == (512, 256, 128, 64)
    with torch.device("meta"):
        generator = TrainableGenerator(torch.empty(4096), torch.empty(699, 4096), torch.empty(699), (8,), None)
    assert generator(torch.empty(2, 699, device="meta")).shape == (2, 3, 8, 8)
    draw = drawn()
    full = TrainableGenerator(torch.zeros(40), torch.zeros(9, 40), torch.ones(9), widths_of(64, 64), draw)
    found = full.train()(torch.randn(2, 9))
    assert found.shape == (2, 3, 64, 64)
    shapes = [tuple(layer.weight.shape) for layer in full.layers]
    assert shapes == [(40, 512, 4, 4), (512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    rival = Discriminator(widths_of(64, 64)[::-1], draw)
    assert [layer.weight.shape[0] for layer in rival.layers] == [64, 128, 256, 512, 1] and rival(found).shape == (2,)
    for module in (*full.layers, *rival.layers):  # fan-in plays no part: N(0, 0.01)
        assert float(module.weight.detach().std()) == pytest.approx(0.01, rel=0.1) and not module.bias.any()
        assert abs(float(module.weight.detach().mean())) < 1e-3
    scales = torch.cat([norm.weight.detach() for norm in (*full.norms, *rival.norms)])
    assert float(scales.mean()) == pytest.approx(1, abs=5e-3) and float(scales.std()) == pytest.approx(0.02, rel=0.2)


def test_activations_gradient_and_lower_resolution(path, latents):
    generator = DANDGenerator.load(path)
    z = torch.tensor(latents, requires_grad=True)
    found = generator.activations(z, ["3", "1", "2"])
    assert [tuple(x.shape[1:]) for x in found.values()] == [(3, 16, 16), (6, 4, 4), (4, 8, 8)]
    for before, after, number in (("1", "2", 2), ("2", "3", 3)):
        layer = generator.network.layers[number - 1]
        onward = functional.conv_transpose2d(found[before], layer.weight, layer.bias, stride=2, padding=1)
        torch.testing.assert_close(torch.tanh(onward) if number == 3 else onward.clamp(min=0), found[after])
    (gradient,) = torch.autograd.grad(found["3"].sum(), z)
    step = 1e-2 * gradient / gradient.norm()
    up, down = (generator.activations((z + s).detach(), ["3"])["3"].sum() for s in (step, -step))
    assert float((up - down) / 2e-2) == pytest.approx(float(gradient.norm()), rel=5e-2)
    whole = generator.generate(latents)
    small = DANDGenerator.load(path, resolution=4).generate(latents)
    np.testing.assert_allclose(small, whole.reshape(3, 4, 4, 4, 4, 3).mean((2, 4)), atol=1e-6)
    np.testing.assert_array_equal(generator.generate(latents[1:2])[0], whole[1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(generator)).generate(latents), whole)


def test_the_file_says_which_features_and_is_found_by_content(path, tmp_path, latents):
    weights = read_weights(path)
    assert weights.architecture == "dand" and dict(weights.options) == OF
    assert {"pca.mean", "pca.components", "pca.scale"} < set(weights.arrays)
    generator = make_generator("file", space="mine", n_latents=K, weights=path)
    assert isinstance(generator, DANDGenerator) and "vggface fc6" in " ".join(generator.notes)
    plain = tmp_path / "plain.npz"
    np.savez(plain, **weights.arrays)
    np.testing.assert_array_equal(DANDGenerator.load(plain).generate(latents), generator.generate(latents))
    np.save(tmp_path / "z.npy", latents)
    for words in (["dand", "--weights", str(path)], [str(path)]):
        out = tmp_path / words[0].replace("/", "_")[-20:]
        command = ["generate", "--generator", *words, "--latents", str(tmp_path / "z.npy"), "--out", str(out)]
        assert tools([*command, "--layer", "1"]) == 0
        np.testing.assert_array_equal(np.load(out / "images.npy"), generator.generate(latents))
        assert np.load(out / "activations.npy").shape == (3, 6, 4, 4)


@pytest.mark.parametrize(
    ("options", "says"), [({"resolution": 5}, "divisor"), ({"dtype": "int8"}, "float32 or"), ({"device": "x"}, "'x'")]
)
def test_options_that_do_not_fit(path, options, says):
    with pytest.raises(UsageError, match=says):
        DANDGenerator.load(path, **options)


def test_latents_and_weights_that_do_not_fit(path, latents):
    generator = DANDGenerator.load(path)
    with pytest.raises(InconsistentInput, match=r"\(n, 5\)"):
        generator.generate(latents[:, :4])
    with pytest.raises(InconsistentInput, match=r"\(n, 5\)"):
        generator.activations(torch.zeros(2, 4), ["1"])
    with pytest.raises(UsageError, match="no layer 'L1'"):
        generator.activations(torch.zeros(2, 5), ["L1"])
    with pytest.raises(InconsistentInput, match="DAND"):
        VAEGANGenerator.load(path)
    with pytest.raises(InconsistentInput, match="not a DAND"):
        DANDGenerator(Weights("vaegan", {}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pca.scale": np.zeros(K)}, "not positive"),
        ({"pca.mean": np.zeros(F + 1)}, "neighbours need"),
        ({"pca.components": np.zeros((K, F, 1))}, "no matrix"),
        ({"generator.layer2.bias": None}, "neighbours need|lacks"),
        ({"generator.layer3.bias": np.array([0, np.inf, 0])}, "not finite"),
        ({"generator.layer3.weight": np.zeros((4, 2, 4, 4)), "generator.layer3.bias": np.zeros(2)}, "2 colours"),
        ({"generator.layer9.bias": np.zeros(3)}, "which that network has not"),
        ({f"generator.layer{i}.weight": None for i in (2, 3)}, "1 layers"),
        ({"pca.mean": np.ones(F, bool)}, "not numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, network, change, says):
    arrays = {name: value for name, value in (network.canonical() | change).items() if value is not None}
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(InconsistentInput, match=says):
        read_weights(tmp_path / "w.npz")


def test_a_damaged_or_falsely_described_file_is_refused(tmp_path, network, path):
    content = path.read_bytes()
    for cut in (content[:-5], content[: len(content) // 2], content[:40]):
        (tmp_path / "cut.safetensors").write_bytes(cut)
        with pytest.raises((MissingFiles, InconsistentInput), match=r"cut\.safetensors"):
            read_weights(tmp_path / "cut.safetensors")
    false = write_safetensors(Weights("dand", network.canonical(), {"epsilon": 1.0}), tmp_path / "false.safetensors")
    with pytest.raises(InconsistentInput, match="epsilon is no description"):
        read_weights(false)
    for crop in (0.0, 1.5, True, "half"):
        false = write_safetensors(Weights("dand", network.canonical(), OF | {"crop": crop}), tmp_path / "c.safetensors")
        with pytest.raises(InconsistentInput, match="crop of this DAND"):
            read_weights(false)
