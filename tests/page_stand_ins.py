"""What the commands of the pages are given: small datasets and toy weight files, under the names that the pages use."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import feature_files
import numpy as np
import pandas as pd
import pggan_files
import tensorflow_files

from bids_app.tools import main as tools

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("--train-runs", "2", "--test-runs", "1", "--n-train-faces", "18", "--n-test-faces", "4", "--repeats", "3",
         "--n-voxels", "40", "--image-shape", "6x5x4", "--snr", "4")  # fmt: skip
LATENTS = 12
CHANNELS = (6, 5, 4, 3, 3)
"""64 pixels."""


class Assets:
    """What several pages need, made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generator = folder / "generator.params"
        arrays = pggan_files.random_arrays(seed=8, channels=CHANNELS, latents=LATENTS)
        for name, array in arrays.items():
            if name.startswith("torgb") and name.endswith("weight"):
                array *= 0.25  # as in a trained network, few pixels lie outside -1 to 1
        pggan_files.write_mxnet(self.generator, pggan_files.mxnet_names(arrays, "child"))
        self.faces = self._simulate("faces", "1", "--generator", "pggan", "--weights", str(self.generator))
        self.pixels = self._simulate("pixels", "2", "--generator", "identity", "--n-latents", "9")

    def _simulate(self, name: str, participants: str, *words: str) -> Path:
        folder = self.folder / name
        assert tools(["simulate", str(folder), "--participants", participants, *SMALL, *words]) == 0
        return folder


def readme(place: Path, made: Assets) -> None:
    """A dataset of PGGAN's latents, and responses of another program."""
    links = {"BIDS_DIR": made.faces, "SHOWN": place / "PICTURES"}
    for name, target in links.items():
        (place / name).symlink_to(target)
    (place / "hyper.sif").touch()
    np.save(place / "z.npy", np.random.default_rng(1).standard_normal((6, 64)).astype(np.float32))
    betas(place / "BETAS_DIR" / "sub-01" / "func", made.faces)


def betas(folder: Path, dataset: Path) -> None:
    """Random maps of every trial, with the least that their table needs."""
    import nibabel as nib

    tables = [pd.read_csv(path, sep="\t") for path in sorted(dataset.glob("sub-01/func/*_events.tsv"))]
    events = pd.concat(tables)
    events = events[events["trial_type"].isin(["train", "test"])]
    folder.mkdir(parents=True)
    maps = np.random.default_rng(4).standard_normal((6, 5, 4, len(events))).astype(np.float32)
    stem = folder / "sub-01_task-faces_stat-beta_desc-trial_statmap"
    nib.save(nib.Nifti1Image(maps, np.eye(4)), f"{stem}.nii.gz")
    rows = pd.DataFrame({"stimulus_id": events["stim_id"], "split": events["trial_type"]})
    rows.to_csv(f"{stem}.tsv", sep="\t", index=False)


def generators(place: Path, made: Assets) -> None:
    """Weight files of all kinds that the page names, at toy size."""
    shutil.copytree(made.faces, place / "DATASET", copy_function=os.symlink)
    (place / "DATASET" / "stimuli" / "train").symlink_to(made.faces / "stimuli" / "pictures")
    shutil.copy(made.generator, place)
    rng = np.random.default_rng(2)
    np.save(place / "z.npy", rng.standard_normal((6, LATENTS)).astype(np.float32))
    for name in ("age", "eyeglasses", "gender"):  # the smile is fetched
        np.save(place / f"pggan_celebahq_{name}_boundary.npy", rng.standard_normal((1, LATENTS)))
    (place / "served").mkdir()
    np.save(place / "served" / "pggan_celebahq_smile_boundary.npy", rng.standard_normal((1, LATENTS)))
    arrays = feature_files.random_arrays(feature_files.resnet_shapes(7), 6)
    feature_files.write_pickle(place / "resnet50_ft_weight.pkl", arrays)
    (place / "SHOWN").symlink_to(place / "pictures")
    onnx_file(place / "mine.onnx")


def onnx_file(path: Path) -> None:
    """A network of one layer as ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(1).standard_normal((LATENTS, 3 * 8 * 8)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["z", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["t"]),
             helper.make_node("Reshape", ["t", "s"], ["image"])]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", LATENTS])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.int64([-1, 3, 8, 8]), "s")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def cluster(place: Path, made: Assets) -> None:
    """Two participants, the repository's scripts, and the file for nipype that the page shows."""
    (place / "DATA").symlink_to(made.faces)
    (place / "hyper.def").touch()
    for name in ("bids", "BIDS_DIR"):
        (place / name).symlink_to(made.pixels)
    (place / "docs").symlink_to(ROOT / "docs")
    (place / "tests").symlink_to(ROOT / "tests")
    shutil.copytree(ROOT / "docs" / "slurm", place / "slurm")
    page = (ROOT / "docs" / "hpc.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^\$ cat slurm\.json\n(.*)$", page, re.MULTILINE)
    (place / "slurm.json").write_text(shown + "\n")


def published_study(place: Path, data: Path) -> None:
    """Three real runs of ds001761 with simulated BOLD, the overlay of the page, and a VAE-GAN of as many latents."""
    source = data / "sim_ds001761"
    gone = re.compile(r".*(run-0*[1-9]\d*)_.*")
    runs = sorted({gone.match(path.name)[1] for path in source.rglob("*_bold.nii.gz")})[:3]

    def others(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if gone.match(name) and gone.match(name)[1] not in runs]

    shutil.copytree(source, place / "ds001761", ignore=others, copy_function=os.symlink)
    (place / "FMRIPREP").symlink_to(place / "ds001761" / "derivatives" / "prep")
    latents = np.load(source / "stimuli" / "latents" / "simZ.npy")
    page = (ROOT / "docs" / "ds001761.md").read_text(encoding="utf-8")
    (sidecar,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    content = json.loads(sidecar)
    content["StimulusLatents"]["vaeganZ"]["Dimension"] = latents.shape[1]
    folder = place / "overlay" / "stimuli" / "latents"
    folder.mkdir(parents=True)
    (place / "overlay" / "task-faces_events.json").write_text(json.dumps(content))
    for ending in (".npy", ".tsv"):
        shutil.copy(source / "stimuli" / "latents" / f"simZ{ending}", folder / f"vaeganZ{ending}")
    variables = tensorflow_files.vaegan_variables(latents=latents.shape[1])
    tensorflow_files.write_v1(place / "vaegan_celeba.ckpt", variables)
