"""Run by test_weights_hostile.py in a process of its own: read altered copies of a file, memory and time limited.

``python fuzz_readers.py FOLDER SEED N FILE ...``: of each file N copies cut off, N with altered bytes. Whatever comes
must be weights or an error for people; anything else, seconds of work, or more memory than is spared ends the process.
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

import numpy as np

from hyper_bids.errors import HyperError
from hyper_bids.generate.pggan_network import PGGAN
from hyper_bids.weights import read_weights

SPARE_BYTES = 300_000_000
SECONDS = 120  # seconds are enough; it only ends what never ends


def altered(content: bytes, rng: np.random.Generator, n: int):
    for length in {*rng.integers(0, len(content), n).tolist(), 0, 1, 2, len(content) - 1}:
        yield content[:length]
    for _ in range(n):
        copy = bytearray(content)
        structure = rng.random() < 0.5  # the ends of a file hold most of its structure
        reach = min(600, len(copy)) if structure else len(copy)
        for position in rng.integers(0, reach, rng.integers(1, 6)):
            place = position if rng.random() < 0.5 else len(copy) - 1 - position
            copy[place] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        yield bytes(copy)


def main(folder: str, seed: str, n: str, *sources: str) -> None:
    for source in sources:
        read_weights(Path(source))  # so that everything is imported before memory is limited
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for source in sources:
        print(Path(source).name, *outcomes(Path(source).read_bytes(), Path(folder) / "altered", int(seed), int(n)))


def outcomes(content: bytes, target: Path, seed: int, n: int) -> tuple[int, int]:
    """Return how many altered copies were read, and how many were refused."""
    read = refused = 0
    for copy in altered(content, np.random.default_rng(seed), n):
        target.write_bytes(copy)
        signal.alarm(SECONDS)  # its default action ends the process
        try:
            weights = read_weights(target)
            PGGAN(weights.arrays, weights.options)
            read += 1
        except HyperError:
            refused += 1
        signal.alarm(0)
    return read, refused


if __name__ == "__main__":
    main(*sys.argv[1:])
