"""The drawn face: differentiable, smooth, and its attributes are what their hyperplanes say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.generate.portrait import Portrait

ATTRIBUTES = Portrait.attributes()
SIZE = 48


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait(resolution=SIZE)


def neutral(seed: int = 5) -> np.ndarray:
    """A face on all five hyperplanes at once."""
    latents = np.random.default_rng(seed).standard_normal(64)
    return latents - sum((latents @ normal) * normal for normal in ATTRIBUTES.values())


def face(portrait: Portrait, seed: int = 5, **scores: float) -> np.ndarray:
    """The picture ``(SIZE, SIZE, 3)`` of the face with these attribute scores."""
    latents = neutral(seed) + sum(score * ATTRIBUTES[name] for name, score in scores.items())
    return portrait.generate(latents[None])[0]


def test_normals_are_orthonormal_and_no_axis():
    normals = np.stack(list(ATTRIBUTES.values()))
    assert list(ATTRIBUTES) == ["gender", "age", "eyeglasses", "smile", "pose"]
    np.testing.assert_allclose(normals @ normals.T, np.eye(5), atol=1e-12)
    assert np.abs(normals).max() < 0.5


def test_default_is_128_pixels():
    assert Portrait().generate(np.zeros((1, 64))).shape == (1, 128, 128, 3)


def test_gradient_is_the_finite_difference(portrait, rng):
    latents = torch.tensor(rng.standard_normal((2, 64)), requires_grad=True)
    weights = torch.tensor(rng.standard_normal((2, 3, SIZE, SIZE)))
    (gradient,) = torch.autograd.grad((portrait.render(latents) * weights).sum(), latents)
    with torch.no_grad():
        for _ in range(4):
            step = 1e-6 * torch.tensor(rng.standard_normal((2, 64)))
            change = ((portrait.render(latents + step) - portrait.render(latents - step)) * weights).sum() / 2
            assert float(change) == pytest.approx(float((gradient * step).sum()), rel=1e-3)


def test_gradient_reaches_every_latent_and_is_finite_over_many_faces(portrait, rng):
    latents = torch.tensor(rng.standard_normal((20, 64)) * 2, dtype=torch.float32, requires_grad=True)
    portrait.render(latents).square().sum().backward()
    assert torch.isfinite(latents.grad).all()
    assert (latents.grad != 0).all()


def test_chunks_drawn_again_in_the_backward_pass_give_the_same_gradient(monkeypatch, rng):
    portrait = Portrait(resolution=32)
    gradients = []
    for pixels in (32 * 32, 10**9):
        monkeypatch.setattr("hyper_bids.generate.portrait.PIXELS_PER_CHUNK", pixels)
        latents = torch.tensor(np.random.default_rng(2).standard_normal((3, 64)), requires_grad=True)
        portrait.render(latents).pow(3).sum().backward()
        gradients.append(latents.grad)
    torch.testing.assert_close(*gradients)


def test_every_latent_changes_the_picture_visibly(portrait):
    base = neutral()
    pictures = portrait.generate(np.concatenate([base + 2 * np.eye(64), base - 2 * np.eye(64)]))
    change = np.abs(pictures[:64] - pictures[64:]).max(axis=(1, 2, 3))
    assert change.min() > 0.1


def test_every_feature_direction_changes_the_picture(portrait):
    from hyper_bids.generate.portrait_features import ATTRIBUTES as NAMES
    from hyper_bids.generate.portrait_features import FEATURES, basis

    # Each feature where it can be seen: with glasses; earrings on women, beards on men.
    for name, direction in zip(NAMES + FEATURES, basis().T, strict=True):
        seen = 0.0
        for gender in (-1.5, 1.5):
            start = neutral() + gender * ATTRIBUTES["gender"] + 2 * ATTRIBUTES["eyeglasses"]
            low, high = portrait.generate(np.stack([start - 2 * direction, start + 2 * direction]))
            seen = max(seen, float(np.abs(high - low).max()))
        assert seen > 0.02, name


@pytest.mark.parametrize("seed", [5, 6])
def test_change_is_smooth(portrait, seed):
    """Halving a small step halves the change: no jumps."""
    rng = np.random.default_rng(seed)
    start, direction = rng.standard_normal(64), rng.standard_normal(64) / 8
    steps = np.array([0.0, 0.005, 0.01, 0.02])
    pictures = portrait.generate(start + steps[:, None] * direction).astype(float)
    change = np.sqrt(((pictures[1:] - pictures[0]) ** 2).mean(axis=(1, 2, 3)))
    assert change[2] < 0.02
    np.testing.assert_allclose(change[1:] / change[:-1], 2.0, rtol=0.05)


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("seed", [5, 8])
def test_moving_along_an_attribute_leads_ever_further_away(portrait, name, seed):
    pictures = np.stack([face(portrait, seed, **{name: score}) for score in np.linspace(-2.5, 2.5, 7)])
    distance = np.sqrt(((pictures - pictures[0]) ** 2).mean(axis=(1, 2, 3)))
    assert (np.diff(distance) > -2e-3).all()
    assert distance[-1] > 0.015


def test_eyeglasses_fade_in_around_their_hyperplane(portrait):
    without, half, with_ = (face(portrait, eyeglasses=score) for score in (-4.0, 0.0, 4.0))
    share = ((half - without) * (with_ - without)).sum() / ((with_ - without) ** 2).sum()
    assert share == pytest.approx(0.5, abs=0.06)


def glasses_centre(portrait: Portrait, **scores: float) -> float:
    """Column of the middle of the glasses: where a picture with them differs from one without."""
    change = np.abs(face(portrait, eyeglasses=4.0, **scores) - face(portrait, eyeglasses=-4.0, **scores)).sum(axis=2)
    return float((change.sum(axis=0) * np.arange(SIZE)).sum() / change.sum())


def test_pose_turns_the_face_to_the_right_of_the_picture(portrait):
    centres = [glasses_centre(portrait, pose=score) for score in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert (np.diff(centres) > 0.5).all()


def test_a_smile_shows_ever_more_teeth():
    portrait = Portrait()
    white = []
    for score in (-1.0, 0.5, 1.0, 1.5, 2.5):
        mouth = face(portrait, smile=score, eyeglasses=-4.0)[80:108, 40:88]
        white.append(float((mouth.min(axis=2) - 0.8).clip(min=0).sum()))
    assert white[0] == 0 and white[-1] > 0.5
    assert (np.diff(white) >= 0).all()


def test_age_greys_the_hair(portrait):
    colourfulness = []
    for score in (-1.0, 1.0, 2.5):
        hair = face(portrait, age=score, gender=-2.0)[
            int(0.10 * SIZE) : int(0.16 * SIZE), SIZE // 2 - 6 : SIZE // 2 + 6
        ]
        colourfulness.append(float(((hair.max(axis=2) - hair.min(axis=2)) / hair.max(axis=2)).mean()))
    assert colourfulness[0] > colourfulness[1] > colourfulness[2]


def test_long_hair_is_feminine(portrait):
    """Beside the neck a feminine face has hair where a masculine one has background."""
    beside = (slice(int(0.72 * SIZE), int(0.76 * SIZE)), slice(int(0.30 * SIZE), int(0.36 * SIZE)))
    background = face(portrait, gender=2.5)[int(0.72 * SIZE), 2]
    feminine, masculine = (np.abs(face(portrait, gender=score)[beside] - background).mean() for score in (-2.5, 2.5))
    assert feminine > 2 * masculine


def test_resolution_changes_the_grid_and_not_the_face(rng):
    latents = rng.standard_normal((2, 64))
    large = Portrait(resolution=128).generate(latents)
    small = Portrait(resolution=64).generate(latents)
    shrunk = large.reshape(2, 64, 2, 64, 2, 3).mean(axis=(2, 4))
    assert np.abs(shrunk - small).mean() < 0.02


def test_render_follows_the_dtype_and_refuses_what_is_no_latents(portrait):
    assert portrait.render(torch.zeros(1, 64, dtype=torch.float64)).dtype == torch.float64
    for wrong in (torch.zeros(64), torch.zeros(1, 63), torch.zeros(1, 64, dtype=torch.int64)):
        with pytest.raises(InconsistentInput, match=r"\(n, 64\)"):
            portrait.render(wrong)


def test_draws_on_one_device_alone(portrait):
    """On the meta device nothing is computed, but a tensor left on another device would raise."""
    assert portrait.render(torch.zeros(2, 64, device="meta")).shape == (2, 3, SIZE, SIZE)


def test_too_small_a_picture_is_refused():
    with pytest.raises(UsageError, match="32"):
        Portrait(resolution=16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_draws_the_same_face(rng):
    latents = rng.standard_normal((3, 64))
    np.testing.assert_allclose(Portrait("cuda").generate(latents), Portrait().generate(latents), atol=2e-3)
