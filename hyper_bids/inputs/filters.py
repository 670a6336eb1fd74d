"""Which files each query asks for: the defaults, and ``--bids-filter-file`` on top, as in fMRIPrep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hyper_bids.errors import HyperError, UsageError, did_you_mean
from hyper_bids.inputs.sidecars import read_json

QUERIES: dict[str, dict[str, Any]] = {
    "bold": {"datatype": "func", "suffix": "bold", "extension": [".nii", ".nii.gz"], "part": ["mag", None]},
    "events": {"suffix": "events", "extension": ".tsv"},
    "preproc": {"datatype": "func", "suffix": "bold", "desc": "preproc", "extension": [".nii", ".nii.gz"]},
    "mask": {"datatype": "func", "suffix": "mask", "desc": "brain", "extension": [".nii", ".nii.gz"]},
    "confounds": {"suffix": ["timeseries", "regressors"], "desc": "confounds", "extension": ".tsv"},
}
"""Query -> entities (pybids' long names). ``preproc`` takes what the user's ``bold`` says of spaces."""

_FMRIPREP_ONLY = frozenset({"fmap", "sbref", "t1w", "t2w", "flair", "roi", "pet", "asl", "dwi", "anat_only_sessions"})
_DERIVED = frozenset({"space", "cohort", "res", "den", "desc", "label"})


def read_queries(filter_file: Path | None) -> dict[str, dict[str, Any]]:
    """Return the entities of every query.

    In the file, null means that an entity must be absent and ``"*"`` that it must be there
    with any label; a list means any of its members. Queries that only fMRIPrep knows are ignored.

    Raises
    ------
    UsageError
        The file cannot be read, or names a query that does not exist.
    """
    queries = {name: dict(entities) for name, entities in QUERIES.items()}
    if filter_file is None:
        return queries
    try:
        content = read_json(Path(filter_file))
    except HyperError as error:
        raise UsageError(f"--bids-filter-file: {error}") from error
    known = [name for name in QUERIES if name != "preproc"]
    for name, entities in content.items():
        if name in _FMRIPREP_ONLY:
            continue
        if name not in known or not isinstance(entities, dict):
            raise UsageError(
                f"--bids-filter-file {filter_file}: {name!r} must be one of {', '.join(known)} "
                f"with an object of entities.{did_you_mean(name, known)}"
            )
        for key, value in entities.items():
            if any(isinstance(item, dict | list) for item in (value if isinstance(value, list) else [value])):
                raise UsageError(f"--bids-filter-file {filter_file}: {name}.{key} must be a label, null, or a list.")
        wanted = {key: _value(value) for key, value in entities.items()}
        if name == "bold":
            queries["preproc"].update({key: value for key, value in wanted.items() if key in _DERIVED})
            wanted = {key: value for key, value in wanted.items() if key not in _DERIVED}
        queries[name].update(wanted)
    return queries


def _value(value: Any) -> Any:
    """Undo what users write of pybids' enumeration (``Query.NONE``); the rest stays as it is."""
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, str) and value.removeprefix("Query.") in ("NONE", "ANY", "REQUIRED", "OPTIONAL"):
        return {"NONE": None, "ANY": "*", "REQUIRED": "*", "OPTIONAL": [None, "*"]}[value.removeprefix("Query.")]
    return value
