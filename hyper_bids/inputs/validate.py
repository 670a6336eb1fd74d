"""The official BIDS validator on the input: errors only, no network, no home folder needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hyper_bids.errors import InvalidDataset, MissingFiles

EXECUTABLE = "bids-validator-deno"
_SHOWN = 5


def find_validator() -> str | None:
    """Return the validator beside this Python or on PATH, or None."""
    return shutil.which(EXECUTABLE, path=str(Path(sys.executable).parent)) or shutil.which(EXECUTABLE)


def validate(bids_dir: Path) -> list[str]:
    """Run ``bids-validator-deno`` on a dataset.

    NIfTI headers are not opened, so that annexed files without content pass: the files
    that a run needs are checked when they are selected.

    Returns
    -------
    list of str
        Notices: empty for a valid dataset; says so where the validator is not installed or cannot run.

    Raises
    ------
    InvalidDataset
        With the first errors: code, number of files, first file, message.
    MissingFiles
        ``bids_dir`` is not a folder.
    """
    bids_dir = Path(bids_dir)
    if not bids_dir.is_dir():
        raise MissingFiles(f"No such folder: {bids_dir}.")
    executable = find_validator()
    if executable is None:
        return [f"The input was not validated: {EXECUTABLE} is not installed (pip install bids-validator-deno)."]
    report, complaint = _run(executable, bids_dir)
    if report is None:
        return [f"The input was not validated: {EXECUTABLE} failed ({complaint})."]
    errors = [issue for issue in report["issues"]["issues"] if issue.get("severity") == "error"]
    if errors:
        messages = report["issues"].get("codeMessages", {})
        raise InvalidDataset(_describe(bids_dir, errors, messages))
    return []


def _run(executable: str, bids_dir: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the validator's report, or None and what it said instead."""
    with tempfile.TemporaryDirectory(prefix="hyper-validator-") as scratch:
        environment = {**os.environ, "DENO_DIR": scratch, "HOME": scratch, "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"}
        options = ["--ignoreNiftiHeaders", "--ignoreWarnings", "--format", "json"]
        try:
            done = subprocess.run(
                [executable, *options, str(bids_dir.resolve())],
                env=environment,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except OSError as error:
            return None, str(error)
    try:
        report = json.loads(done.stdout)
        report["issues"]["issues"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None, f"exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
    return report, ""


def _describe(bids_dir: Path, errors: list[dict[str, Any]], messages: dict[str, str]) -> str:
    counts = Counter(issue["code"] for issue in errors)
    lines = [f"{bids_dir} is not valid BIDS: {len(errors)} error(s) from {EXECUTABLE}."]
    for code, count in counts.most_common(_SHOWN):
        first = next(issue for issue in errors if issue["code"] == code)
        detail = first.get("issueMessage") or messages.get(code, "")
        place = first.get("location", "the dataset")
        lines.append(f"  {code} ({count} x), first in {place}: {' '.join(detail.split())[:200]}")
    if len(counts) > _SHOWN:
        lines.append(f"  and {len(counts) - _SHOWN} more kinds of error")
    lines.append("Correct the files, or pass --skip-bids-validation to go on at your own risk.")
    return "\n".join(lines)
