"""The check that every network makes of the device that it is to run on."""

from __future__ import annotations

import re

from hyper_bids.errors import UsageError


def checked_device(device: str) -> str:
    """Return ``device`` if PyTorch has it; ``auto`` is CUDA where there is one. For ``cpu`` torch is not imported.

    Parameters
    ----------
    device : ``cpu``, ``cuda``, ``cuda:N`` or ``auto``

    Raises
    ------
    UsageError
        No such device, or PyTorch finds none.
    """
    if device == "cpu":
        return device
    import torch

    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if n_devices else "cpu"
    wanted = re.fullmatch(r"cuda(?::([0-9]+))?", device)
    if wanted is None:
        raise UsageError(f"Unknown device {device!r}: cpu, cuda or cuda:N.")
    if not n_devices:
        raise UsageError(f"--device {device}: PyTorch finds no CUDA device here. Use --device cpu.")
    if int(wanted[1] or 0) >= n_devices:
        raise UsageError(f"--device {device}: PyTorch finds {n_devices} CUDA devices here, counted from cuda:0.")
    return device
