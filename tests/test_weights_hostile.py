"""Weight files that want to run code, fill the memory or never end: refused in one line, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import pggan_files as files

from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles
from hyper_bids.weights import read_weights, write_safetensors
from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.pggan_canonical import pggan
from hyper_bids.weights.unpickle import unpickle

ARRAYS = files.random_arrays()
STATE = files.torch_layers(ARRAYS, "genforce")


class Attack:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def marker(tmp_path):
    """A path that the attacks would make."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "code of a weight file was run"


def refuse(path: Path, error=InconsistentInput, says: str = "code") -> None:
    with pytest.raises(error, match=says) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


# --- code -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.system, eval, exec, os.mkdir, getattr, __import__])
def test_calls_in_a_pickle(tmp_path, marker, function, protocol):
    arguments = {os.system: f"touch {marker}", os.mkdir: str(marker), __import__: "antigravity"}.get(
        function, f"open({str(marker)!r}, 'w')"
    )
    for number, tree in enumerate(({"dense.weight": Attack(function, arguments)}, [Attack(function, arguments)] * 3)):
        refuse(files.write_pickle(tmp_path / f"w{number}", tree, protocol), says="asks for")


@pytest.mark.parametrize("legacy", [False, True])
def test_calls_in_a_checkpoint(tmp_path, marker, legacy):
    tree = {**files.tensors(STATE), "extra": Attack(os.mkdir, str(marker))}
    refuse(files.write_torch(tmp_path / "w", tree, legacy), says="asks for posix.mkdir")


def test_a_pickled_module_is_refused_by_its_name(tmp_path):
    refuse(files.write_torch(tmp_path / "w", torch.nn.Linear(2, 2)), says="torch.nn.modules.linear.Linear")


def test_source_code_of_a_network_is_not_run(tmp_path):
    network = files.tensorflow_network(files.tensorflow_variables(ARRAYS))
    assert "raise SystemExit" in network.state["build_module_src"]
    assert read_weights(files.write_pickle(tmp_path / "w", network)).architecture == "pggan"


def test_objects_in_a_numpy_archive(tmp_path, marker):
    np.savez(tmp_path / "w.npz", **{"dense.weight": np.array([Attack(os.mkdir, str(marker))], dtype=object)})
    refuse(tmp_path / "w.npz")


def call(module: bytes, name: bytes, arguments: bytes = b")") -> bytes:
    return b"\x80\x04c" + module + b"\n" + name + b"\n" + arguments


RAW = {
    "dotted name": call(b"tfutil", b"Network.__setstate__.__globals__") + b".",
    "name by the stack": b"\x80\x04\x8c\x06tfutil\x8c\x11Network.__class__\x93.",
    "prefix": call(b"numpy", b"dtype.__class__") + b"R.",
    "state of a name": call(b"tfutil", b"Network", b"}") + b"b.",
    "state of a list": b"\x80\x04]}b.",
    "call of a list": b"\x80\x04])R.",
    "call of a record": call(b"tfutil", b"Network") + b"R)R.",
    "new object of a record": call(b"tfutil", b"Network") + b"\x81)\x81.",
    "new object with keywords": call(b"tfutil", b"Network") + b"}\x92.",
    "instance": b"\x80\x02(itfutil\nNetwork\n.",
    "object": call(b"tfutil", b"Network", b"") + b"(o.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"\x80\x02Pposix\n.",
    "out of band": b"\x80\x05\x97.",
    "object array": call(b"numpy", b"dtype", b"\x8c\x02O8\x89\x88\x87") + b"R.",
    "storage called": call(b"torch", b"FloatStorage") + b"R.",
}


@pytest.mark.parametrize("name", RAW)
def test_every_way_to_make_something_of_a_name(tmp_path, name):
    (tmp_path / "w").write_bytes(RAW[name])
    with pytest.raises(InconsistentInput, match="are refused"):
        read_weights(tmp_path / "w")


def test_numpy_arrays_are_read_and_nothing_else_of_numpy(rng):
    values = {"a": rng.standard_normal((3, 4)), "b": np.float32(2.5), "c": np.asfortranarray(rng.random((2, 5))),
              "d": np.arange(24).reshape(2, 3, 4).transpose(1, 2, 0), "e": {1, 2}, "f": bytearray(b"xy")}  # fmt: skip
    for protocol in range(2, 6):
        found = unpickle(io.BytesIO(pickle.dumps(values, protocol)), {})
        assert all(np.array_equal(found[key], values[key]) for key in "abcd")
        assert sorted(found["e"]) == [1, 2] and found["f"] == b"xy"
    for other in (np.array([object()]), np.dtype([("a", "f4")]), np.random.default_rng, np.load, np.poly1d):
        with pytest.raises(Refused):
            unpickle(io.BytesIO(pickle.dumps(other)), {})


# --- memory and time --------------------------------------------------------------------------------------------------


def shared_list(levels: int) -> bytes:
    """A list that holds the one below twice: 2^levels items in a few bytes."""
    step = (b"\x94](h" + bytes([i, ord("h"), i]) + b"e" for i in range(levels))
    return b"\x80\x04]" + b"".join(step) + b"."


BOMBS = {
    "bytes by number": call(b"builtins", b"bytes", b"J\xff\xff\xff\x7f\x85") + b"R.",
    "bytearray by number": call(b"builtins", b"bytearray", b"\x8a\x05\x00\x00\x00\x00\x7f\x85") + b"R.",
    "announced bytes": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x",
    "announced text": b"\x80\x05\x8d" + struct.pack("<Q", 1 << 40) + b"x",
    "announced frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 45) + b"N.",
    "memo": b"\x80\x04N" + b"\x94" * 600_000 + b".",
    "containers": b"\x80\x04" + b"}" * 600_000 + b".",
    "depth": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "tuple depth as a key": b"\x80\x04})" + b"\x85" * 200_000 + b"Ns.",
    "doubled tuples as a key": b"\x80\x04})" + b"2\x86" * 60 + b"Ns.",
    "doubled lists": shared_list(60),
    "itself": b"\x80\x04]\x94h\x00a.",
    "large array of few bytes": call(b"numpy._core.numeric", b"_frombuffer", b"(C\x04abcd")
    + call(b"numpy", b"dtype", b"\x8c\x02f4\x89\x88\x87")[2:]
    + b"RJ\xff\xff\xff\x7f\x85\x8c\x01CtR.",
    "one list, many dictionaries": b"\x80\x04K\x01K\x02\x86\x940]\x94(" + b"h\x00" * 100_000 + b"e0("
    + b"ccollections\nOrderedDict\nh\x01\x85R" * 3000 + b"l.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.usefixtures("ends")
def test_bombs_end_and_stay_small(tmp_path, name):
    (tmp_path / "w").write_bytes(BOMBS[name])
    tracemalloc.start()
    with pytest.raises(HyperError):
        read_weights(tmp_path / "w")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 700e6


def test_tensors_larger_than_their_storage(tmp_path):
    """One number seen as 2^40: PyTorch would load it, and the first copy would fill the memory."""
    tree = {"dense.weight": torch.zeros(1).expand(1 << 20, 1 << 20)}
    for legacy in (False, True):
        refuse(files.write_torch(tmp_path / "w", tree, legacy), MissingFiles, "larger than its storage")


def test_many_views_of_one_storage(tmp_path):
    block = torch.zeros(1000, 100)
    tree = {f"layer{i}.weight": block.T for i in range(50)}
    refuse(files.write_torch(tmp_path / "w", tree), MissingFiles, "many times as large")


def test_one_array_under_many_names(tmp_path):
    block = np.zeros((1000, 1000), np.float32)
    refuse(files.write_pickle(tmp_path / "w", {f"a{i}": block for i in range(100)}), says="fill the memory")


def test_zips_that_are_not_what_they_seem(tmp_path):
    path = files.write_torch(tmp_path / "w", files.tensors(STATE))
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    refuse(tmp_path / "packed", MissingFiles, "compressed")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    content[largest.header_offset + 300] ^= 1
    path.write_bytes(content)
    refuse(path, MissingFiles, "checksum")
    np.savez_compressed(tmp_path / "bomb.npz", **{"dense.weight": np.zeros((5000, 5000), np.float32)})
    refuse(tmp_path / "bomb.npz", MissingFiles, "unpack to more than")


# --- damage -----------------------------------------------------------------------------------------------------------


def write(kind: str, folder: Path) -> Path:
    path = folder / kind.replace(" ", "-")
    if kind == "mxnet":
        return files.write_mxnet(path, files.mxnet_names(ARRAYS, "child"))
    if kind.startswith("tensorflow"):
        trio = (files.tensorflow_network(files.tensorflow_variables(ARRAYS)),) * 3
        return files.write_pickle(path, trio, protocol=int(kind[-1]))
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **STATE)
        return path
    if kind == "safetensors":
        return write_safetensors(pggan(ARRAYS, {}, "fuzz"), path)
    tree = {"config": files.fake_config(alpha=0), "avgG": files.tensors(files.ganzoo_state(ARRAYS))}
    return files.write_torch(path, tree, legacy=kind == "torch legacy")


KINDS = ("mxnet", "tensorflow 2", "tensorflow 4", "torch zip", "torch legacy", "npz", "safetensors")


def test_altered_files_give_weights_or_an_error(tmp_path):
    sources = [str(write(kind, tmp_path)) for kind in KINDS]
    script = Path(__file__).with_name("fuzz_readers.py")
    command = [sys.executable, str(script), str(tmp_path), "11", "100", *sources]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == len(KINDS)
    for name, read, refused in lines:
        assert int(refused) >= 100 and int(read) + int(refused) >= 200, name


def test_a_parser_never_reads_beyond_its_bytes():
    with pytest.raises(Damaged):
        unpickle(io.BytesIO(b""), {})
