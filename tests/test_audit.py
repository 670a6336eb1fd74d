"""Audits: each light is red for its planted fault, and not for an honest result."""

from __future__ import annotations

import numpy as np
import pytest

from hyper_bids.audit.baselines import shuffled_error, smallest_p
from hyper_bids.audit.checks import CHECKS, audit
from hyper_bids.audit.collapse import outside_span, participation_ratio
from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.memoryless import N_DRAWS, memoryless
from hyper_bids.audit.nuisance import association, centred, leave_one_out_smoother
from hyper_bids.audit.overlap import nearest_distances
from hyper_bids.report.words import smallest_possible_p

N, K, TRAINED = 31, 24, 60
FOLDS = [f"{row % 4}" for row in range(N)]


def stat(metric, mean, null, spread=0.02, **more):
    return {"metric": metric, "mean": mean, "null_mean": null, "null_sd": spread, "p_method": "99 permutations", **more}


def control(p):
    return {"PairwiseAccuracy": 0.52, "Chance": 0.5, "P": p, "Permutations": 999, "Voxels": 300}


@pytest.fixture
def honest(rng):
    training = rng.normal(size=(TRAINED, K)).astype(np.float32)
    true = rng.normal(size=(N, K)).astype(np.float32)
    predicted = 0.7 * true + 0.2 * rng.normal(size=true.shape)
    return {
        "true": true,
        "predicted": predicted,
        "training_mean": np.broadcast_to(training.mean(axis=0), true.shape),
        "nearest": training[[((row - training) ** 2).sum(axis=1).argmin() for row in predicted]],
        "training": training,
        "stimuli": [f"face{row}" for row in range(N)],
        "same_content": [],
        "stats": [
            stat("latent_correlation", 0.9, 0.0), stat("pairwise_accuracy", 0.99, 0.5, chance=0.5, p_value=0.01),
            stat("ssim", 0.4, 0.2, ceiling=0.8), {"metric": "ssim_zero", "mean": 0.2},
        ],
        "nuisances": {"run": np.eye(3)[rng.integers(0, 3, N)], "onset": rng.uniform(0, 300, (N, 1)),
                      "motion": rng.exponential(0.2, (N, 1))},
        "tuning": {"folds": [{"inner_folds": "leave one of 6 runs out"}], "decoder": "ridge", "select": "top-z"},
        "rank_curve": {"Ranks": [1, 2, 4, K], "PairwiseAccuracy": [0.6, 0.8, 0.9, 0.99],
                       "LatentCorrelation": [0.2, 0.4, 0.7, 0.9]},
        "controls": {"GlobalSignal": control(0.4), "OutsideBrain": control(0.026)},
    }  # fmt: skip


def status(evidence, check, **change):
    return CHECKS[check](Evidence(**{**evidence, **change}))["Status"]


def test_an_honest_result_passes_every_check(honest):
    assert {name: found["Status"] for name, found in audit(Evidence(**honest)).items()} == dict.fromkeys(CHECKS, "PASS")


@pytest.mark.parametrize(
    ("check", "wanted", "change"),
    [
        ("Overlap", "FAIL", {"shared_stimuli": ["face1"]}),
        ("SameContent", "WARN", {"same_content": ["1 picture is in both."]}),
        ("SingleItem", "FAIL", {"alone_difference": 0.3}),
        ("ConstantLatents", "WARN", {"constant_latents": [2]}),
        ("DataScale", "WARN", {"training": np.eye(3, K, dtype=np.float32)}),
        ("DimensionCollapse", "WARN", {"predicted": np.outer(np.arange(float(N)), np.ones(K))}),
        ("Baselines", "WARN", {"predicted": np.full((N, K), 5.0)}),
        ("Tuning", "NOTE", {"tuning": {"mask": True, "folds": [], "decoder": "ridge", "select": "all"}}),
        ("Tuning", "NOTE", {"tuning": {"folds": [], "decoder": "mine:Decoder", "select": "all"}}),
        ("Tuning", "NOTE", {"tuning": {"encoder": "eigenface", "folds": [], "decoder": "ols", "select": "all"},
                            "folds": FOLDS}),
        ("ShuffledResponses", "WARN", {"stats": [stat("latent_correlation", 0.01, 0.0)]}),
        ("ShuffledResponses", "NOTE",
         {"stats": [stat("latent_correlation", 0.01, 0.0, p_method="all 2 permutations of stimuli (exact)")]}),
        ("ShuffledResponses", "NOTE",
         {"stats": [stat("latent_correlation", 0.9, 0.0, p_method="9 permutations of stimuli")]}),
        ("ChanceLevel", "NOTE", {"stats": [stat("pairwise_accuracy", 0.9, 0.58)]}),
        ("Bottleneck", "NOTE",
         {"rank_curve": {"Ranks": [1, 2, K], "PairwiseAccuracy": [0.9, 0.98, 0.99],
                         "LatentCorrelation": [0.8, 0.9, 0.9]}}),
        ("Controls", "NOTE", {"controls": {"GlobalSignal": control(0.02), "OutsideBrain": control(0.4)}}),
        ("Controls", "NOTE", {"controls": {"GlobalSignal": control(0.04)}}),
        ("Controls", "WARN", {"controls": {"GlobalSignal": control(0.02), "OutsideBrain": control(0.02)}}),
        ("ImageCeiling", "WARN", {"stats": [stat("ssim", 0.9, 0.2, ceiling=0.8)]}),
        ("ImageCeiling", "WARN",
         {"stats": [stat("ssim", 0.3, 0.2, ceiling=0.8), {"metric": "ssim_random", "mean": 0.31}]}),
        ("ImageCeiling", "NOTE",
         {"stats": [stat("ssim", 0.3, 0.2, ceiling=0.8), {"metric": "ssim_zero", "mean": 0.4},
                    stat("pixel_correlation", 0.9, 0.2, ceiling=0.95)]}),
        ("ImageCeiling", "WARN",
         {"stats": [stat("ssim", 0.1, 0.2, ceiling=0.2), {"metric": "ssim_zero", "mean": 0.3}]}),
    ],
)  # fmt: skip
def test_each_check_sees_its_fault(honest, check, wanted, change):
    assert status(honest, check, **change) == wanted


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("SameContent", {"same_content": None}),
        ("Tuning", {"tuning": None}),
        ("ShuffledResponses", {"stats": []}),
        ("ChanceLevel", {"stats": []}),
        ("ImageCeiling", {"stats": [stat("ssim", 0.4, 0.2)]}),
        ("Bottleneck", {"rank_curve": None}),
        ("Bottleneck", {"rank_curve": {"Ranks": [], "PairwiseAccuracy": [0.5], "LatentCorrelation": [0.0]}}),
        ("Bottleneck", {"stats": [stat("pairwise_accuracy", 0.99, 0.5, p_value=0.2)]}),
        ("Nuisance", {"nuisances": {}, "nuisances_missing": {"run": "there is one run"}}),
        ("Nuisance", {"nuisances": {"run": np.ones((N, 2))}}),
        ("Controls", {"controls": {}, "controls_missing": {"OutsideBrain": "there is no BOLD"}}),
        ("Novelty", {"shared_stimuli": [f"face{row}" for row in range(N)]}),
    ],
)
def test_what_cannot_be_assessed_says_so_and_does_not_pass(honest, check, change):
    found = CHECKS[check](Evidence(**{**honest, **change}))
    assert found["Status"] == "N/A" and found["Text"].startswith("not assessed: ")


def test_too_few_permutations_are_told(honest):
    found = audit(Evidence(**honest, null_notices=["Null: 99 instead of 1000."]))["NullDistribution"]
    assert found == {"Status": "WARN", "Text": "Null: 99 instead of 1000."}


@pytest.mark.parametrize(("noise", "wanted"), [(0.0, "exactly the"), (1e-3, "almost the")])
def test_a_test_stimulus_with_training_latents_is_seen_and_named(honest, rng, noise, wanted):
    honest["true"] = honest["true"].copy()
    honest["true"][3] = honest["training"][17] + noise * rng.normal(size=K)
    found = CHECKS["SameLatents"](Evidence(**honest))
    assert found["Status"] == "WARN" and found["Stimuli"] == ["face3"] and wanted in found["Text"]


def test_one_latent_with_many_stimuli_has_close_neighbours_by_chance(honest, rng):
    change = {name: rng.normal(size=(n, 1)) for name, n in (("true", N), ("training", 400))}
    assert status(honest, "SameLatents", **change) == "PASS"


def test_a_decoder_that_retrieves_is_not_novel(honest):
    """Predictions that are training exemplars, near to the truth or not."""
    assert status(honest, "Novelty", predicted=honest["nearest"]) == "WARN"
    mixed = Evidence(**{**honest, "folds": ["a"] * N, "stimuli": [f"face{row // 2}" for row in range(N)]})
    assert mixed.unseen.all(), "both rows of a stimulus are in one fold: no decoder saw it"


def decoded_without_memory(seed, n_trained=1000, k=64, noise=30, n=36):
    """Evidence of a ridge decoder whose every prediction is a linear function of the response."""
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(n_trained + n, k))
    responses = latents @ rng.normal(size=(k, 200)) + noise * rng.normal(size=(n_trained + n, 200))
    training, true = latents[:n_trained], latents[n_trained:]
    known, centre = responses[:n_trained], responses[:n_trained].mean(axis=0)
    gram = (known - centre).T @ (known - centre) + 200 * np.eye(200)
    weights = np.linalg.solve(gram, (known - centre).T @ (training - training.mean(axis=0)))
    return rows_of(true, (responses[n_trained:] - centre) @ weights + training.mean(axis=0), training)


def rows_of(true, predicted, training):
    rows = {"true": true, "predicted": predicted, "training": training, "nearest": retrieved(predicted, training)}
    return {**rows, "training_mean": np.broadcast_to(training.mean(axis=0), true.shape),
            "stimuli": [f"face{row}" for row in range(len(true))]}  # fmt: skip


def retrieved(predicted, training):
    return training[[((row - training) ** 2).sum(axis=1).argmin() for row in predicted]]


@pytest.mark.parametrize(("n_trained", "k"), [(1000, 64), (40, 64)], ids=["many stimuli", "in the span of few"])
def test_a_weak_decoder_without_memory_is_not_warned_of(n_trained, k):
    """Most training stimuli lie nearer than the truth, and that is no memory: 50 datasets, 1 in 100 by chance."""
    found = [CHECKS["Novelty"](Evidence(**decoded_without_memory(seed, n_trained, k))) for seed in range(50)]
    assert np.mean([check["Share"] for check in found]) > 0.7
    assert sum(check["Status"] == "WARN" for check in found) <= 2
    ratios = [check["Memoryless"]["Observed"] / check["Memoryless"]["Distance"] for check in found]
    assert np.mean(ratios) == pytest.approx(1, abs=0.005)


def test_weak_retrieval_is_warned_of_with_noise_on_top_or_shrunken_too():
    for seed in range(10):
        weak = decoded_without_memory(seed)
        training, rng = weak["training"], np.random.default_rng(seed)
        for predicted in (weak["nearest"], weak["nearest"] + 0.5 * rng.normal(size=(36, 64)), 0.4 * weak["nearest"]):
            evidence = rows_of(weak["true"], predicted, training)
            assert status(evidence, "Novelty") == "WARN"


def test_under_folds_a_test_stimulus_is_no_training_stimulus_of_its_own_fold(honest):
    """All truths are in the training set of other folds; retrieval from those is seen, a good decoder is not."""
    true = honest["true"].astype(np.float64)
    folds = np.array(FOLDS)
    nearest = np.array([retrieved(honest["predicted"][[row]], true[folds != folds[row]])[0] for row in range(N)])
    change = {"training": true, "nearest": nearest, "folds": FOLDS}
    assert status(honest, "Novelty", **change) == "PASS"
    assert status(honest, "Novelty", **change, predicted=nearest) == "WARN"


def test_without_memory_the_size_of_the_error_stays_and_one_seed_gives_one_answer(honest):
    known = [(np.arange(N), honest["training"])]
    first, again = (memoryless(honest["true"], honest["predicted"], known, 3) for _ in range(2))
    assert first == again and first.p >= 1 / (1 + N_DRAWS)
    exact = memoryless(honest["true"], honest["true"].astype(float), known, 3)
    assert exact.share == 0 and exact.distance == pytest.approx(exact.observed), "no error: nothing to deal"
    assert memoryless(honest["true"], np.ones((N, K)), known, 3) is None
    assert memoryless(honest["true"][:7], honest["predicted"][:7], [(np.arange(7), honest["training"])], 3) is None


@pytest.mark.parametrize(
    "method",
    ["all 6 permutations of stimuli (exact)", "19 permutations of stimuli", "99 refits with permuted stimuli",
     "two-sided t test, 5 degrees of freedom"],
)  # fmt: skip
def test_the_audit_and_the_report_agree_on_what_a_test_can_decide(method):
    assert smallest_p(method) == smallest_possible_p({"p_method": method})


def test_rows_of_stimuli_that_come_in_several_folds_are_not_unseen(honest):
    stimuli = ["face0", "face0", *honest["stimuli"][2:]]
    unseen = Evidence(**{**honest, "folds": FOLDS, "stimuli": stimuli}).unseen
    assert not unseen[:2].any() and unseen[2:].all()


@pytest.mark.parametrize("name", ["run", "onset", "motion"])
def test_a_nuisance_that_leaks_into_the_predictions_is_caught(honest, rng, name):
    nuisance = honest["nuisances"][name]
    scaled = (nuisance - nuisance.mean(axis=0)) / nuisance.std()
    leak = scaled @ rng.normal(size=(nuisance.shape[1], K))
    found = CHECKS["Nuisance"](Evidence(**{**honest, "predicted": honest["predicted"] + 0.3 * leak}))
    assert found["Status"] == "WARN" and f"The decoded latents carry {name}:" in found["Text"]


def test_stimuli_that_differ_between_runs_by_design_are_told_apart_from_a_leak(honest, rng):
    runs = np.eye(2)[np.arange(N) % 2]
    true = honest["true"] + 1.5 * runs @ rng.normal(size=(2, K))
    predicted = 0.7 * true + 0.2 * rng.normal(size=true.shape)
    found = CHECKS["Nuisance"](Evidence(**{**honest, "true": true, "predicted": predicted, "nuisances": {"run": runs}}))
    assert found["Status"] == "NOTE" and "By design" in found["Text"]


def test_in_folds_that_are_runs_the_run_is_not_asked(honest):
    runs = np.eye(4)[np.arange(N) % 4]
    found = CHECKS["Nuisance"](Evidence(**{**honest, "folds": FOLDS, "nuisances": {"run": runs}}))
    assert found["Status"] == "N/A" and "the same in every test row of a fold" in found["Text"]


def test_nuisances_of_noise_are_flagged_as_often_as_p_says():
    rng = np.random.default_rng(4)
    p = []
    for _ in range(200):
        values, target = (centred(rng.normal(size=(14, k)), np.zeros(14)) for k in (6, 1))
        p.append(association(values, target, np.zeros(14), rng, 99)[1])
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.09  # 0.05 and 2.6 standard errors


def test_the_smoother_equals_leaving_rows_out(rng):
    """Closed form against scikit-learn's ridge, refitted without each row."""
    from sklearn.linear_model import Ridge

    values, target = centred(rng.normal(size=(13, 5)), np.zeros(13)), rng.normal(size=13)
    penalty = (values**2).sum() / 13
    smoothed = leave_one_out_smoother(values) @ target
    for row in (0, 7, 12):
        keep = np.arange(13) != row
        # the closed form keeps the centre of all rows, as an intercept that is fitted does not: it is a column here
        design = np.column_stack([values, np.full(13, 1e6)])
        wanted = Ridge(penalty, fit_intercept=False).fit(design[keep], target[keep]).predict(design[row : row + 1])[0]
        assert smoothed[row] == pytest.approx(wanted, rel=1e-6)


def test_shuffled_error_equals_a_loop_over_pairs(honest):
    true, predicted, own = honest["true"], honest["predicted"], np.arange(N) // 3
    pairs = [(i, j) for i in range(N) for j in range(N) if own[i] != own[j]]
    wanted = np.mean([((true[i] - predicted[j]) ** 2).mean() for i, j in pairs])
    assert shuffled_error(true, predicted, own) == pytest.approx(wanted)


def test_nearest_distances_equal_scipy(rng):
    from scipy.spatial.distance import cdist

    one, other = rng.normal(size=(7, 4)) + 1e3, rng.normal(size=(11, 4)) + 1e3
    np.testing.assert_allclose(nearest_distances(one, other), cdist(one, other).min(axis=1), rtol=1e-6)
    own = cdist(other, other) + np.diag(np.full(11, np.inf))
    np.testing.assert_allclose(nearest_distances(other, other, exclude_self=True), own.min(axis=1), rtol=1e-6)


def test_variance_outside_the_span_of_training(rng):
    training = np.zeros((5, 9))
    training[:, :3] = rng.normal(size=(5, 3))
    inside = training.mean(axis=0) + np.eye(9)[:3]
    assert outside_span(inside, training) == pytest.approx(0.0, abs=1e-12)
    assert outside_span(training.mean(axis=0) + np.eye(9)[3:], training) == pytest.approx(1.0)


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
    found = CHECKS["DimensionCollapse"](Evidence(**{**honest, "stimuli": honest["stimuli"][:rows]}))
    assert found["Status"] == "N/A" and why in found["Text"]


def test_accuracy_that_falls_with_novelty_is_told(honest, rng):
    """Stimuli far from training are decoded worse: the slope is negative, and a line fitted by numpy agrees."""
    near = honest["training"][:N] + 0.05 * rng.normal(size=(N, K))
    away = np.linspace(0, 4, N)[:, None]
    true = near + away * rng.normal(size=(N, K)) / 4
    predicted = true + (0.2 + away) * rng.normal(size=(N, K))
    found = CHECKS["Novelty"](Evidence(**{**honest, "true": true, "predicted": predicted}))
    curve = found["Curve"]
    distance = np.sqrt(((true[:, None] - honest["training"]) ** 2).sum(axis=2)).min(axis=1)
    assert curve["Distance"] == pytest.approx(distance.tolist(), rel=1e-4)
    slope = np.polyfit(distance / distance.std(), curve["LatentCorrelation"], 1)[0]
    assert curve["Slope"] == pytest.approx(slope, rel=1e-4)
    assert curve["p"] == 0.001 and "Accuracy falls" in found["Text"]
    assert CHECKS["Novelty"](Evidence(**honest))["Curve"]["p"] > 0.05


def test_sets_of_stimuli_that_never_share_a_run_are_named(honest):
    stimuli = ["square", "plus", "square", "plus", "e", "o", "e", "o", "plus", "X"]
    folds = ["1", "1", "2", "2", "3", "3", "4", "4", "5", "5"]
    rows = {name: honest[name][:10] for name in ("true", "predicted", "training_mean", "nearest")}
    stats = [stat("pairwise_accuracy", 0.9, 0.58, chance=0.5)]
    change = {**rows, "stimuli": [*stimuli, "X"][:10], "folds": folds, "stats": stats}
    evidence = Evidence(**{**honest, **change, "nuisances": {}})
    assert evidence.groups == [["X", "plus", "square"], ["e", "o"]]
    repeated = {name: np.concatenate([values, values[-1:]]) for name, values in rows.items()}
    change |= {**repeated, "stimuli": [*stimuli, "X"], "folds": [*folds, "6"]}
    found = CHECKS["ChanceLevel"](Evidence(**{**honest, **change, "nuisances": {}}))
    assert "2 sets that never share a run" in found["Text"] and "X, plus, square" in found["Text"]
    assert found["Sets"] == [3, 2]


def test_novelty_where_every_training_latent_is_the_test_stimulus(honest):
    same = np.broadcast_to(honest["true"][0], honest["training"].shape)
    rows = {name: honest[name][:1] for name in ("true", "predicted", "training_mean", "nearest", "stimuli")}
    for folds in ([], ["1"]):
        evidence = Evidence(**{**honest, **rows, "training": same, "folds": folds, "nuisances": {}})
        found = CHECKS["Novelty"](evidence)
        assert found["Status"] in ("PASS", "WARN") and "Curve" not in found
