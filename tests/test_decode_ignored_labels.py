"""Decoders that were trained elsewhere: their null under cross-validation exchanges stimuli alike in all runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge as SklearnRidge

sys.path.append(str(Path(__file__).parent))
from test_decode import experiment

from bids_app.cli import main
from hyper_bids.data import Latents
from hyper_bids.decode.crossvalidate import ignores_labels, null_stimuli, refit
from hyper_bids.decode.folds import make_folds, permuted_stimuli
from hyper_bids.decode.ridge import Ridge
from hyper_bids.decode.select import all_voxels
from hyper_bids.evaluate.nulls import permutation_p
from hyper_bids.evaluate.refits import refit_statistics
from hyper_bids.settings import DecodeSettings, identity_of
from hyper_bids.workflow import files
from hyper_bids.workflow.steps.decoding import decoder_factory
from hyper_bids.workflow.steps.null import refit_null


@pytest.mark.parametrize("unit", ["run", "session"])
def test_permutations_alike_keep_the_repeats_of_a_stimulus_together(rng, unit):
    responses, _ = experiment(rng)
    trials = responses.trials.drop(index=range(3)).reset_index(drop=True)  # some stimuli are not in the first run
    stimuli, rows = permuted_stimuli(trials, unit, 20, seed=3, alike=True)
    shown = trials.groupby("stimulus_id")[unit].agg(frozenset)
    for labels in stimuli[rows]:
        moved = dict(zip(trials["stimulus_id"], labels, strict=True))
        assert list(trials["stimulus_id"].map(moved)) == list(labels) and len(set(moved.values())) == len(moved)
        assert all(shown[old] == shown[new] for old, new in moved.items())
    assert (rows != rows[0]).any()


class TrainedElsewhere:
    """Fixed weights, whatever labels it is given."""

    def fit(self, X, Z):
        self.weights = np.random.default_rng(X.shape[1]).normal(size=(X.shape[1], Z.shape[1]))
        return self

    def predict(self, X):
        return X @ self.weights


class Centred(TrainedElsewhere):
    """Adds the mean of what it was trained on, which exchanged labels change by rounding alone."""

    def fit(self, X, Z):
        self.mean = np.asarray(Z, dtype=np.float32).mean(axis=0)
        return super().fit(X, Z)

    def predict(self, X):
        return super().predict(X) + self.mean


def test_a_decoder_that_ignores_labels_is_known_by_its_refits(rng):
    responses, latents = experiment(rng)
    folds = make_folds(responses.trials, "run", None, seed=0)
    for decoder, ignores in ((TrainedElsewhere, True), (Centred, True), (Ridge, False), (SklearnRidge, False)):
        rows, _ = null_stimuli(decoder, responses, latents, folds, "run", 3, seed=1)
        values, _ = refit(responses, latents, folds, all_voxels, decoder, rows)
        assert ignores_labels(values, rows) is ignores
        assert not ignores_labels(values[:1], rows[:1]), "one refit shows nothing"
        same = [np.repeat(array[:1], 3, axis=0) for array in (values, rows)]
        assert not ignores_labels(*same), "nor do several to the same labels"


def test_the_null_of_a_decoder_that_ignores_labels_keeps_its_size():
    """Every stimulus has a pattern of its own: exchanged in each run alone, a sixth of p-values came below 0.05."""
    p_values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        patterns, latents = rng.normal(size=(8, 30)), Latents(rng.normal(size=(8, 6)), tuple("abcdefgh"), "z")
        weights = rng.normal(size=(30, 6))
        trials = pd.DataFrame({"stimulus_id": list("abcdefgh") * 4, "run": np.repeat(list("1234"), 8)})
        predicted = np.tile(patterns, (4, 1)) @ weights + rng.normal(size=(32, 6))
        _, rows = permuted_stimuli(trials, "run", 99, seed, alike=True)
        own = np.vstack([np.tile(np.arange(8), 4), rows])
        draws = refit_statistics(np.repeat(predicted[None], 100, axis=0), own, latents)["pairwise_accuracy"]
        p_values.append(permutation_p(draws[0], draws[1:]))
    assert 0.015 <= np.mean(np.array(p_values) <= 0.05) <= 0.10


@pytest.mark.parametrize(("decoder", "alike"), [(TrainedElsewhere, True), (Ridge, False)])
def test_the_step_draws_its_null_by_the_scheme_that_is_right(rng, tmp_path, monkeypatch, decoder, alike):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    responses, latents = experiment(rng, n_stimuli=8, n_latents=6)
    options = identity_of(DecodeSettings())
    name = f"{decoder.__module__}:{decoder.__name__}" if alike else "ridge"
    names = tuple(dict.fromkeys(responses.trials["stimulus_id"]))
    made = refit_null(
        values=files.save_array(tmp_path / "values.npy", responses.values),
        samples=files.save_table(tmp_path / "samples.tsv", responses.trials),
        grid=files.save_grid(tmp_path / "grid.npz", responses.grid),
        voxels=files.save_array(tmp_path / "voxels.npy", np.ones((5, 19), dtype=bool)),
        latents=files.save_latents(tmp_path / "latents.npz", latents),
        stimuli=files.save_table(tmp_path / "stimuli.tsv", pd.DataFrame({"stimulus_id": names})),
        decoder=name, decode=options, select={"select": "all", "n_voxels": None, "mask": None, "roi": None},
        cross_validate="run", n_permutations=20, picture=None, stimulus_paths={}, attributes=[], device="cpu", seed=4,
        out_dir=tmp_path,
    )  # fmt: skip
    folds = make_folds(responses.trials, "run", None, seed=4)
    make = decoder_factory(name, options, seed=4)
    rows, _ = null_stimuli(make, responses, latents, folds, "run", 20, 4, alike=alike)
    predictions, own = refit(responses, latents, folds, all_voxels, make, rows)
    candidates = latents.of(tuple(dict.fromkeys(label for fold in folds for label in fold.test)))
    place = np.array([candidates.stimuli.index(label) for label in latents.stimuli])
    wanted = refit_statistics(predictions, place[own], candidates)["pairwise_accuracy"]
    np.testing.assert_allclose(files.load_arrays(made["draws"])["pairwise_accuracy"], wanted, atol=1e-12)
    assert bool(files.load_json(made["facts"])["remarks"]) is alike


@pytest.mark.parametrize(("name", "ignores"), [("test_decode_ignored_labels:TrainedElsewhere", True), ("ridge", False)])
def test_its_null_is_told_by_the_audit(shared_data, tmp_path, monkeypatch, name, ignores):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for the processes of the steps
    data, out = shared_data / "haxby", tmp_path / "out"
    words = ["--latent-space", "onehot8", "--cross-validate", "run", "--select", "all", "--n-permutations", "99"]
    words += ["-d", f"prep={data / 'derivatives' / 'haxbyprep'}", "--skip-bids-validation", "--no-reliability", "-q"]
    assert main([str(data), str(out), "participant", "-w", str(tmp_path / "work"), "--decoder", name, *words]) == 0
    (path,) = out.glob("sub-01/func/*_audit.json")
    found = json.loads(path.read_text()).get("NullDistribution", {"Status": "", "Text": ""})
    assert ("exchanged alike in all runs" in found["Text"], found["Status"] == "NOTE") == (ignores, ignores)
