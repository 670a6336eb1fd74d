"""DAND's latents: principal components of features, computed once and block by block."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from training_runs import SIZE, Toy, single_thread, write_folder

from hyper_bids.errors import InconsistentInput
from hyper_bids.generate.training import latent_space
from hyper_bids.generate.training.image_folder import full_size, read_pictures
from hyper_bids.generate.training.interruption import Interrupted
from hyper_bids.generate.training.latent_space import features_of, fit_pca
from hyper_bids.workflow.training import FeatureNetworks, TrainingRequest, train


@pytest.fixture(autouse=True)
def one_thread():
    with single_thread():
        yield


@pytest.fixture
def folder(tmp_path, rng) -> Path:
    return write_folder(tmp_path, rng)


@pytest.mark.parametrize(("n", "n_features"), [(9, 30), (60, 7), (2100, 8)], ids=["wide", "tall", "in blocks"])
def test_latents_are_scikit_learns_whitened_scores(rng, n, n_features):
    features = rng.standard_normal((n, n_features)).astype(np.float32) @ np.diag(np.arange(1.0, n_features + 1))
    features = (features + 50).astype(np.float32)
    ours, theirs = fit_pca(features, 5), PCA(5, whiten=True, svd_solver="full").fit(features.astype(float))
    signs = np.sign((ours.components * theirs.components_).sum(1))
    np.testing.assert_allclose(ours.latents(features), signs * theirs.transform(features), atol=2e-3)
    np.testing.assert_allclose(ours.scale**2, theirs.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(ours.latents(features).std(0, ddof=1), 1, rtol=1e-3)
    assert fit_pca(features[:4], 99).n_latents == 3


class Watched(np.ndarray):
    """Remembers how many rows were asked for at once."""

    most = 0

    def __getitem__(self, key):
        found = np.asarray(self)[key]
        Watched.most = max(Watched.most, len(found))
        return found


def test_a_pca_takes_its_rows_block_by_block(rng):
    features = rng.standard_normal((3000, 8)).astype(np.float32)
    rows = np.sort(rng.permutation(3000)[:2500])
    found, expected = fit_pca(features.view(Watched), 5, rows), fit_pca(features[rows], 5)
    np.testing.assert_array_equal(found.components, expected.components)
    np.testing.assert_array_equal(found.scale, expected.scale)
    assert Watched.most == latent_space.ROWS


@pytest.mark.parametrize("every", [0.0, 60.0], ids=["killed", "signal"])
def test_features_that_were_computed_before_an_end_are_kept(folder, tmp_path, monkeypatch, every):
    pictures = read_pictures(folder, 16, tmp_path)
    monkeypatch.setattr(latent_space, "SAVE_EVERY", every)
    end = KeyboardInterrupt() if every == 0 else Interrupted(15)
    asked = iter(range(1, 99))

    def stop() -> None:
        if next(asked) == 3:
            raise end

    where, lines = tmp_path / "features.f32", []
    with pytest.raises(type(end)):
        features_of(pictures.paths, pictures.digest, Toy(), where, stop=stop)
    with (tmp_path / "features.f32.part").open("ab") as file:
        file.write(b"rows that nothing says are whole")
    found = features_of(pictures.paths, pictures.digest, Toy(), where, stop=stop, say=lines.append)
    assert lines[-1] == "2 of them are there already" and next(asked) == 6
    np.testing.assert_array_equal(found, features_of(pictures.paths, pictures.digest, Toy(), tmp_path / "whole.f32"))
    assert not list(tmp_path.glob("*.part*"))


def test_a_signal_before_the_first_checkpoint_promises_none(folder, tmp_path):
    class Signalling(Toy):
        def features(self, pixels):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().features(pixels)

    request = TrainingRequest("dand", folder, tmp_path / "w.safetensors", size=SIZE, width=3, n_latents=2, held_out=1)
    outcome = train(request, networks=FeatureNetworks(Signalling(), None), say=lambda line: None)
    assert outcome.signal == signal.SIGTERM and "no checkpoint yet" in outcome.message


def test_features_are_computed_once_and_checked(folder, tmp_path):
    pictures = read_pictures(folder, 16, tmp_path)

    class Counting(Toy):
        calls = 0

        def features(self, pixels):
            Counting.calls += 1
            return super().features(pixels)

    one = features_of(pictures.paths, pictures.digest, Counting(), tmp_path / "features.f32")
    again = features_of(pictures.paths, pictures.digest, Counting(), tmp_path / "features.f32")
    expected = [Toy().features(next(full_size([path], 1.0)))[0] for path in pictures.paths]
    np.testing.assert_allclose(one, expected, rtol=1e-6)
    np.testing.assert_array_equal(one, again)
    assert Counting.calls == 4
    Counting.sha256 = "ef" * 32
    features_of(pictures.paths, pictures.digest, Counting(), tmp_path / "features.f32")
    assert Counting.calls == 8

    class Endless(Toy):
        sha256 = "no"

        def features(self, pixels):
            return super().features(pixels) * np.inf

    with pytest.raises(InconsistentInput, match="not finite"):
        features_of(pictures.paths, pictures.digest, Endless(), tmp_path / "bad.f32")
    with pytest.raises(InconsistentInput, match="all the same"):
        fit_pca(np.ones((4, 5)), 2)
