"""Options of ``hyper-tools simulate``. Standard library only: the command line is made from them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from hyper_bids.errors import UsageError
from hyper_bids.settings import option


@dataclass(frozen=True)
class SimulateSettings:
    """What is simulated; every field changes the dataset."""

    design: str = option(
        "hyper",
        "timing and order of trials: hyper (test runs, then training runs; 1.5 s on, 3 s off, back to back), "
        "dand (1.4 s on, 2.8 s off, training faces twice) or vaegan (1 s on, 2 s off, all runs mixed, "
        "with one-backs and fixation trials)",
        choices=("hyper", "vaegan", "dand"),
    )
    participants: int = option(2, "number of participants, all shown the same stimuli", kind="int", metavar="N")
    train_runs: int = option(6, "runs with training stimuli", kind="int", metavar="N")
    test_runs: int = option(
        3, "runs with test stimuli (vaegan: added to --train-runs, all runs are mixed)", kind="int", metavar="N"
    )
    n_train_faces: int = option(360, "number of training stimuli", kind="int", metavar="N")
    n_test_faces: int = option(20, "number of test stimuli", kind="int", metavar="N")
    repeats: int = option(9, "times that each test stimulus is shown", kind="int", metavar="N")
    train_repeats: int | None = option(
        None, "times that each training stimulus is shown (default: hyper 1, vaegan 1, dand 2)", kind="int", metavar="N"
    )
    null_events: float | None = option(
        None,
        "share of all trials that show fixation only, 0 to below 1 (default: hyper 0, dand 0, vaegan 0.24)",
        kind="float",
        metavar="SHARE",
    )
    one_backs: float | None = option(
        None,
        "share of stimulus trials that are followed by an immediate repeat, 0 to 1 "
        "(default: hyper 0, dand 0, vaegan 0.1)",
        kind="float",
        metavar="SHARE",
    )
    onset_jitter: float = option(
        0.1, "onsets are shifted by up to this many seconds, uniformly, off the grid", kind="float", metavar="SECONDS"
    )
    tr: float | None = option(
        None,
        "repetition time in seconds (default: hyper 1.5, vaegan 2, dand 1.4)",
        kind="float",
        metavar="SECONDS",
    )
    image_shape: str = option("20x22x16", "voxels of a volume, XxYxZ, 3 mm each", metavar="XxYxZ")
    n_voxels: int = option(2000, "voxels of the brain mask", kind="int", metavar="N")
    tuned_share: float = option(
        0.6, "share of the brain's voxels that encode the latents", kind="float", metavar="SHARE"
    )
    generator: str = option(
        "portrait",
        "what makes the pictures: portrait, identity (latents are pixels), none (no pictures), pggan, vaegan, "
        "stylegan2, dand or onnx with --weights, a weight file, or your own package.module:Class",
    )
    n_latents: int | None = option(
        None,
        "number of latents (default: the generator's; for identity and none 64; identity needs a square number)",
        kind="int",
        metavar="N",
    )
    latent_space: str | None = option(
        None, "label of the latent space, letters and digits (default: the generator's; pixels; simZ)"
    )
    snr: float = option(
        1.5,
        "contrast to noise of a tuned voxel: sd over stimuli of its response's peak to one trial, "
        "over the noise sd in one volume",
        kind="float",
    )
    hrf_jitter: float = option(0.2, "sd over voxels of the haemodynamic delay", kind="float", metavar="SECONDS")
    autocorrelation: float = option(0.3, "AR(1) coefficient of the noise between volumes", kind="float")
    drift: float = option(1.0, "sd over time of the slow drift, in % of the mean", kind="float", metavar="PERCENT")
    motion: float = option(
        0.02,
        "sd of the head's step between volumes in mm (rotations: over a radius of 50 mm)",
        kind="float",
        metavar="MM",
    )
    with_derivatives: bool = option(
        True, "write derivatives/fmriprep in fMRIPrep's layout (BOLD, brain mask, confounds)", kind="flag"
    )
    random_seed: int = option(0, "root of every random number", kind="int", metavar="N")


def parse_shape(text: str) -> tuple[int, int, int]:
    """Return the numbers of ``20x20x14``.

    >>> parse_shape("20x20x14")
    (20, 20, 14)

    Raises
    ------
    UsageError
        Not three whole numbers of at least 2.
    """
    words = text.lower().split("x")
    if len(words) != 3 or not all(word.isdigit() and int(word) >= 2 for word in words):
        raise UsageError(f"--image-shape: {text!r} is not three whole numbers of at least 2, as in 20x20x14.")
    return int(words[0]), int(words[1]), int(words[2])


def check(settings: SimulateSettings) -> None:
    """Refuse values that cannot be simulated, naming the option and what is needed.

    Raises
    ------
    UsageError
        A number out of range, or numbers that contradict each other.
    """
    _check_ranges(settings)
    _check_counts(settings)
    label = settings.latent_space
    if label is not None and not re.fullmatch(r"[0-9A-Za-z+]+", label):
        raise UsageError(f"--latent-space: {label!r} is not letters, digits and '+' (it becomes part of file names).")
    n_latents = 64 if settings.n_latents is None else settings.n_latents
    if settings.generator == "identity" and math.isqrt(n_latents) ** 2 != n_latents:
        raise UsageError(
            f"--n-latents: identity draws square pictures, and {n_latents} is no square number; "
            f"take {math.isqrt(n_latents) ** 2} or {(math.isqrt(n_latents) + 1) ** 2}."
        )


def _check_ranges(settings: SimulateSettings) -> None:
    for name, least in (
        ("participants", 1), ("train_runs", 1), ("test_runs", 1), ("n_train_faces", 2), ("n_test_faces", 1),
        ("repeats", 1), ("train_repeats", 1), ("n_voxels", 1), ("n_latents", 1), ("random_seed", 0),
    ):  # fmt: skip
        value = getattr(settings, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}, got {value}.")
    for name, below in (("null_events", True), ("one_backs", False), ("tuned_share", False), ("autocorrelation", True)):
        value = getattr(settings, name)
        if value is not None and not (0 <= value < 1 or (value == 1 and not below)):
            end = "below 1" if below else "1"
            raise UsageError(f"--{name.replace('_', '-')} must be from 0 to {end}, got {value}.")
    for name, strict in (("snr", True), ("tr", True), ("hrf_jitter", False), ("drift", False), ("motion", False)):
        value = getattr(settings, name)
        if value is not None and (not 0 <= value < float("inf") or (strict and value == 0)):
            raise UsageError(f"--{name.replace('_', '-')} must be {'above' if strict else 'at least'} 0, got {value}.")
    if not 0 <= settings.onset_jitter <= 0.5:
        raise UsageError(f"--onset-jitter must be from 0 to 0.5 s, got {settings.onset_jitter}: trials would overlap.")


def _check_counts(settings: SimulateSettings) -> None:
    n_grid = math.prod(parse_shape(settings.image_shape))
    if settings.n_voxels > n_grid:
        raise UsageError(
            f"--n-voxels: a volume of {settings.image_shape} has {n_grid} voxels, fewer than {settings.n_voxels}; "
            f"ask for fewer voxels or a larger --image-shape."
        )
    train_trials = settings.n_train_faces * (settings.train_repeats or 1)
    if train_trials < settings.train_runs:
        raise UsageError(f"--train-runs: {train_trials} training trials cannot fill {settings.train_runs} runs.")
    if settings.n_test_faces * settings.repeats < settings.test_runs:
        raise UsageError(
            f"--test-runs: {settings.n_test_faces} test stimuli x {settings.repeats} repeats "
            f"cannot fill {settings.test_runs} runs."
        )
