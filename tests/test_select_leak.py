"""A selection that saw the test runs is caught: with shuffled labels it scores, one in the fold does not."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from hyper_bids.data import Latents, Responses, VoxelGrid
from hyper_bids.decode import Ridge
from hyper_bids.decode.crossvalidate import decode
from hyper_bids.decode.folds import make_folds
from hyper_bids.decode.select import Gain, Reliability, TopZ
from hyper_bids.evaluate.identification import pairwise_accuracy

TR, LAG, N_SHUFFLES = 2.5, 5.0, 20


@pytest.fixture(scope="module")
def haxby(shared_data):
    """Mean % signal of every block (5 s after its onset to 5 s after its end), cubic drift removed."""
    folder, name = shared_data / "haxby", "sub-01_task-objectviewing_run-{:02d}_{}"
    prep = folder / "derivatives" / "haxbyprep" / "sub-01" / "func"
    masks = [nib.load(path).get_fdata() > 0 for path in sorted(prep.glob("*_mask.nii.gz"))]
    mask, values, trials = np.logical_and.reduce(masks), [], []
    for run in range(1, 9):
        bold = nib.load(prep / name.format(run, "desc-preproc_bold.nii.gz")).get_fdata()[mask].T
        time = np.arange(len(bold)) * TR
        drift = np.vander(time / time[-1], 4)
        signal = 100 * bold / bold.mean(axis=0)
        signal -= drift @ np.linalg.lstsq(drift, signal, rcond=None)[0]
        events = pd.read_csv(folder / "sub-01" / "func" / name.format(run, "events.tsv"), sep="\t")
        for onset, duration, stimulus in zip(events["onset"], events["duration"], events["stim_id"], strict=True):
            values.append(signal[(time >= onset + LAG) & (time < onset + duration + LAG)].mean(axis=0))
            trials.append((f"run-{run}", stimulus))
    stimuli = pd.read_csv(folder / "stimuli" / "latents" / "onehot8.tsv", sep="\t")["stimulus_id"]
    latents = Latents(np.load(folder / "stimuli" / "latents" / "onehot8.npy"), tuple(stimuli), "onehot8")
    table = pd.DataFrame(trials, columns=["run", "stimulus_id"])
    return Responses(np.array(values), table, VoxelGrid(mask, np.eye(4))), latents


def score(responses, latents, selector):
    decoded = decode(responses, latents, make_folds(responses.trials, "run", None, 0), selector, Ridge)
    return pairwise_accuracy(latents.rows(decoded.rows["stimulus_id"]), decoded.values, latents.values).mean()


@pytest.fixture(scope="module")
def shuffled(haxby):
    """The responses with labels exchanged within runs, some times."""
    responses, _ = haxby
    rng, found = np.random.default_rng(0), []
    for _ in range(N_SHUFFLES):
        labels = responses.trials.groupby("run")["stimulus_id"].transform(lambda own: rng.permutation(own.to_numpy()))
        found.append(Responses(responses.values, responses.trials.assign(stimulus_id=labels), responses.grid))
    return found


@pytest.mark.parametrize("rule", [Gain(20), Reliability(20, n_halves=30)], ids=["gain", "reliability"])
def test_voxels_chosen_on_all_runs_score_without_any_signal_and_in_the_fold_do_not(rule, haxby, shuffled):
    _, latents = haxby
    leaking, honest = [], []
    for responses in shuffled:
        everything = rule(responses, latents)
        leaking.append(score(responses, latents, lambda train, z, chosen=everything: chosen))
        honest.append(score(responses, latents, rule))
    assert np.mean(leaking) > 0.65
    assert 0.46 < np.mean(honest) < 0.54


def test_a_choice_without_labels_cannot_leak_them(haxby, shuffled):
    _, latents = haxby
    rule = TopZ(20)
    chosen = [rule(responses, latents) for responses in shuffled]
    leaking = [score(r, latents, lambda train, z, mask=mask: mask) for r, mask in zip(shuffled, chosen, strict=True)]
    assert 0.46 < np.mean(leaking) < 0.54


@pytest.mark.parametrize("rule", [Gain(20), Reliability(20, n_halves=30)], ids=["gain", "reliability"])
def test_true_labels_are_decoded_from_voxels_chosen_in_the_fold(rule, haxby):
    assert score(*haxby, rule) > 0.8
