"""Training: losses by hand, the schedule step by step, settings, and what it makes of portraits."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_runs import DAND, SIZE, VAEGAN, K, Toy, model_of, pictures_of, single_thread, training

from hyper_bids.errors import UsageError
from hyper_bids.generate import DANDGenerator, Portrait, VAEGANGenerator
from hyper_bids.generate.training import dand_losses, vaegan_losses
from hyper_bids.generate.training.dand_training import DANDTraining
from hyper_bids.generate.training.image_folder import Pictures
from hyper_bids.generate.training.latent_space import FeaturePCA, fit_pca
from hyper_bids.generate.training.precision import Precision, adam
from hyper_bids.generate.training.settings import PAPERS, settings_of
from hyper_bids.generate.training.sheets import pixel_correlation, sample_sheet
from hyper_bids.generate.training.vaegan_networks import VAEGANDiscriminator
from hyper_bids.generate.training.vaegan_networks import widths_of as vaegan_widths
from hyper_bids.generate.training.vaegan_training import VAEGANTraining
from hyper_bids.weights import read_weights, write_safetensors


@pytest.fixture(autouse=True)
def one_thread():
    with single_thread():
        yield


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
