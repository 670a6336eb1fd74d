"""The house is as docs/architecture.md describes it: who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCIENCE = {"inputs", "glm", "decode", "generate", "features", "evaluate", "audit", "report", "simulate"}
LAYERS = [
    {"errors", "seeds", "presets"},
    {"resampling", "whole_files"},
    {"data", "weights", "devices"},
    {"protocols", "settings", "registry"},
    SCIENCE | {"derivatives", "testing"},
    {"workflow"},
]
"""From the ground up; the app's own package ``bids_app`` stands on top."""

OWNERS = {"nipype": "hyper_bids/workflow/nipype_engine.py", "bids": "hyper_bids/inputs/layout.py",
          "argparse": "bids_app/options.py"}  # fmt: skip
HEAVY = ("torch", "nilearn", "nipype", "bids", "pandas", "scipy")


def sources() -> list[Path]:
    return sorted([*(ROOT / "hyper_bids").rglob("*.py"), *(ROOT / "bids_app").rglob("*.py")])


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            if node.module == "hyper_bids":
                found |= {f"hyper_bids.{name.name}" for name in node.names if not name.name.startswith("__")}
    return found


def level(part: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    parts = path.relative_to(ROOT).parts
    if parts[0] == "bids_app":
        return
    own = parts[1].removesuffix(".py")
    if own == "__init__":
        assert not imported(path), "the package itself imports nothing"
        return
    for name in imported(path):
        assert not name.startswith("bids_app"), f"{path.name} imports the app"
        if not name.startswith("hyper_bids."):
            continue
        other = name.split(".")[1]
        if other != own:
            beside = own == "report" and other == "derivatives"
            assert level(other) < level(own) or beside, f"{own} imports {other}"


@pytest.mark.parametrize("library", OWNERS)
def test_one_module_owns_each_framework(library):
    users = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if any(name == library or name.startswith(f"{library}.") for name in imported(path))
    }
    assert users == {OWNERS[library]}


@pytest.mark.parametrize("module", ["hyper_bids", "bids_app", "bids_app.cli", "hyper_bids.settings"])
def test_importing_loads_nothing_heavy(module):
    code = f"import sys; import {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_neither_numpy_nor_anything_heavy():
    code = (
        "import sys\nfrom bids_app.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {('numpy', *HEAVY)!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]" and "--participant-label" in done.stdout


def test_no_module_is_a_drawer():
    names = {path.stem for path in sources()} | {path.parent.name for path in sources()}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_the_architecture_page_names_every_folder():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for folder in (ROOT / "hyper_bids").iterdir():
        if (folder / "__init__.py").is_file():
            assert f"`{folder.name}/`" in text, f"docs/architecture.md does not name {folder.name}/"
