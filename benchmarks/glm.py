"""The GLM against decompression alone and against nilearn, on the same files, in one session.

    python benchmarks/glm.py                      HYPER's size: 97 x 115 x 97 x 532, 175 trials
    python benchmarks/glm.py --shape 49x58x49     an eighth of the voxels
    python benchmarks/glm.py --nilearn 0          without nilearn

Every measurement is a child process of its own with one thread; seconds are inside the
child, after the imports, by the clock and of the processor; peak memory is the child's. The
table has medians. nilearn makes only some of the maps, and LSS models of only some of the trials:
their time is multiplied up to all trials.
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
from functools import partial
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


class Stopwatch:
    """Seconds by the clock and of the processor since it was made; ``extra`` more times those of a part."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def seconds(self, part: Stopwatch | None = None, extra: float = 0.0) -> dict[str, float]:
        """Return both; ``part``: a stopwatch that was started later, whose time counts ``extra`` times more."""
        wall, cpu = time.perf_counter(), time.process_time()
        more = (0.0, 0.0) if part is None else (extra * (wall - part.wall), extra * (cpu - part.cpu))
        return {"seconds": wall - self.wall + more[0], "cpu": cpu - self.cpu + more[1]}


def child(task: str, folder: Path, bold: Path) -> dict[str, float]:
    """Do one measured piece of work and return its seconds."""
    from hyper_bids.inputs.volumes import masked_blocks, read_header, read_mask

    n_volumes = read_header(bold).shape[3]
    if task == "decompress":
        from isal import igzip

        buffer = bytearray(1 << 22)
        start = Stopwatch()
        with igzip.open(bold, "rb") as stream:
            while stream.readinto(buffer):
                pass
        return start.seconds()
    if task == "mask":
        mask, _ = read_mask(folder / "mask.nii.gz")
        start = Stopwatch()
        for _ in masked_blocks(bold, mask, reuse=True):
            pass
        return start.seconds()
    program, kind, *number = task.split("-")
    if program == "ours":
        return (ours_in_memory if kind == "lss_in_memory" else partial(ours, kind))(folder, bold, n_volumes)
    special = {"lss": nilearns_lss, "lss_in_memory": nilearns_lss_in_memory}
    return special.get(kind, partial(nilearns, kind))(folder, bold, n_volumes, int(number[0]))


def ours(kind: str, folder: Path, bold: Path, n_volumes: int) -> dict[str, float]:
    """From the file to the z of all trials in a file."""
    import numpy as np
    import scipy.linalg.blas  # noqa: F401

    from hyper_bids.glm.fit import accumulate, estimate_blocks, trial_models
    from hyper_bids.glm.tails import z_from_t
    from hyper_bids.inputs.volumes import masked_blocks, read_mask
    from hyper_bids.workflow.files import save_columns

    noise, mode = ("ar1" if "ar1" in kind else "ols"), ("lss" if "lss" in kind else "lsa")
    z_from_t(np.zeros(1), 1.0)
    mask, _ = read_mask(folder / "mask.nii.gz")
    start = Stopwatch()
    _, _, design = design_of(folder, n_volumes)
    products = accumulate(masked_blocks(bold, mask, reuse=True), design, "run", noise, np.float32)
    models = trial_models(design, mode, "one", products.basis)
    parts = estimate_blocks(products, models, response="z", noise_model=noise)
    save_columns(folder / f"z-{kind}-{bold.stem}.npy", (design.n_trials, int(mask.sum())), parts)
    return start.seconds()


def ours_in_memory(folder: Path, bold: Path, n_volumes: int) -> dict[str, float]:
    """LSS of all trials, from the masked run in memory to the z of all trials in memory."""
    import numpy as np
    import scipy.linalg.blas  # noqa: F401

    from hyper_bids.glm.fit import accumulate, estimate
    from hyper_bids.inputs.volumes import BLOCK, masked_blocks, read_mask

    mask, _ = read_mask(folder / "mask.nii.gz")
    signal = np.concatenate(list(masked_blocks(bold, mask)))
    _, _, design = design_of(folder, n_volumes)
    start = Stopwatch()
    blocks = (signal[first : first + BLOCK] for first in range(0, n_volumes, BLOCK))
    estimate(accumulate(blocks, design, dtype=np.float32), design, "lss")
    return start.seconds()


def nilearns_model(kind: str, folder: Path):
    """nilearn's model with our settings."""
    from nilearn.glm.first_level import FirstLevelModel

    return FirstLevelModel(TR, hrf_model="spm", drift_model="cosine", high_pass=1 / 128, noise_model=kind,
                           slice_time_ref=0, mask_img=str(folder / "mask.nii.gz"), minimize_memory=False)


def compared(result: dict[str, float], z, trials, saved: Path) -> dict[str, float]:
    """Add the differences of z (n_trials, n_voxels) from ours, if that has been made."""
    import numpy as np

    if saved.exists():
        difference = np.abs(np.load(saved, mmap_mode="r")[trials] - z).max(axis=0)
        result.update(max_dz=float(difference.max()), p999_dz=float(np.quantile(difference, 0.999)),
                      off=int((difference > 2e-4).sum()))
    return result


def nilearns(kind: str, folder: Path, bold: Path, n_volumes: int, n_maps: int) -> dict[str, float]:
    """All of nilearn's fit, and ``n_maps`` of the z maps: the others' time is added in proportion."""
    import warnings

    import numpy as np

    events, confounds, _ = design_of(folder, n_volumes)
    n_trials = len(events)
    labels = [f"t{k:03d}" for k in range(n_trials)]
    model = nilearns_model(kind, folder)
    start = Stopwatch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = events.assign(trial_type=labels)[["onset", "duration", "trial_type"]]
        model.fit(str(bold), table, confounds=confounds)
        fitted = Stopwatch()
        trials = np.linspace(0, n_trials - 1, n_maps).astype(int)
        maps = [model.compute_contrast(labels[trial], output_type="z_score") for trial in trials]
    result = start.seconds(fitted, n_trials / n_maps - 1)
    z = np.stack([model.masker_.transform(image).ravel() for image in maps])
    return compared(result, z, trials, folder / f"z-{kind}-bold.nii.npy")


def nilearns_lss(folder: Path, bold: Path, n_volumes: int, n_models: int) -> dict[str, float]:
    """One model per trial, each fitted to the file, as in nilearn's own example of LSS."""
    import warnings

    import numpy as np

    events, confounds, _ = design_of(folder, n_volumes)
    trials = np.linspace(0, len(events) - 1, n_models).astype(int)
    maps = []
    nilearns_model("ols", folder)
    start = Stopwatch()
    for trial in trials:
        labels = np.where(np.arange(len(events)) == trial, "one", "rest")
        model = nilearns_model("ols", folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = events.assign(trial_type=labels)[["onset", "duration", "trial_type"]]
            model.fit(str(bold), table, confounds=confounds)
            maps.append(model.compute_contrast("one", output_type="z_score"))
    result = start.seconds(start, len(events) / n_models - 1)
    z = np.stack([model.masker_.transform(image).ravel() for image in maps])
    return compared(result, z, trials, folder / "z-lss-bold.nii.npy")


def nilearns_lss_in_memory(folder: Path, bold: Path, n_volumes: int, n_models: int) -> dict[str, float]:
    """One model per trial, fitted by nilearn's ``run_glm`` to the masked run, which is in memory already."""
    import warnings

    import numpy as np
    from nilearn.glm.contrasts import compute_contrast
    from nilearn.glm.first_level import make_first_level_design_matrix, run_glm

    from hyper_bids.inputs.volumes import masked_blocks, read_mask

    mask, _ = read_mask(folder / "mask.nii.gz")
    signal = np.concatenate(list(masked_blocks(bold, mask)))
    events, confounds, _ = design_of(folder, n_volumes)
    trials = np.linspace(0, len(events) - 1, n_models).astype(int)
    z = np.empty((n_models, signal.shape[1]))
    start = Stopwatch()
    for row, trial in enumerate(trials):
        labels = np.where(np.arange(len(events)) == trial, "one", "rest")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = events.assign(trial_type=labels)[["onset", "duration", "trial_type"]]
            design = make_first_level_design_matrix(
                TR * np.arange(n_volumes), table, hrf_model="spm", high_pass=1 / 128, add_regs=confounds.to_numpy()
            )
            found, results = run_glm(signal, design.to_numpy(), noise_model="ols")
            contrast = (design.columns == "one").astype(float)
            z[row] = compute_contrast(found, results, contrast, "t").z_score().ravel()
    result = start.seconds(start, len(events) / n_models - 1)
    return compared(result, z, trials, folder / "z-lss-bold.nii.npy")


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
    parser.add_argument("--models", type=int, default=2, help="trials of which nilearn fits an LSS model; likewise")
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
                 ("ours-lss+ar1", one), ("ours-lss_in_memory", one), ("decompress", two), ("ours-ols", two),
                 ("ours-ar1", two), ("ours-lss", two)]
        theirs = [f"nilearn-ols-{options.maps}", f"nilearn-ar1-{options.maps}", f"nilearn-lss-{options.models}",
                  f"nilearn-lss_in_memory-{options.models}"]
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(options.repeats):
            for task, bolds in tasks:
                found.setdefault((task, len(bolds)), []).append(measure(task, folder, bolds))
        for repeat in range(options.nilearn):
            for task in theirs:
                found.setdefault((task, 1), []).append(measure(task, folder, one))
                print(f"{task}: {found[task, 1][repeat]}", flush=True)
    print_table(found)


def print_table(found: dict[tuple[str, int], list[dict[str, float]]]) -> None:
    """Print medians, and their ratios to decompression (of as many files at once)."""

    def median(task: str, n: int, key: str) -> float:
        return statistics.median(result[key] for result in found[task, n])

    print("\n| work | files at once | s | x decompression | CPU s | x decompression | peak MB a process |")
    print("|---|---|---|---|---|---|---|")
    for task, n in found:
        cells = []
        for key in ("seconds", "cpu"):
            value = median(task, n, key)
            cells += [f"{value:.2f}", f"{value / median('decompress', n, key):.2f}"]
        peak = max(result["mb"] for result in found[task, n])
        print(f"| {task} | {n} | {' | '.join(cells)} | {peak:.0f} |")


if __name__ == "__main__":
    main()
