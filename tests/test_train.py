"""Training: losses by hand, the schedule step by step, pictures from a folder, checkpoints, and what is refused."""

from __future__ import annotations

import copy
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from torch.nn import functional

from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.generate import DANDGenerator, Portrait, VAEGANGenerator
from hyper_bids.generate.training import dand_losses, image_folder, latent_space, loop, vaegan_losses
from hyper_bids.generate.training.checkpoints import load_checkpoint, save_checkpoint
from hyper_bids.generate.training.dand_training import DANDTraining
from hyper_bids.generate.training.image_folder import Pictures, digest_of, full_size, image_files, read_pictures, split
from hyper_bids.generate.training.interruption import Interrupted
from hyper_bids.generate.training.latent_space import FeaturePCA, features_of, fit_pca
from hyper_bids.generate.training.precision import Precision, adam
from hyper_bids.generate.training.settings import PAPERS, settings_of
from hyper_bids.generate.training.sheets import pixel_correlation, sample_sheet
from hyper_bids.generate.training.vaegan_networks import VAEGANDiscriminator
from hyper_bids.generate.training.vaegan_networks import widths_of as vaegan_widths
from hyper_bids.generate.training.vaegan_training import VAEGANTraining
from hyper_bids.weights import read_weights, write_safetensors
from hyper_bids.workflow.training import FeatureNetworks, TrainingRequest, train

SIZE, K, F = 16, 6, 29
DAND = settings_of("dand", size=SIZE, width=3, n_latents=K, epochs=3, batch_size=5, held_out=4)
VAEGAN = settings_of("vaegan", size=SIZE, width=6, n_latents=K, epochs=3, batch_size=5, held_out=4)


class Toy:
    """A stand-in for a recognition network: fixed random projections of small grey pictures."""

    name, layer, sha256 = "toy", "fc6", "cd" * 32

    def __init__(self, n_features: int = F) -> None:
        self.projection = np.random.default_rng(8).standard_normal((64, n_features)).astype(np.float32)

    def features(self, pixels: np.ndarray) -> np.ndarray:
        step = pixels.shape[1] // 8
        grey = pixels[:, : 8 * step, : 8 * step].mean(3).reshape(len(pixels), 8, step, 8, step).mean((2, 4))
        return np.tanh(grey.reshape(len(pixels), -1) / 128 - 1) @ self.projection

    def activations(self, images, layers):
        kernel = torch.from_numpy(self.projection[:27, :4].T.reshape(4, 3, 3, 3).copy()) / 60
        return {self.layer: functional.conv2d(images - 128, kernel, stride=2).relu()}

    def maps(self, images):
        return self.activations(images, [self.layer])[self.layer]


def pictures_of(n: int = 24, size: int = SIZE) -> Pictures:
    pixels = np.random.default_rng(5).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    names = tuple(f"{i}.png" for i in range(n))
    return Pictures(names, tuple(map(Path, names)), pixels, "digest")


def model_of(settings, pictures: Pictures, loss_features=None):
    if settings.model == "vaegan":
        return VAEGANTraining(settings)
    features = Toy().features(np.asarray(pictures.pixels))
    pca = fit_pca(features[split(len(features), settings.held_out, settings.seed)[0]], settings.n_latents)
    described = {"features": "toy", "features_layer": "fc6", "features_sha256": Toy.sha256}
    return DANDTraining(settings, pca, features, loss_features or Toy().maps, described)


def training(settings, folder, **options) -> loop.Training:
    pictures = options.pop("pictures", pictures_of())
    model = options.pop("model", None) or model_of(settings, pictures)
    return loop.Training(model, pictures, settings, folder, settings.identity(), **options)


def canonical(one: loop.Training) -> dict[str, np.ndarray]:
    return dict(one.model.weights(()).arrays)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- losses -----------------------------------------------------------------------------------------------------------


def test_dands_losses_by_hand():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.0])
    p, q = ([1 / (1 + math.exp(-v)) for v in values.tolist()] for values in (real, fake))
    expected = -(math.log(p[0]) + math.log(p[1])) / 2 - (math.log(1 - q[0]) + math.log(1 - q[1])) / 2
    assert float(dand_losses.discriminator_loss(real, fake)) == pytest.approx(expected, rel=1e-6)
    theirs = functional.binary_cross_entropy_with_logits
    again = theirs(real, torch.ones(2)) + theirs(fake, torch.zeros(2))
    assert float(dand_losses.discriminator_loss(real, fake)) == pytest.approx(float(again), rel=1e-6)
    assert float(dand_losses.adversarial_loss(fake)) == pytest.approx(-(math.log(q[0]) + math.log(q[1])) / 2, rel=1e-6)
    one, other = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]]), torch.tensor([[[4.0, 2.0]], [[1.0, 2.0]]])
    assert float(dand_losses.squared_distance(one, other)) == (9 + (1 + 4)) / 2
    assert dand_losses.grey_levels(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0.0, 127.5, 255.0]


def test_the_vaegans_losses_by_hand():
    mu, log_sigma = torch.tensor([[0.5, -0.25]]), torch.tensor([[0.1, -0.3]])
    each = [(m * m + math.exp(2 * s) - 1 - 2 * s) / 2 for m, s in ((0.5, 0.1), (-0.25, -0.3))]
    assert float(vaegan_losses.divergence(mu, log_sigma)) == pytest.approx(sum(each) / 2, rel=1e-6)
    normal = torch.distributions.Normal
    theirs = torch.distributions.kl_divergence(normal(mu, log_sigma.exp()), normal(0.0, 1.0)).mean()
    assert float(vaegan_losses.divergence(mu, log_sigma)) == pytest.approx(float(theirs), rel=1e-5)
    assert float(vaegan_losses.feature_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 2.0]]))) == 9 / 2 / 2
    real, made, sampled = (torch.tensor([v]) for v in (2.0, 0.5, -1.0))
    p, q, r = (1 / (1 + math.exp(-v)) for v in (2.0, 0.5, -1.0))
    expected = -math.log(p) - (math.log(1 - q) + math.log(1 - r)) / 2
    assert float(vaegan_losses.gan_loss(real, made, sampled)) == pytest.approx(expected, rel=1e-6)


def test_the_papers_settings():
    one = PAPERS["dand"]
    assert (one.size, one.n_latents, one.width, one.epochs, one.batch_size) == (64, 699, 64, 100, 64)
    assert (one.learning_rate, one.betas, one.epsilon) == (1e-3, (0.9, 0.999), 1e-8)
    assert one.loss_weights == {"discriminator": 1e2, "adversarial": 1e2, "feature": 1e-2, "pixel": 2e-6}
    other = PAPERS["vaegan"]
    assert (other.size, other.n_latents, other.epochs, other.batch_size, other.crop) == (128, 1024, 15, 64, 0.8)
    assert vaegan_widths(128, 192) == (192, 256, 384, 512, 768)
    rival = VAEGANDiscriminator(vaegan_widths(128, 192), torch.Generator())
    assert len(rival.layers) + 1 == 6


def test_adam_is_the_papers(rng):
    layer = torch.nn.Linear(3, 2).double()
    start = layer.weight.detach().numpy().copy()
    optimiser = adam(layer, 1e-3, (0.9, 0.999), 1e-8)
    gradients = rng.standard_normal((4, 2, 3))
    weight, m, v = start.copy(), np.zeros((2, 3)), np.zeros((2, 3))
    for t, gradient in enumerate(gradients, start=1):
        layer.weight.grad = torch.from_numpy(gradient)
        optimiser.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        weight -= 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(layer.weight.detach().numpy(), weight, rtol=1e-9)


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_a_step_is_the_discriminators_then_the_generators():
    """Two steps against the same written down plainly, with torch's own losses and optimisers."""
    pictures = pictures_of()
    model = model_of(DAND, pictures)
    g, d = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    of_g, of_d = (torch.optim.Adam(n.parameters(), 1e-3, (0.9, 0.999), 1e-8) for n in (g, d))
    bce = functional.binary_cross_entropy_with_logits
    for rows in (np.arange(5), np.arange(5, 10)):
        images = torch.from_numpy(pictures.pixels[rows]).permute(0, 3, 1, 2).float()
        z = torch.from_numpy(model.pca.latents(model.features[rows]))
        losses = model.step(rows, images, 0)

        fake = g(z)
        real_logits, fake_logits = d(images / 127.5 - 1), d(fake.detach())
        of_d.zero_grad()
        loss = 100 * (bce(real_logits, torch.ones(5)) + bce(fake_logits, torch.zeros(5)))
        loss.backward()
        of_d.step()
        assert float(losses["discriminator"]) == pytest.approx(float(loss.detach()), rel=1e-5)

        logits, shown = d(fake), (fake + 1) * 127.5
        feature = ((Toy().maps(images) - Toy().maps(shown)) ** 2).sum((1, 2, 3)).mean()
        pixel = ((images - shown) ** 2).sum((1, 2, 3)).mean()
        loss = 100 * bce(logits, torch.ones(5)) + 1e-2 * feature + 2e-6 * pixel
        of_g.zero_grad()
        loss.backward()
        of_g.step()
        assert float(losses["generator"]) == pytest.approx(float(loss.detach()), rel=1e-5)
        assert float(losses["pixel"]) == pytest.approx(float(pixel.detach()), rel=1e-5)
    for ours, plain in ((model.generator, g), (model.discriminator, d)):
        before_norm = {f"layers.{i}.bias" for i in range(5) if ours is model.generator or i} - {"layers.2.bias"}
        for name, value in plain.state_dict().items():
            # A bias before a batch norm has no gradient but rounding, which Adam blows up to its full step.
            if name not in before_norm and "running_mean" not in name:
                torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert not torch.equal(model.generator.pca.components, torch.zeros(1))
    assert all(parameter.requires_grad for parameter in model.discriminator.parameters())


def test_the_vaegans_encoder_does_not_learn_to_deceive():
    settings = settings_of("vaegan", size=SIZE, width=6, n_latents=K, batch_size=5,
                           loss_weights={"feature": 0, "divergence": 0, "adversarial": 1})  # fmt: skip
    model = VAEGANTraining(settings)
    before = copy.deepcopy(model.state()["networks"])
    images = torch.from_numpy(pictures_of().pixels[:5]).permute(0, 3, 1, 2).float()
    losses = model.step(np.arange(5), images, 3)
    after = {name: dict(network.named_parameters()) for name, network in model.networks.items()}
    moved = {name: any(not torch.equal(before[name][key], value) for key, value in of.items())
             for name, of in after.items()}  # fmt: skip
    assert moved == {"encoder": False, "generator": True, "discriminator": True}
    assert float(losses["generator"]) == float(losses["adversarial"])


def test_every_epoch_has_its_own_order_and_no_batch_is_short(tmp_path):
    one = training(DAND, tmp_path)
    first, second = one.batches(0), one.batches(1)
    assert [len(batch) for batch in first] == [5] * 4
    assert all(np.array_equal(a, b) for a, b in zip(first, training(DAND, tmp_path).batches(0), strict=True))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert not set(np.concatenate(first)) & set(one.held_out) and len(set(np.concatenate(first))) == 20


@pytest.mark.parametrize("settings", [DAND, VAEGAN], ids=["dand", "vaegan"])
def test_what_is_written_is_what_was_trained(tmp_path, settings):
    one = training(settings, tmp_path)
    one.run()
    path = write_safetensors(one.model.weights(("a note",)), tmp_path / "w.safetensors")
    cls = {"dand": DANDGenerator, "vaegan": VAEGANGenerator}[settings.model]
    made, rows = cls.load(path), one.held_out
    if settings.model == "dand":
        pca = FeaturePCA(*(read_weights(path).arrays[f"pca.{part}"] for part in ("mean", "components", "scale")))
        latents = pca.latents(Toy().features(one.pictures.pixels[rows]))
        images = (made.generate(latents) + 1) / 2
    else:
        images = made.generate(made.encode(one.pictures.pixels[rows], crop=1))
    assert np.abs(np.floor(images * 255 + 0.5) - one.reconstructions(rows)).max() <= 1
    assert images.std() > 1e-3
    lines = (tmp_path / "losses.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:3] == ["epoch", "discriminator", "generator"] and len(lines) == 4
    assert sorted(p.name for p in (tmp_path / "sheets").iterdir()) == [f"epoch-000{i}.png" for i in (1, 2, 3)]


# --- checkpoints ------------------------------------------------------------------------------------------------------


def stop_after(n: int):
    """Return a function that asks for an end when it is called for the n-th time."""
    calls = iter(range(1, 10_000))

    def stop() -> None:
        if next(calls) == n:
            raise Interrupted(15)

    return stop


@pytest.mark.parametrize("settings", [DAND, VAEGAN], ids=["dand", "vaegan"])
@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path, settings, after):
    whole = training(settings, tmp_path / "whole")
    whole.run()
    interrupted = training(settings, tmp_path / "part", stop=stop_after(after))
    with pytest.raises(Interrupted):
        interrupted.run()
    lines: list[str] = []
    again = training(settings, tmp_path / "part", say=lines.append)
    assert again.resume(required=True) and "going on" in lines[0]
    assert (again.progress.epoch, again.progress.step) == divmod(after - 1, 4)
    again.run()
    for name, array in canonical(whole).items():
        np.testing.assert_array_equal(canonical(again)[name], array, err_msg=name)
    for name in ("losses.tsv", "sheets/epoch-0003.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()


def test_more_epochs_go_on_with_the_same_training(tmp_path):
    longer = settings_of("dand", size=SIZE, width=3, n_latents=K, epochs=4, batch_size=5, held_out=4)
    training(DAND, tmp_path).run()
    on = training(longer, tmp_path)
    on.resume()
    on.run()
    whole = training(longer, tmp_path / "whole")
    whole.run()
    assert all(np.array_equal(canonical(on)[name], array) for name, array in canonical(whole).items())


def test_fewer_epochs_than_the_checkpoint_has_are_spoken_of(tmp_path):
    training(DAND, tmp_path).run()
    for epochs, told in ((1, True), (3, False)):
        lines: list[str] = []
        fewer = settings_of("dand", size=SIZE, width=3, n_latents=K, epochs=epochs, batch_size=5, held_out=4)
        training(fewer, tmp_path, say=lines.append).resume()
        assert any("--epochs 1: the checkpoint is 3 epochs on" in line for line in lines) == told


def test_a_seed_is_another_training(tmp_path):
    other = settings_of("dand", size=SIZE, width=3, n_latents=K, epochs=3, batch_size=5, held_out=4, seed=1)
    one, two = training(DAND, tmp_path / "one"), training(other, tmp_path / "two")
    assert not np.array_equal(canonical(one)["generator.layer2.weight"], canonical(two)["generator.layer2.weight"])


def test_a_checkpoint_of_another_training_is_refused_with_words(tmp_path):
    with pytest.raises(MissingFiles, match="no checkpoint"):
        training(DAND, tmp_path).resume(required=True)
    training(DAND, tmp_path).save()
    other = settings_of("dand", size=SIZE, width=3, n_latents=K, batch_size=6, held_out=4, learning_rate=0.01)
    with pytest.raises(InconsistentInput, match=r"--batch-size was 5, now 6; --learning-rate was 0.001, now 0.01"):
        training(other, tmp_path).resume()
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(InconsistentInput, match="other pictures"):
        load_checkpoint(path, DAND.identity() | {"pictures": "b"})
    content = path.read_bytes()
    for damaged in (content[:-200], content[: len(content) // 2], b"no checkpoint", b""):
        path.write_bytes(damaged)
        with pytest.raises(MissingFiles, match="--restart"):
            training(DAND, tmp_path).resume()


class Marked:
    """Would leave a mark if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path):
    path = save_checkpoint(tmp_path / "checkpoint.pt", {"identity": Marked(tmp_path / "mark")})
    with pytest.raises(MissingFiles, match="no whole checkpoint"):
        load_checkpoint(path, {})
    assert not (tmp_path / "mark").exists()


def test_a_loss_that_is_not_finite_stops_with_words(tmp_path):
    pictures = pictures_of()
    steps = iter(range(100))
    broken = model_of(DAND, pictures, lambda images: images * (math.nan if next(steps) > 9 else 1))
    one = training(DAND, tmp_path, pictures=pictures, model=broken)
    with pytest.raises(UsageError, match=r"generator loss is nan in epoch 2, step 2.*--learning-rate.*checkpoint\.pt"):
        one.run()
    assert load_checkpoint(one.checkpoint, DAND.identity())["progress"]["epoch"] == 1


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, rng) -> Path:
    shapes = {"b.png": (40, 60), "a.JPG": (33, 20), "sub/c.png": (16, 16), "d.webp": (64, 64)}
    for name, shape in shapes.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)
    (tmp_path / "images" / "notes.txt").write_text("no picture")
    return tmp_path / "images"


def test_pictures_of_any_size_in_an_order_that_never_changes(folder, tmp_path):
    found = read_pictures(folder, 16, tmp_path / "cache")
    assert found.names == ("a.JPG", "b.png", "d.webp", "sub/c.png")
    assert found.pixels.shape == (4, 16, 16, 3) and isinstance(found.pixels, np.memmap)
    np.testing.assert_array_equal(found.pixels[3], np.asarray(Image.open(folder / "sub/c.png")))
    half = read_pictures(folder, 20, tmp_path / "half", crop=0.5)
    np.testing.assert_array_equal(half.pixels[1], np.asarray(Image.open(folder / "b.png"))[10:30, 20:40])
    sizes = [pixels.shape for pixels in full_size(found.paths, 1.0)]
    assert sizes == [(1, 20, 20, 3), (1, 40, 40, 3), (1, 64, 64, 3), (1, 16, 16, 3)]
    np.testing.assert_array_equal(next(full_size(found.paths[1:], 0.5))[0], half.pixels[1])


def test_pictures_are_prepared_once_unless_they_change(folder, tmp_path):
    lines: list[str] = []
    first = read_pictures(folder, 16, tmp_path / "cache", say=lines.append)
    again = read_pictures(folder, 16, tmp_path / "cache", say=lines.append)
    assert len(lines) == 1 and first.digest == again.digest == digest_of(image_files(folder))
    content = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes((folder / "sub/c.png").read_bytes())
    changed = read_pictures(folder, 16, tmp_path / "cache", say=lines.append)
    np.testing.assert_array_equal(changed.pixels[1], changed.pixels[3])
    assert len(lines) == 2 and changed.digest != first.digest
    (folder / "b.png").write_bytes(content)
    (tmp_path / "cache" / "pictures.u8").write_bytes(b"cut off")
    np.testing.assert_array_equal(read_pictures(folder, 16, tmp_path / "cache").pixels, np.array(again.pixels))


def test_a_job_killed_between_data_and_their_description_leaves_no_false_cache(folder, tmp_path, monkeypatch):
    pictures = read_pictures(folder, 16, tmp_path / "cache")
    expected = np.array(pictures.pixels)
    where = tmp_path / "features.f32"
    features = np.array(features_of(pictures.paths, pictures.digest, Toy(), where))

    def killed(value: object) -> str:
        raise KeyboardInterrupt

    for module in (image_folder, latent_space):
        monkeypatch.setattr(module.json, "dumps", killed)
    with pytest.raises(KeyboardInterrupt):
        read_pictures(folder, 16, tmp_path / "cache", crop=0.5)
    with pytest.raises(KeyboardInterrupt):
        features_of(pictures.paths, pictures.digest, Toy(), where, crop=0.5)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_pictures(folder, 16, tmp_path / "cache").pixels, expected)
    np.testing.assert_array_equal(features_of(pictures.paths, pictures.digest, Toy(), where), features)


def test_files_that_are_no_images_are_named_or_left_out(folder, tmp_path):
    (folder / "broken.png").write_bytes((folder / "b.png").read_bytes()[:100])
    (folder / "text.jpg").write_text("no picture")
    with pytest.raises(MissingFiles, match=r"2 of 6 files.*broken\.png, text\.jpg.*--skip-bad-images"):
        read_pictures(folder, 16, tmp_path / "cache")
    lines: list[str] = []
    found = read_pictures(folder, 16, tmp_path / "cache", skip_bad=True, say=lines.append)
    assert found.names == ("a.JPG", "b.png", "d.webp", "sub/c.png") and len(found.pixels) == 4
    assert lines == ["left out 2 files that are no images: broken.png, text.jpg"]
    np.testing.assert_array_equal(found.pixels[3], np.asarray(Image.open(folder / "sub/c.png")))


def test_folders_that_hold_too_little(tmp_path):
    with pytest.raises(MissingFiles, match="is no folder"):
        image_files(tmp_path / "nowhere")
    with pytest.raises(MissingFiles, match="No image"):
        image_files(tmp_path)
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(InconsistentInput, match="None of the 1 files"):
        read_pictures(tmp_path, 16, tmp_path / "cache", skip_bad=True)
    with pytest.raises(InconsistentInput, match="--held-out"):
        split(5, 4, 0)


# --- DAND's latents ---------------------------------------------------------------------------------------------------


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


# --- settings, precision, sheets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("dan", {}, "Did you mean 'dand'"),
        ("dand", {"epochs": 0}, "--epochs is at least 1"),
        ("dand", {"batch_size": 1}, "--batch-size"),
        ("dand", {"size": 48}, "--size is one of"),
        ("dand", {"learning_rate": -1.0}, "--learning-rate"),
        ("vaegan", {"crop": 0.0}, "--crop"),
        ("vaegan", {"precision": "int8"}, "--precision"),
        ("dand", {"loss_weights": {"fature": 1}}, "Did you mean 'feature'"),
        ("dand", {"loss_weights": {"feature": -1}}, "--loss feature=-1"),
    ],
)
def test_settings_that_do_not_fit(model, options, says):
    with pytest.raises(UsageError, match=says):
        settings_of(model, **options)


def test_mixed_precision_needs_cuda():
    for precision in ("bfloat16", "float16"):
        with pytest.raises(UsageError, match="needs CUDA"):
            Precision(precision, "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("model", ["dand", "vaegan"])
def test_training_on_cuda(tmp_path, model, precision):
    settings = settings_of(model, size=SIZE, width=6, n_latents=K, epochs=2, batch_size=5, held_out=4,
                           precision=precision)  # fmt: skip
    pictures = pictures_of()
    if model == "dand":
        features = Toy().features(pictures.pixels)
        made = DANDTraining(settings, fit_pca(features, K), features, lambda x: x / 100, {}, "cuda")
    else:
        made = VAEGANTraining(settings, "cuda")
    training(settings, tmp_path, pictures=pictures, model=made).run()
    assert len((tmp_path / "losses.tsv").read_text().splitlines()) == 3


def test_the_sheet_has_every_original_above_its_reconstruction():
    originals = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 6, 3), np.uint8)
    sheet = sample_sheet(originals, originals + 100)
    assert sheet.shape == (2 * (16 + 2) + 2, 8 * 8 + 2, 3)
    for i in range(10):
        top, left = 2 + i // 8 * 18, 2 + i % 8 * 8
        assert (sheet[top : top + 6, left : left + 6] == i).all()
        assert (sheet[top + 6 : top + 12, left : left + 6] == i + 100).all()
    assert (sheet == 255).any()


def test_pixel_correlation_is_numpys(rng):
    one, other = rng.integers(0, 256, (2, 3, 4, 5, 3), dtype=np.uint8)
    other[2] = 7
    found = pixel_correlation(one, other)
    for i in (0, 1):
        assert found[i] == pytest.approx(np.corrcoef(one[i].ravel(), other[i].ravel())[0, 1])
    assert found[2] == 0


def test_time_left_in_words(tmp_path):
    lines: list[str] = []
    one = training(DAND, tmp_path, say=lines.append)
    one.run()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert "left" in lines[0] and "left" not in lines[2] and "discriminator" in lines[0]


# --- on portraits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["dand", "vaegan"])
def test_held_out_portraits_are_reconstructed(tmp_path, model):
    """Losses fall, and a held-out portrait's reconstruction is more like it than like the other held-out portraits."""
    latents = np.random.default_rng(6).standard_normal((300, 64))
    pixels = np.floor(Portrait(resolution=32).generate(latents) * 255 + 0.5).astype(np.uint8)
    names = tuple(f"{i}.png" for i in range(len(pixels)))
    if model == "dand":
        # The rival's share is low: the other terms are sums over maps, which are thin here.
        options = {"size": 32, "width": 6, "epochs": 12, "batch_size": 20, "n_latents": 24,
                   "loss_weights": {"adversarial": 1, "feature": 0.1}}  # fmt: skip
    else:
        pixels = np.floor(pixels.reshape(300, 16, 2, 16, 2, 3).mean((2, 4)) + 0.5).astype(np.uint8)
        options = {"size": 16, "width": 24, "epochs": 20, "batch_size": 10, "n_latents": 128, "learning_rate": 2e-3}
    settings = settings_of(model, held_out=20, **options)
    pictures = Pictures(names, tuple(map(Path, names)), pixels, "portraits")
    one = training(settings, tmp_path, pictures=pictures)
    one.run()
    history = one.progress.history
    term = "pixel" if model == "dand" else "feature"
    assert history[-1][term] < 0.8 * history[0][term]
    true, found = pixels[one.held_out], one.reconstructions(one.held_out)
    own = pixel_correlation(true, found)
    others = np.mean([pixel_correlation(np.roll(true, shift, axis=0), found) for shift in range(1, 20)], axis=0)
    assert own.mean() > others.mean() + 0.05 and (own > others).mean() > 0.75
