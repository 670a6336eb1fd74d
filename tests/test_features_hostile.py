"""Feature networks' files that want to run code, look elsewhere, fill the memory or never end: refused, in one line."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import feature_files as files

from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles
from hyper_bids.weights import h5_table, keras_h5, read_weights, torch_files, torchscript_files
from hyper_bids.weights.canonical import Damaged, Refused

pytestmark = pytest.mark.usefixtures("ends")


@pytest.fixture
def marker(tmp_path):
    """A path that the attacks would make."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "code of a weight file was run"


@pytest.fixture
def keras(tmp_path) -> Path:
    return files.write_keras(tmp_path / "w.h5", files.vggface_arrays())


def refuse(path: Path, says: str, error: type[HyperError] = InconsistentInput) -> None:
    with pytest.raises(error, match=says) as caught:
        read_weights(path, option="--features")
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ pickles, TorchScript


class Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", range(5))
def test_a_pickle_that_would_run_code(tmp_path, marker, protocol):
    arrays = {**files.random_arrays(files.resnet_shapes(7), 1), "fc.weight": Attack(marker)}
    refuse(files.write_pickle(tmp_path / "w.pkl", arrays, protocol), "asks for .*mkdir")


def torchscript(path: Path, pickled: bytes, storages: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip/data.pkl", pickled)
        archive.writestr("clip/constants.pkl", b"\x80\x02).")
        archive.writestr("clip/code/__torch__.py", "raise SystemExit", compress_type=zipfile.ZIP_DEFLATED)
        for key, content in storages.items():
            archive.writestr(f"clip/data/{key}", content)
    return path


def module(state: bytes) -> bytes:
    """A pickle of a TorchScript module with this state."""
    return b"\x80\x02c__torch__.clip\nModel\n)\x81}" + state + b"b."


def tensor(name: str, key: str, n: int, shape: bytes) -> bytes:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00" + key.encode()
    storage += b"X\x03\x00\x00\x00cpuK" + bytes([n]) + b"tQ"
    text = b"X" + len(name).to_bytes(4, "little") + name.encode()
    return text + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + b"\x89N}tRs"


def test_torchscript_is_read_without_its_code_or_not_at_all(tmp_path, marker):
    words = len(str(marker)).to_bytes(4, "little") + str(marker).encode()
    call = b"X\x01\x00\x00\x00xcposix\nmkdir\nX" + words + b"\x85Rs"
    refuse(torchscript(tmp_path / "a.pt", module(call), {}), "asks for posix.mkdir")
    refuse(torchscript(tmp_path / "b.pt", module(b""), {}), "TorchScript, that is, code")
    plain = tensor("weight", "0", 2, b"K\x02\x85K\x01\x85")
    refuse(torchscript(tmp_path / "c.pt", module(plain), {"0": bytes(8)}), "TorchScript, that is, code")


@pytest.mark.parametrize("content", [b"", bytes(4)])
def test_torchscript_with_less_than_it_announces(tmp_path, content):
    state = b"X\x06\x00\x00\x00visual" + module(tensor("class_embedding", "0", 2, b"K\x02\x85K\x01\x85"))[2:-1] + b"s"
    refuse(torchscript(tmp_path / "w.pt", module(state), {"0": content}), "shorter than announced", MissingFiles)


@pytest.mark.parametrize("container", ["TorchScript", "protocol 4", "legacy"])
def test_a_storage_with_many_tensors_is_read_once(tmp_path, monkeypatch, container):
    """The time was the number of tensors times the size of the storage."""
    n_views, n_bytes = 200, []
    if container == "TorchScript":
        names = ["class_embedding", *(f"x{number}" for number in range(n_views))]
        views = b"".join(tensor(name, "0", 200, b"K\x02\x85K\x01\x85") for name in names)
        state = b"X\x06\x00\x00\x00visual" + module(views)[2:-1] + b"s"
        path = torchscript(tmp_path / "w.pt", module(state), {"0": np.arange(200, dtype="<f4").tobytes()})
        read = lambda: torchscript_files.read(path)["visual.x7"]  # noqa: E731
    else:
        path, whole = tmp_path / "w.pth", torch.arange(200.0)
        views = {f"x{number}": whole[number : number + 1] for number in range(n_views)}
        torch.save(views, path, pickle_protocol=4, _use_new_zipfile_serialization=container != "legacy")
        read = lambda: torch_files.read(path)["x7"] - 7  # noqa: E731
    zipped, legacy = zipfile.ZipFile.read, torch_files.mapped
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *given: n_bytes.append(1) or zipped(*given))
    monkeypatch.setattr(torch_files, "mapped", lambda *given: n_bytes.append(1) or legacy(*given))
    assert read()[0] == 0 and len(n_bytes) < 9


def test_half_precision_of_one_storage(tmp_path):
    whole = torch.arange(6, dtype=torch.bfloat16)
    torch.save({"a": whole[1:3], "b": whole.view(2, 3).T, "c": whole[4]}, tmp_path / "w.pth", pickle_protocol=4)
    found = torch_files.read(tmp_path / "w.pth")
    assert found["a"].tolist() == [1, 2] and found["b"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["c"].shape == () and found["c"] == 4 and {array.dtype.str for array in found.values()} == {"<f4"}


def test_torchscript_whose_modules_contain_themselves(tmp_path):
    loop = b"\x80\x02c__torch__.clip\nModel\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb."
    refuse(torchscript(tmp_path / "w.pt", loop, {}), "contains itself", MissingFiles)


# ------------------------------------------------------------------ HDF5


def with_link(file: h5py.File, link: object) -> None:
    del file["fc8"]
    file["fc8"] = link


def with_external_data(file: h5py.File) -> None:
    del file["fc8/fc8/bias:0"]
    file.create_dataset("fc8/fc8/bias:0", (9,), "f4", external=[("/etc/hostname", 0, 36)])


def with_virtual_data(file: h5py.File) -> None:
    del file["fc8/fc8/bias:0"]
    layout = h5py.VirtualLayout(shape=(9,), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape=(9,))
    file["fc8/fc8"].create_virtual_dataset("bias:0", layout)


def with_objects(file: h5py.File) -> None:
    del file["fc8/fc8/bias:0"]
    file["fc8/fc8"].create_dataset("bias:0", data=["a", "b"], dtype=h5py.string_dtype())


def by_theano(file: h5py.File) -> None:
    file.attrs["backend"] = "theano"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: with_link(file, h5py.ExternalLink("/etc/hostname", "/")), "link to somewhere else"),
        (lambda file: with_link(file, h5py.SoftLink("/fc7")), "link to somewhere else"),
        (with_external_data, "another file"),
        (with_virtual_data, "another file"),
        (with_objects, "not numbers"),
        (by_theano, "Theano"),
    ],
)
def test_hdf5_that_looks_elsewhere_or_holds_other_things(keras, change, says):
    with h5py.File(keras, "r+") as file:
        change(file)
    refuse(keras, says)


def test_hdf5_that_contains_itself(keras):
    with h5py.File(keras, "r+") as file:
        file["fc8/again"] = file["fc8"]
    refuse(keras, "contain themselves", MissingFiles)


def test_hdf5_with_two_names_for_one_data_set_with_an_optimiser_and_odd_attributes(keras):
    expected = keras_h5.read(keras)
    with h5py.File(keras, "r+") as file:
        file["fc9/fc9/bias:0"] = file["fc8/fc8/bias:0"]
        file["optimizer_weights/training/Adam/iterations:0"] = np.int64(3)
        file.attrs["backend"] = np.array(["tensorflow", "x"], dtype="S")
    found = keras_h5.read(keras)
    assert set(found) == {*expected, "fc9/bias"} and np.array_equal(found["fc9/bias"], expected["fc8/bias"])
    with h5py.File(keras, "r+") as file:
        file.attrs["backend"] = np.array(["theano", "x"], dtype="S")
    refuse(keras, "Theano")


def test_hdf5s_library_is_found_where_this_process_found_it_or_is_missing(keras, monkeypatch, tmp_path):
    """``python -I`` hides what PYTHONPATH names, so that every file was called cut off."""
    (tmp_path / "h5py.py").write_text("raise ImportError('not here')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(MissingFiles, match=r"need h5py, which cannot be loaded here \(ImportError: not here\)"):
        read_weights(keras)


def test_hdf5_that_would_fill_the_memory(tmp_path):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("conv1_1/conv1_1/kernel:0", (1 << 34,), "f4", chunks=(1 << 20,), compression="gzip")
    refuse(tmp_path / "bomb.h5", "times its size", MissingFiles)


@pytest.mark.parametrize("how", [{}, {"compression": "gzip"}, {"chunks": True, "shuffle": True}])
@pytest.mark.parametrize("whole_model", [False, True])
def test_hdf5_in_any_layout_gives_the_same_arrays(tmp_path, how, whole_model):
    arrays = {name: array for name, array in files.vggface_arrays().items() if name.startswith(("conv1", "fc"))}
    found = keras_h5.read(files.write_keras(tmp_path / "w.h5", arrays, whole_model=whole_model, **how))
    assert set(found) == set(arrays) and all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_hdf5s_library_may_die_without_us(keras, monkeypatch, tmp_path):
    program = tmp_path / "dies.py"
    program.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(h5_table, "__file__", str(program))
    with pytest.raises(Damaged, match="broke down over it"):
        keras_h5.read(keras)


def test_a_network_of_another_kind_in_hdf5(tmp_path):
    path = files.write_keras(tmp_path / "w.h5", {"conv5_3_1x1_down/kernel": np.ones((1, 1, 2, 3), "f4"),
                                                "conv1/7x7_s2/kernel": np.ones((7, 7, 3, 4), "f4")})  # fmt: skip
    refuse(path, "SENet-50")
    refuse(files.write_keras(tmp_path / "o.h5", {"dense_1/kernel": np.ones((2, 3), "f4")}), "no generator known here")


# ------------------------------------------------------------------ cut off, altered, random


@pytest.mark.parametrize("name", ["vggface", "vggface2", "alexnet"])
def test_truncations_and_random_bytes_end_in_an_error_or_in_weights(tmp_path, name):
    """HDF5's library may no longer end: it is stopped then."""
    whole = files.thin_file(name, tmp_path / "whole").read_bytes()
    rng = np.random.default_rng(9)
    path = tmp_path / f"w.{name}"
    n_refused = 0
    for number in range(16):
        content = bytearray(whole)
        if number % 2:
            content = content[: int(rng.integers(9, len(whole)))]
        else:
            for place in rng.integers(0, min(len(whole), 3000), 12):
                content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            read_weights(path)
        except HyperError as error:
            n_refused += 1
            assert "\n" not in str(error)
    assert n_refused >= 8


def test_a_pickle_of_numbers_that_is_no_network(tmp_path):
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"a.weight": np.ones((2, 2))}, protocol=2))
    refuse(path, "no generator known here")
    with pytest.raises(Refused):
        from hyper_bids.weights.resnet_canonical import vggface2

        vggface2({"conv1.bias": np.ones(3)}, {}, "")
