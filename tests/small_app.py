"""A small simulated dataset, and the app on it: what the tests of the whole way start from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from bids_app.cli import main
from bids_app.tools import main as tools

SMALL = [
    "--participants", "2", "--train-runs", "2", "--test-runs", "1", "--n-train-faces", "50", "--n-test-faces", "5",
    "--repeats", "6", "--n-voxels", "300", "--image-shape", "10x9x8", "--snr", "4",
]  # fmt: skip


def simulated(folder: Path) -> Path:
    """Make the dataset."""
    assert tools(["simulate", str(folder), *SMALL]) == 0
    return folder


def finished(dataset: Path) -> Path:
    """Output folder after participant and group, beside the dataset; the work folder lies there too."""
    out = dataset.parent / "out"
    work = dataset.parent / "work"
    assert main([str(dataset), str(out), "participant", "-w", str(work), "--n-permutations", "99"]) == 0
    assert main([str(dataset), str(out), "group"]) == 0
    return out


def run(folder: Path, tmp_path: Path, *words: str) -> int:
    """Exit code of the participant level, with few permutations."""
    command = [str(folder), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work")]
    return main([*command, "--n-permutations", "19", *words])


def tree_of(folder: Path) -> dict[str, str]:
    """Digest of every file but the logs."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "logs" not in path.relative_to(folder).parts
    }


def table(folder: Path, pattern: str) -> pd.DataFrame:
    """Read the one table of that name."""
    (path,) = folder.glob(pattern)
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
