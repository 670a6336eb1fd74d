"""Simulated datasets: valid, the same every time, and with a truth that can be found again."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hyper_bids.errors import InconsistentInput, OutputNotWritable, UsageError
from hyper_bids.simulate import bold, dataset
from hyper_bids.simulate.dataset import simulate
from hyper_bids.simulate.design import TIMINGS, make_runs, shuffle_apart, spread
from hyper_bids.simulate.settings import SimulateSettings, check

SMALL = SimulateSettings(
    participants=2, train_runs=3, test_runs=2, n_train_faces=31, n_test_faces=5, repeats=4,
    image_shape="8x9x7", n_voxels=120, tuned_share=0.5, generator="none", n_latents=6,
)  # fmt: skip
TRAIN = tuple(f"train{i}" for i in range(31))
TEST = tuple(f"test{i}" for i in range(5))


class LinearPictures:
    """The smallest generator: pixels are a fixed linear function of the latents."""

    space = "linear"
    n_latents = 6
    range = (-1.0, 1.0)

    def generate(self, latents: np.ndarray) -> np.ndarray:
        weights = np.random.default_rng(3).normal(0, 0.2, (self.n_latents, 10, 11, 3))
        return np.tensordot(latents, weights, axes=1).astype(np.float32)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def truth_of(root: Path, name: str = "sub-01") -> dict[str, np.ndarray]:
    with np.load(root / "derivatives" / "truth" / name / f"{name}_task-faces_truth.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    normals = {"gender": np.eye(6)[0], "age": np.full(6, 2.0)}
    settings = replace(SMALL, generator="mine:Linear", null_events=0.2)
    return simulate(tmp_path_factory.mktemp("simulated") / "ds", settings, LinearPictures(), normals)


def errors_of(folder: Path) -> list[dict]:
    beside = Path(sys.executable).with_name("bids-validator-deno")
    program = str(beside) if beside.exists() else shutil.which("bids-validator-deno")
    if program is None:
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([program, str(folder), "--format", "json"], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["totalFiles"] >= 2
    return [issue for issue in report["issues"]["issues"] if issue["severity"] == "error"]


@pytest.mark.parametrize(("design", "generator"), [("hyper", "portrait"), ("vaegan", "identity"), ("dand", "none")])
def test_the_validator_finds_no_error(design: str, generator: str, tmp_path: Path) -> None:
    settings = replace(SMALL, design=design, generator=generator, n_latents=None, null_events=0.1, participants=1)
    settings = replace(settings, n_latents=9 if generator != "portrait" else None)
    root = simulate(tmp_path / "ds", settings, LinearPictures() if generator == "portrait" else None)
    for folder in (root, root / "derivatives" / "fmriprep", root / "derivatives" / "truth"):
        assert errors_of(folder) == []


def test_the_same_seed_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    normals = {"gender": np.eye(6)[0], "age": np.full(6, 2.0)}
    settings = replace(SMALL, generator="mine:Linear", null_events=0.2)
    again = simulate(tmp_path / "again", settings, LinearPictures(), normals)
    assert hashes(again) == hashes(small)
    other = hashes(simulate(tmp_path / "other", replace(settings, random_seed=1), LinearPictures(), normals))
    same = {name for name, digest in other.items() if digest == hashes(small)[name]}
    assert not any(name.endswith(("bold.nii.gz", "events.tsv", ".npy", ".npz", ".png")) for name in same)


def test_participants_share_stimuli_and_not_brains(small: Path) -> None:
    one, two = truth_of(small, "sub-01"), truth_of(small, "sub-02")
    assert np.array_equal(one["latents"], two["latents"])
    assert abs(np.corrcoef(one["W"].ravel(), two["W"].ravel())[0, 1]) < 0.3
    assert one["trial_stimulus"].tolist() != two["trial_stimulus"].tolist()


def test_least_squares_on_the_amplitudes_gives_the_weights(small: Path) -> None:
    truth = truth_of(small)
    row = {label: i for i, label in enumerate(truth["stimuli"])}
    shown = truth["latents"][[row[label] for label in truth["trial_stimulus"]]]
    design = np.column_stack([np.ones(len(shown)), shown])
    found = np.linalg.lstsq(design, truth["amplitudes"].astype(float), rcond=None)[0]
    np.testing.assert_allclose(found, np.vstack([truth["bias"], truth["W"]]), atol=1e-5)
    assert np.array_equal((truth["W"] != 0).any(axis=0), truth["tuned"])
    assert truth["tuned"].sum() == 60 and not (truth["tuned"] & ~truth["responsive"]).any()
    assert not truth["amplitudes"][:, ~truth["responsive"]].any()


@pytest.mark.parametrize("design", ["hyper", "vaegan", "dand"])
def test_nilearns_regressors_recover_the_amplitudes_without_noise(design: str, tmp_path: Path) -> None:
    from nilearn.glm.first_level import make_first_level_design_matrix

    settings = replace(SMALL, design=design, snr=1000.0, hrf_jitter=0.0, null_events=0.3, one_backs=0.0, participants=1)
    root = simulate(tmp_path / "ds", settings)
    truth = truth_of(root)
    folder = root / "derivatives" / "fmriprep" / "sub-01" / "func"
    found = []
    for events in sorted((root / "sub-01" / "func").glob("*_events.tsv")):
        stem = events.name.removesuffix("_events.tsv")
        image = nibabel.load(folder / f"{stem}_desc-preproc_bold.nii.gz")
        values = image.get_fdata()[nibabel.load(folder / f"{stem}_desc-brain_mask.nii.gz").get_fdata() > 0].T
        trials = [row for row in rows_of(events) if row["trial_type"] != "fixation"]
        motion = rows_of(folder / f"{stem}_desc-confounds_timeseries.tsv")
        matrix = make_first_level_design_matrix(
            np.arange(len(values)) * image.header.get_zooms()[3],
            events=pd.DataFrame({
                "onset": [float(row["onset"]) for row in trials],
                "duration": [float(row["duration"]) for row in trials],
                "trial_type": [f"t{i:03d}" for i in range(len(trials))],
            }),
            hrf_model="spm", drift_model="cosine", high_pass=1 / 128,
            add_regs=np.array([[float(row[k]) for k in ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")]
                               for row in motion]),
        )  # fmt: skip
        percent = 100 * (values / values.mean(axis=0) - 1)
        found.append(np.linalg.lstsq(matrix.to_numpy(), percent, rcond=None)[0][: len(trials)])
    tuned = truth["tuned"]
    r = [
        np.corrcoef(a, b)[0, 1]
        for a, b in zip(np.concatenate(found).T[tuned], truth["amplitudes"].T[tuned], strict=True)
    ]
    slope = np.polyfit(truth["amplitudes"][:, tuned].ravel(), np.concatenate(found)[:, tuned].ravel(), 1)[0]
    assert min(r) > 0.95
    assert slope == pytest.approx(1.0, abs=0.05)


def test_the_response_is_nilearns_spm_response() -> None:
    from nilearn.glm.first_level.hemodynamic_models import compute_regressor

    times = np.arange(0, 60, 0.7)
    ours = bold.trial_responses(times, np.array([5.3]), np.array([1.5]), 0.0)[:, 0]
    theirs = compute_regressor(np.array([[5.3], [1.5], [1.0]]), "spm", times, oversampling=200)[0][:, 0]
    np.testing.assert_allclose(ours, theirs, atol=0.01 * theirs.max())
    assert bold.step_response(np.array([-3.0, 0.0, 200.0])).tolist() == pytest.approx([0, 0, 1])


def test_noise_is_stationary_and_autocorrelated(rng: np.random.Generator) -> None:
    noise = bold.autoregressive(400, 500, 0.6, rng)
    assert noise[0].std() == pytest.approx(1, abs=0.1)
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(0.6, abs=0.02)


def test_snr_is_the_peak_response_over_the_noise() -> None:
    peak = bold.trial_responses(np.linspace(0, 20, 2001), np.zeros(1), np.array([1.5]), 0.0).max()
    assert bold.noise_sd(replace(SMALL, snr=2.0), 1.5) == pytest.approx(peak / 2, rel=1e-3)


@pytest.mark.parametrize("design", sorted(TIMINGS))
def test_every_stimulus_is_shown_as_often_as_asked(design: str) -> None:
    settings = replace(SMALL, design=design, one_backs=0.0)
    runs = make_runs(settings, TRAIN, TEST, "sub-01")
    shown = [trial.stimulus for run in runs for trial in run.shown]
    per_train = {"hyper": 1, "vaegan": 1, "dand": 2}[design]
    assert {shown.count(label) for label in TRAIN} == {per_train}
    assert {shown.count(label) for label in TEST} == {4}
    assert len(runs) == 5
    kinds = [{trial.trial_type for trial in run.shown} for run in runs]
    assert kinds == ([{"train", "test"}] * 5 if design == "vaegan" else [{"test"}] * 2 + [{"train"}] * 3)
    for run in runs:
        assert all(a.stimulus != b.stimulus for a, b in pairwise(run.shown))


def test_vaegan_shows_one_half_of_the_test_faces_in_a_run_and_the_other_in_the_next() -> None:
    runs = make_runs(replace(SMALL, design="vaegan"), TRAIN, TEST, "sub-01")
    halves = [{trial.stimulus for trial in run.shown if trial.trial_type == "test"} for run in runs]
    assert halves == [set(TEST[:3]), set(TEST[3:]), set(TEST[:3]), set(TEST[3:]), set(TEST[:3])]


@pytest.mark.parametrize(("design", "on", "every"), [("hyper", 1.5, 4.5), ("vaegan", 1.0, 3.0), ("dand", 1.4, 4.2)])
def test_trials_follow_the_papers_clock(design: str, on: float, every: float) -> None:
    run = make_runs(replace(SMALL, design=design, onset_jitter=0.0), TRAIN, TEST, "sub-01")[0]
    assert {trial.duration for trial in run.trials} == {on}
    np.testing.assert_allclose(np.diff([trial.onset for trial in run.trials]), every, atol=1e-3)
    assert run.n_volumes * run.tr >= run.trials[-1].onset + every + TIMINGS[design].lead_out
    jittered = make_runs(replace(SMALL, design=design), TRAIN, TEST, "sub-01")[0]
    shifts = np.array([a.onset - b.onset for a, b in zip(jittered.trials, run.trials, strict=True)])
    assert 0.03 < shifts.std() < 0.1 and np.abs(shifts).max() <= 0.1


def test_null_events_and_one_backs_have_the_share_asked_for() -> None:
    runs = make_runs(replace(SMALL, null_events=0.25, one_backs=0.2), TRAIN, TEST, "sub-01")
    trials = [trial for run in runs for trial in run.trials]
    fixation = [trial for trial in trials if trial.trial_type == "fixation"]
    assert len(fixation) / len(trials) == pytest.approx(0.25, abs=0.02)
    assert all(trial.stimulus is None for trial in fixation)
    assert sum(trial.oneback for trial in trials) == pytest.approx(0.2 * (31 + 20), abs=2)
    for run in runs:
        for before, after in pairwise(run.trials):
            assert after.oneback == (before.stimulus is not None and before.stimulus == after.stimulus)


def test_spread_is_even_and_shuffle_apart_keeps_what_it_is_given(rng: np.random.Generator) -> None:
    runs = spread("abcde", 7, 3, rng)
    assert sorted(len(run) for run in runs) == [11, 12, 12]
    assert all(2 <= run.count(label) <= 3 for run in runs for label in "abcde")
    for _ in range(50):
        order = shuffle_apart("aaaabbc", rng)
        assert sorted(order) == list("aaaabbc")
        assert all(a != b for a, b in pairwise(order))
    with pytest.raises(UsageError, match="follow itself"):
        shuffle_apart("aaab", rng)


def test_the_events_sidecar_declares_what_is_there(small: Path) -> None:
    sidecar = json.loads((small / "task-faces_events.json").read_text())
    entry = sidecar["StimulusLatents"]["linear"]
    latents = np.load(small / "stimuli" / entry["File"], allow_pickle=False)
    labels = [row["stimulus_id"] for row in rows_of(small / "stimuli" / entry["Index"])]
    assert latents.shape == (36, entry["Dimension"]) and len(set(labels)) == 36
    assert entry["Generator"] == {"Name": "mine:Linear"} and entry["GroundTruth"]
    assert sidecar["StimulusSplit"] == {
        "Column": "trial_type", "Train": ["train"], "Test": ["test"], "Ignore": ["fixation"], "Baseline": ["fixation"]
    }  # fmt: skip
    rows = [row for path in small.glob("sub-*/func/*_events.tsv") for row in rows_of(path)]
    assert {row["trial_type"] for row in rows} == {"train", "test", "fixation"} == set(sidecar["trial_type"]["Levels"])
    assert {row["stim_id"] for row in rows if row["trial_type"] != "fixation"} == set(labels)
    assert all((small / "stimuli" / row["stim_file"]).is_file() for row in rows if row["stim_file"] != "n/a")


def test_the_stimulus_table_has_the_true_classes(small: Path) -> None:
    latents = np.load(small / "stimuli" / "latents" / "linear.npy")
    rows = rows_of(small / "stimuli" / "stimuli.tsv")
    assert [row["gender"] for row in rows] == [str(int(z > 0)) for z in latents[:, 0]]
    np.testing.assert_allclose([float(row["age_score"]) for row in rows], latents.sum(axis=1) / np.sqrt(6), atol=1e-4)
    assert [row["split"] for row in rows] == ["train"] * 31 + ["test"] * 5
    assert set(rows[0]) == set(json.loads((small / "stimuli" / "stimuli.json").read_text()))


def test_pictures_are_the_generators(small: Path) -> None:
    latents = np.load(small / "stimuli" / "latents" / "linear.npy")
    drawn = np.clip((LinearPictures().generate(latents) + 1) * 127.5, 0, 255)
    rows = rows_of(small / "stimuli" / "stimuli.tsv")
    read = np.stack([np.asarray(Image.open(small / "stimuli" / row["filename"])) for row in rows])
    assert np.abs(read - drawn).max() <= 0.51


def test_identity_pictures_are_their_latents(tmp_path: Path) -> None:
    root = simulate(tmp_path / "ds", replace(SMALL, generator="identity", n_latents=16, participants=1))
    entry = json.loads((root / "task-faces_events.json").read_text())["StimulusLatents"]["pixels"]
    assert entry["Generator"] == {"Name": "identity", "Shape": [4, 4]}
    latents = np.load(root / "stimuli" / entry["File"])
    rows = rows_of(root / "stimuli" / "stimuli.tsv")
    grey = np.stack([np.asarray(Image.open(root / "stimuli" / row["filename"]))[..., 0] for row in rows]) / 255
    np.testing.assert_allclose(grey.reshape(36, 16), latents, atol=1e-6)


def test_portrait_simulates_too(tmp_path: Path) -> None:
    from hyper_bids.generate.portrait import Portrait

    settings = replace(SMALL, generator="portrait", n_latents=None, participants=1, n_train_faces=7)
    root = simulate(tmp_path / "ds", settings, Portrait(resolution=32), Portrait.attributes())
    sidecar = json.loads((root / "task-faces_events.json").read_text())
    assert sidecar["StimulusLatents"]["portrait"]["Generator"] == {"Name": "portrait"}
    assert {"gender", "age", "eyeglasses", "smile", "pose"} < set(rows_of(root / "stimuli" / "stimuli.tsv")[0])


def test_bold_keeps_its_values_and_its_grid(small: Path) -> None:
    truth = truth_of(small)
    path = small / "sub-01" / "func" / "sub-01_task-faces_run-01_bold.nii.gz"
    image = nibabel.load(path)
    assert image.get_data_dtype() == np.int16 and image.header.get_zooms()[3] == pytest.approx(1.5)
    assert image.shape[:3] == (8, 9, 7) and truth["mask"].sum() == 120
    values = image.get_fdata()
    assert values[truth["mask"]].min() > 300 and not values[~truth["mask"]].any()
    copy = small / "derivatives" / "fmriprep" / "sub-01" / "func" / "sub-01_task-faces_run-01_desc-preproc_bold.nii.gz"
    assert copy.read_bytes() == path.read_bytes()


def test_the_confounds_explain_the_motion_artefact(tmp_path: Path) -> None:
    quiet = replace(SMALL, snr=1e6, drift=0.0, participants=1)
    still, moving = (simulate(tmp_path / str(mm), replace(quiet, motion=mm)) for mm in (0.0, 0.1))
    mask = truth_of(still)["mask"]
    name = Path("sub-01", "func", "sub-01_task-faces_run-02_bold.nii.gz")
    artefact = (nibabel.load(moving / name).get_fdata() - nibabel.load(still / name).get_fdata())[mask].T
    table = rows_of(moving / "derivatives/fmriprep/sub-01/func/sub-01_task-faces_run-02_desc-confounds_timeseries.tsv")
    names = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
    motion = np.array([[float(row[name]) for name in names] for row in table])
    residual = artefact - motion @ np.linalg.lstsq(motion, artefact, rcond=None)[0]
    assert artefact.std() > 3 and residual.std() < 0.1
    assert table[0]["framewise_displacement"] == "n/a"
    naive = [np.abs(b - a) @ [1, 1, 1, 50, 50, 50] for a, b in pairwise(motion)]
    np.testing.assert_allclose([float(row["framewise_displacement"]) for row in table[1:]], naive, atol=1e-4)


def test_without_derivatives_there_is_only_the_truth(tmp_path: Path) -> None:
    root = simulate(tmp_path / "ds", replace(SMALL, with_derivatives=False, participants=1))
    assert [path.name for path in (root / "derivatives").iterdir()] == ["truth"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"null_events": 1.0}, "--null-events"),
        ({"snr": 0.0}, "--snr"),
        ({"snr": float("nan")}, "--snr"),
        ({"participants": 0}, "--participants"),
        ({"onset_jitter": 0.9}, "overlap"),
        ({"image_shape": "8x9"}, "20x20x14"),
        ({"n_voxels": 505}, "504 voxels"),
        ({"train_runs": 32}, "cannot fill 32 runs"),
        ({"test_runs": 21}, "cannot fill 21 runs"),
        ({"latent_space": "a-b"}, "letters, digits"),
        ({"generator": "identity", "n_latents": 10}, "9 or 16"),
        ({"n_test_faces": 1}, "follow itself"),
        ({"generator": "portrait"}, "generator's object"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        simulate(tmp_path / "ds", replace(SMALL, **change))
    assert list(tmp_path.iterdir()) == []


def test_generators_and_normals_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    linear = replace(SMALL, generator="mine:Linear")
    with pytest.raises(UsageError, match="takes 6"):
        simulate(tmp_path / "ds", replace(linear, n_latents=7), LinearPictures())
    with pytest.raises(InconsistentInput, match="gender"):
        simulate(tmp_path / "ds", linear, LinearPictures(), {"gender": np.ones(5)})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ds").mkdir()
    (tmp_path / "ds" / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match="not empty"):
        simulate(tmp_path / "ds", SMALL)
    with pytest.raises(UsageError, match="is a file"):
        simulate(tmp_path / "ds" / "thesis.txt", SMALL)
    assert [path.name for path in tmp_path.rglob("*")] == ["ds", "thesis.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "ds").mkdir()
    assert (simulate(tmp_path / "ds", replace(SMALL, participants=1)) / "dataset_description.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["ds"]


def test_a_mount_point_is_filled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(dataset.os.path, "ismount", lambda path: Path(path).name == "out")
    inode = (tmp_path / "out").stat().st_ino
    root = simulate(tmp_path / "out", replace(SMALL, participants=1))
    assert root.stat().st_ino == inode
    assert not [path for path in root.iterdir() if path.name.startswith(".")]
    assert (root / "sub-01").is_dir()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritable, match="file"):
        simulate(tmp_path / "file" / "ds", SMALL)


@pytest.mark.parametrize(
    ("fault", "raised"), [(OSError(28, "No space left"), OutputNotWritable), (KeyError(), KeyError)]
)
def test_a_crash_leaves_nothing(
    fault: Exception, raised: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(line: str) -> None:
        if line.startswith("sub-01: run 2"):
            raise fault

    with pytest.raises(raised):
        simulate(tmp_path / "ds", SMALL, progress=crash)
    assert list(tmp_path.iterdir()) == []


def test_progress_tells_every_run(tmp_path: Path) -> None:
    lines: list[str] = []
    simulate(tmp_path / "ds", replace(SMALL, generator="mine:Linear"), LinearPictures(), progress=lines.append)
    assert sum(line.startswith("sub-02: run") for line in lines) == 5
    assert lines[2] == "stimuli: 36 of 36 pictures"


def test_default_settings_are_meant() -> None:
    check(SimulateSettings())


def test_settings_import_only_the_standard_library() -> None:
    code = "import sys, hyper_bids.simulate.settings; print(sorted({'numpy', 'scipy', 'nibabel'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
