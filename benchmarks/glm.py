"""The GLM against decompression alone and against nilearn, on the same files, in one session.

    python benchmarks/glm.py                      HYPER's size: 97 x 115 x 97 x 532, 175 trials
    python benchmarks/glm.py --shape 49x58x49     an eighth of the voxels
    python benchmarks/glm.py --nilearn 0          without nilearn

Every measurement is a child process of its own with one thread; seconds are inside the
child, after the imports; peak memory is the child's. The table has medians.
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

TR = 1.5
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def make_data(folder: Path, shape: tuple[int, int, int], n_volumes: int, n_trials: int) -> None:
    """Write a whole-brain float32 run (half of the box non-zero), its mask, events and motion."""
    import nibabel as nib
    import numpy as np
    import pandas as pd
    from isal import igzip

    rng = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    distance = sum(axis**2 for axis in axes)
    head, brain = distance < 0.97, distance < 0.56
    onsets = 6.0 + 4.5 * np.arange(n_trials)
    pd.DataFrame({"onset": onsets, "duration": 1.5, "trial_type": "train", "role": "sample"}).to_csv(
        folder / "events.tsv", sep="\t", index=False
    )
    motion = rng.normal(0, 0.02, (n_volumes, 6)).cumsum(axis=0)
    np.save(folder / "motion.npy", motion)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), affine), folder / "mask.nii.gz")
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((*shape, n_volumes))
    header.set_zooms((2, 2, 2, TR))
    header.set_sform(affine, code=2)
    header.set_qform(affine, code=2)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    where = np.flatnonzero(head.ravel(order="F"))
    level = (700 + 200 * rng.random(len(where))).astype(np.float32)
    noise = np.zeros(len(where), dtype=np.float32)
    volume = np.zeros(int(np.prod(shape)), dtype=np.float32)
    with open(folder / "bold.nii.gz", "wb") as raw, igzip.IGzipFile(
        filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0
    ) as stream:
        stream.write(header.binaryblock + b"\0" * 4)
        for index in range(n_volumes):
            noise = 0.3 * noise + rng.standard_normal(len(where), dtype=np.float32) * 8
            volume[where] = level + noise + 3 * np.sin(index / 40)
            stream.write(volume.tobytes())
    os.link(folder / "bold.nii.gz", folder / "bold2.nii.gz")


def design_of(folder: Path, n_volumes: int):
    """Return events, confounds and our design of the run."""
    import numpy as np
    import pandas as pd

    from hyper_bids.glm.design import run_design

    events = pd.read_csv(folder / "events.tsv", sep="\t")
    names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    confounds = pd.DataFrame(np.load(folder / "motion.npy"), columns=names)
    return events, confounds, run_design(events, n_volumes, TR, confounds=confounds)


def child(task: str, folder: Path, bold: Path) -> dict[str, float]:
    """Do one measured piece of work and return its seconds."""
    from hyper_bids.inputs.volumes import masked_blocks, read_header, read_mask

    n_volumes = read_header(bold).shape[3]
    if task == "decompress":
        from isal import igzip

        buffer = bytearray(1 << 22)
        start = time.perf_counter()
        with igzip.open(bold, "rb") as stream:
            while stream.readinto(buffer):
                pass
        return {"seconds": time.perf_counter() - start}
    if task == "mask":
        mask, _ = read_mask(folder / "mask.nii.gz")
        start = time.perf_counter()
        for _ in masked_blocks(bold, mask):
            pass
        return {"seconds": time.perf_counter() - start}
    if task.startswith("ours"):
        return ours(task.split("-")[1], folder, bold, n_volumes)
    return nilearns(task.split("-")[1], folder, bold, n_volumes, int(task.split("-")[2]))


def ours(kind: str, folder: Path, bold: Path, n_volumes: int) -> dict[str, float]:
    """From the file to the z of all trials in a file."""
    from hyper_bids.glm.fit import accumulate, estimate_blocks, trial_models
    from hyper_bids.glm.tails import z_from_t
    from hyper_bids.inputs.volumes import masked_blocks, read_mask
    from hyper_bids.workflow.files import save_columns

    noise, mode = ("ar1" if "ar1" in kind else "ols"), ("lss" if "lss" in kind else "lsa")
    import numpy as np

    z_from_t(np.zeros(1), 1.0)
    mask, _ = read_mask(folder / "mask.nii.gz")
    start = time.perf_counter()
    _, _, design = design_of(folder, n_volumes)
    products = accumulate(masked_blocks(bold, mask), design, "run", noise)
    read = time.perf_counter() - start
    models = trial_models(design, mode, "one", products.basis)
    parts = estimate_blocks(products, models, response="z", noise_model=noise)
    save_columns(folder / f"z-{kind}-{bold.stem}.npy", (design.n_trials, int(mask.sum())), parts)
    return {"seconds": time.perf_counter() - start, "read": read}


def nilearns(kind: str, folder: Path, bold: Path, n_volumes: int, n_maps: int) -> dict[str, float]:
    """All of nilearn's fit, and ``n_maps`` of the z maps: the others' time is added in proportion."""
    import warnings

    import numpy as np
    from nilearn.glm.first_level import FirstLevelModel

    events, confounds, _ = design_of(folder, n_volumes)
    n_trials = len(events)
    labels = [f"t{k:03d}" for k in range(n_trials)]
    start = time.perf_counter()
    model = FirstLevelModel(TR, hrf_model="spm", drift_model="cosine", high_pass=1 / 128, noise_model=kind,
                            slice_time_ref=0, mask_img=str(folder / "mask.nii.gz"), minimize_memory=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = events.assign(trial_type=labels)[["onset", "duration", "trial_type"]]
        model.fit(str(bold), table, confounds=confounds)
        fitted = time.perf_counter()
        trials = np.linspace(0, n_trials - 1, n_maps).astype(int)
        maps = [model.compute_contrast(labels[trial], output_type="z_score") for trial in trials]
    mapped = time.perf_counter()
    z = np.stack([model.masker_.transform(image).ravel() for image in maps])
    saved = np.load(folder / f"z-{kind}-bold.nii.npy", mmap_mode="r") if (
        folder / f"z-{kind}-bold.nii.npy").exists() else None
    result = {"seconds": (fitted - start) + (mapped - fitted) * n_trials / n_maps}
    if saved is not None:
        difference = np.abs(np.asarray(saved[trials]) - z).max(axis=0)
        result.update(max_dz=float(difference.max()), p99_dz=float(np.quantile(difference, 0.999)),
                      off=float((difference > 2e-4).mean()))
    return result


def measure(task: str, folder: Path, bolds: list[str]) -> dict[str, float]:
    """Run a task in one child per file, at once; wall seconds of the slowest, and the largest peak memory."""
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    command = [sys.executable, __file__, "--child", task, "--folder", str(folder), "--bold"]
    children = [subprocess.Popen([*command, bold], stdout=subprocess.PIPE, env=environment) for bold in bolds]
    results = [json.loads(process.communicate()[0].splitlines()[-1]) for process in children]
    return {key: max(result[key] for result in results) for key in results[0]}


def main() -> None:
    """Make the data, measure in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="97x115x97")
    parser.add_argument("--volumes", type=int, default=532)
    parser.add_argument("--trials", type=int, default=175)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nilearn", type=int, default=1, help="repeats of nilearn (0: leave it out)")
    parser.add_argument("--maps", type=int, default=12, help="z maps that nilearn makes; the rest is extrapolated")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child")
    parser.add_argument("--bold")
    options = parser.parse_args()
    if options.child:
        result = child(options.child, options.folder, options.folder / options.bold)
        result["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(result))
        return
    shape = tuple(int(n) for n in options.shape.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder, shape, options.volumes, options.trials)
        size = (folder / "bold.nii.gz").stat().st_size / 2**20
        print(f"{options.shape} x {options.volumes} float32, {size:.0f} MB compressed, {options.trials} trials")
        one, two = ["bold.nii.gz"], ["bold.nii.gz", "bold2.nii.gz"]
        tasks = [("decompress", one), ("mask", one), ("ours-ols", one), ("ours-ar1", one), ("ours-lss", one),
                 ("ours-lss+ar1", one), ("decompress", two), ("ours-ols", two), ("ours-ar1", two)]
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(options.repeats):
            for task, bolds in tasks:
                found.setdefault((task, len(bolds)), []).append(measure(task, folder, bolds))
        for repeat in range(options.nilearn):
            for kind in ("ols", "ar1"):
                task = f"nilearn-{kind}-{options.maps}"
                found.setdefault((task, 1), []).append(measure(task, folder, one))
                print(f"nilearn {kind}: {found[task, 1][repeat]}")
    base = {n: statistics.median(r["seconds"] for r in found["decompress", n]) for n in (1, 2)}
    print("\n| work | files at once | s | x decompression | peak MB a process |\n|---|---|---|---|---|")
    for (task, n), results in found.items():
        seconds = statistics.median(result["seconds"] for result in results)
        peak = max(result["mb"] for result in results)
        print(f"| {task} | {n} | {seconds:.2f} | {seconds / base[n]:.2f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
