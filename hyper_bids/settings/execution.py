"""Options of how and where the work is done: they never change a result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyper_bids.settings.declare import option


@dataclass(frozen=True)
class Execution:
    """How and where the work is done; nothing here changes a result."""

    participant_label: tuple[str, ...] = option(
        (),
        "participants to process, with or without 'sub-' (default: all)",
        kind="list",
        flags=("--participant_label",),
        strip="sub-",
    )
    task_id: tuple[str, ...] = option(
        (),
        "tasks to process (default: every task whose events name latents)",
        kind="list",
        flags=("-t", "--task_id"),
        strip="task-",
    )
    work_dir: Path | None = option(
        None,
        "folder for intermediate files, from which an interrupted run resumes (default: ./hyper_work)",
        kind="path",
        flags=("-w", "--work_dir"),
    )
    clean_work_dir: bool = option(
        False, "delete the intermediate files of the participants that succeeded", kind="flag"
    )
    n_cpus: int | None = option(
        None,
        "number of processes (default: the CPUs that this process may use)",
        kind="int",
        flags=("--nprocs", "--nthreads", "--n_cpus"),
        metavar="N",
        least=1,
    )
    omp_nthreads: int = option(1, "threads per process", kind="int", flags=("--omp_nthreads",), metavar="N", least=1)
    mem_mb: float | None = option(
        None,
        "memory limit: MB, or with a unit as in 16G (--mem-gb: GB; default: what this process may use)",
        kind="memory",
        flags=("--mem_mb", "--mem"),
        metavar="SIZE",
    )
    device: str = option("auto", "where generators run", choices=("auto", "cpu", "cuda"))
    use_plugin: str | None = option(None, "nipype execution plugin (MultiProc, Linear, SLURM, ...)")
    nipype_plugin_file: Path | None = option(
        None, "JSON or YAML file with nipype's plugin and plugin_args", kind="path"
    )
    skip_bids_validation: bool = option(
        False, "do not run the BIDS validator on the input", kind="flag", flags=("--skip_bids_validation",)
    )
    bids_database_dir: Path | None = option(
        None, "folder for pybids databases, one per dataset and selection", kind="path"
    )
    stop_on_first_crash: bool = option(False, "stop when a step fails instead of finishing the others", kind="flag")
    reports_only: bool = option(
        False,
        "make the reports again from the work folder (-w) of a finished run, which is given the same options; results "
        "that the output lacks are put back",
        kind="flag",
    )
    boilerplate_only: bool = option(
        False,
        "write only logs/CITATION.md and .bib, the methods text and its references, of a finished run: it too reads "
        "the work folder (-w)",
        kind="flag",
        flags=("--boilerplate_only",),
    )
    dry_run: bool = option(False, "print what would be done and write nothing", kind="flag")
    config: Path | None = option(
        None, "TOML file with options; the command line wins", kind="path", flags=("--config-file",)
    )
    verbose: int = option(0, "print more", kind="count", flags=("-v",))
    quiet: bool = option(False, "print warnings and errors only", kind="flag", flags=("-q",))
    debug: bool = option(False, "show tracebacks and every message of the libraries", kind="flag")
