"""``hyper-tools train`` as a user runs it: files in, a generator out, stopped and gone on with, and what is refused."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.errors import UsageError
from hyper_bids.features import make_features
from hyper_bids.generate import DANDGenerator, Portrait, VAEGANGenerator
from hyper_bids.generate.centre_square import centre_square
from hyper_bids.generate.images import write_png
from hyper_bids.generate.training.image_folder import split
from hyper_bids.generate.training.latent_space import FeaturePCA, fit_pca
from hyper_bids.weights import read_weights
from hyper_bids.workflow.steps import encode_stimuli
from hyper_bids.workflow.training import TrainingRequest, feature_networks

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["--size", "16", "--held-out", "4", "--batch-size", "8"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    latents = np.random.default_rng(2).standard_normal((36, 64))
    for i, image in enumerate(Portrait(resolution=32).generate(latents)):
        write_png(folder / f"{i:03d}.png", np.floor(image * 255 + 0.5).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def vgg(tmp_path_factory) -> Path:
    """A VGG-16 of torchvision's layout, thin and random."""
    draw = torch.Generator().manual_seed(7)
    state, before = {}, 3
    widths = (3, 4, 5, 4, 6, 5, 4, 6, 5, 4, 6, 5, 4)
    for number, width in zip((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), widths, strict=True):
        state[f"features.{number}.weight"] = torch.randn(width, before, 3, 3, generator=draw) * (2 / before / 9) ** 0.5
        state[f"features.{number}.bias"] = torch.zeros(width)
        before = width
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(state, path)
    return path


def dand(faces: Path, vgg: Path, out: Path, *words: str) -> int:
    networks = ["--features", "vgg16", "--feature-layer", "pool5", "--feature-weights", vgg, "--loss-weights", vgg]
    command = ["train", "dand", "--images", faces, "--out", out, *networks, *SMALL, "--width", "4", *words]
    return tools([str(word) for word in command])


@pytest.fixture(scope="module")
def trained(faces, vgg) -> Path:
    out = vgg.parent / "dand.safetensors"
    assert dand(faces, vgg, out, "--components", "9", "--epochs", "2") == 0
    return out


def test_dands_file_carries_the_space_of_the_training_pictures(trained, faces, vgg):
    """The latents of the trained pictures, by the file's PCA, are uncorrelated and of unit variance."""
    network = make_features("vgg16", vgg, "pool5")
    weights = read_weights(trained)
    assert weights.options["features_sha256"] == network.sha256 and weights.options["features_layer"] == "pool5"
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted(faces.iterdir())])
    features = network.features(pixels)
    pca = FeaturePCA(*(weights.arrays[f"pca.{part}"] for part in ("mean", "components", "scale")))
    rows, _ = split(len(features), 4, 0)
    np.testing.assert_allclose(np.cov(pca.latents(features[rows]).T), np.eye(9), atol=1e-3)
    made = DANDGenerator.load(trained).generate(pca.latents(features))
    assert made.shape == (36, 16, 16, 3) and made.std() > 0
    assert "Trained for 2 epochs on 32 pictures" in " ".join(weights.notes)


def test_the_space_is_that_of_the_experiments_stimuli_where_they_are_given(faces, vgg, tmp_path):
    stimuli = tmp_path / "stimuli"
    stimuli.mkdir()
    for path in sorted(faces.iterdir())[:12]:
        (stimuli / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "w.safetensors"
    assert dand(faces, vgg, out, "--space-images", str(stimuli), "--components", "99", "--epochs", "1") == 0
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted(stimuli.iterdir())])
    expected = fit_pca(make_features("vgg16", vgg, "pool5").features(pixels), 99)
    weights = read_weights(out)
    assert expected.n_latents == 11 == len(weights.arrays["pca.scale"])
    np.testing.assert_allclose(weights.arrays["pca.components"], expected.components, atol=1e-5)


def test_bad_files_of_the_experiments_stimuli_are_named_or_left_out(faces, vgg, tmp_path, capsys):
    stimuli, out = tmp_path / "stimuli", tmp_path / "w.safetensors"
    stimuli.mkdir()
    for path in sorted(faces.iterdir())[:6]:
        (stimuli / path.name).write_bytes(path.read_bytes())
    (stimuli / "broken.png").write_text("no picture")
    words = ["--space-images", str(stimuli), "--components", "99", "--epochs", "1"]
    assert dand(faces, vgg, out, *words) == 66
    assert "broken.png" in capsys.readouterr().err
    assert dand(faces, vgg, out, *words, "--skip-bad-images") == 0
    assert "left out 1 files" in capsys.readouterr().out and len(read_weights(out).arrays["pca.scale"]) == 5


def test_a_layer_may_be_in_the_name(vgg):
    def layers(**options: object) -> tuple[str, str]:
        given = {"features": "vgg16", "loss_features": "vgg16", "feature_weights": vgg, "loss_weights_file": vgg}
        request = TrainingRequest("dand", vgg.parent, vgg.parent / "w.safetensors", **(given | options))
        found = feature_networks(request, request.settings(), "cpu")
        return found.latents.layer, found.loss.layer

    assert layers(features="vgg16:pool5", loss_features="vgg16:relu2_2") == ("pool5", "relu2_2")
    assert layers(feature_layer="pool4") == ("pool4", "relu3_3")
    with pytest.raises(UsageError, match="fc6"):
        layers()  # this file ends with pool5


@pytest.mark.parametrize("model", ["dand", "vaegan"])
def test_pictures_are_encoded_cut_as_they_were_trained(model, faces, vgg, tmp_path):
    """Of wide pictures the middle of the centre square is seen, both in training and by ``--encoder``."""
    wide, out = tmp_path / "wide", tmp_path / "w.safetensors"
    wide.mkdir()
    pictures = [np.asarray(Image.open(path))[4:28] for path in sorted(faces.iterdir())]
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(wide / f"{i:02d}.png")
    if model == "dand":
        assert dand(wide, vgg, out, "--components", "5", "--epochs", "1", "--crop", "0.5") == 0
    else:
        assert tools([*command(wide, out, 1), "--crop", "0.5"]) == 0
    weights = read_weights(out)
    assert weights.options["crop"] == 0.5

    paths = sorted(wide.iterdir())[:4]
    labels = [path.stem for path in paths]
    trials = pd.DataFrame({"stimulus_id": labels, "role": "sample", "split": "train"})
    trials.to_csv(tmp_path / "trials.tsv", sep="\t", index=False)
    network = {"name": "vgg16", "file": str(vgg), "layer": "pool5", "device": "cpu"} if model == "dand" else None
    found = encode_stimuli(
        trials=tmp_path / "trials.tsv", encoder=model, n_components=5, image_size=16, out_dir=tmp_path,
        images=dict(zip(labels, map(str, paths), strict=True)), features=network, weights=str(out),
    )  # fmt: skip
    assert json.loads(found["facts"].read_text())["crop"] == 0.5
    latents = np.load(found["latents"])["values"]
    inner = np.stack([centre_square(pixels, 0.5) for pixels in pictures[:4]])
    assert inner.shape == (4, 12, 12, 3)
    if model == "dand":
        pca = FeaturePCA(*(weights.arrays[f"pca.{part}"] for part in ("mean", "components", "scale")))
        expected = pca.latents(make_features("vgg16", vgg, "pool5").features(inner))
    else:
        expected = VAEGANGenerator.load(out).encode(inner, crop=1)
    np.testing.assert_allclose(latents, expected, atol=1e-5)


def test_restart_leaves_nothing_of_what_was_before(faces, tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    assert tools(command(faces, out, 2)) == 0
    assert tools(command(faces, out, 1)) == 0
    assert "the checkpoint is 2 epochs on" in capsys.readouterr().out
    assert tools([*command(faces, out, 1), "--restart"]) == 0
    assert [path.name for path in (tmp_path / "w.training" / "sheets").iterdir()] == ["epoch-0001.png"]
    before = sorted((tmp_path / "w.training").iterdir())
    assert tools([*command(faces, out, 1), "--restart", "--learning-rate", "1e30"]) == 64  # diverges
    left = {path.name for path in before} - {path.name for path in (tmp_path / "w.training").iterdir()}
    assert left == {"checkpoint.pt", "losses.tsv"}


def test_the_same_command_again_gives_the_same_file_and_another_is_refused(trained, faces, vgg, capsys):
    before = trained.read_bytes()
    assert dand(faces, vgg, trained, "--components", "9", "--epochs", "2") == 0
    assert "going on" in capsys.readouterr().out and trained.read_bytes() == before
    assert dand(faces, vgg, trained, "--components", "9", "--epochs", "2", "--seed", "1") == 65
    assert "--seed was 0, now 1" in capsys.readouterr().err
    assert dand(faces, vgg, trained, "--components", "9", "--epochs", "2", "--loss-layer", "relu2_2") == 65
    assert "loss_network" in capsys.readouterr().err
    other = trained.with_name("again.safetensors")
    assert dand(faces, vgg, other, "--components", "9", "--epochs", "2") == 0
    assert other.read_bytes() == before
    assert dand(faces, vgg, other, "--components", "9", "--epochs", "2", "--seed", "1", "--restart") == 0
    assert other.read_bytes() != before


def command(faces: Path, out: Path, epochs: int = 8) -> list[str]:
    words = ["train", "vaegan", "--images", faces, "--out", out, *SMALL, "--width", "6", "--components", "10"]
    return [str(word) for word in [*words, "--epochs", epochs, "--learning-rate", "0.001"]]


def test_sigterm_leaves_a_checkpoint_from_which_the_same_file_comes(faces, tmp_path):
    """All three in processes of their own with one thread: another number of them sums in another order."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    train = [sys.executable, "-m", "bids_app.tools"]
    whole, out = tmp_path / "whole.safetensors", tmp_path / "part.safetensors"
    subprocess.run([*train, *command(faces, whole)], env=environment, check=True, capture_output=True)
    with subprocess.Popen([*train, *command(faces, out)], stdout=subprocess.PIPE, text=True, env=environment) as job:
        for line in job.stdout:
            if line.startswith("epoch 1/8 done"):
                job.send_signal(signal.SIGTERM)
                break
        rest = job.stdout.read()
    assert job.returncode == 143 and "same command goes on" in rest and "epoch 8/8 done" not in rest
    assert not out.exists() and (tmp_path / "part.training" / "checkpoint.pt").is_file()
    subprocess.run([*train, *command(faces, out), "--resume"], env=environment, check=True, capture_output=True)
    assert out.read_bytes() == whole.read_bytes()
    latents = VAEGANGenerator.load(out).encode(np.full((1, 20, 20, 3), 99, np.uint8))
    assert latents.shape == (1, 10)


def test_another_job_on_the_same_file(faces, tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    (tmp_path / "w.training").mkdir()
    with open(tmp_path / "w.training" / "lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert tools(command(faces, out, 1)) == 75
    assert "Another job" in capsys.readouterr().err
    assert tools(command(faces, out, 1)) == 0


def test_eigenface(faces, tmp_path, capsys):
    out = tmp_path / "e.npz"
    assert tools(["train", "eigenface", "--images", str(faces), "--out", str(out), "--components", "7"]) == 0
    assert capsys.readouterr().out.startswith("7 components")
    np.save(tmp_path / "z.npy", np.zeros((2, 7)))
    words = ["--latents", str(tmp_path / "z.npy"), "--out", str(tmp_path / "pictures")]
    assert tools(["generate", "--generator", "eigenface", "--weights", str(out), *words]) == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["dand"], 64, "--feature-weights"),
        (["dand", "--feature-weights", "{vgg}", "--features", "vgg16", "--feature-layer", "pool5"], 64,
         "--loss-weights"),
        (["dand", "--feature-weights", "{vgg}"], 65, "VGG-Face"),
        (["dand", "--feature-weights", "nowhere.h5"], 66, "nowhere.h5"),
        (["vaegan", "--feature-weights", "{vgg}"], 64, "vaegan has no --feature-weights"),
        (["eigenface", "--epochs", "3"], 64, "eigenface has no --epochs"),
        (["vaegan", "--epochs", "0"], 64, "--epochs is at least 1"),
        (["vaegan", "--loss", "feature"], 64, "TERM=WEIGHT"),
        (["vaegan", "--loss", "pixel=1"], 64, "no term 'pixel'"),
        (["vaegan", "--precision", "bfloat16"], 64, "needs CUDA"),
        (["vaegan", "--resume", "--restart"], 64, "one of them"),
        (["vaegan", "--resume"], 66, "no checkpoint"),
        (["vaegan", "--held-out", "99"], 65, "Lower --held-out"),
        (["vaegan", "--out", "w.npz"], 64, r"w.safetensors"),
        (["vaegan", "--images", "nowhere"], 66, "no folder"),
        (["dandy"], 64, "invalid choice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(faces, vgg, tmp_path, capsys, monkeypatch, words, code, says):
    monkeypatch.chdir(tmp_path)
    given = [word.format(vgg=vgg) for word in words]
    given += [] if "--images" in given else ["--images", str(faces)]
    given += [] if "--out" in given else ["--out", "w.safetensors"]
    size = [] if given[0] == "eigenface" else ["--size", "16"]
    assert tools(["train", *given, *size]) == code
    assert says in capsys.readouterr().err


def test_simulated_participants_are_decoded_through_the_trained_network(trained, tmp_path):
    """``--generator dand``: the reconstruction from the true latents is the stimulus to one grey level."""
    sizes = ["--participants", "1", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "40", "--n-test-faces",
             "4", "--repeats", "3", "--n-voxels", "120", "--image-shape", "8x7x6", "--snr", "6"]  # fmt: skip
    drawing = ["--generator", "dand", "--weights", str(trained)]
    assert tools(["simulate", str(tmp_path / "bids"), *sizes, *drawing]) == 0
    words = ["participant", "-w", tmp_path / "work", "--n-permutations", "19", "-q", "--skip-bids-validation"]
    command = [tmp_path / "bids", tmp_path / "out", *words, "--no-reliability", *drawing]
    assert main([str(word) for word in command]) == 0
    (drawn,) = (tmp_path / "work").glob("**/pictures.npz")
    arrays = np.load(drawn)
    for label, ceiling in zip(arrays["stimuli"], arrays["ceiling"].astype(int), strict=True):
        shown = np.asarray(Image.open(tmp_path / "bids" / "stimuli" / "pictures" / f"{label}.png")).astype(int)
        assert np.abs(shown - ceiling).max() <= 1
    (sidecar,) = (tmp_path / "out").glob("sub-01/func/*_recon.json")
    assert json.loads(sidecar.read_text())
