"""Size, coverage and power of every statistic that hyper ships, on simulated data: the tables of docs/statistics.md.

    python benchmarks/calibration.py                           print the tables, 2000 datasets each (about ten minutes)
    python benchmarks/calibration.py --write docs/statistics.md    put them into the page
    python benchmarks/calibration.py --datasets 200 --jobs 1   a quick look

It fails (exit 1) where a shipped test exceeds 6.5 % false positives at 5 %, where one of a continuous statistic
lies below 3.5 %, or where an interval covers less than 93 % or, of a continuous statistic, more than 97 %. Every
dataset has a seed of its own, so that the numbers do not depend on the number of processes.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from calibration_data import Row
from calibration_intervals import COVERAGE, Interval
from calibration_tests import POWER, SIZE

from hyper_bids.seeds import generator

ALPHA = 0.05
BEGIN, END = "<!-- calibration: begin -->", "<!-- calibration: end -->"


def simulate(job: tuple[str, str, int, int]) -> list[dict]:
    """Run datasets first .. last of one scenario."""
    table, name, first, last = job
    function, arguments = {"size": SIZE, "coverage": COVERAGE, "power": POWER}[table][name]
    return [function(generator(6, "calibration", name, number), *arguments) for number in range(first, last)]


def collect(table: str, names: list[str], n_datasets: int, jobs: int) -> dict[str, dict[Row, list]]:
    """All datasets of all scenarios: scenario -> row -> values in order."""
    step = max(1, n_datasets // 8)
    work = [(table, name, i, min(i + step, n_datasets)) for name in names for i in range(0, n_datasets, step)]
    found: dict[str, dict[Row, list]] = {name: defaultdict(list) for name in names}
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        for (_, name, *_), results in zip(work, pool.map(simulate, work), strict=True):
            for result in results:
                for row, value in result.items():
                    found[name][row].append(value)
    return found


def rejected(p_values: list[float]) -> float:
    """Share of p at most 5 %; a p that could not be had rejects nothing."""
    return float(np.mean(np.asarray(p_values, dtype=float) <= ALPHA + 1e-12))


def covered(intervals: list[Interval]) -> float:
    """Share of intervals that hold the truth."""
    truth = np.mean([i.estimate for i in intervals]) if intervals[0].truth is None else intervals[0].truth
    return float(np.mean([i.low - 1e-12 <= truth <= i.high + 1e-12 for i in intervals]))


JUDGED = {"continuous": "", "discrete": "discrete", "conservative": "conservative", "peer": "**not shipped as a test**"}


def size_table(found: dict[str, dict[Row, list]]) -> tuple[list[str], list[str]]:
    """Lines of the table of false positives, and what is out of bounds."""
    lines = ["| test | data without effect | p <= 0.05 | |", "|---|---|---|---|"]
    wrong = []
    for rows in found.values():
        for row, values in rows.items():
            share = rejected(values)
            lines.append(f"| {row.name} | {row.data} | {100 * share:.1f} % | {JUDGED[row.kind]} |")
            too_few = row.kind == "continuous" and share < 0.035
            if row.kind != "peer" and (share > 0.065 or too_few):
                wrong.append(f"{row.name}, {row.data}: {100 * share:.1f} % false positives")
    return lines, wrong


def coverage_table(found: dict[str, dict[Row, list]]) -> tuple[list[str], list[str]]:
    """Lines of the table of coverage, and what is out of bounds."""
    lines = ["| interval of | data | covers | |", "|---|---|---|---|"]
    wrong = []
    for rows in found.values():
        for row, values in rows.items():
            share = covered(values)
            note = "**not used**" if row.kind == "peer" else JUDGED[row.kind]
            lines.append(f"| {row.name} | {row.data} | {100 * share:.1f} % | {note} |")
            too_much = row.kind == "continuous" and share > 0.97
            if row.kind != "peer" and (share < 0.93 or too_much):
                wrong.append(f"{row.name}, {row.data}: covers {100 * share:.1f} %")
    return lines, wrong


def power_table(found: dict[str, dict[Row, list]], null: dict[str, dict[Row, list]]) -> list[str]:
    """Power, beside the size of the same test on the same data without an effect."""
    effects = (0.02, 0.04, 0.08)
    heads = " | ".join(f"effect {effect:g}" for effect in effects)
    lines = [f"| test, n = 36 | predictions | size | {heads} |", "|---|---|---|" + "---|" * len(effects)]
    for collapsed in (False, True):
        for row in found[f"power {effects[0]} {collapsed}"]:
            size = rejected(null[f"identification 36 {collapsed}"][row])
            values = " | ".join(f"{100 * rejected(found[f'power {e} {collapsed}'][row]):.0f} %" for e in effects)
            shared = "collapsed" if collapsed else "independent"
            note = " (invalid: its size)" if row.kind == "peer" else ""
            lines.append(f"| {row.name}{note} | {shared} | {100 * size:.1f} % | {values} |")
    return lines


def replace(page: Path, text: str) -> None:
    """Put the tables between the page's two markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page} lacks the lines {BEGIN} and {END}.")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Make the tables; exit 1 where something is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    options = parser.parse_args()
    began = time.perf_counter()
    null = collect("size", list(SIZE), options.datasets, options.jobs)
    sizes, wrong = size_table(null)
    coverages, wrong_too = coverage_table(collect("coverage", list(COVERAGE), options.datasets, options.jobs))
    powers = power_table(collect("power", list(POWER), options.datasets, options.jobs), null)
    error = 100 * np.sqrt(0.05 * 0.95 / options.datasets)
    note = f"{options.datasets} datasets for every line; standard error of a 5 % share: {error:.1f} %."
    parts = ["### False positives at 5 %", note, "\n".join(sizes), "### Intervals at 95 %", "\n".join(coverages),
             "### Power", "\n".join(powers)]  # fmt: skip
    text = "\n\n".join(parts)
    if options.write:
        replace(options.write, text)
    else:
        print(text)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    for line in wrong + wrong_too:
        print(f"OUT OF BOUNDS: {line}", file=sys.stderr)
    return 1 if wrong or wrong_too else 0


if __name__ == "__main__":
    raise SystemExit(main())
