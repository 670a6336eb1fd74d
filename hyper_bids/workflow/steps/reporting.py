"""The participant's report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyper_bids.derivatives.tree import Tree
from hyper_bids.workflow import files


def report_participant(
    *, trees: list[Path], facts: list[Path], designs: list[Path], participant: str, context: Mapping[str, Any],
    selection: list[Path], out_dir: Path, pictures: list[Path] | None = None,
    reliability: list[Path] | None = None, encoding: list[Path] | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Write the participant's report and its figures from what the other stages published.

    Output: ``tree`` (sub-<label>.html, figures, logs/CITATION.md is the run's own).
    """
    from hyper_bids.derivatives.tree import link_view
    from hyper_bids.report.participant import write_report

    view = link_view(trees, out_dir / "view")
    tree = Tree(out_dir)
    write_report(
        tree=tree,
        dataset=view,
        participant=participant,
        context=context,
        facts=[files.load_json(path) for path in facts],
        designs=[files.load_arrays(path) for path in designs],
        pictures=[files.load_arrays(path) for path in pictures or []],
        selection=[files.load_json(path) for path in selection],
        reliability=[files.load_json(path) for path in reliability or []],
        encoding=[files.load_json(path) for path in encoding or []],
    )
    shutil.rmtree(view)  # links into other stages' folders, as many as there are outputs
    return {"tree": tree.manifest()}
