"""Decoders against other libraries, and against the same formulas solved the long way.

    python benchmarks/decoders.py                                   full size, about 8 minutes
    python benchmarks/decoders.py --voxels 1024 --latents 128 --brain 20000 --slow-brain 4000
    python benchmarks/decoders.py --only ridge map                  some of ridge, map, inversion

Every measurement is a child process of its own with one thread (``--threads``) on seeded data; seconds are
inside the child, for fitting and predicting, after imports, data and the same on a few trials. With one
thread they are CPU seconds, which other jobs on the machine change little; else wall seconds. Peak memory
is the child's, with libraries and data. Tasks take turns, the tables have medians. All ridges standardise
voxels and centre latents. The Adam layer is timed for some epochs of its 1500 and the rest is extrapolated.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ALPHAS = np.logspace(-2, 7, 20)
N_TEST, EPOCHS, TIMED_EPOCHS, BATCH = 36, 1500, 3, 30
OWN_CHOICE = ("himalaya-cv", "himalaya-kernel-cv")
"""Peers that choose other penalties than leave-one-out does: 5 folds, mean R2."""
MAP_SIZES = ((699, 4096), (4096, 699))


def simulated(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses that hold the latents in noise, float32: X (n, q), Z (n, K), X_test (36, q)."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(options.trials + N_TEST, options.latents))
    X = Z @ rng.normal(size=(options.latents, options.voxels)) / np.sqrt(options.latents)
    X = (X + 3 * rng.normal(size=X.shape)).astype(np.float32)
    return X[:-N_TEST], Z[:-N_TEST].astype(np.float32), X[-N_TEST:]


def clock() -> float:
    """CPU seconds of a single thread, else wall seconds."""
    return time.process_time() if os.environ[THREADS[0]] == "1" else time.perf_counter()


def timed(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return seconds and the result."""
    start = clock()
    found = work()
    return clock() - start, found


# --- ridge ----------------------------------------------------------------------------------------


def ridge(task: str, options: argparse.Namespace) -> tuple[float, np.ndarray]:
    """Fit one of the ridges and predict 36 test trials."""
    X, Z, X_test = simulated(options)
    if task == "adam":
        return adam(X, Z)
    if task in ("ours", "ours-one"):
        from hyper_bids.decode.ridge import Ridge

        decoder = Ridge(alphas=tuple(ALPHAS) if task == "ours" else (ALPHAS[12],))
        decoder.fit(X[:50], Z[:50])
        return timed(lambda: decoder.fit(X, Z).predict(X_test))
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, Z, X_test = X.astype(float), Z.astype(float), X_test.astype(float)
    mean = Z.mean(axis=0)
    model = make_pipeline(StandardScaler(), peer(task, X, Z))
    model.fit(X[:50], Z[:50])
    return timed(lambda: model.fit(X, Z - mean).predict(X_test) + mean)


def peer(task: str, X: np.ndarray, Z: np.ndarray) -> object:
    """Return another library's estimator."""
    if task == "sklearn-cv":
        from sklearn.linear_model import RidgeCV

        return RidgeCV(ALPHAS, alpha_per_target=True)
    if task == "sklearn-one":
        from sklearn.linear_model import Ridge

        return Ridge(ALPHAS[12])
    from himalaya.kernel_ridge import KernelRidge, KernelRidgeCV
    from himalaya.ridge import RidgeCV as HimalayaCV

    if task == "himalaya-kernel-cv":
        return KernelRidgeCV(alphas=ALPHAS, kernel="linear", cv=5)
    if task == "himalaya-cv":
        return HimalayaCV(alphas=ALPHAS, cv=5, solver_params={"warn": False})
    from hyper_bids.decode.ridge import Ridge as Ours

    alpha = Ours(alphas=tuple(ALPHAS)).fit(X, Z).alpha_
    return KernelRidge(alpha=alpha, kernel="linear", solver="eigenvalues")  # "auto" is iterative, exact to 1e-5 only


def adam(X: np.ndarray, Z: np.ndarray) -> tuple[float, np.ndarray]:
    """A dense layer as in METHODS.md section 4: some epochs after a warm one, times 1500."""
    import torch

    torch.manual_seed(0)
    X, Z = torch.from_numpy(X), torch.from_numpy(Z)
    layer = torch.nn.Linear(X.shape[1], Z.shape[1])
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-5, weight_decay=0.01)
    seconds = []
    for _ in range(1 + TIMED_EPOCHS):
        start = clock()
        for rows in torch.randperm(len(X)).split(BATCH):
            optimizer.zero_grad()
            (0.5 * (layer(X[rows]) - Z[rows]).square().mean()).backward()
            optimizer.step()
        seconds.append(clock() - start)
    return statistics.median(seconds[1:]) * EPOCHS, np.zeros(0)


# --- map ------------------------------------------------------------------------------------------


def map_systems(task: str, options: argparse.Namespace) -> tuple[float, np.ndarray]:
    """From loadings ``B S^-1/2`` (K, q) and 48 whitened responses to latents, by one of the two systems.

    ``textbook`` is ``(B S^-1 B' + I)^-1 B S^-1 y`` with an explicit inverse.
    """
    from scipy.linalg import cho_factor

    from hyper_bids.decode.map import solve_rows
    from hyper_bids.decode.products import gram, project

    system, n_latents, n_voxels = task.split("-")
    rng = np.random.default_rng(1)
    A = rng.normal(size=(int(n_latents), int(n_voxels))) / np.sqrt(int(n_latents))
    x = rng.normal(size=(48, A.shape[0])) @ A + rng.normal(size=(48, A.shape[1]))

    def latents() -> np.ndarray:
        return solve_rows(cho_factor(gram(A) + np.eye(len(A)), lower=True)[0], project(A, x))

    def voxels() -> np.ndarray:
        return project(A, solve_rows(cho_factor(gram(A.T) + np.eye(A.shape[1]), lower=True)[0], x))

    if system == "textbook":
        return timed(lambda: (np.linalg.inv(A @ A.T + np.eye(len(A))) @ A @ x.T).T)
    return timed(latents if system == "latents" else voxels)


# --- inversion ------------------------------------------------------------------------------------


def inversion(task: str, options: argparse.Namespace) -> tuple[float, np.ndarray]:
    """From W (1025, n_voxels) float32 to the latents of 20 responses."""
    method, n_voxels = task.split("-")
    rng = np.random.default_rng(2)
    W = rng.standard_normal((options.rows, int(n_voxels)), dtype=np.float32)
    y = rng.normal(size=(20, len(W))) @ W + 3 * rng.normal(size=(20, W.shape[1]))
    mu = rng.uniform(-0.5, 0.5, len(W) - 1)
    if method == "ours":
        from hyper_bids.decode.inversion import Inversion

        Inversion.from_weights(W[-5:, :50], mu[:4]).predict(y[:, :50])
        return timed(lambda: Inversion.from_weights(W, mu).predict(y))
    if method == "pinv":
        seconds, found = timed(lambda: y @ np.linalg.pinv(W.astype(float)))
    else:
        seconds, found = timed(lambda: np.linalg.lstsq(W.T.astype(float), y.T, rcond=None)[0].T)
    return seconds, found[:, :-1] + found[:, -1:] * mu


# --- measuring ------------------------------------------------------------------------------------


WORK = {"ridge": ridge, "map": map_systems, "inversion": inversion}


def tasks_of(options: argparse.Namespace) -> dict[str, list[str]]:
    """Name the tasks of each table; the first row is ours, to which the others are compared."""
    sizes = [f"{k}-{q}" for k, q in MAP_SIZES]
    return {
        "ridge": ["ours", "sklearn-cv", "adam", "himalaya-cv", "himalaya-kernel-cv", "himalaya-same-alphas",
                  "ours-one", "sklearn-one"],
        "map": [f"{system}-{size}" for size in sizes for system in ("latents", "voxels", "textbook")],
        "inversion": [f"ours-{options.brain}",
                      *(f"{method}-{options.slow_brain}" for method in ("ours", "lstsq", "pinv"))],
    }  # fmt: skip


def measure(name: str, task: str, folder: Path, threads: int) -> dict[str, float]:
    """Run a task in a child and return its figures."""
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    command = [sys.executable, __file__, *sys.argv[1:], "--child", f"{name}:{task}", "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def difference(folder: Path, name: str, one: str, two: str) -> str:
    """Largest difference of two tasks' predictions."""
    a, b = (np.load(folder / f"{name}-{task}.npy") for task in (one, two))
    return f"{np.abs(a - b).max():.1e}" if a.shape == b.shape else ""


def reference(name: str, task: str) -> str:
    """Name the task that a row is compared to."""
    if name == "ridge":
        return "ours-one" if task.endswith("-one") else "ours"
    if name == "map":
        _, n_latents, n_voxels = task.split("-")
        smaller = "latents" if int(n_latents) <= int(n_voxels) else "voxels"
        return f"{smaller}-{n_latents}-{n_voxels}"
    return f"ours-{task.split('-')[1]}"


def table(name: str, found: dict[str, list[dict[str, float]]], folder: Path) -> None:
    """Print medians, ratios to our row, memory and differences of predictions."""
    print(f"\n| {name} | s | x ours | peak MB | max difference |\n|---|---|---|---|---|")
    medians = {task: statistics.median(result["seconds"] for result in results) for task, results in found.items()}
    for task, results in found.items():
        ours = reference(name, task)
        differs = "" if task in (ours, *OWN_CHOICE) else difference(folder, name, ours, task)
        peak = max(result["mb"] for result in results)
        print(f"| {task} | {medians[task]:.3g} | {medians[task] / medians[ours]:.3g} | {peak:.0f} | {differs} |")


def main() -> None:
    """Measure every task in turn, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1050)
    parser.add_argument("--voxels", type=int, default=4096)
    parser.add_argument("--latents", type=int, default=512)
    parser.add_argument("--brain", type=int, default=100_000, help="voxels of inversion")
    parser.add_argument("--slow-brain", type=int, default=20_000, help="voxels of inversion where lstsq and pinv join")
    parser.add_argument("--rows", type=int, default=1025, help="rows of W: latents and the bias")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, task = options.child.split(":")
        seconds, predicted = WORK[name](task, options)
        np.save(options.folder / f"{name}-{task}.npy", predicted)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "mb": peak}))
        return
    print(f"{options.trials} trials x {options.voxels} voxels -> {options.latents} latents, {len(ALPHAS)} penalties; "
          f"{options.threads} thread(s), medians of {options.repeats}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            found: dict[str, list[dict[str, float]]] = {}
            for _ in range(options.repeats):
                for task in tasks_of(options)[name]:
                    found.setdefault(task, []).append(measure(name, task, Path(folder), options.threads))
            table(name, found, Path(folder))


if __name__ == "__main__":
    main()
