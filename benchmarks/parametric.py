"""The parametric model over many runs: seconds a run, seconds to solve, peak memory.

    python benchmarks/parametric.py                                    96 runs x 100 000 voxels x 1024 latents
    python benchmarks/parametric.py --runs 8 --voxels 20000 --latents 128

A few files of noise are made and linked as often as there are runs; every run has its own
events (86 training faces, test faces, one-backs, fixation) and its own confounds. The
measured work is a child process; peak memory is the child's, with the libraries it imports.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TR, N_TEST = 2.0, 20
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def make_data(folder: Path, options: argparse.Namespace) -> None:
    """Write distinct float32 runs, half of whose box is brain, link them, and write the mask."""
    import nibabel as nib
    import numpy as np
    from isal import igzip

    rng = np.random.default_rng(0)
    side = int(np.ceil((2 * options.voxels) ** (1 / 3)))
    shape, affine = (side, side, side), np.diag([3.0, 3.0, 3.0, 1.0])
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    order = np.argsort(sum(axis**2 for axis in axes).ravel(), kind="stable")
    mask = np.zeros(side**3, dtype=np.uint8)
    mask[order[: options.voxels]] = 1
    nib.save(nib.Nifti1Image(mask.reshape(shape), affine), folder / "mask.nii.gz")
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((*shape, options.volumes))
    header.set_zooms((3, 3, 3, TR))
    header.set_sform(affine, code=2)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    where = np.flatnonzero(mask.reshape(shape).ravel(order="F"))
    level, volume = (700 + 200 * rng.random(len(where))).astype(np.float32), np.zeros(side**3, dtype=np.float32)
    for number in range(min(options.files, options.runs)):
        with open(folder / f"made-{number}.nii.gz", "wb") as raw, igzip.IGzipFile(
            filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0
        ) as stream:
            stream.write(header.binaryblock + b"\0" * 4)
            for _ in range(options.volumes):
                volume[where] = level + 8 * rng.standard_normal(len(where), dtype=np.float32)
                stream.write(volume.tobytes())
    for run in range(options.runs):
        os.link(folder / f"made-{run % options.files}.nii.gz", folder / f"run-{run:03d}.nii.gz")


def events_of(run: int, n_volumes: int):
    """Events as ds001761's: an event every 3 s on average, two thirds of them training faces."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng([1, run])
    n = int((n_volumes * TR - 12) / 3)
    counts = {"a": round(n * 0.68), "t": n // 12, "d": n // 20}
    counts["f"] = n - sum(counts.values())
    letters = rng.permutation([letter for letter, count in counts.items() for _ in range(count)])
    role = {"a": "sample", "t": "sample", "d": "drop", "f": "baseline"}
    return pd.DataFrame(
        {
            "onset": 6.0 + 3.0 * np.arange(n),
            "duration": 1.0,
            "trial_type": [{"f": "fixation"}.get(letter, "face") for letter in letters],
            "role": [role[letter] for letter in letters],
            "split": [{"a": "train", "t": "test"}.get(letter, "") for letter in letters],
            "stimulus_id": [
                {"a": f"a{run * 1000 + k}", "t": f"t{(run + k) % N_TEST}"}.get(letter, "")
                for k, letter in enumerate(letters)
            ],
        }
    )


def child(options: argparse.Namespace) -> dict[str, object]:
    """Add every run, solve, and return seconds."""
    import numpy as np
    import pandas as pd

    from hyper_bids.data import Latents
    from hyper_bids.errors import InconsistentInput
    from hyper_bids.glm.parametric import solve
    from hyper_bids.glm.parametric_design import parametric_design, shared_model
    from hyper_bids.glm.parametric_sums import Accumulator
    from hyper_bids.inputs.volumes import masked_blocks, read_mask

    tables = [events_of(run, options.volumes) for run in range(options.runs)]
    shown = sorted({stimulus for table in tables for stimulus in table.loc[table["split"] == "train", "stimulus_id"]})
    rng = np.random.default_rng(2)
    latents = Latents(rng.standard_normal((len(shown), options.latents), dtype=np.float32), tuple(shown), "noise")
    model = shared_model(tables, latents)
    mask, _ = read_mask(options.folder / "mask.nii.gz")
    files = sorted(options.folder.glob("run-*.nii.gz"))
    start = time.perf_counter()
    for _ in masked_blocks(files[0], mask):
        pass
    read = time.perf_counter() - start
    sums = Accumulator(model.names, model.mu, int(mask.sum()))
    seconds = []
    for number, (file, table) in enumerate(zip(files, tables, strict=True)):
        start = time.perf_counter()
        motion = np.random.default_rng([3, number]).normal(size=(options.volumes, 6)).cumsum(axis=0)
        confounds = pd.DataFrame(motion, columns=[f"motion_{k}" for k in range(6)])
        run = parametric_design(table, model, options.volumes, TR, confounds=confounds, label=file.name)
        sums.add(masked_blocks(file, mask), run, file.name)
        seconds.append(time.perf_counter() - start)
    result = {"read": read, "run": statistics.median(seconds), "all": sum(seconds), "mb_added": peak_mb()}
    start = time.perf_counter()
    try:
        found = solve(sums)
    except InconsistentInput as error:
        return {**result, "solve": None, "reason": str(error)}
    return {**result, "solve": time.perf_counter() - start, "regressors": len(model.names), "dof": found.dof,
            "condition": found.condition}  # fmt: skip


def peak_mb() -> float:
    """Return the largest resident memory of this process so far (MB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Make the data, measure one child, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=96)
    parser.add_argument("--voxels", type=int, default=100_000)
    parser.add_argument("--latents", type=int, default=1024)
    parser.add_argument("--volumes", type=int, default=195)
    parser.add_argument("--files", type=int, default=2, help="distinct files; the others are links")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps({**child(options), "mb": peak_mb()}))
        return
    with tempfile.TemporaryDirectory() as name:
        make_data(Path(name), options)
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--folder", name], stdout=subprocess.PIPE, check=True,
            env={**os.environ, **dict.fromkeys(THREADS, str(options.threads))},
        )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{options.runs} runs x {options.volumes} volumes x {options.voxels} voxels, {options.latents} latents, "
          f"{options.threads} threads")  # fmt: skip
    print("\n| work | s | peak MB so far |\n|---|---|---|")
    print(f"| read and mask one run | {found['read']:.2f} | |")
    print(f"| read and add one run (median) | {found['run']:.2f} | |")
    print(f"| the same without reading | {found['run'] - found['read']:.2f} | |")
    print(f"| all runs | {found['all']:.1f} | {found['mb_added']:.0f} |")
    if found["solve"] is None:
        print(f"\nNot solved: {found['reason']}")
        return
    print(f"| solve | {found['solve']:.1f} | {found['mb']:.0f} |")
    print(f"\n{found['regressors']} shared regressors, {found['dof']} degrees of freedom, condition number "
          f"{found['condition']:.1f}.")  # fmt: skip


if __name__ == "__main__":
    main()
