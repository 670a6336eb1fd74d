"""Time and size of a participant's report: ``python benchmarks/report.py [STIMULI [PIXELS]]``.

The tables come from the app's own evaluation of simulated predictions, the pictures are smooth noise, so that their
files are as large as photographs'. Only `write_report` is timed: figures, thumbnails and the page.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from test_report import inputs, report, result

from hyper_bids.generate.images import write_png
from hyper_bids.report.thumbnails import shrunk
from hyper_bids.workflow.steps.pictures import RETRIEVED_SIDE


def photographs(n: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth pictures with some grain, ``(n, side, side, 3)`` uint8."""
    from scipy.ndimage import zoom

    made = np.empty((n, side, side, 3), dtype=np.uint8)
    for picture in made:
        coarse = zoom(rng.normal(128, 50, (9, 9, 3)), (side / 9, side / 9, 1), order=1)
        picture[...] = np.clip(coarse + rng.normal(0, 4, (side, side, 1)), 0, 255)
    return made


def main(n: int = 36, side: int = 1024) -> None:
    """Write one report and print what it took."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = result(folder / "data", rng, n=n, size=(40, 40))
        shown = photographs(n, side, rng)
        for path, picture in zip(made["paths"].values(), shown, strict=True):
            write_png(Path(path), picture)
        many = photographs(100, side, rng)
        made["drawn"].update(recon=shown, ceiling=shown[::-1], zero=many[:1], mean=many[1:2], random=many)
        made["drawn"]["nearest"] = np.stack([shrunk(picture, RETRIEVED_SIDE) for picture in many[:n]])
        arguments = inputs(made, rng)
        wall, cpu = time.perf_counter(), time.process_time()
        _, html = report(folder / "out", folder / "data", arguments)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{n} stimuli of {side} pixels: {wall:.1f} s, {cpu:.1f} s of CPU, {len(html) / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
