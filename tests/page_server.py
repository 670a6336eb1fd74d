"""A process that has imported the app, and forks for every call of it: importing is most of what a small run costs.

`start` gives programs that look like ours from a shell: they hand over their words, folder, environment and streams,
and end with the exit code of the fork.

What is not tested so: that the installed program starts, and imports what it needs; and worker processes, which are
forks of a fork here, where the app asks for a forkserver. test_docs_commands.py runs one command as installed for that.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMPORTED = ("hyper_bids.workflow.nipype_engine", "hyper_bids.workflow.steps", "bids", "nilearn.masking", "torch",
            "matplotlib.pyplot", "scipy.stats", "sklearn.linear_model", "skimage.metrics", "jinja2")  # fmt: skip
CLIENT = """#!{python} -ISE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect({address!r})
    words = dict(program={program!r}, words=sys.argv[1:], folder=os.getcwd(), environment=dict(os.environ))
    socket.send_fds(link, [json.dumps(words).encode() + b"\\n"], [0, 1, 2])
    answer = link.makefile().readline()
sys.exit(int(answer or 70))
"""


@contextlib.contextmanager
def start(folder: Path, programs: dict[str, str]) -> Iterator[None]:
    """Write programs (name -> module with ``main(words)``) into a folder, and answer them until the end."""
    address = str(folder / "app.socket")
    for name, module in programs.items():
        path = folder / name
        path.write_text(CLIENT.format(python=sys.executable, address=address, program=module))
        path.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, __file__, address], cwd=ROOT, env=environment)
    try:
        end = time.monotonic() + 600
        while not Path(address).exists():
            assert server.poll() is None and time.monotonic() < end, "the app could not be imported"
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


def serve(address: str) -> None:
    """Import, and answer calls."""
    import gc
    import importlib
    import multiprocessing

    os.environ.setdefault("MPLBACKEND", "agg")
    for name in IMPORTED:
        importlib.import_module(name)
    from matplotlib import font_manager

    font_manager.findfont("sans")  # reads the list of fonts
    gc.freeze()  # what was imported is not looked through again in every fork, and stays shared
    context = multiprocessing.get_context  # workers are forks of what has imported everything, as said above
    multiprocessing.get_context = lambda method=None: context("fork" if method == "forkserver" else method)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen()
        os.rename(f"{address}.new", address)
        while True:
            link, _ = listener.accept()
            text, streams, _, _ = socket.recv_fds(link, 1 << 20, 3)
            while not text.endswith(b"\n"):
                text += link.recv(1 << 20)
            child = os.fork()
            if child == 0:
                listener.close()
                _run(json.loads(text), streams)
            for stream in streams:
                os.close(stream)
            threading.Thread(target=_answer, args=(link, child), daemon=True).start()


def _answer(link: socket.socket, child: int) -> None:
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError), link:
        link.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _run(call: dict, streams: list[int]) -> None:
    """Be the program that was called."""
    import importlib

    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    code = 70
    try:
        sys.argv = [call["program"], *call["words"]]
        code = importlib.import_module(call["program"]).main(call["words"])
    except SystemExit as end:  # --help
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
