"""What the options name, held against a task before the first step: generator, attributes and masks have to fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyper_bids.evaluate.image_protocols import PROTOCOLS
from hyper_bids.inputs.attributes import read_directions
from hyper_bids.inputs.locate import stimuli_folders
from hyper_bids.inputs.mask_files import find_masks
from hyper_bids.inputs.masks import check_user_mask
from hyper_bids.inputs.volumes import read_header
from hyper_bids.workflow.generator_choice import check_fits
from hyper_bids.workflow.task_plan import TaskPlan


@dataclass(frozen=True)
class Checked:
    """What the checks found out.

    Parameters
    ----------
    pixels : height of the generator's pictures
    masks : stimulus -> file of its picture's mask, where the protocol needs them
    """

    pixels: int
    masks: dict[str, str]


def check_named(plan: TaskPlan) -> Checked:
    """Find out before the GLM whether generator, attributes and masks fit this task.

    Raises
    ------
    HyperError
    """
    task, settings = plan.task, plan.settings
    pixels = check_fits(plan.generator, task, settings)
    read_directions([Path(path) for path in settings.evaluate.attributes], task.n_latents)
    masks = _picture_masks(plan)
    header = read_header(task.reference)
    if settings.select.mask is not None:
        check_user_mask(settings.select.mask, header.shape[:3], header.affine)
    return Checked(pixels, masks)


def _picture_masks(plan: TaskPlan) -> dict[str, str]:
    protocol = PROTOCOLS.get(plan.settings.evaluate.protocol or "")
    if protocol is None or not protocol.masked:
        return {}
    folders = stimuli_folders(plan.dataset.root, plan.settings.inputs.overlay)
    found = find_masks(plan.task.stimuli, sorted(plan.tested()), folders)
    return {label: str(path) for label, path in found.items()}
