"""Feature networks in the app: the columns they fill, the latents they make, what is refused before any GLM."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parent))
import feature_files as files

from bids_app.cli import main
from bids_app.tools import main as tools
from hyper_bids.evaluate.latent import latent_similarity, latent_similarity_mse
from hyper_bids.evaluate.natural_images import two_way_identification
from hyper_bids.features import make_features
from hyper_bids.settings import InputSettings, layered
from hyper_bids.weights import Weights, write_safetensors

SMALL = [
    "--participants", "1", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "24", "--n-test-faces", "4",
    "--repeats", "3", "--n-voxels", "100", "--image-shape", "7x6x5", "--snr", "6",
]  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    thin = {name: files.thin_file(name, folder) for name in ("vggface2", "alexnet", "clip", "vgg16")}
    thin["vggface"] = files.write_keras(folder / "vggface.h5", files.vggface_arrays(side=2))
    part = {name: array for name, array in files.vggface_arrays(side=2).items() if not name.startswith("fc")}
    thin["notop"] = files.write_keras(folder / "notop.h5", part)
    thin["other"] = files.write_keras(folder / "other.h5", files.vggface_arrays(seed=5, side=2))
    return thin


@pytest.fixture(scope="module")
def dataset(weights) -> Path:
    folder = weights["vggface2"].parent / "bids"
    assert tools(["simulate", str(folder), *SMALL]) == 0
    return folder


def run(dataset: Path, out: Path, *words: str) -> int:
    command = [str(dataset), str(out), "participant", "-w", f"{out}_work", "--n-permutations", "19", "-q"]
    return main([*command, "--skip-bids-validation", "--no-reliability", *map(str, words)])


def table(out: Path, suffix: str) -> pd.DataFrame:
    (path,) = out.glob(f"sub-01/func/*_{suffix}.tsv")
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def sidecar(out: Path, suffix: str) -> dict:
    (path,) = out.glob(f"sub-01/func/*_{suffix}.json")
    return json.loads(path.read_text())


def pairs(dataset: Path, out: Path) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    rows = table(out, "recon")
    read = lambda path: np.asarray(Image.open(path).convert("RGB"))  # noqa: E731
    shown = [read(dataset / "stimuli" / name) for name in rows["stim_file"]]
    return rows["stimulus_id"].tolist(), shown, [read(out / name) for name in rows["recon_file"]]


# ------------------------------------------------------------------ metrics


@pytest.fixture(scope="module")
def overlay(dataset) -> Path:
    """Masks of the test stimuli: their left half."""
    folder = dataset.parent / "overlay" / "stimuli"
    (folder / "masks").mkdir(parents=True)
    half = np.zeros((128, 128), np.uint8)
    half[:, :64] = 255
    Image.fromarray(half).save(folder / "masks" / "half.png")
    stimuli = pd.read_csv(dataset / "stimuli" / "stimuli.tsv", sep="\t", dtype=str, keep_default_na=False)
    masks = pd.DataFrame({"stimulus_id": stimuli["stimulus_id"], "mask_file": "masks/half.png"})
    masks.to_csv(folder / "stimuli.tsv", sep="\t", index=False)
    return folder.parent


@pytest.fixture(scope="module")
def done(dataset, weights, overlay) -> Path:
    out = dataset.parent / "out"
    named = ["--features", "alexnet", "vggface2", "--feature-weights", weights["alexnet"], weights["vggface2"]]
    assert run(dataset, out, *named, "--protocol", "hyper2022", "--overlay", overlay) == 0
    return out


def test_the_first_face_network_fills_the_columns(dataset, done, weights):
    labels, shown, recon = pairs(dataset, done)
    network = make_features("vggface2", weights["vggface2"], resampling="bilinear")
    true, predicted = network.features(shown), network.features(recon)
    metrics = table(done, "metrics").set_index("stimulus_id").loc[labels]
    np.testing.assert_allclose(metrics["feature_similarity"], latent_similarity(true, predicted), rtol=1e-3)
    np.testing.assert_allclose(metrics["feature_similarity_mse"], latent_similarity_mse(true, predicted), rtol=1e-3)
    stats = table(done, "stats").set_index("metric")
    for name in ("feature_similarity", "feature_similarity_mse"):
        row = stats.loc[name]
        assert np.isclose(row["mean"], metrics[name].mean()) and 0 < row["p_value"] <= 1
        assert np.isfinite(row[["null_mean", "ceiling"]].astype(float)).all() and row["ceiling"] > row["mean"]
        assert np.isfinite(stats.loc[[f"{name}_zero", f"{name}_random"], "mean"]).all()
    said = sidecar(done, "metrics")["feature_similarity"]
    assert (said["Network"], said["Layer"], said["Size"]) == ("vggface2", "avgpool", [224, 224])
    assert said["SHA256"] == network.sha256 and "PyTorch" in said["Layout"]


def test_the_papers_protocol_has_its_network_and_the_stimuli_their_masks(done):
    scores, said = table(done, "protocolmetrics"), sidecar(done, "protocolmetrics")["ImageProtocol"]
    assert {"feature_similarity", "pixel_correlation", "pixel_correlation_foreground"} <= set(scores.columns)
    assert said["Protocol"] == "hyper2022" and said["Network"]["Network"] == "vggface2"
    assert said["Background"].startswith("black") and np.isfinite(scores.drop(columns="stimulus_id")).all().all()
    assert "mask_file" not in table(done, "stimuluscovariates").columns


def test_networks_of_the_standard_set_have_a_table_of_their_own(dataset, done, weights):
    scores, said = table(done, "naturalimagemetrics"), sidecar(done, "naturalimagemetrics")
    labels, shown, recon = pairs(dataset, done)
    network = make_features("alexnet", weights["alexnet"], "features.4")
    expected = two_way_identification(network.features(shown), network.features(recon))
    found = scores.set_index("stimulus_id").loc[labels]
    np.testing.assert_allclose(found["alexnet2_two_way"], expected, atol=0.34)  # pictures are rounded at 256 pixels
    assert set(found) == {"pixcorr_425", "ssim_425", "ssim_425_columns", "alexnet2_two_way", "alexnet5_two_way"}
    assert said["ImageProtocol"]["Networks"]["alexnet5"]["Extractor"]["Layer"] == "features.11"
    assert "no weights of Inception" in said["NotComputed"]["inception_two_way"]


def test_cross_validated_designs_refit_for_features_too(dataset, weights, tmp_path):
    words = ["--cross-validate", "run", "--feature-weights", weights["vggface"], "--protocol", "naturalimages"]
    assert run(dataset, tmp_path / "out", *words) == 0
    stats = table(tmp_path / "out", "stats").set_index("metric")
    assert stats.loc["feature_similarity", "p_method"].endswith("refits with permuted stimuli")
    assert np.isfinite(stats.loc["feature_similarity", ["null_mean", "p_value"]].astype(float)).all()
    assert "ssim_425" in table(tmp_path / "out", "protocolmetrics").columns


def test_a_null_that_would_cost_too_much_says_so(monkeypatch, weights):
    from hyper_bids.workflow.steps import null

    monkeypatch.setattr(null, "FEATURE_PICTURES", 18 * 4)
    part = object.__new__(null.PictureNull)
    part.left, part.tested, part.scores, part.shown = 200, np.arange(4), {}, {}
    part._prepare_features([{"name": "vggface", "layer": None, "file": str(weights["vggface"]), "device": "cpu"}])
    assert "76 pictures for the network, more than 72" in part.untested["feature_similarity"] and not part.scores


# ------------------------------------------------------------------ latents


@pytest.fixture(scope="module")
def dand(dataset, weights) -> Path:
    """The preset without a generator: components of the training pictures' features."""
    out = dataset.parent / "dand"
    assert run(dataset, out, "--preset", "dand", "--feature-weights", weights["vggface"]) == 0
    return out


def pca_of(out: Path) -> dict[str, np.ndarray]:
    (path,) = Path(f"{out}_work").glob("**/weights.npz")
    return dict(np.load(path))


def test_dands_latents_are_components_of_the_training_features(dataset, dand, weights):
    pca = pca_of(dand)
    trials = pd.read_csv(next(Path(f"{dand}_work").glob("**/trials.tsv")), sep="\t", dtype=str)
    trained = sorted(set(trials.loc[(trials["role"] == "sample") & (trials["split"] == "train"), "stimulus_id"]))
    network = make_features("vggface", weights["vggface"], "fc6")
    pictures = {path.stem: path for path in (dataset / "stimuli").rglob("*.png")}
    features = network.features([np.asarray(Image.open(pictures[label]).convert("RGB")) for label in trained])
    from sklearn.decomposition import PCA

    reference = PCA(whiten=True, svd_solver="full").fit(features.astype(np.float64))
    n = len(pca["pca.scale"])
    assert n == len(trained) - 1 and str(pca["features_sha256"]) == network.sha256
    np.testing.assert_allclose(pca["pca.scale"] ** 2, reference.explained_variance_[:n], rtol=1e-3)
    z = (features - pca["pca.mean"]) @ pca["pca.components"].T / pca["pca.scale"]
    np.testing.assert_allclose(z.std(axis=0, ddof=1), 1, rtol=1e-3)
    np.testing.assert_allclose(np.abs(z), np.abs(reference.transform(features)[:, :n]), atol=2e-2)
    assert len([name for name in table(dand, "latents") if name.startswith("z")]) == n
    assert "generator dand of latent space dand needs --weights" in (dand / "sub-01.html").read_text()


def dand_file(folder: Path, pca: dict[str, np.ndarray], **options: str) -> Path:
    """A generator of 4 x 4 to 8 x 8 pixels on these components."""
    kept = {name: pca[name] for name in ("pca.mean", "pca.components", "pca.scale")}
    kept = {name: array[:9] if name != "pca.mean" else array for name, array in kept.items()}
    rng, n_features = np.random.default_rng(0), len(kept["pca.mean"])
    layers = {
        "generator.layer1.weight": rng.standard_normal((n_features, 5, 4, 4)) / n_features,
        "generator.layer1.bias": np.zeros(5), "generator.layer2.weight": rng.standard_normal((5, 3, 4, 4)) / 9,
        "generator.layer2.bias": np.zeros(3),
    }  # fmt: skip
    arrays = {name: np.asarray(array, np.float32) for name, array in {**kept, **layers}.items()}
    return write_safetensors(Weights("dand", arrays, options, "test"), folder / "dand.safetensors")


def test_a_dand_generators_own_components_are_used_and_it_draws(dataset, dand, weights, tmp_path, capsys):
    pca, given = pca_of(dand), ["--preset", "dand", "--feature-weights", weights["vggface"]]
    said = {name: str(pca[name]) for name in ("features", "features_layer", "features_sha256")}
    generator = dand_file(tmp_path, {**pca, "pca.mean": pca["pca.mean"] + 1}, **said)
    assert run(dataset, tmp_path / "out", *given, "--weights", generator) == 0
    used = pca_of(tmp_path / "out")
    assert len(used["pca.scale"]) == 9 and np.array_equal(used["pca.mean"], pca["pca.mean"] + 1)
    assert {picture.shape for picture in pairs(dataset, tmp_path / "out")[2]} == {(8, 8, 3)}
    assert np.isfinite(table(tmp_path / "out", "metrics")["feature_similarity"]).all()
    assert sidecar(tmp_path / "out", "protocolmetrics")["ImageProtocol"]["Network"]["Layer"] == "relu7"
    given[-1] = weights["other"]
    assert run(dataset, tmp_path / "wrong", *given, "--weights", generator) == 65
    assert "made with features of another file" in capsys.readouterr().err


def test_the_vaegans_encoder_gives_the_latents_and_its_generator_the_pictures(dataset, tmp_path, shared_data):
    weights = shared_data.parent / "fixtures" / "vaegan" / "vaegan_small.ckpt"
    if not weights.is_file():
        pytest.skip("no VAE-GAN file of the real tool here")
    from hyper_bids.generate import VAEGANGenerator

    assert run(dataset, tmp_path / "out", "--encoder", "vaegan", "--weights", weights) == 0
    (found,) = Path(f"{tmp_path / 'out'}_work").glob("**/latents.npz")
    arrays = np.load(found)
    pictures = {path.stem: path for path in (dataset / "stimuli").rglob("*.png")}
    label = str(arrays["stimuli"][3])
    shown = np.asarray(Image.open(pictures[label]).convert("RGB"))
    expected = VAEGANGenerator.load(weights).encode(shown[None], crop=0.8)
    np.testing.assert_allclose(arrays["values"][3], expected[0], atol=1e-6)
    assert len(pairs(dataset, tmp_path / "out")[2]) == 4


def test_components_by_default():
    assert InputSettings().n_components == 512 and InputSettings(encoder="dand").n_components == 699
    assert InputSettings(encoder="dand", n_components=5).n_components == 5
    assert layered([{"preset": "dand", "feature_weights": ["w"]}])["encoder"] == "dand"
    assert "encoder" not in layered([{"preset": "dand", "feature_weights": ["w"], "latent_space": "mine"}])
    assert layered([{"preset": "dand"}])["latent_generator"] == "dand"


# ------------------------------------------------------------------ refused before anything is computed


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--features", "vggface2"], 66, "needs its --feature-weights"),
        (["--features", "vggface2", "--feature-weights", "nowhere.h5"], 66, "nowhere.h5 does not exist"),
        (["--feature-weights", "nowhere.h5"], 66, "nowhere.h5 does not exist"),
        (["--features", "vgface2", "--feature-weights", "{vggface2}"], 64, "Did you mean 'vggface2'"),
        (["--features", "vggface", "--feature-weights", "{vggface2}"], 65, "VGGFace2's ResNet-50, a network for --"),
        (["--features", "alexnet:fc9", "--feature-weights", "{alexnet}"], 64, "no layer 'fc9'"),
        (["--features", "clip", "--feature-weights", "{clip}", "{alexnet}"], 64, "has no --features"),
        (["--feature-weights", "{clip}", "{clip}"], 64, "names clip twice"),
        (["--encoder", "dand"], 66, "--encoder dand needs --features vggface"),
        (["--encoder", "dand", "--feature-weights", "{vgg16}"], 66, "--encoder dand needs --features vggface"),
        (
            ["--encoder", "dand", "--features", "vggface:pool5", "--feature-weights", "{notop}"],
            65,
            "has no layer fc6, which --encoder dand uses",
        ),
        (
            ["--protocol", "dand", "--features", "vggface:pool5", "--feature-weights", "{notop}"],
            65,
            "has no layer relu7, which --protocol uses",
        ),
        (["--encoder", "vaegan"], 66, "--encoder vaegan needs --weights"),
        (["--encoder", "vaegan", "--weights", "{vgg16}"], 65, "VAE-GAN, a network for --generator is needed"),
        (["--generator", "{vggface2}"], 65, "a network for --features; one for --generator is needed"),
        (["--preset", "dand"], 66, "dand"),
    ],
)
def test_what_is_wrong_is_said_before_the_glm(dataset, weights, tmp_path, capsys, words, code, says):
    status = run(dataset, tmp_path / "out", *[word.format(**weights) for word in words])
    said = capsys.readouterr().err
    assert (status == code or (code == 65 and status == 1)) and says in said, (status, said)
    assert not list(Path(f"{tmp_path / 'out'}_work").glob("**/responses*"))


def test_masks_of_some_stimuli_only_are_an_error(dataset, overlay, weights, tmp_path, capsys):
    part = tmp_path / "overlay"
    shutil.copytree(overlay, part)
    rows = pd.read_csv(part / "stimuli" / "stimuli.tsv", sep="\t", dtype=str)
    rows.loc[rows.index[-1], "mask_file"] = "n/a"
    rows.to_csv(part / "stimuli" / "stimuli.tsv", sep="\t", index=False)
    status = run(dataset, tmp_path / "out", "--protocol", "hyper2022", "--overlay", part)
    assert status != 0 and "mask_file" in capsys.readouterr().err


# ------------------------------------------------------------------ hyper-tools evaluate


def test_evaluate_takes_the_same_networks(tmp_path, weights, capsys):
    rng = np.random.default_rng(1)
    for side in ("true", "predicted"):
        (tmp_path / side).mkdir()
        for number in range(5):
            shape = (40 + number, 33, 3)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / side / f"{number}.png")
    words = ["evaluate", "--true", tmp_path / "true", "--predicted", tmp_path / "predicted", "--out", tmp_path / "out"]
    named = ["--features", "vggface", "--feature-weights", weights["vggface"], "--protocol", "dand"]
    assert tools([*map(str, words), *map(str, named)]) == 0
    network = make_features("vggface", weights["vggface"], resampling="bilinear")
    read = [[np.asarray(Image.open(tmp_path / side / f"{k}.png")) for k in range(5)] for side in ("true", "predicted")]
    metrics = pd.read_csv(tmp_path / "out" / "metrics.tsv", sep="\t", na_values="n/a")
    expected = latent_similarity(*(network.features(side) for side in read))
    np.testing.assert_allclose(metrics["feature_similarity"], expected, rtol=1e-6)
    scores = pd.read_csv(tmp_path / "out" / "protocolmetrics.tsv", sep="\t")
    assert {"feature_similarity", "ssim", "pixel_correlation_rgb"} <= set(scores.columns)
    said = json.loads((tmp_path / "out" / "stats.json").read_text())
    assert said["metric"]["FeatureNetwork"]["SHA256"] == network.sha256
    assert tools([*map(str, words), "--features", "vggface"]) == 66
    assert "needs its --feature-weights" in capsys.readouterr().err
