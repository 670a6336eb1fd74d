"""One network in every published layout, container and variant gives one set of canonical arrays."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

sys.path.append(str(Path(__file__).parent))
import pggan_files as files

from hyper_bids.errors import InconsistentInput, MissingFiles, OutputNotWritable, UsageError
from hyper_bids.weights import mxnet_params, read_weights, write_safetensors
from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.pggan_canonical import OPTIONS, pggan

ARRAYS = files.random_arrays()
OTHER = files.random_arrays(seed=77)
"""What a network that should not be taken would hold."""


@pytest.fixture(scope="module")
def published(shared_data) -> Path:
    folder = shared_data.parent / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"weight files of the real tools not found at {folder}")
    return folder


def assert_equal(weights, arrays=ARRAYS, last_only: bool = False, atol: float = 1e-6, **options):
    top = files.n_levels(arrays) - 1
    expected = {name: a for name, a in arrays.items()
                if not (last_only and name.startswith("torgb")) or name.startswith(f"torgb{top}.")}  # fmt: skip
    assert weights.architecture == "pggan" and set(weights.arrays) == set(expected)
    for name, array in expected.items():
        assert weights.arrays[name].dtype == np.float32
        np.testing.assert_allclose(weights.arrays[name], array, atol=atol, rtol=1e-5, err_msg=name)
    assert dict(weights.options) == {**OPTIONS, **options}


# --- MXNet ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("naming", ["child", "layer", "full", "export"])
@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_mxnet(tmp_path, naming, version):
    path = files.write_mxnet(tmp_path / "w", files.mxnet_names(ARRAYS, naming), version)
    assert_equal(read_weights(path), last_only=True)


@pytest.mark.parametrize(("dtype", "atol"), [("<f2", 2e-3), ("<f8", 1e-6)])
def test_mxnet_in_other_precision_and_without_names(tmp_path, dtype, atol):
    arrays = {name: a.astype(dtype) for name, a in files.mxnet_names(ARRAYS, "child").items()}
    assert_equal(read_weights(files.write_mxnet(tmp_path / "w", arrays)), last_only=True, atol=atol)
    unnamed = read_weights(files.write_mxnet(tmp_path / "u", arrays, named=False))
    assert_equal(unnamed, last_only=True, atol=atol)
    assert "no names" in unnamed.notes[0]


@pytest.mark.parametrize(("channels", "latents"), [((6,), 3), ((5, 5), 5), ((8, 7, 6, 5, 4, 3), 9)])
def test_any_size_is_read_from_the_shapes(tmp_path, channels, latents):
    arrays = files.random_arrays(1, channels, latents)
    path = files.write_mxnet(tmp_path / "w", files.mxnet_names(arrays, "layer"))
    assert_equal(read_weights(path), arrays, last_only=True)


def test_mxnet_layer_numbers_may_start_anywhere(tmp_path):
    named = files.mxnet_names(ARRAYS, "layer")
    moved = {name.replace("dense0", "dense4").replace("block2", "block12").replace("block1", "block11", 1)
             .replace("block112", "block12"): a for name, a in named.items()}  # fmt: skip
    moved = {name.replace("conv1_", "conv9_") if name.startswith("conv1_") else name: a for name, a in moved.items()}
    assert_equal(read_weights(files.write_mxnet(tmp_path / "w", moved)), last_only=True)


def test_mxnet_containers_of_the_real_tool(published):
    read = mxnet_params.read
    folder = published / "mxnet" / "variants"
    plain = read(folder / "list_dict_fp32.params")
    unnamed = read(folder / "list_nonames.params")
    assert isinstance(unnamed, list) and all(map(np.array_equal, unnamed, plain.values()))
    for half, full in zip(read(folder / "list_fp16.params").values(), plain.values(), strict=True):
        assert half.dtype == np.float16 and np.array_equal(half, full.astype(np.float16))
    kinds = {name: array.dtype.str[1:] for name, array in read(folder / "list_int.params").items()}
    assert kinds["i32"] == "i4" and kinds["u8"] == "u1" and kinds["f64"] == "f8"
    numpy_shapes = read(folder / "list_v3_npshape.params")
    assert numpy_shapes["scalar"].shape == () and numpy_shapes["zero"].size == 0
    with pytest.raises(Refused, match="csr"):
        read(folder / "sparse_csr.params")


def test_mxnet_bfloat16():
    values = np.float32([1.5, -2.0, 0.0])
    upper_halves = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    record = struct.pack("<Iiiqiii", 0xF993FAC9, 0, 1, 3, 2, 1, 12) + upper_halves
    np.testing.assert_array_equal(mxnet_params.array_record(mxnet_params.Cursor(record)), values)


# --- TensorFlow -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("fused", [False, True])
def test_tensorflow(tmp_path, fused, protocol):
    trio = tuple(files.tensorflow_network(files.tensorflow_variables(a, fused)) for a in (OTHER, OTHER, ARRAYS))
    weights = read_weights(files.write_pickle(tmp_path / "w.pkl", trio, protocol))
    assert_equal(weights)
    assert "Network Gs." in weights.notes and "Its source code was not run." in weights.notes


def test_tensorflow_settings(tmp_path):
    settings = {"use_wscale": False, "pixelnorm_epsilon": 1e-4, "use_pixelnorm": False, "normalize_latents": False,
                "use_leakyrelu": False, "label_size": 2}  # fmt: skip
    variables = files.tensorflow_variables(ARRAYS, scaled=False) | {"lod": np.float32(1.25)}
    path = files.write_pickle(tmp_path / "w", files.tensorflow_network(variables, **settings))
    read = read_weights(path)
    assert_equal(read, epsilon=1e-4, pixelnorm=False, normalize_latents=False, leak=0.0, n_labels=2, lod=1.25)


@pytest.mark.parametrize("member", ["G", "Gs"])
def test_a_member_can_be_named(tmp_path, member):
    nets = [files.tensorflow_network(files.tensorflow_variables(a)) for a in (ARRAYS, OTHER, OTHER)]
    path = files.write_pickle(tmp_path / "w", tuple(nets))
    assert_equal(read_weights(path, member=member), {"G": ARRAYS, "Gs": OTHER}[member])
    with pytest.raises(UsageError, match=r"no network 'netG'.*Gs"):
        read_weights(path, member="netG")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">f4", "<f8", "<f2"])
def test_arrays_in_any_precision_and_order(tmp_path, dtype, order):
    arrays = {name: np.asarray(a, dtype, order=order) for name, a in files.tensorflow_variables(ARRAYS).items()}
    for number, tree in enumerate((arrays, {"Gs": arrays, "other": 1}, files.tensorflow_network(arrays))):
        path = files.write_pickle(tmp_path / f"w{number}", tree)
        assert_equal(read_weights(path), atol=1e-6 if dtype != "<f2" else 2e-2)


# --- PyTorch ----------------------------------------------------------------------------------------------------------

STATES = {
    "interfacegan": (lambda a: files.torch_layers(a, "interfacegan"), False),
    "interfacegan fused": (lambda a: files.torch_layers(a, "interfacegan", fused=True), False),
    "interfacegan, first version": (lambda a: files.torch_layers(a, "first"), True),
    "genforce": (lambda a: files.torch_layers(a, "genforce"), False),
    "genforce fused": (lambda a: files.torch_layers(a, "genforce", fused=True), False),
    "GAN-zoo": (files.ganzoo_state, False),
    "GAN-zoo, old keys": (lambda a: files.ganzoo_state(a, infix=""), False),
    "TensorFlow names": (files.tensorflow_variables, False),
    "canonical": (dict, False),
}
WRAPPINGS = {
    "bare": lambda state, other: state,
    "DataParallel": lambda state, other: {f"module.{name}": value for name, value in state.items()},
    "one prefix": lambda state, other: {f"netG.{name}": value for name, value in state.items()},
    "several networks, flat": lambda state, other: (
        {f"D.{name}": value for name, value in other.items()}
        | {f"G_ema.{name}": value for name, value in state.items()}
    ),
    "average and not": lambda state, other: {"g": other, "g_ema": state, "d": other, "iteration": 7},
    "generator only": lambda state, other: {"optimizer": {"lr": 0.1}, "netD": other, "generator": state},
    "nested": lambda state, other: {"state_dict": {"generator_smooth": state, "generator": other}, "epoch": 3},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("layout", STATES)
def test_torch(tmp_path, layout, wrapping):
    make, last_only = STATES[layout]
    state = WRAPPINGS[wrapping](files.tensors(make(ARRAYS)), files.tensors(make(OTHER)))
    weights = read_weights(files.write_torch(tmp_path / "w.pth", state, legacy=len(layout) % 2 == 0))
    assert_equal(weights, last_only=last_only)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-6), (torch.float16, 2e-2), (torch.bfloat16, 1e-1)])
def test_torch_precision_views_and_parameters(tmp_path, dtype, atol, legacy):
    tensors = files.tensors(files.torch_layers(ARRAYS, "interfacegan"), dtype)
    state = {name: torch.nn.Parameter(t.transpose(0, -1).contiguous().transpose(0, -1)) if t.ndim > 1 else t
             for name, t in tensors.items()}  # fmt: skip
    assert_equal(read_weights(files.write_torch(tmp_path / "w", state, legacy)), atol=atol)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch_pickle_protocols(tmp_path, protocol, legacy):
    tensors = files.tensors(files.ganzoo_state(ARRAYS))
    tensors |= {name: tensor.half() for name, tensor in tensors.items() if "bias" in name}
    tensors |= {name: tensor.bfloat16() for name, tensor in tensors.items() if "toRGB" in name}
    tensors["formatLayer.module.weight"] = tensors["formatLayer.module.weight"].T.contiguous().T
    tree = {"config": files.fake_config(alpha=0.5), "avgG": tensors}
    torch.save(tree, tmp_path / "w", pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    assert_equal(read_weights(tmp_path / "w"), lod=0.5, atol=2e-2)


def test_the_older_interfacegan_rounds_lod_up(tmp_path):
    state = files.torch_layers(ARRAYS, "interfacegan") | {"lod": np.float32(1.25)}
    assert_equal(read_weights(files.write_torch(tmp_path / "w", files.tensors(state))), lod=2.0)
    state = files.torch_layers(ARRAYS, "genforce") | {"lod": np.float32(1.25)}
    assert_equal(read_weights(files.write_torch(tmp_path / "w", files.tensors(state))), lod=1.25)


ZOO = {"leakyReluLeak": 0.1, "alpha": 0.25, "categoryVectorDim": 2, "equalizedlR": False, "lossCriterion": "DCGAN"}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("make", [dict, files.fake_config])
def test_ganzoo_config(tmp_path, make, legacy):
    state = files.tensors(files.ganzoo_state(ARRAYS, equalised=False))
    tree = {"config": make(**ZOO), "netG": files.tensors(OTHER), "avgG": state}
    weights = read_weights(files.write_torch(tmp_path / "w", tree, legacy))
    assert_equal(weights, leak=0.1, lod=0.25, n_labels=2, tanh=True)
    tree["config"] = make(**{**ZOO, "lossCriterion": "Wasserstein-9"})
    with pytest.raises(InconsistentInput, match="Wasserstein-9"):
        read_weights(files.write_torch(tmp_path / "w", tree, legacy))


def test_npz_and_foreign_safetensors(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", **files.mxnet_names(ARRAYS, "child"))
    assert_equal(read_weights(tmp_path / "w.npz"), last_only=True)
    half = files.tensors(files.torch_layers(ARRAYS, "genforce"), torch.bfloat16)
    save_file(half, tmp_path / "w.safetensors")
    assert_equal(read_weights(tmp_path / "w.safetensors"), atol=1e-1)


# --- hyper's own file -------------------------------------------------------------------------------------------------


def test_own_file_gives_back_what_was_written_and_the_same_bytes(tmp_path):
    weights = pggan(ARRAYS, {"lod": 1.5, "tanh": True, "leak": 0.1}, "somewhere", ("said",))
    one, two = (write_safetensors(weights, tmp_path / name).read_bytes() for name in "ab")
    again = read_weights(tmp_path / "a")
    assert one == two and (again.origin, again.notes) == ("somewhere", ("said",))
    assert dict(again.options) == dict(weights.options)
    assert all(np.array_equal(again.arrays[name], array) for name, array in ARRAYS.items())
    with pytest.raises(OutputNotWritable):
        write_safetensors(weights, tmp_path / "a" / "no folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_own_file_is_checked_like_any_other(tmp_path):
    from safetensors.numpy import save_file as save

    for said, error, says in (
        ("{}", MissingFiles, "makes no sense"),
        ('{"version": 2}', MissingFiles, "version 2"),
        ('{"version":1,"architecture":"oracle","options":{},"origin":"","notes":[]}', InconsistentInput, "oracle"),
        ('{"version":1,"architecture":"pggan","options":{"lod":9},"origin":"","notes":[]}', InconsistentInput, "lod 9"),
        ('{"version":1,"architecture":"pggan","options":{"lod":[]},"origin":"","notes":[]}', MissingFiles, "no sense"),
    ):
        save(ARRAYS, tmp_path / "w", metadata={"hyper": said})
        with pytest.raises(error, match=says):
            read_weights(tmp_path / "w")


# --- what is no PGGAN -------------------------------------------------------------------------------------------------


def altered(**changes):
    return {name: a for name, a in {**ARRAYS, **changes}.items() if a is not None}


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (altered(**{"conv.bias": None}), "lacks conv.bias"),
        (altered(**{"block2.conv0.weight": np.zeros((4, 9, 3, 3), np.float32)}), r"block2.*\(4, 5, 3, 3\)"),
        (altered(**{"torgb1.weight": np.zeros((3, 3, 1, 1), np.float32)}), r"torgb1.weight.*\(3, 5, 1, 1\)"),
        (altered(**{"torgb1.weight": None}), "lacks torgb1.weight"),
        (altered(**{"torgb02.weight": ARRAYS["torgb2.weight"], "torgb02.bias": ARRAYS["torgb2.bias"]}), "torgb02"),
        (altered(**{"extra.weight": np.zeros(3, np.float32)}), "extra.weight"),
        (altered(**{"conv.bias": np.full(6, np.nan, np.float32)}), "conv.bias.*not finite"),
        (altered(**{"conv.bias": np.zeros(6, complex)}), "conv.bias.*complex"),
        (altered(**{"torgb3.bias": np.zeros(2, np.float32)}), "torgb0.weight"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays, says):
    with pytest.raises(Refused, match=says):
        pggan(arrays, {}, "")


def test_a_missing_level_below_is_named():
    arrays = {name: a for name, a in ARRAYS.items() if not name.startswith("block1.")}
    with pytest.raises(Refused, match="lacks block1"):
        pggan({**arrays, "torgb2.weight": ARRAYS["torgb2.weight"]}, {}, "")


def discriminators() -> dict[str, object]:
    zoo = {"fromRGBLayers.0.module.weight": np.zeros((3, 3, 1, 1)), "decisionLayer.module.weight": np.zeros((1, 3))}
    tensorflow = files.tensorflow_network({"FromRGB_lod0/weight": np.zeros((1, 1, 3, 4), np.float32)}, "D_paper")
    return {
        "zoo": files.tensors(zoo),
        "genforce": files.tensors({"input0.weight": np.zeros((4, 3, 1, 1)), "layer0.weight": np.zeros((4, 4, 3, 3))}),
        "only netD": {"netD": files.tensors(OTHER)},
        "TensorFlow": tensorflow,
    }


@pytest.mark.parametrize("kind", ["zoo", "genforce", "only netD", "TensorFlow"])
def test_a_discriminator_is_called_one(tmp_path, kind):
    write = files.write_pickle if kind == "TensorFlow" else files.write_torch
    with pytest.raises(InconsistentInput, match="this is a discriminator"):
        read_weights(write(tmp_path / "w", discriminators()[kind]))


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("stylegan/stylegan3_32.pkl", "StyleGAN3: export it to ONNX"),
        ("stylegan/stylegan1_tf_16.pkl", "StyleGAN1: export it to ONNX"),
        ("features/alexnet_thin.pth", "AlexNet, a network for --features"),
        ("features/clip_thin_state_dict.pt", "CLIP"),
        ("features/vggface2_resnet50_ft_thin_py2_proto0.pkl", "ResNet"),
        ("plugins/hyper_small.torchscript.pt", "TorchScript.*ONNX"),
        ("interfacegan/bad_object.npy", "single NumPy array"),
        ("hyper_data/data_mx_2d_p2.dat", "import-hyper"),
    ],
)
def test_another_network_is_named(published, file, says):
    with pytest.raises(InconsistentInput, match=says):
        read_weights(published / file, architecture="pggan")


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", MissingFiles, "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", MissingFiles, "git lfs pull"),
        (b"/annex/objects/MD5E-s9", MissingFiles, "datalad get"),
        (b"\n<!DOCTYPE html><html>", MissingFiles, "web page"),
        (b"\x1f\x8b\x08\x00", InconsistentInput, "gzip"),
        (b"hello", InconsistentInput, "no format known"),
    ],
)
def test_files_that_are_no_weights_at_all(tmp_path, content, error, says):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(error, match=says):
        read_weights(tmp_path / "w")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingFiles, match="not there"):
        read_weights(tmp_path / "w")
    with pytest.raises(MissingFiles, match="not there"):
        read_weights(tmp_path)


def test_an_old_pytorch_is_not_trusted(tmp_path, monkeypatch):
    path = files.write_torch(tmp_path / "w", files.tensors(ARRAYS))
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(InconsistentInput, match=r"2\.10 or newer"):
        read_weights(path)


def test_damage_is_told_apart_from_refusal():
    assert not issubclass(Damaged, Refused) and not issubclass(Refused, Damaged)
