"""Memory that the steps need, predicted from sizes before any work, and limits that cannot be met."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hyper_bids.errors import UsageError
from hyper_bids.inputs.task import TaskInput
from hyper_bids.inputs.volumes import BLOCK, read_header, read_mask
from hyper_bids.settings import Settings, parse_cross_validation

BASE_GB = 0.3
"""Resident memory of a worker with the libraries loaded."""

LEAST_GB = 0.35
"""What a run's fit needs besides its sums: the libraries, a volume, temporary arrays."""

BRAIN_SHARE = 0.4
"""Share of a volume that a brain mask covers at most, for predictions of memory."""


FEATURE_COPIES = 4
"""A weight file's numbers are in memory so often while a feature network is made."""


def features_memory(files: Sequence[str]) -> float:
    """Predicted memory (GB) of making and running one after the other of some feature networks, by their files."""
    return max((FEATURE_COPIES * Path(file).stat().st_size / 2**30 + 0.2 for file in files), default=0.0)


DRAWING_BYTES = 400
"""Bytes per pixel that a network needs while it draws one image (1024 pixels: 0.35 GB measured), with a margin."""

FURTHER_PICTURES = 140
"""Pictures beside those of the test stimuli: of random latents, of zeros, of interpolations."""


def picture_memory(n_tested: int, pixels: int) -> float:
    """Predicted memory (GB) of drawing reconstructions, ceiling and baselines, and of holding them for the scores."""
    held = 3 * (4 * n_tested + FURTHER_PICTURES)
    return 1.2 + pixels**2 * (held + DRAWING_BYTES) / 2**30


def _voxel_bound(task: TaskInput) -> int:
    """Voxels of the first run's mask, or as many as a brain may have."""
    if task.first.mask is not None:
        return int(read_mask(task.first.mask)[0].sum())
    return int(np.prod(read_header(task.reference).shape[:3]) * BRAIN_SHARE)


def _responses_gb(task: TaskInput) -> float:
    n_trials = int((task.trials["role"] == "sample").sum())
    return n_trials * _voxel_bound(task) * 4 / 2**30


def fit_memory(task: TaskInput, index: int, settings: Settings) -> float:
    """Predicted resident memory (GB) of one run's fit: the sums, and a block of volumes."""
    here = task.trials["recording"] == index
    n_trials = int((here & (task.trials["role"] == "sample")).sum())
    rank = min(task.recordings[index].n_volumes, n_trials + 30)
    sums = 8 * rank * (2 if settings.glm.noise_model == "ar1" else 1)
    return LEAST_GB + _voxel_bound(task) * (sums + 4 * BLOCK + 64) / 2**30


def n_passes(task: TaskInput, index: int, settings: Settings, memory_gb: float) -> int:
    """Into how many parts the voxels are split so that a run's fit stays within the limit.

    A part is read by a pass of its own over the file.
    """
    return _parts(fit_memory(task, index, settings), memory_gb)


def _parts(needed: float, memory_gb: float) -> int:
    if needed <= memory_gb or memory_gb <= LEAST_GB:
        return 1
    return int(np.ceil((needed - LEAST_GB) / (memory_gb - LEAST_GB)))


def pool_memory(task: TaskInput) -> float:
    """A run's responses and a volume at a time."""
    return LEAST_GB + 2 * _responses_gb(task) / len(task.runs)


PARAMETRIC_PARTS = 4
"""Parts into which the runs of the parametric model are shared out; fixed, so that no sum depends on the machine."""


def parametric_memory(task: TaskInput) -> float:
    """Predicted resident memory (GB) of adding runs to the parametric model: X'Y, a run's sums, a block of volumes."""
    tests = task.trials.loc[task.trials["split"] == "test", "stimulus_id"].nunique()
    n_shared = task.n_latents + tests + 2 + task.trials.loc[task.trials["role"] != "sample", "trial_type"].nunique()
    events = int(task.trials.groupby("recording").size().max())
    rank = max(min(run.n_volumes, events + 30) for run in task.recordings)
    return LEAST_GB + _voxel_bound(task) * (4 * n_shared + 8 * rank + 4 * BLOCK + 64) / 2**30


def parametric_passes(task: TaskInput, memory_gb: float) -> int:
    """Into how many parts the voxels are split so that adding a run stays within the limit; see `n_passes`."""
    return _parts(parametric_memory(task), memory_gb)


def check_memory(tasks: list[TaskInput], settings: Settings, memory_gb: float) -> None:
    """Refuse a limit that cannot be met, before any work.

    Raises
    ------
    UsageError
        Names the step, what it needs, and what to change.
    """
    for task in tasks:
        for what, needed in (
            ("a run's GLM", LEAST_GB + 0.05),
            ("putting the runs together", pool_memory(task)),
            ("decoding", decode_memory(task, settings)),
            ("drawing and evaluating", 1.2),
        ):
            if needed > memory_gb:
                raise UsageError(
                    f"sub-{task.participant} task-{task.task}: {what} needs about {needed:.1f} GB, and --mem allows "
                    f"{memory_gb:.1f} GB. Allow more, use fewer voxels (a smaller mask in the preprocessed data), or "
                    "fewer runs at once (--session-label)."
                )


def decode_memory(task: TaskInput, settings: Settings) -> float:
    """Predicted resident memory (GB) of decoding: responses in double precision, their Gram matrix, weights."""
    n_trials = int((task.trials["role"] == "sample").sum())
    selected = settings.select.n_voxels or (_voxel_bound(task) if settings.select.select == "gain" else 4096)
    limit = _voxel_bound(task) if settings.select.select == "all" else selected
    n_voxels, n_latents = min(_voxel_bound(task), limit), task.n_latents
    fit = 4 * n_trials * n_voxels + 3 * min(n_trials, n_voxels) ** 2 + 3 * n_voxels * n_latents
    smaller = min(n_trials, n_latents)  # after it, the singular vectors of its predictions of the training rows
    rank_curve = n_trials * n_voxels + n_trials * n_latents + 3 * smaller**2 + 2 * (smaller + n_voxels) * n_latents
    arrays = max(fit, rank_curve)
    weights = 4 * _n_folds(task, settings) * n_voxels * n_latents
    return BASE_GB + 0.3 + 2 * _responses_gb(task) + (8 * arrays + weights) / 2**30


def controls_memory(task: TaskInput, settings: Settings) -> float:
    """Predicted resident memory (GB) of decoding control signals: latents, refits, scores of rows by candidates."""
    samples = task.trials[task.trials["role"] == "sample"]
    unit = settings.inputs.cross_validate and parse_cross_validation(settings.inputs.cross_validate)[0]
    tested = samples if unit else samples[samples["split"] == "test"]
    n_candidates = tested["stimulus_id"].nunique()
    n_rows = len(tested.drop_duplicates([unit, "stimulus_id"])) if unit in ("run", "session") else n_candidates
    latents = 3 * samples["stimulus_id"].nunique() * task.n_latents
    scores = 3 * n_rows * max(n_candidates, task.n_latents)
    return BASE_GB + 0.5 + _responses_gb(task) + 8 * (latents + scores) / 2**30


def _n_folds(task: TaskInput, settings: Settings) -> int:
    if settings.inputs.cross_validate is None:
        return 1
    unit, n_folds = parse_cross_validation(settings.inputs.cross_validate)
    return n_folds or task.trials[unit].nunique()


def predicted_memory(task: TaskInput, settings: Settings, n_procs: int) -> tuple[float, float]:
    """Predicted memory in GB: of the largest step, and of all processes at their worst together."""
    fits = sorted((fit_memory(task, index, settings) for index in range(len(task.recordings))), reverse=True)
    if settings.glm.glm == "parametric":
        fits = [parametric_memory(task)] * min(PARAMETRIC_PARTS, len(task.recordings))
    alone = max([*fits[:1], pool_memory(task), decode_memory(task, settings), 1.2])
    return alone, max(alone, sum(fits[:n_procs]))
