"""Attributes, similarity of spaces, covariates: against naive versions, scipy and scikit-learn."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import stats as scipy_stats
from scipy.spatial.distance import pdist, squareform

from hyper_bids.data import Images
from hyper_bids.errors import InconsistentInput, UsageError
from hyper_bids.evaluate.attribute_tests import attribute_table, rescaled, sign_classification
from hyper_bids.evaluate.covariates import category_anova, complexity, covariate_table
from hyper_bids.evaluate.directions import class_mean_direction, closed_form_directions
from hyper_bids.evaluate.mantel import correlation_distances, mantel_test
from hyper_bids.evaluate.multiplicity import fdr


def test_class_mean_direction_is_the_difference_and_finds_a_planted_one(rng):
    labels = np.where(rng.random(400) < 0.4, "male", "female")
    planted = np.zeros(8)
    planted[3] = 1.0
    latents = rng.standard_normal((400, 8)) + np.where(labels == "male", 3, -3)[:, None] * planted
    found = class_mean_direction(latents, labels, "male")
    naive = latents[labels == "male"].mean(0) - latents[labels == "female"].mean(0)
    np.testing.assert_allclose(found, naive / np.sqrt((naive**2).sum()))
    assert found @ planted > 0.99
    np.testing.assert_allclose(class_mean_direction(latents, labels, "female"), -found)
    with pytest.raises(InconsistentInput, match="two classes"):
        class_mean_direction(latents, ["male"] * 400, "male")


def test_closed_form_directions_equal_svd_and_power_iteration(rng):
    weight = rng.standard_normal((6, 15)) * np.arange(1, 7)[:, None]
    directions, values = closed_form_directions(weight)
    unit = weight / np.linalg.norm(weight, axis=0, keepdims=True)
    left, singular, _ = np.linalg.svd(unit)
    np.testing.assert_allclose(values, singular**2)
    np.testing.assert_allclose(np.abs(directions @ left), np.eye(6), atol=1e-8)
    vector = np.ones(6)
    for _ in range(500):
        vector = unit @ (unit.T @ vector)
        vector /= np.linalg.norm(vector)
    assert abs(vector @ directions[0]) == pytest.approx(1.0)
    assert (directions[np.arange(6), np.abs(directions).argmax(1)] > 0).all()


def test_attribute_table_equals_scipy_and_corrects_over_directions(rng):
    true, predicted = rng.standard_normal((25, 7)), rng.standard_normal((25, 7))
    directions = {f"d{i}": rng.standard_normal(7) for i in range(3)}
    predicted += 1.5 * np.outer(true @ directions["d1"], directions["d1"]) / (directions["d1"] ** 2).sum()
    table = attribute_table(true, predicted, directions).set_index("attribute")
    for name, direction in directions.items():
        expected = scipy_stats.pearsonr(true @ direction, predicted @ direction)
        assert table.loc[name, "r"] == pytest.approx(expected.statistic)
        assert table.loc[name, "p_value"] == pytest.approx(expected.pvalue)
    np.testing.assert_allclose(table["p_fdr"], fdr(table["p_value"].to_numpy()))
    assert table["r"].idxmax() == "d1" and table["unit"].eq("stimulus").all()
    unit = attribute_table(true, predicted, directions, unit_length=True).set_index("attribute")
    assert unit.loc["d1", "r"] != pytest.approx(table.loc["d1", "r"], abs=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rescaled(true), axis=1), np.sqrt(7))


def test_classification_by_sign_equals_enumeration(rng):
    scores = np.array([1.0, -2.0, 0.5, -0.1, 0.0, 3.0, -4.0])
    labels = ["m", "f", "f", "f", "m", "m", "n/a"]
    correct, found = sign_classification(scores, labels, "m", 1000, rng)
    np.testing.assert_array_equal(correct, [1, 1, 0, 1, 0.5, 1, np.nan])
    assert found.statistic == pytest.approx(4.5 / 6) and found.n == 6
    side, wanted = np.sign(scores[:6]), np.array([1, -1, -1, -1, 1, 1])
    null = [np.mean((1 + side * wanted[list(p)]) / 2) for p in itertools.permutations(range(6))]
    assert found.p == pytest.approx(np.mean(np.array(null) >= 4.5 / 6 - 1e-9))
    one_sided = sign_classification(np.ones(7), labels, "m", 1000, rng)[1]
    assert one_sided.p == 1.0, "all on one side: accuracy is the class's share, and no evidence"


def test_mantel_equals_scipy_and_enumeration(rng):
    first = rng.standard_normal((6, 9))
    second = np.c_[first[:, :5] + 0.5 * rng.standard_normal((6, 5)), rng.standard_normal((6, 2))]
    a, b = (squareform(pdist(z, "correlation")) for z in (first, second))
    np.testing.assert_allclose(correlation_distances(first), a, atol=1e-12)
    found = mantel_test(first, second, 1000, rng)
    upper = np.triu_indices(6, 1)
    null = [np.corrcoef(a[upper], b[np.ix_(p, p)][upper])[0, 1] for p in itertools.permutations(range(6))]
    assert found.statistic == pytest.approx(null[0])
    assert found.p == pytest.approx(np.mean(np.array(null) >= null[0] - 1e-9))
    large = rng.standard_normal((40, 9))
    assert mantel_test(large, large @ rng.standard_normal((9, 30)), 499, rng).p == pytest.approx(1 / 500)
    assert mantel_test(large, rng.standard_normal((40, 30)), 499, rng).p > 0.01
    with pytest.raises(InconsistentInput, match="same stimuli"):
        mantel_test(first, large, 9, rng)


def test_complexity_is_the_file_size_and_orders_pictures(rng):
    noise = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
    pixels = np.stack([np.full_like(noise, 90), np.repeat(noise[:, :1], 20, axis=1), noise])
    images = Images(pixels, ("flat", "stripes", "noise"))
    for codec, options in (("png", {"compress_level": 9}), ("jpeg", {"quality": 75})):
        found = complexity(images, codec)
        file = io.BytesIO()
        Image.fromarray(pixels[2]).save(file, format=codec, **options)
        assert found.n_bytes[2] == len(file.getvalue())
        assert (np.diff(found.n_bytes) > 0).all() and found.protocol["Codec"] == codec
    with pytest.raises(UsageError, match="png"):
        complexity(images, "pgn")


def test_covariates_equal_scipy_with_missing_ratings(rng):
    accuracy = rng.random(20)
    ratings = {"age": rng.standard_normal(20), "smile": accuracy + 0.2 * rng.standard_normal(20), "same": np.ones(20)}
    ratings["age"][3] = np.nan
    table = covariate_table(accuracy, ratings, rng).set_index("covariate")
    known = np.arange(20) != 3
    expected = scipy_stats.pearsonr(ratings["age"][known], accuracy[known])
    assert table.loc["age", "r"] == pytest.approx(expected.statistic)
    assert table.loc["age", "p_value"] == pytest.approx(expected.pvalue, abs=0.03)
    assert table.loc["age", "n"] == 19 and np.isnan(table.loc["same", "p_value"])
    assert table.loc["same", "p_method"].startswith("not tested")
    assert table.loc["smile", "p_bonferroni"] == pytest.approx(2 * table.loc["smile", "p_value"])


def test_anova_equals_scipy_and_leaves_lonely_categories_out(rng):
    accuracy = rng.random(14)
    categories = [*"aaaabbbbbccc", "alone", "n/a"]
    found = category_anova(accuracy, categories, rng)
    expected = scipy_stats.f_oneway(accuracy[:4], accuracy[4:9], accuracy[9:12])
    assert (found.statistic, found.n) == pytest.approx((expected.statistic, 12))
    assert found.p == pytest.approx(expected.pvalue, abs=0.03) and found.n_permutations == 9999
    few = category_anova(accuracy[:5], list("aabbb"), rng)
    null = [scipy_stats.f_oneway(accuracy[list(p)][:2], accuracy[list(p)][2:]).statistic
            for p in itertools.permutations(range(5))]  # fmt: skip
    assert few.p == pytest.approx(np.mean(np.array(null) >= null[0] - 1e-9)) and few.n_permutations == 0
    assert category_anova(accuracy, ["a"] * 14, rng).method.startswith("not tested")


def test_closed_form_table_has_every_direction(rng):
    from hyper_bids.evaluate.direction_tests import closed_form_table
    from hyper_bids.evaluate.directions import closed_form_directions

    true = rng.standard_normal((24, 7))
    predicted = true + 0.5 * rng.standard_normal((24, 7))
    directions, values = closed_form_directions(rng.standard_normal((7, 40)))
    table = closed_form_table(true, predicted, directions, values)
    expected = [np.corrcoef(true @ direction, predicted @ direction)[0, 1] for direction in directions]
    assert table["r"].to_numpy() == pytest.approx(expected) and table["eigenvalue"].is_monotonic_decreasing
    assert table["p_fdr"].ge(table["p_value"] - 1e-12).all() and "partial_r" not in table


@pytest.mark.parametrize("shift", [0.0, 40.0])
def test_classes_by_the_side_of_the_border(rng, shift):
    """The midpoint serves spaces whose origin lies in one class; zero is the paper's border."""
    from hyper_bids.evaluate.direction_tests import class_table

    gender = np.array(["f", "m"] * 60)
    latents = rng.standard_normal((120, 9)) + shift
    latents[gender == "m", 2] += 8
    noisy = latents[80:] + rng.standard_normal((40, 9))
    labels = {"gender": [*gender[80:]], "camera": ["one"] * 40}
    table = class_table(
        latents[80:], noisy, labels, latents[:80], {"gender": [*gender[:80]], "camera": ["one"] * 80},
        n_permutations=199,
    ).set_index("border")  # fmt: skip
    assert list(table.index) == ["0", "midpoint"] and (table["positive"] == "m").all()
    assert table.loc["midpoint", "accuracy_true"] == 1.0 and table.loc["midpoint", "p_value"] == 1 / 200
    wins = (noisy[:, 2] > shift + 4) == (gender[80:] == "m")
    assert table.loc["midpoint", "accuracy"] == pytest.approx(wins.mean(), abs=0.06)
    if shift:  # everything is on one side of 0: half of the stimuli, and p says so
        assert table.loc["0", "accuracy"] == 0.5 and table.loc["0", "p_value"] == 1.0


def test_spaces_with_the_same_neighbours_are_similar(rng):
    from hyper_bids.evaluate.direction_tests import space_table

    true = rng.standard_normal((16, 6))
    turned = true @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    table = space_table(true, true + 0.3 * rng.standard_normal((16, 6)), {"b": turned}, n_permutations=99)
    assert len(table) == 3 and table["second"].tolist() == ["true latents", "latent space b", "latent space b"]
    upper = np.triu_indices(16, 1)
    expected = np.corrcoef(np.corrcoef(true)[upper], np.corrcoef(turned)[upper])[0, 1]
    assert table["r"][1] == pytest.approx(expected) and (table["p_value"] == 0.01).sum() >= 1


def test_classes_with_equal_means_have_no_direction(rng):
    from hyper_bids.evaluate.direction_tests import class_table

    labels = {"gender": ["f", "m"] * 4}
    table = class_table(rng.standard_normal((8, 3)), rng.standard_normal((8, 3)), labels, np.ones((8, 3)), labels)
    assert table.empty
