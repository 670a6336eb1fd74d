"""ONNX generators: the good one equals MXNet; whatever is not one self-contained graph is refused before it is run."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles, UsageError  # noqa: E402
from hyper_bids.generate.onnx_file import ONNXGenerator  # noqa: E402
from hyper_bids.protocols import Generator  # noqa: E402
from hyper_bids.weights import onnx_files, read_weights  # noqa: E402
from hyper_bids.weights.canonical import Damaged, Refused  # noqa: E402

LATENTS, SIZE = 5, 8


@pytest.fixture(scope="module")
def published(shared_data) -> Path:
    folder = shared_data.parent / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"weight files of the real tools not found at {folder}")
    return folder


def dense(colours: int = 3) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((LATENTS, colours * SIZE * SIZE)).astype(np.float32)


def model(batch="n", latents=LATENTS, colours: int = 3, image=("n", None, None, None), **changes):
    """tanh(z W) as an image; ``changes``: nodes, initialisers, inputs, outputs, opsets to add or put in place."""
    weight = numpy_helper.from_array(dense(colours), "w")
    shape = numpy_helper.from_array(np.int64([-1, colours, SIZE, SIZE]), "s")
    nodes = [helper.make_node("MatMul", ["z", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["t"]),
             helper.make_node("Reshape", ["t", "s"], ["image"])]  # fmt: skip
    inputs = [helper.make_tensor_value_info("z", changes.get("kind", TensorProto.FLOAT), [batch, latents])]
    outputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)]
    graph = helper.make_graph(
        changes.get("nodes", nodes) + changes.get("more_nodes", []), "g", inputs + changes.get("more_inputs", []),
        outputs + changes.get("more_outputs", []), [weight, shape, *changes.get("initialisers", [])],
        sparse_initializer=changes.get("sparse", []),
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), *changes.get("opsets", [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=changes.get("functions", []))


def write(path: Path, made, **sidecar) -> Path:
    path.write_bytes(made.SerializeToString())
    if sidecar:
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


@pytest.fixture
def latents(rng) -> np.ndarray:
    return rng.standard_normal((3, LATENTS)).astype(np.float32)


# --- good files -------------------------------------------------------------------------------------------------------


def test_the_published_example_equals_mxnet(published):
    golden = np.load(published / "mxnet" / "generator_small_golden.npz")
    generator = ONNXGenerator(published / "plugins" / "hyper_small.onnx")
    assert isinstance(generator, Generator) and generator.n_latents == 512
    made = generator.generate(golden["latents"])
    np.testing.assert_allclose(made.transpose(0, 3, 1, 2), golden["layer6"], atol=1e-4)


@pytest.mark.parametrize("image", [("n", None, None, None), ("n", 3, SIZE, SIZE), ("n", 3, "h", "w"), None])
@pytest.mark.parametrize("batch", ["n", 1, None])
def test_batches_and_shapes_that_are_left_open(tmp_path, latents, batch, image):
    generator = ONNXGenerator(write(tmp_path / "g.onnx", model(batch, image=image)))
    expected = np.tanh(latents @ dense()).reshape(3, 3, SIZE, SIZE).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(generator.generate(latents), expected, atol=1e-5)
    assert generator.generate(latents[:0]).shape == (0, SIZE, SIZE, 3)
    small = ONNXGenerator(generator.path, resolution=4)
    np.testing.assert_allclose(small.generate(latents), expected.reshape(3, 4, 2, 4, 2, 3).mean((2, 4)), atol=1e-5)
    assert "mean of 2 x 2" in small.notes[-1]


def test_grey_latents_of_the_sidecar_and_pickling(tmp_path, latents):
    made = model(latents="L", colours=1)
    checksum = hashlib.sha256(made.SerializeToString()).hexdigest()
    path = write(tmp_path / "g.onnx", made, latent_dim=LATENTS, range=[0, 1], rounding="nearest", sha256=checksum)
    generator = ONNXGenerator.load(path, device="cpu")
    images = generator.generate(latents)
    assert generator.range == (0.0, 1.0) and not generator.notes and np.ptp(images, axis=3).max() == 0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(generator)).generate(latents), images)
    with pytest.raises(InconsistentInput, match=r"\(n, 5\)"):
        generator.generate(latents[:, :2])


def test_constants_may_be_listed_as_inputs(tmp_path, latents):
    listed = [helper.make_tensor_value_info("w", TensorProto.FLOAT, dense().shape)]
    generator = ONNXGenerator(write(tmp_path / "g.onnx", model(more_inputs=listed)))
    assert generator.generate(latents).shape == (3, SIZE, SIZE, 3)


# --- files to be refused ----------------------------------------------------------------------------------------------


def external(name: str = "w") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/hostname")
    return tensor


def in_branch(node):
    """A graph within a graph within a node."""
    inner = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    middle = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], "middle", [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )  # fmt: skip
    return helper.make_node("If", ["c"], ["q"], then_branch=middle, else_branch=middle)


def constant(**attributes):
    return helper.make_node("Constant", [], ["k"], **attributes)


SPARSE = onnx.SparseTensorProto(values=external(), indices=numpy_helper.from_array(np.int64([0]), "i"), dims=[4])
FUNCTION = helper.make_function("own", "F", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])],
                                [helper.make_opsetid("", 17)])  # fmt: skip
EVIL = helper.make_node("Evil", ["z"], ["q"], domain="com.evil")
VALUE = helper.make_tensor_value_info
HOSTILE = {
    "custom operator": ({"more_nodes": [EVIL]}, "com.evil"),
    "custom operators imported": ({"opsets": [helper.make_opsetid("ai.onnx.ml", 3)]}, "ai.onnx.ml"),
    "custom operator in a branch": ({"more_nodes": [in_branch(EVIL)]}, "com.evil"),
    "external constant": ({"initialisers": [external("x")]}, "other files"),
    "external sparse constant": ({"sparse": [SPARSE]}, "other files"),
    "external attribute": ({"more_nodes": [constant(value=external())]}, "other files"),
    "external sparse attribute": ({"more_nodes": [constant(sparse_value=SPARSE)]}, "other files"),
    "external in a branch": ({"more_nodes": [in_branch(constant(value=external()))]}, "other files"),
    "function": ({"functions": [FUNCTION]}, "functions of its own"),
    "two inputs": ({"more_inputs": [VALUE("y", 1, ["n", 2])]}, "2 inputs"),
    "two outputs": ({"more_outputs": [VALUE("t", 1, ["n", 192])]}, "2 outputs"),
    "double precision": ({"kind": TensorProto.DOUBLE}, "float32"),
    "four at once": ({"batch": 4}, "exactly 4"),
    "vectors": ({"image": ["n", 192]}, "images are"),
    "four colours": ({"image": ["n", 4, 8, 8]}, "images are"),
    "unknown operator": ({"more_nodes": [helper.make_node("Nonsense", ["z"], ["q"])]}, "Nonsense"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_self_contained_generator_is_refused(tmp_path, name):
    changes, says = HOSTILE[name]
    path = write(tmp_path / "g.onnx", model(**changes))
    with pytest.raises(InconsistentInput, match=says) as caught:
        ONNXGenerator(path)
    assert "\n" not in str(caught.value)


def test_training_information_a_second_graph_and_another_format(tmp_path):
    made = model()
    made.training_info.add()
    write(tmp_path / "a.onnx", made)
    twice = model(initialisers=[external("x")]).SerializeToString() + model().SerializeToString()
    (tmp_path / "b.onnx").write_bytes(twice)
    content = b"\x08\x08\x12\x04ORTM" + model().SerializeToString()[2:]
    (tmp_path / "c.onnx").write_bytes(content)
    for name, says in (("a", "training"), ("b", "2 graphs"), ("c", "own format")):
        with pytest.raises(HyperError, match=says):
            ONNXGenerator(tmp_path / f"{name}.onnx")


@pytest.mark.parametrize(
    "name", ["hostile_custom_op.onnx", "hostile_sparse_external.onnx", "hyper_small.torchscript.pt"]
)
def test_published_hostile_files(published, name):
    with pytest.raises(InconsistentInput, match="refused"):
        ONNXGenerator(published / "plugins" / name)
    with pytest.raises(InconsistentInput, match="refused"):
        read_weights(published / "plugins" / name)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("g.py", b"class Generator: pass", "Python file"), ("g.bin", b"import os\n", "Python file"),
        ("g.pt2", b"PK\x03\x04", "torch.export"), ("g.pt", b"PK\x03\x04", "TorchScript"),
        ("g.pkl", pickle.dumps(os.getcwd), "pickle"),
    ],
)  # fmt: skip
def test_code_is_refused_in_one_line(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InconsistentInput, match=f"{says}.*to ONNX"):
        ONNXGenerator(tmp_path / name)


@pytest.mark.parametrize(
    ("sidecar", "says"),
    [
        ({"latent_dim": 6}, "takes 5 latents"), ({"range": [1, -1]}, "low < high"), ({"range": "wide"}, "low, high"),
        ({"sha256": "00"}, "SHA-256"), ({"rounding": "up"}, "rounded"), ({"latent_dim": True}, "latent_dim"),
    ],
)  # fmt: skip
def test_a_sidecar_that_contradicts_the_file(tmp_path, sidecar, says):
    with pytest.raises(InconsistentInput, match=says):
        ONNXGenerator(write(tmp_path / "g.onnx", model(), **sidecar))


def test_faults_around_the_file(tmp_path, monkeypatch):
    path = write(tmp_path / "g.onnx", model())
    (tmp_path / "list.onnx").write_bytes(path.read_bytes())
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(InconsistentInput, match="JSON object"):
        ONNXGenerator(tmp_path / "list.onnx")
    with pytest.raises(InconsistentInput, match="how many latents"):
        ONNXGenerator(write(tmp_path / "open.onnx", model(latents="L")))
    with pytest.raises(MissingFiles, match="not there"):
        ONNXGenerator(tmp_path / "no.onnx")
    for options, says in (({"device": "x"}, "'x'"), ({"device": "cuda"}, "cpu"), ({"resolution": 3}, "divisor")):
        with pytest.raises(UsageError, match=says):
            ONNXGenerator(path, **options)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingFiles, match="pip install"):
        ONNXGenerator(path)


def test_a_network_that_fails_when_it_runs(tmp_path):
    huge = helper.make_node("ConstantOfShape", ["big"], ["q"])
    nodes = [helper.make_node("Shape", ["z"], ["d"]), helper.make_node("Mul", ["d", "much"], ["big"]), huge,
             helper.make_node("Reshape", ["q", "s"], ["image"])]  # fmt: skip
    much = numpy_helper.from_array(np.int64([1 << 40, 1 << 20]), "much")
    with pytest.raises(InconsistentInput, match=r"fails|refuses"):
        ONNXGenerator(write(tmp_path / "g.onnx", model(nodes=nodes, initialisers=[much])))


def test_altered_files_give_a_signature_or_an_error(tmp_path):
    path = write(tmp_path / "g.onnx", model(more_nodes=[in_branch(constant(value_float=1.0))]))
    script = Path(__file__).with_name("fuzz_generators.py")
    command = [sys.executable, str(script), str(tmp_path), "3", "300", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert int(done.stdout.split()[2]) > 100
    content = path.read_bytes()
    for cut in range(0, len(content), 97):
        with pytest.raises((Damaged, Refused)):
            onnx_files.checked(content[:cut])
