"""Edits along attributes: what a move does to the scores, and InterFaceGAN's own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.generate.attributes_edit import conditional_boundary, edited, moved_by, moved_to


@pytest.fixture
def boundaries(rng) -> dict[str, np.ndarray]:
    found = {name: rng.standard_normal(11) for name in ("age", "smile", "pose")}
    found["smile"] += 0.8 * found["age"]  # attributes are not orthogonal
    return {name: normal / np.linalg.norm(normal) for name, normal in found.items()}


def test_a_move_to_a_distance_ends_there_and_changes_nothing_across(boundaries, rng):
    z, n = rng.standard_normal((5, 11)), boundaries["age"]
    moved = moved_to(z, 7 * n, 2.5)  # the normal's length does not matter
    np.testing.assert_allclose(moved @ n, 2.5)
    across = np.eye(11) - np.outer(n, n)
    np.testing.assert_allclose(moved @ across, z @ across, atol=1e-12)
    np.testing.assert_allclose(moved_to(moved, n, z @ n), z, atol=1e-12)
    np.testing.assert_allclose(moved_by(z, n, 2.5 - z @ n), moved)


def test_conditions_keep_their_scores(boundaries, rng):
    z = rng.standard_normal((5, 11))
    moved = edited(z, ["smile=3", "smile+=1"], boundaries, keep=["age", "pose"])
    for kept in ("age", "pose"):
        np.testing.assert_allclose(moved @ boundaries[kept], z @ boundaries[kept], atol=1e-12)
    assert np.abs(moved - z).max() > 0.1
    free = edited(z, ["smile=3"], boundaries)
    assert np.abs((free - z) @ boundaries["age"]).max() > 0.1


def test_one_condition_is_the_closed_form_and_the_order_of_several_does_not_matter(boundaries):
    p, c, d = boundaries["smile"], boundaries["age"], boundaries["pose"]
    closed = p - (p @ c) * c
    np.testing.assert_allclose(conditional_boundary(p, [c]), closed / np.linalg.norm(closed))
    np.testing.assert_allclose(conditional_boundary(p, [c, d]), conditional_boundary(p, [d, 3 * c, c]), atol=1e-12)
    np.testing.assert_allclose(conditional_boundary(2 * p, []), p)


def test_the_numbers_of_interfacegan(shared_data):
    folder = shared_data.parent / "fixtures" / "interfacegan"
    if not folder.is_dir():
        pytest.skip(f"InterFaceGAN's files not found at {folder}")
    golden = np.load(folder / "golden.npz")
    known = {name: np.load(folder / f"pggan_celebahq_{name}_boundary.npy") for name in golden["names"]}
    age, gender, glasses = (known[name] for name in ("age", "gender", "eyeglasses"))
    np.testing.assert_allclose(conditional_boundary(age, [gender]), golden["cond_age_c_gender"][0], atol=1e-7)
    both = conditional_boundary(age, [gender, glasses])
    np.testing.assert_allclose(both, golden["cond_age_c_gender_eyeglasses"][0], atol=1e-7)
    start = np.repeat(golden["z_normalised"][:1], 5, axis=0)
    path = moved_to(start, known["smile"], np.linspace(-3, 3, 5))
    np.testing.assert_allclose(path, golden["interp_smile"], atol=1e-6)


@pytest.mark.parametrize(
    ("edits", "keep", "error", "says"),
    [
        (["smil=1"], [], UsageError, "Did you mean 'smile'"),
        (["smile"], [], UsageError, "NAME=VALUE"),
        (["smile=much"], [], UsageError, "NAME=VALUE"),
        (["smile=nan"], [], UsageError, "NAME=VALUE"),
        (["smile=1"], ["nose"], UsageError, "nose"),
        (["smile=1"], ["smile"], UsageError, "kept"),
        (["twin=1"], ["age"], InconsistentInput, "Nothing is left"),
        (["zero=1"], [], InconsistentInput, "not all 0"),
        (["short=1"], [], InconsistentInput, "11 finite numbers.*got 3"),
    ],
)
def test_errors(boundaries, edits, keep, error, says):
    odd = {"twin": -2 * boundaries["age"], "zero": np.zeros(11), "short": np.ones(3)}
    with pytest.raises(error, match=says):
        edited(np.zeros((2, 11)), edits, boundaries | odd, keep)
