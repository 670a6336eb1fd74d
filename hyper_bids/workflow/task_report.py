"""What the report is told about a task: the stages' facts, and what only the plan knows."""

from __future__ import annotations

from typing import Any

from hyper_bids.derivatives.names import model_label
from hyper_bids.workflow.plan import Output
from hyper_bids.workflow.task_plan import TaskPlan


def told(plan: TaskPlan) -> dict[str, Output]:
    """What the report reads of the stages besides what they publish."""
    found = {
        "facts": Output(plan.name("pool"), "facts"),
        "designs": Output(plan.name("pool" if plan.task.maps else "designs"), "designs"),
        "selection": Output(plan.name("select"), "facts"),
    }
    made = {step.name for step in plan.steps}
    for name, step in (("reliability", "reliability"), ("encoding", "encode")):
        if plan.name(step) in made:  # for all tasks or for none: that is a setting
            found[name] = Output(plan.name(step), "facts")
    return found


def context(plan: TaskPlan) -> dict[str, Any]:
    """What the report says about this task besides the stages' own facts."""
    task = plan.task
    samples = task.trials[task.trials["role"] == "sample"]
    counts = task.trials.groupby(["trial_type", "role"]).size()
    tested = plan.tested()
    return {
        "task": task.task,
        "scope": plan.scope,
        "latent_space": task.space,
        "models": [{"decoder": name, "model": model_label(name)} for name in plan.settings.decode.decoder],
        "generator": plan.generator,
        "generator_notice": plan.generator_notice,
        "stimulus_paths": {label: str(path) for label, path in task.image_files.items() if label in tested},
        "notices": list(task.notices),
        "cross_validate": plan.cross_validate,
        "recordings": [plan.recording(recording, "bold") for recording in task.recordings],
        "maps": [plan.recording(item, "image") for item in task.maps],
        "n_train": int((samples["split"] == "train").sum()),
        "n_test": int((samples["split"] == "test").sum()),
        "n_samples_by_trial_type": {f"{kind} ({role})": int(n) for (kind, role), n in counts.items()},
    }
