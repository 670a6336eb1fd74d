"""What all generators with a PyTorch network have in common, over the classes that there are."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import pggan_files
import stylegan_files
import tensorflow_files

from hyper_bids.errors import InconsistentInput
from hyper_bids.generate import GENERATORS
from hyper_bids.generate.dand_network import TrainableGenerator
from hyper_bids.generate.torch_generator import TorchGenerator
from hyper_bids.weights import Weights
from hyper_bids.weights.pggan_canonical import pggan
from hyper_bids.weights.stylegan2_canonical import stylegan2
from hyper_bids.weights.vaegan_canonical import from_tensorflow

NAMES = [name for name, cls in GENERATORS.items() if issubclass(cls, TorchGenerator)]


def dand() -> Weights:
    draw = torch.Generator().manual_seed(1)
    pca = (torch.randn(7, generator=draw), torch.randn(5, 7, generator=draw), torch.ones(5))
    return Weights("dand", TrainableGenerator(*pca, (6, 4, 3), draw).canonical())


@pytest.fixture(scope="module")
def weights() -> dict[str, Weights]:
    return {
        "pggan": pggan(pggan_files.random_arrays(), {}, "random"),
        "stylegan2": stylegan2(stylegan_files.random_arrays(), {}, "random"),
        "vaegan": from_tensorflow(tensorflow_files.vaegan_variables()),
        "dand": dand(),
    }


def drawn(generator: TorchGenerator, n: int = 5) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (n, generator.n_latents)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_images_do_not_depend_on_how_many_are_made_at_once(weights, name, monkeypatch):
    generator = GENERATORS[name](weights[name])
    latents = drawn(generator)
    alone = generator.generate(latents)
    assert generator.batch_size == 1
    monkeypatch.setattr(TorchGenerator, "batch_size", 2)  # the last batch is not full
    np.testing.assert_allclose(generator.generate(latents), alone, atol=1e-3)  # rounding, through many layers
    size = generator.resolution
    assert generator.generate(latents[:0]).shape == (0, size, size, 3)


@pytest.mark.parametrize("name", NAMES)
def test_on_cuda_many_are_made_at_once(weights, name):
    generator = GENERATORS[name](weights[name])
    generator.device = "cuda:1"
    assert generator.batch_size > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_holds_nothing_that_is_made_anew_and_draws_the_same(weights, name):
    generator = GENERATORS[name](weights[name], dtype="bfloat16")
    assert not set(generator.__getstate__()) & set(generator.MADE_ANEW)
    latents = drawn(generator)
    again = pickle.loads(pickle.dumps(generator))
    np.testing.assert_array_equal(again.generate(latents), generator.generate(latents))
    assert set(vars(again)) == set(vars(generator))


@pytest.mark.parametrize("name", NAMES)
def test_another_networks_weights_are_refused(weights, name):
    for other in set(weights) - {name}:
        with pytest.raises(InconsistentInput, match=f"are a {other}, not a {GENERATORS[name].title}"):
            GENERATORS[name](weights[other])
