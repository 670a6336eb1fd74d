"""The participant level: from the command line's settings to published results."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hyper_bids import __version__
from hyper_bids.derivatives.dataset import describe_latent_space, write_root
from hyper_bids.derivatives.tree import publish
from hyper_bids.derivatives.write import write_text
from hyper_bids.errors import (
    HyperError,
    InvalidDataset,
    MissingFiles,
    NothingSelected,
    OutputNotWritable,
    UsageError,
    listing,
)
from hyper_bids.inputs.recording import Dataset
from hyper_bids.inputs.task import TaskInput, load_task
from hyper_bids.registry import resolve
from hyper_bids.settings import Execution, Settings, write_toml
from hyper_bids.workflow.execute import execute, read_outputs
from hyper_bids.workflow.journal import Journal
from hyper_bids.workflow.participant_plan import ParticipantPlan, check_memory, choose_generator, plan_participant
from hyper_bids.workflow.plan import Step
from hyper_bids.workflow.resources import available_cpus, available_memory_mb


@dataclass(frozen=True)
class Loaded:
    """What was read before any computation, and who could not be read."""

    dataset: Dataset | None
    tasks: dict[str, list[TaskInput]]
    errors: dict[str, HyperError]


def run_participants(
    bids_dir: Path, output_dir: Path, settings: Settings, execution: Execution, command: str
) -> int:
    """Process the selected participants; return the exit code.

    Raises
    ------
    HyperError
        What makes the whole run impossible. What fails for one participant is reported,
        the others finish, and the code is 1 (or the error's own where nobody finished).
    """
    bids_dir, output_dir = Path(bids_dir).absolute(), Path(output_dir).absolute()
    work_dir = (execution.work_dir or Path("hyper_work")).absolute()
    check_folders(bids_dir, output_dir, work_dir, dry_run=execution.dry_run)
    journal = Journal(None if execution.dry_run else output_dir, quiet=execution.quiet, verbose=execution.verbose > 0)
    try:
        loaded = load(bids_dir, settings, execution, journal)
        if execution.mem_mb is not None:
            for tasks in loaded.tasks.values():
                check_memory(tasks, settings, limits(execution)[1])
        if execution.dry_run:
            describe(loaded, output_dir, settings, execution)
            return _code(loaded.errors, len(loaded.tasks))
        return _process(loaded, output_dir, work_dir, settings, execution, journal, command)
    finally:
        journal.close()


def check_folders(bids_dir: Path, output_dir: Path, work_dir: Path, *, dry_run: bool) -> None:
    """Refuse folders that would harm the input; find out now whether the others can be written."""
    root = bids_dir.resolve()
    if output_dir.resolve() == root:
        raise UsageError(
            "The output folder is the input dataset itself. Use for example "
            f"{bids_dir}/derivatives/hyper-{__version__}."
        )
    if work_dir.resolve().is_relative_to(root):
        raise UsageError(f"The work folder {work_dir} lies inside the input dataset; choose another with -w.")
    if dry_run:
        return
    for folder in (output_dir, work_dir):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            flag = "another work folder with -w" if folder == work_dir else "another output folder"
            raise OutputNotWritable(f"Cannot write to {folder}: {error.strerror}. Choose {flag}.") from error


def check_named(settings: Settings) -> None:
    """Find out now whether the files and plugins that the options name are there."""
    from hyper_bids.decode import DECODERS
    from hyper_bids.generate import GENERATORS
    from hyper_bids.inputs.confounds import parse_strategy

    parse_strategy(settings.glm.confounds, settings.glm.confound_columns)
    paths = [("--mask", settings.select.mask), ("--weights", settings.generate.weights)]
    paths += [("--attributes", Path(name)) for name in settings.evaluate.attributes]
    for flag, path in paths:
        if path is not None and not path.exists():
            raise MissingFiles(f"{flag} {path} does not exist.")
    for name in settings.decode.decoder:
        resolve(name, DECODERS, "decoder", ("fit", "predict"))
    if settings.generate.generator not in (None, "none"):
        resolve(settings.generate.generator, GENERATORS, "generator", ("generate",))


def load(bids_dir: Path, settings: Settings, execution: Execution, journal: Journal) -> Loaded:
    """Validate, find the recordings, and read events, splits and latents of every participant."""
    from hyper_bids.inputs.layout import find_participants, open_dataset
    from hyper_bids.inputs.validate import validate

    check_named(settings)
    if not execution.skip_bids_validation:
        for notice in validate(bids_dir):
            journal.warn(notice)
    datasets: dict[str, Dataset] = {}
    tasks: dict[str, list[TaskInput]] = {}
    errors: dict[str, HyperError] = {}
    for participant in find_participants(bids_dir, execution.participant_label):
        try:
            dataset = open_dataset(
                bids_dir,
                settings.inputs,
                participants=(participant,),
                tasks=execution.task_id,
                database_dir=execution.bids_database_dir,
            )
            journal.open(participant)
            tasks[participant] = [
                load_task(dataset, participant, task, settings.inputs) for task in dataset.tasks(participant)
            ]
            datasets[participant] = dataset
        except (UsageError, InvalidDataset):
            raise
        except HyperError as error:
            tasks.pop(participant, None)
            errors[participant] = error
    errors = _without_the_absent(errors, tasks, execution, journal)
    for participant, error in errors.items():
        journal.open(participant)
        journal.fail(f"sub-{participant}: {error}", participant)
    for notice in dict.fromkeys(notice for dataset in datasets.values() for notice in dataset.notices):
        journal.warn(notice)
    for participant, loaded in tasks.items():
        for task in loaded:
            for notice in task.notices:
                journal.warn(f"sub-{participant} {task.task}: {notice}", participant)
    return Loaded(next(iter(datasets.values()), None), tasks, errors)


def _without_the_absent(
    errors: dict[str, HyperError], tasks: dict[str, list[TaskInput]], execution: Execution, journal: Journal
) -> dict[str, HyperError]:
    """A participant without runs of the task is a notice, unless asked for by name or alone."""
    absent = [name for name, error in errors.items() if isinstance(error, NothingSelected)]
    if execution.participant_label or not tasks:
        return errors
    for participant in absent:
        journal.warn(f"sub-{participant} is left out: {errors[participant]}")
    return {name: error for name, error in errors.items() if name not in absent}


def limits(execution: Execution) -> tuple[int, float]:
    """Return the number of processes and the memory in GB: options first, then what this process may use."""
    n_cpus = execution.n_cpus or available_cpus()
    return n_cpus, (execution.mem_mb or available_memory_mb()) / 1024


def _process(
    loaded: Loaded,
    output_dir: Path,
    work_dir: Path,
    settings: Settings,
    execution: Execution,
    journal: Journal,
    command: str,
) -> int:
    errors = dict(loaded.errors)
    plans: dict[str, ParticipantPlan] = {}
    device, memory_gb = choose_device(execution.device), limits(execution)[1]
    for participant, tasks in loaded.tasks.items():
        config = journal.folder(participant) / f"{journal.run}_config.toml"
        write_text(config, write_toml(settings, execution))
        journal.note(f"hyper {__version__}: {command}", participant)
        try:
            plans[participant] = plan_participant(
                tasks,
                loaded.dataset,
                settings,
                device=device,
                work_dir=work_dir,
                command=command,
                memory_gb=memory_gb,
            )
        except HyperError as error:
            errors[participant] = error
            journal.fail(f"sub-{participant}: {error}", participant)
    if plans:
        _write_root(output_dir, loaded.dataset, [task for tasks in loaded.tasks.values() for task in tasks])
        errors.update(_run(plans, output_dir, work_dir, execution, journal))
    finished = [participant for participant in plans if participant not in errors]
    if finished:
        _write_citation(output_dir, plans[finished[0]], work_dir)
    for participant in finished:
        journal.say(f"sub-{participant}: done; open {output_dir / f'sub-{participant}.html'}", participant)
    if execution.clean_work_dir:
        _clean(work_dir, [plans[participant] for participant in finished])
    return _code(errors, len(finished))


def _run(
    plans: dict[str, ParticipantPlan], output_dir: Path, work_dir: Path, execution: Execution, journal: Journal
) -> dict[str, HyperError]:
    from hyper_bids.workflow import nipype_engine

    n_procs, memory_gb = limits(execution)
    steps = [step for plan in plans.values() for step in plan.steps]
    owner = {step.name: participant for participant, plan in plans.items() for step in plan.steps}
    greedy = [step for step in steps if step.mem_gb > memory_gb]
    if greedy:
        journal.warn(
            f"{len(greedy)} steps may need up to {max(step.mem_gb for step in greedy):.1f} GB, more than the limit of "
            f"{memory_gb:.1f} GB; they are run one at a time."
        )
    journal.say(f"{len(steps)} steps on {n_procs} processes, at most {memory_gb:.1f} GB")
    done = Counter()

    def progress(step: Step, status: str) -> None:
        if status != "start":
            done["steps"] += 1
            word = "" if status == "end" else " FAILED"
            journal.say(f"[{done['steps']}/{len(steps)}] {step.label}{word}", owner[step.name])
            if status == "end" and step.target.endswith(":build_designs"):
                _say_model(step, read_outputs(work_dir / nipype_engine.WORKFLOW / step.name), journal, owner[step.name])

    plugin, plugin_args = read_plugin(execution)
    finished = nipype_engine.run(
        steps,
        work_dir,
        n_procs=n_procs,
        memory_gb=memory_gb,
        plugin=plugin,
        plugin_args=plugin_args,
        stop_on_first_crash=execution.stop_on_first_crash,
        progress=progress,
        debug=execution.debug,
    )
    errors: dict[str, HyperError] = {}
    for failure in finished.failures:
        participant = owner[failure.step.name]
        errors.setdefault(participant, failure.error)
        crash = journal.folder(participant) / f"crash-{journal.run}-{failure.step.name}.txt"
        write_text(crash, f"hyper {__version__}\n{failure.step.label}\n\n{failure.error}\n\n{failure.traceback}")
        journal.fail(f"{failure.step.label}: {failure.error} (details: {crash})", participant)
    for participant, plan in plans.items():
        complete = all(tree.step in finished.outputs for tree in plan.trees)
        if participant not in errors and complete:
            changed = publish([finished.outputs[tree.step][tree.name] for tree in plan.trees], output_dir)
            journal.note(f"{changed} files written or changed in {output_dir}", participant)
        elif participant not in errors:
            errors[participant] = HyperError(f"sub-{participant} was not finished: another step had failed before.")
            errors[participant].exit_code = 1
    return errors


def _say_model(step: Step, made: dict[str, Path] | None, journal: Journal, participant: str) -> None:
    """Say which trial model the designs asked for, and what it was decided on."""
    from hyper_bids.workflow import files

    if made is None:
        return
    facts = files.load_json(made["summary"])
    runs = ", ".join(f"{run['run']} {run['median_vif']:.1f}" for run in facts["runs"] if run["median_vif"] is not None)
    median = "infinite" if facts["median_vif"] is None else f"{facts['median_vif']:.1f}"
    journal.say(f"    {facts['mode'].upper()}; median variance inflation of the trials {median} ({runs})", participant)
    for notice in facts["notices"]:
        journal.warn(notice, participant)


def read_plugin(execution: Execution) -> tuple[str | None, dict[str, object]]:
    """Return nipype's plugin and its arguments from ``--nipype-plugin-file`` and ``--use-plugin``."""
    if execution.nipype_plugin_file is None:
        return execution.use_plugin, {}
    import yaml

    try:
        content = yaml.safe_load(execution.nipype_plugin_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"Cannot read --nipype-plugin-file {execution.nipype_plugin_file}: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("plugin_args", {}), dict):
        raise UsageError(f"{execution.nipype_plugin_file} must hold an object with plugin and plugin_args.")
    return execution.use_plugin or content.get("plugin"), content.get("plugin_args", {})


def choose_device(wanted: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes CUDA where there is a working one."""
    if wanted == "cpu":
        return "cpu"
    if not os.path.exists("/proc/driver/nvidia") and wanted == "auto":
        return "cpu"  # spares the import of torch where no driver is loaded
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise UsageError("--device cuda: torch finds no CUDA device here. Use --device auto or cpu.")
    return "cpu"


def rewrite_reports(
    bids_dir: Path, output_dir: Path, settings: Settings, execution: Execution, command: str
) -> int:
    """Make the reports (or only the methods text) again from what earlier runs left in the work folder.

    Raises
    ------
    MissingFiles
        The work folder does not hold the results of these settings.
    """
    bids_dir, output_dir = Path(bids_dir).absolute(), Path(output_dir).absolute()
    work_dir = (execution.work_dir or Path("hyper_work")).absolute()
    check_folders(bids_dir, output_dir, work_dir, dry_run=False)
    journal = Journal(output_dir, quiet=execution.quiet, verbose=execution.verbose > 0)
    try:
        loaded = load(bids_dir, settings, execution, journal)
        device = choose_device(execution.device)
        for participant, tasks in loaded.tasks.items():
            plan = plan_participant(
                tasks,
                loaded.dataset,
                settings,
                device=device,
                work_dir=work_dir,
                command=command,
                memory_gb=limits(execution)[1],
            )
            if not execution.boilerplate_only:
                made = _report_again(plan, work_dir)
                publish([made["tree"]], output_dir)
                journal.say(f"sub-{participant}: report written", participant)
            _write_citation(output_dir, plan, work_dir)
        return _code(loaded.errors, len(loaded.tasks))
    finally:
        journal.close()


def _report_again(plan: ParticipantPlan, work_dir: Path) -> dict[str, Path]:
    from hyper_bids.workflow.nipype_engine import WORKFLOW

    report, found = plan.steps[-1], {}
    for name, source in report.sources():
        made = read_outputs(work_dir / WORKFLOW / source.step)
        if made is None:
            raise MissingFiles(
                f"{work_dir} holds no results of {source.step} any more; run the same command without --reports-only."
            )
        found[name] = made[source.name]
    return execute(report.target, found, {**report.params, **report.limits}, work_dir / "reports" / report.name)


def _write_root(output_dir: Path, dataset: Dataset, tasks: list[TaskInput]) -> None:
    links = {"raw": os.path.relpath(dataset.root, output_dir)}
    links.update({name: os.path.relpath(path, output_dir) for name, path in (dataset.derivatives or {}).items()})
    descriptions: dict[str, str] = {}
    for task in tasks:
        descriptions.update(describe_latent_space(task.space))
    write_root(output_dir, dataset.description, links, descriptions)


def _write_citation(output_dir: Path, plan: ParticipantPlan, work_dir: Path) -> None:
    from hyper_bids.report.methods import methods_text
    from hyper_bids.workflow import files
    from hyper_bids.workflow.nipype_engine import WORKFLOW

    report = plan.steps[-1]
    facts = []
    for source in report.inputs["facts"]:
        made = read_outputs(work_dir / WORKFLOW / source.step)
        if made is not None:
            facts.append(files.load_json(made[source.name]))
    context = report.params["context"]
    write_text(output_dir / "logs" / "CITATION.md", methods_text(context["settings"], facts, context))


def _clean(work_dir: Path, plans: list[ParticipantPlan]) -> None:
    """Delete the folders of these participants' steps, which this app made."""
    from hyper_bids.workflow.nipype_engine import WORKFLOW

    for plan in plans:
        for step in plan.steps:
            shutil.rmtree(work_dir / WORKFLOW / step.name, ignore_errors=True)
        for folder in (work_dir / "inputs").glob(f"sub_{plan.participant}__*"):
            shutil.rmtree(folder, ignore_errors=True)


def _code(errors: dict[str, HyperError], n_finished: int) -> int:
    """0: all done; 1: some failed; where nobody finished, the code of the first error."""
    if not errors:
        return 0
    return 1 if n_finished else next(iter(errors.values())).exit_code


def describe(loaded: Loaded, output_dir: Path, settings: Settings, execution: Execution) -> None:
    """Print what would be done (``--dry-run``)."""
    n_procs, memory_gb = limits(execution)
    print(f"hyper {__version__}, dry run: nothing is written")
    if loaded.dataset is not None:
        print(f"dataset: {loaded.dataset.root}  settings: {settings.digest()}")
        for name, folder in (loaded.dataset.derivatives or {}).items():
            print(f"preprocessed data: {name} = {folder}")
    for participant, tasks in loaded.tasks.items():
        for task in tasks:
            _describe_task(participant, task, output_dir, settings, n_procs)
    for participant, error in loaded.errors.items():
        print(f"\nsub-{participant}: cannot be processed: {error}")
    print(f"\nlimits: {n_procs} processes, {memory_gb:.1f} GB")


def _describe_task(participant: str, task: TaskInput, output_dir: Path, settings: Settings, n_procs: int) -> None:
    from hyper_bids.workflow.participant_plan import predicted_memory

    print(f"\nsub-{participant} task-{task.task}: {len(task.recordings)} runs")
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
    print(f"  latents: {task.space}, {task.latents.n_latents} dimensions")
    generator, why = choose_generator(task, settings)
    print(f"  generator: {generator or why}")
    largest, at_once = predicted_memory(task, settings, n_procs)
    print(f"  predicted peak memory: {largest:.1f} GB in one process, {at_once:.1f} GB for {n_procs} at once")
    tested = samples.loc[samples["split"] != "train", "stimulus_id"].unique()
    print(f"  outputs under {output_dir / ('sub-' + participant)}: masks, {settings.output.maps} maps, and for "
          f"{listing(settings.decode.decoder)}: weights, latents, metrics, stats, audit"
          + (f", {len(tested)} reconstructions" if generator else ""))
