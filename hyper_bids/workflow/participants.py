"""The participant level: from the command line's settings to published results."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from hyper_bids import __version__
from hyper_bids.derivatives.dataset import describe_latent_space, write_root
from hyper_bids.derivatives.tree import publish
from hyper_bids.derivatives.write import remove_unfinished, write_text
from hyper_bids.devices import checked_device
from hyper_bids.errors import HyperError, Locked, OutputNotWritable, UsageError, listing
from hyper_bids.settings import Execution, Settings, replace, write_toml
from hyper_bids.workflow.dry_run import describe
from hyper_bids.workflow.execute import read_outputs
from hyper_bids.workflow.journal import Journal
from hyper_bids.workflow.loading import Loaded, load
from hyper_bids.workflow.lock import ParticipantLocks
from hyper_bids.workflow.memory import check_memory
from hyper_bids.workflow.participant_plan import ParticipantPlan, plan_participant
from hyper_bids.workflow.plan import Step
from hyper_bids.workflow.progress import Progress, memory_in_use
from hyper_bids.workflow.resources import available_cpus, available_memory_mb
from hyper_bids.workflow.step_folders import Finished
from hyper_bids.workflow.work_folder import claim

SHORT = 160
"""Characters of an error that is said again at the end."""


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
    if execution.bids_database_dir and execution.bids_database_dir.resolve().is_relative_to(bids_dir.resolve()):
        raise UsageError(f"--bids-database-dir {execution.bids_database_dir} lies inside the input; choose another.")
    journal = Journal(None if execution.dry_run else output_dir, quiet=execution.quiet, verbose=execution.verbose > 0)
    read_plugin(execution)
    locks = ParticipantLocks()
    try:
        with journal.following(lambda: ("reading and checking the input", "")):
            loaded = load(bids_dir, settings, execution, journal)
        if execution.mem_mb is not None:
            for tasks in loaded.tasks.values():
                check_memory(tasks, settings, limits(execution)[1])
        if execution.dry_run:
            describe(loaded, output_dir, settings, *limits(execution))
            return exit_code(loaded.errors, len(loaded.tasks))
        for notice in claim(work_dir, bids_dir):
            journal.warn(notice)
        _take_locks(loaded, locks, output_dir, work_dir, journal)
        return _process(loaded, output_dir, work_dir, settings, execution, journal, command)
    finally:
        locks.release()
        journal.close()


def _take_locks(
    loaded: Loaded, locks: ParticipantLocks, output_dir: Path, work_dir: Path, journal: Journal
) -> None:
    for participant in list(loaded.tasks):
        try:
            locks.take(participant, work_dir / "locks", output_dir / "logs" / f"sub-{participant}")
            remove_unfinished(output_dir, f"sub-{participant}")
        except Locked as error:
            del loaded.tasks[participant]
            loaded.errors[participant] = error
            journal.fail(str(error), participant)


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
    finished: list[str] = []
    device, memory_gb = choose_device(execution.device), limits(execution)[1]

    def plan(participant: str, settings: Settings, failed: Sequence[str] = ()) -> ParticipantPlan:
        return plan_participant(
            loaded.tasks[participant],
            loaded.dataset,
            settings,
            device=device,
            work_dir=work_dir,
            command=command,
            memory_gb=memory_gb,
            failed=failed,
        )

    for participant in loaded.tasks:
        config = journal.folder(participant) / f"{journal.run}_config.toml"
        write_text(config, write_toml(settings, execution))
        journal.note(f"hyper {__version__}: {command}", participant)
        try:
            plans[participant] = plan(participant, settings)
        except HyperError as error:
            errors[participant] = error
            journal.fail(f"sub-{participant}: {error}", participant)
    if plans:
        describe_output(output_dir, loaded)
        failed, broken = _run(plans, output_dir, work_dir, execution, journal)
        errors.update(failed)
        finished = [participant for participant in plans if participant not in errors]
        for participant, decoders in broken.items():
            rest = tuple(name for name in settings.decode.decoder if name not in decoders)
            go = "goes" if len(rest) == 1 else "go"
            said = f"sub-{participant}: {listing(sorted(decoders))} failed; {listing(rest)} {go} on without."
            journal.warn(said, participant)
            less = replace(settings, decode=replace(settings.decode, decoder=rest))
            plans[participant] = plan(participant, less, sorted(decoders))
            if not _run({participant: plans[participant]}, output_dir, work_dir, execution, journal)[0]:
                finished.append(participant)
    if finished:
        write_citation(output_dir, plans[finished[0]], work_dir)
    for participant in finished:
        journal.say(f"sub-{participant}: done; open {output_dir / f'sub-{participant}.html'}", participant)
    say_failures(errors, finished, journal)
    if execution.clean_work_dir:
        _clean(work_dir, [plans[participant] for participant in finished])
    return exit_code(errors, len(finished))


def _run(
    plans: dict[str, ParticipantPlan], output_dir: Path, work_dir: Path, execution: Execution, journal: Journal
) -> tuple[dict[str, HyperError], dict[str, set[str]]]:
    """Run plans and publish what is complete.

    Returns
    -------
    errors : participant -> the first error, of those that were not finished
    broken : participant -> decoders that failed, of those where others did not and nothing else failed
    """
    from hyper_bids.workflow import nipype_engine

    n_procs, memory_gb = limits(execution)
    steps = [step for plan in plans.values() for step in plan.steps]
    owner = {step.name: participant for participant, plan in plans.items() for step in plan.steps}
    greedy = [step for step in steps if step.mem_gb > memory_gb]
    if greedy:
        journal.warn(
            f"Steps that may need more than the limit of {memory_gb:.1f} GB (up to "
            f"{max(step.mem_gb for step in greedy):.1f} GB) are run one at a time: {len(greedy)} of {len(steps)}."
        )
    processes = "1 process" if n_procs == 1 else f"{n_procs} processes"
    journal.say(f"{len(steps)} steps on {processes}, at most {memory_gb:.1f} GB")
    done = Progress(steps, n_procs, memory_gb)

    def progress(step: Step, status: str) -> None:
        if status == "start":
            done.start(step.name)
            journal.note(f"begins: {step.label}", owner[step.name])
        else:
            _count(done, step, status, journal, owner[step.name])
            if status != "exception" and {"facts", "summary"} & set(step.outputs):
                _say_facts(step, read_outputs(work_dir / nipype_engine.WORKFLOW / step.name), journal, owner[step.name])

    plugin, plugin_args = read_plugin(execution)
    with journal.following(lambda: done.describe(memory_in_use())):
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
        errors = _end(plans, finished, owner, output_dir, journal)
    return errors, _broken_decoders(plans, [failure.step.name for failure in finished.failures])


def _end(
    plans: dict[str, ParticipantPlan], finished: Finished, owner: dict[str, str], output_dir: Path, journal: Journal
) -> dict[str, HyperError]:
    """Say what failed and publish what is complete; return the first error of every other participant."""
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
            manifests = [finished.outputs[tree.step][tree.name] for tree in plan.trees]
            try:
                changed, removed = publish(manifests, output_dir, journal.folder(participant) / "files.txt")
            except HyperError as error:
                errors[participant] = error
                journal.fail(f"sub-{participant}: {error}", participant)
                continue
            journal.note(f"{changed} files written or changed in {output_dir}", participant)
            if removed:
                journal.warn(
                    f"{len(removed)} files of an earlier run with other settings were deleted: {listing(removed, 3)}.",
                    participant,
                )
        elif participant not in errors:
            errors[participant] = HyperError("another step had failed before.")
            errors[participant].exit_code = 1
    return errors


def _count(done: Progress, step: Step, status: str, journal: Journal, participant: str) -> None:
    """Count a step that ended, say so, and log how long it took."""
    if status == "exception":
        done.fail(step.name)
        word, took = " FAILED", "failed"
    else:
        seconds = done.end(step.name)
        reused = status == "reused" or seconds is None
        word, took = (", reused", "kept from an earlier run") if reused else ("", f"took {seconds:.1f} s")
    journal.step(f"[{done.n_done}/{done.n_steps}] {step.label}{word}", participant)
    journal.note(f"{step.label}: {took}; {memory_in_use():.1f} GB in use", participant)


def _broken_decoders(plans: dict[str, ParticipantPlan], failed: list[str]) -> dict[str, set[str]]:
    broken: dict[str, set[str]] = {}
    for participant, plan in plans.items():
        own = [name for name in failed if name in {step.name for step in plan.steps}]
        decoders = {plan.decoder_of.get(name, "") for name in own}
        if own and "" not in decoders and decoders < set(plan.decoder_of.values()):
            broken[participant] = decoders
    return broken


def _say_facts(step: Step, made: dict[str, Path] | None, journal: Journal, participant: str) -> None:
    """Say which trial model the designs asked for, what it was decided on, and what was left out."""
    from hyper_bids.report.notices import condensed
    from hyper_bids.workflow import files

    if made is None:
        return
    if "facts" in made:
        for notice in condensed(files.load_json(made["facts"]).get("notices", [])):
            journal.warn(f"sub-{participant}: {notice}", participant)
        return
    facts = files.load_json(made["summary"])
    if facts["median_vif"] is None and facts["mode"] == "parametric":
        return
    runs = ", ".join(f"{run['run']} {run['median_vif']:.1f}" for run in facts["runs"] if run["median_vif"] is not None)
    median = "infinite" if facts["median_vif"] is None else f"{facts['median_vif']:.1f}"
    journal.say(f"    {facts['mode'].upper()}; median variance inflation of the trials {median} ({runs})", participant)


def read_plugin(execution: Execution) -> tuple[str | None, dict[str, object]]:
    """Return nipype's plugin and its arguments from ``--nipype-plugin-file`` and ``--use-plugin``."""
    if execution.nipype_plugin_file is None and execution.use_plugin is None:
        return None, {}
    from hyper_bids.workflow.nipype_engine import check_plugin

    if execution.nipype_plugin_file is None:
        check_plugin(execution.use_plugin)
        return execution.use_plugin, {}
    import yaml

    try:
        content = yaml.safe_load(execution.nipype_plugin_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"Cannot read --nipype-plugin-file {execution.nipype_plugin_file}: {error}") from error
    arguments = content.get("plugin_args") or {} if isinstance(content, dict) else None
    if not isinstance(arguments, dict):
        raise UsageError(f"{execution.nipype_plugin_file} must hold an object with plugin and plugin_args.")
    plugin = execution.use_plugin or content.get("plugin")
    check_plugin(plugin)
    return plugin, arguments


def choose_device(wanted: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes CUDA where there is a working one."""
    if wanted == "auto" and not os.path.exists("/proc/driver/nvidia"):
        return "cpu"  # spares the import of torch where no driver is loaded
    return checked_device(wanted)


def describe_output(output_dir: Path, loaded: Loaded) -> None:
    """Write the files that make the output folder a dataset."""
    dataset = loaded.dataset
    links = {"raw": os.path.relpath(dataset.root, output_dir)}
    links.update({name: os.path.relpath(path, output_dir) for name, path in (dataset.derivatives or {}).items()})
    descriptions: dict[str, str] = {}
    for tasks in loaded.tasks.values():
        for task in tasks:
            descriptions.update(describe_latent_space(task.space))
    write_root(output_dir, dataset.description, links, descriptions)


def write_citation(output_dir: Path, plan: ParticipantPlan, work_dir: Path) -> None:
    """Write logs/CITATION.md, the methods text of what ran, and its references as logs/CITATION.bib."""
    from hyper_bids.report.methods import methods_bibtex, methods_text
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
    write_text(output_dir / "logs" / "CITATION.bib", methods_bibtex(context["settings"], facts, context))


def _clean(work_dir: Path, plans: list[ParticipantPlan]) -> None:
    """Delete the folders of these participants' steps, which this app made."""
    from hyper_bids.workflow.nipype_engine import WORKFLOW

    for plan in plans:
        for step in plan.steps:
            shutil.rmtree(work_dir / WORKFLOW / step.name, ignore_errors=True)
        for folder in (work_dir / "inputs").glob(f"sub_{plan.participant}__*"):
            shutil.rmtree(folder, ignore_errors=True)


def say_failures(errors: dict[str, HyperError], finished: Sequence[str], journal: Journal) -> None:
    """Repeat who failed, where what was said of it may have scrolled away: among several participants."""
    if len(errors.keys() | set(finished)) < 2:
        return
    for participant, error in errors.items():
        how = "finished in part" if participant in finished else "not finished"
        journal.fail(f"sub-{participant}: {how}: {shorten(str(error), SHORT, placeholder=' ...')}", participant)


def exit_code(errors: dict[str, HyperError], n_finished: int) -> int:
    """0: all done; 1: some failed; where nobody finished, the code of the first error."""
    if not errors:
        return 0
    return 1 if n_finished else next(iter(errors.values())).exit_code
