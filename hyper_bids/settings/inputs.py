"""Options of what is read, and how trials are named, split and folded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyper_bids.errors import UsageError
from hyper_bids.presets import PRESET_NAMES
from hyper_bids.settings.declare import option

COMPONENTS, DAND_COMPONENTS = 512, 699
"""Principal components of the eigenface baseline, and of DAND's latent space (Gucluturk et al. 2017)."""


@dataclass(frozen=True)
class InputSettings:
    """What is read, and how trials are named, split and folded."""

    preset: str | None = option(
        None,
        "a published system: sets the options of docs/presets.md; what is given besides it wins",
        choices=PRESET_NAMES,
        identity=False,
    )
    session_label: tuple[str, ...] = option(
        (),
        "sessions to use, with or without 'ses-' (default: all)",
        kind="list",
        flags=("--session_label", "--session-id", "--session_id"),
        strip="ses-",
    )
    bids_filter_file: Path | None = option(
        None, "JSON file with entities per query (bold, events, mask, confounds), as in fMRIPrep", kind="path"
    )
    derivatives: tuple[str, ...] = option(
        (),
        "preprocessed data in fMRIPrep's layout; NAME becomes the key in DatasetLinks "
        "(default: BIDS_DIR/derivatives/fmriprep where it exists; none: the BOLD as it came)",
        kind="list",
        flags=("-d",),
        metavar="[NAME=]PATH",
        identity=False,
    )
    space: str | None = option(
        None,
        "which preprocessed BOLD: LABEL, LABEL:res-X, or orig for files without space- "
        "(default: T1w if there, else the only one)",
        metavar="LABEL[:res-X]",
    )
    overlay: Path | None = option(
        None, "a partial BIDS root with events sidecars, stimuli/ files and stimuli.tsv, merged last", kind="path"
    )
    latents: tuple[str, ...] = option(
        (), "one latent file as a shortcut for an overlay", kind="list", metavar="NAME=FILE", identity=False
    )
    latent_space: str | None = option(None, "which latent space to decode (default: the only one)")
    latent_generator: str | None = option(
        None, "decode the latent space whose Generator.Name in the events sidecar is this one (set by the presets)"
    )
    encoder: str | None = option(
        None,
        "compute the latents from the stimulus images instead of reading them: eigenface (principal components of the "
        "training images), identity (pixels), dand (principal components of their VGG-Face features, which need "
        "--feature-weights), or vaegan (the encoder in --weights)",
        choices=("eigenface", "identity", "dand", "vaegan"),
    )
    n_components: int | None = option(
        None,
        "components of --encoder eigenface and dand (fewer images: their number - 1) (default: 512; dand: 699)",
        kind="int",
        metavar="N",
        least=1,
    )
    image_size: int = option(
        64, "height and width to which --encoder scales the images", kind="int", metavar="N", least=8
    )
    responses: Path | None = option(
        None,
        "folder of response maps that exist already (_statmap.nii.gz with a TSV; an earlier run's, or other programs' "
        "betas in that form), decoded instead of fitting a GLM",
        kind="path", identity="given",  # their content is recorded; that no GLM was fitted is a setting
    )
    stim_key: str | None = option(
        None, "events column that names the stimulus, with an optional regular expression", metavar="COLUMN[:REGEX]"
    )
    train_trial_types: tuple[str, ...] = option((), "trial types to train on", kind="list")
    test_trial_types: tuple[str, ...] = option((), "trial types to test on", kind="list")
    cross_validate: str | None = option(
        None,
        "instead of a train/test split: run, session (leave one out) or stimulus[:K] (K folds, default 10)",
        metavar="{run,session,stimulus[:K]}",
    )
    strict: bool = option(False, "treat identical pictures in the training and the test set as an error", kind="flag")

    def __post_init__(self) -> None:
        """Fill in what depends on the encoder."""
        if self.n_components is None:
            object.__setattr__(self, "n_components", DAND_COMPONENTS if self.encoder == "dand" else COMPONENTS)


def check_inputs(inputs: InputSettings) -> None:
    """Refuse what cannot be meant together.

    Raises
    ------
    UsageError
    """
    if inputs.cross_validate is not None:
        parse_cross_validation(inputs.cross_validate)
    if inputs.encoder is not None and inputs.latents:
        raise UsageError("--encoder computes the latents and --latents reads them; give one of the two.")


def parse_cross_validation(text: str) -> tuple[str, int | None]:
    """Return the unit of the folds and, for stimulus folds, their number.

    >>> parse_cross_validation("stimulus:5"), parse_cross_validation("run")
    (('stimulus', 5), ('run', None))
    """
    unit, _, number = text.partition(":")
    if unit not in ("run", "session", "stimulus") or (number and unit != "stimulus"):
        raise UsageError(f"--cross-validate: {text!r} is not run, session or stimulus[:K].")
    if unit != "stimulus":
        return unit, None
    if number and (not (number.isascii() and number.isdecimal()) or int(number) < 2):
        raise UsageError(f"--cross-validate: {text!r}: the number of folds must be a whole number of at least 2.")
    return unit, int(number or 10)
