"""Inputs on real datasets, against naive counts of their tables and against pybids."""

from __future__ import annotations

import json
import os
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hyper_bids.errors import MissingFiles
from hyper_bids.inputs.dataset import open_dataset
from hyper_bids.inputs.recording import Recording
from hyper_bids.inputs.sidecars import Sidecars
from hyper_bids.inputs.task import load_task, load_trials
from hyper_bids.settings import InputSettings

# SPEC 2.9: train and test trials of the four participants
COUNTS = {"01": (8606, 810), "02": (7800, 1000), "03": (7644, 980), "04": (7722, 990)}
OVERLAY = {
    "StimulusKey": {"Column": "stim_file", "Regex": "([FM]\\d+)\\.jpg$"},
    "StimulusSplit": {
        "Column": "trial_type",
        "Train": ["train_face"],
        "Test": ["test_face"],
        "Ignore": ["Fix", "Img"],
        "Baseline": ["Fix"],
        "DropWhere": {"oneback": [1]},
    },
    "StimulusLatents": {"vaeganZ": {"File": "latents/vaeganZ.npy", "Dimension": 1024}},
}
DATASETS = {
    "haxby": ("haxbyprep", InputSettings(latent_space="onehot8", cross_validate="run"), (64, 8, 8)),
    "miyawaki": ("prep", InputSettings(cross_validate="run"), (80, 10, 100)),
    "sim_ds001761": ("prep", InputSettings(), (528, 488, 16)),
}


@pytest.fixture(scope="module")
def tree(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ds001761")
    with tarfile.open(shared_data / "ds001761_tree.tar.gz") as archive:
        archive.extractall(root, filter="tar")
    return root


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "task-faces_events.json").write_text(json.dumps(OVERLAY))
    return tmp_path / "overlay"


@pytest.mark.parametrize("participant", COUNTS)
def test_trials_of_ds001761(tree: Path, overlay: Path, participant: str) -> None:
    inputs = InputSettings(overlay=overlay)
    dataset = open_dataset(tree, inputs, participants=[participant], check_content=False)
    assert dataset.tasks() == ("faces",)  # the localiser's sidecar names no latents
    trials, _ = load_trials(dataset, participant, "faces", inputs)
    samples = trials[trials["role"] == "sample"]
    counts = samples["split"].value_counts()
    assert (counts["train"], counts["test"]) == COUNTS[participant]

    naive = {"train_face": set(), "test_face": set()}
    rows = 0
    for path in tree.glob(f"sub-{participant}/ses-*/func/*_task-faces_*_events.tsv"):
        for line in path.read_text().splitlines()[1:]:
            _, _, kind, file, oneback = line.split("\t")
            rows += 1
            if kind in naive and oneback == "0":
                naive[kind].add(re.search(r"[FM]\d+", file)[0])
    assert len(trials) == rows
    assert set(samples.loc[samples["split"] == "train", "stimulus_id"]) == naive["train_face"]
    assert set(samples.loc[samples["split"] == "test", "stimulus_id"]) == naive["test_face"]


def test_one_participant_costs_its_own_files(tree: Path, overlay: Path, touched: list[Path]) -> None:
    """Nobody else's files are looked at, nor the stimuli (35 000 take pybids 23 s), and none again and again."""
    inputs = InputSettings(overlay=overlay)
    dataset = open_dataset(tree, inputs, participants=["01"], check_content=False)
    load_trials(dataset, "01", "faces", inputs)
    inside = Counter(path.relative_to(tree) for path in touched if path.is_relative_to(tree))
    assert {path.parts[0] for path in inside if len(path.parts) > 1} == {"sub-01"}
    assert sum(path.name.endswith("_events.tsv") for path in inside) == len(dataset.recordings)
    assert max(n for path, n in inside.items() if (tree / path).is_file()) <= 2


@pytest.fixture
def touched() -> Iterator[list[Path]]:
    """Files opened and folders listed by this process while the test runs."""
    seen: list[Path] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | os.PathLike):
            seen.append(Path(arguments[0]))

    sys.addaudithook(watch)  # stays for as long as the process lives
    yield seen
    watching = False


def test_links_without_content_are_named_with_the_command(tree: Path, overlay: Path) -> None:
    with pytest.raises(MissingFiles, match="datalad get -d") as caught:
        open_dataset(tree, InputSettings(overlay=overlay), participants=["01"])
    assert str(caught.value).count("_bold.nii.gz") == 3
    assert "and 104 more" in str(caught.value)


def test_sidecars_agree_with_pybids(tree: Path) -> None:
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    layout = BIDSLayout(
        tree, validate=False, indexer=BIDSLayoutIndexer(ignore=[re.compile("^/(stimuli|sub-0[234])")])
    )
    sidecars = Sidecars(tree)
    for file in layout.get(suffix="bold", extension=".nii.gz")[::30]:
        assert sidecars.of(Path(file.path)) == file.get_metadata()


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("preprocessed", [True, False])
def test_complete_datasets(shared_data: Path, name: str, preprocessed: bool) -> None:
    folder, inputs, (n_samples, n_stimuli, n_latents) = DATASETS[name]
    root = shared_data / name
    words = (f"prep={root}/derivatives/{folder}",) if preprocessed else ()
    inputs = InputSettings(**{**inputs.__dict__, "derivatives": words})
    dataset = open_dataset(root, inputs)
    task = load_task(dataset, "01", dataset.tasks()[0], inputs)

    assert int((task.trials["role"] == "sample").sum()) == n_samples
    assert task.latents.values.shape == (n_stimuli, n_latents)
    space = task.declaration["File"].removesuffix(".npy")
    index = pd.read_csv(root / "stimuli" / f"{space}.tsv", sep="\t", dtype=str)["stimulus_id"].tolist()
    matrix = np.load(root / "stimuli" / f"{space}.npy")
    np.testing.assert_array_equal(task.latents.values, matrix[[index.index(s) for s in task.latents.stimuli]])
    assert list(task.latents.stimuli) == sorted(task.latents.stimuli) == task.stimuli["stimulus_id"].tolist()
    assert set(task.image_files) == set(task.latents.stimuli)
    for recording in dataset.recordings:
        assert (recording.mask is not None) == (recording.confounds is not None) == preprocessed
        assert ("derivatives" in recording.bold.parts) == preprocessed
        assert recording.n_volumes > 100
        assert Recording.from_dict(json.loads(json.dumps(recording.to_dict()))) == recording


def test_miyawaki_has_two_runs_03(shared_data: Path) -> None:
    dataset = open_dataset(shared_data / "miyawaki", InputSettings())
    labels = [recording.label for recording in dataset.recordings]
    assert {"ses-01_run-03", "ses-02_run-03"} <= set(labels)
    assert len(set(labels)) == 8
