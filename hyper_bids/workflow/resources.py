"""What this process may use: the least of affinity, cgroup limits and SLURM's grant; never the machine's size.

Options win over all of it (`hyper_bids.workflow.participants.limits`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path("/")
UNLIMITED = 2**60
"""cgroup v1 writes "no limit" as the largest multiple of a page."""


def available_cpus(environment: Mapping[str, str] = os.environ, root: Path = ROOT) -> int:
    """CPUs that this process may use: the least of affinity (and cpuset), cgroup quota and SLURM's grant.

    Parameters
    ----------
    environment : where ``SLURM_CPUS_PER_TASK`` is looked for, or ``SLURM_CPUS_ON_NODE`` where no
        ``--cpus-per-task`` was given
    root : of ``proc`` and ``sys``

    Returns
    -------
    at least 1; a quota of 2.5 CPUs counts as 2
    """
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    granted = _positive(environment, "SLURM_CPUS_PER_TASK") or _positive(environment, "SLURM_CPUS_ON_NODE")
    limits += [granted] if granted else []
    limits += [int(quota) for quota in _cpu_quotas(root)]
    return max(1, min(limits))


def available_memory_mb(environment: Mapping[str, str] = os.environ, root: Path = ROOT) -> float:
    """Memory in MB that this process may use: the least of what is free, cgroup limits and SLURM's grant.

    Parameters
    ----------
    environment : where ``SLURM_MEM_PER_NODE`` is looked for (``--mem``; 0 is all of the node's), or
        ``SLURM_MEM_PER_CPU`` (``--mem-per-cpu``), which counts for every CPU of the job on this node
    root : of ``proc`` and ``sys``
    """
    import psutil

    limits = [psutil.virtual_memory().available / 2**20]
    granted = _positive(environment, "SLURM_MEM_PER_NODE")
    per_cpu = _positive(environment, "SLURM_MEM_PER_CPU")
    if granted is None and per_cpu is not None:
        cpus = _positive(environment, "SLURM_CPUS_ON_NODE") or _positive(environment, "SLURM_CPUS_PER_TASK") or 1
        granted = per_cpu * cpus
    limits += [float(granted)] if granted else []
    limits += [limit / 2**20 for limit in _memory_limits(root)]
    return min(limits)


def _positive(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else None


def _cpu_quotas(root: Path) -> Iterator[float]:
    """CPUs' worth of time per period, of every cgroup that this process is in."""
    for folder in _cgroups(root, "cpu"):
        words = _read(folder / "cpu.max").split()  # v2: "200000 100000" or "max 100000"
        if not words:
            words = [_read(folder / f"cpu.cfs_{what}_us") for what in ("quota", "period")]  # v1: -1 is no quota
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]) > 0:
            yield int(words[0]) / int(words[1])


def _memory_limits(root: Path) -> Iterator[int]:
    """Memory limits in bytes, of every cgroup that this process is in."""
    for folder in _cgroups(root, "memory"):
        text = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if text.isdecimal() and int(text) < UNLIMITED:
            yield int(text)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yield this process's cgroup and those above it: each one's limit holds for all below.

    SLURM, for one, limits a job's cgroup and leaves the task's in it unlimited. A folder that
    is not there is skipped: inside a container ``/proc/self/cgroup`` may name the host's
    folders while ``/sys/fs/cgroup`` begins at the container's.
    """
    mount = root / "sys" / "fs" / "cgroup"
    seen = set()
    for line in _read(root / "proc" / "self" / "cgroup").splitlines():
        _, names, path = line.split(":", 2)
        controllers = names.split(",")
        if names and controller not in controllers:
            continue
        tops = [mount / controller, mount / names] if names else [mount, mount / "unified"]
        parts = [part for part in path.split("/") if part and part != ".."]
        for top in tops:
            for depth in range(len(parts), -1, -1):
                folder = top.joinpath(*parts[:depth])
                if folder not in seen and folder.is_dir():
                    seen.add(folder)
                    yield folder


def _read(path: Path) -> str:
    """Return a file's text; empty where there is none: a limit less, and no error."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
