"""Networks with weights through the command line: simulate, decode, draw; latents to pictures, layers and edits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parent))
import pggan_files as files

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.generate import PGGANGenerator

SMALL = [
    "--participants", "1", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "60", "--n-test-faces", "4",
    "--repeats", "4", "--n-voxels", "150", "--image-shape", "8x7x6", "--snr", "6",
]  # fmt: skip
CHANNELS = (16, 16, 8, 8, 4)
"""64 pixels."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    arrays = files.random_arrays(seed=8, channels=CHANNELS, latents=12)
    for name, array in arrays.items():
        if name.startswith("torgb") and name.endswith("weight"):
            array *= 0.25  # as in a trained network, few pixels lie outside -1 to 1
    folder = tmp_path_factory.mktemp("weights")
    return files.write_mxnet(folder / "generator.params", files.mxnet_names(arrays, "child"))


@pytest.fixture(scope="module")
def dataset(weights) -> Path:
    folder = weights.parent / "bids"
    assert tools(["simulate", str(folder), *SMALL, "--generator", "pggan", "--weights", str(weights)]) == 0
    return folder


def run(dataset: Path, out: Path, *words: str) -> int:
    command = [str(dataset), str(out), "participant", "-w", f"{out}_work", "--n-permutations", "19", "-q"]
    return main([*command, "--skip-bids-validation", "--no-reliability", *words])


@pytest.fixture(scope="module")
def done(dataset, weights) -> Path:
    out = dataset.parent / "out"
    assert run(dataset, out, "--generator", "pggan", "--weights", str(weights)) == 0
    return out


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_the_true_latents_give_the_stimulus_to_one_grey_level(dataset, done):
    """HYPER's central property: nothing stands between latent and picture but the network."""
    (drawn,) = Path(f"{done}_work").glob("**/pictures.npz")
    arrays = np.load(drawn)
    assert arrays["ceiling"].shape == (4, 64, 64, 3)
    for label, ceiling in zip(arrays["stimuli"], arrays["ceiling"].astype(int), strict=True):
        shown = picture(dataset / "stimuli" / "pictures" / f"{label}.png")
        assert shown.std() > 10 and np.abs(shown - ceiling).max() <= 1


def test_the_reconstruction_is_the_network_at_the_decoded_latents(done, weights):
    (table,) = done.glob("sub-01/func/*_latents.tsv")
    decoded = pd.read_csv(table, sep="\t").query("split == 'test'").set_index("stimulus_id").filter(regex="^z")
    (index,) = done.glob("sub-01/func/*_recon.tsv")
    network = PGGANGenerator.load(weights)
    for row in pd.read_csv(index, sep="\t").itertuples():
        made = np.clip(network.generate(decoded.loc[[row.stimulus_id]].to_numpy()), -1, 1)
        assert np.abs(picture(done / row.recon_file) - (made[0] + 1) * 127.5).max() <= 1
    (stats,) = done.glob("sub-01/func/*_stats.tsv")
    ceiling = pd.read_csv(stats, sep="\t", na_values="n/a").set_index("metric").loc["pixel_correlation", "ceiling"]
    assert ceiling > 0.999


def test_the_file_alone_is_enough_and_gives_the_same(dataset, done, weights, tmp_path):
    assert run(dataset, tmp_path / "out", "--generator", str(weights)) == 0
    for recon in done.glob("sub-01/func/*_recon.png"):
        assert (tmp_path / "out" / recon.relative_to(done)).read_bytes() == recon.read_bytes()


def test_without_weights_the_report_says_why_there_are_no_pictures(dataset, weights, tmp_path, capsys):
    assert run(dataset, tmp_path / "out") == 0
    assert not list((tmp_path / "out").glob("sub-01/func/*_recon.*"))
    assert "generator pggan of latent space pggan needs --weights" in (tmp_path / "out" / "sub-01.html").read_text()
    assert run(dataset, tmp_path / "asked", "--generator", "pggan") == 66
    assert "needs --weights" in capsys.readouterr().err


def test_decoders_are_trained_through_a_layer_and_drawn_at_a_lower_resolution(dataset, weights, tmp_path):
    """The weights alone are enough: the events sidecar names the network."""
    words = ["--decoder", "adam", "--decoder", "layer", "--loss-layer", "L4", "--n-epochs", "3", "--resolution", "32"]
    assert run(dataset, tmp_path / "out", *words, "--weights", str(weights)) == 0
    for decoder in ("adam", "layer"):
        (table,) = (tmp_path / "out").glob(f"sub-01/func/*model-{decoder}_*_metrics.tsv")
        assert np.isfinite(pd.read_csv(table, sep="\t", na_values="n/a")["latent_correlation"]).all()
    assert {picture(path).shape for path in (tmp_path / "out").glob("sub-01/func/*_recon.png")} == {(32, 32, 3)}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--generator", "{bad}"], 65, "no format known"),
        (["--weights", "{bad}"], 65, "no format known"),
        (["--generator", "nowhere.pkl"], 66, "nowhere.pkl does not exist"),
        (["--generator", "pggan", "--weights", "nowhere.pkl"], 66, "nowhere.pkl does not exist"),
        (["--generator", "{good}", "--weights", "{good}"], 64, "leave out --weights"),
        (["--generator", "pggan", "--weights", "{good}", "--resolution", "100"], 64, "not 100"),
        (["--generator", "pggan", "--weights", "{good}", "--truncation", "0.5"], 64, "no --truncation"),
        (["--generator", "pggan", "--weights", "{good}", "--decoder", "layer", "--loss-layer", "L99"], 64, "L99"),
    ],
)
def test_wrong_weights_and_options(dataset, weights, tmp_path, capsys, words, code, says):
    (tmp_path / "bad.pkl").write_bytes(b"not weights")
    filled = [word.format(bad=tmp_path / "bad.pkl", good=weights) for word in words]
    status = run(dataset, tmp_path / "out", *filled)
    said = capsys.readouterr().err
    assert (status == code or (code == 64 and status == 1)) and says in said, (status, said)


# ------------------------------------------------------------------ hyper-tools generate


@pytest.fixture
def latents(tmp_path, rng) -> Path:
    np.save(tmp_path / "z.npy", rng.standard_normal((3, 12)).astype(np.float32))
    return tmp_path / "z.npy"


def test_generate_writes_the_networks_own_numbers(weights, latents, tmp_path):
    assert tools(["generate", "--generator", str(weights), "--latents", str(latents), "--out", str(tmp_path)]) == 0
    made, drawn = np.load(tmp_path / "images.npy"), PGGANGenerator.load(weights).generate(np.load(latents))
    assert made.dtype == np.float32 and made.shape == (3, 64, 64, 3) and np.array_equal(made, drawn)
    assert made.max() > 1  # not clipped
    for number in range(3):
        png = picture(tmp_path / f"{number:04d}.png")
        assert np.array_equal(png, np.floor((np.clip(made[number].astype(float), -1, 1) + 1) * 127.5 + 0.5))
    said = json.loads((tmp_path / "images.json").read_text())
    assert said["Range"] == [-1.0, 1.0] and list(said["Weights"]) == ["generator.params"]
    assert len(said["Weights"]["generator.params"]) == 64


@pytest.mark.parametrize(("layer", "shape"), [("0", (3, 16, 4, 4)), ("L4", (3, 16, 8, 8)), ("L11", (3, 3, 64, 64))])
def test_generate_gives_the_activations_of_a_layer(weights, latents, tmp_path, layer, shape):
    import torch

    words = ["--weights", str(weights), "--latents", str(latents), "--out", str(tmp_path), "--layer", layer]
    assert tools(["generate", "--generator", "pggan", *words]) == 0
    found = np.load(tmp_path / "activations.npy")
    expected = PGGANGenerator.load(weights).activations(torch.from_numpy(np.load(latents)), [layer])[layer]
    assert found.dtype == np.float32 and found.shape == shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_generate_from_a_table_at_a_lower_resolution(weights, latents, tmp_path):
    table = pd.DataFrame(np.load(latents), columns=[f"z{k:04d}" for k in range(12)])
    table.insert(0, "stimulus_id", ["a", "b", "c"])
    table.to_csv(tmp_path / "z.tsv", sep="\t", index=False)
    words = ["--latents", str(tmp_path / "z.tsv"), "--out", str(tmp_path / "o"), "--resolution", "16"]
    assert tools(["generate", "--generator", str(weights), *words]) == 0
    assert {path.name for path in (tmp_path / "o").glob("*.png")} == {"a.png", "b.png", "c.png"}
    assert np.load(tmp_path / "o" / "images.npy").shape == (3, 16, 16, 3)


def test_generate_edits_the_latents_along_attributes(weights, latents, tmp_path, rng):
    normals = rng.standard_normal((2, 1, 12))
    for name, normal in zip(("age", "smile"), normals, strict=True):
        np.save(tmp_path / f"pggan_celebahq_{name}_boundary.npy", normal / np.linalg.norm(normal))
    boundaries = [str(path) for path in sorted(tmp_path.glob("*_boundary.npy"))]
    words = ["--generator", str(weights), "--latents", str(latents), "--out", str(tmp_path / "o")]
    assert tools(["generate", *words, "--edit", "smile=2", "--keep", "age", "--attributes", *boundaries]) == 0
    from hyper_bids.generate.attributes_edit import edited

    known = dict(zip(("age", "smile"), normals[:, 0], strict=True))
    moved = edited(np.load(latents), ["smile=2"], known, ["age"])
    expected = PGGANGenerator.load(weights).generate(moved)
    np.testing.assert_allclose(np.load(tmp_path / "o" / "images.npy"), expected, atol=1e-4)


def test_the_built_in_generators_own_attributes_can_be_edited(tmp_path):
    np.save(tmp_path / "z.npy", np.zeros((1, 64), np.float32))
    for out, edits in (("plain", []), ("edited", ["--edit", "smile=3"])):
        words = ["--generator", "portrait", "--latents", str(tmp_path / "z.npy"), "--out", str(tmp_path / out)]
        assert tools(["generate", *words, *edits]) == 0
    assert (picture(tmp_path / "plain" / "0000.png") != picture(tmp_path / "edited" / "0000.png")).any()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--generator", "portrait", "--layer", "3"], 64, "no layers"),
        (["--generator", "{weights}", "--layer", "L99"], 64, "no layer 'L99'"),
        (["--generator", "{weights}", "--keep", "age"], 64, "no --edit"),
        (["--generator", "{weights}", "--edit", "age=1"], 64, "--attributes"),
        (["--generator", "vanished.params"], 64, "vanished.params"),
    ],
)
def test_generate_says_what_is_wrong(weights, latents, tmp_path, capsys, words, code, says):
    np.save(tmp_path / "p.npy", np.zeros((1, 64), np.float32))
    path = tmp_path / "p.npy" if "portrait" in words else latents
    words = [word.format(weights=weights) for word in words]
    assert tools(["generate", *words, "--latents", str(path), "--out", str(tmp_path / "o")]) == code
    assert says in capsys.readouterr().err and not list((tmp_path / "o").glob("*.npy"))


@pytest.fixture
def published(shared_data) -> Path:
    folder = shared_data.parent / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"weight files of the real tools not found at {folder}")
    return folder


def test_a_vaegans_own_output_is_kept_and_its_pictures_are_converted(published, tmp_path, rng):
    weights = published / "vaegan" / "vaegan_small.ckpt"
    from hyper_bids.generate import VAEGANGenerator

    network = VAEGANGenerator.load(weights)
    z = np.tanh(rng.standard_normal((2, network.n_latents))).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    words = ["--latents", str(tmp_path / "z.npy"), "--out", str(tmp_path / "o")]
    assert tools(["generate", "--generator", str(weights), *words]) == 0
    raw = np.load(tmp_path / "o" / "images.npy")
    np.testing.assert_allclose(raw, network.network_output(z), atol=1e-6)
    converted = np.clip(raw / raw.max(axis=(1, 2, 3), keepdims=True), 0, 1)
    for number in range(2):
        assert np.abs(picture(tmp_path / "o" / f"{number:04d}.png") - 255 * converted[number]).max() <= 0.51


def test_stylegans_w_and_truncation(published, tmp_path, rng):
    weights = published / "stylegan" / "rosinality_converted_32.pt"
    from hyper_bids.generate import StyleGAN2Generator

    network = StyleGAN2Generator.load(weights, latent="w", truncation=0.5)
    np.save(tmp_path / "w.npy", rng.standard_normal((2, network.n_latents)).astype(np.float32))
    words = ["--latents", str(tmp_path / "w.npy"), "--out", str(tmp_path / "o"), "--latent", "w", "--truncation", "0.5"]
    assert tools(["generate", "--generator", "stylegan2", "--weights", str(weights), *words]) == 0
    expected = network.generate(np.load(tmp_path / "w.npy"))
    np.testing.assert_allclose(np.load(tmp_path / "o" / "images.npy"), expected, atol=1e-5)


def test_an_onnx_file_is_a_generator(published, tmp_path):
    golden = np.load(published / "mxnet" / "generator_small_golden.npz")
    np.save(tmp_path / "z.npy", golden["latents"])
    words = ["--latents", str(tmp_path / "z.npy"), "--out", str(tmp_path / "o")]
    assert tools(["generate", "--generator", str(published / "plugins" / "hyper_small.onnx"), *words]) == 0
    expected = golden["layer5"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(np.load(tmp_path / "o" / "images.npy"), expected, atol=1e-4)


def test_no_latents_are_an_error(weights, tmp_path, capsys):
    np.save(tmp_path / "none.npy", np.zeros((0, 12), np.float32))
    words = ["--latents", str(tmp_path / "none.npy"), "--out", str(tmp_path / "o")]
    assert tools(["generate", "--generator", str(weights), *words]) == 65 and "no latents" in capsys.readouterr().err


def test_simulated_latents_of_a_vaegan_lie_where_its_encoder_puts_them(published, tmp_path):
    weights, out = published / "vaegan" / "vaegan_small.ckpt", tmp_path / "data"
    small = ["--participants", "1", "--n-train-faces", "20", "--n-test-faces", "4", "--n-voxels", "200"]
    assert tools(["simulate", str(out), "--generator", "vaegan", "--weights", str(weights), *small]) == 0
    values = np.load(out / "stimuli" / "latents" / "vaegan.npy")
    assert np.abs(values).max() < 1 and values.std() > 0.2
    (sidecar,) = out.glob("task-*_events.json")
    assert "Distribution" not in json.loads(sidecar.read_text())["StimulusLatents"]["vaegan"]
