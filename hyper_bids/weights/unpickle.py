"""Read a pickle as data: no import, no call, no attribute, only arrays and plain values behind an allow-list.

A pickle is a program. Here it runs on Python's own slow unpickler, in which every name it asks for becomes an inert
`Global`, every call an `Inert` that records what was to be called with what, and every name outside the list of exact
(module, name) pairs ends the reading. What the records mean (a NumPy array, a dictionary) is decided afterwards,
by the functions of `MEANINGS` and the caller's own, on values that are already harmless.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
from collections.abc import Callable, Mapping
from math import prod
from typing import ClassVar

import numpy as np

from hyper_bids.weights.canonical import Damaged, Refused

Name = tuple[str, str]
"""(module, name) as a pickle asks for it, always compared as a whole."""

MAX_DEPTH = 100
MAX_COPIES = 8
"""How many times the bytes of the file may be unpacked: an object that is mentioned often is unpacked as often."""

MAX_OBJECTS = 500_000
"""Containers and memo entries: one byte of a hostile pickle can cost 200 of memory."""

PLAIN = (str, bytes, int, float, complex, bool, type(None))
BROKEN = (
    pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, ValueError, TypeError, OverflowError,
    struct.error, MemoryError, RecursionError, AssertionError, NotImplementedError,
)  # fmt: skip
"""What the standard unpickler and NumPy raise on bytes that make no sense."""


class Global:
    """A name that a pickle asked for. It stands for nothing."""

    __slots__ = ("name",)

    def __init__(self, name: Name) -> None:
        self.name = name

    def __str__(self) -> str:
        return ".".join(self.name)


class Inert:
    """The record of an object that a pickle wanted made: whose, from which arguments, state and items."""

    __slots__ = ("arguments", "items", "name", "state")

    def __init__(self, name: Name, arguments: tuple) -> None:
        self.name = name
        self.arguments = arguments
        self.state: object = None
        self.items: list[tuple[object, object]] = []


Meaning = Callable[[Inert], object]
"""Turns a record, whose parts have been resolved already, into a value. May raise `Damaged` or `Refused`."""


def unpickle(
    source,
    meanings: Mapping[Name, Meaning | None],
    *,
    bare: frozenset[Name] = frozenset(),
    persistent: Callable[[object], object] | None = None,
) -> object:
    """Read one pickle from a file-like object that never returns more than it has (``mmap`` or ``BytesIO``).

    Parameters
    ----------
    source : mmap.mmap or io.BytesIO
        Left behind the pickle's last byte.
    meanings : (module, name) -> function or None
        What may be called or made besides NumPy's arrays and plain containers; None leaves the `Inert`.
    bare : set of (module, name)
        Names that may be mentioned, but neither called nor made (``torch.FloatStorage``).
    persistent : function or None
        Gets the resolved id of each external object; without it they are refused.

    Raises
    ------
    Refused
        The pickle asks for a name that is not on the list, or uses an opcode that no weight file needs.
    Damaged
        It is cut off or makes no sense.
    """
    table: dict[Name, Meaning | None] = {**MEANINGS, **meanings}
    try:
        root = _Reader(source, frozenset(table), bare, persistent).load()
    except BROKEN as error:
        raise Damaged(f"its pickle is cut off or altered ({type(error).__name__}: {str(error)[:80]})") from error
    n_bytes = source.getbuffer().nbytes if isinstance(source, io.BytesIO) else len(source)
    return _Resolver(table, MAX_COPIES * n_bytes + 1_000_000).resolve(root)


class _Reader(pickle._Unpickler):
    """The standard unpickler with its hands tied; see the module's text."""

    dispatch: ClassVar[dict] = dict(pickle._Unpickler.dispatch)

    def __init__(self, source, callable_names, bare, persistent) -> None:
        super().__init__(source, fix_imports=False, encoding="latin1")
        self._callable = callable_names
        self._bare = bare
        self._persistent = persistent
        self._n_objects = 0

    def find_class(self, module, name):
        if (module, name) not in self._callable and (module, name) not in self._bare:
            raise Refused(
                f"it asks for {str(module)[:60]}.{str(name)[:60]} when it is opened, which could run code. "
                f"Nothing was run"
            )
        return Global((module, name))

    def persistent_load(self, pid):
        if self._persistent is None:
            raise Refused("it refers to objects outside itself, as no weight file of this kind does")
        return self._persistent(_Resolver({}, 1000).resolve(pid))

    def get_extension(self, code):
        raise Refused("it uses pickle extension codes, which could run code. Nothing was run")

    def _made(self, what, arguments):
        if not isinstance(what, Global) or what.name not in self._callable or not isinstance(arguments, tuple):
            raise Refused("it calls something that is no known name, which could run code. Nothing was run")
        self.stack.append(Inert(what.name, arguments))

    def load_reduce(self):
        arguments = self.stack.pop()
        self._made(self.stack.pop(), arguments)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_reduce

    def load_build(self):
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Inert):
            raise Refused("it sets the state of something that is no object, which could run code. Nothing was run")
        self.stack[-1].state = state

    dispatch[pickle.BUILD[0]] = load_build

    def _put(self, pairs):
        target = self.stack[-1]
        if any(type(key) not in PLAIN for key, _ in pairs):  # others could be slow, or impossible, to hash
            raise Damaged("a dictionary in its pickle has a key that is neither text nor a number")
        if isinstance(target, Inert):
            target.items.extend(pairs)
        elif type(target) is dict:
            target.update(pairs)
        else:
            raise Damaged("its pickle sets items of something that is no dictionary")

    def load_setitem(self):
        value = self.stack.pop()
        key = self.stack.pop()
        self._put([(key, value)])

    def load_setitems(self):
        flat = self.pop_mark()
        self._put(list(zip(flat[::2], flat[1::2], strict=True)))

    def load_dict(self):
        flat = self.pop_mark()
        self.stack.append({})
        self._put(list(zip(flat[::2], flat[1::2], strict=True)))

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict

    def load_append(self):
        value = self.stack.pop()
        self._appended([value])

    def load_appends(self):
        self._appended(self.pop_mark())

    def _appended(self, values):
        if type(self.stack[-1]) is not list:
            raise Damaged("its pickle appends to something that is no list")
        self.stack[-1].extend(values)

    dispatch[pickle.APPEND[0]] = load_append
    dispatch[pickle.APPENDS[0]] = load_appends

    def load_bytearray8(self):
        (length,) = struct.unpack("<Q", self.read(8))
        if length > 1 << 62:
            raise Damaged("its pickle announces more bytes than any file has")
        data = self.read(length)
        if len(data) != length:
            raise EOFError("cut off within an array")
        self.stack.append(data)

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def load_refused(self):
        raise Refused("it uses pickle instructions that no weight file needs and that could run code. Nothing was run")

    for _code in (pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER):
        dispatch[_code[0]] = load_refused

    # A set becomes a list: nothing has to be hashed.
    dispatch[pickle.EMPTY_SET[0]] = pickle._Unpickler.load_empty_list
    dispatch[pickle.FROZENSET[0]] = pickle._Unpickler.load_list
    dispatch[pickle.ADDITEMS[0]] = load_appends

    @staticmethod
    def _counted(step):
        def load(self):
            self._n_objects += 1
            if self._n_objects > MAX_OBJECTS:
                raise Damaged(f"its pickle makes more than {MAX_OBJECTS} objects")
            step(self)

        return load

    for _code in (
        pickle.MARK, pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.EMPTY_SET, pickle.EMPTY_TUPLE, pickle.TUPLE1,
        pickle.TUPLE2, pickle.TUPLE3, pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.REDUCE,
        pickle.NEWOBJ, pickle.GLOBAL, pickle.STACK_GLOBAL,
    ):  # fmt: skip
        dispatch[_code[0]] = _counted(dispatch[_code[0]])


class _Resolver:
    """Replaces records by what they mean, each once however often it is mentioned."""

    def __init__(self, meanings: Mapping[Name, Meaning | None], budget: int) -> None:
        self._meanings = meanings
        self._budget = budget
        self._done: dict[int, object] = {}
        self._open: set[int] = set()

    def resolve(self, value: object, depth: int = 0) -> object:
        if type(value) in PLAIN or isinstance(value, Global):
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        if id(value) in self._open or depth > MAX_DEPTH:
            raise Damaged("its pickle contains itself, or is nested without end")
        self._open.add(id(value))
        result = self._resolved(value, depth + 1)
        self._open.discard(id(value))
        self._done[id(value)] = result
        return result

    def _resolved(self, value: object, depth: int) -> object:
        if type(value) is dict:
            return {key: self.resolve(item, depth) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.resolve(item, depth) for item in value)
        if not isinstance(value, Inert):  # what `persistent` returned
            return value
        record = Inert(value.name, self.resolve(value.arguments, depth))
        record.state = self.resolve(value.state, depth)
        record.items = [(key, self.resolve(item, depth)) for key, item in value.items]
        meaning = self._meanings.get(value.name)
        state = record.state if isinstance(record.state, tuple) else ()
        self._budget -= sum(len(part) for part in (*record.arguments, *state) if isinstance(part, str | bytes | list))
        if self._budget < 0:
            raise Damaged("its objects are many times as large as the file")
        try:
            return record if meaning is None else meaning(record)
        except BROKEN as error:
            raise Damaged(f"its {'.'.join(value.name)} makes no sense ({type(error).__name__})") from error


def _dtype(record: Inert) -> np.dtype:
    code = record.arguments[0]
    if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?[biufc]\d{1,2}|\?", code):
        raise Refused(f"it holds arrays of type {str(code)[:20]!r}; weights are plain numbers")
    order = "="
    if record.state is not None:
        _, order, subdtype, names, fields = record.state[:5]
        if (subdtype, names, fields) != (None, None, None) or order not in ("<", ">", "|", "="):
            raise Refused("it holds structured arrays; weights are plain numbers")
    return np.dtype(code).newbyteorder("<" if order == "|" else order)


def array_from(raw: object, dtype: object, shape: object, fortran: bool = False) -> np.ndarray:
    """Return a read-only array of the bytes, in the machine's byte order, after checking that they are as many."""
    if isinstance(raw, str):  # Python 2 wrote bytes as text
        raw = raw.encode("latin1")
    if not isinstance(raw, bytes) or not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
        raise Refused("it holds an array that is not made of plain numbers")
    if any(type(length) is not int or length < 0 for length in shape) or prod(shape) * dtype.itemsize != len(raw):
        raise Damaged(f"an array of shape {str(shape)[:60]} has {len(raw)} bytes")
    array = np.frombuffer(raw, dtype=dtype).reshape(shape, order="F" if fortran else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _array(record: Inert) -> np.ndarray:
    if not isinstance(record.state, tuple) or len(record.state) not in (4, 5):
        raise Damaged("an array has no content")
    shape, dtype, fortran, raw = record.state[-4:]
    return array_from(raw, dtype, shape, bool(fortran))


def _from_buffer(record: Inert) -> np.ndarray:
    raw, dtype, shape, order = record.arguments[:4]
    array = array_from(raw, dtype, shape, order == "F")
    axes = record.arguments[4] if len(record.arguments) == 5 else None
    return array if axes is None or order != "K" else array.transpose(axes)  # newer NumPy keeps any order of axes


def _scalar(record: Inert) -> object:
    dtype, raw = record.arguments
    return array_from(raw, dtype, ())


def _encoded(record: Inert) -> bytes:
    text, encoding = record.arguments
    if encoding not in ("latin1", "latin-1"):
        raise Damaged("bytes written in an unknown encoding")
    return text.encode("latin1")


def _bytes(record: Inert) -> bytes:
    if not record.arguments:
        return b""
    raw = record.arguments[0]
    if isinstance(raw, str) and record.arguments[1:] in (("latin-1",), ("latin1",)):
        return raw.encode("latin1")
    if not isinstance(raw, bytes) or len(record.arguments) != 1:  # bytes(10**12) is a way to fill the memory
        raise Damaged("bytes made of something else")
    return raw


def _members(record: Inert) -> list:
    return list(record.arguments[0]) if record.arguments else []


def dictionary(record: Inert) -> dict:
    """Return what an OrderedDict, EasyDict or any other subclass of dict holds; its attributes are left out."""
    pairs = list(record.arguments[0]) if record.arguments else []
    if any(len(pair) != 2 or type(pair[0]) not in PLAIN for pair in pairs):
        raise Damaged("a dictionary with a key that is neither text nor a number")
    return {**dict(pairs), **dict(record.items)}


def attributes(record: Inert) -> dict:
    """Return the attributes of a plain settings object (``argparse.Namespace``) as a dictionary."""
    if record.state is None:
        return {}
    if not isinstance(record.state, dict):
        raise Damaged("a settings object without attributes")
    return dict(record.state)


MEANINGS: dict[Name, Meaning | None] = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): None,
    ("_codecs", "encode"): _encoded,
    ("collections", "OrderedDict"): dictionary,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    **{(module, "set"): _members for module in ("builtins", "__builtin__")},
    **{(module, kind): _bytes for module in ("builtins", "__builtin__") for kind in ("bytes", "bytearray")},
}
"""Always allowed: NumPy 1 and 2, Python 2 and 3."""
