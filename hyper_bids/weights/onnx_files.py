"""ONNX files, looked through as data before ONNX Runtime is given the very same bytes.

Allowed is one self-contained graph of standard operators, latents ``(n, L)`` to images ``(n, colours, H, W)``, both
float32. Custom operators, functions, training information and data outside the file are refused, wherever they are:
in graphs within graphs, attributes and sparse tensors too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hyper_bids.weights.canonical import Damaged, Refused, Weights
from hyper_bids.weights.protobuf import BYTES, VARINT, fields, integer, messages, text

IR_VERSIONS = range(1, 32)
NEXT_FIELDS = frozenset({0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2, 0xCA})
"""First byte of the fields of a model that may follow its version."""

STANDARD = ("", "ai.onnx")
FLOAT = 1
MAX_DEPTH = 8
MAX_BYTES = (1 << 31) - 1
"""What a protocol buffer can be."""

ORT_FORMAT = b"ORTM"
"""At byte 4 it makes ONNX Runtime read a file in its own format, which was not looked through."""

EXPORT = "export it again as one file with standard operators: torch.onnx.export(..., external_data=False)"


@dataclass(frozen=True)
class Signature:
    """What a checked model takes and gives; None where the file leaves a length open.

    Parameters
    ----------
    input_name, output_name : str
    batch, n_latents : int or None
    image : (colours, height, width), each int or None
    opset : int
    """

    input_name: str
    output_name: str
    batch: int | None
    n_latents: int | None
    image: tuple[int | None, int | None, int | None]
    opset: int


def starts(head: bytes) -> bool:
    """Say whether a file with these first bytes is an ONNX model."""
    return len(head) > 2 and head[0] == 0x08 and head[1] in IR_VERSIONS and head[2] in NEXT_FIELDS


def read(path: Path) -> Weights:
    """Refuse: an ONNX file is a whole network, not the weights of one known here."""
    raise Refused("it is an ONNX network, which is no weight file but a generator: use `--generator FILE.onnx`")


def checked(content: bytes) -> Signature:
    """Return the signature of a model, or say why it is not used.

    Raises
    ------
    Damaged
        The bytes are no ONNX model.
    Refused
        It is one, but not a self-contained generator of standard operators.
    """
    if not starts(content[:8]):
        raise Damaged("it does not start as an ONNX file")
    if len(content) > MAX_BYTES:
        raise Refused("it is larger than 2 GiB, more than an ONNX file can be")
    if content[4:8] == ORT_FORMAT:
        raise Refused(f"it is in ONNX Runtime's own format; {EXPORT}")
    for number, wire, _ in fields(content):
        if number == 20 and wire == BYTES:
            raise Refused(f"it holds training information; {EXPORT}")
        if number == 25 and wire == BYTES:
            raise Refused(f"it holds functions of its own; {EXPORT}")
    graphs = list(messages(content, 7))
    if len(graphs) != 1:
        raise Damaged(f"it has {len(graphs)} graphs")
    _check_graph(graphs[0], 0)
    return _signature(graphs[0], _opset(content))


def _opset(content: bytes) -> int:
    version = 0
    for imported in messages(content, 8):
        _check_domain(text(imported, 1))
        version = max(version, integer(imported, 2))
    if version < 1:
        raise Damaged("it does not say which operators it uses")
    return version


def _check_domain(domain: str) -> None:
    if domain not in STANDARD:
        raise Refused(f"it uses operators of {domain[:40]!r}, which are somebody's code; {EXPORT}")


def _check_graph(graph: memoryview, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Damaged(f"its graphs are nested more than {MAX_DEPTH} deep")
    for number, wire, value in fields(graph):
        if wire != BYTES:
            continue
        if number == 1:
            _check_node(value, depth)
        elif number == 5:
            _check_tensor(value)
        elif number == 15:
            _check_sparse(value)


def _check_node(node: memoryview, depth: int) -> None:
    for number, wire, value in fields(node):
        if wire == BYTES and number == 7:
            _check_domain(bytes(value).decode("utf-8", errors="replace"))
        elif wire == BYTES and number == 5:
            _check_attribute(value, depth)


def _check_attribute(attribute: memoryview, depth: int) -> None:
    for number, wire, value in fields(attribute):
        if wire != BYTES:
            continue
        if number in (5, 10):
            _check_tensor(value)
        elif number in (22, 23):
            _check_sparse(value)
        elif number in (6, 11):
            _check_graph(value, depth + 1)
        elif number == 21:
            raise Refused(f"an operator in it refers to a function; {EXPORT}")


def _check_sparse(sparse: memoryview) -> None:
    for number in (1, 2):
        for tensor in messages(sparse, number):
            _check_tensor(tensor)


def _check_tensor(tensor: memoryview) -> None:
    for number, wire, value in fields(tensor):
        if (number == 13 and wire == BYTES) or (number == 14 and wire == VARINT and value):
            raise Refused(f"it keeps data in other files; {EXPORT}")


def _signature(graph: memoryview, opset: int) -> Signature:
    constants = {text(tensor, 8) for tensor in messages(graph, 5)}
    inputs = [value for value in _values(graph, 11) if value[0] not in constants]
    outputs = list(_values(graph, 12))
    if len(inputs) != 1 or len(outputs) != 1:
        raise Refused(f"it has {len(inputs)} inputs and {len(outputs)} outputs; a generator has one each")
    (input_name, kind, taken), (output_name, made_kind, made) = inputs[0], outputs[0]
    if kind != FLOAT or made_kind != FLOAT:
        raise Refused("its input or output is not float32")
    if taken is None or len(taken) != 2:
        raise Refused(f"its input has shape {taken}; latents are (n, L)")
    if made is not None and (len(made) != 4 or made[1] not in (None, 1, 3)):
        raise Refused(f"its output has shape {made}; images are (n, 1 or 3, height, width)")
    if taken[0] not in (None, 1):
        raise Refused(f"it takes exactly {taken[0]} latents at once; export it with a dynamic batch, or one of 1")
    image = (None, None, None) if made is None else made[1:]
    return Signature(input_name, output_name, taken[0], taken[1], image, opset)


def _values(graph: memoryview, number: int) -> Iterator[tuple[str, int, tuple[int | None, ...] | None]]:
    """Yield (name, element type, shape) of inputs or outputs; shape None where the file has none."""
    for value in messages(graph, number):
        kind, shape = 0, None
        for described in messages(value, 2):
            for tensor in messages(described, 1):
                kind = integer(tensor, 1)
                for lengths in messages(tensor, 2):
                    shape = tuple(_length(dim) for dim in messages(lengths, 1))
        yield text(value, 1), kind, shape


def _length(dim: memoryview) -> int | None:
    length = None
    for number, wire, value in fields(dim):
        if number == 1 and wire == VARINT:
            length = value
    if length is not None and not 0 < length < 1 << 20:
        return None
    return length
