"""Compare two output folders byte for byte: ``compare.py ONE OTHER [--participant 01]``.

Left out: ``logs/``, which tell of the run, the pages (``*.html``), which name paths, and the one
key of ``dataset_description.json`` that names the container.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def content(path: Path) -> bytes:
    """Return what has to be equal of a file."""
    if path.name != "dataset_description.json":
        return path.read_bytes()
    description = json.loads(path.read_text(encoding="utf-8"))
    for program in description["GeneratedBy"]:
        program.pop("Container", None)
    return json.dumps(description).encode()


def files(folder: Path, participant: str | None) -> dict[str, Path]:
    """Return relative name -> path of what is compared."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path
        for name, path in found.items()
        if not name.startswith("logs/")
        and path.suffix != ".html"
        and (participant is None or name.startswith(f"sub-{participant}/"))
    }


def main() -> int:
    """Print what differs, or how many files are equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--participant")
    options = parser.parse_args()
    one, other = files(options.one, options.participant), files(options.other, options.participant)
    different = sorted(set(one) ^ set(other))
    different += [name for name in sorted(set(one) & set(other)) if content(one[name]) != content(other[name])]
    for name in different:
        print(f"    differs: {name}")
    tables = [name for name in one if name.endswith(".tsv")]
    print(f"    {len(one)} files compared ({len(tables)} tables), {len(different)} differ")
    return 1 if different or not tables else 0


if __name__ == "__main__":
    sys.exit(main())
