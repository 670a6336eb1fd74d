"""``hyper bids_dir output_dir {participant,group} [options]``: the BIDS App."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run the app and return its exit code.

    ``--version`` is answered before anything is imported that could be slow.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if "--version" in words:
        from hyper_bids import __version__

        print(f"hyper {__version__}")
        return 0
    from bids_app.options import report_error
    from hyper_bids.errors import HyperError

    debug = "--debug" in words
    try:
        return _run(words)
    except HyperError as error:
        return report_error(error, debug)
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Stopped, KeyboardInterrupt) as signal_:
        return _stop(128 + (15 if isinstance(signal_, Stopped) else 2))
    except Exception as error:  # the last line of defence: whatever it is, say what to do
        return report_error(error, debug)


class Stopped(BaseException):
    """SIGTERM: a walltime is near, or somebody cancelled the job."""


SECONDS_TO_END = 10.0
"""How long the threads of a pool may take to notice that its workers are gone."""


def _stop(code: int) -> int:
    """End at once and say how to go on; what the workers were doing is done again next time.

    A pool whose workers were killed gives up its tasks, and then Python can end as always: it unlinks the pool's
    semaphores, of which it would else say that they leaked. Where a thread does not end, the process does.
    """
    import multiprocessing
    import os
    import signal
    import threading
    import time

    def end_now(number, frame):
        _remove_home()
        os._exit(code)

    for number in (signal.SIGTERM, signal.SIGINT):  # a second one, from somebody who does not wait
        signal.signal(number, end_now)
    print("stopped; give the same command again and it goes on where it was", file=sys.stderr, flush=True)
    sys.stdout.flush()
    for worker in multiprocessing.active_children():
        worker.kill()
    until = time.monotonic() + SECONDS_TO_END
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        _remove_home()
        os._exit(code)
    return code


def _stop_on_sigterm() -> None:
    import signal
    import threading

    def stop(number, frame):
        raise Stopped

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


def make_parser():
    """Return the parser, made from the settings dataclasses."""
    from bids_app.options import Parser, add_options
    from hyper_bids.settings import sections

    parser = Parser(
        prog="hyper",
        description="Decode what a person saw from fMRI: fit the GLM, train a decoder from responses to the latents "
        "that the events sidecar names, reconstruct the images, and evaluate.",
        epilog="Examples: hyper /data /out participant --participant-label 01 -w /work; then hyper /data /out group. "
        "Companion commands: hyper-tools --help.",
    )
    parser.add_argument("bids_dir", help="root of the BIDS dataset (not needed to be writable)")
    parser.add_argument("output_dir", help="folder for the results, a BIDS-derivative dataset")
    parser.add_argument("analysis_level", choices=("participant", "group"), help="participant first, then group")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--bids-exec-spec", action="store_true", help="print the Boutiques descriptor and exit")
    parser.add_argument(
        "--mem-gb", "--mem_gb", dest="mem_gb", metavar="GB", default=None, help="memory limit in GB, see --mem-mb"
    )
    for name, cls in sections().items():
        add_options(parser, cls, name)
    return parser


def _run(words: list[str]) -> int:
    if "--bids-exec-spec" in words:
        from bids_app.boutiques import descriptor_text

        print(descriptor_text(make_parser()))
        return 0
    parsed = make_parser().parse_args(words)
    settings, execution = read_settings(parsed)
    _limit_threads(execution.omp_nthreads)
    _stop_on_sigterm()
    give_home()
    import shlex
    from pathlib import Path

    command = "hyper " + " ".join(shlex.quote(word) for word in words)
    bids_dir, output_dir = Path(parsed.bids_dir), Path(parsed.output_dir)
    if parsed.analysis_level == "group":
        from hyper_bids.workflow.group import run_group

        return run_group(bids_dir, output_dir, settings, execution)
    if execution.reports_only or execution.boilerplate_only:
        from hyper_bids.workflow.reports_only import rewrite_reports

        return rewrite_reports(bids_dir, output_dir, settings, execution, command)
    from hyper_bids.workflow.participants import run_participants

    return run_participants(bids_dir, output_dir, settings, execution, command)


def read_settings(parsed):
    """Return Settings and Execution from parsed words and, below them, the TOML file."""
    from pathlib import Path

    from bids_app.options import values_of
    from hyper_bids.settings import build, layered, read_toml, sections

    given = {}
    for cls in sections().values():
        given.update(values_of(parsed, cls))
    if parsed.mem_gb is not None:
        given["mem_mb"] = f"{parsed.mem_gb}G"
    below = read_toml(Path(given["config"])) if "config" in given else {}
    return build(layered([below, given]))


CACHES = {
    "XDG_CACHE_HOME": "~/.cache",
    "MPLCONFIGDIR": "~/.config/matplotlib",
    "TEMPLATEFLOW_HOME": "~/.cache/templateflow",
}
"""Where libraries cache -> where that is unless the environment says otherwise."""


def give_home() -> None:
    """Give libraries a place to cache in where the user has none: a container, an unknown user id, a full quota.

    Set before they are imported: some refuse to be imported without one. The folder is removed at the end.
    """
    import os
    import tempfile

    homeless = not _usable("HOME", os.environ.get("HOME", ""))
    # A new home brings usable caches below it; what the environment names lies elsewhere.
    asked = {name: os.environ.get(name, "") or ("" if homeless else usual) for name, usual in CACHES.items()}
    needy = [name for name, value in asked.items() if value and not _usable(name, value)]
    needy += ["HOME"] if homeless else []
    if not needy:
        return
    try:
        scratch = tempfile.mkdtemp(prefix=_home_prefix())
    except OSError as error:
        from hyper_bids.errors import OutputNotWritable

        raise OutputNotWritable(
            f"There is no folder for temporary files ({error}). Mount one (docker run --tmpfs /tmp) or set TMPDIR."
        ) from error
    import atexit

    atexit.register(_remove_home)
    for name in needy:
        os.environ[name] = scratch


def _usable(name: str, value: str) -> bool:
    """Whether a folder can be written, or made; templates may also lie ready in one that cannot."""
    import os
    from pathlib import Path

    path = Path(os.path.expanduser(value))
    if name == "TEMPLATEFLOW_HOME" and path.is_dir() and any(path.iterdir()):
        return True
    while name != "HOME" and not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return bool(value) and path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _home_prefix() -> str:
    import os

    return f"hyper-home-{os.getpid()}-"  # a forked worker inherits the variables and must not remove the folder


def _remove_home() -> None:
    import os
    import shutil

    for folder in {os.environ.get(name, "") for name in ("HOME", *CACHES)}:
        if os.path.basename(folder).startswith(_home_prefix()):
            shutil.rmtree(folder, ignore_errors=True)


def _limit_threads(n: int) -> None:
    """One thread per process unless asked otherwise: two thread pools in one process wait for each other.

    Set before numpy or torch is imported, and inherited by the workers.
    """
    import os

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = str(n)


if __name__ == "__main__":
    sys.exit(main())
