"""Checkpoints: all that the next step depends on, so that going on gives what never stopping would have given."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyper_bids.errors import InconsistentInput, MissingFiles
from hyper_bids.generate.training.settings import FLAGS
from hyper_bids.whole_files import replacing

FORMAT = "hyper-training-1"


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a checkpoint, whole or not at all.

    Raises
    ------
    OutputNotWritable
    """
    import torch

    with replacing(path, durable=True) as part:
        torch.save({"format": FORMAT, **content}, part)
    return Path(path)


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of the same training, allowing plain values and tensors only: no code can be in it.

    Raises
    ------
    MissingFiles
        It is damaged, or no checkpoint.
    InconsistentInput
        It is another training's: other settings, pictures or features.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = dict(content["identity"]) if content["format"] == FORMAT else None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, AttributeError, IndexError,
            pickle.UnpicklingError, zipfile.BadZipFile) as error:  # fmt: skip
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise MissingFiles(f"{path} is no whole checkpoint ({first}). Start anew with --restart.") from error
    if found is None:
        raise MissingFiles(f"{path} is a checkpoint of another version. Start anew with --restart.")
    differing = [name for name in sorted({*found, *identity}) if found.get(name) != identity.get(name)]
    if differing:
        words = "; ".join(_difference(name, found.get(name), identity.get(name)) for name in differing)
        raise InconsistentInput(
            f"{path} is the checkpoint of another training: {words}. Give what it was started with, start anew with "
            "--restart, or choose another --out."
        )
    return content


def _difference(name: str, found: object, wanted: object) -> str:
    if name == "pictures":
        return "other pictures in --images (or --space-images) than it was started with"
    return f"{FLAGS.get(name, name)} was {found}, now {wanted}"
