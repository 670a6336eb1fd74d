"""``--dry-run``: what would be done, printed; nothing is written."""

from __future__ import annotations

from pathlib import Path

from hyper_bids import __version__
from hyper_bids.errors import listing
from hyper_bids.inputs.task import TaskInput
from hyper_bids.presets import PRESETS
from hyper_bids.settings import Settings, owners, plain
from hyper_bids.workflow.generator_choice import choose_generator
from hyper_bids.workflow.loading import Loaded
from hyper_bids.workflow.memory import predicted_memory


def describe(loaded: Loaded, output_dir: Path, settings: Settings, n_procs: int, memory_gb: float) -> None:
    """Print runs, trials by split, latents, predicted memory and planned outputs."""
    print(f"hyper {__version__}, dry run: nothing is written")
    if loaded.dataset is not None:
        print(f"dataset: {loaded.dataset.root}  settings: {settings.digest()}")
        if settings.inputs.preset is not None:
            _describe_preset(settings)
        for name, folder in (loaded.dataset.derivatives or {}).items():
            print(f"preprocessed data: {name} = {folder}")
    for participant, tasks in loaded.tasks.items():
        for task in tasks:
            _describe_task(participant, task, output_dir, settings, n_procs)
    for participant, error in loaded.errors.items():
        print(f"\nsub-{participant}: cannot be processed: {error}")
    print(f"\nlimits: {n_procs} processes, {memory_gb:.1f} GB")


def _describe_preset(settings: Settings) -> None:
    """Print every option that the preset sets, and where another value was given."""
    print(f"preset {settings.inputs.preset} sets:")
    where = owners()
    for name, value in PRESETS[settings.inputs.preset].items():
        used = plain(getattr(settings, where[name]))[name]
        flag = "--" + name.replace("_", "-")
        shown = " ".join(map(str, value)) if isinstance(value, list) else value
        print(f"  {flag} {shown}" + ("" if used == value else f"   (overridden: {used})"))


def _describe_task(participant: str, task: TaskInput, output_dir: Path, settings: Settings, n_procs: int) -> None:
    print(f"\nsub-{participant} task-{task.task}: {len(task.runs)} {'maps' if task.maps else 'runs'}")
    for item in task.maps:
        print(f"  {item.label:<20} {item.stat} of every {item.level}  {item.image.name}")
    if task.recordings:
        print("  run                   volumes      TR  confounds  mask  trials  BOLD")
    roles = task.trials["role"] == "sample"
    for index, run in enumerate(task.recordings):
        n_trials = int((roles & (task.trials["recording"] == index)).sum())
        yes = {True: "yes", False: "no"}
        print(
            f"  {run.label:<20} {run.n_volumes:>8} {run.repetition_time:>7.3g}  {yes[run.confounds is not None]:<9}  "
            f"{yes[run.mask is not None]:<4}  {n_trials:>6}  {run.bold.name}"
        )
    counts = task.trials.assign(split=task.trials["split"].replace("", "-")).groupby(["trial_type", "role", "split"])
    print("  events by trial type:")
    for (kind, role, split), n in counts.size().items():
        print(f"    {kind}: {n} ({role}{'' if split == '-' else ', ' + split})")
    samples = task.trials[roles]
    for split, part in samples.groupby("split"):
        print(f"  {split}: {len(part)} trials of {part['stimulus_id'].nunique()} stimuli")
    print(f"  latents: {task.space}, {task.n_latents} dimensions")
    generator, why = choose_generator(task, settings)
    print(f"  generator: {generator or why}")
    largest, at_once = predicted_memory(task, settings, n_procs)
    print(f"  predicted peak memory: {largest:.1f} GB in one process, {at_once:.1f} GB for {n_procs} at once")
    tested = samples.loc[samples["split"] != "train", "stimulus_id"].unique()
    print(f"  outputs under {output_dir / ('sub-' + participant)}: masks, {settings.output.maps} maps, and for "
          f"{listing(settings.decode.decoder)}: weights, latents, metrics, stats, audit"
          + (f", {len(tested)} reconstructions" if generator else ""))
