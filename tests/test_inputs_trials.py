"""Events to trials: keys, roles, splits, folds, latents and pictures, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from input_files import ROWS, SPLIT, Sample, write_events, write_json

from hyper_bids.errors import HyperError, InconsistentInput, MissingFiles, UsageError
from hyper_bids.inputs.task import load_task, load_trials
from hyper_bids.settings import InputSettings


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path / "dataset")


def samples_of(trials: pd.DataFrame, split: str) -> list[str]:
    return sorted(set(trials.loc[(trials["split"] == split) & (trials["role"] == "sample"), "stimulus_id"]))


def test_a_task_is_loaded(sample: Sample) -> None:
    task = sample.load()
    assert samples_of(task.trials, "train") == ["a", "b"] and samples_of(task.trials, "test") == ["c"]
    assert task.latents.stimuli == ("a", "b", "c")
    assert task.trials["role"].value_counts().to_dict() == {"sample": 6, "ignore": 2}
    assert task.trials["onset"].tolist() == [0.0, 6.0, 12.0, 18.0] * 2
    assert task.trials["recording"].tolist() == [0] * 4 + [1] * 4
    assert any("one test stimulus (c)" in notice for notice in task.notices)


def test_values_are_stripped_and_odd_ids_survive(sample: Sample) -> None:
    (sample.root / "stimuli/latents/z.tsv").write_text("stimulus_id\nNA\n001\nNone\nd\n")
    sample.events([("0", "1", "train  ", " stim-NA"), ("6", "1", " train", "001 "), ("12 ", "1", "test", "None")])
    trials = sample.load().trials
    assert samples_of(trials, "train") == ["001", "NA"] and samples_of(trials, "test") == ["None"]


def test_key_is_stim_file_verbatim_or_what_the_pattern_finds(sample: Sample) -> None:
    rows = [("0", "1", "train", "r1/a.png"), ("6", "1", "test", "r1/b.png"), ("9", "1", "test", "r2/b.png")]
    sample.events(rows, columns=("onset", "duration", "trial_type", "stim_file"))
    trials, _ = load_trials(sample.open(), "01", "faces", InputSettings())
    assert samples_of(trials, "test") == ["r1/b.png", "r2/b.png"]
    task = sample.load(InputSettings(stim_key=r"stim_file:(\w+)\.png$"))
    assert samples_of(task.trials, "test") == ["b"]
    sample.declare(StimulusKey={"Column": "stim_file", "Regex": r"/(\w)\.png"})
    assert sample.load().latents.stimuli == ("a", "b")
    sample.events([*rows, ("15", "1", "test", "odd.jpg")], columns=("onset", "duration", "trial_type", "stim_file"))
    with pytest.raises(InconsistentInput, match=r"matches nothing in 2 sample rows \(test\): odd\.jpg"):
        sample.load()


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ({"Column": "nothing"}, InconsistentInput, "no column nothing.*columns: onset"),
        ({"Column": "stim_id", "Regex": "("}, InconsistentInput, "regular expression"),
        ({"Column": "stim_id", "Regex": "(a)(b)"}, InconsistentInput, "exactly one group"),
        ("stim_id", InconsistentInput, "object"),
        (None, UsageError, "exactly one group"),
    ],
)
def test_keys_that_cannot_be_used(sample: Sample, key, error: type[HyperError], message: str) -> None:
    sample.declare(**({} if key is None else {"StimulusKey": key}))
    with pytest.raises(error, match=message):
        sample.load(InputSettings(stim_key="stim_id:x" if key is None else None))


def test_roles(sample: Sample) -> None:
    split = {**SPLIT, "Ignore": ["rest", "Img"], "Baseline": ["rest"], "DropWhere": {"oneback": [1], "bad": ["yes"]}}
    sample.declare(StimulusSplit=split)
    rows = [
        ("0", "1", "train", "a", "0", "n/a"),
        ("3", "1", "train", "a", "1", "n/a"),
        ("6", "1", "train", "b", "1.0", "n/a"),
        ("9", "1", "train", "b", "0", "n/a"),
        ("12", "1", "test", "c", "0", "yes"),
        ("15", "1", "test", "d", "n/a", "n/a"),
        ("18", "1", "rest", "d", "1", "n/a"),
        ("21", "1", "Img", "n/a", "0", "n/a"),
    ]
    sample.events(rows, columns=("onset", "duration", "trial_type", "stim_id", "oneback", "bad"))
    trials = sample.load().trials[:8]
    assert trials["role"].tolist() == ["sample", "drop", "drop", "sample", "drop", "sample", "baseline", "ignore"]
    assert trials["split"].tolist() == ["train", "", "", "train", "", "test", "", ""]


def test_precedence_of_the_split(sample: Sample, tmp_path: Path) -> None:
    """Command line > overlay > sidecar > column split of events > of stimuli.tsv > names of trial types."""
    columns = ("onset", "duration", "trial_type", "stim_id", "kind")
    rows = [("0", "1", "Train1", "a", "k1"), ("6", "1", "TEST", "b", "k2"), ("9", "1", "train", "c", "k3")]
    sample.events(rows, columns=columns)
    sample.declare(StimulusSplit={})

    def sets(**options) -> tuple[list[str], list[str]]:
        trials = sample.load(InputSettings(**options)).trials
        return samples_of(trials, "train"), samples_of(trials, "test")

    assert sets() == (["a", "c"], ["b"])
    (sample.root / "stimuli/stimuli.tsv").write_text("stimulus_id\tsplit\na\tTest\nstim-b\ttrain\nc\tn/a\n")
    assert sets() == (["b"], ["a"])
    with_split = [(*row, split) for row, split in zip(rows, ("test", "train", "train"), strict=True)]
    sample.events(with_split, columns=(*columns, "split"))
    assert sets() == (["b", "c"], ["a"])
    sample.declare(StimulusSplit={"Column": "kind", "Train": ["k1"], "Test": ["k2", "k3"]})
    assert sets() == (["a"], ["b", "c"])
    write_json(
        tmp_path / "overlay/task-faces_events.json",
        StimulusSplit={"Column": "kind", "Train": ["k2"], "Test": ["k3"], "Ignore": ["k1"]},
    )
    assert sets(overlay=tmp_path / "overlay") == (["b"], ["c"])
    options = {"overlay": tmp_path / "overlay", "train_trial_types": ("k1",), "test_trial_types": ("k2",)}
    with pytest.raises(InconsistentInput, match=r"k3 \(kind\) is neither"):
        sets(**options)
    assert sets(**{**options, "test_trial_types": ("k2", "k3")}) == (["a"], ["b", "c"])


@pytest.mark.parametrize(
    ("split", "rows", "message"),
    [
        ({"Train": ["train"], "Test": ["test"]}, ROWS, r"rest \(trial_type\) is neither(.|\n)*train: 4\n  rest: 2"),
        ({}, ROWS, r"rest \(trial_type\) is neither"),
        ({**SPLIT, "Train": ["train", "test"]}, ROWS, "test is named as train and as test"),
        ({**SPLIT, "Baseline": ["train"]}, ROWS, "train is named as train and as ignore"),
        ({**SPLIT, "Column": "nothing"}, ROWS, "no column 'nothing'"),
        ({**SPLIT, "DropWhere": {"nothing": [1]}}, ROWS, "DropWhere: the events have no column 'nothing'"),
        ({**SPLIT, "Train": [{}]}, ROWS, "list of values"),
        (["train"], ROWS, "object"),
        ({**SPLIT, "Test": ["probe"], "Ignore": ["rest", "test"]}, ROWS, r"no test sample(.|\n)*train: 4"),
        (SPLIT, [("0", "1", "train", "a"), ("6", "1", "test", "a")], r"both in the training and in the test set: a\."),
        (SPLIT, [("0", "1", "train", "n/a"), ("6", "1", "test", "a")], "line 2 of run run-1"),
        (SPLIT, [("0", "1", "train", "a"), ("6", "1", "test", "x")], r"no latents for 1 of 2 stimuli: x"),
        (SPLIT, [("n/a", "1", "train", "a")], r"line 2: onset is 'n/a'"),
        (SPLIT, [("0", "x", "train", "a")], "duration is 'x'"),
        (SPLIT, [("0", "-1", "train", "a")], "at least 0"),
        (SPLIT, [("0", "inf", "train", "a")], "duration is 'inf'"),
        (SPLIT, [("0", "1", "train")], "line 2: 3 cells"),
        (SPLIT, [], "no events"),
    ],
)
def test_events_and_splits_that_are_refused(sample: Sample, split, rows, message: str) -> None:
    sample.declare(StimulusSplit=split)
    sample.events(rows)
    with pytest.raises(InconsistentInput, match=message):
        sample.load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "no readable"),
        (b"a\tb\n1\t2\n", "no column onset"),
        (b"onset\tonset\n1\t2\n", "twice"),
    ],
)
def test_unreadable_events(sample: Sample, content: bytes, message: str) -> None:
    path = sample.stem("01", "2", "events.tsv")
    path.write_bytes(content)
    with pytest.raises(InconsistentInput, match=message) as caught:
        sample.load()
    assert str(path) in str(caught.value)


def test_lower_sidecar_replaces_the_latents_as_a_whole(sample: Sample) -> None:
    np.save(sample.root / "stimuli/latents/y.npy", np.ones((4, 2)))
    (sample.root / "stimuli/latents/y.tsv").write_text("stimulus_id\na\nb\nc\nd\n")
    write_json(sample.root / "sub-01/sub-01_events.json", StimulusLatents={"y": {"File": "latents/y.npy"}})
    dataset = sample.open()
    assert load_task(dataset, "01", "faces", InputSettings()).space == "y"
    assert load_task(dataset, "02", "faces", InputSettings()).space == "z"
    write_json(sample.stem("01", "2", "events.json"), StimulusLatents={"z": {"File": "latents/z.npy"}})
    with pytest.raises(InconsistentInput, match="run-1 and run-2 declare different StimulusLatents"):
        sample.load()


@pytest.mark.parametrize(
    ("folds", "message"),
    [("run", "2 runs"), ("session", "2 sessions"), ("stimulus:5", "5 stimuli"), ("stimulus:4", None)],
)
def test_too_few_units_to_cross_validate(sample: Sample, folds: str, message: str | None) -> None:
    sample.events([("0", "1", "x", "a"), ("6", "1", "y", "b"), ("9", "1", "y", "c"), ("12", "1", "rest", "d")])
    sample.declare(StimulusSplit={})
    write_events(sample.stem("01", "2", "events.tsv"), [("0", "1", "rest", "n/a")])
    if message is None:
        task = sample.load(InputSettings(cross_validate=folds))
        assert samples_of(task.trials, "cv") == ["a", "b", "c", "d"]
        assert "rest (1)" in task.notices[0]
    else:
        with pytest.raises(InconsistentInput, match=message):
            sample.load(InputSettings(cross_validate=folds))


def test_cross_validation_pools_train_and_test(sample: Sample) -> None:
    sample.events([("0", "1", "train", "a"), ("6", "1", "test", "a"), ("9", "1", "rest", "b")])
    trials = sample.load(InputSettings(cross_validate="run")).trials
    assert samples_of(trials, "cv") == ["a"] and set(trials["split"]) == {"cv", ""}


def test_latent_file_of_the_overlay_and_stimuli_tables_are_merged(sample: Sample, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay/stimuli"
    overlay.mkdir(parents=True)
    (sample.root / "stimuli/stimuli.tsv").write_text("stimulus_id\tgender\tage\na\tf\t20\nb\tm\tn/a\n")
    (overlay / "stimuli.tsv").write_text("stimulus_id\tage\tfilename\nstim-b\t30\tpictures/b.png\nc\t40\tc.png\n")
    (overlay / "pictures").mkdir()
    (overlay / "pictures/b.png").write_bytes(b"b")
    (sample.root / "stimuli/c.png").write_bytes(b"c")
    task = sample.load(InputSettings(overlay=tmp_path / "overlay"))
    table = task.stimuli.set_index("stimulus_id")
    assert task.stimuli.columns[0] == "stimulus_id" and table.index.tolist() == ["a", "b", "c"]
    assert table.loc["b", ["gender", "age"]].tolist() == ["m", "30"] and table.loc["a", "age"] == "20"
    assert task.image_files == {"b": overlay / "pictures/b.png", "c": sample.root / "stimuli/c.png"}
    assert "1 of 3 stimuli have no picture" in task.notices[-1]
    with pytest.raises(MissingFiles, match="--overlay"):
        sample.load(InputSettings(overlay=tmp_path / "nowhere"))


@pytest.mark.parametrize("content", ["id\na\n", "stimulus_id\na\nstim-a\n", "stimulus_id\tx\nn/a\t1\n", ""])
def test_stimulus_tables_that_are_refused(sample: Sample, content: str) -> None:
    (sample.root / "stimuli/stimuli.tsv").write_text(content)
    with pytest.raises(InconsistentInput, match=r"stimuli\.tsv"):
        sample.load()


def _pictures(sample: Sample) -> None:
    rows = [("0", "1", "train", "a", "1/a.png"), ("3", "1", "train", "b", "1/b.png"), ("6", "1", "test", "c", "c.png")]
    sample.events(rows, columns=("onset", "duration", "trial_type", "stim_id", "stim_file"))
    (sample.root / "stimuli/1").mkdir()


@pytest.mark.parametrize("annexed", [False, True])
def test_same_picture_in_both_sets(sample: Sample, annexed: bool) -> None:
    _pictures(sample)
    for name, content in (("1/a.png", "same!"), ("1/b.png", "other"), ("c.png", "same!")):
        path = sample.root / "stimuli" / name
        if annexed:
            path.symlink_to(f"../.git/annex/objects/{content}/MD5E-s5--{content}.png")
        else:
            path.write_text(content)
    task = sample.load()
    assert any("1 picture(s)" in notice and "a = c" in notice for notice in task.notices)
    assert len(task.image_files) == (0 if annexed else 3)
    with pytest.raises(InconsistentInput, match=r"a = c.*--strict"):
        sample.load(InputSettings(strict=True))
    assert not any("picture(s)" in notice for notice in sample.load(InputSettings(cross_validate="run")).notices)
    assert any("a = c" in notice for notice in sample.load(InputSettings(cross_validate="stimulus:2")).notices)


def test_pictures_outside_the_stimuli_folder_are_refused(sample: Sample) -> None:
    sample.events(
        [("0", "1", "train", "a", "../../secret.png"), ("6", "1", "test", "b", "b.png")],
        columns=("onset", "duration", "trial_type", "stim_id", "stim_file"),
    )
    with pytest.raises(InconsistentInput, match=r"stim_file: '\.\./\.\./secret\.png' leads out"):
        sample.load()
