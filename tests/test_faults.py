"""Every fault of SPEC section 4: the exit code, the words, nothing half-written, the other participant's results."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from fault_rows import FAULTS, Fault

from bids_app.cli import main
from bids_app.tools import main as tools


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Folder with the dataset as it should be (``pristine``) and a work folder that a run of it has left."""
    folder = tmp_path_factory.mktemp("faults")
    words = ["--participants", "2", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "30"]
    words += ["--n-test-faces", "4", "--repeats", "5", "--n-voxels", "120", "--image-shape", "8x7x6", "--snr", "4"]
    assert tools(["simulate", str(folder / "pristine"), *words, "--generator", "identity", "--n-latents", "9"]) == 0
    shutil.copytree(folder / "pristine", folder / "bids")
    assert run(folder) == 0
    (folder / "out").rename(folder / "reference")
    return folder


@pytest.fixture
def bids(home) -> Path:
    """The dataset, whole again, without outputs. Its place stays, so that participant 02 costs no time."""
    for name in ("bids", "out", "exploded"):
        shutil.rmtree(home / name, ignore_errors=True)
    shutil.copytree(home / "pristine", home / "bids")
    return home / "bids"


def run(home: Path, *words: str) -> int:
    command = [str(home / "bids"), str(home / "out"), "participant", "-w", str(home / "work"), "--nprocs", "2", "-q"]
    return main([*command, "--skip-bids-validation", "--n-permutations", "19", *words])


def digests(out: Path, participant: str) -> dict[str, str]:
    files = [out / f"{participant}.html", *out.glob(f"{participant}/**/*")]
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_bad_input_gets(home, bids, capsys, fault: Fault):
    options = [*(fault.change(bids) or []), *fault.options]
    before = {path: path.lstat().st_mtime_ns for path in bids.rglob("*")}
    code = run(home, *options)
    said, out = capsys.readouterr().err, home / "out"
    assert code == fault.code, said
    assert not [words for words in fault.says if words not in said], said
    assert "Traceback" not in said and not (home / "exploded").exists()
    assert {path: path.lstat().st_mtime_ns for path in bids.rglob("*")} == before
    assert not [path for path in out.rglob(".*") if path.name != ".bidsignore"], "temporary files"
    first, second = digests(out, "sub-01"), digests(out, "sub-02")
    if code == 0:
        assert set(second) == set(digests(home / "reference", "sub-02")) and "sub-01.html" in first
    else:
        assert not first
        same = code == 1 and not fault.options
        assert bool(second) == (code == 1)
        assert not same or second == digests(home / "reference", "sub-02")
