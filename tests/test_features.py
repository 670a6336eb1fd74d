"""Feature networks: equal to the real tools' own output, whatever container; wrong files are named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import feature_files as files
import pggan_files

from bids_app.tools import main as tools
from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.features import FEATURES, make_features, parse_features
from hyper_bids.generate import make_generator
from hyper_bids.protocols import FeatureExtractor
from hyper_bids.weights import read_weights
from hyper_bids.weights.candidates import Candidate, candidates
from hyper_bids.weights.recognise import NETWORKS
from hyper_bids.weights.vgg_canonical import CONVOLUTIONS


@pytest.fixture(scope="module")
def published(shared_data) -> Path:
    folder = shared_data.parent / "fixtures" / "features"
    if not folder.is_dir():
        pytest.skip(f"weight files of the real tools not found at {folder}")
    return folder


def pictures(n: int, height: int, width: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """1e-4, and where numbers are large 1e-5 of the largest."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=max(1e-4, 1e-5 * np.abs(expected).max()))


# ------------------------------------------------------------------ the real tools' output


@pytest.mark.parametrize(
    ("name", "file", "golden", "layers", "given"),
    [
        ("alexnet", "alexnet_thin.pth", "alexnet_thin", ["features.4", "features.11"], "x"),
        ("vgg16", "vgg16_thin_features.pth", "vgg16_thin", [f"relu{s}" for s in ("1_2", "2_2", "3_3", "4_3", "5_3")],
         "x"),
        ("clip", "clip_thin_jit.pt", "clip_thin", ["embedding"], "img"),
        ("clip", "clip_thin_state_dict.pt", "clip_thin", ["embedding"], "img"),
    ],
)  # fmt: skip
def test_golden_activations_of_prepared_pictures(published, name, file, golden, layers, given):
    expected = np.load(published / f"{golden}_golden.npz")
    network = make_features(name, published / file)
    with torch.inference_mode():
        found = network.network_activations(torch.from_numpy(expected[given].astype(np.float32)), layers)
    for layer in layers:
        close(found[layer].numpy(), expected["feat" if layer == "embedding" else layer])
        assert network.layers[layer][:1] == found[layer].shape[1:2]


@pytest.mark.parametrize("protocol", ["py2_proto0", "py2_proto1", "py2_proto2", "py3_proto4"])
def test_golden_features_of_vggface2_pytorch(published, protocol):
    expected = np.load(published / "vggface2_resnet50_ft_thin_golden.npz")
    network = make_features("vggface2", published / f"vggface2_resnet50_ft_thin_{protocol}.pkl")
    close(network.features(expected["img"]), expected["feat"])
    assert network.n_features == expected["feat"].shape[1] and network.options["stem"] == "ceil"


@pytest.mark.parametrize("form", ["", "_fullmodel"])
def test_golden_features_of_vggface2_keras(published, form):
    expected = np.load(published / "vggface_resnet50_thin_golden.npz")
    network = make_features("vggface2", published / f"vggface_resnet50_thin{form}.h5")
    close(network.features(expected["img"]), expected["avg_pool"][:, 0, 0])
    probabilities = torch.softmax(torch.from_numpy(network.at("fc").features(expected["img"])), 1)
    close(probabilities.numpy(), expected["probs"])


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


FOREIGN = {
    "inception": ("inception_v3", 342, [2.47746, 0.0, 6.75625, 1.82506, 4.3192, 0.0], 2.7883287),
    "efficientnet": ("efficientnet_b1", 255, [37.9067, 47.0963, 52.0863, 10.4775, 9.9619, 9.63851], 23.821830),
    "swav": ("resnet50", 224, [3679.57, 5386.97, 4092.6, 2818.48, 3095.71, 246.499], 3049.1391),
}
"""Network -> its name and input in torchvision 0.29, six features of one picture, and the mean of another's."""


@pytest.mark.parametrize("name", FOREIGN)
def test_full_size_networks_equal_torchvisions(published, tmp_path, one_thread, name):
    """torchvision's own features of seeded weights, noted here: its wheels do not load beside PyTorch's for the CPU.

    They were computed by one thread, and so are ours: the order of single-precision sums depends on their number.
    """
    theirs, size, six, mean = FOREIGN[name]
    manifest = json.loads((published / "torchvision_manifests.json").read_text())[theirs]
    arrays = files.random_arrays({key: tuple(shape) for key, (shape, _) in manifest.items()}, seed=5)
    if name == "swav":
        arrays = {key: array for key, array in arrays.items() if not key.startswith("fc.")}
    path = files.write_torch(tmp_path / "w.pth", arrays, "module." if name == "swav" else "")
    found = make_features(name, path).features(pictures(2, size, size, seed=3))
    np.testing.assert_allclose(found[0, np.linspace(0, found.shape[1] - 1, 6).astype(int)], six, rtol=2e-5)
    np.testing.assert_allclose(found[1].mean(dtype=np.float64), mean, rtol=1e-5)


def test_vggface_equals_a_naive_version_in_keras_order(tmp_path):
    """Channels last throughout, as Keras computes: its flatten is pixel by pixel."""
    arrays = files.vggface_arrays()
    network = make_features("vggface", files.write_keras(tmp_path / "w.h5", arrays))
    shown = pictures(2, 64, 64)
    x = shown[..., ::-1].astype(np.float64) - [93.5940, 104.7624, 129.1863]
    for name in CONVOLUTIONS:
        if name in ("conv2_1", "conv3_1", "conv4_1", "conv5_1"):
            x = x.reshape(2, x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max(axis=(2, 4))
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # n, h, w, c, 3, 3
        x = np.einsum("nhwcij,ijco->nhwo", windows, arrays[f"{name}/kernel"], optimize=True) + arrays[f"{name}/bias"]
        x = np.maximum(x, 0)
    x = x.reshape(2, x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max(axis=(2, 4)).reshape(2, -1)
    fc6 = x @ arrays["fc6/kernel"] + arrays["fc6/bias"]
    relu7 = np.maximum(np.maximum(fc6, 0) @ arrays["fc7/kernel"] + arrays["fc7/bias"], 0)
    np.testing.assert_allclose(network.at("fc6").features(shown), fc6, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(network.features(shown), relu7, rtol=1e-4, atol=1e-3)
    assert network.layer == "relu7" and network.preparation.size == 64


# ------------------------------------------------------------------ the published names


def manifests(folder: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    torchvision = json.loads((folder / "torchvision_manifests.json").read_text())
    found = {name: {key: tuple(shape) for key, (shape, _) in torchvision[name].items()} for name in torchvision}
    ft = json.loads((folder / "vggface2_resnet50_ft_manifest.json").read_text())
    found["vggface2"] = {key: tuple(shape) for key, (shape, _) in ft.items()}
    keras = json.loads((folder / "keras_vggface_manifests.json").read_text())
    for name in ("resnet50", "notop_resnet50", "vgg16"):
        layers = keras[f"rcmalli_vggface_tf_{name}.h5"]["layers"]
        found[f"keras {name}"] = {key[:-2]: tuple(shape) for weights in layers.values() for key, shape in weights}
    return found


@pytest.mark.parametrize(
    ("manifest", "architecture"),
    [("alexnet", "alexnet"), ("vgg16", "vgg16"), ("inception_v3", "inception"), ("efficientnet_b1", "efficientnet"),
     ("resnet50", "resnet50"), ("vggface2", "vggface2"), ("keras resnet50", "vggface2"),
     ("keras notop_resnet50", "vggface2"), ("keras vgg16", "vggface")],
)  # fmt: skip
def test_every_name_of_the_published_files_is_accounted_for(published, manifest, architecture):
    """At a sixteenth of the width: the names, the relations of the shapes, and nothing left over.

    The readers refuse a file with a name that they do not know.
    """
    thin = {
        name: tuple(length // 16 if length >= 16 else length for length in shape)
        for name, shape in manifests(published)[manifest].items()
    }
    tree = files.random_arrays(thin, seed=1)
    found = [
        weights
        for candidate in (Candidate("", item.arrays, container="pickle" if manifest == "vggface2" else "")
                          for item in candidates(tree))
        for network in NETWORKS for layout in network.layouts if (weights := layout(candidate)) is not None
    ]  # fmt: skip
    assert [weights.architecture for weights in found] == [architecture]
    n_norms = sum(name.endswith(("running_mean", "moving_mean")) for name in thin)
    n_weights = sum(name.endswith(("kernel", "weight")) and len(shape) > 1 for name, shape in thin.items())
    n_dropped = sum(name.startswith("AuxLogits") and len(shape) > 1 for name, shape in thin.items())
    assert len(found[0].arrays) == 2 * (n_weights - n_dropped) and n_norms >= 0
    twice = {**tree, "a/kernel" if "keras" in manifest else "surplus.weight": np.zeros((3, 3))}
    with pytest.raises(Exception, match="which that network has not"):
        for network in NETWORKS:
            for layout in network.layouts:
                layout(Candidate("", twice))


# ------------------------------------------------------------------ what holds for all of them


@pytest.fixture(scope="module")
def thin(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("features")
    return {name: files.thin_file(name, folder) for name in FEATURES}


@pytest.mark.parametrize("name", FEATURES)
def test_a_picture_of_any_size_by_itself_and_after_conversion(thin, name, tmp_path):
    network = make_features(name, thin[name])
    assert isinstance(network, FeatureExtractor)
    shown = pictures(3, 70, 51)
    found = network.features(shown)
    assert found.shape == (3, network.n_features) and found.dtype == np.float32 and found.std() > 0
    assert np.array_equal(network.features(shown[1:2]), found[1:2])
    assert np.array_equal(network.features(list(shown)), found) and len(network.features(shown[:0])) == 0
    said = json.loads(json.dumps(network.describe()))
    assert (said["Network"], said["Layer"], said["Features"]) == (name, FEATURES[name].layer, network.n_features)
    assert len(said["SHA256"]) == 64 and said["SHA256"] == network.checksum

    out = tmp_path / "w.safetensors"
    assert tools(["models", "convert", str(thin[name]), "--out", str(out)]) == 0
    assert np.array_equal(make_features(name, out).features(shown), found)
    assert read_weights(out).options == read_weights(thin[name], architecture=FEATURES[name].architecture).options


@pytest.mark.parametrize("name", FEATURES)
def test_models_inspect_says_what_it_is(thin, name, capsys):
    assert tools(["models", "inspect", str(thin[name]), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["Network"], said["Option"]) == (name, "--features") and said["Layer"] == FEATURES[name].layer
    assert said["Features"] == make_features(name, thin[name]).n_features


@pytest.mark.parametrize("name", FEATURES)
def test_each_file_is_refused_as_a_generator_and_as_every_other_network(thin, name):
    with pytest.raises(InconsistentInput, match=r"a network for --features; .* is needed"):
        read_weights(thin[name], architecture="pggan")
    with pytest.raises(InconsistentInput, match=r"a network for --features; one for --generator"):
        make_generator("file", space="s", n_latents=None, weights=thin[name])
    for other in FEATURES:
        if FEATURES[other].architecture != FEATURES[name].architecture and {name, other} != {"vggface2", "swav"}:
            with pytest.raises(InconsistentInput, match="is needed"):
                make_features(other, thin[name])


def test_a_generator_or_a_discriminator_is_refused_by_name(tmp_path):
    generator = pggan_files.write_mxnet(
        tmp_path / "generator.params", pggan_files.mxnet_names(pggan_files.random_arrays(), "child")
    )
    with pytest.raises(InconsistentInput, match=r"a PGGAN, a network for --generator; .*VGG-Face"):
        make_features("vggface", generator)
    with pytest.raises(InconsistentInput, match="one for --features is needed"):
        read_weights(generator, option="--features")
    critic = tmp_path / "d.pth"
    torch.save({"netD": {"fromRGBLayers.0.weight": torch.zeros(2, 3, 1, 1)}}, critic)
    with pytest.raises(InconsistentInput, match="discriminator"):
        make_features("alexnet", critic)


def test_names_layers_and_devices_that_there_are_not(thin, tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'vggface2'"):
        parse_features("vggface-2")
    with pytest.raises(UsageError, match=r"no layer 'relu3_4'.* Did you mean 'relu3_3'"):
        make_features("vgg16", thin["vgg16"], "relu3_4")
    with pytest.raises(UsageError, match="Unknown device"):
        make_features("vgg16", thin["vgg16"], device="tpu")
    for device in ("cpu:1", "cuda:x", "cuda:"):
        with pytest.raises(UsageError, match=f"Unknown device '{device}'"):
            make_features("vgg16", thin["vgg16"], device=device)
    with pytest.raises(MissingFiles, match="not there"):
        make_features("vgg16", tmp_path / "none")
    assert make_features("vgg16", thin["vgg16"], "features.15").layer == "relu3_3"


def test_a_layer_may_stand_in_the_name(thin):
    assert make_features("vgg16:relu2_2", thin["vgg16"]).layer == "relu2_2"
    assert make_features("vgg16:features.15", thin["vgg16"], "relu3_3").layer == "relu3_3"
    with pytest.raises(UsageError, match=r"vgg16:relu2_2, but layer relu3_3 is asked for"):
        make_features("vgg16:relu2_2", thin["vgg16"], "relu3_3")


def test_the_two_forms_of_vggface2_are_told_apart_and_recorded(tmp_path):
    """One set of weights in both: other padding and epsilon, other features."""
    arrays = files.random_arrays(files.resnet_shapes(7), 6)
    keras = {}
    parts = {"conv1": "1x1_reduce", "conv2": "3x3", "conv3": "1x1_increase", "downsample.0": "1x1_proj"}
    for name, array in arrays.items():
        if array.ndim != 4:
            continue
        layer = name.removesuffix(".weight")
        if layer == "conv1":
            theirs, bn = "conv1/7x7_s2", "bn1"
        else:
            stage, block, part = layer.split(".", 2)
            theirs = f"conv{int(stage[5]) + 1}_{int(block) + 1}_{parts[part]}"
            bn = f"{stage}.{block}." + ("downsample.1" if part == "downsample.0" else part.replace("conv", "bn"))
        keras[f"{theirs}/kernel"] = array.transpose(2, 3, 1, 0)
        for ours, other in (("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"),
                            ("moving_variance", "running_var")):  # fmt: skip
            keras[f"{theirs}/bn/{ours}"] = arrays[f"{bn}.{other}"]
    one = make_features("vggface2", files.write_keras(tmp_path / "k.h5", keras))
    two = make_features("vggface2", files.write_pickle(tmp_path / "t.pkl", arrays))
    shown = pictures(2, 224, 224)
    assert (one.options["stem"], two.options["stem"]) == ("same", "ceil") and one.origin != two.origin
    assert one.options["epsilon"] == 1e-3 and "other features" in one.notes[0] and "other features" in two.notes[0]
    difference = np.abs(one.features(shown) - two.features(shown)).max()
    assert 1e-3 < difference / np.abs(two.features(shown)).max() < 0.5


def test_the_same_names_with_torchvisions_graph_are_another_network(tmp_path):
    """Which one is told by classes, container, or by what was asked for."""
    arrays = files.random_arrays(files.resnet_shapes(None), 6)
    path = files.write_torch(tmp_path / "w.pth", arrays)
    assert read_weights(path).architecture == "resnet50"
    assert read_weights(path, architecture="vggface2").options["stride"] == "first"
    pickled = files.write_pickle(tmp_path / "w.pkl", arrays)
    assert read_weights(pickled).architecture == "vggface2"
    said = {(name, file): [note for note in make_features(name, file).describe()["Notes"] if "because asked" in note]
            for name in ("vggface2", "swav") for file in (path, pickled)}  # fmt: skip
    assert said[("vggface2", path)] == ["taken for VGGFace2's because asked; the file does not tell"]
    assert said[("swav", pickled)] == ["taken for torchvision's because asked; the file does not tell"]
    assert not said[("swav", path)] and not said[("vggface2", pickled)]
    heads = {**arrays, "projection_head.0.weight": np.zeros((4, 4), np.float32)}
    with pytest.raises(InconsistentInput, match="SwAV's, a network for --features; VGGFace2"):
        make_features("vggface2", files.write_torch(tmp_path / "swav.pth", heads))


def test_the_image_encoder_alone_is_clip_too(tmp_path, thin):
    arrays = files.random_arrays(files.clip_shapes(), 6)
    alone = {name: array for name, array in arrays.items() if name.startswith("visual.")}
    shown = pictures(2, 30, 30)
    found = make_features("clip", files.write_torch(tmp_path / "v.pt", alone)).features(shown)
    assert np.array_equal(found, make_features("clip", thin["clip"]).features(shown))


def test_clip_that_may_be_open_clips_says_so(tmp_path, published):
    """Its files have OpenAI's names and shapes and, most of them, another GELU; two numbers are OpenAI's alone."""
    arrays = files.random_arrays(files.clip_shapes(), 6)
    surplus = {**arrays, "attn_mask": np.zeros((3, 3), np.float32), "position_ids": np.arange(3)}
    for name, content, is_told in (("o.pt", surplus, False), ("v.pt", {**arrays, "vocab_size": np.array(9)}, True)):
        weights = read_weights(files.write_torch(tmp_path / name, content))
        assert any("taken for OpenAI's CLIP (QuickGELU" in note for note in weights.notes) != is_told
    assert not read_weights(published / "clip_thin_jit.pt").notes


@pytest.mark.parametrize("full", [True, False])
def test_clip_with_a_resnet_is_named_with_and_without_its_text_encoder(tmp_path, full):
    arrays = {f"visual.{name}": array for name, array in files.random_arrays(files.resnet_shapes(None), 1).items()}
    arrays["visual.attnpool.positional_embedding"] = np.zeros((50, 14), np.float32)
    more = {"logit_scale": np.array(1, np.float32)} if full else {}
    with pytest.raises(InconsistentInput, match="this is CLIP with a ResNet"):
        read_weights(files.write_torch(tmp_path / "rn.pt", {**arrays, **more}))


@pytest.mark.parametrize(("depth", "epsilon"), [((2, 4, 4, 6, 6, 8, 2), 1e-5), ((3, 5, 5, 7, 7, 9, 3), 1e-3)])
def test_deep_efficientnets_have_tensorflows_epsilon(tmp_path, depth, epsilon):
    """torchvision's B4 and B5."""
    arrays = files.random_arrays(files.efficientnet_shapes(depth), 6)
    found = read_weights(files.write_torch(tmp_path / "w.pth", arrays)).arrays["stem.weight"]
    gain = arrays["features.0.1.weight"] / np.sqrt(arrays["features.0.1.running_var"] + epsilon)
    np.testing.assert_allclose(found, arrays["features.0.0.weight"] * gain[:, None, None, None], rtol=1e-6)


@pytest.mark.parametrize(("lacks", "last"), [(("6",), "classifier.5"), (("4", "6"), "classifier.2")])
def test_alexnet_may_end_before_its_classes(tmp_path, thin, lacks, last):
    arrays = files.random_arrays(files.alexnet_shapes(), 6)
    kept = {
        name: array for name, array in arrays.items() if not name.startswith(tuple(f"classifier.{n}" for n in lacks))
    }
    network = make_features("alexnet", files.write_torch(tmp_path / "w.pth", kept), last)
    shown = pictures(1, 60, 60)
    assert list(network.layers)[-1] == last
    assert np.array_equal(network.features(shown), make_features("alexnet", thin["alexnet"], last).features(shown))


# ------------------------------------------------------------------ gradients, and what is refused


def test_a_perceptual_loss_has_the_gradient_of_its_differences(thin):
    network = make_features("vgg16", thin["vgg16"])
    rng = np.random.default_rng(0)
    images = torch.tensor(rng.uniform(20, 230, (1, 3, 32, 32)), dtype=torch.float32, requires_grad=True)
    target = network.activations(torch.flip(images.detach(), [3]), ["relu3_3"])["relu3_3"]
    loss = ((network.activations(images, ["relu3_3"])["relu3_3"] - target) ** 2).sum()
    (gradient,) = torch.autograd.grad(loss, images)
    step = torch.from_numpy(rng.standard_normal(images.shape)).float()
    with torch.no_grad():
        sides = [network.activations(images + 0.05 * sign * step, ["relu3_3"])["relu3_3"] for sign in (1, -1)]
    numeric = (((sides[0] - target) ** 2).sum() - ((sides[1] - target) ** 2).sum()) / 0.1
    np.testing.assert_allclose(float((gradient * step).sum()), float(numeric), rtol=2e-2)


@pytest.mark.parametrize("bad", [np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 4), np.uint8), np.zeros((8, 8), np.uint8)])
def test_pictures_of_another_form(thin, bad):
    with pytest.raises(InconsistentInput, match="uint8 RGB"):
        make_features("alexnet", thin["alexnet"]).features(bad)
