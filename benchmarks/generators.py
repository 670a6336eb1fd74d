"""The full HYPER generator (23.1 M parameters) drawn in every way there is: images per second and peak memory.

    python benchmarks/generators.py                      1024 and 256 pixels; exit 1 where a limit is missed
    python benchmarks/generators.py --sizes 256 --images 4 --threads 2

Ways, each in a process of its own, on the same random weights and latents:

* ``eager``: PyTorch, a line of code for a line of the paper, as the public PyTorch PGGANs do it;
* ``hyper``: `PGGANGenerator` as the app uses it, eager too;
* ``hyper compiled``: the same with ``--compile``;
* ``hyper bfloat16``: the same with ``--precision bfloat16``;
* ``onnxruntime``: the eager network exported to one ONNX file, drawn by `ONNXGenerator`.

Seconds are the median over images, the first image (and any compilation) apart. Peak memory is the process's own
(VmHWM). ``max |d|`` is the largest difference from the eager image, whose values lie about -1 to 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTHS = (512, 512, 512, 512, 256, 128, 64, 32, 16)
N_LATENTS = 512
WAYS = ("eager", "hyper", "hyper compiled", "hyper bfloat16", "onnxruntime")
FLOAT32 = ("hyper", "hyper compiled", "onnxruntime")
PEAK_LIMIT = 1.3e9
FASTER = 1.5


def random_arrays(levels: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Canonical arrays of a network that is ``levels`` levels deep, with He's scale and an RGB layer at the end."""
    rng = np.random.default_rng(seed)
    widths = WIDTHS[:levels]
    arrays: dict[str, np.ndarray] = {}

    def layer(name: str, out: int, inputs: int, *kernel: int, gain: float = 2.0) -> None:
        fan_in = inputs * int(np.prod(kernel, dtype=int))
        values = rng.standard_normal((out, inputs, *kernel), dtype=np.float32)
        arrays[f"{name}.weight"] = values * np.float32(np.sqrt(gain / fan_in))
        arrays[f"{name}.bias"] = 0.1 * rng.standard_normal(out, dtype=np.float32)

    layer("dense", 16 * widths[0], N_LATENTS)
    layer("conv", widths[0], widths[0], 3, 3)
    for level in range(1, levels):
        layer(f"block{level}.conv0", widths[level], widths[level - 1], 3, 3)
        layer(f"block{level}.conv1", widths[level], widths[level], 3, 3)
    layer(f"torgb{levels - 1}", 3, widths[-1], 1, 1, gain=1.0)
    return arrays


def eager_network(arrays: dict[str, np.ndarray]):
    """Return the paper's network, written plainly."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Eager(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, array in arrays.items():
                self.register_parameter(name.replace(".", "_"), nn.Parameter(torch.from_numpy(array)))

        def of(self, name: str) -> tuple:
            name = name.replace(".", "_")
            return getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")

        @staticmethod
        def norm(x):
            return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)

        def conv(self, x, name: str):
            return self.norm(functional.leaky_relu(functional.conv2d(x, *self.of(name), padding=1), 0.2))

        def forward(self, z):
            x = functional.linear(self.norm(z), *self.of("dense")).reshape(-1, WIDTHS[0], 4, 4)
            x = self.conv(self.norm(functional.leaky_relu(x, 0.2)), "conv")
            last = sum(name.endswith("conv0.weight") for name in arrays)
            for level in range(1, last + 1):
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
                x = self.conv(self.conv(x, f"block{level}.conv0"), f"block{level}.conv1")
            return functional.conv2d(x, *self.of(f"torgb{last}"))

    return Eager().eval().requires_grad_(False)


def drawer(way: str, size: int, folder: Path):
    """Return a function from latents ``(1, 512)`` to an image ``(1, size, size, 3)``."""
    import torch

    levels = int(np.log2(size)) - 1
    if way == "onnxruntime":
        from hyper_bids.generate.onnx_file import ONNXGenerator

        return ONNXGenerator(folder / f"eager_{size}.onnx").generate
    arrays = random_arrays(levels)
    if way == "eager":
        network = eager_network(arrays)

        def draw(latents: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return network(torch.from_numpy(latents)).permute(0, 2, 3, 1).numpy()

        return draw
    from hyper_bids.generate import PGGANGenerator
    from hyper_bids.weights.pggan_canonical import pggan

    options = {"compiled": way.endswith("compiled"), "dtype": "bfloat16" if way.endswith("bfloat16") else "float32"}
    return PGGANGenerator(pggan(arrays, {}, "random"), **options).generate


def measure(way: str, size: int, n_images: int, threads: int, folder: Path) -> None:
    """Child process: draw, and print what it took as JSON."""
    import torch

    torch.set_num_threads(threads)
    latents = np.random.default_rng(2).standard_normal((n_images + 1, N_LATENTS)).astype(np.float32)
    draw = drawer(way, size, folder)
    began = time.perf_counter()
    first = draw(latents[:1])
    taken = [time.perf_counter() - began]
    for row in latents[1:]:
        began = time.perf_counter()
        draw(row[None])
        taken.append(time.perf_counter() - began)
    np.save(folder / f"{way.replace(' ', '_')}_{size}.npy", first)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"first": taken[0], "seconds": statistics.median(taken[1:]), "peak": peak}))


def export(size: int, folder: Path) -> None:
    """Child process: the eager network as one ONNX file, as docs/generators.md says to make it."""
    import warnings

    import torch

    network = eager_network(random_arrays(int(np.log2(size)) - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network, (torch.zeros(1, N_LATENTS),), str(folder / f"eager_{size}.onnx"), dynamo=False, opset_version=17,
            input_names=["latents"], output_names=["images"],
            dynamic_axes={"latents": {0: "n"}, "images": {0: "n"}},
        )  # fmt: skip


def child(*words: object) -> str:
    """Run this file again in a process of its own and return what it printed."""
    done = subprocess.run([sys.executable, __file__, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def table(size: int, n_images: int, threads: int) -> list[str]:
    """Print the lines of one size; return the limits that were missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child("--export", size, "--folder", folder)
        found = {}
        for way in WAYS:
            words = ("--way", way, "--sizes", size, "--images", n_images, "--threads", threads, "--folder", folder)
            found[way] = json.loads(child(*words).splitlines()[-1])
            found[way]["image"] = np.load(folder / f"{way.replace(' ', '_')}_{size}.npy")
    eager = found["eager"]
    print(f"\n{size} pixels, {threads} thread(s)\n")
    print("| way | images/s | x eager | first image s | peak MB | max abs d |\n|---|---|---|---|---|---|")
    for way, line in found.items():
        difference = np.abs(line["image"] - eager["image"]).max()
        ratio = eager["seconds"] / line["seconds"]
        print(
            f"| {way} | {1 / line['seconds']:.2f} | {ratio:.2f} | {line['first']:.1f} | {line['peak'] / 1e6:.0f} "
            f"| {difference:.1e} |",
            flush=True,
        )
    missed = [f"{way} at {size} pixels differs from eager" for way in FLOAT32
              if np.abs(found[way]["image"] - eager["image"]).max() > 1e-4]  # fmt: skip
    if found["hyper"]["peak"] > PEAK_LIMIT:
        missed.append(f"{size} pixels need {found['hyper']['peak'] / 1e9:.2f} GB; the limit is {PEAK_LIMIT / 1e9} GB")
    best = min(found[way]["seconds"] for way in FLOAT32)
    if eager["seconds"] / best < FASTER:
        missed.append(f"the best float32 path at {size} is {eager['seconds'] / best:.2f} x eager, not {FASTER} x")
    return missed


def main() -> int:
    """Measure every size and say which limits were missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 256])
    parser.add_argument("--images", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--export", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.export:
        export(asked.export, asked.folder)
        return 0
    if asked.way:
        measure(asked.way, asked.sizes[0], asked.images, asked.threads, asked.folder)
        return 0
    missed = [line for size in asked.sizes for line in table(size, asked.images, asked.threads)]
    print("\n" + ("\n".join(missed) or "every limit kept"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
