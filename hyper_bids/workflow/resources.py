"""What this process may use: options first, then SLURM, cgroups and affinity; never the machine's size."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def available_cpus(environment: Mapping[str, str] = os.environ) -> int:
    """CPUs that this process may use: the least of affinity, cgroup quota and SLURM's grant."""
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    granted = environment.get("SLURM_CPUS_PER_TASK", "")
    if granted.isdigit():
        limits.append(int(granted))
    quota = _cgroup_cpus()
    if quota is not None:
        limits.append(quota)
    return max(1, min(limits))


def available_memory_mb(environment: Mapping[str, str] = os.environ) -> float:
    """Memory in MB that this process may use: the least of what is free, the cgroup's limit and SLURM's grant."""
    import psutil

    limits = [psutil.virtual_memory().available / 2**20]
    granted = environment.get("SLURM_MEM_PER_NODE", "")
    if granted.isdigit() and int(granted) > 0:
        limits.append(float(granted))
    limit = _cgroup_memory()
    if limit is not None:
        limits.append(limit / 2**20)
    return min(limits)


def _cgroup_folder(controller: str) -> Path:
    """This process's folder for a controller under cgroup v1, or the one folder of v2."""
    try:
        for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
            _, names, path = line.split(":", 2)
            if not names:
                return Path("/sys/fs/cgroup") / path.lstrip("/")
            if controller in names.split(","):
                return Path("/sys/fs/cgroup") / names / path.lstrip("/")
    except (OSError, ValueError):
        pass  # no cgroups here, which is a limit less and no error
    return Path("/sys/fs/cgroup")


def _read(folder: Path, name: str) -> str | None:
    for place in (folder, *folder.parents):
        path = place / name
        if path.is_file():
            return path.read_text(encoding="ascii").strip()
        if place == Path("/sys/fs/cgroup"):
            break
    return None


def _cgroup_cpus() -> int | None:
    v2 = _read(_cgroup_folder("cpu"), "cpu.max")
    if v2:
        quota, _, period = v2.partition(" ")
        return None if quota == "max" else max(1, int(quota) // int(period or 100000))
    quota, period = (_read(_cgroup_folder("cpu"), f"cpu.cfs_{what}_us") for what in ("quota", "period"))
    return max(1, int(quota) // int(period)) if quota and period and int(quota) > 0 else None


def _cgroup_memory() -> int | None:
    v2 = _read(_cgroup_folder("memory"), "memory.max")
    if v2:
        return None if v2 == "max" else int(v2)
    v1 = _read(_cgroup_folder("memory"), "memory.limit_in_bytes")
    return int(v1) if v1 and int(v1) < 2**60 else None
