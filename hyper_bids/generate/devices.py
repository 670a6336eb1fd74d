"""The check that every network makes of the device that it is to run on."""

from __future__ import annotations

from hyper_bids.errors import UsageError


def checked_device(device: str) -> str:
    """Return ``device`` if PyTorch has it; ``auto`` is CUDA where there is one.

    Raises
    ------
    UsageError
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise UsageError(f"Unknown device {device!r}: cpu, cuda or cuda:N.") from error
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"Unknown device {device!r}: cpu, cuda or cuda:N.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: PyTorch finds no CUDA device here. Use --device cpu.")
    return device
