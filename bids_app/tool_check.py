"""``hyper-tools check``: what is missing in the events sidecars; writes a template of them."""

from __future__ import annotations

from typing import Any


def add_check(commands: Any) -> None:
    """Add the command to the subparsers of ``hyper-tools``."""
    from bids_app.options import add_command, add_one_option, add_options
    from hyper_bids.settings import GLMSettings, InputSettings

    words = "what a dataset's events sidecars lack, and what hyper would do with it; writes a template"
    parser = add_command(commands, "check", words)
    parser.add_argument("bids_dir", help="root of any BIDS dataset; nothing is written to it")
    parser.add_argument(
        "--template", metavar="FILE|DIR",
        help="write sidecars to edit: a folder to give to hyper as --overlay, or the .json file of one task",
    )  # fmt: skip
    parser.add_argument(
        "--participant-label", "--participant_label", nargs="+", action="extend", default=[], metavar="LABEL",
        help="participants to look at (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "-t", "--task-id", "--task_id", nargs="+", action="extend", default=[], metavar="LABEL",
        help="tasks to look at (default: all)",
    )  # fmt: skip
    parser.add_argument("--skip-bids-validation", action="store_true", help="do not run the BIDS validator")
    add_one_option(parser, GLMSettings, "response")
    add_options(parser, InputSettings, "as hyper would be called")


def run_check(parsed: Any) -> int:
    """Check what was asked for; return the exit code."""
    from pathlib import Path

    from bids_app.options import values_of
    from hyper_bids.settings import GLMSettings, InputSettings, build, layered
    from hyper_bids.workflow.check import check_dataset
    from hyper_bids.workflow.sidecar_template import write_templates

    settings, _ = build(layered([values_of(parsed, InputSettings) | values_of(parsed, GLMSettings)]))
    found = check_dataset(
        Path(parsed.bids_dir),
        settings.inputs,
        participants=parsed.participant_label,
        tasks=parsed.task_id,
        validated=not parsed.skip_bids_validation,
        response=settings.glm.response,
    )
    print(found.text())
    undeclared = [task for task in found.tasks if task.keys is not None and not task.declared]
    if undeclared and found.exit_code and not parsed.template:
        print("Next: the same command with --template FOLDER writes sidecars to edit; then it takes --overlay FOLDER.")
    if parsed.template:
        templates = {task.task: task.keys for task in found.tasks if task.keys is not None}
        stimuli = {task.task: task.stimuli for task in found.tasks}
        for path in write_templates(Path(parsed.template), templates, stimuli, found.root):
            rows = f"a line for every stimulus that needs latents; {path.stem}.npy with as many rows belongs beside it"
            keys = "a guess. Read it, correct it, and give its folder to hyper and to this command as --overlay"
            print(f"wrote {path}: {rows if path.suffix == '.tsv' else keys}")
    return found.exit_code
