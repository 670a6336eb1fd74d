"""`simulate`: a BIDS dataset whose truth is known, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from hyper_bids.errors import OutputNotWritable, UsageError
from hyper_bids.protocols import Generator
from hyper_bids.simulate import bids, sidecars
from hyper_bids.simulate.bold import Recording, noise_sd, record
from hyper_bids.simulate.brain import Brain, make_brain
from hyper_bids.simulate.design import Run, make_runs
from hyper_bids.simulate.settings import SimulateSettings, check
from hyper_bids.simulate.stimuli import Stimuli, make_stimuli

TASK = "faces"
PREPROCESSED = Path("derivatives", "fmriprep")
TRUTH = Path("derivatives", "truth")


def simulate(
    out: Path,
    settings: SimulateSettings,
    generator: Generator | None = None,
    attributes: Mapping[str, np.ndarray] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write a simulated BIDS dataset and return its folder.

    Amplitudes of tuned voxels are linear in the stimuli's latents (`hyper_bids.simulate.brain.Brain`). The same
    settings and generator give the same bytes. The folder appears whole: it is built beside its place and moved.

    Parameters
    ----------
    out : folder to make; may exist if it is empty
    settings : SimulateSettings
    generator : Generator or None
        What ``settings.generator`` names; may be None for ``identity`` and ``none``.
    attributes : name -> normal (n_latents,) of a hyperplane through 0
        Become the labels of ``stimuli/stimuli.tsv``.
    progress : called with a line of text now and then

    Raises
    ------
    UsageError
        Settings that cannot be simulated, or an output folder that holds something.
    InconsistentInput
        The generator's images or an attribute's normal do not fit.
    OutputNotWritable
        The folder cannot be made or filled.
    """
    say = progress or (lambda _: None)
    check(settings)
    target = _target(out)
    stimuli = make_stimuli(settings, generator, attributes, say)
    participants = [f"sub-{i + 1:02d}" for i in range(settings.participants)]
    runs = {name: make_runs(settings, stimuli.train, stimuli.test, name) for name in participants}
    try:
        with _Staging(target) as staging:
            _write_root(staging, settings, stimuli, participants, runs)
            for name in participants:
                _write_participant(staging, settings, stimuli, name, runs[name], say)
    except OSError as error:
        raise OutputNotWritable(
            f"Cannot write {target}: {error.strerror or error}. "
            f"Choose a folder that you may write, on a disk with room."
        ) from error
    return target


def _target(out: Path) -> Path:
    target = Path(os.path.abspath(out)).resolve()
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file; name a folder that does not exist yet.")
    try:
        occupied = target.is_dir() and any(target.iterdir())
    except OSError as error:
        raise OutputNotWritable(f"Cannot read {target}: {error.strerror}.") from error
    if occupied:
        raise UsageError(f"{target} is not empty; name another folder, or remove it first. Nothing was written.")
    return target


class _Staging:
    """A temporary folder that becomes the target if all goes well, and disappears if not."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __enter__(self) -> Path:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        # A mount point (a container's /out) cannot be replaced, only filled: build inside it
        self.inside = self.target.is_dir() and os.path.ismount(self.target)
        parent = self.target if self.inside else self.target.parent
        self.folder = Path(tempfile.mkdtemp(prefix=f".{self.target.name}-", dir=parent))
        return self.folder

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._move()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _move(self) -> None:
        if self.inside:
            for item in sorted(self.folder.iterdir(), key=lambda path: path.name == "dataset_description.json"):
                os.replace(item, self.target / item.name)  # the description last: without it, it is no dataset
            return
        mask = os.umask(0)
        os.umask(mask)
        self.folder.chmod(0o777 & ~mask)  # mkdtemp makes private folders
        os.replace(self.folder, self.target)


def _write_root(
    root: Path, settings: SimulateSettings, stimuli: Stimuli, participants: list[str], runs: Mapping[str, list[Run]]
) -> None:
    bids.write_json(root / "dataset_description.json", sidecars.description("Simulated faces", "raw", settings))
    bids.write_text(root / "README.md", sidecars.readme(settings, stimuli))
    bids.write_tsv(root / "participants.tsv", ["participant_id"], [[name] for name in participants])
    bids.write_json(root / "participants.json", {"participant_id": {"Description": "label of the simulated person"}})
    bids.write_json(root / f"task-{TASK}_events.json", sidecars.events_sidecar(settings, stimuli))
    tr = next(iter(runs.values()))[0].tr
    bold = {"TaskName": TASK, "RepetitionTime": tr, "TaskDescription": "pictures are looked at"}
    bids.write_json(root / f"task-{TASK}_bold.json", bold)
    _write_stimuli(root / "stimuli", stimuli)
    _write_derivative(root / TRUTH, "Truth of the simulation", "*.npz", settings)
    if settings.with_derivatives:
        name = "Simulated BOLD in fMRIPrep's layout"
        _write_derivative(root / PREPROCESSED, name, "*_desc-confounds_timeseries.*", settings)


def _write_derivative(folder: Path, name: str, ignore: str, settings: SimulateSettings) -> None:
    bids.write_json(folder / "dataset_description.json", sidecars.description(name, "derivative", settings))
    bids.write_text(folder / "README.md", f"# {name}\n\nMade by hyper-tools simulate; see the dataset's README.md.")
    bids.write_text(folder / ".bidsignore", ignore)


def _write_stimuli(folder: Path, stimuli: Stimuli) -> None:
    for label, png in stimuli.pngs.items():
        bids.write_bytes(folder / stimuli.file_of(label), png)
    columns, rows, dictionary = sidecars.stimuli_table(stimuli)
    bids.write_tsv(folder / "stimuli.tsv", columns, rows)
    bids.write_json(folder / "stimuli.json", dictionary)
    space = stimuli.latents.space
    bids.write_npy(folder / "latents" / f"{space}.npy", stimuli.latents.values)
    bids.write_tsv(folder / "latents" / f"{space}.tsv", ["stimulus_id"], [[label] for label in stimuli.labels])


def _write_participant(
    root: Path,
    settings: SimulateSettings,
    stimuli: Stimuli,
    name: str,
    runs: list[Run],
    say: Callable[[str], None],
) -> None:
    brain = make_brain(settings, stimuli.latents, stimuli.train, name)
    amplitudes = []
    for number, run in enumerate(runs, start=1):
        shown = stimuli.latents.rows([trial.stimulus for trial in run.shown])
        amplitudes.append(brain.amplitudes(shown))
        stem = f"{name}_task-{TASK}_run-{number:02d}"
        recording = record(settings, brain, run, amplitudes[-1], name, f"run-{number:02d}")
        columns, rows = sidecars.event_rows(run, stimuli, settings)
        bold = bids.bold_bytes(recording.values, brain.grid, run.tr)
        bids.write_tsv(root / name / "func" / f"{stem}_events.tsv", columns, rows)
        bids.write_bytes(root / name / "func" / f"{stem}_bold.nii.gz", bold)
        if settings.with_derivatives:
            _write_preprocessed(root / PREPROCESSED / name / "func", stem, bold, brain, recording, run)
        say(f"{name}: run {number} of {len(runs)}, {run.n_volumes} volumes")
    _write_truth(root / TRUTH / name / f"{name}_task-{TASK}_truth.npz", settings, stimuli, brain, runs, amplitudes)


def _write_preprocessed(folder: Path, stem: str, bold: bytes, brain: Brain, recording: Recording, run: Run) -> None:
    source = {"Sources": [f"bids:raw:{stem.split('_')[0]}/func/{stem}_bold.nii.gz"]}
    bids.write_bytes(folder / f"{stem}_desc-preproc_bold.nii.gz", bold)
    bids.write_json(
        folder / f"{stem}_desc-preproc_bold.json",
        {"TaskName": TASK, "RepetitionTime": run.tr, "StartTime": 0.0, "SkullStripped": True, **source},
    )
    bids.write_bytes(folder / f"{stem}_desc-brain_mask.nii.gz", bids.mask_bytes(brain.grid))
    bids.write_json(folder / f"{stem}_desc-brain_mask.json", {"Type": "Brain", "SpatialReference": "orig", **source})
    columns, rows = sidecars.confounds_table(recording.motion, recording.values, run.tr)
    bids.write_tsv(folder / f"{stem}_desc-confounds_timeseries.tsv", columns, rows)
    bids.write_json(folder / f"{stem}_desc-confounds_timeseries.json", sidecars.confounds_sidecar())


def _write_truth(
    path: Path,
    settings: SimulateSettings,
    stimuli: Stimuli,
    brain: Brain,
    runs: list[Run],
    amplitudes: list[np.ndarray],
) -> None:
    """Write a participant's truth; rows of ``amplitudes`` are the shown trials, run after run."""
    bids.write_npz(
        path,
        W=brain.W,
        bias=brain.bias,
        tuned=brain.tuned,
        responsive=brain.responsive,
        hrf_delay=brain.delay,
        mask=brain.grid.mask,
        affine=brain.grid.affine,
        noise_sd=np.array(noise_sd(settings, runs[0].shown[0].duration)),
        amplitudes=np.concatenate(amplitudes).astype(np.float32),
        trial_run=np.concatenate([[number] * len(run.shown) for number, run in enumerate(runs, start=1)]),
        trial_onset=np.array([trial.onset for run in runs for trial in run.shown]),
        trial_stimulus=np.array([trial.stimulus for run in runs for trial in run.shown]),
        latents=stimuli.latents.values,
        stimuli=np.array(stimuli.labels),
    )
