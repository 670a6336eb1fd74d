"""What is in an HDF5 file, and where: a program of its own, run by `keras_h5` in a process that may die.

HDF5's library can crash, or never end, on altered files. So it only looks at the file here, with limits on time and
memory, and says on its standard output, as JSON, which data sets there are and at which bytes their numbers lie; what
is packed it unpacks into a second file. It imports nothing of hyper.

Refused: links out of the file or to other names, data kept in other files, virtual data sets, filters that HDF5 would
load from a plugin, and anything but plain numbers. Damaged: groups that contain each other, sizes that no such file
has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PLAIN_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
OPTIMISER = "optimizer_weights"
"""What Keras keeps of a training beside the layers."""

MAX_OBJECTS, MAX_DEPTH, MAX_NAME = 20_000, 12, 1000
MAX_RATIO, ALWAYS_FINE = 16, 1 << 26
"""Unpacked to packed, and bytes unpacked that are let pass in any case."""


class Refused(Exception):
    """See `hyper_bids.weights.canonical`."""


class Damaged(Exception):
    """See `hyper_bids.weights.canonical`."""


def limit(n_bytes: int) -> None:
    """Bound this process's time on the CPU and its memory by the size of the file."""
    import resource

    for what, most in (
        (resource.RLIMIT_CPU, 4 + n_bytes // 50_000_000),
        (resource.RLIMIT_AS, (3 << 30) + 2 * n_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def linked(group, name: str):
    """Return what a name stands for, if it lies in this file under a name of its own."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise Refused(f"its {name[:60]} is a link to somewhere else; weights are within the file")
    return group[name]


def data_sets(root):
    """Yield (path below the group, data set); one that has two names comes twice, a group may have but one."""
    import h5py

    seen: set[int] = set()
    n_objects = 0
    waiting = [("", root, 0)]
    while waiting:
        prefix, here, depth = waiting.pop()
        for name in here:
            if not prefix and name == OPTIMISER:
                continue
            item = linked(here, name)
            path = f"{prefix}{name}"
            n_objects += 1
            is_group = isinstance(item, h5py.Group)
            address = h5py.h5o.get_info(item.id).addr
            if (is_group and address in seen) or depth > MAX_DEPTH or n_objects > MAX_OBJECTS or len(path) > MAX_NAME:
                raise Damaged("its groups contain themselves or each other, or are nested without end")
            if is_group:
                seen.add(address)
                waiting.append((f"{path}/", item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                yield path, checked(path, item)


def checked(name: str, data):
    """Refuse data that are not plain numbers within the file."""
    if data.is_virtual or data.external is not None:
        raise Refused(f"its {name[:60]} keeps its data in another file; weights are within the file")
    if data.dtype.kind not in "fiu":
        raise Refused(f"its {name[:60]} holds {str(data.dtype)[:20]}, not numbers")
    filters = data.id.get_create_plist()
    kinds = [filters.get_filter(number)[0] for number in range(filters.get_nfilters())]
    if any(kind not in PLAIN_FILTERS for kind in kinds):
        raise Refused(f"its {name[:60]} is packed with a filter that is none of HDF5's own; save it without")
    return data


def written_by_theano(file, root) -> bool:
    """Say whether Keras's attribute ``backend`` names Theano."""
    return any("theano" in str(group.attrs.get("backend")) for group in (file, root))  # text, bytes or an array of them


def table(path: Path, unpacked: Path) -> list[dict[str, object]]:
    """Return a row per data set: name, type, shape, and where its numbers lie."""
    import h5py
    import numpy as np

    with h5py.File(path, "r") as file, unpacked.open("wb") as out:
        root = linked(file, "model_weights") if "model_weights" in file else file
        if written_by_theano(file, root):
            raise Refused("Keras wrote it with Theano, whose kernels lie otherwise; use the file for TensorFlow")
        found = list(data_sets(root))
        room = max(ALWAYS_FINE, MAX_RATIO * path.stat().st_size)
        if sum(int(data.size) * data.dtype.itemsize for _, data in found) > room:
            raise Damaged(f"it would unpack to more than {MAX_RATIO} times its size")
        rows = []
        for name, data in found:
            offset, packed = data.id.get_offset(), data.chunks is not None
            if offset is None or packed:
                offset, packed = out.tell(), True
                out.write(np.ascontiguousarray(data[()]).tobytes())
            rows.append({"name": name, "dtype": data.dtype.str, "shape": list(data.shape), "packed": packed,
                         "offset": int(offset)})  # fmt: skip
        return rows


def main(path: Path, unpacked: Path) -> dict[str, object]:
    """Return ``{"rows": ...}``, or ``{"refused": why}``, ``{"damaged": why}`` or ``{"not_installed": what}``."""
    try:
        import h5py  # noqa: F401, before the limits: what fails here is the installation's fault, not the file's
    except Exception as error:  # ImportError, and what a build for another NumPy raises
        return {"not_installed": f"{type(error).__name__}: {str(error)[:200]}"}
    try:
        limit(path.stat().st_size)
        return {"rows": table(path, unpacked)}
    except Refused as error:
        return {"refused": str(error)}
    except Damaged as error:
        return {"damaged": str(error)}
    except Exception as error:  # whatever the library makes of an altered file
        return {"damaged": f"its HDF5 is cut off or altered ({type(error).__name__}: {str(error)[:80]})"}


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[3])
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
