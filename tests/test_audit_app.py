"""Audits on recordings: what the app finds by itself, and what was planted."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from bids_app.cli import main
from hyper_bids.audit.checks import CHECKS
from hyper_bids.audit.evidence import Evidence
from hyper_bids.inputs.dataset import open_dataset
from hyper_bids.inputs.task import load_task
from hyper_bids.settings import InputSettings
from hyper_bids.workflow.steps.nuisances import framewise_displacement, nuisances_of

QUICK = ("--generator", "none", "--no-reliability")


def decode(folder, prep, out, work, *words):
    command = [str(folder), str(out), "participant", "-w", str(work), "-q", "--skip-bids-validation"]
    assert main([*command, "-d", f"prep={folder / 'derivatives' / prep}", *words]) == 0
    (audit,) = out.glob("sub-01/func/*_audit.json")
    return json.loads(audit.read_text()), (out / "sub-01.html").read_text()


def test_on_miyawaki_chance_is_not_half_and_the_report_says_why(shared_data, tmp_path):
    # the protocol of the reference numbers in shared/data/README.md: its null mean is 0.58
    protocol = ("--glm", "lsa", "--response", "beta", "--alphas", "1000")
    words = ("--cross-validate", "run", "--select", "all", "--n-permutations", "200", *protocol, *QUICK)
    audit, page = decode(shared_data / "miyawaki", "prep", tmp_path / "out", tmp_path / "work", *words)
    found = audit["ChanceLevel"]
    assert found["Status"] == "NOTE" and 0.54 <= found["PairwiseAccuracyPermuted"] <= 0.62
    assert "2 sets that never share a run" in page and "not 0.50" in page
    assert audit["ShuffledResponses"]["Status"] == "PASS" and audit["Novelty"]["Status"] == "N/A"


def test_shuffled_labels_are_at_chance_in_words(shared_data, tmp_path):
    folder = tmp_path / "sim"
    shutil.copytree(shared_data / "sim_ds001761", folder, ignore=shutil.ignore_patterns("truth"))
    path = folder / "stimuli" / "latents" / "simZ.tsv"
    index = pd.read_csv(path, sep="\t", dtype=str)
    index["stimulus_id"] = np.random.default_rng(3).permutation(index["stimulus_id"].to_numpy())
    path.chmod(0o644)
    index.to_csv(path, sep="\t", index=False)
    audit, page = decode(folder, "prep", tmp_path / "out", tmp_path / "work", "--n-permutations", "199", *QUICK)
    assert "The result is at chance" in page
    assert audit["ShuffledResponses"]["Status"] == audit["Baselines"]["Status"] == "WARN"
    assert "no better than with the wrong brain data: at chance" in audit["ShuffledResponses"]["Text"]


@pytest.mark.parametrize("annexed", [False, True], ids=["bytes", "git-annex keys without content"])
def test_a_test_face_that_was_trained_on_is_found(shared_data, tmp_path, annexed):
    """One of sim_ds001761's training faces made the picture of a test face, as six are in the real ds001761."""
    root = shared_data / "sim_ds001761"
    folder = tmp_path / "sim"
    shutil.copytree(root, folder, ignore=shutil.ignore_patterns("derivatives"))
    inputs = InputSettings()
    task = load_task(open_dataset(folder, inputs), "01", "faces", inputs)
    assert not [text for text in task.notices if "same content" in text], "none before it was planted"
    samples = task.trials[task.trials["role"] == "sample"]
    chosen = {split: samples.loc[samples["split"] == split, "stimulus_id"].iloc[0] for split in ("train", "test")}
    for label in chosen.values():
        for name in set(samples.loc[samples["stimulus_id"] == label, "stim_file"]):
            path = folder / "stimuli" / name
            path.parent.chmod(0o755)
            path.unlink()
            if annexed:
                path.symlink_to("../../../.git/annex/objects/x/MD5E-s1--0/MD5E-s1--0.jpg")
            else:
                path.write_bytes(b"the same face")
    task = load_task(open_dataset(folder, inputs), "01", "faces", inputs)
    notices = [text for text in task.notices if "have the same content as one to train on" in text]
    assert len(notices) == 1 and f"{chosen['train']} = {chosen['test']}" in notices[0]
    nothing = np.zeros((1, 1))
    found = CHECKS["SameContent"](Evidence(nothing, nothing, nothing, nothing, nothing, ["a"], same_content=notices))
    assert found["Status"] == "WARN" and chosen["test"] in found["Text"]


# ------------------------------------------------------------------ what went on in the scanner


TRIALS = pd.DataFrame(
    [(0, "run-1", "", 10.0, "a", "test", "sample"), (0, "run-1", "", 30.0, "b", "test", "sample"),
     (1, "run-2", "", 50.0, "a", "test", "sample"), (1, "run-2", "", 70.0, "c", "train", "sample"),
     (1, "run-2", "", 90.0, "b", "test", "drop")],
    columns=["recording", "run", "session", "onset", "stimulus_id", "split", "role"],
)  # fmt: skip


def confounds(path, values, name="framewise_displacement"):
    pd.DataFrame({name: values}).to_csv(path, sep="\t", index=False, na_rep="n/a")
    return str(path)


def test_nuisances_are_means_over_the_trials_of_a_row(tmp_path):
    rows = pd.DataFrame({"stimulus_id": ["b", "a"], "fold": ["", ""]})
    still, moved = np.zeros(50), np.where(np.arange(50) * 2.0 >= 50, 0.4, 0.0)
    recordings = [
        {"confounds": confounds(tmp_path / f"{k}_timeseries.tsv", values), "repetition_time": 2.0, "start_time": 0.0,
         "n_volumes": 50}
        for k, values in enumerate((still, moved))
    ]  # fmt: skip
    found, missing = nuisances_of(rows, TRIALS, recordings, False)
    np.testing.assert_array_equal(found["run"], [[1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(found["onset"], [[30], [30]])
    np.testing.assert_allclose(found["motion"], [[0], [0.2]])
    assert missing == {"session": "there is one session"}


def test_in_folds_over_runs_a_row_has_the_trials_of_its_run():
    trials = TRIALS.assign(split="cv", role="sample")
    folds = ["run-1", "run-1", "run-2", "run-2", "run-2"]
    rows = pd.DataFrame({"stimulus_id": ["a", "b", "a", "c", "b"], "fold": folds})
    found, missing = nuisances_of(rows, trials, [], True)
    np.testing.assert_array_equal(found["onset"].ravel(), [10, 30, 50, 70, 90])
    assert missing["motion"] == "responses were given, not recorded here"
    found, _ = nuisances_of(rows.iloc[[0, 1, 3]].assign(fold=["1", "2", "1"]), trials, [], True)
    np.testing.assert_array_equal(found["onset"].ravel(), [30, 60, 70])


def test_a_row_whose_trials_are_not_known_is_not_guessed():
    rows = pd.DataFrame({"stimulus_id": ["a", "stranger"], "fold": ["", ""]})
    found, missing = nuisances_of(rows, TRIALS, [], False)
    assert not found and missing["run"] == "the trials of 1 test rows are not known"


def test_framewise_displacement_from_motion_is_powers(tmp_path, rng):
    motion = rng.normal(0, [0.1] * 3 + [0.002] * 3, (12, 6))
    names = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    path = tmp_path / "x_timeseries.tsv"
    pd.DataFrame(motion, columns=names).to_csv(path, sep="\t", index=False)
    steps = np.abs(np.diff(motion, axis=0))
    wanted = steps[:, :3].sum(axis=1) + 50 * steps[:, 3:].sum(axis=1)
    found = framewise_displacement(path, 12)
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], wanted)
    assert framewise_displacement(tmp_path / confounds(tmp_path / "y_timeseries.tsv", np.ones(12), "csf"), 12) is None
