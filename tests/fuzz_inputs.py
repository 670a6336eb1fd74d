"""Run by test_fuzz_readers.py in a process of its own: read altered copies of users' files, memory and time limited.

``python fuzz_inputs.py FOLDER SEED N NAME ...``: for each reader N copies of its file cut off, N with altered bytes,
N (of text) with altered words. Whatever comes must be read or refused with an error for people; anything else, seconds
of work, or more memory than is spared ends the process.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from fuzz_readers import SECONDS, altered

from hyper_bids.data import VoxelGrid
from hyper_bids.errors import HyperError
from hyper_bids.inputs.atlas import roi_mask
from hyper_bids.inputs.attributes import read_directions
from hyper_bids.inputs.confounds import non_steady_state_volumes, read_confounds
from hyper_bids.inputs.declaration import LatentSpace, choose_space, latent_spaces
from hyper_bids.inputs.events import name_stimuli, read_events
from hyper_bids.inputs.filters import read_queries
from hyper_bids.inputs.grey_matter import grey_matter
from hyper_bids.inputs.key import stimulus_key
from hyper_bids.inputs.latents import load_latents
from hyper_bids.inputs.response_maps import find_maps, read_rows_of
from hyper_bids.inputs.sidecars import Sidecars
from hyper_bids.inputs.split import assign_roles, split_rule, stimulus_sets
from hyper_bids.inputs.stimuli import find_files, read_stimuli
from hyper_bids.inputs.volumes import masked_blocks, read_header, read_mask
from hyper_bids.settings import InputSettings, build, layered, read_toml

SPARE_BYTES = 400_000_000
STIMULI = ("a1", "b2", "c3")
SHAPE = (5, 4, 3, 7)
GRID = VoxelGrid(np.ones(SHAPE[:3], dtype=bool), np.eye(4), None)
WORDS = (
    b"", b"n/a", b"nan", b"inf", b"-1", b"0", b"1e400", b"99999999999999999999", b"\xc3\xa9", b"\0", b"{}", b"[]",
    b"true", b'"x"', b'["x", null, {}]', b"\t", b"\n", b"..", b"/etc/passwd", b"a1", b"train", b"(", b'"(a)(b)"',
)  # fmt: skip
"""What takes the place of a word of a text."""


@dataclass(frozen=True)
class Reader:
    """A reader with the file that is altered for it.

    Parameters
    ----------
    file : relative to the folder
    make : writes the file, and what else is read with it
    read : reads it again
    """

    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]


def table(*rows: tuple[object, ...]) -> str:
    return "".join("\t".join(str(cell) for cell in row) + "\n" for row in rows)


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ------------------------------------------------------------------ events, sidecars, stimuli


EVENTS = table(
    ("onset", "duration", "trial_type", "stim_id", "stim_file"),
    (0.5, 1.5, "train", "a1", "p/a1.png"), (4, 1.5, "train", "b2", "p/b2.png"), (8.25, 0, "test", "c3", "n/a"),
)  # fmt: skip
SIDECAR = {
    "trial_type": {"Levels": {"train": "x"}},
    "StimulusKey": {"Column": "stim_id", "Regex": "([a-z][0-9])"},
    "StimulusSplit": {"Column": "trial_type", "Train": ["train"], "Test": ["test"], "DropWhere": {"stim_file": [1]}},
    "StimulusLatents": {"z": {"File": "z.npy", "Index": "z.tsv", "Dimension": 2, "Generator": {"Name": "identity"}}},
}


def make_events(folder: Path) -> None:
    put(folder, "sub-01/func/sub-01_task-t_events.tsv", EVENTS)
    put(folder, "task-t_events.json", json.dumps(SIDECAR))
    put(folder, "stimuli/p/a1.png", b"")
    rows = [("a1", "p/a1.png", "train"), ("b2", "n/a", "train"), ("c3", "x", "test")]
    put(folder, "stimuli/stimuli.tsv", table(("stimulus_id", "filename", "split"), *rows))


def read_trials(folder: Path) -> object:
    """Events, sidecar and stimuli.tsv, through all that is made of them before any latents."""
    path, inputs = folder / "sub-01/func/sub-01_task-t_events.tsv", InputSettings()
    metadata = Sidecars(folder).of(path, "events")
    events, rule = read_events(path), split_rule(metadata, inputs)
    shown = name_stimuli(events, stimulus_key(metadata, inputs), path).assign(run="r")
    stimuli = read_stimuli([folder / "stimuli"])
    assign_roles(events, shown, rule, cross_validate=False, split_of_stimulus=stimulus_sets(stimuli))
    files = events.assign(stimulus_id=[name or "" for name in shown["stimulus_id"]])
    find_files(files, stimuli, [folder / "stimuli"])
    return choose_space(latent_spaces(metadata, inputs), None, "t")


# ------------------------------------------------------------------ latents


VALUES = np.arange(6, dtype=np.float32).reshape(3, 2) - 1.5
NUMBERS = table(("stimulus_id", "z0", "z1"), *((name, *row) for name, row in zip(STIMULI, VALUES, strict=True)))


def make_npy(folder: Path) -> None:
    (folder / "stimuli").mkdir(exist_ok=True)
    np.save(folder / "stimuli/z.npy", VALUES)
    put(folder, "stimuli/z.tsv", table(("stimulus_id",), *((name,) for name in STIMULI)))


def make_tables(folder: Path) -> None:
    put(folder, "stimuli/n.tsv", NUMBERS)
    put(folder, "stimuli/n.tsv.gz", gzip.compress(NUMBERS.encode(), mtime=0))


def make_h5(folder: Path) -> None:
    import h5py

    (folder / "stimuli").mkdir(exist_ok=True)
    with h5py.File(folder / "stimuli/z.h5", "w") as file:
        file["latents"] = VALUES
        file["stimulus_id"] = np.array(STIMULI, dtype="S2")


def make_vectors(folder: Path) -> None:
    (folder / "stimuli/v").mkdir(parents=True, exist_ok=True)
    for name, row in zip(STIMULI, VALUES, strict=True):
        np.save(folder / f"stimuli/v/{name}.npy", row)
        put(folder, f"stimuli/v/{name}.tsv", table(tuple(row)))


def latents_of(file: str) -> Callable[[Path], object]:
    return lambda folder: load_latents(LatentSpace("z", {"File": file}), STIMULI, [folder / "stimuli"])


# ------------------------------------------------------------------ confounds


COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "framewise_displacement", "a_comp_cor_00",
           "cosine00", "non_steady_state_outlier00")  # fmt: skip


def make_confounds(folder: Path) -> None:
    rows = np.random.default_rng(5).normal(size=(7, len(COLUMNS))).round(3).tolist()
    rows[0][6] = "n/a"
    put(folder, "c.tsv", table(COLUMNS, *rows))
    put(folder, "c.json", json.dumps({"a_comp_cor_00": {"Method": "aCompCor", "Mask": "combined"}}))


def read_all_confounds(folder: Path) -> object:
    read_confounds(folder / "c.tsv", "motion6+scrub+acompcor+cosine", 7, n_acompcor=1)
    return non_steady_state_volumes(folder / "c.tsv", 7)


# ------------------------------------------------------------------ images


def make_images(folder: Path) -> None:
    values = np.random.default_rng(6).normal(100, 9, SHAPE).astype(np.float32)
    for name, data in (
        ("b.nii", values), ("b.nii.gz", values), ("m.nii", np.ones(SHAPE[:3], np.uint8)),
        ("m.nii.gz", np.ones(SHAPE[:3], np.uint8)), ("a_dseg.nii.gz", np.tile(np.int16([1, 2, 3]), (5, 4, 1))),
        ("sub-01/func/sub-01_task-t_stat-z_desc-trial_statmap.nii.gz", values),
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, np.eye(4)), folder / name)
    nib.save(nib.Nifti2Image(values, np.eye(4)), folder / "two.nii")
    put(folder, "a_dseg.tsv", table(("index", "name"), (1, "V1"), (2, "V2"), (3, "V3")))
    rows = [(number, STIMULI[number % 3], "test" if number % 3 == 2 else "train", 1) for number in range(SHAPE[3])]
    put(folder, "sub-01/func/sub-01_task-t_stat-z_desc-trial_statmap.tsv",
        table(("volume_index", "stimulus_id", "split", "n_repeats"), *rows))  # fmt: skip


def blocks_of(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        shape = read_header(folder / name).shape[:3]
        mask = np.ones(SHAPE[:3], bool) if shape == SHAPE[:3] else np.ones((1, 1, 1), bool)
        return sum(len(block) for block in masked_blocks(folder / name, mask, block=3))

    return read


def read_given(folder: Path) -> object:
    maps = find_maps(folder, "01", InputSettings(), "z")
    return read_rows_of(maps, {}, InputSettings(), None)


# ------------------------------------------------------------------ options' files


CONFIG = """
random_seed = 3
decoder = ["ridge"]
[glm]
hrf = "spm"
high-pass = 128.0
[decode]
alphas = [1, 10.5]
[execution]
n_cpus = 2
mem_mb = "4G"
"""


def make_options(folder: Path) -> None:
    put(folder, "config.toml", CONFIG)
    put(folder, "filter.json", json.dumps({"bold": {"run": [1, 2], "space": None}, "events": {"task": "t"}}))
    np.save(folder / "age_boundary.npy", np.float32([[0.6, 0.8]]))


READERS = {
    "events": Reader("sub-01/func/sub-01_task-t_events.tsv", make_events, read_trials),
    "sidecar": Reader("task-t_events.json", make_events, read_trials),
    "stimuli.tsv": Reader("stimuli/stimuli.tsv", make_events, read_trials),
    "latents npy": Reader("stimuli/z.npy", make_npy, latents_of("z.npy")),
    "latents index": Reader("stimuli/z.tsv", make_npy, latents_of("z.npy")),
    "latents tsv": Reader("stimuli/n.tsv", make_tables, latents_of("n.tsv")),
    "latents tsv.gz": Reader("stimuli/n.tsv.gz", make_tables, latents_of("n.tsv.gz")),
    "latents h5": Reader("stimuli/z.h5", make_h5, latents_of("z.h5")),
    "latent vectors npy": Reader("stimuli/v/b2.npy", make_vectors, latents_of("v/{stimulus_id}.npy")),
    "latent vectors tsv": Reader("stimuli/v/b2.tsv", make_vectors, latents_of("v/{stimulus_id}.tsv")),
    "confounds": Reader("c.tsv", make_confounds, read_all_confounds),
    "confounds sidecar": Reader("c.json", make_confounds, read_all_confounds),
    "nii": Reader("b.nii", make_images, blocks_of("b.nii")),
    "nii.gz": Reader("b.nii.gz", make_images, blocks_of("b.nii.gz")),
    "NIfTI-2": Reader("two.nii", make_images, blocks_of("two.nii")),
    "mask": Reader("m.nii", make_images, lambda folder: read_mask(folder / "m.nii")),
    "mask gz": Reader("m.nii.gz", make_images, lambda folder: read_mask(folder / "m.nii.gz")),
    "tissue": Reader("m.nii", make_images, lambda folder: grey_matter(folder / "m.nii", GRID)),
    "atlas": Reader("a_dseg.nii.gz", make_images, lambda folder: roi_mask(f"{folder}/a_dseg.nii.gz:V1,3", GRID)),
    "atlas table": Reader("a_dseg.tsv", make_images, lambda folder: roi_mask(f"{folder}/a_dseg.nii.gz:V1,3", GRID)),
    "maps table": Reader("sub-01/func/sub-01_task-t_stat-z_desc-trial_statmap.tsv", make_images, read_given),
    "maps": Reader("sub-01/func/sub-01_task-t_stat-z_desc-trial_statmap.nii.gz", make_images, read_given),
    "boundary": Reader(
        "age_boundary.npy", make_options, lambda folder: read_directions([folder / "age_boundary.npy"], 2)
    ),
    "config": Reader("config.toml", make_options, lambda folder: build(layered([read_toml(folder / "config.toml")]))),
    "filter": Reader("filter.json", make_options, lambda folder: read_queries(folder / "filter.json")),
}  # fmt: skip


def reworded(content: bytes, rng: np.random.Generator, n: int) -> Iterator[bytes]:
    """Yield copies of a text with one to three of its words replaced, doubled or left out."""
    for _ in range(n):
        copy = content
        for _ in range(rng.integers(1, 4)):
            found = list(re.finditer(rb'"[^"]*"|[^\s,:\[\]{}"=]+|[\t\n,:\[\]{}=]', copy))
            if found:
                one = found[rng.integers(len(found))]
                word = [b"", one[0] * 2, WORDS[rng.integers(len(WORDS))], WORDS[rng.integers(len(WORDS))]]
                copy = copy[: one.start()] + word[rng.integers(4)] + copy[one.end() :]
        yield copy


def copies(content: bytes, seed: int, n: int) -> Iterator[bytes]:
    rng = np.random.default_rng(seed)
    yield from altered(content, rng, n)
    if content[:2] == b"\x1f\x8b":  # a whole gzip stream of altered content, too
        yield from (gzip.compress(copy, mtime=0) for copy in altered(gzip.decompress(content), rng, n))
    elif b"\0" not in content:
        yield from reworded(content, rng, n)


def outcomes(reader: Reader, folder: Path, seed: int, n: int) -> tuple[int, int]:
    """Return how many altered copies were read, and how many were refused."""
    read = refused = 0
    whole = (folder / reader.file).read_bytes()
    for number, copy in enumerate(copies(whole, seed, n)):
        (folder / reader.file).unlink()  # another inode: the last copy may still be mapped
        (folder / reader.file).write_bytes(copy)
        signal.alarm(SECONDS)  # its default action ends the process
        try:
            reader.read(folder)
            read += 1
        except HyperError as error:
            if not str(error).strip():
                raise AssertionError(f"copy {number}: refused without a word") from error
            refused += 1
        finally:
            signal.alarm(0)
    (folder / reader.file).write_bytes(whole)
    return read, refused


def main(folder: str, seed: str, n: str, *names: str) -> None:
    for name in names:
        READERS[name].make(Path(folder))
        READERS[name].read(Path(folder))  # whole, it is read; and everything is imported before memory is limited
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    for name in names:
        print(name, *outcomes(READERS[name], Path(folder), int(seed), int(n)), sep="\t", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
