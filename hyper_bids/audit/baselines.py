"""What would do as well without the brain, or with the wrong brain data?"""

from __future__ import annotations

import re

import numpy as np

from hyper_bids.audit.evidence import Evidence
from hyper_bids.audit.light import Light, light, not_assessed
from hyper_bids.errors import listing

SHUFFLED = ("latent_correlation", "pairwise_accuracy", "ssim")
"""Metrics whose value with shuffled responses is told."""

BARELY = 1.645
"""Standard deviations of the null that a score has to lie above its mean."""

ALPHA = 0.05
"""p that a test must be able to fall below, or it decides nothing."""

NOT_THEORY = 0.02
"""Difference of the permutations' mean from theory's chance level that is explained."""


def squared_error(true: np.ndarray, guess: np.ndarray) -> float:
    """Mean over rows and latents of the squared difference."""
    return float(((np.asarray(true, dtype=np.float64) - guess) ** 2).mean())


def shuffled_error(true: np.ndarray, predicted: np.ndarray, stimuli: np.ndarray) -> float:
    """Mean squared error of predictions dealt to the rows of other stimuli: the mean over all such pairs of rows."""
    total, n_pairs = _over_pairs(true, predicted)
    for label in np.unique(stimuli):
        own, n_own = _over_pairs(true[stimuli == label], predicted[stimuli == label])
        total, n_pairs = total - own, n_pairs - n_own
    return total / n_pairs / true.shape[1] if n_pairs else float("nan")


def _over_pairs(true: np.ndarray, predicted: np.ndarray) -> tuple[float, int]:
    """Sum of squared distances over all pairs of a true and a predicted row, and how many there are."""
    true, predicted, n = np.asarray(true, np.float64), np.asarray(predicted, np.float64), len(true)
    lengths = float((true**2).sum() + (predicted**2).sum())
    return n * lengths - 2 * float(true.sum(axis=0) @ predicted.sum(axis=0)), n * n


def prior_error(true: np.ndarray, training: np.ndarray, normal: bool) -> float:
    """Expected mean squared error of random latents: standard normal, or training latents drawn at random."""
    if normal:
        return squared_error(true, np.zeros(1)) + 1.0
    training = np.asarray(training, np.float64)
    return squared_error(true, training.mean(axis=0)) + float(training.var(axis=0).mean())


def mean_row_correlation(true: np.ndarray, guess: np.ndarray) -> float:
    """Mean over rows of Pearson r over latents; rows in which either is constant are left out, NaN where all are."""
    x = np.asarray(true, np.float64) - np.mean(true, axis=1, keepdims=True)
    y = np.asarray(guess, np.float64) - np.mean(guess, axis=1, keepdims=True)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    known = lengths > 1e-12
    return float(((x * y).sum(axis=1)[known] / lengths[known]).mean()) if known.any() else float("nan")


def baselines(evidence: Evidence) -> Light:
    """Hold the decoder against guesses without brain data, shuffled responses, and retrieval."""
    true, predicted = evidence.true, np.asarray(evidence.predicted, np.float64)
    stimuli = np.asarray(evidence.stimuli, dtype=str)
    errors = {
        "Decoder": squared_error(true, predicted),
        "Zero": squared_error(true, np.zeros(1)),
        "TrainingMean": squared_error(true, evidence.training_mean),
        "NearestTrainingStimulus": squared_error(true, evidence.nearest),
        "ShuffledResponses": shuffled_error(true, predicted, stimuli),
        "RandomLatents": prior_error(true, evidence.training, evidence.normal_prior),
    }
    correlations = {
        "Decoder": mean_row_correlation(true, predicted),
        "TrainingMean": mean_row_correlation(true, evidence.training_mean),
        "NearestTrainingStimulus": mean_row_correlation(true, evidence.nearest),
    }
    own = errors["Decoder"]
    prior = "the prior" if evidence.normal_prior else "the training set"
    dealt = errors["ShuffledResponses"]
    exchanged = f"the predictions dealt to other stimuli {dealt:.4g}, " if np.isfinite(dealt) else ""
    text = (
        f"mean squared error {own:.4g}; predicting the training mean gives {errors['TrainingMean']:.4g}, zeros "
        f"{errors['Zero']:.4g}, a random latent of {prior} {errors['RandomLatents']:.4g}, {exchanged}"
        f"the training stimulus nearest to the prediction "
        f"{errors['NearestTrainingStimulus']:.4g}."
    )
    beaten = own < min(errors["Zero"], errors["TrainingMean"], errors["RandomLatents"])
    if not beaten:
        text += " The decoder's distances to the truth are no smaller than those of a guess without brain data."
    elif own >= errors["NearestTrainingStimulus"] and evidence.unseen.any():
        text += " Showing the nearest training stimulus would do as well: this may be retrieval."
    status = "PASS" if beaten else "WARN"
    return light(status, text, MeanSquaredError=errors, LatentCorrelation=correlations)


def _tested(evidence: Evidence, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    found = {}
    for name in names:
        row = evidence.statistics.get(name, {})
        values = {key: float(row.get(key, np.nan)) for key in ("mean", "null_mean", "null_sd", "chance")}
        if np.isfinite(values["mean"]) and np.isfinite(values["null_mean"]):
            found[name] = values
    return found


def shuffled_responses(evidence: Evidence) -> Light:
    """Hold the scores against those with permuted stimuli (cross-validated: of decoders refitted to them)."""
    found = _tested(evidence, SHUFFLED)
    if not found:
        return not_assessed("no metric was tested with permuted stimuli")
    weak = [name for name, row in found.items() if row["mean"] <= row["null_mean"] + BARELY * _spread(row["null_sd"])]
    method = str(evidence.statistics[next(iter(found))].get("p_method"))
    said = [
        f"{name.replace('_', ' ')} {row['mean']:.2f}, shuffled {row['null_mean']:.2f}" for name, row in found.items()
    ]
    text = f"{'; '.join(said)} ({method})."
    figures = {name: {"Score": row["mean"], "Shuffled": row["null_mean"]} for name, row in found.items()}
    floor = smallest_p(method)
    if floor >= ALPHA:
        decides = (
            f"So few cannot tell a decoder from chance, in either direction: the smallest p that they can give is "
            f"{floor:.2g}. More test stimuli"
        )
        more = "" if method.startswith("all ") else ", or more permutations (--n-permutations),"
        return light("NOTE", f"{text} {decides}{more} are needed.", SmallestP=floor, **figures)
    if len(weak) == len(found):
        return light("WARN", f"{text} The decoder does no better than with the wrong brain data: at chance.", **figures)
    return light("PASS", text, **figures)


def smallest_p(method: str) -> float:
    """Smallest p of a permutation test, from its name in stats.tsv; 0 for any other test.

    1 / (N + 1) for N random permutations or refits, 1 / N for all N (Phipson & Smyth 2010).

    >>> smallest_p("all 2 permutations of stimuli (exact)"), smallest_p("99 refits with permuted stimuli")
    (0.5, 0.01)
    """
    found = re.match(r"(all )?(\d+) (?:permutations|refits)\b", method)
    if not found:
        return 0.0
    return 1 / (int(found[2]) + (not found[1]))


def _spread(value: float) -> float:
    return value if np.isfinite(value) else 0.0


def chance_level(evidence: Evidence) -> Light:
    """Say why chance is not what theory has it, where the permutations disagree."""
    found = _tested(evidence, ("pairwise_accuracy",))
    if not found:
        return not_assessed("identification was not tested with permuted stimuli")
    null = found["pairwise_accuracy"]["null_mean"]
    figures = {"PairwiseAccuracyPermuted": null, "Theory": 0.5}
    said = f"with permuted stimuli pairwise identification is {null:.2f}"
    if abs(null - 0.5) < NOT_THEORY:
        return light("PASS", f"{said}, as theory has it.", **figures)
    text = f"{said}, not 0.50: "
    groups = evidence.groups if evidence.cross_validated and not evidence.unseen.any() else []
    if null > 0.5 and len(groups) > 1:
        sets = "; ".join(listing(group, 6) for group in groups[:4])
        text += (
            f"the stimuli fall into {len(groups)} sets that never share a run or session ({sets}). Stimuli are "
            "exchanged within runs, where nothing but the label distinguishes them, so that a decoder which only tells "
            "the sets apart beats the candidates of the other sets, and is at chance among its own. "
        )
        figures["Sets"] = [len(group) for group in groups]
    elif null > 0.5:
        text += (
            "stimuli that are shown together in a run, or that differ in kind or number, share structure, and a "
            "decoder without information about the single stimulus still tells some of them apart. "
        )
    else:
        text += (
            "a stimulus that is left out of training is predicted towards the mean of the others, which lies away "
            "from it. "
        )
    text += "p is counted from the permutations, and a score has to be read against them."
    return light("NOTE", text, **figures)


def image_ceiling(evidence: Evidence) -> Light:
    """Hold pictures of the decoded latents against those of the true ones, of a zero latent and of random ones."""
    rows = {
        name: evidence.statistics[name]
        for name in ("pixel_correlation", "ssim")
        if name in evidence.statistics and np.isfinite(float(evidence.statistics[name].get("ceiling", np.nan)))
    }
    if not rows:
        return not_assessed("there are no pictures of the true latents to compare with the stimuli")
    said, figures, useless, above, beaten = [], {}, [], [], []
    for name, row in rows.items():
        own, ceiling = float(row["mean"]), float(row["ceiling"])
        zero, random = (
            float(evidence.statistics.get(f"{name}_{kind}", {}).get("mean", np.nan)) for kind in ("zero", "random")
        )
        figures[name] = {"Decoder": own, "Ceiling": ceiling, "Zero": zero, "Random": random}
        words = name.replace("_", " ")
        guesses = [f"{kind} {value:.2f}" for kind, value in (("zero", zero), ("random", random)) if np.isfinite(value)]
        without = f" (without brain data: {', '.join(guesses)})" if guesses else ""
        said.append(f"{words} {own:.2f}{without} of at most {ceiling:.2f} from the true latents")
        beaten += [words] * bool(own <= np.nanmax([zero, random, -np.inf]))
        useless += [words] * bool(np.isfinite(zero) and ceiling <= zero)
        above += [words] * bool(own > ceiling + 0.01)
    text = "; ".join(said) + "."
    if useless:
        text += f" By {' and '.join(useless)} the generator draws the true latents no better than a zero latent."
    if above:
        text += f" By {' and '.join(above)} decoded latents beat the true ones: the metric rewards something else."
    if beaten:
        text += f" By {' and '.join(beaten)} a picture that the generator makes without brain data does as well."
    status = "WARN" if useless or above or len(beaten) == len(rows) else "NOTE" if beaten else "PASS"
    return light(status, text, **figures)
