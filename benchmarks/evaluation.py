"""The evaluator against Monte Carlo, scikit-image and the limits of issue 6, in one session, one thread.

    python benchmarks/evaluation.py            print a table; exit 1 where a limit is missed
    python benchmarks/evaluation.py --repeats 9

Each time is the median over repeats of the work alone, after the imports.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402 (after the limits on threads)


@dataclass(frozen=True)
class Measured:
    """One line: what, how long, beside what, and the limit that it has to keep."""

    name: str
    seconds: float
    against: str
    value: str
    limit: str
    kept: bool


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call; the first one, which warms caches, is not counted."""
    work()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def rank_null(rng: np.random.Generator, repeats: int) -> Measured:
    """Exact null against the Monte-Carlo draws that it replaces."""
    from hyper_bids.evaluate.rank_null import rank_sum_pmf

    exact = seconds(lambda: rank_sum_pmf([36] * 36), repeats)
    drawn = seconds(lambda: rng.integers(0, 36, (1_000_000, 36), dtype=np.uint8).sum(axis=1), max(1, repeats // 3))
    ratio = drawn / exact
    return Measured("exact null of 36 ranks", exact, f"10^6 Monte-Carlo draws: {drawn:.3f} s", f"{ratio:.0f} x", "50 x",
                    ratio >= 50)  # fmt: skip


def permutations(rng: np.random.Generator, repeats: int) -> list[Measured]:
    """Label permutation, free and in blocks."""
    from hyper_bids.evaluate.exchangeable import permutation_test

    matrix = rng.random((36, 36))
    found = []
    for name, blocks in (("", None), (" within 3 runs", np.repeat([1, 2, 3], 12))):
        taken = seconds(lambda blocks=blocks: permutation_test(matrix, 100_000, rng, blocks), repeats)
        found.append(Measured(f"100 000 permutations of 36 stimuli{name}", taken, "", f"{taken:.3f} s", "0.1 s",
                              taken < 0.1))  # fmt: skip
    return found


def similarity(rng: np.random.Generator, repeats: int) -> Measured:
    """SSIM of one pair against scikit-image."""
    from skimage.metrics import structural_similarity

    from hyper_bids.evaluate.image import ssim

    x, y = rng.uniform(0, 255, (2, 1, 1024, 1024))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    ours = seconds(lambda: ssim(x, y), repeats)
    theirs = seconds(lambda: structural_similarity(x[0], y[0], **options), repeats)
    difference = abs(float(ssim(x, y)[0]) - structural_similarity(x[0], y[0], **options))
    against = f"scikit-image: {theirs:.3f} s; they differ by {difference:.0e}"
    return Measured("SSIM at 1024 x 1024", ours, against, f"{theirs / ours:.1f} x", "3 x", theirs >= 3 * ours)


def models(rng: np.random.Generator, repeats: int) -> Measured:
    """A study of 1000 participants."""
    import pandas as pd

    from hyper_bids.evaluate.compare_models import compare_models

    people, stimuli, names = 1000, 100, 5
    n = people * stimuli * names
    table = pd.DataFrame(
        {
            "participant_id": np.repeat([f"sub-{i:04d}" for i in range(people)], stimuli * names),
            "stimulus_id": np.tile(np.repeat([f"s{i:03d}" for i in range(stimuli)], names), people),
            "model": np.tile([f"model{i}" for i in range(names)], people * stimuli),
            "value": rng.random(n),
        }
    )
    taken = seconds(lambda: compare_models(table, rng), max(1, repeats // 3))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return Measured("1000 participants x 100 stimuli x 5 models", taken, f"peak memory of this process {peak:.2f} GB",
                    f"{taken:.2f} s", "60 s, 2 GB", taken < 60 and peak < 2)  # fmt: skip


def group(rng: np.random.Generator, repeats: int) -> Measured:
    """groupstats.tsv of 1000 participants: two metrics of 100 stimuli each."""
    import pandas as pd

    from hyper_bids.evaluate.group import group_stats
    from hyper_bids.evaluate.stats import STATS_COLUMNS

    metrics, stats = {}, {}
    for number in range(1000):
        who = f"sub-{number:04d}"
        values = rng.random((100, 2))
        metrics[who] = pd.DataFrame({"stimulus_id": [f"s{i}" for i in range(100)], "latent_correlation": values[:, 0],
                                     "pairwise_accuracy": values[:, 1]})  # fmt: skip
        rows = [
            {"metric": name, "n": 100, "mean": metrics[who][name].mean(), "p_value": rng.random(), "p_method": "none"}
            for name in ("latent_correlation", "pairwise_accuracy")
        ]
        stats[who] = pd.DataFrame(rows, columns=list(STATS_COLUMNS))
    taken = seconds(lambda: group_stats(stats, metrics), max(1, repeats // 3))
    return Measured("groupstats of 1000 participants, 2 metrics", taken, "", f"{taken:.1f} s", "60 s", taken < 60)


def main() -> int:
    """Measure and print; exit 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = [rank_null(rng, options.repeats), *permutations(rng, options.repeats), similarity(rng, options.repeats),
            models(rng, options.repeats), group(rng, options.repeats)]  # fmt: skip
    print("| what | time | against | measured | limit |\n|---|---|---|---|---|")
    for row in rows:
        missed = "" if row.kept else " **missed**"
        print(f"| {row.name} | {1000 * row.seconds:.2f} ms | {row.against} | {row.value}{missed} | {row.limit} |")
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
