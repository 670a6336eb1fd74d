"""Run by tests in a process of its own: read altered copies of generators' files, memory and time limited.

``python fuzz_generators.py FOLDER SEED N FILE ...``: as fuzz_readers.py, for checkpoints, pickles and ONNX files. In
tables every second alteration gets right checksums again, or nothing behind them would ever be reached.
"""

from __future__ import annotations

import resource
import shutil
import signal
import struct
import sys
from pathlib import Path

import numpy as np
from fuzz_readers import SPARE_BYTES, altered

from hyper_bids.errors import HyperError
from hyper_bids.generate.stylegan2 import StyleGAN2Generator
from hyper_bids.generate.vaegan import VAEGANGenerator
from hyper_bids.weights import onnx_files, read_weights, sstable
from hyper_bids.weights.canonical import Damaged, Refused
from hyper_bids.weights.crc32c import crc32c, masked

SECONDS = 120  # seconds are enough; it only ends what never ends
CLASSES = {"vaegan": VAEGANGenerator, "stylegan2": StyleGAN2Generator}


def read(path: Path) -> None:
    if path.suffix == ".onnx":
        try:
            onnx_files.checked(path.read_bytes())
        except (Damaged, Refused) as error:
            raise HyperError(str(error)) from error
        return
    weights = read_weights(path)
    CLASSES[weights.architecture](weights)


def handles(content: bytes) -> list[tuple[int, int]]:
    """Where the blocks of a sound table are."""
    footer = content[-sstable.FOOTER_BYTES :]
    _, _, position = sstable._handle(footer, 0)
    offset, length, _ = sstable._handle(footer, position)
    index = content[offset : offset + length]
    if content[offset + length]:
        index = sstable.unsnapped(index)
    found = [sstable._handle(value, 0)[:2] for _, value in sstable._entries(memoryview(index))]
    return [*found, (offset, length)]


def rechecked(content: bytes, blocks: list[tuple[int, int]]) -> bytes:
    out = bytearray(content)
    for offset, length in blocks:
        end = offset + length + 1
        if end + 4 <= len(out):
            out[end : end + 4] = struct.pack("<I", masked(crc32c(bytes(out[offset:end]))))
    return bytes(out)


def main(folder: str, seed: str, n: str, *sources: str) -> None:
    for source in sources:
        read(Path(source))  # so that everything is imported before memory is limited
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for source in map(Path, sources):
        target = Path(folder) / f"altered{source.suffix}"
        for data in source.parent.glob(f"{source.stem}.data-*"):
            shutil.copy(data, target.with_name(data.name.replace(source.stem, "altered", 1)))
        print(source.name, *outcomes(source.read_bytes(), target, int(seed), int(n)))


def outcomes(content: bytes, target: Path, seed: int, n: int) -> tuple[int, int]:
    """Return how many altered copies were read, and how many were refused."""
    done = refused = 0
    blocks = handles(content) if content[-8:] == sstable.MAGIC else []
    for number, copy in enumerate(altered(content, np.random.default_rng(seed), n)):
        target.write_bytes(rechecked(copy, blocks) if number % 2 else copy)
        signal.alarm(SECONDS)  # its default action ends the process
        try:
            read(target)
            done += 1
        except HyperError:
            refused += 1
        signal.alarm(0)
    return done, refused


if __name__ == "__main__":
    main(*sys.argv[1:])
