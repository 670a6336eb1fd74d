"""Audits: each light can be red, and is green for an honest result."""

from __future__ import annotations

import numpy as np
import pytest

from hyper_bids.audit.checks import audit, participation_ratio


@pytest.fixture
def honest(rng):
    training = rng.normal(size=(60, 24)).astype(np.float32)
    true = rng.normal(size=(31, 24)).astype(np.float32)
    return {
        "true": true,
        "predicted": 0.7 * true + 0.2 * rng.normal(size=true.shape),
        "training_mean": np.broadcast_to(training.mean(axis=0), true.shape),
        "nearest": training[:31],
        "training": training,
        "shared_stimuli": [],
        "cross_validated": False,
        "alone_difference": 0.0,
        "constant_latents": [],
    }


def test_an_honest_result_passes_every_check(honest):
    assert {check["Status"] for check in audit(**honest).values()} == {"PASS"}


@pytest.mark.parametrize(
    ("check", "status", "change"),
    [
        ("Overlap", "FAIL", {"shared_stimuli": ["a"]}),
        ("SingleItem", "FAIL", {"alone_difference": 0.3}),
        ("ConstantLatents", "WARN", {"constant_latents": [2]}),
        ("DataScale", "WARN", {"training": np.ones((3, 24), np.float32)}),
        ("DimensionCollapse", "WARN", {"predicted": np.outer(np.arange(31.0), np.ones(24))}),
        ("Baselines", "WARN", {"predicted": np.full((31, 24), 5.0)}),
        ("NullDistribution", "WARN", {"null_notices": ["Null: 99 instead of 1000 permutations."]}),
    ],
)
def test_each_check_sees_its_fault(honest, check, status, change):
    assert audit(**{**honest, **change})[check]["Status"] == status


def test_a_test_stimulus_with_training_latents_is_seen(honest):
    honest["true"] = honest["true"].copy()
    honest["true"][3] = honest["training"][17]
    assert audit(**honest)["SameLatents"]["Status"] == "WARN"


def test_participation_ratio_does_not_depend_on_which_side_is_longer(rng):
    values = rng.normal(size=(9, 5)) * [5, 2, 1, 1, 0.1]
    spectrum = np.linalg.eigvalsh(np.cov(values.T))
    wanted = spectrum.sum() ** 2 / (spectrum**2).sum()
    assert participation_ratio(values) == pytest.approx(wanted)
    assert participation_ratio(np.hstack([values, np.zeros((9, 30))])) == pytest.approx(wanted)


@pytest.mark.parametrize(("rows", "why"), [(1, "one test stimulus"), (5, "the same in every test row")])
def test_dimensions_that_cannot_be_counted_do_not_pass(honest, rows, why):
    for name in ("true", "predicted", "training_mean", "nearest"):
        honest[name] = np.repeat(honest[name][:1], rows, axis=0)
    found = audit(**honest)["DimensionCollapse"]
    assert found["Status"] == "N/A" and why in found["Text"]
