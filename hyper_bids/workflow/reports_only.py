"""``--reports-only`` and ``--boilerplate-only``: reports again, from what an earlier run left."""

from __future__ import annotations

from pathlib import Path

from hyper_bids.derivatives.tree import publish
from hyper_bids.errors import HyperError, MissingFiles
from hyper_bids.settings import Execution, Settings
from hyper_bids.workflow.execute import execute, read_outputs
from hyper_bids.workflow.journal import Journal
from hyper_bids.workflow.loading import load
from hyper_bids.workflow.nipype_engine import WORKFLOW
from hyper_bids.workflow.participant_plan import ParticipantPlan, plan_participant
from hyper_bids.workflow.participants import check_folders, choose_device, exit_code, limits, write_citation


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
        errors, finished = dict(loaded.errors), 0
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
                _check_results(plan, work_dir)
                if not execution.boilerplate_only:
                    publish([_report_again(plan, work_dir)["tree"]], output_dir)
                    journal.say(f"sub-{participant}: report written", participant)
                write_citation(output_dir, plan, work_dir)
                finished += 1
            except HyperError as error:
                errors[participant] = error
                journal.fail(f"sub-{participant}: {error}", participant)
        return exit_code(errors, finished)
    finally:
        journal.close()


def _check_results(plan: ParticipantPlan, work_dir: Path) -> None:
    """Every step but the report must have been run with these very settings."""
    for step in plan.steps[:-1]:
        if read_outputs(work_dir / WORKFLOW / step.name, step.stamp()) is None:
            raise MissingFiles(
                f"{work_dir} holds no results of {step.name} with these settings; give the settings that ran, or run "
                "the same command without --reports-only."
            )


def _report_again(plan: ParticipantPlan, work_dir: Path) -> dict[str, Path]:
    report = plan.steps[-1]
    found = {
        name: read_outputs(work_dir / WORKFLOW / source.step)[source.name] for name, source in report.sources()
    }
    return execute(report.target, found, report.params, work_dir / "reports" / report.name)


