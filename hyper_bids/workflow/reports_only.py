"""``--reports-only`` and ``--boilerplate-only``: reports again, from what an earlier run left."""

from __future__ import annotations

from pathlib import Path

from hyper_bids.derivatives.tree import intact, publish
from hyper_bids.errors import HyperError, MissingFiles, listing
from hyper_bids.settings import Execution, Settings
from hyper_bids.workflow.execute import execute, read_outputs
from hyper_bids.workflow.journal import Journal
from hyper_bids.workflow.loading import load
from hyper_bids.workflow.lock import ParticipantLocks
from hyper_bids.workflow.nipype_engine import WORKFLOW
from hyper_bids.workflow.participant_plan import ParticipantPlan, plan_participant
from hyper_bids.workflow.participants import (
    check_folders,
    choose_device,
    describe_output,
    exit_code,
    limits,
    say_failures,
    write_citation,
)


def rewrite_reports(
    bids_dir: Path, output_dir: Path, settings: Settings, execution: Execution, command: str
) -> int:
    """Make the reports (or only the methods text) again from what earlier runs left in the work folder.

    With the reports come the results that the output lacks or has otherwise: the reports describe them.

    Raises
    ------
    MissingFiles
        The work folder does not hold the results of these settings.
    Locked
        Another job works on the participant.
    """
    bids_dir, output_dir = Path(bids_dir).absolute(), Path(output_dir).absolute()
    work_dir = (execution.work_dir or Path("hyper_work")).absolute()
    check_folders(bids_dir, output_dir, work_dir, dry_run=False)
    journal = Journal(output_dir, quiet=execution.quiet, verbose=execution.verbose > 0)
    asked = "--boilerplate-only" if execution.boilerplate_only else "--reports-only"
    locks = ParticipantLocks()
    try:
        loaded = load(bids_dir, settings, execution, journal)
        device = choose_device(execution.device)
        errors, finished = dict(loaded.errors), []
        for participant, tasks in loaded.tasks.items():
            try:
                plan = plan_participant(
                    tasks,
                    loaded.dataset,
                    settings,
                    device=device,
                    work_dir=work_dir,
                    command=command,
                    memory_gb=limits(execution)[1],
                )
                _check_results(plan, work_dir, asked)
                locks.take(participant, work_dir / "locks", output_dir / "logs" / f"sub-{participant}")
                if not execution.boilerplate_only:
                    describe_output(output_dir, loaded)
                    _publish_again(plan, work_dir, output_dir, journal)
                write_citation(output_dir, plan, work_dir)
                finished.append(participant)
            except HyperError as error:
                errors[participant] = error
                journal.fail(f"sub-{participant}: {error}", participant)
        if finished and execution.boilerplate_only:
            journal.say(f"methods text written: {output_dir / 'logs' / 'CITATION.md'}")
        say_failures(errors, finished, journal)
        return exit_code(errors, len(finished))
    finally:
        locks.release()
        journal.close()


def _check_results(plan: ParticipantPlan, work_dir: Path, asked: str) -> None:
    """Every step but the report must have been run with these very settings, and its files be as it wrote them."""
    trees = {tree.step: tree.name for tree in plan.trees}
    missing = []
    for step in plan.steps[:-1]:
        made = read_outputs(work_dir / WORKFLOW / step.name, step.stamp())
        if made is None or (step.name in trees and not intact(made[trees[step.name]])):
            missing.append(step.label.rpartition(": ")[2])
    if not missing:
        return
    lacks = "no finished run"
    if len(missing) < len(plan.steps) - 1:
        lacks = f"only a part of a run (not: {listing(missing, 3)})"
    raise MissingFiles(
        f"{asked} reads what a finished run left in its work folder, and {work_dir} holds {lacks} of "
        f"sub-{plan.participant} with these settings, made by this very code (hyper {plan.steps[-1].version}). Give "
        "the settings and the work folder (-w) of the run that is meant; or give the same command without "
        f"{asked}: it computes what is missing."
    )


def _publish_again(plan: ParticipantPlan, work_dir: Path, output_dir: Path, journal: Journal) -> None:
    """Make the report, and put it into the output folder with the results that are not there as they were made."""
    results = [read_outputs(work_dir / WORKFLOW / tree.step)[tree.name] for tree in plan.trees[:-1]]
    report = _report_again(plan, work_dir)["tree"]
    restored, _ = publish(results, output_dir)
    publish([report], output_dir)
    if restored:
        files = "1 file of the results was" if restored == 1 else f"{restored} files of the results were"
        journal.warn(
            f"sub-{plan.participant}: {files} missing or changed in {output_dir}, and put back from {work_dir}.",
            plan.participant,
        )
    journal.say(f"sub-{plan.participant}: report written", plan.participant)


def _report_again(plan: ParticipantPlan, work_dir: Path) -> dict[str, Path]:
    report = plan.steps[-1]
    found = {
        name: read_outputs(work_dir / WORKFLOW / source.step)[source.name] for name, source in report.sources()
    }
    return execute(report.target, found, report.params, work_dir / "reports" / report.name)
