"""Losses in a layer of a frozen generator: their value, their gradient, and what they leave alone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from hyper_bids.decode import layer_loss
from hyper_bids.decode.adam import Adam
from hyper_bids.decode.layer import Layer
from hyper_bids.decode.layer_loss import DifferentiableGenerator, LayerLoss, exact_convolutions
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.testing import DECODER_CHECKS

SIZES = {"L1": (3, 4, 6), "L2": (7, 4, 6)}


class Tiny(torch.nn.Module):
    """A linear layer and a convolution; counts how many latents were asked for."""

    def __init__(self, n_latents: int = 5) -> None:
        super().__init__()
        self.n_latents, self.asked = n_latents, 0
        start = torch.Generator().manual_seed(8)
        self.dense, self.convolution = torch.nn.Linear(n_latents, 72), torch.nn.Conv2d(3, 7, 3, padding=1)
        for parameter in self.parameters():
            parameter.data = 0.4 * torch.randn(parameter.shape, generator=start)
        self.eval().requires_grad_(False)

    def activations(self, latents, layers):
        self.asked += len(latents)
        found = {"L1": torch.tanh(self.dense(latents)).reshape(-1, 3, 4, 6)}
        if "L2" in layers:
            found["L2"] = torch.tanh(self.convolution(found["L1"]))
        return {layer: found[layer] for layer in layers if layer in found}


@pytest.fixture
def planted(rng):
    Z = rng.normal(size=(37, 5)).astype(np.float32)
    return (Z @ rng.normal(size=(5, 23)) + 0.5 * rng.normal(size=(37, 23))).astype(np.float32), Z


FAST = {"n_epochs": 20, "batch_size": 8, "learning_rate": 1e-3, "layer": "L2"}


def layer(**parameters) -> Layer:
    return Layer(**FAST | {"layer_model": Tiny()} | parameters)


def both(**parameters) -> Adam:
    return Adam(**FAST | {"layer_model": Tiny()} | parameters)


def loss_of(Z, model=None, name="L2", crop=0.5, offset=0.0, scale=1.0) -> LayerLoss:
    parts = (torch.full((Z.shape[1],), value) for value in (offset, scale))
    return LayerLoss(model or Tiny(), name, crop, torch.from_numpy(Z), *parts)


@pytest.mark.parametrize("make", [layer, both])
@pytest.mark.parametrize("check", DECODER_CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check, make):
    check(make)


def test_the_tiny_generator_keeps_the_protocol():
    model = Tiny()
    assert isinstance(model, DifferentiableGenerator)
    for name, shape in SIZES.items():
        assert model.activations(torch.zeros(2, 5), [name])[name].shape == (2, *shape)


@pytest.mark.parametrize("name", SIZES)
def test_the_value_is_half_the_mean_over_the_central_units(planted, rng, name):
    Z, model = planted[1], Tiny()
    rows = torch.tensor([4, 0, 30])
    output = torch.from_numpy(rng.normal(size=(3, 5)).astype(np.float32))
    true, predicted = (
        model.activations(part, [name])[name].numpy()[:, :, 1:3, 1:4]
        for part in (torch.from_numpy(Z)[rows], 2.5 * output + 0.5)
    )
    wanted = np.mean([0.5 * np.mean((a - b) ** 2) for a, b in zip(predicted, true, strict=True)])
    assert float(loss_of(Z, model, name, 0.5, 0.5, 2.5).value(output, rows)) == pytest.approx(wanted, rel=1e-5)
    assert float(loss_of(Z, model, name).value(torch.from_numpy(Z), torch.arange(len(Z)))) == pytest.approx(0, abs=1e-9)


def test_the_gradient_is_the_finite_difference(planted, rng):
    Z = planted[1].astype(np.float64)
    loss = loss_of(Z, Tiny().double(), offset=0.5, scale=2.5)
    loss.offset, loss.scale = loss.offset.double(), loss.scale.double()
    output, rows = torch.from_numpy(rng.normal(size=(3, 5))), torch.tensor([4, 0, 30])
    value, gradient = loss.value_and_gradient(output, rows)
    assert float(value) == pytest.approx(float(loss.value(output, rows)))
    for row in range(3):
        for k in range(5):
            step = torch.zeros_like(output)
            step[row, k] = 1e-5
            difference = (loss.value(output + step, rows) - loss.value(output - step, rows)) / 2e-5
            assert float(gradient[row, k]) == pytest.approx(float(difference), rel=1e-5, abs=1e-9)


def test_units_outside_the_centre_do_not_count(planted):
    class Border(Tiny):
        def activations(self, latents, layers):
            maps = super().activations(latents, layers)["L2"].clone()
            maps[:, :, 1:3, 1:4] = 0
            return {"L2": maps}

    Z, rows = planted[1], torch.arange(37)
    output = torch.zeros(37, 5)
    assert float(loss_of(Z, Border()).value(output, rows)) == 0
    assert float(loss_of(Z, Border(), crop=1.0).value(output, rows)) > 0


def test_limits_of_memory_change_nothing_but_rounding(planted, monkeypatch):
    wanted = layer().fit(*planted)
    monkeypatch.setattr(layer_loss, "PIXELS", 3 * 24)
    np.testing.assert_allclose(layer().fit(*planted).coef_, wanted.coef_, atol=1e-5)
    monkeypatch.setattr(layer_loss, "CACHE_BYTES", 0)
    np.testing.assert_allclose(layer().fit(*planted).coef_, wanted.coef_, atol=1e-5)


def test_true_activations_are_computed_once_for_each_stimulus(planted):
    X, Z = planted
    Z, model = np.repeat(Z[:4], 9, axis=0), Tiny()
    Layer(model, "L2", n_epochs=3).fit(X[:36], Z)
    assert model.asked == 1 + 4 + 3 * 36


def test_true_activations_are_computed_anew_where_they_do_not_fit(planted, monkeypatch):
    monkeypatch.setattr(layer_loss, "CACHE_BYTES", 37 * 7 * 2 * 3 * 4 - 1)
    model = Tiny()
    Layer(model, "L2", n_epochs=3).fit(*planted)
    assert model.asked == 1 + 3 * 2 * 37


def test_the_generator_stays_frozen_even_where_its_parameters_ask_for_gradients(planted):
    model = Tiny().requires_grad_(True)
    before = pickle.dumps(model.state_dict())
    layer(layer_model=model).fit(*planted)
    assert pickle.dumps(model.state_dict()) == before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_layer_decoder_recovers_planted_latents_without_a_term_for_them(rng):
    Z = rng.normal(size=(301, 5)).astype(np.float32)
    X = (Z @ rng.normal(size=(5, 23))).astype(np.float32)
    fitted = Layer(Tiny(), "L2", n_epochs=60, learning_rate=3e-3, weight_decay=0.0, crop=1.0).fit(X[:250], Z[:250])
    found, true = fitted.predict(X[250:]), Z[250:]
    assert min(np.corrcoef(found[:, k], true[:, k])[0, 1] for k in range(5)) > 0.95
    assert fitted.loss_curve_[-1, 0] < 0.05 * fitted.loss_curve_[0, 0]


def test_a_latent_that_the_layer_does_not_see_is_not_learned(planted):
    X, Z = planted
    model = Tiny()
    model.dense.weight.data[:, 3] = 0
    one = layer(layer_model=model).fit(X, Z)
    other = Z.copy()
    other[:, 3] = Z[::-1, 3]
    np.testing.assert_allclose(layer(layer_model=model).fit(X, other).coef_, one.coef_, atol=1e-6)


def test_the_weighted_sum_lies_between_its_two_terms(planted):
    alone, none, full = Adam(**FAST | {"layer": None}), both(layer_weight=0.0), both()
    for decoder in (alone, none, full):
        decoder.fit(*planted)
    np.testing.assert_array_equal(none.coef_, alone.coef_)
    assert not np.allclose(full.coef_, alone.coef_, atol=1e-4)
    # The first batch is seen before any step: its loss is the sum of the two terms' losses, exactly.
    first = [
        decoder.fit(*planted).loss_curve_[0, 0]
        for decoder in (
            Adam(n_epochs=1, batch_size=37),
            Layer(Tiny(), "L2", n_epochs=1, batch_size=37),
            Adam(n_epochs=1, batch_size=37, layer_model=Tiny(), layer="L2", layer_weight=2.0),
        )
    ]
    assert first[2] == pytest.approx(first[0] + 2.0 * first[1], rel=1e-6)


def test_it_stops_on_held_out_runs_too(planted):
    groups = np.arange(37) % 5
    decoder = layer(stopping="held-out", n_epochs=400, learning_rate=0.02, patience=5).fit(*planted, groups=groups)
    assert decoder.loss_curve_.shape[1] == 2 and decoder.best_epoch_ == decoder.loss_curve_[:, 1].argmin() + 1 < 395
    rows = np.isin(groups.astype(str), decoder.held_out_)
    predicted = torch.from_numpy(decoder.predict(planted[0][rows]).astype(np.float32))
    held = loss_of(planted[1]).value(predicted, torch.from_numpy(np.flatnonzero(rows)))
    assert float(held) == pytest.approx(decoder.loss_curve_[:, 1].min(), rel=1e-3)


def test_latents_of_another_scale_reach_the_generator_in_its_own_units(planted):
    X, Z = planted

    class Shifted(Tiny):
        def activations(self, latents, layers):
            return super().activations((latents - 40) / 700, layers)

    wanted = layer(scale_latents="unit").fit(X, Z).predict(X)
    found = layer(layer_model=Shifted()).fit(X, 40 + 700 * Z)
    assert found.latent_scaling_ == "unit"
    np.testing.assert_allclose((found.predict(X) - 40) / 700, wanted, atol=1e-3)


@pytest.mark.parametrize("make", [layer, both])
def test_a_constant_latent_enters_the_generator_as_its_mean(planted, make):
    X, Z = planted
    Z[:, 2] = 1.3
    np.testing.assert_array_equal(make().fit(X, Z).predict(X)[:, 2], np.float32(1.3))


class Detached(Tiny):
    def activations(self, latents, layers):
        return {name: maps.detach() for name, maps in super().activations(latents, layers).items()}


class Flat(Tiny):
    def activations(self, latents, layers):
        return {name: maps.flatten(1) for name, maps in super().activations(latents, layers).items()}


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        (Tiny(6), "L2", "takes 6 latents, the latents decoded have 5"),
        (Tiny(), "L9", "asked for layer 'L9'"),
        (Tiny().train(), "L2", "training mode"),
        (Tiny().to("meta"), "L2", "is on meta, the decoder on cpu"),
        (Detached(), "L2", "carry no gradient"),
        (Flat(), "L2", r"needed: \(n, channels, height, width\)"),
        (torch.nn.Linear(5, 3).eval(), "L2", "n_latents and activations"),
    ],
)
def test_a_generator_that_does_not_fit_is_refused(planted, model, name, message):
    with pytest.raises(InconsistentInput, match=message):
        Layer(model, name, n_epochs=1).fit(*planted)


def test_a_layer_decoder_needs_its_generator_and_its_layer(planted):
    for decoder in (Layer(), Layer(Tiny()), Layer(layer="L2")):
        with pytest.raises(UsageError, match="needs layer_model"):
            decoder.fit(*planted)
    with pytest.raises(UsageError, match="both layer_model"):
        Adam(layer_model=Tiny()).fit(*planted)


def test_exact_convolutions_put_the_process_s_setting_back():
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    with exact_convolutions(torch.device("cuda")):
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.allow_tf32
    assert before == (
        torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    )  # fmt: skip


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_repeats_itself_and_agrees_with_the_cpu(planted):
    one, two = (layer(layer_model=Tiny().cuda(), device="cuda").fit(*planted) for _ in range(2))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    np.testing.assert_allclose(one.coef_, layer().fit(*planted).coef_, atol=1e-4)
