"""What a process may use, from SLURM's variables and from made-up cgroup trees."""

import os

import psutil
import pytest

from hyper_bids.workflow import resources
from hyper_bids.workflow.resources import available_cpus, available_memory_mb

GIB = 2**30
NO_LIMIT = str(2**63 - 4096)


def tree(root, membership, files):
    """A root with ``proc/self/cgroup`` and files below ``sys/fs/cgroup``."""
    for name, text in {"proc/self/cgroup": membership, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.fixture(autouse=True)
def big_machine(monkeypatch):
    """Sixteen CPUs and 64 GiB free, so that every limit below is a smaller one."""
    free = psutil.virtual_memory()._replace(available=64 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)


@pytest.mark.parametrize(
    ("environment", "cpus"),
    [
        ({}, 16),
        ({"SLURM_CPUS_PER_TASK": "3"}, 3),
        ({"SLURM_CPUS_ON_NODE": "5"}, 5),
        ({"SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "12"}, 3),
        ({"SLURM_CPUS_PER_TASK": "99"}, 16),
        ({"SLURM_CPUS_PER_TASK": ""}, 16),
        ({"SLURM_CPUS_PER_TASK": "four"}, 16),
    ],
)
def test_cpus_of_slurm(environment, cpus, tmp_path):
    assert available_cpus(environment, tmp_path) == cpus


@pytest.mark.parametrize(
    ("environment", "megabytes"),
    [
        ({}, 65536),
        ({"SLURM_MEM_PER_NODE": "3000"}, 3000),
        ({"SLURM_MEM_PER_NODE": "0"}, 65536),
        ({"SLURM_MEM_PER_CPU": "700", "SLURM_CPUS_ON_NODE": "5"}, 3500),
        ({"SLURM_MEM_PER_CPU": "700", "SLURM_CPUS_PER_TASK": "4"}, 2800),
        ({"SLURM_MEM_PER_CPU": "700"}, 700),
        ({"SLURM_MEM_PER_NODE": "999999"}, 65536),
    ],
)
def test_memory_of_slurm(environment, megabytes, tmp_path):
    assert available_memory_mb(environment, tmp_path) == megabytes


CGROUPS = {
    "v2, own limit": ("0::/job", {"job/memory.max": str(2 * GIB), "job/cpu.max": "250000 100000"}, 2, 2048),
    "v2, the limit is the parent's": (
        "0::/slurm/job_7/task_0",
        {
            "slurm/job_7/task_0/memory.max": "max",
            "slurm/job_7/task_0/cpu.max": "max 100000",
            "slurm/job_7/memory.max": str(3 * GIB),
            "slurm/job_7/cpu.max": "300000 100000",
        },
        3,
        3072,
    ),
    "v2, container with a namespace of its own": (
        "0::/",
        {"memory.max": str(GIB), "cpu.max": "50000 100000"},
        1,
        1024,
    ),
    "v2, no limit": ("0::/job", {"job/memory.max": "max", "job/cpu.max": "max 100000"}, 16, 65536),
    "v1, the limit is the parent's": (
        "5:memory:/slurm/job_7/task_0\n4:cpu,cpuacct:/slurm/job_7\n0::/",
        {
            "memory/slurm/job_7/task_0/memory.limit_in_bytes": NO_LIMIT,
            "memory/slurm/job_7/memory.limit_in_bytes": str(5 * GIB),
            "cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "400000",
            "cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000",
        },
        4,
        5120,
    ),
    "v1, a container that sees its own root": (
        "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc",
        {
            "memory/memory.limit_in_bytes": str(6 * GIB),
            "cpu,cpuacct/cpu.cfs_quota_us": "600000",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
        6,
        6144,
    ),
    "v1, no limit": (
        "5:memory:/a\n4:cpu:/a",
        {
            "memory/a/memory.limit_in_bytes": NO_LIMIT,
            "cpu/a/cpu.cfs_quota_us": "-1",
            "cpu/a/cpu.cfs_period_us": "100000",
        },
        16,
        65536,
    ),
}


@pytest.mark.parametrize("name", CGROUPS)
def test_cgroups(name, tmp_path):
    membership, files, cpus, megabytes = CGROUPS[name]
    root = tree(tmp_path, membership, files)
    assert available_cpus({}, root) == cpus
    assert available_memory_mb({}, root) == megabytes


def test_the_least_of_all_limits_counts(tmp_path):
    root = tree(tmp_path, "0::/job", {"job/memory.max": str(2 * GIB), "job/cpu.max": "700000 100000"})
    assert available_cpus({"SLURM_CPUS_PER_TASK": "4"}, root) == 4
    assert available_cpus({"SLURM_CPUS_PER_TASK": "9"}, root) == 7
    assert available_memory_mb({"SLURM_MEM_PER_NODE": "9000"}, root) == 2048
    assert available_memory_mb({"SLURM_MEM_PER_NODE": "1500"}, root) == 1500


def test_options_come_first(monkeypatch):
    from hyper_bids.settings import Execution
    from hyper_bids.workflow import participants

    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "512")
    assert participants.limits(Execution()) == (1, 0.5)
    assert participants.limits(Execution(n_cpus=5, mem_mb=2048.0)) == (5, 2.0)


def test_this_machine_has_some():
    assert available_cpus({}, resources.ROOT) >= 1
    assert available_memory_mb({}, resources.ROOT) > 0
