"""The only module that knows nipype: turns Steps into a Workflow and runs it.

What was measured with nipype 1.11 and is dealt with here: its default cache key
misses changed content (``hash_method = content``); code is not hashed (the version is
an input); MultiProc waits for ever when a worker is killed (`SurvivingPlugin`); the
plugins of schedulers fail over their own crash report when a job is (`ReportingPlugin`);
fork hangs once the parent used threads (forkserver); it polls every 2 s (0.05 s here);
it looks up a telemetry host when the first node is made (NIPYPE_NO_ET).
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

os.environ.setdefault("NIPYPE_NO_ET", "1")  # must be set before nipype is imported

import nipype
from nipype.interfaces.base import DynamicTraitedSpec, Str, TraitedSpec, traits
from nipype.interfaces.base.core import SimpleInterface
from nipype.interfaces.io import add_traits
from nipype.pipeline import engine
from nipype.pipeline.plugins.base import DistributedPluginBase
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

from hyper_bids.errors import HyperError, UsageError, WorkerKilled, did_you_mean
from hyper_bids.workflow.execute import ERROR, execute, read_error, record_error
from hyper_bids.workflow.plan import Output, Step, check_plan
from hyper_bids.workflow.step_folders import Finished, collect, forget_if_damaged, when_finished

WORKFLOW = "hyper"
POLL_SECONDS = 0.05
PRELOAD = ["hyper_bids.workflow.nipype_engine", "hyper_bids.workflow.steps", "numpy", "pandas", "nibabel"]
"""Imported once in the fork server, so that workers start at once."""

SPARE = ("_node.pklz", "_inputs.pklz")
"""Files of nipype's that nothing reads once a step has finished."""

Progress = Callable[[Step, str], None]


class _StepInput(DynamicTraitedSpec):
    target = Str(mandatory=True)
    params = Str(mandatory=True)
    limits = Str(mandatory=True, nohash=True)
    identity = Str(mandatory=True)
    stamp = Str(mandatory=True)
    version = Str(mandatory=True)


class StepInterface(SimpleInterface):
    """A step as a nipype interface: files are traits (hashed by content), the rest one JSON text."""

    input_spec = _StepInput
    output_spec = TraitedSpec

    def __init__(self, file_names: tuple[str, ...] = (), output_names: tuple[str, ...] = (), **inputs: Any) -> None:
        super().__init__(**inputs)
        self._file_names, self._output_names = file_names, output_names
        add_traits(self.inputs, list(file_names))

    def _outputs(self) -> DynamicTraitedSpec:
        return add_traits(DynamicTraitedSpec(), list(self._output_names), trait_type=traits.Any)

    def _run_interface(self, runtime: Any) -> Any:
        files = {name: Path(getattr(self.inputs, name)) for name in self._file_names}
        arguments = {**json.loads(self.inputs.params), **json.loads(self.inputs.limits)}
        made = execute(self.inputs.target, files, arguments, Path(runtime.cwd), self.inputs.stamp)
        for name in self._output_names:
            self._results[name] = str(made[name])
        return runtime


def start_worker(cwd: str, debug: bool) -> None:
    """Prepare a worker process: its folder, nipype's log as quiet as the main process's, and its end.

    A worker whose main process was killed would wait for its next task for ever.
    """
    process_initializer(cwd)
    _quieten(debug)
    main_process = multiprocessing.parent_process()
    if main_process is not None:
        threading.Thread(target=_end_with, args=(main_process.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _quieten(debug: bool) -> None:
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(logging.INFO if debug else logging.CRITICAL)


class SurvivingPlugin(MultiProcPlugin):
    """MultiProc that goes on when a worker is killed.

    A killed worker breaks the whole pool, and with it every task in flight. Each of
    those is tried once more, alone in a pool of its own; the one that breaks that too is
    reported, and the others finish.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self._jobs: dict[int, tuple[Any, bool]] = {}
        self._broken: list[int] = []
        self._alone: tuple[int, ProcessPoolExecutor, Future] | None = None
        self.pool.shutdown(wait=False)
        self.pool = self._new_pool(self.processors)

    def _new_pool(self, workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=workers,
            initializer=start_worker,
            initargs=(self._cwd, self.plugin_args.get("debug", False)),
            mp_context=multiprocessing.get_context(self.plugin_args.get("mp_context")),
        )

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        taskid = self._taskid
        self._jobs[taskid] = (node, updatehash)
        try:
            future = self.pool.submit(run_node, node, updatehash, taskid)
        except BrokenProcessPool:
            self.pool = self._new_pool(self.processors)
            future = self.pool.submit(run_node, node, updatehash, taskid)
        self._task_obj[taskid] = future
        return taskid

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        self._try_again_alone()
        if taskid in self._taskresult:
            return self._taskresult[taskid]
        if taskid in self._broken or (self._alone and self._alone[0] == taskid):
            return None
        future = self._task_obj[taskid]
        if not future.done():
            return None
        try:
            self._taskresult[taskid] = future.result()
        except BrokenProcessPool:
            self._broken.append(taskid)
            return None
        return self._taskresult[taskid]

    def _try_again_alone(self) -> None:
        if self._alone is not None:
            taskid, pool, future = self._alone
            if not future.done():
                return
            try:
                self._taskresult[taskid] = future.result()
            except BrokenProcessPool:
                self._taskresult[taskid] = self._killed(taskid)
            pool.shutdown(wait=False)
            self._alone = None
        if self._broken:
            taskid = self._broken.pop(0)
            pool = self._new_pool(1)
            self._alone = (taskid, pool, pool.submit(run_node, *self._jobs[taskid], taskid))

    def _killed(self, taskid: int) -> dict[str, Any]:
        node = self._jobs[taskid][0]
        error = WorkerKilled(
            f"the worker was killed twice, probably for want of memory (it had asked for {node.mem_gb:.1f} GB of the "
            f"{self.memory_gb:.1f} GB that all processes may use). Give the job more memory (--mem of the scheduler, "
            f"--memory of docker), or run fewer processes at once: --n-cpus {max(1, self.processors // 2)} instead of "
            f"{self.processors}, or a smaller --mem."
        )
        record_error(Path(node.output_dir()), error)
        return {"result": None, "traceback": [str(error)], "taskid": taskid}

    def _clear_task(self, taskid: int) -> None:
        self._task_obj.pop(taskid, None)
        self._jobs.pop(taskid, None)


class ReportingPlugin:
    """What a plugin of nipype's that sends steps to a scheduler lacks: the words of a step, or of its killed job.

    nipype's own crash report adds a list to a text where a job left no result, and ends the run.
    """

    def _report_crash(self, node: Any, result: dict[str, Any] | None = None) -> str:
        folder = Path(node.output_dir())
        if read_error(folder) is None:
            said = "".join((result or {}).get("traceback") or "").strip().splitlines()
            options = self.plugin_args.get("sbatch_args") or self.plugin_args.get("qsub_args")
            asked = f"; the scheduler was asked for {options!r}" if options else ""
            error = WorkerKilled(
                f"its job ended without a result, probably killed for want of memory (the step needs about "
                f"{node.mem_gb:.1f} GB{asked}). Ask for more memory or time in --nipype-plugin-file (plugin_args: "
                f"sbatch_args or qsub_args) and give the same command again. The scheduler's own words are in "
                f"{folder.parent / 'batch'}; nipype's: {said[-1].strip() if said else 'none'}"
            )
            record_error(folder, error)
        return str(folder / ERROR)


def run(
    steps: list[Step],
    work_dir: Path,
    *,
    n_procs: int,
    memory_gb: float,
    plugin: str | None = None,
    plugin_args: dict[str, Any] | None = None,
    stop_on_first_crash: bool = False,
    progress: Progress | None = None,
    debug: bool = False,
) -> Finished:
    """Run a plan; finished steps of an earlier run with equal inputs are not run again.

    Parameters
    ----------
    steps : in an order in which each comes after those it waits for
    work_dir : folder that keeps the steps' folders between runs
    n_procs, memory_gb : limits for all steps together
    plugin, plugin_args : a nipype plugin instead of our own MultiProc
    progress : called with a step and ``start``, ``end``, ``reused`` (finished in an earlier run) or ``exception``

    Returns
    -------
    Finished
        A failed step does not stop those that do not need it (unless ``stop_on_first_crash``).
    """
    check_plan(steps)
    work_dir = Path(work_dir).absolute()
    folders = {step.name: work_dir / WORKFLOW / step.name for step in steps}
    for step in steps:
        forget_if_damaged(folders[step.name], step)
    earlier = {step.name: when_finished(folders[step.name]) for step in steps}
    _configure(work_dir, stop_on_first_crash, debug)
    workflow = _workflow(steps, work_dir)
    named = {step.name: step for step in steps}

    def report(node: Any, status: str) -> None:
        if node.name not in named:
            return
        folder = folders[node.name]
        if status == "end":
            for spare in SPARE:
                (folder / spare).unlink(missing_ok=True)
            if earlier[node.name] is not None and when_finished(folder) == earlier[node.name]:
                status = "reused"
        if progress is not None:
            progress(named[node.name], status)

    broke: Exception | None = None
    try:
        arguments = {"debug": debug, "status_callback": report, **(plugin_args or {})}
        _run_workflow(workflow, plugin, arguments, n_procs, memory_gb)
    except HyperError:
        raise
    except Exception as error:  # nipype wraps what a step raised; the step left its own words
        broke = error
    return collect(steps, folders, broke)


def check_plugin(name: str | None) -> None:
    """Refuse a plugin that nipype does not have.

    Raises
    ------
    UsageError
    """
    from nipype.pipeline import plugins

    if name is not None and not hasattr(plugins, f"{name}Plugin"):
        known = sorted(found.removesuffix("Plugin") for found in dir(plugins) if found.endswith("Plugin"))
        raise UsageError(f"--use-plugin {name}: nipype has no such plugin.{did_you_mean(name, known)} It has {known}.")


def _configure(work_dir: Path, stop_on_first_crash: bool, debug: bool) -> None:
    nipype.config.update_config(
        {
            "execution": {
                "hash_method": "content",
                "poll_sleep_duration": POLL_SECONDS,
                "crashdump_dir": str(work_dir / "crash"),
                "crashfile_format": "txt",
                "create_report": "false",
                "remove_unnecessary_outputs": "false",
                "stop_on_first_crash": str(stop_on_first_crash).lower(),
                "check_version": "false",
            },
            "monitoring": {"enabled": "false"},
            "logging": {"log_to_file": "false", "workflow_level": "INFO" if debug else "CRITICAL"},
        }
    )
    nipype.logging.update_logging(nipype.config)
    _quieten(debug)


def _workflow(steps: list[Step], work_dir: Path) -> engine.Workflow:
    workflow = engine.Workflow(name=WORKFLOW, base_dir=str(work_dir))
    nodes: dict[str, engine.Node] = {}
    for step in steps:
        sources = dict(step.sources())
        interface = StepInterface(tuple(sources), step.outputs)
        interface.inputs.target = step.target
        interface.inputs.params = json.dumps(dict(step.params), sort_keys=True)
        interface.inputs.limits = json.dumps(dict(step.limits), sort_keys=True)
        interface.inputs.identity = json.dumps(dict(step.identity), sort_keys=True)
        interface.inputs.stamp = step.stamp()
        interface.inputs.version = step.version
        node = engine.Node(interface, name=step.name, mem_gb=step.mem_gb, n_procs=step.n_procs)
        nodes[step.name] = node
        workflow.add_nodes([node])
        for name, source in sources.items():
            if isinstance(source, Output):
                workflow.connect(nodes[source.step], source.name, node, name)
            else:
                setattr(interface.inputs, name, str(Path(source).absolute()))
    return workflow


def _run_workflow(
    workflow: engine.Workflow,
    plugin: str | None,
    arguments: dict[str, Any],
    n_procs: int,
    memory_gb: float,
) -> None:
    if plugin not in (None, "MultiProc"):
        # nipype's SLURM plugin asks for it, and a batch job may have none
        os.environ.setdefault("LOGNAME", os.environ.get("USER", "hyper"))
        workflow.run(plugin=_foreign_plugin(plugin, arguments))
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    largest = max((node._mem_gb for node in workflow._graph.nodes()), default=0.0)
    arguments = {
        "n_procs": n_procs,
        # A step that needs more than the limit runs alone rather than never; the plan has warned.
        "memory_gb": max(memory_gb, largest + 0.01),
        "raise_insufficient": False,
        "mp_context": "forkserver",
        **arguments,
    }
    workflow.run(plugin=SurvivingPlugin(plugin_args=arguments))


def _foreign_plugin(name: str, arguments: dict[str, Any]) -> Any:
    """Return one of nipype's plugins; one that sends steps elsewhere learns to report killed jobs."""
    from nipype.pipeline import plugins

    own = getattr(plugins, f"{name}Plugin")
    if issubclass(own, DistributedPluginBase):
        own = type(f"Reporting{name}Plugin", (ReportingPlugin, own), {})
    return own(plugin_args=arguments)
